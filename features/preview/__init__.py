"""`gliolake preview`: contact sheets of scans, before and after preprocessing.

Public: ``command.preview``, ``sheet.contact_sheet``. May import preprocessing and ingest. Reads the lake and writes
pictures, no rows.
"""
