"""A data lake for radiogenomics: can an image tell what a molecular test tells?"""

import os

# Read by torch's matrix library at its first product: the same bits however many products are computed at once, and
# wherever in memory they lie. Measured on products of the networks' sizes, it costs nothing.
os.environ.setdefault("MKL_CBWR", "AVX2,STRICT")
