"""Labels: label files, their sources, and links between scans of one patient.

Public: ``label_files.read_labels``, ``links.find_links``, ``sources.put``. May import readers, cohorts and scans.
``gliolake.ingest.pipeline`` commits its rows.
"""
