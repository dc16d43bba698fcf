"""Cross-validation, metrics, intervals and calibration."""
