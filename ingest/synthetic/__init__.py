"""Synthetic cohorts with the layout of the real ones, for the demo and the tests.

Public: ``cohort.write_cohorts``, ``cohort.SyntheticCohorts``. Writes files only. No other package of ingest imports it.
"""
