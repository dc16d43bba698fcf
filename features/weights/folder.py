"""The weights of the pretrained networks: what each needs, where it comes from, and the folder where they are kept.

Nothing is ever fetched unasked. A file is added from disk, or fetched by an explicit command, and it is checked before
it is kept: its checksum, its format, the names and shapes of its tensors. Beside ``NAME.pth`` or ``NAME.safetensors``
stands ``NAME.json`` with the sha256, which is part of every recipe and is checked again whenever the file is read.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gliolake.atomic import replaced_path
from gliolake.errors import GliolakeError, InputError, StorageFull
from gliolake.features.weights.sources import MXNET, SOURCES, Source, source_of
from gliolake.target import Own, check_target

if TYPE_CHECKING:
    import torch

FOLDER_VARIABLE = "GLIOLAKE_WEIGHTS"

SUFFIXES = {"torch": ".pth", "safetensors": ".safetensors", "flax": ".safetensors", "mxnet": ".params"}
"""Of the kept file, by the format of the file that was added."""


@dataclass(frozen=True)
class WeightsFile:
    """A file in the weights folder, as it was when it was added.

    Attributes:
        name: The network.
        file: Name in the folder.
        sha256, bytes: Of the file in the folder.
        origin: What is known of it: checksum matched, none published, or given by hand.
        added_sha256: Of the file that was added: another one where it had to be converted.
    """

    name: str
    file: str
    sha256: str
    bytes: int
    origin: str
    added_sha256: str


@dataclass(frozen=True)
class WeightsStatus:
    """A row of ``gliolake weights list``. ``state`` is present, absent or damaged; ``detail`` says what is damaged."""

    name: str
    state: str
    source: Source
    path: Path
    sha256: str = ""
    origin: str = ""
    detail: str = field(default="")


def weights_folder(folder: str | Path | None = None) -> Path:
    """The folder given, else the one that GLIOLAKE_WEIGHTS names, else ``~/.cache/gliolake/weights``.

    Raises:
        InputError: there is no home.
    """
    if folder is not None:
        return Path(folder)
    named = os.environ.get(FOLDER_VARIABLE)
    try:
        return Path(named) if named else Path.home() / ".cache" / "gliolake" / "weights"
    except RuntimeError:
        raise InputError("There is no home to keep weights in.", hint=f"Set {FOLDER_VARIABLE} to a folder.") from None


def find_weights(name: str, folder: str | Path | None = None) -> WeightsFile:
    """The file that was added for this network. Reads its description only.

    Raises:
        InputError: no such network, none was added, or its description cannot be read; the hint says what to do.
    """
    source = source_of(name)
    place = weights_folder(folder)
    description = place / f"{name}.json"
    try:
        kept = WeightsFile(**json.loads(description.read_text("utf-8")))
    except FileNotFoundError:
        raise InputError(
            f"The weights of {name} are not in {place}.",
            hint=f"Get {source.url} (about {source.megabytes} MB) and run: gliolake weights add {name} FILE; or use "
            "--weights untrained:0, whose numbers mean nothing.",
        ) from None
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{description} does not describe weights: {error}.",
            hint=f"Move it away, then run gliolake weights add {name} FILE again.",
        ) from None
    if Path(kept.file).name != kept.file or not (description.parent / kept.file).is_file():
        raise InputError(
            f"{description} describes {kept.file}, which is not there.",
            hint=f"Run gliolake weights add {name} FILE again.",
        )
    return kept


def found_path(kept: WeightsFile, folder: str | Path | None = None) -> Path:
    """Where a file is that ``find_weights`` found, after its bytes were compared with its sha256.

    Raises:
        InputError: it was changed since it was added.
    """
    path = (weights_folder(folder) / kept.name).with_name(kept.file)
    if path.stat().st_size != kept.bytes or _digest(path, "sha256") != kept.sha256:
        raise InputError(
            f"{path} was changed after it was added: it has {path.stat().st_size} bytes and is not the file of "
            f"{kept.bytes} bytes with sha256 {kept.sha256[:12]}….",
            hint=f"Run gliolake weights add {kept.name} FILE again.",
        )
    return path


def list_weights(folder: str | Path | None = None) -> list[WeightsStatus]:
    """What each network needs and what is there. Reads descriptions only; see ``verify_weights``."""
    return [_status(name, folder) for name in SOURCES]


def verify_weights(name: str | None = None, folder: str | Path | None = None) -> list[WeightsStatus]:
    """The same, for one network or all, with every file read through: bytes against sha256, tensors against network."""
    rows = []
    for each in [name] if name else list(SOURCES):
        row = _status(each, folder)
        if row.state == "present":
            try:
                _check(found_path(find_weights(each, folder), folder), each)
            except GliolakeError as error:
                row = WeightsStatus(each, "damaged", row.source, row.path, row.sha256, row.origin, str(error))
        rows.append(row)
    return rows


def _status(name: str, folder: str | Path | None) -> WeightsStatus:
    place, source = weights_folder(folder), source_of(name)
    if not (place / f"{name}.json").exists():
        return WeightsStatus(name, "absent", source, place / name)
    try:
        kept = find_weights(name, folder)
    except InputError as error:
        return WeightsStatus(name, "damaged", source, place / name, detail=str(error))
    path = (place / name).with_name(kept.file)
    return WeightsStatus(name, "present", source, path, kept.sha256, kept.origin)


def add_weights(
    path: str | Path, name: str, folder: str | Path | None = None, *, any_checksum: bool = False
) -> WeightsFile:
    """Check a file and keep a copy of it in the weights folder, in place of what was there for this network.

    The original flax checkpoint of vivit_l_16x2_fe is converted, and kept as safetensors.

    Args:
        path: The file.
        name: The network it is for.
        folder: The weights folder; see ``weights_folder``.
        any_checksum: Take a file whose sha1 is not the published one, such as weights of one's own training. It is
            recorded as given by hand.

    Raises:
        InputError: no such network or file, a checksum that is not the published one, a file that is damaged, asks to
            run code, or holds something else.
        StorageFull: no space is left.
    """
    from gliolake.features.weights.files import file_format
    from gliolake.features.weights.mxnet_params import unpacked

    source_of(name)
    path, kept_as = Path(path), weights_folder(folder) / name
    if name.startswith(MXNET) and zipfile.is_zipfile(path):
        with unpacked(path) as inner:
            return add_weights(inner, name, folder, any_checksum=any_checksum)
    place, kind = kept_as.parent, file_format(path)
    origin = _check_sha1(path, name, any_checksum)
    state = _check(path, name)
    file = kept_as.name + SUFFIXES[kind]
    with room_in(place):
        place.mkdir(parents=True, exist_ok=True)
        ours = _ours(name, place)
        # The file that is added may have its name there already.
        kind_of_file = Own(kind="a file of weights", recognises=lambda at: at.name in ours or at.samefile(path))
        for each in (file, f"{kept_as.name}.json"):
            check_target(place / each, overwrite=True, own=kind_of_file)
        with replaced_path(place / file, overwrite=True, own=kind_of_file) as new:
            if kind == "flax":
                from safetensors.torch import save_file

                save_file(state, new)
            else:
                shutil.copyfile(path, new)
            kept = WeightsFile(name, file, _digest(new, "sha256"), new.stat().st_size, origin, _digest(path, "sha256"))
        with replaced_path(place / f"{kept_as.name}.json", overwrite=True, own=kind_of_file) as new:
            new.write_text(json.dumps(asdict(kept), indent=1) + "\n", "utf-8")
        for other in ours - {file, f"{kept_as.name}.json"}:
            (place / other).unlink(missing_ok=True)
    return kept


def _ours(name: str, place: Path) -> set[str]:
    """The files of a network that this command has put into the folder, which may be somebody's own."""
    description = place / f"{name}.json"
    try:
        kept = WeightsFile(**json.loads(description.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return set()
    return {description.name, kept.file} & {f"{name}{end}" for end in (".json", *SUFFIXES.values())}


def _check(path: Path, name: str) -> dict[str, torch.Tensor]:
    """Read a file through, as the network's weights; the tensors, but for MXNet's, which only its workers need."""
    if name.startswith(MXNET):
        from gliolake.features.weights.mxnet_params import check_params

        check_params(path, name.removeprefix(MXNET))
        return {}
    from gliolake.features.weights.files import read_weights

    return read_weights(path, name)


def _check_sha1(path: Path, name: str, any_checksum: bool) -> str:
    published = SOURCES[name].sha1
    if not published:
        return "no checksum is published"
    found = _digest(path, "sha1")
    if found == published:
        return "published checksum matched"
    if any_checksum:
        return "given by hand, not the published file"
    raise InputError(
        f"{path.name} has the sha1 {found[:8]}…, and the published weights of {name} have {published[:8]}….",
        hint=f"Get {SOURCES[name].url}; or, for weights of your own, add them with --skip-checksum.",
    )


def _digest(path: Path, algorithm: str) -> str:
    # sha1 is what GluonCV publishes; it guards against mistakes, and the restricted readers against malice.
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


@contextmanager
def room_in(place: Path) -> Iterator[None]:
    """Turns a full disk into an error that says where."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise StorageFull(
                f"No space is left for weights in {place}.", hint=f"Free some, or set {FOLDER_VARIABLE} to another."
            ) from None
        raise
