"""The lake: one numbered commit log for all tables, over plain Parquet files in a folder or an object store.

Public: ``lake.Lake``, ``transaction.Transaction``, ``snapshot.Snapshot``, ``json_cell.json_cell``. May import schema
and the layers below it. Commit records and checkpoints stay in here and in ``gliolake.maintenance``: callers read and
write rows of tables.
"""
