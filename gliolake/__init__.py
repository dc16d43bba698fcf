"""A data lake for radiogenomics: it tests whether images predict the results of molecular tests."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from duckdb import DuckDBPyConnection

# Read by torch's matrix library at its first product: the same bits however many products are computed at once, and
# wherever in memory they lie. Measured on products of the networks' sizes, it costs nothing.
os.environ.setdefault("MKL_CBWR", "AVX2,STRICT")


def connect(lake: str | Path | None = None, *, linked: bool | None = None) -> DuckDBPyConnection:
    """Open a lake for questions in SQL: a read-only DuckDB connection with all tables and views, as of now.

    >>> import gliolake
    >>> con = gliolake.connect("/data/lake")
    >>> con.sql("FROM training").df()                              # pandas
    >>> con.sql("FROM results").pl()                               # Polars
    >>> con.sql("FROM vectors").to_arrow_table()                   # Arrow; .arrow() reads it batch by batch
    >>> con.sql("FROM scans WHERE scan_id = $id", params={"id": "BraTS2021_00000"}).df()

    ``con.sql("SHOW TABLES")`` names the tables and views, ``con.sql("DESCRIBE training")`` their columns. Commits made
    later are seen by connecting again. What would write, or read anything else on this machine, fails.

    Args:
        lake: a folder, or ``s3://bucket/prefix`` as text; the variable GLIOLAKE_LAKE if not given.
        linked: whether the folder, and folders in it, may be symbolic links; GLIOLAKE_LINKED_LAKE if not given.

    Raises:
        NotALake: there is no lake there, or none was named.
        NewerLake, OlderLake: another version of gliolake wrote it.
        DamagedFile: a committed file that every connection reads is missing or altered.
    """
    from gliolake.errors import NotALake
    from gliolake.sql.catalog import connect as open_catalog
    from gliolake.storage.lake import Lake

    root = lake or os.environ.get("GLIOLAKE_LAKE")
    if not root:
        raise NotALake("No lake was named.", hint="Give its folder, or set GLIOLAKE_LAKE.")
    return open_catalog(Lake(root, linked=linked))
