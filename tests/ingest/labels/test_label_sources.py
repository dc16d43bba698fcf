"""Sources of labels: known by path and content, so that neither a name nor an order of visits hides a label."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gliolake.ingest.labels.sources import Source, given_up, placed
from gliolake.ingest.pipeline import ingest
from gliolake.storage.lake import Lake

HEADER = "BraTS21ID,MGMT_value\n"


@pytest.fixture
def labelled(lake: Lake, tmp_path: Path) -> Callable[..., Any]:
    """Write label files (path -> rows), and ingest those that are named, in this order."""

    def run(*names: str, **files: str) -> Any:
        paths = [tmp_path / name for name in names]
        for path, rows in zip(paths, files.values(), strict=False):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(HEADER + rows)
        return ingest(lake, "brats21", labels=paths)

    return run


def said(lake: Lake) -> dict[str, tuple[str, str, int]]:
    """Scan -> what counts of it, and its source and line, as scan_labels has it."""
    from gliolake.sql.catalog import connect

    with connect(lake) as connection:
        rows = connection.sql("SELECT scan_id, mgmt_status, source, source_row FROM scan_labels").fetchall()
    return {scan[-2:]: (status, source, line) for scan, status, source, line in rows}


def stored(lake: Lake) -> dict[str, tuple[str, str, int]]:
    """The same of the rows as they are kept, where each scan has one."""
    return {
        row["scan_id"][-2:]: (row["mgmt_status"], row["source"], row["source_row"])
        for row in lake.read("labels").to_pylist()
    }


def test_two_sites_with_files_of_one_name_both_stay(lake: Lake, tmp_path: Path, labelled: Callable[..., Any]) -> None:
    labelled("site_a/labels.csv", a="1,1\n2,0\n")
    report = labelled("site_b/labels.csv", b="3,1\n4,x\n")
    assert report.labels == {"labels": 2, "labels (site_b)": 1}
    assert [(file.source, file.rows, dict(file.left_out)) for file in report.label_files] == [
        ("labels (site_b)", 2, {"unreadable value": 1})
    ]
    report = labelled("site_c/labels.csv", "x/site_a/labels.csv", c="5,1\n", a="6,0\n7,y\n")
    assert set(report.labels) == {"labels", "labels (site_b)", "labels (site_c)", "labels (site_a)"}
    before = lake.version
    labelled("site_c/labels.csv", "site_b/labels.csv", "x/site_a/labels.csv", "site_a/labels.csv")
    assert lake.version == before
    assert set(stored(lake)) == {"01", "02", "03", "05", "06"}
    assert lake.read("exclusions").num_rows == 2
    labelled("site_a/labels.csv", "site_b/labels.csv", a="1,1\nAnna,1\n", b="3,1\nBert,1\n")
    names = {name for name in lake.read("exclusions")["scan_id"].to_pylist() if "line" in name}
    assert names == {"labels line 3", "labels (site_b) line 3"}


def test_new_content_at_a_path_replaces_the_old_and_a_moved_file_is_the_same_source(
    lake: Lake, tmp_path: Path, labelled: Callable[..., Any]
) -> None:
    labelled("a/labels.csv", rows="1,1\n2,0\n3,x\n")
    labelled("a/labels.csv", rows="2,1\n")
    assert stored(lake) == {"02": ("methylated", "labels", 2)}
    assert lake.read("exclusions").num_rows == 0
    labelled("b/other.csv", rows="2,1\n")
    assert stored(lake) == {"02": ("methylated", "labels", 2)}
    assert lake.read("labels")["source_path"].to_pylist() == [str(tmp_path / "b" / "other.csv")]
    labelled("b/other.csv", rows="4,0\n5,x\n")
    assert stored(lake) == {"04": ("unmethylated", "labels", 2)}
    assert lake.read("exclusions")["scan_id"].to_pylist() == ["BraTS2021_00005"]


def test_a_file_put_in_the_place_of_another_leaves_nothing_of_it(lake: Lake, labelled: Callable[..., Any]) -> None:
    labelled("new.csv", "old.csv", new="1,0\n", old="1,1\n2,1\n")
    labelled("old.csv", new="1,0\n")
    assert stored(lake) == {"01": ("unmethylated", "new", 2)}
    assert lake.read("labels").num_rows == 1


def test_the_same_content_given_twice_in_one_command_is_used_once_and_said(
    lake: Lake, tmp_path: Path, labelled: Callable[..., Any]
) -> None:
    report = labelled("a/x.csv", "b/y.csv", one="1,1\n", two="1,1\n")
    assert report.labels == {"x": 1}
    assert f"{tmp_path}/b/y.csv holds the same as {tmp_path}/a/x.csv: it is used once." in report.notes
    assert labelled("a/x.csv", "a/x.csv", "a/../a/x.csv").notes == ()


@pytest.mark.parametrize("together", [False, True])
def test_a_later_source_that_does_not_know_hides_nothing_and_one_that_does_counts(
    lake: Lake, labelled: Callable[..., Any], together: bool
) -> None:
    files = {"z/labels.csv": "1,1\n2,0\n", "b.csv": "1,NA\n2,\n3,unknown\n", "a.csv": "2,1\n"}
    for names in [list(files)] if together else [[name] for name in files]:
        labelled(*names, **{name: files[name] for name in names})
    assert said(lake) == {"01": ("methylated", "labels", 2), "02": ("methylated", "a", 2), "03": ("unknown", "b", 4)}
    labelled("z/labels.csv", again="1,1\n2,0\n4,1\n")
    assert said(lake)["02"] == ("unmethylated", "labels", 3), "what changed came last"


def test_labels_of_which_no_scan_has_images_are_said(lake: Lake, labelled: Callable[..., Any], scan: Any) -> None:
    lake.transact(lambda tx: tx.append("scans", [scan("BraTS2021_00001")]), run_id="r")
    assert not any("none of" in note for note in labelled("a.csv", a="1,1\n2,1\n").notes)
    (note,) = labelled("b.csv", b="3,1\n4,1\n").notes
    assert note.endswith("b.csv: none of its 2 scans is among those with images.")


@pytest.fixture
def scan() -> Callable[[str], dict[str, Any]]:
    def row(name: str) -> dict[str, Any]:
        return {"cohort": "brats21", "scan_id": name, "source_id": name, "subject_id": name, "visit_day": 0,
                "files": [],
                "shape": [1, 1, 1], "spacing_mm": [1.0] * 3, "affine": [0.0] * 16, "orientation": "LPS",
                "tumour_box": [0, 1] * 3, "tumour_voxels": 1, "mask_labels": [], "warnings": [],
                "fingerprint": ""}  # fmt: skip

    return row


PATHS = st.sampled_from([f"/{folder}/{name}.csv" for folder in ("a", "b", "b/a", "c") for name in ("x", "x 2", "y")])
FILES = st.lists(st.tuples(PATHS, st.sampled_from("01234")), max_size=4, unique_by=(lambda f: f[0], lambda f: f[1]))


@given(st.lists(FILES, max_size=6))
def test_however_files_come_move_and_change_each_has_a_name_and_the_newest_counts_last(
    visits: list[list[tuple[str, str]]],
) -> None:
    known: list[Source] = []
    for files in visits:
        now = placed(known, files)
        assert [(source.path, source.sha256) for source in now] == files
        names = {source.name for source in now}
        gone = given_up(known, now)
        kept = [source for source in known if source.name not in names and source not in gone]
        latest = max((source.order for source in known), default=0)
        contents = {source.sha256: source for source in known}
        for source in now:
            before = contents.get(source.sha256)
            assert (source.order == before.order) if before else (source.order > latest)
        known = [*kept, *now]
        assert len({source.name for source in known}) == len(known)
        assert len({source.order for source in known}) == len(known)
        assert len({source.path for source in known}) == len(known)
        assert placed(known, files) == now
