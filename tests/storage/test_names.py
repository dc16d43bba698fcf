"""Which names in a lake are gliolake's."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gliolake.schema.registry import TABLES
from gliolake.storage import commit_log as log
from gliolake.storage import layout as names
from gliolake.storage.lake import Lake

VALUES = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.sampled_from(sorted(TABLES)), st.lists(VALUES, min_size=4, max_size=4), st.binary(min_size=32, max_size=32))
def test_the_name_of_every_data_file_is_ours_and_no_name_near_it(table: str, values: list[str], digest: bytes) -> None:
    partition = dict(zip(TABLES[table].partition_by, values, strict=False))
    path = names.data_path(TABLES[table], partition, digest.hex())
    assert names.kind(path) == "data"
    folder, _, name = path.rpartition("/")
    near = [f"{folder}/x/{name}", f"x/{path}", name, f"{path}~", f"{folder}/{name.upper()}", f"{path}\n", f"{folder}/"]
    near += [f"{folder}/{name[1:]}", path.replace("=", "", 1) if partition else f"{table}/cohort=a/{name}"]
    assert [each for each in near if names.kind(each) != "foreign"] == []


@pytest.mark.parametrize(
    ("path", "kind"),
    {
        log.record_path(7): "record", log.checkpoint_path(50): "checkpoint", log.NEWEST: "newest",
        names.MARKER: "marker", f"_tmp/4711-{'0' * 32}-12": "temporary", f"_tmp/probe-{'a' * 32}": "temporary",
        f"labels/cohort=a/_tmp-4711-{'0' * 32}-0": "temporary", f"_log/_tmp-4711-{'0' * 32}-0": "temporary",
        "_quarantine/labels/scans.csv~": "quarantined",
        "labels/train_labels.csv": "foreign", "scans/cohort=a/t1.nii.gz": "foreign", "_log/1.json": "foreign",
        "_tmp/notes.txt": "foreign", "_tmp/locks/schedule.json": "foreign", "_quarantine": "foreign", "": "foreign",
        "_log/00000000000000000001.json/x": "foreign", f"other/{'0' * 32}.parquet": "foreign",
    }.items(),
)  # fmt: skip
def test_other_names_are_ours_only_where_and_as_gliolake_writes_them(path: str, kind: str) -> None:
    assert names.kind(path) == kind


def test_all_that_a_lake_writes_has_a_name_of_ours(lake: Lake, label: Any) -> None:
    for age in (50.0, 60.0):
        rows = [label(1, cohort="Köln/Ä%", age=age)]
        lake.transact(lambda tx, rows=rows: tx.upsert("labels", rows), run_id="r")  # type: ignore[misc]
    log.write_checkpoint(lake.files, lake.state())
    found = Counter(names.kind(entry.path) for entry in lake.files.list())
    assert found["foreign"] == 0
    assert {*found} >= {"data", "record", "checkpoint", "newest"}
