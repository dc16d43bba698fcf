"""Draws scans of tiny volumes, stored in every odd way that is legal, and some that are not; says what is true of them.

Everything is written here without gliolake's own code: voxels and affines in LPS are drawn first, and stored after.
"""

from __future__ import annotations

import gzip
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import permutations, product
from pathlib import Path
from random import Random
from typing import Any
from unicodedata import normalize

import nibabel as nib
import numpy as np

MODALITIES = ("FLAIR", "T1", "T1wCE", "T2")
ROLES = (*MODALITIES, "mask")
ORIENTATIONS = tuple(
    "".join(letters) for order in permutations(("LR", "PA", "SI")) for letters in product(*order)
)  # fmt: skip
DTYPES = ("uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")

OWN = """
name = "klinik"
role = "external"
label_rule = "ucsf"
[ids]
pattern = 'Fäll[ _](?P<number>\\d{1,4})'
form = "Fäll {number}"
digits = { number = 3 }
[images]
patterns = ["{scan_id}/{role}.nii.gz", "{scan_id}/{role}.nii", "{scan_id}/{role}/"]
[images.roles]
FLAIR = ["flair", "FLÄIR"]
T1 = "T1"
T1wCE = "T1 KM"
T2 = "T2 größe"
mask = "Läsion"
[images.mask_labels]
1 = "core"
2 = "oedema"
4 = "enhancing"
[labels]
id = "Fall"
[labels.mgmt_status]
column = "MGMT Status"
values = { methyliert = "methylated", unmethyliert = "unmethylated", fraglich = "indeterminate" }
[labels.mgmt_index]
column = "MGMT Größe"
[labels.age]
column = "Alter"
[labels.diagnosis]
column = "Diagnose"
"""


@dataclass(frozen=True)
class Layout:
    """How a cohort names scans and files. ``spellings`` are other names of a scan's folder, by format."""

    cohort: str
    description: str
    id_form: str
    spellings: tuple[str, ...]
    path: str
    suffixes: Mapping[str, tuple[str, ...]]
    holds_dicom: bool = False

    def scan_id(self, number: int) -> str:
        return self.id_form.format(number)


LAYOUTS = (
    Layout(
        "brats21", "", "BraTS2021_{:05d}", ("BraTS2021_{:05d}", "{:05d}", "{:d}"), "{name}/{name}_{suffix}",
        {"FLAIR": ("flair",), "T1": ("t1",), "T1wCE": ("t1ce",), "T2": ("t2",), "mask": ("seg",)},
    ),
    Layout(
        "ucsf_pdgm", "", "UCSF-PDGM-{:04d}", ("UCSF-PDGM-{:04d}", "UCSF-PDGM-{:03d}"), "{name}_nifti/{name}_{suffix}",
        {"FLAIR": ("FLAIR",), "T1": ("T1",), "T1wCE": ("T1c", "T1gad"), "T2": ("T2",), "mask": ("tumor_segmentation",)},
    ),
    Layout(
        "klinik", OWN, "Fäll {:03d}", ("Fäll {:03d}", "Fäll_{:d}", "Fäll {:04d}"), "{name}/{suffix}",
        {"FLAIR": ("flair", "FLÄIR"), "T1": ("T1",), "T1wCE": ("T1 KM",), "T2": ("T2 größe",), "mask": ("Läsion",)},
        holds_dicom=True,
    ),
)  # fmt: skip

UNREADABLE, NO_FILE, GRIDS = "unreadable file", "not a regular file", "modalities on different grids"
NO_MODALITY, NO_MASK = "missing modality", "missing mask"
UNLISTED, LEAVES, NO_UTF8 = "folder cannot be listed", "link leaves the images folder", "unreadable name"

FAULTS: dict[str, set[str]] = {
    "modality missing": {NO_MODALITY},
    "mask missing": {NO_MASK},
    "twice": {"two files for one modality"},
    "cut": {UNREADABLE, "size disagrees with header"},
    "longer than its header says": {"size disagrees with header"},
    "no byte": {UNREADABLE},
    "a page": {UNREADABLE},
    "half of a pair": {UNREADABLE},
    "complex": {UNREADABLE},
    "no intercept": {UNREADABLE},
    "no place": {UNREADABLE},
    "lost its place": {GRIDS},
    "NaN": {"voxels not finite"},
    "constant": {"empty image"},
    "four-dimensional": {"not a 3-D image"},
    "moved": {GRIDS},
    "mirrored": {GRIDS},
    "a slice less": {GRIDS, "empty mask"},
    "mask of an unknown label": {"unknown mask labels"},
    "mask of fractions": {"unknown mask labels"},
    "mask of nothing": {"empty mask"},
    "pipe": {NO_FILE},
    "leads nowhere": {NO_FILE},
    "leads to itself": {NO_FILE},
    "leaves": {LEAVES},
    "folder leaves": {LEAVES, NO_MODALITY, NO_MASK},
    "may not be read": {UNREADABLE},
    "may not be listed": {UNLISTED},
    "slice gone": {"slices missing or doubled"},
    "slice twice": {"slices missing or doubled"},
    "last slice gone": {GRIDS},
    "slice cut": {UNREADABLE},
    "two series": {"several DICOM series"},
}
"""What is wrong with a scan, and under which reasons it may stand in ``exclusions``."""

OF_MASK = {"mask missing", "mask of an unknown label", "mask of fractions", "mask of nothing"}
OF_SERIES = {"slice gone", "slice twice", "last slice gone", "slice cut", "two series"}

USED, GUESSED, APART = "the qform is used", "position guessed", "sform and qform disagree"
NEGATIVE, UNITS, ROUNDED = "negative voxel sizes", "turned into millimetres", "labels rounded to whole numbers"
NOTES = (USED, GUESSED, APART, NEGATIVE, UNITS, ROUNDED)


@dataclass
class Truth:
    """What is true of a scan. reasons: under which it may be left out; none where it has to be a row.

    voxels: role -> values in LPS; affine: of these, to millimetres, RAS+. notes: role -> what was repaired.
    place: the folder that stands for it in ``exclusions`` where nothing can be seen of it.
    """

    scan_id: str
    voxels: dict[str, np.ndarray]
    affine: np.ndarray
    reasons: set[str]
    orientation: str = ""
    notes: dict[str, set[str]] = field(default_factory=dict)
    paths: dict[str, Path] = field(default_factory=dict)
    place: str = ""


def pick(draw: Random, *options: Any) -> Any:
    return draw.choice(options)


def stored_as(voxels: np.ndarray, affine: np.ndarray, orientation: str) -> tuple[np.ndarray, np.ndarray]:
    """A volume in LPS and its affine, stored with axes that run as the three letters say."""
    axes = [next(axis for axis, ends in enumerate(("LR", "PA", "SI")) if letter in ends) for letter in orientation]
    turn = np.zeros((4, 4))
    turn[3, 3] = 1
    for new, (axis, letter) in enumerate(zip(axes, orientation, strict=True)):
        back = letter in "RAI"
        turn[axis, new], turn[axis, 3] = (-1, voxels.shape[axis] - 1) if back else (1, 0)
    flips = tuple(slice(None, None, -1 if letter in "RAI" else 1) for letter in orientation)
    return voxels.transpose(axes)[flips], affine @ turn


def in_lps(voxels: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What ``stored_as`` stored, found again by trying: of 48 ways to turn it, the one whose axes run as LPS do."""

    def along(way: str) -> float:
        return float(np.trace(np.diag([-1, -1, 1]) @ _unit(stored_as(voxels, affine, way)[1])))

    return stored_as(voxels, affine, max(ORIENTATIONS, key=along))


def _unit(affine: np.ndarray) -> np.ndarray:
    return affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)


def drawn_grid(draw: Random) -> tuple[tuple[int, int, int], np.ndarray]:
    """Shape in LPS, and an affine to RAS+ whose axes run about so."""
    shape = tuple(draw.randint(4, 7) for _ in range(3))
    sizes = [pick(draw, 1.0, 0.9375, 0.5, 2.0, 3.3) for _ in range(3)]
    about_z, about_x = (pick(draw, 0.0, 0.0, 0.02, -0.15, 0.25) for _ in range(2))
    turn_z = np.array([[np.cos(about_z), -np.sin(about_z), 0], [np.sin(about_z), np.cos(about_z), 0], [0, 0, 1]])
    turn_x = np.array([[1, 0, 0], [0, np.cos(about_x), -np.sin(about_x)], [0, np.sin(about_x), np.cos(about_x)]])
    affine = np.eye(4)
    affine[:3, :3] = turn_z @ turn_x @ np.diag([-1, -1, 1]) * sizes
    affine[:3, 3] = [draw.randint(40, 120), draw.randint(40, 120), draw.randint(-90, -40)]
    return shape, affine


def guessed_grid(shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """Where an image without a place lies by nibabel's rule: about 0, axes along the patient's."""
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    placed = np.diag([-sizes[0], -sizes[1], sizes[2], 1])
    placed[:3, 3] = -placed[:3, :3] @ ((np.array(shape) - 1) / 2)
    return placed


@dataclass
class Nifti:
    """How one volume is stored."""

    orientation: str
    dtype: str
    slope: float
    inter: float
    place: str
    order: str
    version: int
    packing: str
    name_ending: str
    room: int
    ones: int
    fault: str = ""

    @classmethod
    def drawn(cls, draw: Random, orientation: str, place: str) -> Nifti:
        slope, inter = pick(draw, (0, 0), (0, 7), (1, 0), (np.nan, np.nan), (0.5, 0), (2, -100), (-1.5, 50), (1e-3, 0))
        return cls(
            orientation=orientation, dtype=pick(draw, *DTYPES), slope=slope, inter=inter, place=place,
            order=pick(draw, "<", ">"), version=pick(draw, 1, 1, 2),
            packing=pick(draw, "gzip", "gzip", "gzip", "no", "two members", "padded"),
            name_ending=pick(draw, ".nii.gz", ".nii.gz", ".nii"), room=pick(draw, 0, 0, 16, 64),
            ones=pick(draw, 0, 0, 1, 3),
        )  # fmt: skip

    @property
    def scales(self) -> bool:
        return bool(np.isfinite(self.slope)) and self.slope != 0 and (self.slope, self.inter) != (1, 0)

    def values(self, stored: np.ndarray) -> np.ndarray:
        return stored * float(self.slope) + float(self.inter) if self.scales else stored.astype(np.float64)

    def write(self, path: Path, voxels: np.ndarray, affine: np.ndarray) -> set[str]:
        """Write stored values, given in LPS, with the affine of these; returns what a reader has to repair."""
        stored, placed = stored_as(voxels, affine, self.orientation)
        header = {1: nib.Nifti1Header, 2: nib.Nifti2Header}[self.version](endianness=self.order)
        header.set_data_dtype(np.dtype(self.dtype))
        shape = (*stored.shape, *[1] * self.ones)
        header.set_data_shape((*stored.shape, 2) if self.fault == "four-dimensional" else shape)
        header["magic"] = b"ni1" if self.fault == "half of a pair" and self.version == 1 else header.single_magic
        offset = header.single_vox_offset + self.room
        header["vox_offset"] = offset if self.room or self.version == 2 else 0
        header["scl_slope"], header["scl_inter"] = self.slope, self.inter
        if self.fault == "no intercept":
            header["scl_slope"], header["scl_inter"] = 2, np.nan
        if self.fault == "complex":
            header["datatype"], header["bitpix"] = 32, 64
        notes = self._place(header, placed)
        voxel_bytes = stored.astype(np.dtype(self.dtype).newbyteorder(self.order)).tobytes(order="F")
        data = bytes(header.binaryblock).ljust(offset, b"\0") + voxel_bytes
        if self.fault == "half of a pair" and self.version == 2:
            data = data.replace(b"n+2\0", b"ni2\0", 1)
        if self.fault == "longer than its header says":
            data += b"\1" * 8
        path.write_bytes(self._packed(data))
        return notes

    def _packed(self, data: bytes) -> bytes:
        half = len(data) // 2
        return {
            "no": lambda: data,
            "gzip": lambda: gzip.compress(data, 1, mtime=0),
            "two members": lambda: gzip.compress(data[:half], 9) + gzip.compress(data[half:], 1),
            "padded": lambda: gzip.compress(data, 1) + bytes(512),
        }[self.packing]()

    def _place(self, header: nib.Nifti1Header, affine: np.ndarray) -> set[str]:
        place = self.place
        if place == "qfac of zero" and np.linalg.det(affine[:3, :3]) < 0:
            place = "qform alone"
        code = 1 + len(self.dtype) % 4
        header["xyzt_units"] = 0 if self.room else 2
        header.set_qform(affine, code)
        header.set_sform(affine, code)
        if place in ("qform alone", "qfac of zero", "negative sizes"):
            header.set_sform(None, 0)
        if place == "sform alone":
            header.set_qform(None, 0)
        if place.startswith("negative sizes"):
            header["pixdim"][2] *= -1
        for field_name, value in (FIELDS.get(place, {}) | FIELDS.get(self.fault, {})).items():
            header[field_name] = value
        if place == "qfac of zero":
            header["pixdim"][0] = 0
        if place == "metres":
            header.set_qform(affine * METRES, code)
            header.set_sform(affine * METRES, code)
        if place == "sform and qform disagree":
            header.set_qform(affine + 9 * (METRES < 1) * [0, 0, 0, 1], code)
        return WORDS.get(place, set())


METRES = np.array([[1e-3], [1e-3], [1e-3], [1]])
FIELDS: dict[str, dict[str, int]] = {
    "sform of zeros": {"srow_x": 0, "srow_y": 0, "srow_z": 0},
    "sform with a row of zeros": {"srow_y": 0},
    "metres": {"xyzt_units": 1},
    "none": {"sform_code": 0, "qform_code": 0},
    "lost its place": {"sform_code": 0, "qform_code": 0},
    "no place": {"qform_code": 0, "srow_x": 0},
}
"""What is written into a header that places its image twice, by what is odd about it."""

WORDS: dict[str, set[str]] = {
    "negative sizes": {NEGATIVE},
    "sform of zeros": {USED},
    "sform with a row of zeros": {USED},
    "metres": {UNITS},
    "sform and qform disagree": {APART},
    "none": {GUESSED},
}
PLACES = ("both", "both", "both", "sform alone", "qform alone", "qfac of zero", "negative sizes beside an sform",
          *(place for place in WORDS if place != "none"))  # fmt: skip


def dicom_files(
    voxels: np.ndarray, affine: np.ndarray, *, slope: float, inter: float, signed: bool, preamble: str, series: str
) -> list[bytes]:
    """The slices of a series (implicit VR, little endian), of a volume whose axes are right-handed, by DICOM's tags."""
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    sizes = np.linalg.norm(lps[:3, :3], axis=0)
    directions = lps[:3, :3] / sizes

    def text(numbers: Any) -> bytes:
        return "\\".join(f"{number:.6f}" for number in numbers).encode()

    found = []
    for k in range(voxels.shape[2]):
        uid = f"{series}.{k + 1}".encode()
        elements = [
            (0x0008, 0x0016, b"1.2.840.10008.5.1.4.1.1.4"), (0x0008, 0x0018, uid), (0x0008, 0x0060, b"MR"),
            (0x0010, 0x0010, b"Geheim^Erika"), (0x0020, 0x000D, b"1.2.3.4"), (0x0020, 0x000E, series.encode()),
            (0x0020, 0x0013, str(k + 1).encode()),
            (0x0020, 0x0032, text((lps @ [0, 0, k, 1])[:3])), (0x0020, 0x0037, text(directions[:, :2].T.ravel())),
            (0x0028, 0x0002, struct.pack("<H", 1)), (0x0028, 0x0004, b"MONOCHROME2"),
            (0x0028, 0x0010, struct.pack("<H", voxels.shape[1])), (0x0028, 0x0011, struct.pack("<H", voxels.shape[0])),
            (0x0028, 0x0030, text([sizes[1], sizes[0]])), (0x0028, 0x0100, struct.pack("<H", 16)),
            (0x0028, 0x0101, struct.pack("<H", 16)), (0x0028, 0x0102, struct.pack("<H", 15)),
            (0x0028, 0x0103, struct.pack("<H", int(signed))),
            (0x0028, 0x1052, f"{inter:g}".encode()), (0x0028, 0x1053, f"{slope:g}".encode()),
            (0x7FE0, 0x0010, voxels[:, :, k].astype("<i2").tobytes(order="F")),
        ]  # fmt: skip
        body = b"".join(_element(*element) for element in elements)
        meta = b"".join(
            struct.pack("<HH2sH", 2, number, b"UI", len(even)) + even
            for number, even in ((2, b"1.2.840.10008.5.1.4.1.1.4\0"), (3, uid + b"\0" * (len(uid) % 2)),
                                 (0x10, b"1.2.840.10008.1.2\0"))
        )  # fmt: skip
        meta = struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(meta)) + meta
        found.append({"whole": bytes(128) + b"DICM" + meta, "meta alone": meta, "none": b""}[preamble] + body)
    return found


def _element(group: int, number: int, value: bytes) -> bytes:
    if len(value) % 2:
        value += b"\0" if value[:4] == b"1.2." else b" "
    return struct.pack("<HHI", group, number, len(value)) + value


def series_of(draw: Random, folder: Path, voxels: np.ndarray, affine: np.ndarray, fault: str) -> np.ndarray:
    """Write a series; returns the values that it stands for, in LPS."""
    right = [way for way in ORIENTATIONS if np.linalg.det(stored_as(voxels, affine, way)[1][:3, :3]) > 0]
    orientation = pick(draw, *right)
    slope, inter = pick(draw, (1, 0), (0.5, 0), (2, -10))
    kind: dict[str, Any] = {
        "slope": slope, "inter": inter, "signed": pick(draw, True, False),
        "preamble": pick(draw, "whole", "whole", "meta alone", "none"),
    }  # fmt: skip
    slices = dicom_files(*stored_as(voxels, affine, orientation), series="1.2.826.0.1", **kind)
    folder.mkdir()
    names = pick(draw, "IM{:04d}", "{:d}.dcm", "Geheim-{:d}.IMA")
    if fault == "slice gone":
        del slices[1]
    elif fault == "last slice gone":
        del slices[-1]
    elif fault == "slice twice":
        slices.append(slices[1])
    elif fault == "slice cut":
        slices[2] = slices[2][: pick(draw, 0, 3, 60, len(slices[2]) - 20)]
    elif fault == "two series":
        slices += dicom_files(*stored_as(voxels, affine, orientation), series="1.2.826.0.2", **kind)
    for number, data in enumerate(slices):
        (folder / names.format(99 - number)).write_bytes(data)
    if draw.random() < 0.5:
        (folder / pick(draw, ".DS_Store", "Thumbs.db", "._IM0099", "readme.txt")).write_bytes(b"litter")
    return voxels * float(slope) + inter


class ScanWriter:
    """Draws one scan and writes it below ``images``; things that lie outside of it go below ``outside``."""

    def __init__(self, draw: Random, layout: Layout, images: Path, outside: Path) -> None:
        self.draw, self.layout, self.images, self.outside = draw, layout, images, outside

    def write(self, number: int, below: Path, fault: str) -> Truth:
        draw, layout = self.draw, self.layout
        form = pick(draw, "NFC", "NFD")
        name = pick(draw, *layout.spellings).format(number)
        place = normalize(form, layout.path.format(name=name, suffix="{suffix}"))
        folder = below / place.partition("/")[0]
        folder.mkdir(parents=True)
        shape, affine = drawn_grid(draw)
        nowhere = fault not in {"lost its place", "mirrored", *OF_SERIES} and not draw.randint(0, 9)
        if nowhere:
            affine = guessed_grid(shape, affine)
        one_way = draw.random() < 0.5 or nowhere
        usual = "LAS" if nowhere else pick(draw, *ORIENTATIONS)
        truth = Truth(layout.scan_id(number), {}, affine, FAULTS.get(fault, set()))
        victim = self._victim(fault)
        for role in ROLES:
            ill = fault if role == victim else ""
            if ill in ("modality missing", "mask missing"):
                continue
            path = folder.parent / place.format(suffix=normalize(form, pick(draw, *layout.suffixes[role])))
            in_slices = (
                layout.holds_dicom and role != "mask" and not nowhere and (ill in OF_SERIES or not draw.randint(0, 4))
            )
            if in_slices and (ill in OF_SERIES or not ill):
                stored = self._image(shape, 200)
                truth.voxels[role] = series_of(draw, path, stored, affine, ill)
                truth.paths[role] = path
            else:
                how = Nifti.drawn(
                    draw, usual if one_way else pick(draw, *ORIENTATIONS), "none" if nowhere else pick(draw, *PLACES)
                )
                how.fault = ill
                path = path.with_name(path.name + how.name_ending)
                truth.paths[role] = path
                self._volume(truth, role, how, path, shape)
                self._spoil(ill, path, how.name_ending)
                if not ill and not draw.randint(0, 7):
                    self._by_link(path)
            if role == "T1wCE":
                truth.orientation = "" if path.is_dir() else how.orientation
        if fault == "folder leaves":
            folder.rename(self.outside / f"folder {number}")
            folder.symlink_to(self.outside / f"folder {number}")
        elif fault == "may not be listed":
            folder.chmod(pick(draw, 0o700, 0o704, 0o711) if os.geteuid() == 0 else 0)
            truth.place = str(folder)
        elif not fault and not draw.randint(0, 7) and not any(path.is_symlink() for path in truth.paths.values()):
            self._folder_by_link(folder)
        return truth

    def _victim(self, fault: str) -> str:
        if fault in OF_MASK:
            return "mask"
        return (
            pick(self.draw, *MODALITIES)
            if fault == "constant" or fault in OF_SERIES
            else pick(self.draw, *(MODALITIES if fault in ("modality missing", "no intercept") else ROLES))
        )

    def _image(self, shape: tuple[int, ...], top: int) -> np.ndarray:
        return np.random.default_rng(self.draw.randint(0, 999)).integers(1, top, shape)

    def _volume(self, truth: Truth, role: str, how: Nifti, path: Path, shape: tuple[int, ...]) -> None:
        draw, affine = self.draw, truth.affine
        notes: set[str] = set()
        if role == "mask":
            stored, values, notes = self._mask(shape, how)
        else:
            stored = self._image(shape, 120)
            if how.dtype.startswith("float") and draw.random() < 0.5:
                stored = stored + 0.25
            values = how.values(stored)
        if how.fault == "constant":
            stored = np.full(shape, 3)
        if how.fault == "NaN":
            how.dtype = pick(draw, "float32", "float64")
            how.slope = how.inter = 0
            stored = stored.astype(np.float64)
            stored[1, 1, 1] = pick(draw, np.nan, np.inf, -np.inf)
        if how.fault == "moved":
            affine = affine.copy()
            affine[draw.randint(0, 2), 3] += pick(draw, -80, 20, 3)
        if how.fault == "mirrored":
            affine = np.diag([-1.0, 1, 1, 1]) @ affine
        if how.fault == "a slice less":
            stored = stored[:, :, :-1]
        if how.fault in ("no place", "lost its place", "mirrored", "moved"):
            how.place = "both"
        if how.fault == "cut" and how.packing == "padded":
            how.packing = "gzip"
        truth.voxels[role] = values
        truth.notes[role] = notes | how.write(path, stored, affine)

    def _mask(self, shape: tuple[int, ...], how: Nifti) -> tuple[np.ndarray, np.ndarray, set[str]]:
        """Stored values, the whole labels that they stand for, and notes."""
        draw = self.draw
        labels = np.zeros(shape, np.int64)
        low = [draw.randint(0, size - 2) for size in shape]
        box = tuple(slice(at, draw.randint(at + 1, size)) for at, size in zip(low, shape, strict=True))
        rng = np.random.default_rng(draw.randint(0, 999))
        labels[box] = rng.choice(draw.sample([1, 2, 4], draw.randint(1, 3)), labels[box].shape)
        if how.fault == "mask of an unknown label":
            labels[tuple(at for at in low)] = pick(draw, 3, 5, 100)
        how.slope, how.inter, notes, stored = 0, 0, set(), labels.astype(np.float64)
        noise = 0.2 if how.fault == "mask of fractions" else 0.0
        if not how.fault:
            noise = pick(draw, 0.0, 0.0, 1e-6, 0.005)
            how.slope, how.inter, factor = pick(draw, (0, 0, 1), (0.5, 0, 2), (1, -1, 1), (4 / 255, 0, 255 / 4))
            stored = np.rint((stored - how.inter * (how.slope != 0)) * factor) if factor != 1 or how.inter else stored
            if factor == 255 / 4:
                noise, how.dtype = 0.0, pick(draw, "uint8", "int16", "float32")
                saved = stored.astype(np.float32) * np.float32(how.slope)
                notes = {ROUNDED} if (saved != np.rint(saved)).any() else set()
        if noise:
            how.dtype, how.slope, how.inter, stored = pick(draw, "float32", "float64"), 0, 0, labels.astype(np.float64)
            stored = stored + rng.uniform(-noise, noise, shape)
            notes = {ROUNDED}
        if how.fault == "mask of nothing":
            stored[...] = 0
        return stored, labels.astype(np.float64), notes

    def _spoil(self, fault: str, path: Path, ending: str) -> None:
        draw = self.draw
        if fault == "cut":
            data = path.read_bytes()
            path.write_bytes(data[: draw.randint(1, len(data) // 2)])
        elif fault == "no byte":
            path.write_bytes(b"")
        elif fault == "a page":
            path.write_bytes(b"<!doctype html><p>Please log in" * 20)
        elif fault == "twice":
            other = ".nii" if ending == ".nii.gz" else ".nii.gz"
            path.with_name(path.name.removesuffix(ending) + other).write_bytes(path.read_bytes())
        elif fault == "pipe":
            path.unlink()
            os.mkfifo(path)
        elif fault in ("leads nowhere", "leads to itself"):
            path.unlink()
            path.symlink_to("../.git/annex/gone" if fault == "leads nowhere" else path.name)
        elif fault == "leaves":
            outside = self.outside / f"file {len(list(self.outside.iterdir()))}"
            path.rename(outside)
            path.symlink_to(outside)
        elif fault == "may not be read":
            path.chmod(0o600 if os.geteuid() == 0 else 0)

    def _by_link(self, path: Path) -> None:
        """The file lies elsewhere below the images folder, under a name that says nothing."""
        store = self.images / pick(self.draw, "store", ".annex")
        store.mkdir(exist_ok=True)
        there = store / f"object {len(list(store.iterdir()))}"
        path.rename(there)
        path.symlink_to(pick(self.draw, there, os.path.relpath(there, path.parent)))

    def _folder_by_link(self, folder: Path) -> None:
        store = self.images / pick(self.draw, "raw", "zz", ".annex")
        store.mkdir(exist_ok=True)
        there = store / f"session {len(list(store.iterdir()))}"
        folder.rename(there)
        folder.symlink_to(pick(self.draw, there, os.path.relpath(there, folder.parent)))
