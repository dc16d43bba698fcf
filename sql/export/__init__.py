"""Export of tables and views as files for other programs: CSV, TSV, XLSX, Parquet, BIDS.

Public: ``table.export``, ``bids.export_bids``. May import ``gliolake.sql`` and what that may import. Formats of other
programs stay in here.
"""
