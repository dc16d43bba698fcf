"""Compaction merges small files up to a limit, and loses nothing."""

from __future__ import annotations

import tempfile
from functools import partial
from unittest.mock import patch

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gliolake.maintenance import compaction
from gliolake.runs import start_run
from gliolake.storage.lake import Lake
from gliolake.storage.transaction import Transaction

SMALL, LARGE = 8_000, 16_000


def link(number: int) -> dict[str, object]:
    """A row of a table without partitions, some hundred bytes that do not compress away."""
    return {
        "cohort_a": "brats21", "scan_a": f"{number:05d}", "cohort_b": "ucsf_pdgm", "scan_b": f"{number * 7919 % 99991}",
        "kind": "declared", "evidence": f"{number * 2654435761:x}", "score": 1.0,
    }  # fmt: skip


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    commits=st.lists(st.integers(1, 400), min_size=1, max_size=12),
    fewest=st.integers(2, 4),
    order=st.permutations(range(12)),
)
def test_rows_stay_files_get_fewer_none_outgrows_the_limit_and_it_comes_to_an_end(
    commits: list[int], fewest: int, order: list[int]
) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(compaction, "SMALL", SMALL),
        patch.object(compaction, "LARGE", LARGE),
    ):
        lake = Lake(folder, create=True)
        for place in (place for place in order if place < len(commits)):
            rows = [link(1000 * place + number) for number in range(commits[place])]
            lake.transact(partial(Transaction.append, name="links", rows=rows), run_id=f"r{place}")
        before = sorted(map(str, lake.read("links").to_pylist()))
        while True:
            files = {file.path: file for file in lake.state().of_table("links")}
            merged = compaction.compact(lake, fewest=fewest).get("links", 0)  # its own runs are merged too
            after = {file.path: file for file in lake.state().of_table("links")}
            assert sorted(map(str, lake.read("links").to_pylist())) == before
            assert len(after) == len(files) - merged
            assert all(file.bytes <= LARGE for path, file in after.items() if path not in files)
            if not merged:
                assert after == files
                break
            assert len(after) < len(files)


def test_files_near_each_other_by_key_are_merged() -> None:
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(folder, create=True)
        for start in (3000, 0, 2000, 1000):
            rows = [link(start + number) for number in range(200)]
            lake.transact(partial(Transaction.append, name="links", rows=rows), run_id="r")
        size = max(file.bytes for file in lake.state().of_table("links"))
        with patch.object(compaction, "LARGE", 2 * size):
            assert compaction.compact(lake, fewest=2) == {"links": 2}
        spans = sorted((file.first[1], file.last[1]) for file in lake.state().of_table("links"))
        assert spans == [("00000", "01199"), ("02000", "03199")]


def test_a_second_compaction_of_an_unchanged_lake_writes_nothing(lake: Lake) -> None:
    for number in range(6):
        with start_run(lake, "ingest", {}) as run:
            run.transact(partial(Transaction.append, name="links", rows=[link(number)]))
    assert compaction.compact(lake, fewest=2) == {"links": 5, "runs": 5}
    version = lake.version
    assert compaction.compact(lake, fewest=2) == {}
    assert lake.version == version
