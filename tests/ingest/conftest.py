"""Writers of small scans and TFRecords, and a cluster for the tests of a module."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gliolake.storage.lake import Lake
from tests.support.scans import ScanWriter
from tests.support.standing import standing_cluster
from tests.support.tfrecords import TfRecords


@pytest.fixture
def writer() -> ScanWriter:
    return ScanWriter()


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """Address of a cluster of one worker that the tests of a module share."""
    with standing_cluster() as client:
        yield client.scheduler.address


@pytest.fixture
def files_of() -> Callable[[Lake], dict[str, bytes]]:
    """Every file of a lake and its bytes: two equal answers mean that nothing was written."""

    def look(lake: Lake) -> dict[str, bytes]:
        root = Path(lake.root)
        return {str(file.relative_to(root)): file.read_bytes() for file in sorted(root.rglob("*")) if file.is_file()}

    return look


@pytest.fixture(scope="session")
def tfrecords() -> TfRecords:
    return TfRecords()
