"""Descriptions of cohorts: TOML files that define scan ids, files and labels of a cohort.

Public: ``description.load_cohort``, ``description.known_cohorts``, ``description.Cohort``, ``scan_ids.ScanName``. Reads
descriptions only, no scans. The two shipped cohorts lie beside this file.
"""
