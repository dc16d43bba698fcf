"""Scans: the files of each scan, changes since the last ingest, and measurements of images.

Public: ``discovery``, ``comparison``, ``images.read_scan``, ``model.FoundScan``, ``masks.measure_mask``. May import
readers and cohorts. Returns values; ``gliolake.ingest.pipeline`` commits them.
"""
