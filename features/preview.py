"""What a scan looks like to those who extract from it: a contact sheet of all modalities, with tumour and box.

One row of tiles per image, one column per axial slice. Tiles are shown as a radiologist sees them (columns run to the
patient's left, rows to the back), and in the grey of the clips: what is black or white here is so for the networks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from features.clips import ClipSettings, intensity_range, to_grey
from ingest.images import SYNTHETIC
from ingest.nifti import Volume, read_volume, turn_to_lps
from lake.errors import InputError, unknown_name
from lake.store import Lake
from lake.tables import MODALITIES

MASK = "mask"
OUTLINE, FRAME, WARNING, BEYOND = (255, 214, 0), (0, 200, 255), (255, 90, 90), (140, 140, 175)
PAPER, OUTSIDE, INK = (16, 16, 20), (44, 44, 60), (235, 235, 235)
TILE_WIDTH = 240
"""Pixels that the widest tile of a sheet has across."""
MARGIN, GAP, HEADER, CAPTION = 96, 4, 50, 20


@dataclass(frozen=True)
class SheetRow:
    """One image of a sheet and the slices of it that are shown.

    voxels: (x, y, z) in LPS order, any real dtype. spacing: millimetres of a voxel along x, y and z.
    mask: (x, y, z) of the same shape, outlined where it is not zero. corner: x0, y0 of the box.
    """

    name: str
    voxels: npt.NDArray[Any]
    spacing: tuple[float, float, float]
    slices: tuple[int, ...]
    mask: npt.NDArray[Any] | None = None
    corner: tuple[int, int] | None = None


def preview(
    lake: Lake,
    scan: str,
    out: Path,
    *,
    cohort: str | None = None,
    box: tuple[int, int] | None = None,
    columns: int = 6,
    settings: ClipSettings | None = None,
) -> Path:
    """Write the contact sheet of a scan as a PNG, and return where it is.

    Args:
        lake: The lake; it is only read.
        scan: Its scan id.
        out: The file to write; it ends in ``.png``.
        cohort: Needed where two cohorts have a scan of this id.
        box: x0, y0 of the box in voxels of the image turned to LPS; the tumour's corner if not given.
        columns: Slices shown, spread over the tumour.
        settings: Percentiles and size of the box; the study's if not given.

    Raises:
        InputError: there is no such scan, it has no mask and no box is given, the box begins outside the image,
            a file was changed since it was ingested, or ``out`` or ``columns`` is none.
        BadImage: a file cannot be read any more.
    """
    if out.suffix.lower() != ".png":
        raise InputError(f"{out} does not end in .png.", hint="A preview is a PNG image: give it such a name.")
    if not 1 <= columns <= 40:
        raise InputError(f"A sheet cannot have {columns} columns.", hint="Ask for 1 to 40.")
    settings = settings or ClipSettings()
    row = _find(lake, scan, cohort)
    files = {file["role"]: file for file in row["files"]}
    if MASK not in files and box is None:
        raise InputError(
            f"Scan {scan} of cohort {row['cohort']} has no mask, so it is not known where its tumour is.",
            hint="Say where the box begins: --box X Y, in voxels of the image turned to LPS.",
        )
    corner = box if box is not None else (row["tumour_box"][0], row["tumour_box"][2])
    volumes = {role: _read(files[role], scan) for role in (*MODALITIES, MASK) if role in files}
    mask, _ = volumes.pop(MASK, (None, None))
    first = next(iter(volumes.values()))[0]
    if not (0 <= corner[0] < first.shape[0] and 0 <= corner[1] < first.shape[1]):
        raise InputError(
            f"The box of scan {scan} begins at x {corner[0]}, y {corner[1]}, outside its image of "
            f"{first.shape[0]} × {first.shape[1]} voxels.",
            hint=f"Give a corner within 0 to {first.shape[0] - 1} and 0 to {first.shape[1] - 1}.",
        )
    slices = shown_slices(first if mask is None else mask, columns)
    rows = [SheetRow(name, voxels, spacing, slices, mask, corner) for name, (voxels, spacing) in volumes.items()]
    sheet = contact_sheet(
        rows, f"{scan}  ({row['cohort']})", settings=settings, synthetic=SYNTHETIC in (row["warnings"] or [])
    )
    sheet.save(out, format="PNG")
    return out


def shown_slices(voxels: npt.NDArray[Any], count: int) -> tuple[int, ...]:
    """Up to ``count`` slices spread evenly over those that hold something: a mask's tumour, or else an image's head.

    Each stands in the middle of its share of the slices, so that none is the last sliver at the rim.
    """
    held = np.flatnonzero((voxels != 0).any(axis=(0, 1)))
    if held.size == 0:
        held = np.arange(voxels.shape[2])
    count = min(count, held.size)
    middles = (np.arange(count) + 0.5) * held.size / count
    return tuple(int(held[int(middle)]) for middle in middles)


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
    margin = max(MARGIN, *(round(_font(17).getlength(row.name)) + 16 for row in rows))
    wide = margin + max(len(line) for line in tiles) * (widest + GAP)
    wide = max(wide, 420)
    high = HEADER + sum(line[0].height + CAPTION for line in tiles)
    sheet = Image.new("RGB", (wide, high), PAPER)
    draw = ImageDraw.Draw(sheet)
    _header(draw, title, rows, settings, synthetic)
    y = HEADER
    for row, line in zip(rows, tiles, strict=True):
        draw.text((8, y + line[0].height // 2), row.name, INK, _font(17), anchor="lm")
        for column, (tile, z) in enumerate(zip(line, row.slices, strict=True)):
            x = margin + column * (widest + GAP)
            sheet.paste(tile, (x, y))
            draw.text((x + tile.width // 2, y + tile.height + 2), f"slice {z}", INK, _font(12), anchor="mt")
        y += line[0].height + CAPTION
    return sheet


def compare(before: Mapping[str, Volume], after: Mapping[str, Volume], title: str, *, columns: int = 5) -> Image.Image:
    """A sheet of a session before and after its preprocessing, each volume on its own grid, one above the other.

    before, after: volumes by modality. Columns are slices spread over each volume's own height.
    """
    rows = []
    for name in before:
        for state, volumes in (("before", before), ("after", after)):
            if name in volumes and name != MASK:
                voxels, affine = turn_to_lps(volumes[name].voxels, volumes[name].affine)
                rows.append(SheetRow(f"{name} {state}", voxels, _spacing(affine), shown_slices(voxels, columns)))
    synthetic = any(SYNTHETIC in volume.description for volume in before.values())
    return contact_sheet(rows, title, synthetic=synthetic)


def _find(lake: Lake, scan: str, cohort: str | None) -> dict[str, Any]:
    where = {"scan_id": scan} | ({"cohort": cohort} if cohort is not None else {})
    rows: list[dict[str, Any]] = lake.read("scans", where=where).to_pylist()
    if len(rows) == 1:
        return rows[0]
    if rows:
        cohorts = " and ".join(sorted(row["cohort"] for row in rows))
        raise InputError(f"Cohorts {cohorts} each have a scan {scan}.", hint="Say which is meant: --cohort NAME.")
    left_out = lake.read("exclusions", where=where, columns=["reason", "detail"]).to_pylist()
    if left_out:
        why = "; ".join(f"{row['reason']}: {row['detail']}" for row in left_out)
        raise InputError(f"Scan {scan} was left out of the lake ({why.rstrip('.')}).", hint="Mend it and ingest again.")
    among = {"cohort": cohort} if cohort is not None else None
    known = lake.read("scans", where=among, columns=["scan_id"])["scan_id"].to_pylist()
    if len(known) > 40:  # near names are still suggested; all names of a cohort would help nobody
        error = unknown_name("scan", scan, known)
        raise error if error.hint.startswith("Did") else InputError(str(error), hint="See: gliolake sql 'from scans'.")
    raise unknown_name("scan", scan, known)


def _read(file: Mapping[str, Any], scan: str) -> tuple[npt.NDArray[Any], tuple[float, float, float]]:
    volume = read_volume(file["uri"])
    if volume.sha256 != file["sha256"]:
        raise InputError(
            f"{PurePath(file['uri']).name} of scan {scan} was changed after it was ingested.",
            hint="Run gliolake ingest on its folder again.",
        )
    voxels, affine = turn_to_lps(volume.voxels, volume.affine)
    return voxels, _spacing(affine)


def _spacing(affine: npt.NDArray[Any]) -> tuple[float, float, float]:
    sx, sy, sz = (float(size) for size in nib.affines.voxel_sizes(affine))
    return sx, sy, sz


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
        if row.mask is not None:
            tile.paste(OUTLINE, (0, 0), _rim(row.mask[:, :, z], inner, tile.size))
        draw = ImageDraw.Draw(tile)
        if row.corner is not None:
            left, top = row.corner[0] * sx, row.corner[1] * sy
            # The last pixel of the box, not the first after it, and never off the tile.
            right = min(left + settings.box * sx, size[0]) - 1
            bottom = min(top + settings.box * sy, size[1]) - 1
            draw.rectangle((left, top, max(right, left), max(bottom, top)), outline=FRAME)
        draw.text((3, size[1] // 2), "R", INK, _font(11), anchor="lm")
        draw.text((inner[0] - 3, size[1] // 2), "L", INK, _font(11), anchor="rm")
        tiles.append(tile)
    return tiles


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
