"""Label files as Excel, R, a Mac and people write them: read where it is plain what is meant, else one message."""

from __future__ import annotations

import contextlib
import os
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gliolake.errors import InputError
from gliolake.ingest.cohorts.description import load_cohort, parse_cohort
from gliolake.ingest.labels.label_files import LabelFile, read_labels
from gliolake.ingest.readers.cells import clean, number, spoilt, whole
from gliolake.ingest.readers.csv_file import read_csv
from gliolake.ingest.readers.text_file import makes_sense

UCSF, BRATS = load_cohort("ucsf_pdgm"), load_cohort("brats21")
DIAGNOSIS = "Final pathologic diagnosis (WHO 2021)"
SAID = {"BraTS2021_00000": "methylated", "BraTS2021_00002": "unmethylated", "BraTS2021_00007": "unknown"}


def read(folder: Path, content: str | bytes, cohort: str = "brats21", encoding: str = "") -> LabelFile:
    path = folder / "labels.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_labels(UCSF if cohort == "ucsf_pdgm" else BRATS, path, {"brats21": BRATS.ids}, encoding=encoding)


def diagnosis(folder: Path, content: bytes, encoding: str = "") -> str:
    (row,) = read(folder, content, "ucsf_pdgm", encoding).rows
    return str(row["diagnosis"])


PLAIN = "BraTS21ID,MGMT_value\n00000,1\n00002,0\n00007,NA\n"


@pytest.mark.parametrize(
    "content",
    [
        PLAIN.replace("\n", "\r"),
        PLAIN.replace("\n", "\r\r\n"),
        PLAIN.replace("\n", "\r\n", 2).replace("0\n", "0\r"),
        "sep=;\r\n" + PLAIN.replace(",", ";").replace("\n", "\r\n"),
        '"SEP=|"\n' + PLAIN.replace(",", "|"),
        "\ufeffsep=\t\n" + PLAIN.replace(",", "\t"),
        "MGMT labels of our site,\nexported 2024-03-05;by hand\n\n" + PLAIN,
        'Table 1. "Labels", by scan\n' + PLAIN,
        PLAIN.replace("\n", ",,\n") + ",,,\n,\n",
        PLAIN + "\x1a",
        PLAIN.encode() + bytes(40),
        '"","BraTS21ID","MGMT_value"\n"1","00000",1\n"2","00002",0\n"3","00007",NA\n',
        '"BraTS21ID","MGMT_value"\n"1","00000",1\n"2","00002",0\n"3","00007",NA\n',
        '"BraTS21ID" "MGMT_value"\n"1" "00000" 1\n"2" "00002" 0\n"3" "00007" NA\n',
        '"BraTS21ID";"MGMT_value"\n0;1,0\n2,0;0\n7;"#N/A"\n',
        "brats21.id,mgmt.value\n0.0,1.0\n2.0,0.0\n7.0,nan\n",
        "BraTS21 ID,mgmt_Value\n0,TRUE\n2,false\n7,NULL\n",
        "MGMT VALUE,BRATS21ID\n1.,=\"00000\"\n0e0,'00002\n?,'7'\n",
        "BraTS21ID,MGMT_value,comment\n\u00a000000\u200b,\u20091 ,\"one \"\"two\"\"\nthree\"\n2,0,5\" lesion\n7,.,\n",
        PLAIN.encode("utf-16") + "\n".encode("utf-16-le"),
        PLAIN.replace(",", "\t").encode("utf-16-be"),
        b"BraTS21ID,MGMT_value,nom\n0,1,Andr\xe8\x81\n2,0,\x8e\n7,unknown,\n",
    ],
    ids=[
        "CR", "CR CR LF", "mixed ends", "sep=;", "quoted sep=", "sep=tab", "title rows", "title with quotes",
        "trailing cells", "Ctrl-Z", "padded with zeros", "R's row names", "R's row names, unnamed",
        "R's blanks", "decimal commas",
        "R's names", "R's logicals", "texts forced", "odd blanks", "UTF-16", "UTF-16 without mark", "unread bytes",
    ],
)  # fmt: skip
def test_the_same_three_labels_are_read_whatever_wrote_them(tmp_path: Path, content: str | bytes) -> None:
    file = read(tmp_path, content)
    assert {row["scan_id"]: row["mgmt_status"] for row in file.rows} == SAID
    assert file.exclusions == ()


def test_decimals_may_stand_behind_a_comma_wherever_that_is_plain(tmp_path: Path) -> None:
    head = "ID,MGMT status,Age at MRI,OS\n"
    for content, ages in {
        head.replace(",", ";") + "UCSF-PDGM-4;positive;66,5;1.303,0\n": [66.5],
        head.replace(",", "\t") + "UCSF-PDGM-4\tpositive\t1,250\t1 303\n": [1.25],
        head + 'UCSF-PDGM-4,positive,"66,5","1,303"\n': [66.5],
        head + 'UCSF-PDGM-4,positive,"66,500",1303\nUCSF-PDGM-5,positive,66.5,1303\n': [66.5],
        head + "UCSF-PDGM-4,positive,66,5,1303\nUCSF-PDGM-5,positive,7,1303\n": [7.0],
    }.items():
        rows = read(tmp_path, content, "ucsf_pdgm").rows
        assert [row["age"] for row in rows] == ages
        assert {row["survival_days"] for row in rows} == {1303}


def test_what_stands_above_the_header_is_named_by_its_line_and_rows_keep_their_own_lines(tmp_path: Path) -> None:
    file = read(tmp_path, "Labels\n\n" + PLAIN)
    assert [row["source_row"] for row in file.rows] == [4, 5, 6]
    assert file.notes == ("labels.csv: the header is line 3; what stands above it is not read.",)


def test_cells_that_are_missing_at_the_end_of_a_row_are_empty_unless_they_are_needed(tmp_path: Path) -> None:
    file = read(tmp_path, "ID,MGMT status,MGMT index,Sex\nUCSF-PDGM-4,positive\nUCSF-PDGM-5,negative,0\n", "ucsf_pdgm")
    assert [(row["mgmt_status"], row["mgmt_index"], row["sex"]) for row in file.rows] == [
        ("methylated", None, None),
        ("unmethylated", 0, None),
    ]
    file = read(tmp_path, "BraTS21ID,MGMT_value\n00000,1\n00002\n")
    assert [row["detail"] for row in file.exclusions] == ["Line 3: it has 1 fields, the header 2."]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252", "cp1250", "mac_roman", "cp850"])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_diagnosis_is_spelled_in_one_way_whatever_wrote_it(tmp_path: Path, encoding: str, form: str) -> None:
    import unicodedata

    said = "Glioblastom, größer für Ärzte, Übergröße"
    text = f"ID;MGMT status;{DIAGNOSIS}\nUCSF-PDGM-4;positive;{said}\n"
    if encoding.startswith("utf"):
        text = unicodedata.normalize(form, text)
    assert diagnosis(tmp_path, text.encode(encoding)) == said


@pytest.mark.parametrize(
    ("word", "encoding"), [("très", "cp1252"), ("Señor", "cp1252"), ("więc", "cp1250"), ("schön", "mac_roman")]
)
def test_where_several_encodings_make_sense_one_message_asks_and_the_answer_is_taken(
    tmp_path: Path, word: str, encoding: str
) -> None:
    content = f"ID;MGMT status;{DIAGNOSIS}\nUCSF-PDGM-4;positive;{word}\n".encode(encoding)
    with pytest.raises(InputError, match=r"not in UTF-8 but .* or .*: see line 2, column Final path") as caught:
        diagnosis(tmp_path, content)
    assert "--encoding" in caught.value.hint
    assert word[-1:] + "\n" not in str(caught.value)
    assert diagnosis(tmp_path, content, encoding) == word
    with pytest.raises(InputError, match=r"no text encoding named 'latin-99'"):
        diagnosis(tmp_path, content, "latin-99")
    with pytest.raises(InputError, match=r"no text encoding named 'cp125'"):
        read(tmp_path, PLAIN, encoding="cp125")
    (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(InputError, match=r"labels\.csv, line 2, is not ascii"):
        diagnosis(tmp_path, content, "ascii")


def test_columns_with_names_beyond_ascii_are_found_in_every_encoding_and_spelling(tmp_path: Path) -> None:
    import unicodedata

    text = (resources.files("gliolake.ingest") / "cohorts" / "brats21.toml").read_text(encoding="utf-8")
    text = text.replace('"MGMT_value"', '"MGMT für Größe"').replace('1 = "methylated"', '"größer" = "methylated"')
    for form in ("NFC", "NFD"):
        cohort = parse_cohort(unicodedata.normalize(form, text), "x.toml")
        for encoding in ("cp1252", "mac_roman", "utf-8"):
            (tmp_path / "labels.csv").write_bytes("BraTS21ID,mgmt_FÜR_größe\n1,Größer\n".encode(encoding))
            (row,) = read_labels(cohort, tmp_path / "labels.csv", {}).rows
            assert row["mgmt_status"] == "methylated"


@pytest.mark.parametrize("sign", ["\x85", "\x9b", "\x07", "\x1b", "\ufffd"])
def test_no_control_character_comes_into_the_lake(tmp_path: Path, sign: str) -> None:
    text = f"ID;MGMT status;{DIAGNOSIS}\nUCSF-PDGM-4;positive;a{sign}b\nUCSF-PDGM-5;positive;a\n"
    file = read(tmp_path, text, "ucsf_pdgm")
    assert all(row["diagnosis"].isprintable() for row in file.rows)
    assert [row["scan_id"] for row in file.rows][-1] == "UCSF-PDGM-0005"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"PK\x03\x04\x14\0\x06\0", "a ZIP archive, as spreadsheets"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "old Excel"),
        (b"%PDF-1.7\n", "a PDF"),
        (b"\x1f\x8b\x08\0", "compressed by gzip"),
        (b"\xef\xbb\xbf\n <!DOCTYPE html><table><tr><td>00000", "HTML or XML"),
        ("<html><body>Not logged in".encode("utf-16"), "HTML or XML"),
        (b"PAR1\x15\x04", "Parquet"),
        (b"BraTS21ID,MGMT_value\n00000,1\n00\x0002,0\n", "line 3 holds a zero byte"),
        (b"\xff\xfeB\0r", "line 1, is not utf-16"),
        (b'BraTS21ID,MGMT_value,note\n00000,1,"open\n00002,0,"well"\n', "line 2, is not CSV: a quotation mark"),
        (b'BraTS21ID,MGMT_value\n00000,1\n00002,"0\n', "line 3, is not CSV: a quotation mark"),
        (b"sep=;\nBraTS21ID,MGMT_value\n00000,1\n", "no column 'BraTS21ID'"),
        (b"\r\n \r\n", "is empty"),
        (b"BraTS21ID,MGMT_value\n1.5E+05,1\n", r"none of 1 rows"),
        (b"BraTS21ID,MGMT_value\n0,66,5\n2,1,0\n", r"none of 2 rows can be used \(unreadable row 2\)"),
    ],
)
def test_what_is_not_plain_gets_one_message_that_says_what_it_is(tmp_path: Path, content: bytes, what: str) -> None:
    with pytest.raises(InputError, match=what) as caught:
        read(tmp_path, content)
    assert "labels.csv" in str(caught.value)
    assert caught.value.hint


def test_what_a_spreadsheet_made_of_a_cell_is_said(tmp_path: Path) -> None:
    file = read(tmp_path, PLAIN + "1.23E+05,1\n05-Mar,0\n00009,02/01/2024\n2021-03-05 00:00:00,1\n")
    assert [row["detail"].partition("; ")[0] for row in sorted(file.exclusions, key=lambda row: row["detail"])] == [
        "Line 5: the id has the form 9.99A+99 (a number in scientific notation, as spreadsheets make of long ids)",
        "Line 6: the id has the form 99-Aaa (a date, as spreadsheets make of ids and ratios)",
        "Line 7: MGMT_value has the form 99/99/9999 (a date, as spreadsheets make of ids and ratios)",
        "Line 8: the id has the form 9999-99-99 99*99*99 (a date, as spreadsheets make of ids and ratios)".replace(
            "99*99*99", "99:99:99"
        ),
    ]


def test_a_labels_file_that_is_no_file_is_named_in_words(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "loop.csv").symlink_to(tmp_path / "loop.csv")
    with (tmp_path / "vast.csv").open("wb") as vast:
        vast.truncate(1 << 40)
    wrong = {
        tmp_path / "pipe.csv": "no regular file", tmp_path / "folder.csv": "no regular file",
        tmp_path / "loop.csv": "symbolic links", tmp_path / "vast.csv": "the limit is",
        Path("/dev/zero"): "no regular file", tmp_path / "none.csv": "No such file",
        tmp_path / ("x" * 300): "too long", Path("a\0b"): "no path",
    }  # fmt: skip
    for path, what in wrong.items():
        with pytest.raises(InputError, match=what):
            read_labels(BRATS, path, {})


@pytest.mark.parametrize(
    ("text", "comma", "expected"),
    [
        ("1", False, 1), ("1.0", False, 1), ("1,0", True, 1), ("1,0", False, 1), ("1,303", False, 1303),
        ("1,303", True, None), ("1.303", False, None), ("1 303", True, 1303), ("1.303,0", True, 1303),
        ("1e3", False, 1000),
        ("١", False, None), ("1_0", False, None), ("inf", False, None), ("1e999", False, None), ("", False, None),
        ("\N{MINUS SIGN}5", False, -5), ("1,30", False, None), ("0x10", False, None), ("1,303,5", False, None),
        ("1,303.0", True, 1303), ("1.303,0", False, 1303), ("1,303,404", True, None), ("1,303,404", False, 1303404),
    ],
)  # fmt: skip
def test_whole_numbers(text: str, comma: bool, expected: int | None) -> None:
    assert whole(text, comma=comma) == expected


@given(st.integers(-(10**9), 10**9), st.sampled_from(["{}", "{}.0", " {} ", "{}.", "='{}'"]))
def test_a_number_is_read_in_each_of_its_spellings(value: int, form: str) -> None:
    text = clean(form.format(value).replace("='", '="').replace("'", '"'))
    assert whole(text) == value
    assert number(text) == value
    assert not spoilt(text)


CELLS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


ROWS = st.tuples(st.integers(0, 99999), st.sampled_from("01"), CELLS)


@given(
    st.lists(ROWS, min_size=1, max_size=6, unique_by=lambda row: row[0]),
    st.sampled_from(",;\t|"), st.sampled_from(["\n", "\r\n", "\r"]), st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)  # fmt: skip
def test_whatever_stands_beside_them_labels_are_read_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, str, str]], separator: str, end: str, encoding: str
) -> None:
    lines = [("note", "BraTS21ID", "MGMT_value"), *((note, f"{scan:05d}", value) for scan, value, note in rows)]
    quoted = [separator.join('"' + cell.replace('"', '""') + '"' for cell in line) for line in lines]
    path = tmp_path_factory.getbasetemp() / "generated.csv"
    path.write_bytes((end.join(quoted) + end).encode(encoding))
    file = read_labels(BRATS, path, {})
    assert {row["scan_id"]: row["mgmt_status"] for row in file.rows} == {
        f"BraTS2021_{scan:05d}": "methylated" if value == "1" else "unmethylated" for scan, value, _ in rows
    }


@given(st.binary(max_size=200))
def test_any_bytes_are_a_table_or_an_input_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(content)
    with contextlib.suppress(InputError):
        table = read_csv(path, ("ID",), ("name",))
        assert all("\0" not in field for _, fields in table.rows for field in fields)


@pytest.mark.parametrize("text", ["größer", "l’IDH – 5 µm ±2", "ÉLEVÉ", "Ångström", "à deux", "naïve œdème", "“a”"])
def test_european_texts_make_sense(text: str) -> None:
    assert makes_sense(text)


@pytest.mark.parametrize("text", ["JosÈ", "MŸller", "gro§", "a\x85b", "Ìåäóëëà", "gr¸ner", "ab\ufffd", "ﬂ"])
def test_texts_in_a_wrong_encoding_do_not(text: str) -> None:
    assert not makes_sense(text)
