"""Tables and views as files for other programs: CSV, TSV, XLSX, Parquet, BIDS."""
