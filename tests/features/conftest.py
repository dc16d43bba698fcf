"""What the tests of extraction share: a lake with scans, and ways to look into it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gliolake.ingest.synthetic.cohort import SyntheticCohorts
from gliolake.runs import start_run
from gliolake.storage.lake import Lake


@pytest.fixture
def world(ingested: Path, synthetic: SyntheticCohorts, tmp_path: Path) -> tuple[Lake, Path]:
    """A lake of one's own, and the images it was made from, which are shared."""
    shutil.copytree(ingested, tmp_path / "lake")
    return Lake(tmp_path / "lake"), synthetic.brats21_images


class Look:
    """Questions to a lake, and changes to it."""

    @staticmethod
    def rows(lake: Lake, table: str, **where: Any) -> list[dict[str, Any]]:
        return lake.read(table, where).to_pylist()

    @staticmethod
    def vectors(lake: Lake) -> dict[tuple[str, str, str], bytes]:
        """The bytes of every vector by feature set, scan and modality. Fails where one is there twice."""
        rows = lake.read("features").to_pylist()
        found = {
            (row["feature_set"], row["scan_id"], row["modality"]): np.array(row["values"], np.float32).tobytes()
            for row in rows
        }
        assert len(found) == len(rows)
        return found

    @staticmethod
    def delete_features(lake: Lake, **where: Any) -> None:
        with start_run(lake, "test", {}) as run:
            run.transact(lambda transaction: transaction.delete("features", where))

    @staticmethod
    def put_scans(lake: Lake, *scans: dict[str, Any]) -> None:
        with start_run(lake, "test", {}) as run:
            run.transact(lambda transaction: transaction.upsert("scans", list(scans)))

    @staticmethod
    def keep_scans(lake: Lake, *scan_ids: str) -> None:
        kept = [row for row in lake.read("scans").to_pylist() if row["scan_id"] in scan_ids]
        with start_run(lake, "test", {}) as run:
            run.transact(lambda transaction: transaction.replace("scans", {}, kept))


@pytest.fixture(name="look", scope="session")
def look_maker() -> type[Look]:
    """The questions."""
    return Look
