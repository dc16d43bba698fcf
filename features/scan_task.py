"""What a worker does with one scan: read its images once, cut the clips, return the vectors, or say why not.

Everything in here travels between processes, so it is small and plain.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePath

import numpy as np
import numpy.typing as npt

from features.backbones import Backbone, BackboneOptions, open_backbone
from features.clips import ClipSettings, build_clips
from ingest.nifti import BadImage, read_volume, turn_to_lps
from lake.tables import BRANCHES, MODALITIES

Vector = npt.NDArray[np.float32]

CHANGED_FILE = "changed file"
EXTRACTION_FAILED = "extraction failed"
WORKER_LOST = "worker lost"

IMAGES_OF = {**{modality: (modality,) for modality in MODALITIES}, "DeltaT1": ("T1", "T1wCE")}
"""The images that the vector of a branch is computed from."""


@dataclass(frozen=True)
class ScanFile:
    """A file as the manifest (table scans) knows it. ``role`` is a modality or mask."""

    role: str
    uri: str
    sha256: str


@dataclass(frozen=True)
class ScanTask:
    """One scan and the branches that its vectors are wanted of."""

    cohort: str
    scan_id: str
    files: tuple[ScanFile, ...]
    tumour_box: tuple[int, ...]
    branches: tuple[str, ...]
    backbone: str
    options: BackboneOptions
    settings: ClipSettings


@dataclass(frozen=True)
class ScanVectors:
    """The vectors, (400,) float32, by branch."""

    vectors: Mapping[str, Vector]


@dataclass(frozen=True)
class ScanFailure:
    """Why there are none: a reason from a fixed set, the detail in words, and the file or scan at fault."""

    reason: str
    detail: str
    source: str


def possible_branches(files: Iterable[ScanFile]) -> tuple[str, ...]:
    """The branches whose images are all among ``files``."""
    roles = {file.role for file in files}
    return tuple(branch for branch in BRANCHES if roles.issuperset(IMAGES_OF[branch]))


def input_digest(branch: str, files: Iterable[ScanFile]) -> str:
    """sha256 over what a vector of the branch rests on: its images' digests, and the mask's, which sets the box."""
    digest_of = {file.role: file.sha256 for file in files}
    lines = [f"{role} {digest_of[role]}\n" for role in (*IMAGES_OF[branch], "mask") if role in digest_of]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def compute(task: ScanTask) -> ScanVectors | ScanFailure:
    """The task's vectors. Whatever goes wrong with this scan is returned and not raised: it costs no other scan."""
    try:
        return _compute(task)
    except _Changed as changed:
        return ScanFailure(CHANGED_FILE, str(changed), changed.uri)
    except BadImage as error:
        uris = [file.uri for file in task.files if file.uri in str(error)]
        return ScanFailure(error.reason, str(error), uris[0] if uris else task.scan_id)
    except Exception as error:
        return ScanFailure(EXTRACTION_FAILED, f"{type(error).__name__}: {error}", task.scan_id)


def _compute(task: ScanTask) -> ScanVectors:
    backbone = _backbone(task.backbone, task.options)
    wanted = set(task.branches)
    if task.settings.delta == "feature" and "DeltaT1" in wanted:
        wanted |= {"T1", "T1wCE"}
    images = {role for branch in wanted for role in IMAGES_OF[branch]}
    volumes = {file.role: _read(file) for file in task.files if file.role in images}
    clips = build_clips(volumes, task.tumour_box, task.settings, tuple(wanted))
    tumour = slice(*task.tumour_box[4:6]).indices(task.settings.slices)[:2]
    vectors = dict(zip(clips, backbone.vectors(list(clips.values()), tumour), strict=True))
    if task.settings.delta == "feature" and "DeltaT1" in wanted:
        vectors["DeltaT1"] = vectors["T1wCE"] - vectors["T1"]
    for branch, vector in vectors.items():
        if not np.isfinite(vector).all():
            raise ValueError(f"{task.backbone} gave a vector with numbers that are not finite for {branch}")
    return ScanVectors({branch: vectors[branch] for branch in task.branches})


def _read(file: ScanFile) -> npt.NDArray[np.generic]:
    volume = read_volume(file.uri)
    if volume.sha256 != file.sha256:
        raise _Changed(file.uri)
    return turn_to_lps(volume.voxels, volume.affine)[0]


class _Changed(Exception):
    """A file holds other bytes than the manifest says."""

    def __init__(self, uri: str) -> None:
        super().__init__(
            f"{PurePath(uri).name} was changed after it was ingested: its sha256 is not the one in table scans. "
            "Run gliolake ingest on its folder again, then extract."
        )
        self.uri = uri


@lru_cache(maxsize=2)
def _backbone(name: str, options: BackboneOptions) -> Backbone:
    """Opened once per worker process."""
    return open_backbone(name, options)
