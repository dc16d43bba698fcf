"""Cohorts of odd but legal files, drawn at random: each scan and label ends as the right row or as a named exclusion.

What is drawn, and what is true of it: ``odd_images`` and ``odd_labels``. Every third scan has a fault that has to be
named. `make test-faults` draws two hundred cohorts, an ordinary run forty; GLIOLAKE_SEED draws others.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any
from unicodedata import normalize

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from gliolake.cluster import client as cluster
from gliolake.cluster import tasks
from gliolake.errors import InputError
from gliolake.ingest.pipeline import ingest
from gliolake.ingest.scans import comparison
from gliolake.ingest.scans.images import read_image
from gliolake.storage.lake import Lake
from tests.support.full import FULL
from tests.support.nobody import nobody
from tests.support.odd_images import (
    FAULTS,
    LAYOUTS,
    LEAVES,
    NO_UTF8,
    NOTES,
    OF_SERIES,
    UNLISTED,
    Layout,
    ScanWriter,
    Truth,
    in_lps,
    pick,
)
from tests.support.odd_labels import OddLabels, write_labels

pytestmark = pytest.mark.long

COHORTS = 200 if FULL else 24
PARTS = 4
"""Tests that they are parted into, so that several processes share them."""

SEED = int(os.environ.get("GLIOLAKE_SEED", "0"))

UNSAID = "eheim"
"""Is in all that may not be said (``odd_labels.SECRETS``)."""

Rows = list[dict[str, Any]]


class Cohort:
    """A drawn cohort on disk: its scans, its file of labels, and what else lies about: path -> reason."""

    def __init__(self, draw: Random, root: Path) -> None:
        self.layout: Layout = pick(draw, *LAYOUTS)
        self.images, outside = root / "images", root / "outside"
        for folder in (self.images, outside):
            folder.mkdir()
        self.description = self.layout.cohort
        if self.layout.description:
            (root / "klinik.toml").write_text(self.layout.description, encoding="utf-8")
            self.description = str(root / "klinik.toml")
        writer = ScanWriter(draw, self.layout, self.images, outside)
        places = (".", "site ä", normalize("NFD", "Größe/batch 1"), "key=value [2]")
        numbers = draw.sample(range(1, 131), draw.randint(1, 4))
        faults = [fault for fault in FAULTS if self.layout.holds_dicom or fault not in OF_SERIES]
        self.scans: list[Truth] = []
        for number in numbers:
            fault = draw.choice(faults) if not draw.randint(0, 2) else ""
            self.scans.append(writer.write(number, self.images / pick(draw, *places), fault))
        self.strange = self._strew(draw, outside)
        self.labels: OddLabels | None = None
        if draw.randint(0, 7):
            self.labels = write_labels(draw, self.layout, root, numbers)

    def _strew(self, draw: Random, outside: Path) -> dict[str, str]:
        """Litter of systems, documents and links, some of which have to be named."""
        strange: dict[str, str] = {}
        folders = sorted(
            path for path in (self.images, *self.images.rglob("*")) if path.is_dir() and self._is_seen(path)
        )
        some = next(iter(sorted(self.images.rglob("*.nii.gz"))), self.images / "x.nii.gz")
        for number in range(draw.randint(0, 4)):
            folder = pick(draw, *folders)
            what = pick(draw, *LITTER, *STRAY)
            path = folder / f"{what} {number}"
            if what in LITTER:
                litter = folder / what.format(name=some.name, folder=some.parent.name)
                litter.parent.mkdir(parents=True, exist_ok=True)
                litter.write_bytes(b"litter")
            elif what == "pipe":
                os.mkfifo(path)
            elif what == "shut":
                path.mkdir(mode=0o700 if os.geteuid() == 0 else 0)
                strange[str(path)] = UNLISTED
            elif what == NO_UTF8:
                Path(os.fsdecode(os.fsencode(path) + b"\xe9")).mkdir()
                strange[f"{path}\\udce9"] = NO_UTF8
            else:
                ways = {LEAVES: outside, "leads nowhere": "no/such/file", "up": "." if folder == self.images else ".."}
                path.symlink_to(ways.get(what, self.images))
                strange |= {str(path): LEAVES} if what == LEAVES else {}
        return strange

    def _is_seen(self, folder: Path) -> bool:
        """Whether what is put there is seen: not behind a link, in litter, a series, or a folder that is shut."""
        near = self.images in (folder, folder.parent)
        return near and not folder.is_symlink() and folder.name[:1] != "." and folder.stat().st_mode & 0o5 == 0o5


LITTER = (
    "._{name}", "__MACOSX/{folder}/{name}", "{name}.part", "{name}~", ".{name}.Xy12ab", ".DS_Store", "Thumbs.db",
    "desktop.ini", "README.txt", "Erika Mustergeheim.pdf", "labels.csv", "@eaDir/{folder}/{name}",
)  # fmt: skip
STRAY = ("pipe", "shut", NO_UTF8, LEAVES, "leads nowhere", "up", "loop")


@contextmanager
def here() -> Iterator[None]:
    """Images are found and read in this process, without root's rights."""
    find = comparison.find_scans

    def finding(*arguments: Any, **options: Any) -> Any:
        with nobody():
            return find(*arguments, **options)

    @contextmanager
    def no_cluster(*_: Any, **__: Any) -> Iterator[None]:
        yield None

    def reading(_: None, task: Callable[[Any], Any], items: list[Any], **__: Any) -> Iterator[tuple[Any, Any]]:
        for item in items:
            with nobody():
                outcome = task(item)
            yield item, outcome

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparison, "find_scans", finding)
        patch.setattr(cluster, "open_cluster", no_cluster)
        patch.setattr(tasks, "map_tasks", reading)
        yield


def ingested(cohort: Cohort, lake: Lake) -> bool:
    """Ingest it; returns whether it was asked what the labels are written in."""
    labels = cohort.labels.path if cohort.labels else None
    try:
        ingest(lake, cohort.description, cohort.images, labels)
    except InputError as error:
        if not cohort.labels or "--encoding" not in error.hint or UNSAID in str(error):
            raise
        ingest(lake, cohort.description, cohort.images, labels, encoding=cohort.labels.encoding)
        return True
    return False


def check_scans(cohort: Cohort, rows: Rows, excluded: Rows) -> None:
    strange = {(row["scan_id"], row["source"], row["reason"]) for row in excluded if row["step"] == "images"}
    by_scan = {row["scan_id"]: row for row in rows}
    assert len(by_scan) == len(rows)
    for truth in cohort.scans:
        row = by_scan.pop(truth.scan_id, None)
        reasons = {found for found in strange if found[0] == truth.scan_id or found[1] == truth.place}
        strange -= reasons
        if truth.reasons:
            assert row is None, truth.scan_id
            assert reasons, truth.scan_id
            assert {reason for *_, reason in reasons} <= truth.reasons, (reasons, truth.reasons)
        else:
            assert not reasons, (reasons, [row["detail"] for row in excluded])
            assert row is not None, (truth.scan_id, truth.paths, excluded)
            check_scan(truth, row)
    assert not by_scan
    assert {source: reason for _, source, reason in strange} == cohort.strange, (strange, cohort.strange)


def check_scan(truth: Truth, row: dict[str, Any]) -> None:
    affine = np.array(row["affine"]).reshape(4, 4)
    turned, placed = in_lps(np.empty(row["shape"]), affine)
    assert turned.shape == truth.voxels["T1wCE"].shape
    np.testing.assert_allclose(placed, truth.affine, atol=2e-3)
    np.testing.assert_allclose(row["spacing_mm"], np.linalg.norm(affine[:3, :3], axis=0), rtol=1e-4)
    assert row["orientation"] == truth.orientation or not truth.orientation
    for file in row["files"]:
        volume = read_image(file["uri"], file["role"])
        voxels, placed = in_lps(volume.voxels, volume.affine)
        np.testing.assert_allclose(voxels, truth.voxels[file["role"]], rtol=1e-5, atol=1e-4, err_msg=file["role"])
        np.testing.assert_allclose(placed, truth.affine, atol=2e-3)
    assert {file["role"] for file in row["files"]} == {*truth.voxels}
    mask = truth.voxels["mask"]
    inside = np.argwhere(mask)
    assert row["tumour_box"] == np.stack([inside.min(0), inside.max(0) + 1], axis=1).ravel().tolist()
    assert row["tumour_voxels"] == len(inside)
    counts = {int(label): int((mask == label).sum()) for label in np.unique(mask) if label}
    assert {count["label"]: count["voxels"] for count in row["mask_labels"]} == counts
    said: dict[str, set[str]] = {}
    absent = 0
    for warning in row["warnings"]:
        absent += warning.startswith("no voxel of label ")
        roles, colon, note = warning.partition(": ")
        for role in roles.split(", ") if colon else ():
            said.setdefault(role, set()).update(known for known in NOTES if known in note)
    assert absent == 3 - len(counts)
    assert said == {role: notes for role, notes in truth.notes.items() if notes}


def check_labels(file: OddLabels, rows: Rows, excluded: Rows) -> None:
    found = {row["scan_id"]: row for row in rows}
    assert len(found) == len(rows)
    left_out = {row["scan_id"]: row["reason"] for row in excluded if row["step"] == "labels"}
    assert found.keys() == file.said.keys(), (left_out, file)
    for scan_id, said in file.said.items():
        row = found[scan_id]
        expected = {"source_row": said["line"], "mgmt_status": said["status"], "mgmt_index": said.get("mgmt_index"),
                    "age": said.get("age"), "diagnosis": said.get("diagnosis")}  # fmt: skip
        assert {name: row[name] for name in expected} == expected
    named = {
        f"{file.path.stem} {what}" if what.startswith("line ") else what: why for what, why in file.left_out.items()
    }
    assert left_out == named


def check(draw: Random, files_of: Callable[[Lake], dict[str, bytes]], counted: Counter[str]) -> None:
    with tempfile.TemporaryDirectory() as scratch, here():
        root = Path(scratch)
        root.chmod(0o755)
        try:
            cohort = Cohort(draw, root)
            lake = Lake(root / "lake", create=True)
            asked = ingested(cohort, lake)
            tables = {name: lake.read(name).to_pylist() for name in ("scans", "labels", "exclusions")}
            check_scans(cohort, tables["scans"], tables["exclusions"])
            if cohort.labels:
                check_labels(cohort.labels, tables["labels"], tables["exclusions"])
            assert all(UNSAID not in f"{row['detail']}{row['scan_id']}" for row in tables["exclusions"])
            before = files_of(lake)
            ingested(cohort, lake)
            assert files_of(lake) == before, "a second ingest changes nothing"
        finally:
            for folder, inner, _ in os.walk(root):
                for name in inner:
                    if not Path(folder, name).is_symlink():
                        Path(folder, name).chmod(0o755)
    counted["cohorts"] += 1
    counted["rows of scans"] += len(tables["scans"])
    counted["rows of scans with a word on a repair"] += sum(
        any(note in warning for note in NOTES for warning in row["warnings"]) for row in tables["scans"]
    )
    counted["rows of labels"] += len(tables["labels"])
    counted["encodings asked for"] += asked
    counted["exclusions"] += len(tables["exclusions"])
    counted.update(f"exclusions: {row['reason']}" for row in tables["exclusions"])


@pytest.mark.faults
@pytest.mark.parametrize("part", range(PARTS))
def test_scans_and_labels_of_odd_but_legal_cohorts_are_right_rows_or_named_exclusions(
    part: int, files_of: Callable[[Lake], dict[str, bytes]], record_property: Callable[[str, object], None]
) -> None:
    counted: Counter[str] = Counter()

    # Not shrunk: each cohort follows from its number, and the number of one that fails is printed.
    @seed(PARTS * SEED + part)
    @settings(
        max_examples=COHORTS // PARTS, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=[*HealthCheck],
    )  # fmt: skip
    @given(st.integers(0, 2**32 - 1))
    def of_any_cohort(number: int) -> None:
        check(Random(number), files_of, counted)

    of_any_cohort()
    assert counted["cohorts"] >= COHORTS // PARTS
    for what, number in counted.items():
        record_property(f"generated cohorts: {what}", number)
