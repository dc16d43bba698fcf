"""Where one image lies in another, by mutual information: rigid in a session, affine and deformable to a template."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import SimpleITK as sitk  # noqa: N813

from gliolake.features.preprocessing.grids import isotropic, move
from gliolake.features.preprocessing.intensity import head_mask
from gliolake.features.preprocessing.settings import PreprocessSettings, RegistrationFailed

FITS = 0.5
"""Least information that two images which fit share, in the entropy of what is head and what is air. Real images of one
session that lie on each other share 0.96 to 1.1 of it; moved apart by 20 mm 0.4 to 0.6, by 80 mm 0.03 to 0.3."""

_CLEARLY = 1.05
"""How much more another start has to share to be followed, and a mirrored image for one of the two to be called so: of
sound images a mirrored one shares 0.9."""

_COARSE_MM = 6.0
"""Voxels on which starts are compared, and a result is judged."""

_LOOK = "Look at them with gliolake preview: is one of another patient, or does its header give another place?"


def align(
    fixed: sitk.Image, moving: sitk.Image, settings: PreprocessSettings, name: str = "The image"
) -> sitk.Transform:
    """The rigid transform, from points of ``fixed`` to points of ``moving``, of most mutual information (Mattes).

    The scanner's coordinates are the start, since within a session the head lies where it lay but for small motion; a
    result that the mutual information of all voxels does not prefer to that start is not taken. Another start has the
    heads' centres on each other, turned by right angles or not. It is followed where it shares clearly more than that
    result, or where the result does not fit.

    Raises:
        RegistrationFailed: they fit from no start, or one of them is mirrored. ``name`` stands for ``moving``.
    """
    target = isotropic(fixed, settings.align_grid_mm)
    coarse = isotropic(fixed, _COARSE_MM), isotropic(moving, _COARSE_MM)
    as_given = sitk.Euler3DTransform()
    as_given.SetCenter(_middle(fixed))
    found = rigid(target, moving, as_given, settings)
    turned, mirrored = (_best_turn(*coarse, proper=proper) for proper in (True, False))
    if shared(*coarse, turned) > _CLEARLY * shared(*coarse, found) or not fits(*coarse, found):
        start = sitk.VersorRigid3DTransform()
        start.SetCenter(turned.GetCenter())
        start.SetMatrix(turned.GetMatrix())
        start.SetTranslation(turned.GetTranslation())
        other = rigid(target, moving, start, settings)
        found = max(found, other, key=lambda transform: shared(*coarse, transform))
    if not fits(*coarse, found):
        raise RegistrationFailed(f"{name} could not be aligned: it fits from no start.", hint=_LOOK)
    if shared(*coarse, mirrored) > _CLEARLY * shared(*coarse, found):
        raise RegistrationFailed(f"{name} could not be aligned: it fits better when mirrored.", hint=_LOOK)
    return found


def fits(fixed: sitk.Image, moving: sitk.Image, transform: sitk.Transform) -> bool:
    """Whether two images say as much of each other as images of heads do that lie on each other."""
    share = float(np.mean(sitk.GetArrayFromImage(head_mask(fixed)) > 0))
    if not 0 < share < 1:
        return False
    entropy = -share * np.log(share) - (1 - share) * np.log(1 - share)
    return shared(fixed, moving, transform) >= FITS * entropy


def shared(fixed: sitk.Image, moving: sitk.Image, transform: sitk.Transform) -> float:
    """Mutual information over all voxels of ``fixed``, in nats; ``moving`` is 0 where it has none.

    ``mutual_information`` leaves those voxels out, and so prefers images that hardly overlap.
    """
    here = sitk.GetArrayViewFromImage(fixed).ravel()
    there = sitk.GetArrayFromImage(move(moving, fixed, transform)).ravel()
    joint = np.histogram2d(here, there, bins=50)[0] / here.size
    some = joint > 0
    apart = np.outer(joint.sum(1), joint.sum(0))
    return float(np.sum(joint[some] * np.log(joint[some] / apart[some])))


def rigid(
    target: sitk.Image, moving: sitk.Image, start: sitk.Transform, settings: PreprocessSettings
) -> sitk.Transform:
    """The rigid transform that a search from ``start`` ends at; ``start`` itself where the images do not overlap."""
    method = _method(settings)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-3, 150, 0.5)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetInitialTransform(sitk.Transform(start), inPlace=False)
    try:
        return _better(target, moving, start, method.Execute(target, moving))
    except RuntimeError:  # they do not overlap
        return start


def _best_turn(fixed: sitk.Image, moving: sitk.Image, *, proper: bool) -> sitk.AffineTransform:
    """Of the 24 turns by right angles, or of the 24 with a mirror, the one that fits best with head on head."""
    here, there = _centre(fixed), _centre(moving)
    starts = []
    for order, signs in product(permutations(range(3)), product((1.0, -1.0), repeat=3)):
        turn = np.diag(signs)[list(order)]
        if (np.linalg.det(turn) > 0) == proper:
            start = sitk.AffineTransform(3)
            start.SetMatrix(turn.ravel().tolist())
            start.SetCenter(here)
            start.SetTranslation(np.subtract(there, here).tolist())
            starts.append(start)
    return max(starts, key=lambda start: shared(fixed, moving, start))


def coregister(template: sitk.Image, moving: sitk.Image, settings: PreprocessSettings) -> sitk.Transform:
    """The transform, from points of the template to points of ``moving``: affine, then a cubic B-spline deformation.

    Raises:
        RegistrationFailed: they do not fit after it.
    """
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
    found = _better(target, moving, affine, deformed)
    if not fits(isotropic(template, _COARSE_MM), isotropic(moving, _COARSE_MM), found):
        raise RegistrationFailed("The scan could not be deformed to the template: it does not fit.", hint=_LOOK)
    return found


def mutual_information(fixed: sitk.Image, moving: sitk.Image, transform: sitk.Transform | None = None) -> float:
    """Mattes mutual information of two images over all voxels of ``fixed``, in nats: higher is a better fit.

    Those that lie outside of ``moving`` do not count; it is 0 where all do, or where an image is constant.
    """
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(50)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetInitialTransform(transform or sitk.Transform(3, sitk.sitkIdentity))
    try:
        return -float(method.MetricEvaluate(fixed, moving))
    except RuntimeError:
        return 0.0


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
        fault = "Two images could not be registered: they overlap too little, or show too little."
        raise RegistrationFailed(fault, hint=_LOOK) from error


def _better(fixed: sitk.Image, moving: sitk.Image, start: sitk.Transform, found: sitk.Transform) -> sitk.Transform:
    better = mutual_information(fixed, moving, found) > mutual_information(fixed, moving, start)
    return found if better else start


def _middle(image: sitk.Image) -> tuple[float, ...]:
    """The centre of an image's grid."""
    centre: tuple[float, ...] = image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()])
    return centre


def _centre(image: sitk.Image) -> tuple[float, ...]:
    """The centre of the head that an image shows; of its grid where it shows none."""
    inside = np.argwhere(sitk.GetArrayFromImage(head_mask(image)) > 0)
    if not len(inside):
        return _middle(image)
    centre: tuple[float, ...] = image.TransformContinuousIndexToPhysicalPoint(inside.mean(0)[::-1].tolist())
    return centre
