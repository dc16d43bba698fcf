"""Label files as strangers write them: what is understood, what is left out with its line, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingest.cohort import load_cohort
from ingest.labels import LabelFile, read_labels
from lake.errors import InputError

UCSF = load_cohort("ucsf_pdgm")
BRATS = load_cohort("brats21")
DECLARED = {"brats21": BRATS.ids}
PLAIN = "BraTS21ID,MGMT_value\n00000,1\n00002,0\n"


def read(folder: Path, content: str | bytes, name: str = "train_labels.csv") -> LabelFile:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_labels(BRATS, path, DECLARED)


def calls(file: LabelFile) -> dict[str, str]:
    return {row["scan_id"]: row["mgmt_status"] for row in file.rows}


@pytest.mark.parametrize(
    "content",
    [
        PLAIN.encode("utf-8-sig"),
        PLAIN.replace("\n", "\r\n").encode(),
        PLAIN.encode("utf-16"),
        PLAIN.encode("utf-16-le"),
        PLAIN.encode("utf-16-be"),
        PLAIN.replace(",", ";").encode(),
        PLAIN.replace(",", "\t").encode(),
        b"MGMT_value,note,BraTS21ID\n1,caf\xe9,00000\n0,,00002\n",
        b'"MGMT_value" , "BraTS21ID"\n\n1, 0\n0, BraTS2021_00002 \n\n',
    ],
    ids=["BOM", "CRLF", "UTF-16", "UTF-16 LE", "UTF-16 BE", "semicolons", "tabs", "Latin-1, other order", "blanks"],
)
def test_the_same_labels_are_read_whatever_wrote_the_file(tmp_path: Path, content: bytes) -> None:
    file = read(tmp_path, content)
    assert calls(file) == {"BraTS2021_00000": "methylated", "BraTS2021_00002": "unmethylated"}
    assert file.exclusions == ()
    assert {row["label_rule"] for row in file.rows} == {"brats21"}


def test_a_renamed_column_is_an_error_that_names_it_the_nearest_and_the_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'MGMT_value'.*the nearest is 'MGMT value'") as caught:
        read(tmp_path, "BraTS21ID,MGMT value\n00000,1\n")
    assert "train_labels.csv" in str(caught.value)
    with pytest.raises(InputError, match=r"'BraTS21ID'.*scan's id.*nearest is 'brats21_id'"):
        read(tmp_path, "brats21_id,MGMT_value\n00000,1\n")
    with pytest.raises(InputError, match="two columns named 'MGMT_value'"):
        read(tmp_path, "BraTS21ID,MGMT_value,MGMT_value\n00000,1,0\n")


@pytest.mark.parametrize("content", [b"", b"\n\n", b"PK\x03\x04\x00\x00 a spreadsheet", b'a,"b\n' + b"x" * 200_000])
def test_what_is_no_table_is_an_error(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(InputError, match=r"train_labels\.csv"):
        read(tmp_path, content)


def test_optional_columns_may_be_missing_and_are_then_empty(tmp_path: Path) -> None:
    path = tmp_path / "few.csv"
    path.write_text("MGMT status,ID\npositive,UCSF-PDGM-004\nunknown,UCSF-PDGM-005\n,UCSF-PDGM-007\n")
    file = read_labels(UCSF, path, DECLARED)
    assert [row["mgmt_status"] for row in file.rows] == ["methylated", "unknown", "unknown"]
    assert all(row["mgmt_index"] is None and row["declared_id"] is None and row["age"] is None for row in file.rows)
    assert "MGMT index" in " ".join(file.notes)


def test_a_row_that_cannot_be_understood_costs_itself_and_is_kept_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "meta.csv"
    path.write_text(
        "ID,MGMT status,MGMT index,BraTS21 ID,Age at MRI\n"
        "UCSF-PDGM-004,positive,3,BraTS2021_00097,66\n"
        '"UCSF-PDGM\n-oops",positive,3,,66\n'
        "UCSF-PDGM-005,perhaps,3,,66\n"
        "UCSF-PDGM-007,positive,3.5,,66\n"
        "UCSF-PDGM-008,positive,3,BraTS-97,66\n"
        "UCSF-PDGM-009,positive,3,,sixty\n"
        "UCSF-PDGM-010,positive\n"
        ",positive,3,,66\n"
        ",negative,3,,66\n"
    )
    file = read_labels(UCSF, path, DECLARED)
    assert [row["scan_id"] for row in file.rows] == ["UCSF-PDGM-0004"]
    assert file.rows[0]["source_row"] == 2
    left_out = {row["scan_id"]: (row["reason"], row["detail"]) for row in file.exclusions}
    assert {name: reason for name, (reason, _) in left_out.items()} == {
        "UCSF-PDGM\n-oops": "unreadable id",
        "UCSF-PDGM-005": "unreadable value",
        "UCSF-PDGM-007": "unreadable value",
        "UCSF-PDGM-008": "unreadable value",
        "UCSF-PDGM-009": "unreadable value",
        "UCSF-PDGM-010": "unreadable row",
        "(none)": "unreadable id",
    }
    assert left_out["UCSF-PDGM\n-oops"][1].startswith("Line 3:")
    assert left_out["UCSF-PDGM-005"][1].startswith("Line 5:")
    assert "'perhaps'" in left_out["UCSF-PDGM-005"][1]
    assert "Line 10:" in left_out["(none)"][1]
    assert "Line 11:" in left_out["(none)"][1]


def test_duplicate_rows_collapse_when_they_agree_and_none_is_used_when_they_do_not(tmp_path: Path) -> None:
    file = read(tmp_path, "BraTS21ID,MGMT_value\n00000,1\n5,0\n0,1\n00005,1\n00007,0\n")
    assert calls(file) == {"BraTS2021_00000": "methylated", "BraTS2021_00007": "unmethylated"}
    assert any("lines 2 and 4" in note and "BraTS2021_00000" in note for note in file.notes)
    (conflict,) = file.exclusions
    assert (conflict["scan_id"], conflict["reason"]) == ("BraTS2021_00005", "conflicting duplicate rows")
    assert "Lines 3 and 5" in conflict["detail"]
    assert "mgmt_status" in conflict["detail"]


def test_an_id_of_a_cohort_that_nobody_described_is_kept_as_written(tmp_path: Path) -> None:
    path = tmp_path / "meta.csv"
    path.write_text("ID,MGMT status,BraTS21 ID\nUCSF-PDGM-004,positive, case 9 \n")
    (row,) = read_labels(UCSF, path, {}).rows
    assert (row["declared_cohort"], row["declared_id"]) == ("brats21", "case 9")


def test_the_public_label_files_give_the_rows_they_hold(reference: Path) -> None:
    brats = read_labels(BRATS, reference / "brats21" / "train_labels.csv", DECLARED)
    assert len(brats.rows) == 585
    assert sum(row["mgmt_status"] == "methylated" for row in brats.rows) == 307
    v2, v5 = (
        read_labels(UCSF, reference / "ucsf_pdgm" / f"UCSF-PDGM-metadata_{release}.csv", DECLARED)
        for release in ("v2", "v5")
    )
    for file in (brats, v2, v5):
        assert file.exclusions == ()
    said = [{row["scan_id"]: row for row in file.rows} for file in (v2, v5)]
    assert len(said[0]) == 501
    assert set(said[0]) == set(said[1])
    assert sum(row["mgmt_status"] in ("methylated", "unmethylated") for row in said[1].values()) == 416
    assert sum(row["declared_id"] is not None for row in said[1].values()) == 298
    for scan_id, row in said[0].items():
        differing = {key for key, value in said[1][scan_id].items() if value != row[key]}
        assert differing <= {"source", "source_id", "source_sha256", "source_row"}
