"""Synthetic cohorts, laid out as the real ones are, for the demo and the tests."""
