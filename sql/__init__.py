"""DuckDB views over the tables of a lake, and the commands that query them.

Public: ``catalog.connect``, ``statements.statement``, ``query``, ``status``, ``audit``, ``dictionary``, ``cautions``.
May import storage, schema and log, but no package that writes rows. DuckDB is opened in ``connection`` only. The views
are in ``views/`` and run in the order of their file names.
"""
