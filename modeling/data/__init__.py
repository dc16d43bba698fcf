"""Input of models: arrays from the view ``snn_input``, folds by patient, and checks of arrays.

Public: ``inputs.read_cohorts``, ``folds.cut_folds``, ``folds.assert_no_shared_patients``, ``scans.Scans``,
``validation``. May import sql and storage. The other packages of modeling get arrays from it.
"""
