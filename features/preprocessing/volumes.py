"""Preprocessed volumes that the lake keeps: which scans need them, whether they are up to date, and how they are read.

A volume set is a way of preprocessing: the steps that every scan has to have seen. What a cohort came with is not done
again, so one set spans raw cohorts and, with nothing to keep, ready ones. Volumes are rows of ``volumes``; their bytes,
a NIfTI file each, lie in ``voxels``, one file of the lake per volume.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

import nibabel as nib
import numpy as np
import pyarrow as pa

from gliolake.errors import DamagedFile, InputError, check_choice
from gliolake.features.clips import ClipSettings, intensity_range
from gliolake.features.preprocessing.settings import PreprocessSettings
from gliolake.ingest.cohorts.description import CLIP_STEPS, MASK, STEPS, Cohort, known_cohorts
from gliolake.ingest.exclusions import CHANGED_FILE
from gliolake.ingest.readers.nifti import UNREADABLE, BadImage, Volume, parse_volume
from gliolake.ingest.scans import images
from gliolake.ingest.scans.boxes import BY_HAND
from gliolake.storage.backend.opening import open_files
from gliolake.storage.json_cell import json_cell
from gliolake.storage.lake import Lake
from gliolake.storage.layout import split_address
from gliolake.storage.parquet import open_parquet

Row = dict[str, Any]

BOX = "box"
"""Stands for a box given by hand among the files of a scan without a mask, as what its vectors also rest on."""

NOT_PREPROCESSED = "not preprocessed"

FINENESS = 20
"""Steps of whole numbers that a clip's grey level has to have at least for a volume to be stored in them."""


def volume_set_of(settings: PreprocessSettings) -> tuple[str, str]:
    """Id and recipe (canonical JSON) of the volume set that these settings make. Raises BadImage for the template."""
    recipe = json.dumps(settings.recipe(), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(recipe.encode()).hexdigest()[:10], recipe


def choose_volume_set(lake: Lake, cohorts: Iterable[str], asked: str | None = None) -> str:
    """The volume set that clips of these cohorts are cut from; "" where all are ready as they came, or none is kept.

    Raises:
        InputError: there is no such set, or none was asked for and there are several.
    """
    known = lake.read("volume_sets", columns=["volume_set"])["volume_set"].to_pylist()
    if asked is not None:
        check_choice("volume set", asked, known, hint="Make one: gliolake preprocess.")
        return asked
    described = known_cohorts(lake)
    raw = {name for name in cohorts if name in described and described[name].raw}
    rows = lake.read("volumes", columns=["volume_set", "cohort"]).to_pylist()
    kept = sorted({row["volume_set"] for row in rows if row["cohort"] in raw})
    if len(kept) > 1:
        raise InputError(
            f"The scans of {', '.join(sorted(raw))} were preprocessed in {len(kept)} ways: {', '.join(kept)}.",
            hint="Say which is meant: --volume-set SET (column recipe of table volume_sets tells them apart).",
        )
    return kept[0] if kept else ""


def ready_scans(lake: Lake, scans: Sequence[Row], volume_set: str) -> tuple[list[Row], list[Row]]:
    """Rows of table scans as clips are cut from them, and those that have to be preprocessed first.

    Scans of raw cohorts get the files and the box of their kept volumes. A box given by hand appears as a file of role
    ``BOX``, whose sha256 is that of the box.
    """
    described = known_cohorts(lake)
    steps = _steps_of(lake, volume_set)
    ready, unready = [], []
    kept = kept_volumes(lake, volume_set) if volume_set else {}
    for scan in scans:
        cohort = described.get(scan["cohort"])
        left = steps_left(steps, cohort) if volume_set else (STEPS if cohort and cohort.raw else ())
        if CLIP_STEPS.issuperset(left):
            ready.append(_with_box(scan))
            continue
        volumes = kept.get((scan["cohort"], scan["scan_id"]), [])
        if is_kept(scan, left, volumes):
            ready.append(_with_box(scan | {"files": volumes, "tumour_box": volumes[0]["tumour_box"]}))
        else:
            unready.append(scan)
    return ready, unready


def kept_volumes(lake: Lake, volume_set: str) -> dict[tuple[str, str], list[Row]]:
    """Rows of table volumes by cohort and scan id, each with the URI of its bytes; without those whose bytes are lost.

    The log names the one row of each file of ``voxels``, so none of them is opened.
    """
    where = {"volume_set": volume_set}
    files = lake.state().of_table("voxels", where)
    uris = {tuple(file.first): lake.files.url(file.path) for file in files if file.rows == 1}
    found = defaultdict(list)
    for row in lake.read("volumes", where).to_pylist():
        scan = (row["cohort"], row["scan_id"])
        if uri := uris.get((volume_set, *scan, row["role"])):
            found[scan].append(row | {"uri": uri})
    return dict(found)


def is_kept(scan: Row, steps: Sequence[str], volumes: Sequence[Row]) -> bool:
    """Whether ``volumes`` are all that a scan needs and rest on the files and the box it has now."""
    digest = session_digest(scan, steps)
    roles = {volume["role"] for volume in volumes if volume["input_sha256"] == digest}
    return roles == {file["role"] for file in scan["files"]}


def session_digest(scan: Row, steps: Sequence[str]) -> str:
    """sha256 over what a scan's volumes rest on, its recipe aside: its files, its box, and the steps left to do."""
    files = sorted((file["role"], file["sha256"]) for file in scan["files"])
    return hashlib.sha256(json.dumps([files, list(scan["tumour_box"]), list(steps)]).encode()).hexdigest()


def steps_left(steps: Collection[str], cohort: Cohort | None) -> tuple[str, ...]:
    """Those of the steps that a cohort did not come with; none where it does not say."""
    if cohort is None or cohort.done is None:
        return ()
    return tuple(step for step in STEPS if step in steps and step not in cohort.done)


def pack(volume: Volume) -> bytes:
    """The volume as an uncompressed NIfTI-1 file: whole numbers as they are, others as int16 and a slope.

    Half of the slope is the largest error. Where a clip could show it, because one voxel is far brighter than all
    others, the volume is stored as float32.
    """
    voxels, slope = volume.voxels, 1.0
    if voxels.dtype.kind == "f" and np.abs(voxels).max() <= 32767 and np.array_equal(np.rint(voxels), voxels):
        voxels = voxels.astype(np.int16)
    elif voxels.dtype.kind == "f":
        voxels = voxels.astype(np.float32)
        low, high = intensity_range(voxels, ClipSettings())
        step = np.float32(np.abs(voxels).max() / 32767)
        if step > 0 and step * FINENESS <= (high - low) / 255:
            voxels, slope = np.rint(voxels / step).astype(np.int16), float(step)
    header = nib.Nifti1Header(endianness="<")
    header.set_data_dtype(voxels.dtype)
    header.set_data_shape(voxels.shape)
    header.set_xyzt_units("mm")
    header.set_sform(volume.affine, code="scanner")
    header["pixdim"][1:4] = nib.affines.voxel_sizes(volume.affine)
    header["descrip"], header["magic"], header["vox_offset"], header["scl_slope"] = (
        volume.description,
        b"n+1",
        352,
        slope,
    )
    little = voxels.astype(voxels.dtype.newbyteorder("<"), copy=False)
    return bytes(header.binaryblock) + bytes(4) + little.tobytes(order="F")


def read_image(uri: str, role: str = "") -> Volume:
    """The volume that a file of a scan holds: NIfTI, the folder of a DICOM series, or a kept volume (``.parquet``).

    A mask's labels are whole numbers, as ingest counted them.

    Raises:
        BadImage: it is no sound volume.
    """
    if not uri.endswith(".parquet"):
        return images.read_image(uri, role)
    root, path = split_address(uri) or ("", "")
    fault = "is missing"
    if root and (data := _kept(root, path)) is not None:
        try:
            table = open_parquet(data).read(["nifti"])
            return parse_volume(table["nifti"][0].as_py(), uri)
        except (pa.ArrowException, OSError, KeyError):
            fault = "is damaged"
    hint = "Run gliolake verify --repair, then gliolake preprocess."
    raise BadImage(UNREADABLE, f"{uri}: this preprocessed volume {fault}.", hint=hint)


def _kept(root: str, path: str) -> bytes | None:
    """The bytes of a kept volume, reached as all files of a lake are."""
    try:
        return open_files(root).get(path)
    except DamagedFile as error:
        raise BadImage(UNREADABLE, str(error), hint=error.hint) from error


def read_unchanged(uri: str, sha256: str, then: str, role: str = "") -> Volume:
    """The volume of a file, which is still the file that the manifest knows.

    Args:
        uri, sha256, role: As in tables scans and volumes.
        then: The command to run once the file was ingested again.

    Raises:
        BadImage: it is no sound volume, or holds other bytes.
    """
    volume = read_image(uri, role)
    if volume.sha256 != sha256:
        raise BadImage(
            CHANGED_FILE,
            f"{PurePath(uri).name} was changed after it was ingested: its sha256 is not the one in table scans. "
            f"Run gliolake ingest on its folder again, then {then}. ({uri})",
        )
    return volume


def _steps_of(lake: Lake, volume_set: str) -> tuple[str, ...]:
    recipes = lake.read("volume_sets", {"volume_set": volume_set}, ["volume_set", "recipe"]).to_pylist()
    return tuple(json_cell(recipes[0], "recipe", "volume_set")["steps"]) if recipes else ()


def _with_box(scan: Mapping[str, Any]) -> Row:
    files = list(scan["files"])
    if BY_HAND in scan["warnings"] and not any(file["role"] == MASK for file in files):
        digest = hashlib.sha256(json.dumps(list(scan["tumour_box"])).encode()).hexdigest()
        files.append({"role": BOX, "uri": "", "sha256": digest})
    return {**scan, "files": files}
