"""Links: pairs of scans said to be one patient, each with what says so. Patients are their connected components.

Pure functions of the rows of ``scans`` and ``labels`` and of the cohorts' descriptions. The smaller (cohort, scan)
comes first, there is one row per pair and kind, and the order in which rows come makes no difference.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gliolake.ingest.cohorts.description import MASK, Cohort
from gliolake.ingest.cohorts.scan_ids import IdRules, ScanName
from gliolake.ingest.scans.fingerprint import LENGTH, distance, same_content

Row = Mapping[str, Any]
Scan = tuple[str, str]

FOLLOW_UP, DECLARED, SAME_CONTENT = KINDS = ("follow-up", "declared", "same content")
"""The kinds that this package finds. It keeps links of other kinds."""


def find_links(scans: Iterable[Row], labels: Iterable[Row], cohorts: Mapping[str, Cohort]) -> list[dict[str, Any]]:
    """All links among the given scans and labels.

    Args:
        scans: rows of ``scans``: cohort, scan_id, source_id, files.
        labels: rows of ``labels``: cohort, scan_id, source, source_id, declared_cohort, declared_id.
        cohorts: descriptions of the cohorts by name; a cohort without one has no follow-up links.

    Returns:
        Rows of ``links``, sorted.
    """
    scans, labels = list(scans), list(labels)
    found = [
        *_rows(FOLLOW_UP, _follow_ups(scans, labels, cohorts), "; "),
        *_rows(DECLARED, _declared(labels, cohorts), "; "),
        *_rows(SAME_CONTENT, _same_content(scans), ", "),
    ]
    return sorted(
        found, key=lambda row: tuple(row[key] for key in ("cohort_a", "scan_a", "cohort_b", "scan_b", "kind"))
    )


def rows_to_link(
    scans: pa.Table, labels: pa.Table, cohorts: Mapping[str, Cohort]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The scans and labels from which ``find_links`` finds what it would find from all: in a large lake, few."""
    of_scans = _later_visit(scans, cohorts) | _shares_images(scans["files"])
    of_labels = _later_visit(labels, cohorts) | labels["declared_id"].is_valid().to_numpy()
    return scans.filter(pa.array(of_scans)).to_pylist(), labels.filter(pa.array(of_labels)).to_pylist()


def _shares_images(files: pa.ChunkedArray) -> np.ndarray:
    """For each scan, whether the content of one of its images is there a second time."""
    every = pc.list_flatten(files)
    of_scan = np.repeat(np.arange(len(files)), pc.list_value_length(files).to_numpy())
    known = pc.equal(pc.list_value_length(pc.struct_field(every, "content")), LENGTH)
    known = pc.and_(known, pc.not_equal(pc.struct_field(every, "role"), MASK))
    numbers = pc.list_flatten(pc.struct_field(every.filter(known), "content")).to_numpy()
    contents = same_content(numbers.reshape(-1, LENGTH))
    shares = np.zeros(len(files), bool)
    shares[of_scan[known.to_numpy()][np.bincount(contents)[contents] > 1]] = True
    return shares


def _later_visit(rows: pa.Table, cohorts: Mapping[str, Cohort]) -> np.ndarray:
    """For each row, whether its scan's id is that of a later visit."""
    names = zip(rows["cohort"].to_pylist(), rows["scan_id"].to_pylist(), strict=True)
    return np.fromiter((_visit(cohorts.get(cohort), scan) is not None for cohort, scan in names), bool, rows.num_rows)


def _visit(cohort: Cohort | None, scan: str) -> ScanName | None:
    """What a scan's id says, if it is that of a later visit."""
    if cohort is None or cohort.ids.form == cohort.ids.subject:
        return None
    name = _parsed(cohort.ids, scan)
    return None if name is None or name.scan_id == name.subject_id else name


@lru_cache(maxsize=1 << 18)
def _parsed(ids: IdRules, scan: str) -> ScanName | None:
    """Remembered, since each commit of an ingest asks for the names of the whole lake."""
    return ids.parse(scan)


Evidence = Iterator[tuple[Scan, Scan, str]]


def _rows(kind: str, evidence: Evidence, separator: str) -> Iterator[dict[str, Any]]:
    by_pair: dict[tuple[Scan, Scan], set[str]] = defaultdict(set)
    for one, other, what in evidence:
        if one != other:
            by_pair[min(one, other), max(one, other)].add(what)
    for (a, b), said in by_pair.items():
        yield {"cohort_a": a[0], "scan_a": a[1], "cohort_b": b[0], "scan_b": b[1],
               "kind": kind, "evidence": separator.join(sorted(said)), "score": 1.0}  # fmt: skip


def _follow_ups(scans: list[Row], labels: list[Row], cohorts: Mapping[str, Cohort]) -> Evidence:
    """Each scan of a later visit, to the first scan of its subject, which need not be in the lake."""
    for row in (*labels, *scans):
        cohort = cohorts.get(row["cohort"])
        name = _visit(cohort, row["scan_id"])
        if cohort is None or name is None:
            continue
        source = row.get("source") or "the images folder"
        written = _parsed(cohort.ids, row["source_id"])
        if written is not None and written.by_alias:
            what = f"{source} lists it as {row['source_id']}, known to be {name.scan_id}"
        else:
            what = f"its id ends in {name.scan_id.removeprefix(name.subject_id)} in {source}"
        yield (cohort.name, name.subject_id), (cohort.name, name.scan_id), what


def _declared(labels: list[Row], cohorts: Mapping[str, Cohort]) -> Evidence:
    """Each scan, to the scan of another cohort that its own cohort's label file names."""
    for row in labels:
        if row["declared_id"] is None:
            continue
        cohort = cohorts.get(row["cohort"])
        columns = cohort.labels.columns if cohort and cohort.labels else ()
        column = next((c.column for c in columns if c.field == "declared_id"), "declared_id")
        declared = (row["declared_cohort"], row["declared_id"])
        yield (row["cohort"], row["scan_id"]), declared, f"{row['source']}, column {column}"


def _same_content(scans: list[Row]) -> Evidence:
    """Scans that share the content of an image, each to the smallest scan that holds it: a star, not all pairs.

    The evidence is the image and, in standard deviations, how far its values lie from the smallest scan's. Masks prove
    nothing: two patients without a tumour in view, or two raters' copies, may have equal ones.
    """
    images = [
        ((row["cohort"], row["scan_id"]), file["role"], np.array(file["content"], np.float32))
        for row in scans
        for file in row["files"]
        if file["role"] != MASK and len(file["content"]) == LENGTH
    ]
    if not images:
        return
    holders: dict[int, list[int]] = defaultdict(list)
    for place, content in enumerate(same_content(np.stack([content for *_, content in images])).tolist()):
        holders[content].append(place)
    for held in holders.values():
        first, first_role, first_content = images[min(held, key=lambda place: images[place][:2])]
        for scan, role, content in (images[place] for place in held):
            roles = role if role == first_role else f"{first_role} = {role}"
            yield first, scan, f"{roles} ±{distance(first_content, content):.1g}"
