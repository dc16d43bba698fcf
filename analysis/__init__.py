"""Analysis: agreement, duplicates, statistics, figures, reports and single cases.

Public: ``embedding.map_feature_sets`` and the functions named in each sub-package. May import every package but the
command line. It trains no classifier; its results are rows, figures and HTML pages.
"""
