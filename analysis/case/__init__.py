"""One case: what a kept model says of a single patient, with its reasons, as a picture and a page."""

import gliolake.analysis.figures  # noqa: F401 - before anything else imports matplotlib
