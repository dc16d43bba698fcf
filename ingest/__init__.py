"""Cohorts become a patient manifest: scans, labels, links, and what was left out and why."""
