"""Ingest: cohorts on disk become rows of ``scans``, ``labels``, ``links`` and ``exclusions``.

Public: ``pipeline.ingest``, ``published_features.ingest_features``, ``scan_lists.ingest_list``, ``schedule``. May
import cluster, storage, schema and log. Formats and names of a cohort's files stay in here: later packages read rows,
and open images through ``readers`` and ``scans``. Cells of label files do not appear in messages or logs.
"""
