"""The study's preprocessing of one session, step by step: raw volumes, each on a grid of its own, come to share one.

Section 2.1 of Chen et al. 2025 names deformable co-registration to a template, bias correction per sequence, intensity
normalisation, motion correction within the session, noise reduction, 1 × 1 × 1 mm and 240 × 240 × 150; not how, nor in
which order (slice-timing correction, also named, has no meaning for structural images). Here bias and noise are taken
off the voxels as they were acquired, the transforms are found on the result, and every image is interpolated once.

Images are SimpleITK's, float32, in LPS order and millimetres; the steps are pure functions of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext

import SimpleITK as sitk  # noqa: N813

from gliolake.errors import InputError
from gliolake.features.preprocessing.grids import fitted_grid, isotropic_grid, move, to_image, to_volume
from gliolake.features.preprocessing.intensity import correct_bias, denoise, normalise
from gliolake.features.preprocessing.registration import align, coregister
from gliolake.features.preprocessing.settings import PreprocessSettings
from gliolake.ingest.cohorts.description import MASK
from gliolake.ingest.readers.nifti import Volume, read_volume
from gliolake.ingest.scans.images import REFERENCE
from gliolake.process.threads import while_any_is_inside


def preprocess(
    volumes: Mapping[str, Volume], settings: PreprocessSettings, *, single_thread: bool = True
) -> dict[str, Volume]:
    """One session's volumes after the steps of ``settings``.

    All are aligned to T1wCE, or to the first where there is none. A volume named ``mask`` is taken to lie in that
    image's space; it is only moved, by nearest neighbour.

    Returns:
        By the same names, voxels (x, y, z) float32 in LPS order (masks keep their type). With any of the steps that
        move voxels all have one grid; without, each keeps its own. ``sha256`` is a digest of the recipe, the volume's
        name and the sha256 of the session's volumes: a key under which the result can be kept.

    Raises:
        InputError: there are no images, or one is sheared or empty.
        RegistrationFailed: an image cannot be aligned, or the session not deformed to the template.
        BadImage: the template cannot be read.
    """
    images = {name: to_image(name, volume) for name, volume in volumes.items()}
    mask = images.pop(MASK, None)
    if not images:
        raise InputError("There is no image to preprocess.", hint="Give at least one modality.")
    reference = REFERENCE if REFERENCE in images else next(iter(images))
    with _one_thread() if single_thread else nullcontext():
        if "bias" in settings.steps:
            images = {name: correct_bias(image, settings) for name, image in images.items()}
        if "denoise" in settings.steps:
            images = {name: denoise(image, settings) for name, image in images.items()}
        transforms = _transforms(images, reference, settings)
        if {"align", "coregister", "resample", "fit"} & set(settings.steps):
            grid = _grid(images[reference], settings)
            if mask is not None:
                mask = move(mask, grid, transforms[reference], sitk.sitkNearestNeighbor)
            images = {name: move(image, grid, transforms[name]) for name, image in images.items()}
        if "normalise" in settings.steps:
            images = {name: normalise(image, name) for name, image in images.items()}
    if mask is not None:
        images[MASK] = mask
    keys = _keys(volumes, settings)
    return {name: to_volume(images[name], volumes[name], keys[name]) for name in volumes}


def _transforms(
    images: Mapping[str, sitk.Image], reference: str, settings: PreprocessSettings
) -> dict[str, sitk.Transform]:
    """For each image the transform from points of the common space to its own."""
    still = sitk.Transform(3, sitk.sitkIdentity)
    moves = dict.fromkeys(images, still)
    if "align" in settings.steps:
        for name, image in images.items():
            if name != reference:
                moves[name] = align(images[reference], image, settings, name)
    if "coregister" in settings.steps:
        deformed = coregister(_template(settings), images[reference], settings)
        moves = {name: sitk.CompositeTransform([found, deformed]) for name, found in moves.items()}
    return moves


def _template(settings: PreprocessSettings) -> sitk.Image:
    return to_image("template", read_volume(settings.template))


def _grid(reference: sitk.Image, settings: PreprocessSettings) -> sitk.Image:
    base = _template(settings) if "coregister" in settings.steps else reference
    grid = isotropic_grid(base, settings.spacing_mm) if "resample" in settings.steps else base
    return fitted_grid(grid, base, settings.size) if "fit" in settings.steps else grid


def _keys(volumes: Mapping[str, Volume], settings: PreprocessSettings) -> dict[str, str]:
    session = {name: volume.sha256 for name, volume in sorted(volumes.items())}
    told = json.dumps([settings.recipe(), session], sort_keys=True)
    return {name: hashlib.sha256(f"{name}\n{told}".encode()).hexdigest() for name in volumes}


@while_any_is_inside
@contextmanager
def _one_thread() -> Iterator[None]:
    """SimpleITK on one thread, because sums over threads come out in changing order."""
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
