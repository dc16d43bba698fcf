"""Task for one scan on a worker: reads its images once, cuts clips, and returns vectors or the reason for a failure.

Everything in here travels between processes, so it is small and plain.
"""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gliolake.cluster.failures import fault_of_all
from gliolake.errors import InputError
from gliolake.features.backbones.registry import Backbone
from gliolake.features.clips import Clip, ClipSettings, build_clips
from gliolake.features.extraction.preflight import Expected, disk_full, open_backbone_once
from gliolake.features.extraction.recipe import Choice
from gliolake.features.preprocessing.volumes import BOX, read_unchanged
from gliolake.ingest.readers.nifti import BadImage, turn_to_lps
from gliolake.schema.vocabulary import BRANCHES, MODALITIES

Vector = npt.NDArray[np.float32]

EXTRACTION_FAILED = "extraction failed"
WORKER_LOST = "worker lost"

IMAGES_OF = {**{modality: (modality,) for modality in MODALITIES}, "DeltaT1": ("T1", "T1wCE")}
"""The images that the vector of a branch is computed from."""


class ScanFile(NamedTuple):
    """A file as the manifest (table scans) or table volumes knows it. ``role`` is a modality, mask, or a given box."""

    role: str
    uri: str
    sha256: str


@dataclass(frozen=True)
class Wanted:
    """The branches of a scan whose vectors a feature set lacks, and the backbone that makes them."""

    feature_set: str
    choice: Choice
    branches: tuple[str, ...]


@dataclass(frozen=True)
class ScanTask:
    """One scan and what is wanted of it."""

    cohort: str
    scan_id: str
    files: tuple[ScanFile, ...]
    tumour_box: tuple[int, ...]
    wanted: tuple[Wanted, ...]


@dataclass(frozen=True)
class ScanFailure:
    """Why there is no vector: a reason from a fixed set, the detail in words, and whether it may pass by itself."""

    reason: str
    detail: str
    passing: bool = False


@dataclass(frozen=True)
class ScanOutcome:
    """Per feature set either vectors, (400,) float32 by branch, or a failure."""

    vectors: Mapping[str, Mapping[str, Vector]] = field(default_factory=dict)
    failures: Mapping[str, ScanFailure] = field(default_factory=dict)


def possible_branches(files: Iterable[ScanFile]) -> tuple[str, ...]:
    """The branches whose images are all among ``files``."""
    roles = {file.role for file in files}
    return tuple(branch for branch in BRANCHES if roles.issuperset(IMAGES_OF[branch]))


def input_digest(branch: str, files: Iterable[ScanFile]) -> str:
    """sha256 over what a vector of the branch rests on: its images' digests, and that of the mask or box."""
    digest_of = {file.role: file.sha256 for file in files}
    lines = [f"{role} {digest_of[role]}\n" for role in (*IMAGES_OF[branch], "mask", BOX) if role in digest_of]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def compute(task: ScanTask, expected: Expected) -> ScanOutcome:
    """The task's vectors. What goes wrong with this scan is returned: it costs no other scan, and no other backbone.

    Raises:
        ClusterError: what is wrong is wrong with this worker: it would follow other recipes, lacks weights, or its
            disk is full.
    """
    backbones = {wanted.feature_set: open_backbone_once(expected, wanted.choice) for wanted in task.wanted}
    clips, failures = cut_clips(task, expected.settings)
    vectors: dict[str, Mapping[str, Vector]] = {}
    tumour = slice(*task.tumour_box[4:6]).indices(expected.settings.slices)[:2]
    for wanted in task.wanted:
        if wanted.feature_set in failures:
            continue
        own = {branch: clip for branch, clip in clips.items() if branch in _to_cut(wanted, expected.settings)}
        try:
            made = _vectors(backbones[wanted.feature_set], own, tumour, expected.settings)
            vectors[wanted.feature_set] = {branch: made[branch] for branch in wanted.branches}
        except Exception as error:
            failures[wanted.feature_set] = _failure(error)
    return ScanOutcome(vectors, failures)


def _to_cut(wanted: Wanted, settings: ClipSettings) -> frozenset[str]:
    """The branches whose clips the wanted vectors are made of."""
    of_vectors = {"T1", "T1wCE"} if settings.delta == "feature" and "DeltaT1" in wanted.branches else set()
    return frozenset(wanted.branches) | of_vectors


def cut_clips(task: ScanTask, settings: ClipSettings) -> tuple[dict[str, Clip], dict[str, ScanFailure]]:
    """Clips for all that is wanted, each image read once; and the feature sets for which an image is at fault."""
    cuts = {wanted.feature_set: _to_cut(wanted, settings) for wanted in task.wanted}
    roles_of = {name: {role for branch in cut for role in IMAGES_OF[branch]} for name, cut in cuts.items()}
    images: dict[str, npt.NDArray[np.generic]] = {}
    failures: dict[str, ScanFailure] = {}
    for role in sorted(set().union(*roles_of.values())):
        try:
            images[role] = lps_image(task, role)
        except Exception as error:
            failures |= {name: _failure(error) for name, roles in roles_of.items() if role in roles}
    sound = [name for name in cuts if name not in failures]
    if not sound:
        return {}, failures
    used = {role: images[role] for role in images if any(role in roles_of[name] for name in sound)}
    branches = tuple(set().union(*(cuts[name] for name in sound)))
    try:
        return build_clips(used, task.tumour_box, settings, branches), failures
    except Exception as error:
        return {}, failures | dict.fromkeys(sound, _failure(error))


def lps_image(task: ScanTask, role: str) -> npt.NDArray[np.generic]:
    """The scan's image of a role, (x, y, z) in LPS, as stored.

    Raises:
        BadImage: it is no sound volume, or its file holds other bytes than the manifest says.
    """
    (file,) = (file for file in task.files if file.role == role)
    volume = read_unchanged(file.uri, file.sha256, then="extract")
    return turn_to_lps(volume.voxels, volume.affine)[0]


def _vectors(
    backbone: Backbone, clips: Mapping[str, Clip], tumour: tuple[int, int], settings: ClipSettings
) -> dict[str, Vector]:
    vectors = dict(zip(clips, backbone.vectors(list(clips.values()), tumour), strict=True))
    if settings.delta == "feature" and "T1wCE" in vectors and "T1" in vectors:
        vectors["DeltaT1"] = vectors["T1wCE"] - vectors["T1"]
    for branch, vector in vectors.items():
        if not np.isfinite(vector).all():
            raise InputError(f"{backbone.name} gave a vector with numbers that are not finite for {branch}.")
    return vectors


def _failure(error: Exception) -> ScanFailure:
    """The error as a row of exclusions will tell it.

    Raises:
        ClusterError: it is the worker's, not the scan's.
    """
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        raise disk_full(error) from error
    if fault := fault_of_all(error):
        raise fault
    if isinstance(error, BadImage):
        return ScanFailure(error.reason, str(error))
    if isinstance(error, InputError):
        return ScanFailure(EXTRACTION_FAILED, str(error))
    return ScanFailure(EXTRACTION_FAILED, f"{type(error).__name__}: {error}", passing=True)
