"""The report: one study on one self-contained page."""
