"""Label files as strangers write them: what is understood, what is left out with its line, what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gliolake.errors import InputError
from gliolake.ingest.cohorts.description import load_cohort
from gliolake.ingest.labels.label_files import LabelFile, read_labels

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


def test_a_renamed_column_is_an_error_that_says_what_the_header_has_but_no_text_of_another(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"no column 'MGMT_value' .*line 1, with 1: AaaAA99AA, 2: 'MGMT_valeu'"
    ) as caught:
        read(tmp_path, "BraTS21ID,MGMT_valeu\n00000,1\n")
    assert "train_labels.csv" in str(caught.value)
    with pytest.raises(InputError, match=r"'BraTS21ID'.*scan's id.*1: 'brats_id', 2: AAAA_aaaaa, 3: Aaaa Aaaaa"):
        read(tmp_path, "brats_id,MGMT_value,Anna Kovac\n00000,1,x\n")
    with pytest.raises(InputError, match=r"'BraTS21ID' \(the scan's id\) and no column 'MGMT_value' \(mgmt_status\)"):
        read(tmp_path, "a,b\n00000,1\n")
    with pytest.raises(InputError, match="two columns named 'MGMT_value': columns 2 and 3"):
        read(tmp_path, "BraTS21ID,MGMT_value,MGMT_value\n00000,1,0\n")
    with pytest.raises(InputError, match="two columns named 'MGMT_value'"):
        read(tmp_path, "BraTS21ID,mgmt value,MGMT-Value\n00000,1,0\n")


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
        "UCSF-PDGM-010\n"
        ",positive,3,,66\n"
        ",negative,3,,66\n"
    )
    file = read_labels(UCSF, path, DECLARED)
    assert [row["scan_id"] for row in file.rows] == ["UCSF-PDGM-0004"]
    assert file.rows[0]["source_row"] == 2
    left_out = {row["scan_id"]: (row["reason"], row["detail"]) for row in file.exclusions}
    no_id = "expected UCSF-PDGM-{number}[_FU{day}d]."
    no_status = "expected positive or negative or indeterminate."
    no_scan = "which is no scan id of brats21 (BraTS2021_{number})."
    assert left_out == {
        "meta line 3": ("unreadable id", f"Line 3: the id has the form AAAA-AAAA -aaaa; {no_id}"),
        "UCSF-PDGM-0005": ("unreadable value", f"Line 5: MGMT status has the form aaaaaaa; {no_status}"),
        "UCSF-PDGM-0007": (
            "unreadable value",
            "Line 6: MGMT index has the form 9.9; expected a whole number, not negative.",
        ),
        "UCSF-PDGM-0008": ("unreadable value", f"Line 7: BraTS21 ID has the form AaaAA-99, {no_scan}"),
        "UCSF-PDGM-0009": (
            "unreadable value",
            "Line 8: Age at MRI has the form aaaaa; expected a number, not negative.",
        ),
        "UCSF-PDGM-0010": ("unreadable row", "Line 9: it has 1 fields, the header 5."),
        "meta line 10": ("unreadable id", f"Line 10: the id is empty; {no_id}"),
        "meta line 11": ("unreadable id", f"Line 11: the id is empty; {no_id}"),
    }


def test_duplicate_rows_collapse_when_they_agree_and_none_is_used_when_they_do_not(tmp_path: Path) -> None:
    file = read(tmp_path, "BraTS21ID,MGMT_value\n00000,1\n5,0\n0,1\n00005,1\n00007,0\n")
    assert calls(file) == {"BraTS2021_00000": "methylated", "BraTS2021_00007": "unmethylated"}
    assert any("lines 2 and 4" in note and "BraTS2021_00000" in note for note in file.notes)
    (conflict,) = file.exclusions
    assert (conflict["scan_id"], conflict["reason"]) == ("BraTS2021_00005", "conflicting duplicate rows")
    assert "Lines 3 and 5" in conflict["detail"]
    assert "mgmt_status" in conflict["detail"]


def test_rows_of_one_scan_are_put_together_where_each_knows_what_the_other_does_not(tmp_path: Path) -> None:
    path = tmp_path / "meta.csv"
    path.write_text(
        "ID,MGMT status,MGMT index,Sex,Age at MRI\nUCSF-PDGM-004,unknown,,F,\nUCSF-PDGM-4,positive,3,,61\n"
        "UCSF-PDGM-005,positive,3,,61\nUCSF-PDGM-0005,,,M,62\n"
    )
    file = read_labels(UCSF, path, {})
    ((row,), (left_out,)) = file.rows, file.exclusions
    assert (row["mgmt_status"], row["mgmt_index"], row["sex"], row["age"]) == ("methylated", 3, "F", 61)
    assert (row["source_row"], row["source_id"]) == (2, "UCSF-PDGM-004")
    assert left_out["detail"] == "Lines 4 and 5 differ in age; none is used."


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        ("", "has a header and no rows"),
        (
            "Zenobia Quux,1\nMaria Quux,0\n",
            r"none of 2 rows .*Its ids have the form Aaaaaaa Aaaa \(1\), Aaaaa Aaaa \(1\)",
        ),
        ("UPENN-GBM-00004_11,1\n", r"AAAAA-AAA-99999_99 \(1\); those of brats21 are written BraTS2021_\{number\}"),
        (
            "00001,1,5\nQuux,1\n",
            r"unreadable row 1, unreadable id 1\).*The first: Line 2: it has 3 fields, the header 2",
        ),
    ],
)
def test_a_file_in_which_no_row_names_a_scan_is_an_error_that_says_what_it_has_instead(
    tmp_path: Path, rows: str, what: str
) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, f"BraTS21ID,MGMT_value\n{rows}")
    assert re.search(what, f"{caught.value} {caught.value.hint}")


def test_the_report_counts_what_a_file_says(tmp_path: Path) -> None:
    report = read(tmp_path, "BraTS21ID;MGMT_value\n1;1\n2;0\n3;NA\n4;x\n5;y\nAnna;1\n").report
    assert (report.rows, report.scans) == (6, 3)
    assert report.calls == {"methylated": 1, "unknown": 1, "unmethylated": 1}
    assert report.left_out == {"unreadable id": 1, "unreadable value": 2}
    assert (report.columns, report.encoding) == (("MGMT_value",), "utf-8")
    assert report.notes == ("train_labels.csv: cells are parted by a semicolon.",)


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
