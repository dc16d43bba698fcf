"""Task for a raw session on a worker: reads and preprocesses its files, returns bytes or the reason for a failure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from gliolake.errors import ClusterError, GliolakeError, InputError
from gliolake.features.preprocessing.settings import PreprocessSettings, RegistrationFailed
from gliolake.features.preprocessing.volumes import pack, read_unchanged
from gliolake.ingest.cohorts.description import MASK
from gliolake.ingest.readers.nifti import BadImage, Volume, turn_to_lps
from gliolake.ingest.scans.images import REFERENCE
from gliolake.ingest.scans.masks import measure_mask

PREPROCESSING_FAILED = "preprocessing failed"
REGISTRATION_FAILED = "registration failed"


@dataclass(frozen=True)
class SessionTask:
    """A scan to preprocess: role, URI and sha256 of its files, its box, and the settings with what is left to do."""

    cohort: str
    scan_id: str
    files: tuple[tuple[str, str, str], ...]
    tumour_box: tuple[int, ...]
    settings: PreprocessSettings
    input_sha256: str
    fingerprint: str


@dataclass(frozen=True)
class PackedVolume:
    """A preprocessed volume as NIfTI, and what table volumes says of it."""

    role: str
    shape: tuple[int, ...]
    affine: tuple[float, ...]
    nifti: bytes
    sha256: str


@dataclass(frozen=True)
class SessionOutcome:
    """Volumes and the box in their voxels; or the reason, from a fixed set, why there are none, and its detail."""

    volumes: tuple[PackedVolume, ...] = ()
    tumour_box: tuple[int, ...] = ()
    reason: str = ""
    detail: str = ""


def preprocess_session(task: SessionTask) -> SessionOutcome:
    """The session's volumes. What is wrong with its data is returned: it costs no other session."""
    try:
        return _preprocessed(task)
    except BadImage as error:
        return SessionOutcome(reason=error.reason, detail=str(error))
    except ClusterError:
        raise
    except RegistrationFailed as error:
        return SessionOutcome(reason=REGISTRATION_FAILED, detail=f"{error} {error.hint}")
    except GliolakeError as error:
        return SessionOutcome(reason=PREPROCESSING_FAILED, detail=f"{error} {error.hint}".strip())


def _preprocessed(task: SessionTask) -> SessionOutcome:
    from gliolake.features.preprocessing.steps import (
        preprocess,  # SimpleITK sets its process's locale, and this is a worker's
    )

    volumes = {role: read_unchanged(uri, sha256, "preprocess", role) for role, uri, sha256 in task.files}
    by_hand = MASK not in volumes
    if by_hand:
        volumes[MASK] = _box_as_mask(task.tumour_box, volumes[REFERENCE])
    done = preprocess(volumes, task.settings)
    if len({(one.voxels.shape, one.affine.tobytes()) for one in done.values()}) > 1:
        raise InputError(
            f"After the steps {', '.join(task.settings.steps)} its images still lie on different grids.",
            hint="Leave resample or fit among the steps.",
        )
    if not done[MASK].voxels.any():
        raise InputError("Nothing of its tumour lies within the preprocessed images.", hint="Look at its mask or box.")
    box, _ = measure_mask(done[MASK].voxels, done[MASK].affine)
    kept = [_packed(role, volume) for role, volume in done.items() if not (by_hand and role == MASK)]
    return SessionOutcome(tuple(kept), tuple(box))


def _box_as_mask(box: tuple[int, ...], reference: Volume) -> Volume:
    """A mask of the box, which then moves with the image as any mask does."""
    voxels, affine = turn_to_lps(reference.voxels, reference.affine)
    mask = np.zeros(voxels.shape, np.uint8)
    mask[tuple(slice(low, high) for low, high in zip(box[::2], box[1::2], strict=True))] = 1
    return Volume(mask, affine, str(box))


def _packed(role: str, volume: Volume) -> PackedVolume:
    nifti = pack(volume)
    affine = tuple(float(number) for number in (volume.affine + 0.0).ravel())
    return PackedVolume(role, volume.voxels.shape, affine, nifti, hashlib.sha256(nifti).hexdigest())
