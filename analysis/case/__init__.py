"""`gliolake predict`: the prediction of an exported model for one patient, as an answer, a picture and an HTML page.

Public: ``predict.predict``, ``answer.Answer``. May import features and ``gliolake.modeling.export``. It needs no lake
and writes no rows.
"""

import gliolake.analysis.figures  # noqa: F401 - before anything else imports matplotlib
