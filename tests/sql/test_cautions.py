"""What the splits cannot yet know: said by the audit, by training and by reports, for whoever reads a figure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gliolake.errors import InputError
from gliolake.ingest.cohorts.description import parse_cohort
from gliolake.ingest.pipeline import ingest
from gliolake.runs import start_run
from gliolake.sql.catalog import connect
from gliolake.sql.cautions import cautions, shared_patients
from gliolake.sql.status import status
from gliolake.storage.lake import Lake

SHARED = "a cohort may share patients with a training cohort, and no links between them are declared"

UPENN = """
name = "{name}"
role = "{role}"
label_rule = "ucsf"
{more}
[ids]
pattern = '(?:UPENN-GBM-)?(?P<number>\\d{{5}})_(?P<visit>\\d\\d)'
form = "{form}"
[labels]
id = "ID"
missing = ["", "Not Available", "Indeterminate"]
[labels.mgmt_status]
column = "MGMT"
values = {{ Methylated = "methylated", Unmethylated = "unmethylated" }}
{column}
"""


def upenn(folder: Path, **changes: str) -> Path:
    """A description of UPENN-GBM as a user may write it."""
    described = {"name": "second_site", "role": "external", "more": "", "form": "UPENN-GBM-{number}_{visit}",
                 "column": ""}  # fmt: skip
    file = folder / "cohort.toml"
    file.write_text(UPENN.format(**(described | changes)), "utf-8")
    return file


@pytest.fixture
def brats(lake: Lake, reference: Path) -> Lake:
    """A lake with the labels of BraTS21."""
    ingest(lake, "brats21", labels=reference / "brats21/train_labels.csv")
    return lake


def ask(lake: Lake, statement: str) -> list[tuple[Any, ...]]:
    with connect(lake) as connection:
        return connection.sql(statement).fetchall()


def violations(lake: Lake) -> int:
    return {check: count for check, count, _ in ask(lake, "FROM split_audit")}[SHARED]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"name": "upenn", "form": "{number}_{visit}"},
        {"more": 'collections = ["UPENN-GBM"]', "form": "{number}_{visit}"},
        {"role": "training"},
    ],
    ids=["by its ids", "by its name", "by its description", "as a second training cohort"],
)
def test_a_cohort_from_a_collection_that_trains_already_breaks_the_audit_until_links_are_declared(
    brats: Lake, reference: Path, tmp_path: Path, changes: Mapping[str, str]
) -> None:
    assert violations(brats) == 0
    ingest(brats, upenn(tmp_path, **changes), labels=reference / "upenn_gbm/UPENN-GBM_clinical_info_v2.1.csv")
    assert violations(brats) > 200
    with connect(brats) as connection:
        (sentence,) = shared_patients(connection)
    assert "UPENN-GBM" in sentence
    assert "brats21" in sentence
    assert any("split audit" in problem for problem in status(brats).problems)


@pytest.mark.parametrize(
    "more", ["collections = []", 'collections = ["Kiel"]'], ids=["from none of them", "from an archive of its own"]
)
def test_a_description_that_says_where_scans_are_from_is_believed(
    brats: Lake, reference: Path, tmp_path: Path, more: str
) -> None:
    file = upenn(tmp_path, more=more)
    ingest(brats, file, labels=reference / "upenn_gbm/UPENN-GBM_clinical_info_v2.1.csv")
    assert violations(brats) == 0


def test_two_cohorts_of_one_private_archive_are_held_to_share_patients_too(lake: Lake, tmp_path: Path) -> None:
    for name, role in (("first", "training"), ("second", "external")):
        labels = tmp_path / f"{name}.csv"
        labels.write_text("ID,MGMT\n10000_11,Methylated\n", "utf-8")
        described = upenn(tmp_path, name=name, role=role, more='collections = ["Kiel"]', form="{number}_{visit}")
        ingest(lake, described, labels=labels)
    assert ask(lake, "SELECT cohort, collections FROM unlinked_cohorts") == [("second", ["Kiel"])]


def test_declared_links_settle_it(lake: Lake, tmp_path: Path) -> None:
    labels = tmp_path / "train.csv"
    labels.write_text("BraTS21ID,MGMT_value\n00000,1\n00002,0\n", "utf-8")
    ingest(lake, "brats21", labels=labels)
    column = '[labels.declared_id]\ncolumn = "BraTS"\ncohort = "brats21"'
    other = tmp_path / "upenn.csv"
    other.write_text("ID,MGMT,BraTS\n00001_11,Methylated,BraTS2021_00000\n00002_11,Methylated,\n", "utf-8")
    ingest(lake, upenn(tmp_path, column=column), labels=other)
    assert violations(lake) == 0
    assert ask(lake, "SELECT scan_id FROM external") == [("UPENN-GBM-00002_11",)]


def test_a_misspelt_collection_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    text = upenn(tmp_path, more='collections = ["upenn gbm"]').read_text("utf-8")
    with pytest.raises(InputError, match="did you mean 'UPENN-GBM'"):
        parse_cohort(text, "cohort.toml")


def test_a_rule_that_most_training_labels_do_not_follow_is_said_with_the_counts(lake: Lake, reference: Path) -> None:
    ingest(lake, "brats21", labels=reference / "brats21/train_labels.csv")
    ingest(lake, "ucsf_pdgm", labels=reference / "ucsf_pdgm/UCSF-PDGM-metadata_v5.csv")
    with connect(lake) as connection:
        followed, mixed = cautions(connection, ["brats21"]), cautions(connection, ["ucsf"])
    assert not any("rule" in sentence for sentence in followed)
    (sentence,) = [sentence for sentence in mixed if "rule" in sentence]
    assert "338 of 583" in sentence


def test_scans_that_no_search_for_duplicates_compared_are_counted(brats: Lake) -> None:
    def unsearched() -> list[str]:
        with connect(brats) as connection:
            return [sentence for sentence in cautions(connection, []) if "duplicates" in sentence]

    assert "585 of 585" in unsearched()[0]
    with start_run(brats, "suspects", {"compared": {"brats21": 500}}, recorded=True):
        pass
    assert "85 of 585" in unsearched()[0]
    with start_run(brats, "suspects", {"compared": {"brats21": 585}}, recorded=True):
        pass
    assert not unsearched()
