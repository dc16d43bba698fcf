"""Steps that change intensities and leave voxels where they are: bias, noise, gain; and where the head is.

Images are SimpleITK's, float32.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk  # noqa: N813

from gliolake.errors import InputError
from gliolake.features.preprocessing.settings import PreprocessSettings


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


def normalise(image: sitk.Image, name: str = "image") -> sitk.Image:
    """The image divided by the median intensity of its head.

    Only a gain is taken off: background stays 0, which the clips take what lies outside an image for.

    Raises:
        InputError: the head has no intensity.
    """
    voxels = sitk.GetArrayViewFromImage(image)
    # A copy: a view does not keep its image alive, and this one has no other name.
    head = voxels[sitk.GetArrayFromImage(head_mask(image)) > 0]
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
