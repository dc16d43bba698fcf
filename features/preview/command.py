"""`gliolake preview`: what a scan looks like to those who extract from it, before and after its preprocessing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from PIL.PngImagePlugin import PngInfo

from gliolake.atomic import replaced
from gliolake.errors import InputError, check_choice, unknown_name
from gliolake.features.clips import ClipSettings
from gliolake.features.preprocessing.volumes import is_kept, kept_volumes, read_image, steps_left
from gliolake.features.preview.sheet import SheetRow, contact_sheet
from gliolake.ingest.cohorts.description import MASK, known_cohorts
from gliolake.ingest.readers.nifti import turn_to_lps
from gliolake.ingest.scans.images import REFERENCE, SYNTHETIC
from gliolake.schema.vocabulary import MODALITIES
from gliolake.storage.json_cell import json_cell
from gliolake.storage.lake import Lake
from gliolake.target import PNG, check_target

VOLUMES = ("before", "after", "both")
Box = Sequence[float]


@dataclass(frozen=True)
class _Image:
    """An image in LPS order: voxels (x, y, z) and affine (4, 4), voxel index to millimetres."""

    voxels: npt.NDArray[Any]
    affine: npt.NDArray[Any]

    @property
    def spacing(self) -> tuple[float, float, float]:
        sx, sy, sz = (float(size) for size in nib.affines.voxel_sizes(self.affine))
        return sx, sy, sz


def preview(
    lake: Lake,
    scan: str,
    out: Path,
    *,
    cohort: str | None = None,
    box: tuple[int, int] | None = None,
    volumes: str = "both",
    columns: int = 6,
    settings: ClipSettings | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the contact sheet of a scan as a PNG, and return where it is.

    All images show the same places: slices spread over the tumour, found again in each image's own grid. The box that
    networks see is drawn where they see it, on the preprocessed images or on those that need no preprocessing.

    Args:
        lake: The lake; it is only read.
        scan: Its scan id.
        out: The file to write; it ends in ``.png``.
        cohort: Needed where two cohorts have a scan of this id.
        box: x0, y0 of the networks' box in voxels of the image turned to LPS; the tumour's corner if not given.
        volumes: Images ``before`` preprocessing, ``after`` it, or ``both`` where preprocessed ones are kept.
        columns: Slices shown, spread over the tumour.
        settings: Percentiles and size of the box; the study's if not given.
        overwrite: Replace a picture that gliolake drew and that is there.

    Raises:
        InputError: there is no such scan, or no preprocessed volumes to show, the box begins outside the image,
            a file was changed since it was ingested, or ``out``, ``volumes`` or ``columns`` is none, or the
            file may not be written.
        BadImage: a file cannot be read any more.
    """
    _check(out, volumes, columns)
    check_target(out, overwrite=overwrite, own=PNG)
    settings = settings or ClipSettings()
    row = _find(lake, scan, cohort)
    kept = _kept(lake, row) if volumes != "before" else []
    if volumes == "after" and not kept:
        raise InputError(
            f"No preprocessed volumes of scan {scan} are kept.",
            hint="Run gliolake preprocess, or look at it as it came: --stage before.",
        )
    before = {} if volumes == "after" else _read(row["files"], scan)
    after = _read(kept, scan)
    cohorts = known_cohorts(lake)
    seen = after or (before if row["cohort"] not in cohorts or not cohorts[row["cohort"]].raw else {})
    seen_box = kept[0]["tumour_box"] if kept else row["tumour_box"]
    corner = box or (seen_box[0], seen_box[2])
    if seen:
        _check_corner(scan, corner, seen)
    places = _places(before, row["tumour_box"], columns) if before else _places(after, seen_box, columns)
    rows = []
    for name in MODALITIES:
        for state, images in (("before", before), ("after", after)):
            if name in images:
                tumour = _in_grid(row["tumour_box"], before[REFERENCE], images[name]) if images is before else seen_box
                at = corner if images is seen else None
                told = state if before and after else ""
                rows.append(_row(name, images, tumour=tumour, places=places, corner=at, state=told))
    synthetic = SYNTHETIC in (row["warnings"] or [])
    sheet = contact_sheet(rows, f"{scan}  ({row['cohort']})", settings=settings, synthetic=synthetic)
    mark = PngInfo()
    mark.add_text("Software", "gliolake")
    with replaced(out, overwrite=overwrite, own=PNG) as file:
        sheet.save(file, format="PNG", pnginfo=mark)
    return out


def shown_slices(voxels: npt.NDArray[Any], count: int) -> tuple[int, ...]:
    """Up to ``count`` slices spread evenly over those that hold something: a mask's tumour.

    Each stands in the middle of its share of the slices, so that none is the last sliver at the rim.
    """
    return _spread(np.flatnonzero((voxels != 0).any(axis=(0, 1))), count)


def _spread(held: npt.NDArray[Any], count: int) -> tuple[int, ...]:
    count = min(count, held.size)
    middles = (np.arange(count) + 0.5) * held.size / count
    return tuple(int(held[int(middle)]) for middle in middles)


def _places(images: Mapping[str, _Image], box: Box, columns: int) -> list[float]:
    """Heights that are shown, as shares of the tumour's box from its bottom to its top."""
    low, high = int(box[4]), int(box[5])
    slices = shown_slices(images[MASK].voxels, columns) if MASK in images else _spread(np.arange(low, high), columns)
    return [(z + 0.5 - low) / (high - low) for z in slices]


def _row(
    name: str,
    images: Mapping[str, _Image],
    *,
    tumour: Box,
    places: Sequence[float],
    corner: tuple[int, int] | None,
    state: str,
) -> SheetRow:
    image, mask = images[name], images.get(MASK)
    heights = (int(np.floor(tumour[4] + place * (tumour[5] - tumour[4]))) for place in places)
    slices = tuple(min(max(z, 0), image.voxels.shape[2] - 1) for z in heights)
    fits = mask is not None and mask.voxels.shape == image.voxels.shape and np.allclose(mask.affine, image.affine)
    return SheetRow(
        name,
        image.voxels,
        image.spacing,
        slices,
        mask.voxels if mask is not None and fits else None,
        corner,
        (tumour[0], tumour[1], tumour[2], tumour[3]),
        state,
    )


def _in_grid(box: Box, source: _Image, target: _Image) -> Box:
    """A box in another image's voxels, by the scanner's coordinates.

    Across it is what bounds its middle slice; its bottom and top follow its middle line, as slices may be tilted.
    """
    x0, x1, y0, y1, z0, z1 = box
    middle = (x0 + x1) / 2, (y0 + y1) / 2, (z0 + z1) / 2
    points = [(x, y, middle[2]) for x in (x0, x1) for y in (y0, y1)] + [(*middle[:2], z) for z in (z0, z1)]
    # Bounds lie on the edges of voxels, half a voxel below the centres that indices stand for.
    to_target = np.linalg.inv(target.affine) @ source.affine
    found = nib.affines.apply_affine(to_target, np.array(points) - 0.5) + 0.5
    low, high = found[:4].min(0), found[:4].max(0)
    ends = sorted(found[4:, 2])
    return float(low[0]), float(high[0]), float(low[1]), float(high[1]), float(ends[0]), float(ends[1])


def _check(out: Path, volumes: str, columns: int) -> None:
    if out.suffix.lower() != ".png":
        raise InputError(f"{out} does not end in .png.", hint="A preview is a PNG image: give it such a name.")
    check_choice("choice of volumes", volumes, VOLUMES)
    if not 1 <= columns <= 40:
        raise InputError(f"A sheet cannot have {columns} columns.", hint="Ask for 1 to 40.")


def _check_corner(scan: str, corner: tuple[int, int], images: Mapping[str, _Image]) -> None:
    wide, deep, _ = next(iter(images.values())).voxels.shape
    if not (0 <= corner[0] < wide and 0 <= corner[1] < deep):
        raise InputError(
            f"The box of scan {scan} begins at x {corner[0]}, y {corner[1]}, outside its image of "
            f"{wide} × {deep} voxels.",
            hint=f"Give a corner within 0 to {wide - 1} and 0 to {deep - 1}.",
        )


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


def _kept(lake: Lake, row: dict[str, Any]) -> list[dict[str, Any]]:
    """The scan's kept volumes that are up to date, of the newest set that has them."""
    cohort = known_cohorts(lake).get(row["cohort"])
    for made in sorted(lake.read("volume_sets").to_pylist(), key=lambda made: made["run_id"], reverse=True):
        kept = kept_volumes(lake, made["volume_set"]).get((row["cohort"], row["scan_id"]), [])
        if kept and is_kept(row, steps_left(json_cell(made, "recipe", "volume_set")["steps"], cohort), kept):
            return kept
    return []


def _read(files: Sequence[Mapping[str, Any]], scan: str) -> dict[str, _Image]:
    images = {}
    for file in files:
        volume = read_image(file["uri"], file["role"])
        if volume.sha256 != file["sha256"]:
            raise InputError(
                f"{PurePath(file['uri']).name} of scan {scan} was changed after it was ingested.",
                hint="Run gliolake ingest on its folder again; with --reread, if its size and time are as they were.",
            )
        images[file["role"]] = _Image(*turn_to_lps(volume.voxels, volume.affine))
    return images
