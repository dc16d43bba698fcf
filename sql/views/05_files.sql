-- Files: what the commit log says of them. The file system of a connection has it as a file (sql/committed_files.py).

-- One row per Parquet file of the lake, from the commit log: counting by it opens no file.
--   table: the table that its rows are of
--   path: where it lies in the lake
--   partition: names and values of its partition columns, e.g. "partition"['cohort']
--   rows: rows in it
--   bytes: its size
CREATE VIEW data_files AS
SELECT * FROM read_json('lake://data_files.json', format = 'array', columns = {
    'table': 'VARCHAR', 'path': 'VARCHAR', 'partition': 'MAP(VARCHAR, VARCHAR)', 'rows': 'BIGINT', 'bytes': 'BIGINT'
});
