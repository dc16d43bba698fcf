"""The patients of a lake as a BIDS derivative dataset: participants, and sessions where there are follow-ups.

BIDS 1.11 (bids-specification.readthedocs.io): labels are letters and digits, a missing value is ``n/a``, every column
is described in a JSON file beside its table, and ages are capped at 89 years, because HIPAA's Safe Harbor requires one
group for all ages above. There are no dates, and no names except those of the released cohorts.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import pyarrow as pa

from gliolake.atomic import replaced_folder
from gliolake.errors import check_choice
from gliolake.runs import code_version
from gliolake.sql.catalog import connect, damage_named
from gliolake.sql.cells import harmless
from gliolake.storage.lake import Lake
from gliolake.target import Own, check_target

VERSION = "1.11.1"
"""The version of BIDS that is written."""

DESCRIPTION = "dataset_description.json"
TITLE = "# Patients of a gliolake data lake"
MISSING = "n/a"
OLDEST = 89
"""Years; greater ages are written as this one."""

_CALLS = {"methylated": "MGMT promoter methylated", "unmethylated": "MGMT promoter not methylated"}
_YES = {"yes": "yes", "no": "no"}

PARTICIPANTS: dict[str, dict[str, Any]] = {
    "participant_id": {"Description": "the patient: letters and digits of patient_id, an x, and a digest of it"},
    "patient_id": {"Description": "the patient's name in the lake: the first of its scans' names, cohort/scan_id"},
    "age": {"Description": f"age at the first imaging that tells it; {OLDEST} stands for all greater ages",
            "Units": "year"},
    "sex": {"Description": "sex", "Levels": {"F": "female", "M": "male"}},
    "cohort": {"Description": "cohort of the patient's scans; several are joined by +"},
    "site": {"Description": "hospital or collection that the first scan comes from"},
    "grade": {"Description": "WHO CNS grade"},
    "diagnosis": {"Description": "final pathological diagnosis (WHO 2021)"},
    "idh": {"Description": "IDH status"},
    "survival_days": {"Description": "survival or follow-up", "Units": "day"},
    "dead": {"Description": "dead at last follow-up", "Levels": _YES},
    "mgmt_brats21": {"Description": "MGMT call by BraTS21's rule: methylated at two or more sites", "Levels": _CALLS},
    "mgmt_ucsf": {"Description": "MGMT call by UCSF's rule: methylated at one or more sites", "Levels": _CALLS},
    "split": {"Description": "side of the study that the patient is on; n/a: on neither",
              "Levels": {"training": "trains, by cross-validation", "external": "tests from outside"}},
    "sessions": {"Description": "examinations; one that was released under two names counts once"},
    "images": {"Description": "whether the lake has images of the patient", "Levels": _YES},
    "synthetic": {"Description": "whether the images are synthetic: made by a program, of nobody", "Levels": _YES},
}  # fmt: skip
"""Columns of participants.tsv, as participants.json describes them."""

SESSIONS: dict[str, dict[str, Any]] = {
    "session_id": {"Description": "the examination: letters and digits of its first name, an x, and a digest of it"},
    "visit_day": {"Description": "days after the first visit", "Units": "day"},
    "session_age": {"Description": f"age at imaging; {OLDEST} stands for all greater ages", "Units": "year"},
    "session_names": {"Description": "the examination's names in the lake, cohort/scan_id, joined by a space"},
    "session_images": {"Description": "whether the lake has images of it", "Levels": _YES},
}

_SCANS = f"""
WITH scan AS (
    SELECT
        patients.patient_id, patients.session_id, patients.cohort, patients.scan_id,
        max(coalesce(label.visit_day, scans.visit_day, 0)) OVER (PARTITION BY patients.session_id) AS visit_day,
        if(label.age > {OLDEST}, {OLDEST}, label.age) AS age, label.sex, label.site,
        label.grade, label.diagnosis, label.idh, label.survival_days, label.dead,
        scans.scan_id IS NOT NULL AS images,
        coalesce(list_contains(scans.warnings, 'synthetic'), false) AS synthetic,
        cohorts.role = 'released' AND label.known AS trains
    FROM patients
    JOIN cohorts USING (cohort)
    LEFT JOIN labelled AS label USING (cohort, scan_id)
    LEFT JOIN scans USING (cohort, scan_id)
    WHERE label.scan_id IS NOT NULL OR scans.scan_id IS NOT NULL
), kept AS (
    FROM scan WHERE $cohort IS NULL OR cohort = $cohort
)
"""
_OF_THE_FIRST = ", ".join(
    f"first({name} ORDER BY visit_day, cohort, scan_id) FILTER ({name} IS NOT NULL) AS {name}"
    for name in ("age", "sex", "site", "grade", "diagnosis", "idh", "survival_days", "dead")
)
_PARTICIPANTS = f"""{_SCANS}
SELECT
    patient_id,
    {_OF_THE_FIRST},
    list(DISTINCT cohort ORDER BY cohort) AS cohorts,
    (SELECT if(methylated, 'methylated', 'unmethylated') FROM mgmt
        WHERE mgmt.patient_id = kept.patient_id AND label_rule = 'brats21') AS mgmt_brats21,
    (SELECT if(methylated, 'methylated', 'unmethylated') FROM mgmt
        WHERE mgmt.patient_id = kept.patient_id AND label_rule = 'ucsf') AS mgmt_ucsf,
    CASE
        WHEN bool_or(trains) OR patient_id IN (SELECT patient_id FROM training) THEN 'training'
        WHEN patient_id IN (SELECT patient_id FROM external) THEN 'external'
    END AS split,
    count(DISTINCT session_id) AS sessions, bool_or(images) AS images, bool_or(synthetic) AS synthetic
FROM kept GROUP BY patient_id ORDER BY patient_id
"""
_SESSIONS = f"""{_SCANS}
SELECT
    patient_id, session_id, min(visit_day) AS visit_day, min(age) AS session_age,
    string_agg(cohort || '/' || scan_id, ' ' ORDER BY cohort, scan_id) AS session_names,
    bool_or(images) AS session_images
FROM kept
WHERE patient_id IN (SELECT patient_id FROM kept GROUP BY patient_id HAVING count(DISTINCT session_id) > 1)
GROUP BY patient_id, session_id ORDER BY patient_id, visit_day, session_id
"""
_COHORTS = "SELECT cohort, role, description FROM cohorts ORDER BY cohort"

_DOI = re.compile(r"\b10\.\d{4,9}/[-._;()/:A-Za-z0-9]+")

Rows: TypeAlias = list[dict[str, Any]]


@dataclass(frozen=True)
class BidsExport:
    """What was written, and where. with_follow_up: participants of several sessions."""

    folder: str
    participants: int
    with_follow_up: int


def export_bids(lake: Lake, folder: Path, *, cohort: str | None = None, overwrite: bool = False) -> BidsExport:
    """Write the patients as a BIDS derivative dataset.

    Args:
        lake: the lake.
        folder: the dataset's folder; inside a BIDS dataset, BIDS wants it to be called derivatives/gliolake.
        cohort: only scans of this cohort.
        overwrite: replace a dataset that an earlier call wrote there.

    Raises:
        InputError: there is no such cohort, or the folder is there.
        DamagedFile: a file of the lake is missing or altered.
        StorageFull: no space is left.
    """
    check_target(folder, overwrite=overwrite, own=DATASET, folder=True)
    with connect(lake) as connection, damage_named():
        cohorts = _ask(connection, _COHORTS, None)
        if cohort is not None:
            check_choice("cohort", cohort, [row["cohort"] for row in cohorts])
            cohorts = [row for row in cohorts if row["cohort"] == cohort]
        participants, sessions = (_ask(connection, statement, cohort) for statement in (_PARTICIPANTS, _SESSIONS))
    for row in (*participants, *sessions):
        row["participant_id"] = f"sub-{label(row['patient_id'])}"
    for row in participants:
        row["cohort"] = "+".join(row["cohorts"])
    for row in sessions:
        row["session_id"] = f"ses-{label(row['session_id'])}"
    with replaced_folder(folder, overwrite=overwrite, own=DATASET) as part:
        _write_dataset(part, participants, sessions, cohorts)
    return BidsExport(str(folder), len(participants), len({row["participant_id"] for row in sessions}))


def label(name: str) -> str:
    """A BIDS label: letters and digits, the same for the same name, another for any other, in small letters too."""
    return f"{re.sub('[^0-9A-Za-z]', '', name)[:60]}x{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def _is_ours(folder: Path) -> bool:
    """Whether the folder holds a dataset as it is written here, and nothing else."""
    there = {str(path.relative_to(folder)): path for path in folder.rglob("*")}
    table = (folder / "participants.tsv").read_text("utf-8").splitlines()
    followed = {name for name, path in there.items() if path.is_dir()}
    files = {DESCRIPTION, "README.md", "participants.json", "participants.tsv"}
    files |= {"sessions.json" for _ in followed} | {f"{name}/{name}_sessions.tsv" for name in followed}
    return (
        there.keys() == files | followed
        and not any(path.is_symlink() for path in there.values())
        and json.loads((folder / DESCRIPTION).read_bytes())["GeneratedBy"][0]["Name"] == "gliolake"
        and (folder / "README.md").read_text("utf-8").startswith(TITLE)
        and table[0].split("\t") == list(json.loads((folder / "participants.json").read_bytes()))
        and followed <= {line.split("\t")[0] for line in table}
    )


DATASET = Own(kind="a BIDS dataset", recognises=_is_ours)


def _ask(connection: duckdb.DuckDBPyConnection, statement: str, cohort: str | None) -> Rows:
    given = {"cohort": cohort} if "$cohort" in statement else {}
    rows: Rows = connection.sql(statement, params=given).to_arrow_table().to_pylist()
    return rows


def _write_dataset(folder: Path, participants: Rows, sessions: Rows, cohorts: Rows) -> None:
    synthetic = any(row["synthetic"] for row in participants)
    _write_json(folder / DESCRIPTION, _description(cohorts, synthetic))
    (folder / "README.md").write_text(_readme(cohorts, synthetic), "utf-8")
    roles = {row["cohort"]: f"{row['role']} cohort {row['cohort']}" for row in cohorts}
    named = sorted({tuple(row["cohorts"]) for row in participants})
    levels = {"+".join(names): " and ".join(map(roles.__getitem__, names)) for names in named}
    _write_json(folder / "participants.json", PARTICIPANTS | {"cohort": PARTICIPANTS["cohort"] | {"Levels": levels}})
    _write_tsv(folder / "participants.tsv", PARTICIPANTS, participants)
    if sessions:
        _write_json(folder / "sessions.json", SESSIONS)  # applies to all tables of sessions below it
    for participant, rows in groupby(sessions, key=itemgetter("participant_id")):
        (folder / participant).mkdir()
        _write_tsv(folder / participant / f"{participant}_sessions.tsv", SESSIONS, list(rows))


def _description(cohorts: Rows, synthetic: bool) -> dict[str, Any]:
    """What dataset_description.json says. Cohorts' DOIs are those that their TOML descriptions name."""
    found = [doi[0].rstrip(".,;)") for row in cohorts if (doi := _DOI.search(row["description"]))]
    named = f"Patients of {', '.join(row['cohort'] for row in cohorts)}{' (SYNTHETIC scans)' if synthetic else ''}"
    told = "patients, MGMT calls and splits, assembled from the cohorts' labels and links"
    return {
        "Name": named,
        "BIDSVersion": VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "gliolake", "Version": code_version(), "Description": told}],
        **({"SourceDatasets": [{"DOI": f"doi:{doi}"} for doi in found]} if found else {}),
    }


def _readme(cohorts: Rows, synthetic: bool) -> str:
    lines = [f"- {row['cohort']} ({row['role']})" for row in cohorts]
    return "\n".join([
        TITLE, "",
        "Scans are of one patient where their sources, their follow-up numbers or their voxels say so. MGMT calls and",
        "the side of the study are the patient's.", "",
        "Cohorts:", "", *lines, "",
        *(["Some of the images are SYNTHETIC: made by a program, of nobody.", ""] if synthetic else []),
        f"Ages above {OLDEST} are written as {OLDEST}. There are no dates. Text that a spreadsheet would run has an",
        "apostrophe before it. Patients with several examinations have a folder with a table of their sessions.", "",
    ])  # fmt: skip


def _write_json(file: Path, content: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")


def _write_tsv(file: Path, columns: Iterable[str], rows: Rows) -> None:
    """A table as BIDS has it: tabs between cells, no quotes, ``n/a`` where there is no value."""
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, quotechar=None)
        writer.writerows([columns, *([_cell(row[name]) for name in columns] for row in rows)])


def _cell(value: Any) -> str:
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return harmless(pa.array([" ".join(value.split())])).to_pylist()[0] or MISSING
    return str(int(value) if value == int(value) else value)
