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
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813

from ingest.images import SYNTHETIC
from ingest.nifti import Volume, read_volume, turn_to_lps, voxel_digest
from lake.errors import InputError, unknown_name

REVISION = 1
"""Part of every recipe: raised when this module comes to compute other voxels from the same settings."""

STEPS = ("bias", "denoise", "align", "coregister", "resample", "fit", "normalise")
"""Every step, in the order in which they are done."""

MASK, REFERENCE = "mask", "T1wCE"
_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class PreprocessSettings:
    """Which steps are done to a session, and how. All of it goes into the recipe of what is computed from the result.

    Attributes:
        steps: Some of ``STEPS``. Whatever their order here, they are done in that of ``STEPS``.
        template: Path of the image that ``coregister`` deforms the session to.
        spacing_mm: Edge of the cubic voxels that ``resample`` makes.
        size: Voxels along x, y and z that ``fit`` crops and pads to.
        bias_iterations: Most iterations of N4 at each of its resolutions.
        bias_grid_mm: N4 estimates the field on voxels of about this size.
        denoise_iterations, denoise_time_step: Of the curvature flow; steps above 1/16 are unstable in 3-D.
        align_grid_mm: Voxels on which transforms are sought at the finest level.
        sampled: Share of those voxels that the mutual information is computed from.
        control_points_mm: Distance of the control points of the deformation.
        seed: Of the choice of those voxels.

    Raises:
        InputError: on construction, for a step that does not exist, ``coregister`` without a template, or a number
            outside its range.
    """

    steps: tuple[str, ...] = tuple(step for step in STEPS if step != "coregister")
    template: str = ""
    spacing_mm: float = 1.0
    size: tuple[int, int, int] = (240, 240, 150)
    bias_iterations: tuple[int, ...] = (40, 40, 30)
    bias_grid_mm: float = 4.0
    denoise_iterations: int = 5
    denoise_time_step: float = 0.0625
    align_grid_mm: float = 2.0
    sampled: float = 0.2
    control_points_mm: float = 40.0
    seed: int = 0

    def __post_init__(self) -> None:
        for step in self.steps:
            if step not in STEPS:
                raise unknown_name("preprocessing step", step, STEPS)
        object.__setattr__(self, "steps", tuple(step for step in STEPS if step in self.steps))
        if ("coregister" in self.steps) != bool(self.template):
            raise InputError(
                "The step coregister and a template belong together, and only one of them is given.",
                hint="Name the template's file, or leave the step out.",
            )
        lengths = (self.spacing_mm, self.bias_grid_mm, self.align_grid_mm, self.control_points_mm)
        if not (all(0.1 <= length <= 200 for length in lengths) and all(1 <= voxels <= 1024 for voxels in self.size)):
            raise InputError(
                f"Voxels of {self.spacing_mm} mm, {self.size} of them, or distances {lengths[1:]} are out of range.",
                hint="The study has voxels of 1 mm, 240 × 240 × 150 of them.",
            )
        if not (0 < self.sampled <= 1 and 0 < self.denoise_time_step <= 0.0625 and self.denoise_iterations >= 1):
            raise InputError(
                f"A sampled share of {self.sampled}, a time step of {self.denoise_time_step} or "
                f"{self.denoise_iterations} iterations are out of range.",
                hint="The share is above 0 and at most 1, the time step at most 0.0625, iterations at least 1.",
            )

    def without(self, done: Iterable[str]) -> PreprocessSettings:
        """The settings for a cohort that says which steps were done to it already, so that none is done twice."""
        done = tuple(done)
        for step in done:
            if step not in STEPS:
                raise unknown_name("preprocessing step", step, STEPS)
        left = tuple(step for step in self.steps if step not in done)
        return replace(self, steps=left, template=self.template if "coregister" in left else "")

    def recipe(self) -> dict[str, Any]:
        """The settings as JSON values; the template by its content, not by where it lies."""
        recipe = {"revision": REVISION, "simpleitk": sitk.Version.VersionString(), **asdict(self)}
        del recipe["template"]
        if self.template:
            recipe["template_sha256"] = read_volume(self.template).sha256
        return recipe


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
        BadImage: the template cannot be read.
    """
    images = {name: to_image(name, volume) for name, volume in volumes.items()}
    mask = images.pop(MASK, None)
    if not images:
        raise InputError("There is no image to preprocess.", hint="Give at least one modality.")
    reference = REFERENCE if REFERENCE in images else next(iter(images))
    with _threads(1 if single_thread else 0):
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
    return {name: _to_volume(images[name], volumes[name], keys[name]) for name in volumes}


def correct_bias(image: sitk.Image, settings: PreprocessSettings) -> sitk.Image:
    """The image divided by its smooth gain over the head, as N4 finds it (Tustison et al. 2010).

    The field is estimated on coarse voxels, which it is far smoother than, and divided out at full resolution.
    """
    factors = [max(round(settings.bias_grid_mm / spacing), 1) for spacing in image.GetSpacing()]
    factors = [min(factor, max(size // 4, 1)) for factor, size in zip(factors, image.GetSize(), strict=True)]
    positive = sitk.Maximum(image, 0.0)  # N4 works on logarithms
    head = head_mask(positive)
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations(list(settings.bias_iterations))
    n4.Execute(sitk.Shrink(positive, factors), sitk.Shrink(head, factors))
    field = sitk.Exp(n4.GetLogBiasFieldAsImage(positive))
    return sitk.Cast(positive / field, sitk.sitkFloat32)


def denoise(image: sitk.Image, settings: PreprocessSettings) -> sitk.Image:
    """The image after curvature flow, which smooths noise along edges and leaves the edges (Sethian 1996)."""
    return sitk.CurvatureFlow(image, settings.denoise_time_step, settings.denoise_iterations)


def align(fixed: sitk.Image, moving: sitk.Image, settings: PreprocessSettings) -> sitk.Transform:
    """The rigid transform, from points of ``fixed`` to points of ``moving``, of most mutual information (Mattes).

    The scanner's coordinates are the start, since within a session the head lies where it lay but for small motion; a
    result that the mutual information of all voxels does not prefer to that start is not taken.
    """
    target = isotropic(fixed, settings.align_grid_mm)
    start = sitk.Euler3DTransform()
    start.SetCenter(_centre(fixed))
    method = _method(settings)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-3, 150, 0.5)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetInitialTransform(sitk.Euler3DTransform(start), inPlace=False)
    return _better(target, moving, start, _run(method, target, moving))


def coregister(template: sitk.Image, moving: sitk.Image, settings: PreprocessSettings) -> sitk.Transform:
    """The transform, from points of the template to points of ``moving``: affine, then a cubic B-spline deformation."""
    target = isotropic(template, max(settings.align_grid_mm, 2.0))
    start = sitk.CenteredTransformInitializer(
        target, moving, sitk.AffineTransform(3), sitk.CenteredTransformInitializerFilter.GEOMETRY
    )
    method = _method(settings)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-3, 150, 0.5)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetInitialTransform(start, inPlace=False)
    affine = _better(target, moving, start, _run(method, target, moving))
    extent = [size * spacing for size, spacing in zip(target.GetSize(), target.GetSpacing(), strict=True)]
    mesh = [max(round(length / settings.control_points_mm), 1) for length in extent]
    method = _method(settings, levels=((2, 2.0), (1, 1.0)))
    method.SetMovingInitialTransform(affine)
    method.SetInitialTransform(sitk.BSplineTransformInitializer(target, mesh), inPlace=False)
    method.SetOptimizerAsLBFGSB(1e-5, 40, 5, 400)
    deformed = sitk.CompositeTransform([affine, _run(method, target, moving)])  # the last is applied first
    return _better(target, moving, affine, deformed)


def isotropic(image: sitk.Image, spacing: float) -> sitk.Image:
    """The image on cubic voxels along the patient's axes, on a grid that holds all of it."""
    return move(image, isotropic_grid(image, spacing), sitk.Transform(3, sitk.sitkIdentity))


def isotropic_grid(image: sitk.Image, spacing: float) -> sitk.Image:
    """An empty image of cubic voxels along the patient's axes that holds all of ``image``, edges of voxels included."""
    size = np.array(image.GetSize(), float)
    ends = np.array(np.meshgrid(*[(-0.5, length - 0.5) for length in size])).reshape(3, -1).T
    points = np.array([image.TransformContinuousIndexToPhysicalPoint(end.tolist()) for end in ends])
    low, high = points.min(0), points.max(0)
    voxels = np.maximum(np.ceil((high - low) / spacing - 1e-3), 1)
    origin = (low + high) / 2 - (voxels - 1) / 2 * spacing
    return _empty([int(count) for count in voxels], origin, [spacing] * 3, np.eye(3).ravel())


def fitted_grid(grid: sitk.Image, image: sitk.Image, size: tuple[int, int, int]) -> sitk.Image:
    """A grid of ``size`` voxels, whole voxels away from ``grid``, centred on the head that ``image`` shows.

    A head that is too tall keeps its top and loses its neck.
    """
    head = move(head_mask(image), grid, sitk.Transform(3, sitk.sitkIdentity), sitk.sitkNearestNeighbor)
    inside = np.argwhere(sitk.GetArrayViewFromImage(head) > 0)[:, ::-1]
    if len(inside):
        low, high = inside.min(0), inside.max(0) + 1
    else:
        low, high = np.zeros(3, int), np.array(grid.GetSize())
    first = [int((low[axis] + high[axis] - size[axis]) // 2) for axis in range(3)]
    if high[2] - low[2] > size[2]:
        first[2] = int(high[2] - size[2])
    return _empty(list(size), grid.TransformIndexToPhysicalPoint(first), grid.GetSpacing(), grid.GetDirection())


def move(
    image: sitk.Image, grid: sitk.Image, transform: sitk.Transform, interpolator: int = sitk.sitkLinear
) -> sitk.Image:
    """The image on another grid, 0 outside of it. ``transform`` leads from the grid's points to the image's."""
    return sitk.Resample(image, grid, transform, interpolator, 0.0, image.GetPixelID())


def normalise(image: sitk.Image, name: str = "image") -> sitk.Image:
    """The image divided by the median intensity of its head.

    Only a gain is taken off: background stays 0, which the clips take what lies outside an image for.

    Raises:
        InputError: the head has no intensity.
    """
    voxels = sitk.GetArrayViewFromImage(image)
    head = voxels[sitk.GetArrayViewFromImage(head_mask(image)) > 0]
    median = float(np.median(head)) if head.size else 0.0
    if not median > 0:
        raise InputError(
            f"{name} shows no head whose intensity could be normalised.", hint="Look at it, or leave it out."
        )
    return sitk.Cast(image / median, sitk.sitkFloat32)


def head_mask(image: sitk.Image) -> sitk.Image:
    """1 in the head, else 0, uint8: the largest piece of what is clearly brighter than air, its holes filled."""
    low, high = sitk.GetArrayViewFromImage(image).min(), sitk.GetArrayViewFromImage(image).max()
    if low == high:
        return sitk.Cast(image * 0, sitk.sitkUInt8)
    # Half of the threshold: it lies between air and scalp, and cortex near the coil's far side is darker than scalp.
    otsu = sitk.OtsuThresholdImageFilter()
    otsu.Execute(image)
    bright = image > float(low) + 0.5 * (otsu.GetThreshold() - float(low))
    pieces = sitk.RelabelComponent(sitk.ConnectedComponent(sitk.BinaryMorphologicalOpening(bright, [1, 1, 0])))
    return sitk.BinaryFillhole(pieces == 1)


def to_image(name: str, volume: Volume) -> sitk.Image:
    """A volume as a SimpleITK image in LPS order, float32; a mask keeps its type.

    Raises:
        InputError: the affine is sheared, which an image of SimpleITK cannot say.
    """
    voxels, affine = turn_to_lps(volume.voxels, volume.affine)
    lps = _FLIP @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    direction = lps[:3, :3] / spacing
    if np.abs(direction.T @ direction - np.eye(3)).max() > 1e-3:
        raise InputError(f"The axes of {name} are not at right angles.", hint="Resample it to a grid without shear.")
    u, _, v = np.linalg.svd(direction)
    values = voxels.transpose(2, 1, 0)
    image = sitk.GetImageFromArray(np.ascontiguousarray(values if name == MASK else values.astype(np.float32)))
    image.SetSpacing(spacing.tolist())
    image.SetDirection((u @ v).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    return image


def mutual_information(fixed: sitk.Image, moving: sitk.Image, transform: sitk.Transform | None = None) -> float:
    """Mattes mutual information of two images over all voxels of ``fixed``, in nats: higher is a better fit."""
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(50)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetInitialTransform(transform or sitk.Transform(3, sitk.sitkIdentity))
    return -float(method.MetricEvaluate(fixed, moving))


def _transforms(
    images: Mapping[str, sitk.Image], reference: str, settings: PreprocessSettings
) -> dict[str, sitk.Transform]:
    """For each image the transform from points of the common space to its own."""
    still = sitk.Transform(3, sitk.sitkIdentity)
    moves = dict.fromkeys(images, still)
    if "align" in settings.steps:
        for name, image in images.items():
            if name != reference:
                moves[name] = align(images[reference], image, settings)
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


def _method(
    settings: PreprocessSettings, levels: tuple[tuple[int, float], ...] = ((4, 3.0), (2, 1.5), (1, 0.0))
) -> sitk.ImageRegistrationMethod:
    """Mutual information on a fixed random choice of voxels, from coarse to fine: (shrink factor, smoothing in mm)."""
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(50)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(settings.sampled, settings.seed + 1)  # ITK takes 0 for the clock
    method.SetInterpolator(sitk.sitkLinear)
    method.SetShrinkFactorsPerLevel([factor for factor, _ in levels])
    method.SetSmoothingSigmasPerLevel([sigma for _, sigma in levels])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    return method


def _run(method: sitk.ImageRegistrationMethod, fixed: sitk.Image, moving: sitk.Image) -> sitk.Transform:
    try:
        return method.Execute(fixed, moving)
    except RuntimeError as error:  # ITK's text is a page of C++
        raise InputError(
            "Two images could not be registered: they overlap too little, or show too little.",
            hint="Look at them with gliolake preview, and leave the step align or coregister out.",
        ) from error


def _better(fixed: sitk.Image, moving: sitk.Image, start: sitk.Transform, found: sitk.Transform) -> sitk.Transform:
    better = mutual_information(fixed, moving, found) > mutual_information(fixed, moving, start)
    return found if better else start


def _centre(image: sitk.Image) -> tuple[float, ...]:
    centre: tuple[float, ...] = image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()])
    return centre


def _empty(size: list[int], origin: Any, spacing: Any, direction: Any) -> sitk.Image:
    grid = sitk.Image(size, sitk.sitkUInt8)
    grid.SetOrigin([float(number) for number in origin])
    grid.SetSpacing([float(number) for number in spacing])
    grid.SetDirection([float(number) for number in direction])
    return grid


def _keys(volumes: Mapping[str, Volume], settings: PreprocessSettings) -> dict[str, str]:
    session = {name: volume.sha256 for name, volume in sorted(volumes.items())}
    told = json.dumps([settings.recipe(), session], sort_keys=True)
    return {name: hashlib.sha256(f"{name}\n{told}".encode()).hexdigest() for name in volumes}


def _to_volume(image: sitk.Image, source: Volume, key: str) -> Volume:
    voxels = sitk.GetArrayFromImage(image).transpose(2, 1, 0)
    voxels.flags.writeable = False
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    described = f"gliolake {SYNTHETIC}" if SYNTHETIC in source.description else ""
    return Volume(voxels, _FLIP @ affine, key, voxel_digest(voxels), described)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """SimpleITK on this many threads; 0 leaves them. One, because sums over threads come out in changing order."""
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(count or before)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
