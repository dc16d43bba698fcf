"""What every step shares: the tables, the store that keeps them, the cluster that fills them, the errors."""

import os

# Read by torch's matrix library at its first product: the same bits however many products are computed at once, and
# wherever in memory they lie. Measured on products of the networks' sizes, it costs nothing.
os.environ.setdefault("MKL_CBWR", "AVX2,STRICT")
