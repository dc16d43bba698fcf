"""Summarises a cohort after an ingest: counts for the report, and notes on inconsistencies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from gliolake.ingest.cohorts.description import Cohort
from gliolake.ingest.labels.label_files import STEP as LABELS
from gliolake.ingest.labels.label_files import LabelFile
from gliolake.ingest.report import IngestReport
from gliolake.ingest.scans.boxes import STEP as BOXES
from gliolake.ingest.scans.discovery import STEP as IMAGES

if TYPE_CHECKING:
    from gliolake.storage.lake import Lake


def ingest_report(
    lake: Lake, cohort: Cohort, read: Sequence[LabelFile], notes: tuple[str, ...], numbers: dict[str, object]
) -> IngestReport:
    """The report of an ingest of this cohort, after its last commit.

    Args:
        lake, cohort: the lake, and the cohort's description.
        read: the label files that were read.
        notes: what was noted of them.
        numbers: the fields of the report that tell of the images folder.
    """
    where = {"cohort": cohort.name}
    scans = lake.read("scans", where, ["scan_id"])["scan_id"]
    labels = lake.read("labels", where, ["scan_id", "source", "source_path"])
    excluded = lake.read("exclusions", where, ["scan_id", "reason", "step"]).to_pylist()
    links = lake.read("links", columns=["kind", "cohort_a", "cohort_b"]).to_pylist()
    unread = pa.array([row["scan_id"] for row in excluded if row["step"] == IMAGES and row["scan_id"]], pa.string())
    with_images = pa.concat_arrays([*scans.chunks, unread])
    names = dict(zip(labels["source_path"].to_pylist(), labels["source"].to_pylist(), strict=True))
    files = tuple(replace(file.report, source=names.get(file.path, "")) for file in read)
    notes += tuple(note for file in files for note in file.notes)
    present = {*with_images.to_pylist()} if read else set()
    for file in read:
        if present and present.isdisjoint(row["scan_id"] for row in file.rows):
            notes += (f"{file.report.file}: none of its {len(file.rows):,} scans is among those with images.",)
    if cohort.images and cohort.done is None:
        notes += (
            "The description does not say which preprocessing steps were done to the images ([preprocessing], done): "
            "they are used as they are.",
        )
    return IngestReport(
        cohort=cohort.name,
        scans=len(scans),
        excluded=dict(
            sorted(Counter(row["reason"] for row in excluded if row["step"] in (IMAGES, LABELS, BOXES)).items())
        ),
        labels=dict(sorted(Counter(labels["source"].to_pylist()).items())),
        links=dict(sorted(Counter(r["kind"] for r in links if cohort.name in (r["cohort_a"], r["cohort_b"])).items())),
        labels_without_images=_missing(labels["scan_id"], with_images),
        images_without_labels=_missing(with_images, labels["scan_id"].combine_chunks()),
        label_files=files,
        notes=notes,
        **numbers,  # type: ignore[arg-type]
    )


def _missing(ids: pa.Array | pa.ChunkedArray, others: pa.Array) -> tuple[str, ...]:
    """Those of the ids that are not among the others, each once."""
    return tuple(sorted({*ids.filter(pc.invert(pc.is_in(ids, others))).to_pylist()}))
