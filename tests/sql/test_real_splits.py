"""The study's splits, to the row, from the cohorts' own label files."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from gliolake.ingest.pipeline import ingest
from gliolake.ingest.scan_lists import ingest_list
from gliolake.sql.catalog import connect
from gliolake.storage.lake import Lake


@pytest.fixture(scope="module", params=[("v2",), ("v5",), ("v2", "v5")], ids="+".join)
def ask(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, reference: Path) -> Any:
    """Ask a lake that holds the labels of BraTS21 and of one or both releases of UCSF-PDGM, and Table S2."""
    lake = Lake(tmp_path_factory.mktemp("real") / "lake", create=True)
    releases = [reference / f"ucsf_pdgm/UCSF-PDGM-metadata_{release}.csv" for release in request.param]
    ingest(lake, "ucsf_pdgm", labels=releases)
    ingest(lake, "brats21", labels=[reference / "brats21/train_labels.csv"])
    listed = ingest_list(lake, "ucsf_pdgm", "table_s2", reference / "paper/table_s2_external_patients.csv")
    with connect(lake) as connection:
        yield lambda statement: connection.sql(statement).fetchall() if statement else listed


@pytest.mark.parametrize(
    ("statement", "rows"),
    [
        ("SELECT count(*), count(*) FILTER (methylated) FROM training_scans", (585, 307)),
        ("SELECT count(*), count(DISTINCT patient_id) FROM training", (583, 583)),
        ("SELECT count(*), count(DISTINCT patient_id) FROM overlap", (247, 245)),
        (
            "SELECT count(*), count(*) FILTER (methylated_ucsf), count(*) FILTER (NOT methylated_ucsf), "
            "count(*) FILTER (methylated_brats21), count(*) FILTER (NOT methylated_brats21) FROM external",
            (165, 119, 46, 101, 64),
        ),
        ("SELECT count(*) FROM external_strict", (127,)),
        (
            "SELECT count(*), count(*) FILTER (methylated_ucsf), count(*) FILTER (NOT methylated_ucsf) "
            "FROM external_listed",
            (80, 61, 19),
        ),
        ("SELECT count(*), bool_and(explained_by_rules), max(mgmt_index) FROM label_conflicts", (27, True, 1)),
        ("SELECT sum(violations) FROM split_audit", (0,)),
        ("SELECT count(*) FROM mgmt WHERE label_rule = 'brats21' AND conflict", (0,)),
        ("SELECT count(DISTINCT scan_id) FROM scan_labels WHERE cohort = 'ucsf_pdgm'", (501,)),
    ],
)
def test_each_split_has_the_rows_that_the_cohorts_files_give(ask: Any, statement: str, rows: tuple[Any, ...]) -> None:
    assert ask(statement) == [rows]


def test_four_scans_are_kept_out_of_external_by_follow_up_links_alone_each_with_its_path(ask: Any) -> None:
    found = ask("SELECT scan_id, training_scan_id, path, kinds FROM leaks_avoided ORDER BY scan_id")
    assert [(scan, training) for scan, training, _, _ in found] == [
        ("UCSF-PDGM-0391_FU016d", "BraTS2021_00716"),
        ("UCSF-PDGM-0396", "BraTS2021_00538"),
        ("UCSF-PDGM-0409", "BraTS2021_00539"),
        ("UCSF-PDGM-0431", "BraTS2021_00499"),
    ]
    for scan, training, path, kinds in found:
        assert path.startswith(f"ucsf_pdgm/{scan} =(follow-up")
        assert path.endswith(f"brats21/{training}")
        assert sorted(kinds) == ["declared", "follow-up"]


def test_the_studys_own_list_of_external_patients_names_one_twice(ask: Any) -> None:
    report = str(asdict(ask("")))
    assert "81" in report
    assert "80" in report
    assert "UCSF-PDGM-0284" in report


def test_the_flowchart_reaches_the_studys_numbers_and_says_why_the_others_were_left_out(ask: Any) -> None:
    steps = {step: (left, why) for step, left, why in ask(
        "SELECT step, remaining, why FROM flowchart WHERE cohort = 'ucsf_pdgm'")}  # fmt: skip
    assert steps[0][0] == 501
    assert steps[1] == (416, "MGMT unknown: 80, MGMT indeterminate: 5")
    assert steps[2] == (169, "is a training scan: 247")
    assert steps[3] == (165, "patient in training through a link: 4")
