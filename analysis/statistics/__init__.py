"""Statistical tests and intervals: folds, DeLong, correlations, subgroups.

Public: ``delong.delong_test``, ``summary.corrected_t_test``, ``summary.holm``, ``correlation``, ``subgroups``. Works on
arrays and does not open a lake.
"""
