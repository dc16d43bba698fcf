"""DuckDB views over the lake's tables, in the order of their files, and the catalog that opens them."""
