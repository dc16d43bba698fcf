"""Panels of the picture of a case: slices and prediction, each drawn onto given axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from gliolake.analysis.case.answer import Answer
from gliolake.analysis.case.images import CaseImages
from gliolake.analysis.figures.style import BLUE, HAIR, INK, ORANGE, PENCIL, RED, VERMILION, readable
from gliolake.features.clips import ClipSettings
from gliolake.features.preprocessing.volumes import read_image
from gliolake.features.preview.command import shown_slices
from gliolake.features.preview.sheet import SheetRow, contact_sheet
from gliolake.ingest.cohorts.description import MASK
from gliolake.ingest.readers.nifti import turn_to_lps
from gliolake.schema.vocabulary import MODALITIES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from PIL.Image import Image

COLUMNS = 4
"""Slices that are shown of each image."""


def slices(case: CaseImages, settings: ClipSettings) -> Image:
    """The contact sheet of a case: slices spread over the tumour, its outline, and the box that the model sees."""
    import nibabel as nib

    images = {}
    for file in case.files:
        volume = read_image(file["uri"], file["role"])
        images[file["role"]] = turn_to_lps(volume.voxels, volume.affine)
    mask = images[MASK][0] if MASK in images else None
    x0, x1, y0, y1, z0, z1 = case.tumour_box
    tumour = np.zeros((1, 1, z1), np.bool_)
    tumour[..., z0:] = True
    shown = shown_slices(tumour if mask is None else mask, COLUMNS)
    rows = []
    for name in (modality for modality in MODALITIES if modality in images):
        voxels, affine = images[name]
        sx, sy, sz = (float(size) for size in nib.affines.voxel_sizes(affine))
        rows.append(SheetRow(name, voxels, (sx, sy, sz), shown, mask, (x0, y0), (x0, x1, y0, y1)))
    return contact_sheet(rows, readable(case.name), settings=settings, synthetic=case.synthetic)


def draw_probability(axes: Axes, answer: Answer) -> None:
    """The probability and its interval on a line from 0 to 1, with the share of methylated training patients."""
    told = answer.estimate
    axes.plot([0, 1], [0, 0], color=HAIR, linewidth=7, solid_capstyle="butt", zorder=1)
    axes.plot([told.ci_low, told.ci_high], [0, 0], color=BLUE, linewidth=7, alpha=0.45, solid_capstyle="butt", zorder=2)
    axes.plot([answer.base] * 2, [-0.55, 0.55], color=PENCIL, linewidth=1, zorder=3)
    axes.annotate(
        f"training: {answer.base:.2f}", (answer.base, -0.6), ha="center", va="top", color=PENCIL, fontsize=7.5
    )
    axes.plot([told.probability], [0], "o", color=BLUE, markersize=9, markeredgecolor="white", zorder=4)
    axes.annotate(
        f"{told.probability:.2f}", (told.probability, 0.5), ha="center", va="bottom", color=INK, fontsize=13,
        weight="bold",
    )  # fmt: skip
    left = told.probability > 0.5  # where there is room
    axes.annotate(
        f"95 % interval {told.ci_low:.2f} to {told.ci_high:.2f}", (0 if left else 1, 0.75),
        ha="left" if left else "right", va="bottom", color=PENCIL, fontsize=8.5,
    )  # fmt: skip
    axes.set(xlim=(-0.02, 1.02), ylim=(-1.5, 1.9), yticks=[], xticks=[0, 0.25, 0.5, 0.75, 1])
    axes.set_xticklabels(["0\nunmethylated", "0.25", "0.5", "0.75", "1\nmethylated"])
    axes.grid(visible=False)
    axes.spines["left"].set_visible(False)


def draw_shares(axes: Axes, answer: Answer) -> None:
    """A bar for each modality, with its SD over fits; one that was not shown has words in place of a bar."""
    names = [share.modality for share in answer.shares]
    for place, share in enumerate(answer.shares):
        if share.mean is None or share.sd is None:
            axes.annotate(" not shown", (0, place), va="center", color=PENCIL, fontsize=8)
            continue
        colour = BLUE if share.mean >= 0 else VERMILION
        axes.barh(place, share.mean, height=0.62, color=colour, alpha=0.8)
        axes.plot([share.mean - share.sd, share.mean + share.sd], [place] * 2, color=INK, linewidth=1)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    if answer.attention:
        axes.set_xlim(0, max(1.05 * max((share.mean or 0) + (share.sd or 0) for share in answer.shares), 0.1))
        axes.set_xlabel("attention, mean and SD over fits")
    else:
        widest = max([0.02, *(abs(share.mean or 0) + (share.sd or 0) for share in answer.shares)])
        axes.set_xlim(-1.08 * widest, 1.08 * widest)
        axes.axvline(0, color=PENCIL, linewidth=0.8)
        axes.set_xlabel("what it adds to the probability, mean and SD over fits")


def draw_place(axes: Axes, answer: Answer) -> None:
    """How far the case lies from its nearest patients, on the scale of the training patients' own distances."""
    where = answer.surroundings
    end = min(1.3 * max(where.limit, where.distance), 2.2 * where.limit)
    axes.axvspan(0, where.limit, ymin=0.3, ymax=0.7, color=HAIR)
    axes.axvspan(where.limit, end, ymin=0.3, ymax=0.7, color=ORANGE, alpha=0.35)
    for x, word, side in ((where.usual, "median ", "right"), (where.limit, " 99th percentile", "left")):
        axes.plot([x, x], [0.2, 0.7], color=PENCIL, linewidth=1)
        axes.annotate(word, (x, 0.24), ha=side, va="center", color=PENCIL, fontsize=7.5)
    colour, beyond = RED if where.outside else BLUE, where.distance > end
    place = 0.985 * end if beyond else where.distance
    axes.plot([place], [0.5], ">" if beyond else "D", color=colour, markersize=8, markeredgecolor="white")
    told = f"this case: {where.distance:.3g}"
    axes.annotate(
        told, (place, 0.76), ha="right" if beyond else "center", va="bottom", color=colour, fontsize=8.5
    )  # fmt: skip
    axes.set(xlim=(0, end), ylim=(0, 1.1), yticks=[])
    axes.grid(visible=False)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("distance to the nearest training patients, in SD")


PANELS: dict[str, tuple[float, Callable[[Axes, Answer], None]]] = {
    "probability": (1.25, draw_probability),
    "shares": (1.8, draw_shares),
    "place": (1.15, draw_place),
}
"""By name the height in inches, and the function that draws it."""
