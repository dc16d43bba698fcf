"""One function for each parser of strangers' files: it takes any bytes, and raises nothing but gliolake's own errors.

``test_fuzz`` calls them with what is in ``corpus`` and with chance bytes, ``run.py`` with what atheris invents.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import hashlib
import json
import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from gliolake.errors import GliolakeError
from gliolake.features.weights.files import file_format
from gliolake.features.weights.flax_file import read_flax
from gliolake.features.weights.mxnet_params import read_params, unpacked
from gliolake.ingest.cohorts.description import load_cohort, read_cohort
from gliolake.ingest.labels.label_files import read_labels
from gliolake.ingest.readers import nifti
from gliolake.ingest.readers.csv_file import read_csv
from gliolake.ingest.readers.dicom_header import BadSlice, place_of, read_texts
from gliolake.ingest.readers.tfrecord import masked_crc32c, read_examples
from gliolake.ingest.scans.fingerprint import LENGTH, content_of
from gliolake.ingest.scans.path_patterns import Patterns
from gliolake.schema.registry import TABLES
from gliolake.sql.phi.patterns import kinds_in, shape_in
from gliolake.storage import commit_log as log
from gliolake.storage.backend.local import LocalFiles
from gliolake.storage.log_entries import canonical
from gliolake.storage.snapshot import Snapshot

_FOLDER = tempfile.TemporaryDirectory(prefix="gliolake-fuzz-")
BRATS = load_cohort("brats21")


def _file(data: bytes, name: str = "given") -> Path:
    path = Path(_FOLDER.name) / name
    path.write_bytes(data)
    return path


def _volume(data: bytes) -> str:
    """A digest of a volume, or the reason why it is refused."""
    try:
        volume = nifti.parse_volume(data, "given.nii")
    except nifti.BadImage as error:
        return nifti.REASONS[nifti.REASONS.index(error.reason)]  # one of them, or the rule is broken
    assert volume.voxels.ndim == 3
    known_by = content_of(volume.voxels)
    assert len(known_by) in (0, LENGTH)
    assert np.isfinite(known_by).all()
    return hashlib.sha256(volume.voxels.tobytes() + volume.affine.tobytes() + repr(known_by).encode()).hexdigest()


def volume(data: bytes) -> None:
    """A NIfTI file; the same packed is the same, or unpacks to too much."""
    plain = _volume(data)
    if data[:2] != b"\x1f\x8b":
        assert _volume(gzip.compress(data, 1)) in {plain, nifti.TOO_LARGE}


def dicom_meta(data: bytes) -> None:
    """The header of a DICOM slice."""
    with contextlib.suppress(BadSlice):
        header = place_of(read_texts(data))
        assert np.isfinite(header.position).all()
        assert header.orientation.shape == (2, 3)


def cohort(data: bytes) -> None:
    """A cohort's description, what it makes of names, and how it looks for files."""
    described = read_cohort(_file(data))
    for name in ("BraTS2021_00001", "UCSF-PDGM-0004_FU003d", "a" * 60, "0" * 200, ""):
        described.ids.parse(name)
    if described.images:
        Patterns(described.images).of_file("images/BraTS2021_00001/BraTS2021_00001_flair.nii.gz")


def table(data: bytes) -> None:
    """A CSV file, and the rows that a label file would put into the lake."""
    path = _file(data, "labels.csv")
    read_csv(path)
    read = read_labels(BRATS, path, {})
    _fits("labels", read.rows)
    _fits("exclusions", read.exclusions)


def _fits(name: str, rows: tuple[dict[str, object], ...]) -> None:
    pa.Table.from_pylist([{"run_id": "r", **row} for row in rows], schema=TABLES[name].schema)


def records(data: bytes) -> None:
    """A TFRecord file, and a record of these bytes whose checksums are right."""
    frame = struct.pack("<Q", len(data))
    sums = [struct.pack("<I", masked_crc32c(part)) for part in (frame, data)]
    for content in (data, frame + sums[0] + data + sums[1]):
        with contextlib.suppress(GliolakeError):
            for _ in read_examples(_file(content)):
                pass


def flax(data: bytes) -> None:
    """A checkpoint of flax, and the numbers of each of its arrays."""
    for array in read_flax(_file(data)).values():
        with contextlib.suppress(GliolakeError):
            array.read()


def params(data: bytes) -> None:
    """A file of MXNet's, by itself and as an archive."""
    path = _file(data)
    with contextlib.suppress(GliolakeError):
        read_params(path)
    with unpacked(path) as inner:
        read_params(inner)


def weights(data: bytes) -> None:
    """A file of weights for torch: safetensors, torch's own, or another of which torch is not asked."""
    import safetensors.torch  # noqa: F401 - so that importing it is not the first input's doing

    from gliolake.features.weights.files import read_safetensors, read_torch

    path = _file(data)
    if file_format(path) == "safetensors":
        for tensor in read_safetensors(path).values():
            tensor.float()
    else:
        read_torch(path)


def commits(data: bytes) -> None:
    """A commit's record and a checkpoint, as they are and with the digest that their content asks for."""
    files = LocalFiles(Path(_FOLDER.name) / "lake")
    for content in _with_digest(data):
        for path in (log.record_path(1), log.checkpoint_path(1)):
            place = Path(files.root, path)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        with contextlib.suppress(GliolakeError):
            if record := log.read_commit(files, 1):
                Snapshot().after([record])
                assert all(".." not in Path(file.path).parts for file in record.touches())
        with contextlib.suppress(GliolakeError):
            log.latest_snapshot(files)


def _with_digest(data: bytes) -> Iterator[bytes]:
    yield data
    with contextlib.suppress(ValueError, RecursionError):
        content = json.loads(data)
        if isinstance(content, dict):
            content.pop("sha256", None)
            yield canonical({**content, "sha256": hashlib.sha256(canonical(content)).hexdigest()})


def texts(data: bytes) -> None:
    """What the audit sees in a text."""
    kinds_in("Anna Meier")  # names are loaded on first use
    text = data.decode("utf-8", "replace")
    for kind in kinds_in(text):
        assert len(shape_in(text, kind)) <= 40


Parser = Callable[[bytes], None]

PARSERS: dict[str, Parser] = {
    parser.__name__: parser
    for parser in (volume, dicom_meta, cohort, table, records, flax, params, weights, commits, texts)
}


def feed(parser: Parser, data: bytes) -> None:
    """Call a parser; it may refuse what it is given, in gliolake's own words."""
    assert csv.field_size_limit() == 131072, "a parser changes a setting of the whole process"
    with contextlib.suppress(GliolakeError):
        parser(data)
