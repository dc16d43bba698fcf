"""Tests and intervals of the study: folds, DeLong, correlations, subgroups."""
