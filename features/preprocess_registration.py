"""Where one image lies in another, by mutual information: rigid in a session, affine and deformable to a template."""

from __future__ import annotations

import SimpleITK as sitk  # noqa: N813

from features.preprocess_grids import isotropic
from features.preprocess_settings import PreprocessSettings
from lake.errors import InputError


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


def mutual_information(fixed: sitk.Image, moving: sitk.Image, transform: sitk.Transform | None = None) -> float:
    """Mattes mutual information of two images over all voxels of ``fixed``, in nats: higher is a better fit."""
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(50)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetInitialTransform(transform or sitk.Transform(3, sitk.sitkIdentity))
    return -float(method.MetricEvaluate(fixed, moving))


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
