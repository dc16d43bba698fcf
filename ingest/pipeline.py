"""The ingest step: folders and label files become rows of ``scans``, ``labels``, ``links`` and ``exclusions``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from gliolake.cluster.failures import unless_all_fail
from gliolake.cluster.tasks import commit_in_batches
from gliolake.errors import InputError
from gliolake.ingest.cohorts.description import Cohort, cohorts_of_rows, known_cohorts, load_cohort
from gliolake.ingest.exclusions import CHANGED_FILE, SAME_ID, Row, merged
from gliolake.ingest.labels.label_files import STEP as LABELS
from gliolake.ingest.labels.label_files import LabelFile, read_labels
from gliolake.ingest.labels.links import KINDS, find_links, rows_to_link
from gliolake.ingest.labels.sources import put
from gliolake.ingest.report import IngestReport
from gliolake.ingest.scans.boxes import STEP as BOXES
from gliolake.ingest.scans.boxes import read_boxes
from gliolake.ingest.scans.comparison import News, compare
from gliolake.ingest.scans.discovery import STEP as IMAGES
from gliolake.ingest.scans.model import FoundScan
from gliolake.ingest.scans.same_id import lies_elsewhere, other_place, same_id
from gliolake.ingest.summary import ingest_report
from gliolake.log.journal import logger
from gliolake.paths import absolute
from gliolake.runs import Run, start_run
from gliolake.schema.registry import TABLES

if TYPE_CHECKING:
    from gliolake.ingest.scans.images import ReadScan
    from gliolake.storage.lake import Lake
    from gliolake.storage.transaction import Transaction

Outcomes: TypeAlias = "Iterator[tuple[FoundScan, ReadScan]]"

BATCH = 64
"""Scans after which finished work is committed: what an interrupted run had committed is not read again."""

BATCH_SECONDS = 30.0
"""Seconds after which finished work is committed, however little it is."""


def ingest(
    lake: Lake,
    cohort: str | Path,
    images: str | Path | None = None,
    labels: str | Path | Sequence[str | Path] | None = None,
    *,
    boxes: str | Path | None = None,
    encoding: str = "",
    linked_images: bool = False,
    moved: bool = False,
    vanished_are_gone: bool = False,
    reread: bool = False,
    scheduler: str | None = None,
    workers: int | None = None,
) -> IngestReport:
    """Bring a cohort's scans, labels or both into the lake. A second run over the same files writes nothing.

    Args:
        lake: the lake.
        cohort: name of a shipped cohort or of one that the lake knows, or path of a TOML description.
        images: folder of scans, at any depth below it.
        labels: one label file or several; rows of a source (``gliolake.ingest.labels.sources``) replace its former
            rows. What several say of a scan is put together, the later counting where both know.
        boxes: CSV file of tumour boxes for scans without a mask (``gliolake.ingest.scans.boxes``); without one, the
            boxes given before stay.
        encoding: what label files are written in that are not in UTF-8; "" to find out.
        linked_images: whether links may leave the images folder, and are followed.
        moved: whether scans that are known from another folder, with other images, are replaced by those of this one.
        vanished_are_gone: whether known scans of this folder that have no file any more are to lose their rows.
        reread: whether every scan is read, also those whose files have the size and time that they had.
        scheduler, workers: as for ``gliolake.cluster.client.open_cluster``. No cluster is started when no scan needs
            reading.

    Raises:
        InputError: nothing to ingest was given, a path is wrong, the description is faulty, the images folder holds no
            file of any scan, or a label file lacks a column. Anything wrong with a single scan or row becomes a row of
            ``exclusions`` instead.
    """
    described = load_cohort(cohort, lake)
    files = [absolute(file) for file in ([labels] if isinstance(labels, str | Path) else labels or [])]
    if images is None and not files:
        raise InputError("There is nothing to ingest.", hint="Give --images DIR, --labels FILE, or both.")
    if boxes is not None and images is None:
        raise InputError("Boxes belong to images, and none are given.", hint="Give --images DIR with --boxes FILE.")
    rules = {name: known.ids for name, known in _declarable(lake, described).items()}
    read, notes = _each_once([read_labels(described, file, rules, encoding=encoding) for file in files])
    given = read_boxes(described, absolute(boxes)) if boxes is not None else None
    news = (
        compare(
            lake,
            described,
            Path(images),
            given,
            linked=linked_images,
            moved=moved,
            gone=vanished_are_gone,
            reread=reread,
        )
        if images is not None
        else None
    )
    arguments: dict[str, object] = {"cohort": described.name, "description": str(cohort)}
    arguments |= {"images": images and str(images), "labels": [str(file) for file in files]}
    arguments |= {"boxes": boxes and str(boxes), "encoding": encoding}
    with start_run(lake, "ingest", arguments) as run:
        numbers: dict[str, object] = {}
        if read:
            run.transact(partial(_commit_labels, cohort=described, files=read))
        if news:
            reading = partial(_outcomes, scheduler=scheduler, workers=workers)
            numbers = _ingest_images(run, described, news, reading, moved=moved)
        report = ingest_report(lake, described, read, notes, numbers)
        fields = {name: getattr(report, name) for name in ("cohort", "found", "read", "scans", "excluded")}
        fields |= {"vanished": len(report.vanished), "removed": len(report.removed), "notes": report.notes}
        fields |= {"problems": report.problems, "label_files": [asdict(file) for file in report.label_files]}
        logger.info("cohort ingested", extra={"fields": fields})
        return report


def _declarable(lake: Lake, described: Cohort) -> dict[str, Cohort]:
    """Descriptions of the cohorts that this one's labels may point to: shipped, in the lake, or itself."""
    known = {**known_cohorts(lake), described.name: described}
    for column in described.labels.columns if described.labels else ():
        if column.cohort and column.cohort not in known:
            try:
                known[column.cohort] = load_cohort(column.cohort)
            except InputError:  # a cohort that nobody has described yet: its ids are kept as they are written
                continue
    return known


def _each_once(files: Sequence[LabelFile]) -> tuple[list[LabelFile], tuple[str, ...]]:
    """The files that differ in path and content, and a note for each of the others."""
    kept: dict[str, LabelFile] = {}
    notes: list[str] = []
    for file in files:
        first = kept.setdefault(file.sha256, file)
        if first.path != file.path:
            notes.append(f"{file.report.file} holds the same as {first.report.file}: it is used once.")
    return list(kept.values()), tuple(notes)


def _commit_labels(tx: Transaction, cohort: Cohort, files: Sequence[LabelFile]) -> None:
    tx.upsert("cohorts", [cohort.row()])
    sources = put(tx, cohort.name, [(file.path, file.sha256) for file in files])
    for file, source in zip(files, sources, strict=True):
        rows, left_out = file.of_source(source)
        tx.replace("labels", {"cohort": cohort.name, "source": source.name}, rows)
        before = tx.read("exclusions", {"cohort": cohort.name, "step": LABELS}).to_pylist()
        former = [row for row in before if row["source"] == file.path or row["fingerprint"] == file.sha256]
        tx.replace_rows("exclusions", former, merged(left_out))
    commit_links(tx)


def commit_links(tx: Transaction) -> None:
    """Find all links anew from what this transaction sees, so that of two ingests at once neither misses one.

    Every commit of scans, labels, or another description of a cohort does so, and so does a repair that takes links
    out with their file: an ingest with nothing new need not.
    """
    cohorts = cohorts_of_rows(tx.read("cohorts"))
    scans = tx.read("scans", columns=["cohort", "scan_id", "source_id", "files"])
    columns = ["cohort", "scan_id", "source", "source_id", "declared_cohort", "declared_id"]
    links = find_links(*rows_to_link(scans, tx.read("labels", columns=columns), cohorts), cohorts)
    for kind in KINDS:
        tx.replace("links", {"kind": kind}, [link for link in links if link["kind"] == kind])


def _ingest_images(
    run: Run, cohort: Cohort, news: News, reading: Callable[[Cohort, Sequence[FoundScan]], Outcomes], *, moved: bool
) -> dict[str, object]:
    """Read what is new or changed and commit it in batches; returns numbers for the report."""

    def first(tx: Transaction) -> None:
        known = tx.read("cohorts", {"cohort": cohort.name})["description"].to_pylist()
        tx.upsert("cohorts", [cohort.row()])
        tx.replace_rows("exclusions", news.cleared, merged(news.exclusions))
        if news.unused is not None:
            tx.replace("exclusions", {"cohort": cohort.name, "step": BOXES}, news.unused)
        _remove(tx, cohort, {*news.removed})
        if news.removed or known != [cohort.text]:  # it may say otherwise which names are those of later visits
            commit_links(tx)

    run.transact(first)

    def commit(batch: list[tuple[FoundScan, ReadScan]]) -> None:
        run.transact(partial(commit_scans, cohort=cohort, root=news.root, batch=batch, moved=moved))

    commit_in_batches(reading(cohort, news.waiting), commit, BATCH, BATCH_SECONDS)
    return {
        "found": news.found,
        "read": len(news.waiting),
        "unchanged": news.found - len(news.waiting),
        "vanished": tuple(scan_id for scan_id in news.vanished if scan_id not in news.removed),
        "removed": tuple(news.removed),
        "cleared": tuple(sorted({row["scan_id"] for row in news.cleared if row["scan_id"]})),
        "problems": tuple(news.problems),
    }


def _outcomes(cohort: Cohort, waiting: Sequence[FoundScan], *, scheduler: str | None, workers: int | None) -> Outcomes:
    """Scans as they are read, on a cluster. A failure that nobody foresaw is an outcome too."""
    if not waiting or cohort.images is None:
        return
    from gliolake.cluster.client import open_cluster
    from gliolake.cluster.tasks import map_tasks
    from gliolake.ingest.scans.images import ReadScan, read_scan, reading_failed

    with open_cluster(scheduler, workers) as client:
        task: Callable[[FoundScan], ReadScan] = partial(read_scan, rules=cohort.images)
        outcomes = map_tasks(client, task, waiting, description=f"reading {cohort.name}")
        for scan, outcome in unless_all_fail(outcomes, _unforeseen):
            if isinstance(outcome, Exception):
                yield scan, ReadScan(None, (reading_failed(scan, outcome),))
            else:
                yield scan, outcome


def _unforeseen(result: tuple[FoundScan, ReadScan | Exception]) -> str | None:
    _, outcome = result
    if isinstance(outcome, Exception):
        return f"{type(outcome).__name__}: {outcome}"
    return None if outcome.row else ""


def commit_scans(
    tx: Transaction, cohort: Cohort, root: Path, batch: Sequence[tuple[FoundScan, ReadScan]], *, moved: bool
) -> None:
    """A sound scan loses its exclusions, a bad one its row in ``scans``.

    Args:
        tx, cohort: the transaction, and the cohort.
        root, batch: the images folder, and what became of each scan that was found in it.
        moved: whether they replace what is known of the same ids from other folders, whatever it is.
    """
    names = {scan.scan_id for scan, _ in batch}
    known = _of_names(tx.read("scans", {"cohort": cohort.name}, ["scan_id", "files"]), names)
    excluded = _of_names(tx.read("exclusions", {"cohort": cohort.name}), names)
    rows: list[Row] = []
    bad: list[Row] = []
    settled: list[Row] = []
    after: list[Row] = []
    for scan, outcome in batch:
        before = [row for row in excluded.get(scan.scan_id, ()) if row["step"] == IMAGES]
        others = [] if moved else [row for row in before if lies_elsewhere(row, root)]
        elsewhere = "" if moved else other_place(scan, outcome.row, known.get(scan.scan_id, ()), others, root)
        if elsewhere:
            before = [row for row in before if row not in others]
            after += outcome.exclusions or [same_id(scan, elsewhere)]
        else:
            before = [row for row in before if row["reason"] != SAME_ID or row["source"] == scan.folder]
            before += [row for row in excluded.get(scan.scan_id, ()) if row["reason"] == CHANGED_FILE]
            after += outcome.exclusions
            rows += [outcome.row] if outcome.row else []
            bad += [] if outcome.row else [{"cohort": cohort.name, "scan_id": scan.scan_id}]
        settled += before
    tx.upsert("scans", rows)
    tx.delete_keys("scans", bad)
    tx.replace_rows("exclusions", settled, merged(after))
    commit_links(tx)


def _remove(tx: Transaction, cohort: Cohort, names: Set[str]) -> None:
    """Take out scans that are gone for good, and all that was computed from their images."""
    for table in ("scans", "features", "volumes", "voxels") if names else ():
        for rows in _of_names(tx.read(table, {"cohort": cohort.name}, [*TABLES[table].key]), names).values():
            tx.delete_keys(table, rows)


def _of_names(rows: pa.Table, names: Set[str]) -> dict[str, list[Row]]:
    """Those rows whose scans have one of the names, by it."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows.filter(pc.is_in(rows["scan_id"], pa.array(names, pa.string()))).to_pylist():
        found[row["scan_id"]].append(row)
    return found
