"""What the commit protocol promises, on a disk and on an S3 server: all or nothing, in one order, nothing lost."""

from __future__ import annotations

import multiprocessing
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gliolake.errors import CommitConflict, DamagedFile, DuplicateKey, InputError, NotALake
from gliolake.maintenance.compaction import compact
from gliolake.runs import start_run
from gliolake.schema.registry import table_named
from gliolake.storage import commit_log as log
from gliolake.storage.lake import Lake
from gliolake.storage.transaction import Transaction
from tests.support.full import FULL, examples

COHORTS = ("brats21", "ucsf_pdgm")


def snapshot(folder: str | Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file()}


def ages(lake: Lake) -> dict[tuple[str, str], float]:
    return {(row["cohort"], row["scan_id"]): row["age"] for row in lake.read("labels").to_pylist()}


def test_a_commit_over_two_tables_is_seen_whole_and_by_others(root: str, label: Any) -> None:
    lake = Lake(root, create=True)

    def build(tx: Transaction) -> None:
        tx.append("labels", [label(1), label(2), label(3, cohort="ucsf_pdgm")])
        tx.append(
            "exclusions",
            [{"cohort": "brats21", "scan_id": "x", "step": "images", "reason": "r", "detail": "d", "source": "s",
              "fingerprint": "f"}],
        )  # fmt: skip

    lake.transact(build, run_id="r1")
    other = Lake(root)
    assert other.version == 1
    assert other.read("labels").schema == table_named("labels").schema
    assert other.read("labels", where={"cohort": "ucsf_pdgm"}, columns=["scan_id"]).to_pylist() == [
        {"scan_id": "scan-0003"}
    ]
    assert other.read("exclusions", columns=["run_id"]).to_pylist() == [{"run_id": "r1"}]


def test_a_reader_sees_commits_made_after_it_opened_the_lake(root: str, label: Any) -> None:
    writer, reader = Lake(root, create=True), Lake(root, create=True)
    for number in range(log.CHECKPOINT_EVERY + 3):
        writer.transact(lambda tx, n=number: tx.append("labels", [label(n)]), run_id="r")  # type: ignore[misc]
    assert reader.read("labels").num_rows == log.CHECKPOINT_EVERY + 3
    assert Lake(root).read("labels").num_rows == log.CHECKPOINT_EVERY + 3  # from the checkpoint on


@pytest.mark.faults
@pytest.mark.parametrize("root", ["folder", pytest.param("S3", marks=pytest.mark.long)], indirect=True)
def test_appends_of_many_processes_are_all_there_once(root: str, record_property: Any) -> None:
    Lake(root, create=True)
    processes, each = (8, 125) if FULL else (4, 20)
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes) as pool:
        pool.starmap(append_many, [(root, process, each) for process in range(processes)])
    lake = Lake(root)
    assert lake.version == processes * each
    assert sorted(row["source_row"] for row in lake.read("labels").to_pylist()) == list(range(processes * each))
    record_property("faults: commit beside others", lake.version)


def append_many(root: str, process: int, each: int) -> None:
    lake = Lake(root, create=True)
    for number in range(process * each, (process + 1) * each):
        row = {**_label(number), "source_row": number}
        lake.transact(lambda tx, row=row: tx.append("labels", [row]), run_id=f"p{process}")  # type: ignore[misc]


def _label(number: int) -> dict[str, Any]:
    return {
        "cohort": "brats21", "scan_id": f"scan-{number:04d}", "source": "made", "source_id": str(number),
        "source_row": 2, "source_sha256": "0" * 64, "mgmt_status": "methylated", "label_rule": "brats21",
    }  # fmt: skip


def test_a_transaction_is_built_again_when_another_process_changed_what_it_read(root: str, label: Any) -> None:
    lake, rival = Lake(root, create=True), Lake(root, create=True)
    seen = []

    def count_and_add(tx: Transaction) -> None:
        seen.append(tx.read("labels").num_rows)
        if len(seen) == 1:  # another process commits between this one's snapshot and its commit
            rival.transact(lambda other: other.append("labels", [label(1)]), run_id="rival")
        tx.append("labels", [label(100 + tx.read("labels").num_rows)])

    lake.transact(count_and_add, run_id="r")
    assert seen == [0, 1]
    assert {row["scan_id"] for row in lake.read("labels").to_pylist()} == {"scan-0001", "scan-0101"}


def test_a_transaction_steps_over_commits_that_do_not_bear_on_it(root: str, label: Any) -> None:
    lake, rival = Lake(root, create=True), Lake(root, create=True)
    built = []

    def build(tx: Transaction) -> None:
        built.append(1)
        tx.append("labels", [label(1)])
        rival.transact(lambda other: other.append("labels", [label(1, cohort="ucsf_pdgm")]), run_id="rival")

    lake.transact(build, run_id="r")
    assert len(built) == 1
    assert lake.read("labels").num_rows == 2


def test_a_transaction_that_never_gets_through_says_so(lake: Lake, label: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gliolake.storage.lake.PATIENCE", 0.3)
    numbers = iter(range(10_000))

    def build(tx: Transaction) -> None:
        tx.append("labels", [label(10_000 + tx.read("labels").num_rows)])
        rival = Lake(lake.root, create=True)
        rival.transact(lambda other: other.append("labels", [label(next(numbers))]), run_id="rival")

    with pytest.raises(CommitConflict, match="kept changing"):
        lake.transact(build, run_id="r")


# A lake compared with a plain dictionary, over any sequence of changes.
change = st.tuples(
    st.sampled_from(["append", "upsert", "replace", "delete", "delete_keys", "compact", "reopen"]),
    st.sampled_from(COHORTS),
    st.dictionaries(st.integers(0, 6), st.integers(0, 3), max_size=5),
)


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(changes=st.lists(change, max_size=8))
def test_any_sequence_of_changes_leaves_what_a_dictionary_would_hold(changes: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lake, model = Lake(folder, create=True), {}
        for verb, cohort, values in changes:
            rows = [{**_label(n), "cohort": cohort, "age": float(age)} for n, age in values.items()]
            keyed = {(cohort, row["scan_id"]): row["age"] for row in rows}
            if verb == "compact":
                compact(lake, fewest=2)
            elif verb == "reopen":
                lake = Lake(folder, create=True)
            elif verb == "append":
                if keyed.keys() & model.keys():
                    with pytest.raises(DuplicateKey):
                        lake.transact(lambda tx: tx.append("labels", rows), run_id="r")  # noqa: B023
                else:
                    lake.transact(lambda tx: tx.append("labels", rows), run_id="r")  # noqa: B023
                    model |= keyed
            elif verb == "upsert":
                lake.transact(lambda tx: tx.upsert("labels", rows), run_id="r")  # noqa: B023
                model |= keyed
            elif verb == "replace":
                lake.transact(lambda tx: tx.replace("labels", {"cohort": cohort}, rows), run_id="r")  # noqa: B023
                model = {key: age for key, age in model.items() if key[0] != cohort} | keyed
            elif verb == "delete":
                lake.transact(lambda tx: tx.delete("labels", {"cohort": cohort}), run_id="r")  # noqa: B023
                model = {key: age for key, age in model.items() if key[0] != cohort}
            else:
                keys = [{"cohort": cohort, "scan_id": row["scan_id"], "source": "made"} for row in rows]
                lake.transact(lambda tx: tx.delete_keys("labels", keys), run_id="r")  # noqa: B023
                model = {key: age for key, age in model.items() if key not in keyed}
            assert ages(lake) == model
        assert ages(Lake(folder, create=True)) == model


def test_writing_what_is_there_already_leaves_the_lake_byte_for_byte_as_it_was(lake: Lake, label: Any) -> None:
    rows = [label(number) for number in range(5)]
    with start_run(lake, "ingest", {}) as run:
        run.transact(lambda tx: tx.upsert("labels", rows))
    before = snapshot(lake.root)
    with start_run(lake, "ingest", {}) as run:
        run.transact(lambda tx: tx.upsert("labels", rows[2:]))
        run.transact(lambda tx: tx.replace("labels", {"cohort": "brats21"}, list(reversed(rows))))
        run.transact(lambda tx: tx.delete("labels", {"cohort": "ucsf_pdgm"}))
    assert snapshot(lake.root) == before


def test_the_same_rows_make_the_same_file_wherever_they_are_written(tmp_path: Path, label: Any) -> None:
    files = []
    for name in ("one", "two"):
        lake = Lake(tmp_path / name, create=True)
        files += lake.stage("labels", [label(n) for n in (3, 1, 2)] if name == "one" else [label(n) for n in (2, 3, 1)],
                            run_id="r")  # fmt: skip
    assert files[0] == files[1]


def test_staged_files_are_invisible_until_added_and_added_twice_they_count_once(root: str, label: Any) -> None:
    lake = Lake(root, create=True)
    staged = lake.stage("labels", [label(1), label(2)], run_id="worker")
    assert lake.read("labels").num_rows == 0
    lake.transact(lambda tx: tx.append("labels", [label(2, age=50.0)]), run_id="r")
    lake.transact(lambda tx: tx.add(staged), run_id="r")
    lake.transact(lambda tx: tx.add(staged), run_id="r")
    assert ages(lake) == {("brats21", "scan-0001"): None, ("brats21", "scan-0002"): 50.0}


def test_a_run_is_recorded_with_its_first_change_and_how_it_ended(lake: Lake, label: Any) -> None:
    def commit_and_fail() -> None:
        with start_run(lake, "ingest", {"images": Path("x")}) as run:
            run.transact(lambda tx: tx.append("labels", [label(1)]))
            assert lake.read("runs").to_pylist()[0]["outcome"] == "unfinished"
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        commit_and_fail()
    (row,) = lake.read("runs").to_pylist()
    assert row["outcome"].startswith("ZeroDivisionError")
    assert row["ended"] >= row["started"]
    assert lake.read("labels").to_pylist()[0]["run_id"] == row["run_id"]


def test_compaction_keeps_every_row_and_the_run_that_wrote_it(lake: Lake, label: Any) -> None:
    for number in range(6):
        lake.transact(lambda tx, n=number: tx.append("labels", [label(n)]), run_id=f"r{number}")  # type: ignore[misc]
    before = sorted(map(str, lake.read("labels").to_pylist()))
    assert compact(lake) == {"labels": 5}
    assert len(lake.state().of_table("labels")) == 1
    assert sorted(map(str, lake.read("labels").to_pylist())) == before


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ([{"cohort": "brats21"}], "needs a value in column 'scan_id'"),
        ([{"cohort": "brats21", "colour": "red"}], "no column 'colour'"),
        ([{"cohort": "brats21", "source_row": "many"}], "do not fit table labels"),
    ],
)
def test_rows_of_another_shape_are_refused(lake: Lake, rows: list[Any], fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        lake.transact(lambda tx: tx.append("labels", rows), run_id="r")
    assert lake.version == 0


def test_a_commit_holding_a_key_twice_is_refused(lake: Lake, label: Any) -> None:
    with pytest.raises(DuplicateKey, match=r"Two rows for table labels have .*scan-0001"):
        lake.transact(lambda tx: tx.upsert("labels", [label(1), label(1, age=3.0)]), run_id="r")


def test_a_folder_with_other_things_is_not_taken_for_a_lake(tmp_path: Path) -> None:
    (tmp_path / "BraTS2021_00000").mkdir()
    with pytest.raises(NotALake, match="BraTS2021_00000"):
        Lake(tmp_path, create=True)
    with pytest.raises(NotALake, match="no lake"):
        Lake(tmp_path / "nowhere")
    with pytest.raises(InputError, match="gs://"):
        Lake("gs://bucket/lake", create=True)


def test_a_flipped_byte_in_a_page_is_noticed_on_reading(lake: Lake) -> None:
    values = pa.array([[float(n) for n in range(400)]], pa.list_(pa.float32()))
    rows = pa.table({"feature_set": ["f"], "cohort": ["c"], "scan_id": ["s"], "modality": ["T1"], "values": values,
                     "input_sha256": ["0"]})  # fmt: skip
    (file,) = lake.stage("features", rows, run_id="r")
    lake.transact(lambda tx: tx.add([file]), run_id="r")
    path = Path(lake.root, file.path)
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedFile, match="features"):
        lake.read("features")
