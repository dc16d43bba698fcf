"""The split views on made-up rows: each rule of identity, label and split, one behaviour at a time."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gliolake.sql.catalog import connect
from gliolake.storage.lake import Lake
from gliolake.storage.transaction import Transaction
from tests.support.full import examples


def cohort(name: str, role: str) -> dict[str, Any]:
    rule = "brats21" if name == "brats21" else "ucsf"
    return {"cohort": name, "role": role, "label_rule": rule, "description": "", "description_sha256": ""}


def link(one: tuple[str, str], two: tuple[str, str], kind: str = "declared") -> dict[str, Any]:
    (cohort_a, scan_a), (cohort_b, scan_b) = sorted([one, two])
    return {
        "cohort_a": cohort_a, "scan_a": scan_a, "cohort_b": cohort_b, "scan_b": scan_b, "kind": kind,
        "evidence": "made", "score": 1.0,
    }  # fmt: skip


class Study:
    """A lake in the making: labelled scans and links between them."""

    def __init__(self, lake: Lake, label: Any) -> None:
        self.lake, self.label = lake, label
        self.rows: dict[str, list[dict[str, Any]]] = {
            "cohorts": [cohort("brats21", "training"), cohort("ucsf_pdgm", "external")],
            "labels": [], "links": [], "scan_lists": [],
        }  # fmt: skip

    def brats(self, number: int, methylated: bool = True) -> tuple[str, str]:
        status = "methylated" if methylated else "unmethylated"
        self.rows["labels"].append(self.label(number, mgmt_status=status))
        return "brats21", f"scan-{number:04d}"

    def ucsf(self, number: int, status: str = "methylated", index: int | None = None, **more: Any) -> tuple[str, str]:
        row = self.label(number, "ucsf_pdgm", mgmt_status=status, mgmt_index=index, label_rule="ucsf")
        self.rows["labels"].append(row | more)
        return "ucsf_pdgm", (row | more)["scan_id"]

    def tie(self, *pairs: Any, kind: str = "declared") -> None:
        self.rows["links"] += [link(one, two, kind) for one, two in pairs]

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        return self.answers(statement)[0]

    def answers(self, *statements: str) -> list[list[tuple[Any, ...]]]:
        """The rows that answer each of the statements."""

        def build(tx: Transaction) -> None:
            for table, rows in self.rows.items():
                tx.upsert(table, rows)

        self.lake.transact(build, run_id="r")
        with connect(self.lake) as connection:
            return [connection.sql(statement).fetchall() for statement in statements]


@pytest.fixture
def study(lake: Lake, label: Any) -> Study:
    return Study(lake, label)


def test_a_patient_reached_only_through_a_follow_up_is_kept_out_of_external_and_its_path_is_named(study: Study) -> None:
    trained = study.brats(1)
    base, follow_up, free = study.ucsf(10), study.ucsf(11), study.ucsf(12)
    study.tie((trained, follow_up))
    study.tie((base, follow_up), kind="follow-up")
    assert study.ask("SELECT scan_id FROM external") == [(free[1],)]
    assert study.ask("SELECT scan_id FROM overlap") == [(follow_up[1],)]
    ((scan, path),) = study.ask("SELECT scan_id, path FROM leaks_avoided")
    assert scan == base[1]
    assert [part.split(" ")[-1] for part in path.split(" =(")] == [
        "ucsf_pdgm/scan-0010", "ucsf_pdgm/scan-0011", "brats21/scan-0001",
    ]  # fmt: skip


def test_the_same_images_make_one_session_without_any_metadata(study: Study) -> None:
    study.tie((study.brats(1), study.ucsf(10)), kind="same content")
    assert study.ask("SELECT scan_id, training_scan_id FROM overlap") == [("scan-0010", "scan-0001")]
    assert study.ask("SELECT count(*) FROM external") == [(0,)]


def test_a_suspicion_joins_nobody(study: Study) -> None:
    study.tie((study.brats(1), study.ucsf(10)), kind="suspected")
    assert study.ask("SELECT count(*) FROM external") == [(1,)]


def test_an_index_of_one_is_methylated_by_ucsf_and_not_by_brats21_and_no_conflict_remains_under_brats21(
    study: Study,
) -> None:
    study.tie((study.brats(1, methylated=False), study.ucsf(10, "methylated", index=1)))
    assert study.ask("SELECT scan_a, scan_b, explained_by_rules FROM label_conflicts") == [
        ("scan-0001", "scan-0010", True)
    ]
    assert study.ask("SELECT label_rule, methylated, basis, conflict FROM mgmt ORDER BY label_rule") == [
        ("brats21", False, "index", False),
        ("ucsf", True, "index", True),
    ]
    assert study.ask("SELECT methylated, methylated_brats21, methylated_ucsf FROM training") == [(False, False, True)]


def test_a_call_without_an_index_stands_under_either_rule(study: Study) -> None:
    study.ucsf(10, "methylated", index=None)
    assert study.ask("SELECT methylated_brats21, methylated_ucsf FROM external") == [(True, True)]


def test_a_conflict_that_no_rule_explains_is_said_to_be_unexplained(study: Study) -> None:
    study.tie((study.brats(1, methylated=False), study.ucsf(10, "methylated", index=9)))
    assert study.ask("SELECT explained_by_rules FROM label_conflicts") == [(False,)]


def test_a_patient_with_two_training_scans_trains_once(study: Study) -> None:
    one, two = study.brats(1), study.brats(2)
    study.tie((one, study.ucsf(10)), (two, study.ucsf(11)))
    study.tie((("ucsf_pdgm", "scan-0010"), ("ucsf_pdgm", "scan-0011")), kind="follow-up")
    assert study.ask("SELECT count(*) FROM training_scans") == [(2,)]
    assert study.ask("SELECT scan_id FROM training") == [("scan-0001",)]
    assert study.ask("SELECT count(*), count(DISTINCT patient_id) FROM overlap") == [(2, 1)]


def test_strict_leaves_out_patients_with_any_tie_to_a_training_cohort_labelled_or_not(study: Study) -> None:
    tied, free = study.ucsf(10), study.ucsf(11)
    study.tie((tied, ("brats21", "scan-9999")))
    assert study.ask("SELECT scan_id FROM external ORDER BY 1") == [(tied[1],), (free[1],)]
    assert study.ask("SELECT scan_id FROM external_strict") == [(free[1],)]


def test_of_two_releases_the_later_counts_and_their_disagreement_is_said(study: Study) -> None:
    study.ucsf(10, "unmethylated", source="metadata_v2")
    study.ucsf(10, "methylated", source="metadata_v5")
    assert study.ask("SELECT source, methylated, sources_disagree FROM scan_labels") == [("metadata_v5", True, True)]
    assert study.ask("SELECT count(*) FROM external") == [(1,)]


def test_what_a_source_knows_is_not_hidden_by_one_that_does_not_know_it(study: Study) -> None:
    study.ucsf(10, "methylated", 3, source="z", source_order=1, age=50.0, site="a", run_id="first")
    study.ucsf(10, "unknown", source="y", source_order=2, age=51.0, run_id="second")
    study.ucsf(10, "indeterminate", source="x", source_order=3, sex="F", site="b", label_rule="brats21", run_id="third")
    assert study.ask(
        "SELECT source, mgmt_status, mgmt_index, label_rule, age, sex, site, run_id, sources_disagree FROM scan_labels"
    ) == [("z", "methylated", 3, "ucsf", 51.0, "F", "b", "first", True)]
    study.ucsf(11, "indeterminate", source="a", source_order=1)
    study.ucsf(11, "unknown", source="b", source_order=2)
    assert study.ask("SELECT source, mgmt_status, sources_disagree FROM scan_labels WHERE scan_id = 'scan-0011'") == [
        ("a", "indeterminate", False)
    ]


def test_the_source_that_came_last_counts_and_an_index_only_beside_its_own_call(study: Study) -> None:
    study.ucsf(10, "unmethylated", 0, source="b", source_order=1)
    study.ucsf(10, "methylated", source="a", source_order=2)
    study.ucsf(11, "methylated", 1, source="b", source_order=1)
    study.ucsf(11, "methylated", source="a", source_order=2)
    assert study.ask(
        "SELECT scan_id, source, methylated, mgmt_index, sources_disagree FROM scan_labels ORDER BY scan_id"
    ) == [("scan-0010", "a", True, None, True), ("scan-0011", "a", True, 1, False)]
    assert study.ask("SELECT methylated_brats21, methylated_ucsf FROM external ORDER BY scan_id") == [
        (True, True),
        (False, True),
    ]


def test_a_row_that_one_source_spoils_leaves_out_no_scan_that_another_labels(study: Study) -> None:
    for number, status in ((1, "methylated"), (2, "unknown")):
        study.rows["labels"].append(study.label(number, mgmt_status=status))
    study.rows["exclusions"] = [
        {"cohort": "brats21", "scan_id": f"scan-000{n}", "step": "labels", "reason": "unreadable value", "detail": "d",
         "source": "/v5.csv", "fingerprint": "f"} for n in (1, 2, 3)
    ]  # fmt: skip
    assert study.ask("SELECT scan_id, step, reason FROM scan_status ORDER BY scan_id") == [
        ("scan-0001", 5, "no images"), ("scan-0002", 1, "unreadable value"), ("scan-0003", 1, "unreadable value"),
    ]  # fmt: skip


def test_the_flowchart_accounts_for_every_scan_once(study: Study) -> None:
    trained, follow_up, base = study.brats(1), study.ucsf(10), study.ucsf(11)
    study.tie((trained, follow_up))
    study.tie((base, follow_up), kind="follow-up")
    for number, status in enumerate(["unknown", "indeterminate", "methylated"], start=20):
        study.ucsf(number, status)
    rows = study.ask("SELECT remaining, left_out, why FROM flowchart WHERE cohort = 'ucsf_pdgm' ORDER BY step")
    assert rows == [
        (5, 0, None),
        (3, 2, "MGMT indeterminate: 1, MGMT unknown: 1"),
        (2, 1, "is a training scan: 1"),
        (1, 1, "patient in training through a link: 1"),
        (1, 0, None),
        (0, 1, "no images: 1"),
    ]


def test_a_released_vector_trains_and_a_missing_modality_stays_null(study: Study, lake: Lake, label: Any) -> None:
    study.rows["cohorts"].append(cohort("chen2025", "released") | {"label_rule": "brats21"})
    study.rows["labels"].append(label(1, "chen2025"))
    study.rows["feature_sets"] = [
        {"feature_set": "vivit-1", "backbone": "vivit", "weights": "released", "recipe": "{}"}
    ]
    study.rows["features"] = [
        {
            "feature_set": "vivit-1", "cohort": "chen2025", "scan_id": "scan-0001", "modality": modality,
            "values": [float(n)] * 400, "input_sha256": "0",
        }
        for n, modality in enumerate(["FLAIR", "T1", "T2", "DeltaT1"])
    ]  # fmt: skip
    ((split, methylated, branches),) = study.ask("SELECT split, methylated_brats21, input FROM snn_input")
    assert (split, methylated) == ("training", True)
    assert [branch and branch[399] for branch in branches] == [0.0, 1.0, None, 2.0, 3.0]
    kinds = study.ask('SELECT typeof("values") FROM features UNION SELECT typeof("T1") FROM features_wide')
    assert kinds == [("FLOAT[400]",)]


node = st.tuples(st.sampled_from(["brats21", "ucsf_pdgm"]), st.integers(0, 7).map("scan-{:04d}".format))


@settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edges=st.lists(st.tuples(node, node), max_size=12), labelled=st.sets(node))
def test_patients_are_the_connected_components_and_never_stand_on_both_sides(
    edges: list[Any], labelled: set[Any], tmp_path_factory: pytest.TempPathFactory, label: Any
) -> None:
    study = Study(Lake(tmp_path_factory.mktemp("lake"), create=True), label)
    for name, scan in sorted(labelled):
        (study.brats if name == "brats21" else study.ucsf)(int(scan[-4:]))
    study.rows["links"] = list({str(row): row for row in (link(*edge) for edge in edges)}.values())
    patients, inside, outside, audit = study.answers(
        "SELECT cohort, scan_id, patient_id FROM patients", "SELECT cohort, scan_id FROM training",
        "SELECT cohort, scan_id FROM external", "SELECT violations FROM split_audit",
    )  # fmt: skip
    found = {(name, scan): patient for name, scan, patient in patients}

    groups = [{member} for member in labelled | set(itertools.chain(*edges))]
    for one, two in edges:
        joined = set().union(*(group for group in groups if one in group or two in group))
        groups = [group for group in groups if not group & joined] + [joined]
    assert found == {member: "/".join(min(group)) for group in groups for member in group}

    training, external = {found[row] for row in inside}, [found[row] for row in outside]
    assert not training & set(external)
    assert len(external) == len(set(external))
    assert set(audit) == {(0,)}
    known = {found[member] for member in labelled if member[0] == "ucsf_pdgm"}
    assert set(external) == known - {found[member] for member in labelled if member[0] == "brats21"}
