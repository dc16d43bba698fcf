"""ROC, calibration and decision curves.

Public: ``roc.roc_curve``, ``calibration.calibration``, ``decision.decision_curve``. Works on arrays and does not open a
lake.
"""
