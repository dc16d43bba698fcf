"""ROC, calibration and decision curves."""
