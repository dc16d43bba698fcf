"""The folder of an exported model: six files with checksums, written completely or not at all.

SHA256SUMS is read first, and no file is parsed before its size and hash are checked. Checksums detect damage, not
malice: an attacker can change a file and its checksum. So the content stays untrusted, and no file of a folder can run:
tensors are in safetensors, the rest is text.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gliolake.atomic import replaced_folder
from gliolake.errors import DamagedFile, GliolakeError
from gliolake.target import Own

SUMS = "SHA256SUMS"
LARGEST = {
    "LICENSE": 1 << 20,
    "MODEL_CARD.md": 1 << 20,
    "model.json": 16 << 20,
    "reference.safetensors": 4 << 30,
    "weights.safetensors": 4 << 30,
}
"""The files of a folder, in the order of their checksums, and the bytes beyond which none is read."""
LARGEST_HEADER = 1 << 20
"""Bytes of the description of a safetensors file: a few hundred tensors take some ten thousand."""

NO_FOLDER = "Give the folder that gliolake model export wrote."
DAMAGED = "Copy the folder from its source again, or export the model again."


class NotAModel(GliolakeError):
    """The folder holds no exported model, or something that cannot be one."""


class NewerModel(GliolakeError):
    """The model was exported by a gliolake that knows more than this one."""


def write_folder(target: Path, files: Mapping[str, bytes], *, overwrite: bool = False) -> None:
    """Write the files and their checksums into a new folder, which appears with all of them or not at all.

    Args:
        target: the folder.
        files: content by name, for each name of ``LARGEST``.
        overwrite: replace an exported model that is there.

    Raises:
        InputError: something else is at ``target``, or its parent is no folder.
        StorageFull: no space is left.
    """
    sums = _sums({name: hashlib.sha256(files[name]).hexdigest() for name in LARGEST})
    with replaced_folder(target, overwrite=overwrite, own=MODEL) as part:
        for name, content in (*files.items(), (SUMS, sums)):
            (part / name).write_bytes(content)


def read_folder(folder: Path) -> tuple[dict[str, bytes], str]:
    """The bytes of all files, each as its checksum says, and the model's id: ten digits of the checksums' own sha256.

    Raises:
        NotAModel: the folder is none, or has no checksums or others than an exported model's.
        DamagedFile: a file is missing, too large, or holds other bytes.
    """
    if not folder.is_dir():
        raise NotAModel(f"The model {folder} is not a folder.", hint=NO_FOLDER)
    if not (folder / SUMS).is_file():
        raise NotAModel(f"{folder} holds no {SUMS}, so it is no exported model.", hint=NO_FOLDER)
    told = _bytes(folder / SUMS, 1 << 16)
    announced = dict(re.findall(rb"^([0-9a-f]{64})  (\S+)$", told, re.MULTILINE))
    wanted = {name.decode("latin-1"): digest.decode() for digest, name in announced.items()}
    if strange := sorted(wanted.keys() - LARGEST.keys()):
        raise NotAModel(f"{folder / SUMS} lists {strange[0]!r}, which no exported model has.", hint=NO_FOLDER)
    files = {name: _bytes(folder / name, limit) for name, limit in LARGEST.items()}
    found = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    for name, digest in found.items():
        if wanted.get(name, digest) != digest:
            raise DamagedFile(f"{folder / name} is damaged: its sha256 is not the one in {SUMS}.", hint=DAMAGED)
    if told != _sums(found):
        raise DamagedFile(f"{folder / SUMS} is damaged: it is not as it was written.", hint=DAMAGED)
    return files, hashlib.sha256(told).hexdigest()[:10]


def _is_ours(folder: Path) -> bool:
    """Whether the folder holds an exported model, undamaged, and nothing else."""
    there = list(folder.iterdir())
    only_ours = {path.name for path in there} == {SUMS, *LARGEST} and not any(path.is_symlink() for path in there)
    return only_ours and bool(read_folder(folder))


MODEL = Own(kind="an exported model", recognises=_is_ours)


def pack_tensors(tensors: Mapping[str, np.ndarray]) -> bytes:
    """Arrays as safetensors; the same arrays make the same bytes."""
    from safetensors.numpy import save

    return bytes(save({name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}))


def unpack_tensors(name: str, content: bytes) -> dict[str, np.ndarray]:
    """The arrays in a safetensors file, whose description is looked at before anything is made of it.

    Raises:
        NotAModel: it is no such file; names it.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or length > min(LARGEST_HEADER, len(content) - 8):
        raise NotAModel(f"{name} is no safetensors file: its header announces {length:,} bytes.", hint=DAMAGED)
    try:
        tensors: dict[str, np.ndarray] = load(content)
    except (SafetensorError, KeyError, ValueError, AttributeError) as error:
        raise NotAModel(f"{name} is no safetensors file that can be read ({error}).", hint=DAMAGED) from error
    for tensor, values in tensors.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise NotAModel(f"{name} holds numbers that are not finite ({tensor}).", hint=DAMAGED)
    return tensors


def _sums(digests: Mapping[str, str]) -> bytes:
    """As ``sha256sum`` writes and checks them."""
    return "".join(f"{digests[name]}  {name}\n" for name in LARGEST).encode()


def _bytes(path: Path, limit: int) -> bytes:
    if not path.is_file():
        raise DamagedFile(f"{path} is missing.", hint=DAMAGED)
    if (size := path.stat().st_size) > limit:
        raise DamagedFile(f"{path} has {size:,} bytes; the limit is {limit:,}.", hint=DAMAGED)
    return path.read_bytes()
