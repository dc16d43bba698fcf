"""Labels: label files, their sources, and links between scans of one patient.

Public: ``label_files.read_labels``, ``links.find_links``, ``sources.put``. May import readers, cohorts and scans.
Returns rows; ``gliolake.ingest.pipeline`` commits them.
"""
