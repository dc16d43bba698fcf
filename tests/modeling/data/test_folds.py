"""Folds: patients whole, classes even, nobody on both sides, and standardisation fitted where it may be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gliolake.errors import InputError
from gliolake.modeling.data.folds import Fold, LeakingSplit, assert_no_shared_patients, cut_folds
from gliolake.modeling.models.problem import standardisation
from tests.support.full import examples


@settings(deadline=None, max_examples=examples(60))
@given(
    groups=st.lists(st.tuples(st.integers(1, 4), st.booleans()), min_size=8, max_size=60),
    folds=st.integers(2, 5),
    repeats=st.integers(1, 3),
    seed=st.integers(0, 5),
)
def test_every_patient_is_tested_once_per_repeat_and_is_never_on_two_sides(
    groups: list[tuple[int, bool]], folds: int, repeats: int, seed: int
) -> None:
    counts = [sum(label for _, label in groups), sum(not label for _, label in groups)]
    assume(min(counts) >= max(folds, 4))
    stream = np.random.default_rng(seed)
    scans = stream.permutation([(f"patient {i}", label) for i, (n, label) in enumerate(groups) for _ in range(n)])
    patients, labels = scans[:, 0], scans[:, 1] == "True"
    cut = cut_folds(labels, patients, repeats=repeats, folds=folds, seed=seed)
    assert len(cut) == repeats * folds
    for repeat in range(repeats):
        tested = np.concatenate([fold.test for fold in cut if fold.repeat == repeat])
        assert sorted(tested) == list(range(len(patients)))
    for fold in cut:
        sides = [fold.fitting, fold.validation, fold.test]
        assert sorted(np.concatenate(sides)) == list(range(len(patients)))
        names = [set(patients[side]) for side in sides]
        assert sum(map(len, names)) == len(set().union(*names))
        for side in sides[:2]:
            assert set(labels[side]) == {True, False}
        of_class = [len(set(patients[fold.test][labels[fold.test] == c])) for c in (False, True)]
        assert all(abs(n - total / folds) < 1 for n, total in zip(of_class, counts[::-1], strict=True))


def test_folds_depend_on_the_seed_and_on_nothing_else() -> None:
    labels, patients = np.arange(40) % 2 == 0, np.array([f"p{i}" for i in range(40)])
    one, same, other = (cut_folds(labels, patients, repeats=2, folds=5, seed=seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a.test, b.test) for a, b in zip(one, same, strict=True))
    assert not all(np.array_equal(a.test, b.test) for a, b in zip(one, other, strict=True))
    assert not np.array_equal(one[0].test, one[5].test), "the second repeat is cut anew"


def test_a_patient_on_two_sides_is_an_error_that_names_the_patient() -> None:
    patients = np.array(["anna", "anna", "bert", "carl", "dora"])
    whole = Fold(0, 0, np.array([0, 1]), np.array([2]), np.array([3, 4]))
    assert_no_shared_patients([whole], patients)
    split = Fold(2, 3, np.array([0]), np.array([2]), np.array([1, 3, 4]))
    with pytest.raises(LeakingSplit, match=r"Repeat 2, fold 3: .* the fitting and the test part, first anna"):
        assert_no_shared_patients([whole, split], patients)
    with pytest.raises(LeakingSplit, match="both in training and external, first bert"):
        assert_no_shared_patients([whole], patients, np.array(["emil", "bert"]))


@pytest.mark.parametrize(
    ("labels", "folds", "message"),
    [
        ([True] * 20, 5, "All 20 training patients are methylated"),
        ([True] * 20 + [False] * 4, 5, "Only 4 training patients are unmethylated; 5 folds need at least 5"),
        ([True] * 20 + [False], 2, "Only 1 training patient is unmethylated"),
        ([True, False] * 10, 1, "at least 1 repeat of 2 folds"),
    ],
)
def test_labels_that_cannot_be_cut_are_named_plainly(labels: list[bool], folds: int, message: str) -> None:
    patients = np.array([f"p{i}" for i in range(len(labels))])
    with pytest.raises(InputError, match=message):
        cut_folds(np.array(labels), patients, repeats=1, folds=folds, seed=0)


def test_standardisation_sees_the_fitting_part_alone() -> None:
    stream = np.random.default_rng(0)
    values = stream.normal(3, 2, (30, 5, 400)).astype(np.float32)
    present = stream.random((30, 5)) > 0.3
    parts = np.zeros((2, 30), np.bool_)
    parts[0, :20] = parts[1, 10:] = True
    shift, scale = standardisation(values, present, parts)
    seen = values[:20][present[:20, 2], 2].astype(np.float64)
    np.testing.assert_allclose(shift[0, 2], seen.mean(0), rtol=1e-5)
    np.testing.assert_allclose(1 / scale[0, 2], seen.std(0), rtol=1e-5)
    changed = values.copy()
    changed[20:] = 1e6
    changed[:20][~present[:20]] = -1e6
    again = standardisation(changed, present, parts)
    assert np.array_equal(again[0][0], shift[0])
    assert np.array_equal(again[1][0], scale[0])
    assert not np.allclose(again[0][1], shift[1])


def test_a_constant_feature_is_shifted_and_not_blown_up() -> None:
    values = np.full((10, 5, 400), 1234.567, np.float32)
    shift, scale = standardisation(values, np.ones((10, 5), np.bool_), np.ones((1, 10), np.bool_))
    np.testing.assert_allclose((values - shift[0]) * scale[0], 0, atol=1e-3)
