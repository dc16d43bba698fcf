"""One task of a comparison of feature sets: from a block of scans to moments, in whatever files the vectors lie.

The vectors are put in the order of the block before anything is added up, so that files, their order and number leave
no trace in the result.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gliolake.analysis.agreement.moments import Moments, grouped
from gliolake.schema.features import FEATURE_LENGTH
from gliolake.storage.lake import Lake
from gliolake.storage.snapshot import DataFile

Places = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Block:
    """Vectors of one modality to compare.

    Attributes:
        root: of the lake.
        pair: the feature sets; where both are one, the first is compared with the second examination of each patient.
        modality: one of ``gliolake.schema.features.BRANCHES``.
        number: of the block among those of its pair.
        scans: cohort, scan_id, patient (a number) and examination (its place among the patient's), in an order that
            keeps examinations of a patient together where these are compared.
        first, second: the files in which their vectors are.
        groups: patients are put in so many groups, by the rest of their number.
    """

    root: str
    pair: tuple[str, str]
    modality: str
    number: int
    scans: pa.Table
    first: tuple[DataFile, ...]
    second: tuple[DataFile, ...]
    groups: int


@dataclass(frozen=True)
class Compared:
    """What a block comes to.

    Attributes:
        moments: by group of patients.
        used: (scans,) which of the block's scans were compared; of two examinations, the later one.
    """

    moments: dict[int, Moments]
    used: npt.NDArray[np.bool_]


def compare_block(block: Block) -> Compared:
    """Find the pairs of vectors of a block and add them up.

    Raises:
        DamagedFile: a file is missing or holds other bytes than were committed.
    """
    lake = Lake(block.root)
    first = vectors(lake, block.first, block.scans)
    if block.pair[0] == block.pair[1]:
        one, other = rescanned(block.scans, usable(first))
        x, y = first[one], first[other]
    else:
        second = vectors(lake, block.second, block.scans)
        one = other = np.flatnonzero(usable(first) & usable(second))
        x, y = first, second
        if len(one) < len(first):
            x, y = first[one], second[one]
    patients = block.scans["patient"].to_numpy().astype(np.int64)
    used = np.zeros(len(patients), np.bool_)
    used[other] = True
    return Compared(grouped(x, y, patients[other] % block.groups), used)


def vectors(lake: Lake, files: Iterable[DataFile], scans: pa.Table) -> Vectors:
    """Vectors of the scans, (scans, 400), row by row; NaN where the files have none."""
    values = np.full((scans.num_rows, FEATURE_LENGTH), np.nan, np.float32)
    for file in files:
        places = np.flatnonzero(pc.equal(scans["cohort"], file.partition["cohort"]).to_numpy())
        rows = lake.data.load(file, ["scan_id", "values"])
        found = pc.index_in(rows["scan_id"], value_set=scans["scan_id"].take(places).combine_chunks())
        known = found.is_valid().to_numpy()
        flat = np.asarray(rows["values"].combine_chunks().flatten()).reshape(len(rows), FEATURE_LENGTH)
        values[places[found.drop_null().to_numpy()]] = flat[known]
    return values


def usable(values: Vectors) -> npt.NDArray[np.bool_]:
    """Which vectors are there and finite, as training asks of them."""
    return np.asarray(np.isfinite(values).all(axis=1))


def rescanned(scans: pa.Table, there: npt.NDArray[np.bool_]) -> tuple[Places, Places]:
    """Places of the first and of the second examination of each patient who has two with a vector.

    Scans of one examination under several names follow each other; the first that has a vector stands for it.

    Args:
        scans: in the order of patients, examinations and names.
        there: (scans,) which have a vector.
    """
    rows = np.flatnonzero(there)
    patient, examination = (scans[column].to_numpy()[rows] for column in ("patient", "examination"))
    fresh = np.ones(len(rows), np.bool_)
    fresh[1:] = (np.diff(patient) != 0) | (np.diff(examination) != 0)
    rows, patient = rows[fresh], patient[fresh]
    begins = np.ones(len(rows), np.bool_)
    begins[1:] = np.diff(patient) != 0
    later = np.flatnonzero(~begins[1:] & begins[:-1]) + 1
    return rows[later - 1], rows[later]
