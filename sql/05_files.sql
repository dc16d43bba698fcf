-- Files: what the commit log says of them. The catalog hands it over as a variable.

-- One row per Parquet file of the lake, from the commit log: counting by it opens no file.
--   table: the table that its rows are of
--   path: where it lies in the lake
--   partition: names and values of its partition columns, e.g. "partition"['cohort']
--   rows: rows in it
--   bytes: its size
CREATE TABLE data_files AS
SELECT file.* FROM (
    SELECT unnest(getvariable('data_files')::JSON::STRUCT(
        "table" VARCHAR, path VARCHAR, "partition" MAP(VARCHAR, VARCHAR), "rows" BIGINT, bytes BIGINT
    )[]) AS file
);
