"""Models: logistic regression and networks, by name, with their settings.

Public: ``settings.Settings``, ``settings.defaults``, ``fitting.fit_all``, ``problem.FitInputs``,
``problem.CVPredictions``. May import data. Works on arrays and does not open a lake.
"""
