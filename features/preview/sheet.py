"""A contact sheet: one row of tiles per image, one column per axial slice.

Tiles are shown as a radiologist sees them (columns run to the patient's left, rows to the back), all in one scale, and
in the grey of the clips: what is black or white here is so for the networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from gliolake.errors import InputError
from gliolake.features.clips import ClipSettings, intensity_range, to_grey

OUTLINE, FRAME, WARNING, BEYOND = (255, 214, 0), (0, 200, 255), (255, 90, 90), (140, 140, 175)
PAPER, OUTSIDE, INK, PENCIL = (16, 16, 20), (44, 44, 60), (235, 235, 235), (160, 160, 165)
TILE_WIDTH = 240
"""Pixels that the widest tile of a sheet has across."""
MARGIN, GAP, HEADER, CAPTION = 124, 4, 50, 20


@dataclass(frozen=True)
class SheetRow:
    """One image of a sheet and the slices of it that are shown.

    voxels: (x, y, z) in LPS order, any real dtype. spacing: millimetres of a voxel along x, y and z.
    mask: (x, y, z) of the same shape, outlined where it is not zero. corner: x0, y0 of the networks' box.
    tumour: x0, x1, y0, y1 of the tumour's box in voxels, drawn where there is no mask. state: e.g. before.
    """

    name: str
    voxels: npt.NDArray[Any]
    spacing: tuple[float, float, float]
    slices: tuple[int, ...]
    mask: npt.NDArray[Any] | None = None
    corner: tuple[int, int] | None = None
    tumour: tuple[float, float, float, float] | None = None
    state: str = ""


def contact_sheet(
    rows: Sequence[SheetRow], title: str, *, settings: ClipSettings | None = None, synthetic: bool = False
) -> Image.Image:
    """The sheet, RGB. Every row has its own slices and spacing, so images of different grids can stand together.

    Raises:
        InputError: there is no row.
    """
    if not rows:
        raise InputError("A contact sheet needs at least one image.")
    settings = settings or ClipSettings()
    scale = TILE_WIDTH / max(_extent(row, settings)[0] for row in rows)
    tiles = [_tiles(row, settings, scale) for row in rows]
    widest = max(tile.width for line in tiles for tile in line)
    wide = max(MARGIN + max(len(line) for line in tiles) * (widest + GAP), 480)
    high = HEADER + sum(line[0].height + CAPTION for line in tiles)
    sheet = Image.new("RGB", (wide, high), PAPER)
    draw = ImageDraw.Draw(sheet)
    _header(draw, title, rows, settings, synthetic)
    y = HEADER
    for row, line in zip(rows, tiles, strict=True):
        _row_label(draw, row, y + line[0].height // 2)
        for column, (tile, z) in enumerate(zip(line, row.slices, strict=True)):
            x = MARGIN + column * (widest + GAP)
            sheet.paste(tile, (x, y))
            draw.text((x + tile.width // 2, y + tile.height + 2), f"slice {z}", INK, _font(12), anchor="mt")
        y += line[0].height + CAPTION
    return sheet


def _row_label(draw: ImageDraw.ImageDraw, row: SheetRow, y: int) -> None:
    """Name and state of an image, and what grid it is on."""
    draw.text((8, y - 26), row.name, INK, _font(17), anchor="lm")
    if row.state:
        draw.text((8, y - 7), row.state, INK, _font(13), anchor="lm")
    shape, spacing = (" x ".join(f"{number:.3g}" for number in given) for given in (row.voxels.shape, row.spacing))
    draw.text((8, y + 11), shape, PENCIL, _font(11), anchor="lm")  # Pillow's font has no ×
    draw.text((8, y + 25), f"{spacing} mm", PENCIL, _font(11), anchor="lm")


def _extent(row: SheetRow, settings: ClipSettings) -> tuple[float, float]:
    """Millimetres a row's tiles have across and down: the image, and whatever of the box reaches beyond it."""
    reach = (0, 0) if row.corner is None else (row.corner[0] + settings.box, row.corner[1] + settings.box)
    return (
        max(row.voxels.shape[0], reach[0]) * row.spacing[0],
        max(row.voxels.shape[1], reach[1]) * row.spacing[1],
    )


def _tiles(row: SheetRow, settings: ClipSettings, scale: float) -> list[Image.Image]:
    low, high = intensity_range(row.voxels, settings)
    size = tuple(max(round(length * scale), 1) for length in _extent(row, settings))
    sx, sy = row.spacing[0] * scale, row.spacing[1] * scale
    inner = (max(round(row.voxels.shape[0] * sx), 1), max(round(row.voxels.shape[1] * sy), 1))
    tiles = []
    for z in row.slices:
        grey = Image.fromarray(to_grey(np.ascontiguousarray(row.voxels[:, :, z].T), low, high))
        tile = Image.new("RGB", (size[0], size[1]), OUTSIDE)
        tile.paste(grey.resize(inner, Image.Resampling.BICUBIC).convert("RGB"))
        draw = ImageDraw.Draw(tile)
        if row.mask is not None:
            tile.paste(OUTLINE, (0, 0), _rim(row.mask[:, :, z], inner, tile.size))
        elif row.tumour is not None:
            x0, x1, y0, y1 = row.tumour
            _frame(draw, (x0 * sx, y0 * sy, x1 * sx, y1 * sy), tile.size, OUTLINE)
        if row.corner is not None:
            left, top = row.corner[0] * sx, row.corner[1] * sy
            _frame(draw, (left, top, left + settings.box * sx, top + settings.box * sy), tile.size, FRAME)
        draw.text((3, size[1] // 2), "R", INK, _font(11), anchor="lm")
        draw.text((inner[0] - 3, size[1] // 2), "L", INK, _font(11), anchor="rm")
        tiles.append(tile)
    return tiles


def _frame(
    draw: ImageDraw.ImageDraw, sides: tuple[float, float, float, float], size: tuple[int, int], colour: tuple[int, ...]
) -> None:
    """A rectangle whose right and lower side are its last pixels, not the first after it, and never off the tile."""
    left, top = max(sides[0], 0), max(sides[1], 0)
    right, bottom = min(sides[2], size[0]) - 1, min(sides[3], size[1]) - 1
    draw.rectangle((left, top, max(right, left), max(bottom, top)), outline=colour)


def _rim(mask: npt.NDArray[Any], inner: tuple[int, int], size: tuple[int, int]) -> Image.Image:
    """Where a slice's mask ends, one pixel wide and outside of it, so that a speck of tumour stays visible."""
    shape = Image.fromarray(((mask != 0).T * np.uint8(255)).astype(np.uint8)).resize(inner, Image.Resampling.NEAREST)
    inside = np.asarray(shape) > 0
    stencil = Image.new("L", size)
    stencil.paste(Image.fromarray((ndimage.binary_dilation(inside) & ~inside).astype(np.uint8) * np.uint8(255)))
    return stencil


def _header(
    draw: ImageDraw.ImageDraw, title: str, rows: Sequence[SheetRow], settings: ClipSettings, synthetic: bool
) -> None:
    draw.text((8, 6), title, INK, _font(18))
    if synthetic:
        draw.text((24 + draw.textlength(title, _font(18)), 6), "SYNTHETIC", WARNING, _font(18))
    x = 8.0
    legend = [(INK, f"grey: percentiles {settings.low_percentile:g} to {settings.high_percentile:g}")]
    if any(row.mask is not None for row in rows):
        legend.append((OUTLINE, "tumour mask"))
    if any(row.mask is None and row.tumour is not None for row in rows):
        legend.append((OUTLINE, "tumour box"))
    if any(row.corner is not None for row in rows):
        legend.append((FRAME, f"box {settings.box} by {settings.box}"))
    if any(
        _extent(row, settings)[axis] > row.voxels.shape[axis] * row.spacing[axis] for row in rows for axis in (0, 1)
    ):
        legend.append((BEYOND, "beyond the image"))
    for colour, words in legend:
        draw.text((x, 31), words, colour, _font(12))
        x += draw.textlength(words, _font(12)) + 18


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font: the same letters on every machine."""
    return ImageFont.load_default(size)
