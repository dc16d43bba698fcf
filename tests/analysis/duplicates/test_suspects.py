"""Suspected pairs: who is found, who is not, and that a suspicion changes nothing by itself."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from gliolake.analysis.duplicates import search as duplicates
from gliolake.analysis.duplicates.command import find_suspects, score
from gliolake.analysis.duplicates.search import Chance, Directions, chance, directions, similar_pairs
from gliolake.cli.app import main
from gliolake.cli.output import rendered
from gliolake.errors import InputError
from gliolake.features.clips import ClipSettings
from gliolake.features.extraction.command import extract
from gliolake.ingest.pipeline import ingest
from gliolake.ingest.synthetic.cohort import write_cohorts
from gliolake.schema.vocabulary import BRANCHES, FEATURE_LENGTH
from gliolake.sql.catalog import connect
from gliolake.storage.lake import Lake

SET = "random_conv-made"
MISSING = -12345.0
SPLITS = ("patients", "training", "training_scans", "overlap", "external", "external_strict", "split_audit")


class People:
    """Made-up people: some numbers per modality that follow from 60 of their own, and something from each session."""

    def __init__(self, seed: int = 0, length: int = FEATURE_LENGTH) -> None:
        self.stream = np.random.default_rng(seed)
        self.maps = self.stream.standard_normal((60, 4, length)) * 0.95 ** np.arange(60)[:, None, None]

    def some(self, count: int) -> np.ndarray:
        return self.stream.standard_normal((count, 60))

    def seen(self, people: np.ndarray, noise: float = 0.1) -> np.ndarray:
        """Vectors (people, 4, length) of one session of each."""
        session = people + noise * self.stream.standard_normal(people.shape)
        exact = np.einsum("pk,kmd->pmd", session, self.maps)
        return exact + 0.03 * self.stream.standard_normal(exact.shape)


def named(cohort: str, count: int) -> list[tuple[str, str]]:
    return [(cohort, f"scan-{n:04d}") for n in range(count)]


def put(lake: Lake, scans: Sequence[tuple[str, str]], vectors: np.ndarray, feature_set: str = SET) -> None:
    """Vectors (scans, branches, 400) as a feature set; a branch that begins with ``MISSING`` is left out."""
    rows = [
        {"feature_set": feature_set, "cohort": cohort, "scan_id": scan, "modality": branch,
         "values": values.astype(np.float32).tolist(), "input_sha256": "0"}
        for (cohort, scan), branches in zip(scans, vectors, strict=True)
        for branch, values in zip(BRANCHES, branches, strict=False)
        if values[0] != MISSING
    ]  # fmt: skip
    described = {"feature_set": feature_set, "backbone": "random_conv", "weights": "random", "recipe": "{}"}

    def write(tx: Any) -> None:
        tx.replace("features", {"feature_set": feature_set}, rows)
        tx.upsert("feature_sets", [described])

    lake.transact(write, run_id="made")


def suspected(lake: Lake) -> set[tuple[str, str, str, str]]:
    rows = lake.read("links", {"kind": "suspected"}).to_pylist()
    return {(row["cohort_a"], row["scan_a"], row["cohort_b"], row["scan_b"]) for row in rows}


def between(first: str, second: str, pairs: Iterable[tuple[int, int]]) -> set[tuple[str, str, str, str]]:
    return {(first, f"scan-{a:04d}", second, f"scan-{b:04d}") for a, b in pairs}


@pytest.fixture
def doubled(lake: Lake, label: Any) -> Lake:
    """50 labelled scans here, 40 there; there 0 … 5 are here 0 … 5 again, and here 49 is here 48."""
    made = People()
    here, there = made.some(50), made.some(40)
    there[:6], here[49] = here[:6], here[48]
    vectors = np.concatenate([made.seen(here), 3 + 1.5 * made.seen(there)])
    vectors[50 + 1, 2] = MISSING  # T1wCE of one of a pair
    vectors[7:9] = 7.0  # constant
    vectors[9:11, :, 5] = np.nan
    vectors[11:16] = vectors[11]  # blank in the same way, though not constant: a crowd, and no person
    put(lake, [*named("here", 50), *named("there", 40)], vectors)
    labels = [label(n, "here", age=50.0, sex="F") for n in range(50)]
    labels += [label(n, "there", age=51.0, sex="F", label_rule="ucsf") for n in range(40)]
    described = {"label_rule": "brats21", "description": "", "description_sha256": ""}

    def write(tx: Any) -> None:
        tx.append("labels", labels)
        tx.append(
            "cohorts",
            [{"cohort": "here", "role": "training"} | described, {"cohort": "there", "role": "external"} | described],
        )

    lake.transact(write, run_id="made")
    return lake


TWICE = between("here", "there", ((n, n) for n in range(6))) | between("here", "here", [(48, 49)])


def test_people_counted_twice_are_suspected_across_and_within_cohorts_and_nobody_else(doubled: Lake) -> None:
    report = find_suspects(doubled)
    assert suspected(doubled) == TWICE
    assert report.blank == 4
    for row in doubled.read("links").to_pylist():
        assert 0.9 < row["score"] < 1
        assert row["evidence"].startswith(f"{SET}: ")
    (lacking,) = [one for one in report.suspects if one.second == ("there", "scan-0001")]
    assert [*lacking.similarity] == ["FLAIR", "T1", "T2"]
    assert all(0.5 < value <= 1 for one in report.suspects for value in one.similarity.values())
    assert "not be tested on known pairs" in " ".join(report.notes())


def test_a_rerun_replaces_the_suspicions_of_its_feature_set_and_leaves_others(doubled: Lake) -> None:
    other = People(seed=1)
    people = other.some(50)
    people[7] = people[3]
    put(doubled, named("here", 50), other.seen(people), "another-set")
    find_suspects(doubled, "another-set")
    anothers = between("here", "here", [(3, 7)])
    find_suspects(doubled, SET)
    assert suspected(doubled) == TWICE | anothers
    version = doubled.version
    find_suspects(doubled, SET)
    assert doubled.version == version
    put(doubled, named("here", 50), other.seen(other.some(50)), SET)
    find_suspects(doubled, SET)
    assert suspected(doubled) == anothers


def test_suspicions_join_nobody_and_ingest_leaves_them_until_a_declared_id_settles_one(
    doubled: Lake, tmp_path: Path
) -> None:
    def everything() -> dict[str, Any]:
        with connect(doubled) as connection:
            return {view: sorted(connection.execute(f"FROM {view}").fetchall(), key=repr) for view in SPLITS}

    before = everything()
    find_suspects(doubled)
    assert everything() == before
    with connect(doubled) as connection:
        rows = connection.execute(
            "SELECT split_a, split_b, leak, if_true, same_call, age_difference, same_sex, one_patient_by_now "
            "FROM suspected_duplicates ORDER BY scan_b"
        ).fetchall()
    assert rows[0] == ("training", "external", True, "there/scan-0000 would leave external", True, 1.0, True, False)
    assert rows[-1][:4] == ("training", "training", False, "one of the two would leave training")

    visit = {"cohort_a": "there", "scan_a": "scan-0000", "cohort_b": "there", "scan_b": "scan-0001"}
    tie = visit | {"kind": "follow-up", "evidence": "made", "score": 1.0}
    doubled.transact(lambda tx: tx.append("links", [tie]), run_id="made")
    with connect(doubled) as connection:
        told = connection.execute("SELECT if_true FROM suspected_duplicates WHERE scan_b = 'scan-0001'").fetchall()
    assert told == [("there/scan-0000 would leave external",)]

    description = tmp_path / "there.toml"
    description.write_text(
        'name = "there"\nrole = "external"\nlabel_rule = "ucsf"\n[ids]\npattern = "scan-(?P<n>[0-9]{4})"\n'
        'form = "scan-{n}"\n[labels]\nid = "ID"\nmissing = [""]\n[labels.mgmt_status]\ncolumn = "MGMT"\n'
        'values = { 1 = "methylated" }\n[labels.declared_id]\ncolumn = "HERE"\ncohort = "here"\n'
    )
    (tmp_path / "reviewed.csv").write_text("ID,MGMT,HERE\nscan-0000,1,scan-0000\n")
    ingest(doubled, description, labels=tmp_path / "reviewed.csv")
    assert suspected(doubled) == TWICE
    with connect(doubled) as connection:
        (settled,) = connection.execute(
            "SELECT scan_b, if_true FROM suspected_duplicates WHERE one_patient_by_now"
        ).fetchall()
        assert connection.execute("SELECT 1 FROM external WHERE scan_id = 'scan-0000'").fetchall() == []
    assert settled == ("scan-0000", "nothing: other links make them one patient by now")
    report = find_suspects(doubled)
    assert suspected(doubled) == TWICE - between("here", "there", [(0, 0)])
    assert [(one.pairs, one.found) for one in report.known] == [(1, 1), (0, 0)]  # ingest took the made-up visit out


def test_vectors_that_say_nothing_and_cohorts_too_small_lead_to_no_suspicion(lake: Lake) -> None:
    put(lake, named("here", 30), np.full((30, 4, 400), 2.5))
    report = find_suspects(lake)
    assert (report.blank, report.told, report.suspects) == (30, False, ())
    put(lake, named("here", 30), np.tile(np.random.default_rng(0).standard_normal(400), (30, 4, 1)))
    assert not find_suspects(lake).told
    few = People().some(7)
    few[3] = few[2]
    put(lake, named("here", 7), People().seen(few))
    report = find_suspects(lake)
    assert (report.few, report.cohorts, report.suspects) == ({"here": 7}, {}, ())
    assert "too few to tell" in " ".join(report.notes())


def scattered(seed: int, count: int, kind: str) -> Directions:
    """Scans of different people: of one cloud, of one with far-out people, or of several clouds."""
    made = People(seed, length=60)
    people = made.some(count)
    if kind == "far out":
        people /= np.sqrt(made.stream.chisquare(5, (count, 1)) / 5)
    elif kind == "clouds":
        people += 2 * made.some(4)[made.stream.integers(4, size=count)]
    seen = made.seen(people).astype(np.float32)
    return directions(usable(seen), np.arange(count) * 2 // count)


def usable(vectors: np.ndarray) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    return ((vectors[:, modality], np.ones(len(vectors), np.bool_)) for modality in range(4))


def found(places: Directions, patients: np.ndarray, most: float) -> list[list[int]]:
    usual = chance(places, patients)
    assert usual is not None
    return similar_pairs(places, patients, usual, most).tolist()


@pytest.mark.parametrize("kind", ["one cloud", "far out", "clouds"])
def test_among_different_people_hardly_more_pairs_are_suspected_than_announced(kind: str) -> None:
    announced, runs = 0.5, 16
    wrong = [len(found(scattered(seed, 50, kind), np.arange(50), announced)) for seed in range(runs)]
    assert sum(wrong) <= announced * runs


def test_blocks_make_no_difference_and_too_many_pairs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    places, patients = scattered(3, 60, "clouds"), np.arange(60) // 2 * 2
    whole = found(places, patients, 4.0)
    assert len(whole) > 0
    monkeypatch.setattr(duplicates, "BLOCK", 7)
    assert sorted(found(places, patients, 4.0)) == sorted(whole)
    monkeypatch.setattr(duplicates, "MOST_PAIRS", len(whole) - 1)
    with pytest.raises(InputError, match="do not tell people apart"):
        found(places, patients, 4.0)


def test_three_scans_of_one_person_are_found_and_ties_between_some_do_not_hide_the_rest() -> None:
    made = People(5, length=60)
    people = made.some(60)
    people[57:] = people[57]
    seen = made.seen(people).astype(np.float32)
    places = directions(usable(seen), np.zeros(60, np.int64))
    patients = np.arange(60)
    assert found(places, patients, 0.1) == [[57, 58], [57, 59], [58, 59]]
    patients[58] = 57
    assert found(places, patients, 0.1) == [[57, 59], [58, 59]]


@given(
    st.floats(10, 1e9), st.floats(2, 500), st.floats(2, 500), st.floats(1e-6, 1),
    st.lists(st.floats(-1, 1), min_size=2, max_size=9),
)  # fmt: skip
def test_what_is_near_enough_is_looked_at_and_more_similar_is_never_more_expected(
    pairs: float, k: float, other: float, most: float, similarities: list[float]
) -> None:
    usual, ones = Chance(pairs, np.array([k, other])), np.zeros(len(similarities), np.int64)
    similarity = np.sort(np.array(similarities))
    expected = usual.expected(similarity, ones, ones + 1)
    assert (np.diff(expected) <= 0).all()
    assert all(0 <= score(float(one)) < 1 for one in expected)
    near = similarity * (k * other) ** 0.25 >= usual.nearest(most) * (1 - 1e-9)
    assert (near | (expected > most)).all()


def test_similarities_of_strangers_have_the_law_by_which_their_number_is_told() -> None:
    at = np.random.default_rng(0).standard_normal((400, 30)).astype(np.float32)
    at /= np.linalg.norm(at, axis=1, keepdims=True)
    usual = chance(Directions([at], np.ones((400, 1), np.float32)), np.arange(400))
    assert usual is not None
    assert np.median(usual.k) == pytest.approx(30, rel=0.05)
    first, second = np.triu_indices(400, 1)
    expected = usual.expected((at @ at.T)[first, second], first, second)
    for most in (8000, 800, 80):
        assert (expected <= most).sum() == pytest.approx(most, rel=0.3)


@pytest.mark.long
def test_overlaps_of_synthetic_cohorts_are_found_from_random_vectors_when_ids_say_nothing(tmp_path: Path) -> None:
    cohorts = write_cohorts(tmp_path / "cohorts", patients=16, external=8, workers=2)
    lake = Lake(tmp_path / "lake", create=True)
    ingest(lake, "brats21", cohorts.brats21_images, cohorts.brats21_labels, workers=2)
    ingest(lake, "ucsf_pdgm", cohorts.ucsf_images, cohorts.ucsf_labels, workers=2)
    extract(lake, settings=ClipSettings(box=48, slices=40), workers=2)
    report = find_suspects(lake)
    known, found = (sum(getattr(one, what) for one in report.known) for what in ("pairs", "found"))
    assert (known, report.others) == (19, 0)
    assert report.basis.startswith("SYNTHETIC scans")
    assert found >= 15
    assert len(report.suspects) <= 2

    with connect(lake) as connection:
        named_patients = connection.execute("SELECT cohort, scan_id, patient_id FROM patients").fetchall()
    patients = {(cohort, scan): patient for cohort, scan, patient in named_patients}
    unnamed = Lake(tmp_path / "unnamed", create=True)
    unnamed.transact(
        lambda tx: [tx.append(name, lake.read(name)) for name in ("cohorts", "feature_sets", "features")],
        run_id="without ids",
    )
    pairs = [(one.first, one.second) for one in find_suspects(unnamed).suspects]
    true = sum(patients[first] == patients[second] for first, second in pairs)
    print(f"precision {true}/{len(pairs)}, recall {true}/{known}; with links, {found} of the known pairs")
    assert true / len(pairs) >= 0.85
    assert true / known >= 0.7


def test_the_command_tells_people_and_scripts_and_answers_mistakes_in_words(
    doubled: Lake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["gliolake", "suspects", "--lake", doubled.root, *arguments])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capsys.readouterr()

    code, out, _ = run("--json")
    assert code == 0
    assert len(json.loads(out)["suspects"]) == len(TWICE)
    code, out, _ = run()
    assert "7 pairs suspected among 50 of here, 40 of there" in out
    assert "random weights" in out
    assert "Nothing was joined" in out
    code, _, err = run("--feature-set", "random_conv-maid")
    assert code == 2
    assert f"Did you mean {SET}?" in err
    assert run("--max-false-positives", "0")[0] == 2


def test_a_lake_without_vectors_says_how_to_make_some(lake: Lake) -> None:
    with pytest.raises(InputError, match="no feature vectors") as caught:
        find_suspects(lake)
    assert "gliolake extract" in caught.value.hint


def test_the_best_founded_feature_set_is_taken_and_named(lake: Lake) -> None:
    made = People()
    for name, count in (("a-small", 9), ("b-large", 12), ("c-trained", 8)):
        put(lake, named("here", count), made.seen(made.some(count)), name)
    assert find_suspects(lake).feature_set == "b-large"
    row = {"feature_set": "c-trained", "backbone": "slowfast", "weights": "trained", "recipe": "{}"}
    lake.transact(lambda tx: tx.upsert("feature_sets", [row]), run_id="made")
    report = find_suspects(lake)
    assert (report.feature_set, report.others) == ("c-trained", 2)
    shown = Console(width=200)
    with shown.capture() as said:
        shown.print(rendered(report))
    assert "One of 3 feature sets" in said.get()
