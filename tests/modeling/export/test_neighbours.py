"""Who in training is like a case, and whether anybody is."""

from __future__ import annotations

import numpy as np
import pytest

from gliolake.modeling.export.neighbours import Reference, as_reference, make_reference

PATIENTS, BRANCHES, FITS = 120, 3, 4
MIXING = np.random.default_rng(9).standard_normal((8, BRANCHES * 400))


def made(count: int, seed: int) -> np.ndarray:
    """Vectors (n, 3, 400) that lie near a plane of eight dimensions."""
    stream = np.random.default_rng(seed)
    values = stream.standard_normal((count, 8)) @ MIXING + stream.standard_normal((count, BRANCHES * 400))
    return (7 + 3 * values).reshape(count, BRANCHES, 400).astype(np.float32)


@pytest.fixture(scope="module")
def reference() -> Reference:
    """Patient 1 has two scans, 0 and 1; scan 2 lacks a branch."""
    values = made(PATIENTS, 0)
    values[2, 1] = np.nan
    names = [("made", f"scan-{i}", f"made/patient-{max(i, 1)}") for i in range(PATIENTS)]
    tested = np.arange(PATIENTS)[:, None].clip(1) % FITS == np.arange(FITS)
    return make_reference(values, np.arange(PATIENTS) % 2 == 0, names, tested)


def test_a_case_like_those_of_training_is_inside_and_noise_is_outside(reference: Reference) -> None:
    like = [reference.look(case) for case in made(30, 1)]
    assert np.mean([where.outside for where in like]) < 0.1
    assert np.mean([where.percentile for where in like]) == pytest.approx(0.5, abs=0.15)
    noise = reference.look(np.random.default_rng(2).normal(7, 30, (BRANCHES, 400)).astype(np.float32))
    assert noise.outside
    assert noise.percentile == 1
    assert noise.same is None
    assert noise.fits.all()


def test_the_nearest_are_those_that_a_plain_search_finds(reference: Reference) -> None:
    case = made(1, 3)[0]
    where = reference.look(case)
    standard = (case - reference.shift) * reference.scale
    plain = np.sqrt(((reference.vectors.astype(float) - standard) ** 2).mean((1, 2)))
    plain[2] = np.sqrt(((reference.vectors[2].astype(float) - standard)[[0, 2]] ** 2).mean())
    plain[0] = plain[1] = plain[:2].min()  # one patient
    order = np.argsort(np.delete(plain, 0))[:5]
    assert [one.distance for one in where.nearest] == pytest.approx(np.delete(plain, 0)[order], rel=2e-3)
    assert [int(one.patient_id.rpartition("-")[2]) for one in where.nearest] == (order + 1).tolist()
    assert all(one.methylated == (int(one.scan_id[5:]) % 2 == 0) for one in where.nearest)


def test_a_missing_branch_is_left_out_on_both_sides(reference: Reference) -> None:
    case = made(1, 4)[0]
    whole = reference.look(case)
    case[1] = np.nan
    where = reference.look(case)
    assert not where.outside
    assert where.usual != whole.usual, "training patients are looked at by the same branches"
    only = np.full_like(case, np.nan)
    only[1] = made(1, 4)[0, 1]
    assert 2 not in [int(one.scan_id[5:]) for one in reference.look(only).nearest], "scan 2 has nothing to compare"


def test_a_training_patient_is_known_again_and_left_out(reference: Reference) -> None:
    where = reference.look(made(PATIENTS, 0)[1])
    assert where.same is not None
    assert (where.same.scan_id, where.same.distance < 0.01) == ("scan-1", True)
    assert "made/patient-1" not in [one.patient_id for one in where.nearest]
    assert where.fits.tolist() == [False, True, False, False], "only fits that were not trained on the patient"
    assert not where.outside


def test_it_is_the_same_after_having_been_kept(reference: Reference) -> None:
    back = as_reference(reference.tensors(), BRANCHES, FITS)
    case = made(1, 5)[0]
    one, other = reference.look(case), back.look(case)
    assert one.nearest == other.nearest
    assert (one.distance, one.limit) == (other.distance, other.limit)
