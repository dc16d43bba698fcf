"""The patients as BIDS has them, checked by the rules of its specification."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gliolake.errors import InputError
from gliolake.sql.export.bids import export_bids, label
from gliolake.storage.lake import Lake

texts = st.text(st.characters(exclude_categories=["Cs"]))


@settings(deadline=None)
@given(st.just(["a_1", "a1", "A1"]) | st.lists(texts, unique=True, min_size=2))
def test_labels_are_letters_and_digits_and_no_two_names_share_one(names: list[str]) -> None:
    labels = [label(name) for name in names]
    assert all(re.fullmatch("[0-9a-zA-Z]+", each) for each in labels)
    assert len({each.lower() for each in labels}) == len(names)


@pytest.fixture
def lake_of_patients(lake: Lake, label: Any) -> Lake:
    """One BraTS21 patient whom UCSF has too, older than 89 and with a follow-up; one of UCSF's alone, little known."""
    cohorts = [
        {"cohort": name, "role": role, "label_rule": rule, "description": told, "description_sha256": ""}
        for name, role, rule, told in [
            ("brats21", "training", "brats21", "# Some release; doi 10.48550/arXiv.2107.02314.\nname = 'brats21'"),
            ("ucsf_pdgm", "external", "ucsf", "name = 'ucsf_pdgm'"),
        ]
    ]
    known = {"age": 93.0, "sex": "F", "site": "=cmd\t(1)", "survival_days": 1234567, "dead": True}
    labels = [
        label(1, mgmt_status="unmethylated"),
        label(10, "ucsf_pdgm", mgmt_status="methylated", mgmt_index=1, label_rule="ucsf", **known),
        label(0, "ucsf_pdgm", scan_id="scan-0010_FU030d", mgmt_status="unknown", label_rule="ucsf", age=93.5),
        label(11, "ucsf_pdgm", mgmt_status="methylated", label_rule="ucsf"),
    ]
    links = [
        {"cohort_a": a, "scan_a": b, "cohort_b": "ucsf_pdgm", "scan_b": c, "kind": kind, "evidence": "", "score": 1.0}
        for a, b, c, kind in [
            ("brats21", "scan-0001", "scan-0010", "declared"),
            ("ucsf_pdgm", "scan-0010", "scan-0010_FU030d", "follow-up"),
        ]
    ]

    def build(tx: Any) -> None:
        for name, rows in {"cohorts": cohorts, "labels": labels, "links": links}.items():
            tx.append(name, rows)

    lake.transact(build, run_id="r")
    return lake


def table(file: Path, sidecar: Path) -> list[dict[str, str]]:
    """A table of BIDS, by its rules: tabs alone part cells, none is empty, every column is described."""
    lines = file.read_text("utf-8").split("\n")
    assert lines.pop() == ""
    header, *cells = [line.split("\t") for line in lines]
    rows = [dict(zip(header, row, strict=True)) for row in cells]
    told = json.loads(sidecar.read_text("utf-8"))
    assert list(told) == header
    for name in header:
        assert told[name]["Description"]
        for row in rows:
            assert row[name]
            assert row[name] == row[name].strip()
            assert row[name] in ("n/a", *told[name].get("Levels", [row[name]]))
    return rows


def participants(folder: Path) -> list[dict[str, str]]:
    """The rows of participants.tsv."""
    return table(folder / "participants.tsv", folder / "participants.json")


def test_patients_become_participants_and_follow_ups_their_sessions(lake_of_patients: Lake, tmp_path: Path) -> None:
    folder = tmp_path / "gliolake"
    report = export_bids(lake_of_patients, folder)
    assert (report.participants, report.with_follow_up) == (2, 1)
    shared, alone = participants(folder)
    assert next(iter(shared)) == "participant_id"
    assert shared | {"participant_id": ""} == {
        "participant_id": "", "patient_id": "brats21/scan-0001", "age": "89", "sex": "F", "cohort": "brats21+ucsf_pdgm",
        "site": "'=cmd (1)", "grade": "n/a", "diagnosis": "n/a", "idh": "n/a", "survival_days": "1234567",
        "dead": "yes", "mgmt_brats21": "unmethylated", "mgmt_ucsf": "methylated", "split": "training", "sessions": "2",
        "images": "no", "synthetic": "no",
    }  # fmt: skip
    assert (alone["age"], alone["sex"], alone["split"], alone["sessions"]) == ("n/a", "n/a", "external", "1")
    (sub,) = [path for path in folder.iterdir() if path.is_dir()]
    assert sub.name == shared["participant_id"]
    first, second = table(sub / f"{sub.name}_sessions.tsv", folder / "sessions.json")
    assert re.fullmatch("ses-[0-9a-zA-Z]+", first["session_id"])
    assert first["session_names"] == "brats21/scan-0001 ucsf_pdgm/scan-0010"
    assert (second["visit_day"], second["session_age"]) == ("30", "89")
    assert not set(first) & set(shared)  # BIDS wants their columns apart

    described = json.loads((folder / "dataset_description.json").read_text("utf-8"))
    assert described["DatasetType"] == "derivative"
    assert re.fullmatch(r"1\.\d+\.\d+", described["BIDSVersion"])
    assert described["GeneratedBy"][0]["Name"] == "gliolake"
    assert described["SourceDatasets"] == [{"DOI": "doi:10.48550/arXiv.2107.02314"}]
    assert {path.name for path in folder.iterdir() if path.is_file()} == {
        "README.md", "dataset_description.json", "participants.json", "participants.tsv", "sessions.json",
    }  # fmt: skip


def test_a_cohort_alone_has_its_own_scans_and_replaces_only_what_gliolake_wrote(
    lake_of_patients: Lake, tmp_path: Path
) -> None:
    folder = tmp_path / "gliolake"
    export_bids(lake_of_patients, folder, cohort="brats21")
    (row,) = participants(folder)
    assert (row["cohort"], row["age"], row["sessions"], row["mgmt_ucsf"]) == ("brats21", "n/a", "1", "methylated")
    assert not list(folder.glob("sub-*"))
    with pytest.raises(InputError, match="there already"):
        export_bids(lake_of_patients, folder)
    assert export_bids(lake_of_patients, folder, overwrite=True).participants == 2
    with pytest.raises(InputError, match="brats12") as caught:
        export_bids(lake_of_patients, tmp_path / "new", cohort="brats12")
    assert "brats21" in caught.value.hint


def link_a_table(folder: Path) -> None:
    (folder / "participants.tsv").rename(folder.with_name("kept.tsv"))
    (folder / "participants.tsv").symlink_to(folder.with_name("kept.tsv"))


def add_a_column(folder: Path) -> None:
    file = folder / "participants.tsv"
    file.write_text("".join(f"{line}\tmine\n" for line in file.read_text().splitlines()))


def describe_another(folder: Path) -> None:
    (folder / "dataset_description.json").write_text(json.dumps({"GeneratedBy": [{"Name": "fMRIPrep"}]}))


@pytest.mark.parametrize(
    "change",
    [
        link_a_table,
        add_a_column,
        describe_another,
        lambda folder: (folder / "thesis.docx").write_text("years of work"),
        lambda folder: (next(folder.glob("sub-*")) / "anat").mkdir(),
        lambda folder: (folder / "sub-x").mkdir(),
        lambda folder: (folder / "README.md").write_text("# My study"),
        lambda folder: (folder / "participants.tsv").write_bytes(b"\xff"),
    ],
)
def test_a_dataset_that_somebody_added_to_is_left_as_it_is(
    lake_of_patients: Lake, tmp_path: Path, change: Callable[[Path], object]
) -> None:
    folder = tmp_path / "bids"
    export_bids(lake_of_patients, folder)
    export_bids(lake_of_patients, folder, overwrite=True)
    change(folder)
    before = {path: path.read_bytes() if path.is_file() else b"" for path in tmp_path.joinpath("bids").rglob("*")}
    with pytest.raises(InputError, match="is not a BIDS dataset as gliolake writes it"):
        export_bids(lake_of_patients, folder, overwrite=True)
    assert {path: path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")} == before
