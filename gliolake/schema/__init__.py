"""The tables of a lake: columns, keys, partitions and their descriptions.

Public: ``registry.TABLES``, ``registry.table_named``, ``types.Table``, and the names in ``vocabulary``. May import the
modules of the lowest layer only. Data only: no input or output.
"""
