"""Cohorts as data: descriptions, the scan ids that they read, and the two that are shipped."""
