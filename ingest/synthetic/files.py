"""The files of synthetic cohorts: under which names they lie, how they are written, and how they are known again."""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from gliolake.ingest.synthetic.brain import SPACING_MM, Anatomy, make_scan
from gliolake.process.signals import out_of_reach

DESCRIPTION = b"gliolake synthetic"

BRATS_HEADER = ("BraTS21ID", "MGMT_value")
UCSF_HEADER = (
    "ID", "Sex", "Age at MRI", "WHO CNS Grade", "Final pathologic diagnosis (WHO 2021)", "MGMT status", "MGMT index",
    "1p/19q", "IDH", "1-dead 0-alive", "OS", "EOR", "Biopsy prior to imaging", "BraTS21 ID",
    "BraTS21 Segmentation Cohort", "BraTS21 MGMT Cohort",
)  # fmt: skip
"""Header lines of the public files: the challenge's train_labels.csv and UCSF-PDGM-metadata_v5.csv."""

BRATS_NAMES = {"FLAIR": "flair", "T1": "t1", "T1wCE": "t1ce", "T2": "t2", "mask": "seg"}
UCSF_NAMES = {"FLAIR": "FLAIR", "T1": "T1", "T1wCE": "T1c", "T2": "T2", "mask": "tumor_segmentation"}

README = """These scans and labels are SYNTHETIC. They were made up by gliolake (ingest.synthetic) for tests and demos.
They show no patient, and nothing found in them says anything about MRI or MGMT.
"""


_IMAGES = re.compile(
    rf"brats21/images/(BraTS2021_\d{{5}})/\1_({'|'.join(BRATS_NAMES.values())})\.nii\.gz|"
    rf"ucsf_pdgm/images/(UCSF-PDGM-\d{{4}}(?:_FU\d{{3}}d)?)_nifti/\3_({'|'.join(UCSF_NAMES.values())})\.nii\.gz"
)
_TABLES = {"brats21/train_labels.csv": BRATS_HEADER, "ucsf_pdgm/UCSF-PDGM-metadata_v5.csv": UCSF_HEADER}


@dataclass(frozen=True)
class Session:
    """A scan to be written: whose, in which session, under which name, and what is wrong with its files."""

    folder: str
    stem: str
    names: dict[str, str]
    anatomy: Anatomy
    session: tuple[int, ...]
    fault: str = ""
    level: int = 1


def is_of_cohorts(folder: Path, name: str) -> bool:
    """Whether the file of this name below the folder is one that ``write_cohorts`` writes, whole or broken off."""
    file = folder / name
    if file.is_symlink() or not file.is_file():
        return False
    with file.open("rb") as opened:
        begin = opened.read(1 << 12)
    if name in _TABLES:
        return begin.startswith(",".join(_TABLES[name]).encode()) or not begin
    if _IMAGES.fullmatch(name):
        with suppress(zlib.error):
            return zlib.decompressobj(31).decompress(begin, 348)[148:].startswith(DESCRIPTION) or not begin
    return name == "README.txt" and README.encode().startswith(begin)


def write_sessions(folder: Path, sessions: Sequence[Session], workers: int) -> Iterator[None]:
    """Write scans below the folder, in processes if there are to be several, and yield after each."""
    write = partial(write_session, folder)
    if workers == 1:
        yield from map(write, sessions)
        return
    from multiprocessing import get_context

    with out_of_reach():
        pool = get_context("spawn").Pool(workers)
    with pool:  # whose end is theirs, whatever they are at
        yield from pool.imap_unordered(write, sessions)


def write_session(folder: Path, session: Session) -> None:
    """Write the five files of a scan, or what its fault leaves of them."""
    images, mask = make_scan(session.anatomy, session.session)
    if session.fault == "empty mask":
        mask[:] = 0
    target = folder / session.folder
    target.mkdir(parents=True, exist_ok=True)
    files: dict[str, np.ndarray] = {**images, "mask": mask}
    for role, voxels in files.items():
        if session.fault == f"missing {role}":
            continue
        data = _nifti(voxels, session.level)
        if session.fault == f"truncated {role}":
            data = data[: len(data) // 2]
        (target / f"{session.stem}_{session.names[role]}.nii.gz").write_bytes(data)


def _nifti(voxels: np.ndarray, level: int) -> bytes:
    """The bytes of a ``.nii.gz`` stored LPS with an sform, as BraTS21 files are."""
    import nibabel as nib

    x, y, z = SPACING_MM
    affine = np.diag([-x, -y, z, 1.0])
    affine[1, 3] = y * (voxels.shape[1] - 1)
    image = nib.Nifti1Image(voxels, affine)
    image.header.set_sform(affine, code="scanner")
    image.header.set_qform(affine, code="scanner")
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = DESCRIPTION
    # Not igzip: under load it was seen to pack the same bytes in two ways, about once in a thousand files.
    return gzip.compress(image.to_bytes(), level, mtime=0)


def write_csv(path: Path, rows: Iterable[Iterable[object]]) -> None:
    """Write a table of comma-separated values; its folder is made if it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
