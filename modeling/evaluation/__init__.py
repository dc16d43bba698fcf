"""Evaluation: cross-validation, metrics, intervals and optimism.

Public: ``crossval.cross_validate_all``, ``crossval.Result``, ``bootstrap.patient_bootstrap``, ``scores``,
``summaries``. May import models and data. Works on arrays and does not open a lake.
"""
