"""The lake: one numbered commit log for all tables, over plain Parquet files in a folder or an object store."""
