"""Whole runs of ingest: what lands in the lake, what a second run does, and what changes when files change."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nibabel as nib
import pytest
from typer.testing import CliRunner

from gliolake.cli.app import app
from gliolake.cli.output import dumped, rendered
from gliolake.cluster.tasks import commit_in_batches
from gliolake.errors import InputError
from gliolake.ingest import pipeline as room
from gliolake.ingest.pipeline import ingest
from gliolake.ingest.scans.images import ReadScan, reading_failed
from gliolake.sql.catalog import connect
from gliolake.sql.status import LATELY, status
from gliolake.storage.commit_log import read_commit
from gliolake.storage.lake import Lake

NOWHERE = "tcp://127.0.0.1:9"
"""A scheduler that does not answer: a run that is given it fails if it tries to read a scan."""

IDS = [f"BraTS2021_{n:05d}" for n in (1, 2, 3)]
UCSF_SUFFIXES = {"FLAIR": "FLAIR", "T1": "T1", "T1wCE": "T1c", "T2": "T2", "mask": "tumor_segmentation"}


@pytest.fixture
def folder(tmp_path: Path, writer: Any) -> Path:
    """Two sound scans and one whose T2 is cut."""
    root = tmp_path / "images"
    for seed, scan_id in enumerate(IDS):
        files = writer.scan(root, scan_id, seed)
    files["T2"].write_bytes(files["T2"].read_bytes()[:700])
    return root


def rows(lake: Lake, table: str, *columns: str, **where: str) -> list[tuple[Any, ...]]:
    return sorted(tuple(row[c] for c in columns) for row in lake.read(table, where or None).to_pylist())


def test_scans_that_an_ingest_leaves_out_anew_are_a_problem_until_they_are_mended_or_old_news(
    lake: Lake, folder: Path, tmp_path: Path, scheduler: str
) -> None:
    def ingested(**given: Path) -> list[str]:
        ingest(lake, "brats21", scheduler=scheduler, **given)
        return status(lake).problems

    assert ingested(images=folder) == [], "the first ingest has nothing to be compared with"
    victim = folder / IDS[0] / f"{IDS[0]}_t1.nii.gz"
    whole = victim.read_bytes()
    victim.write_bytes(whole[:700])
    (problem,) = ingested(images=folder)
    assert re.fullmatch(r"scans of brats21 newly left out by \S+-ingest-\w+: 1 \(unreadable file\)", problem)
    assert ingested(images=folder) == [problem], "a run that changes nothing is no run"
    (tmp_path / "labels.csv").write_text("BraTS21ID,MGMT_value\n1,1\n")
    assert ingested(labels=tmp_path / "labels.csv") == [problem], "labels say nothing of images"
    assert status(lake, datetime.now(UTC) + LATELY).problems == []
    victim.write_bytes(whole)
    assert ingested(images=folder) == []
    assert status(lake).cohorts[0]["excluded"] == 1
    (tmp_path / "labels.csv").write_text("BraTS21ID,MGMT_value\n1,x\n2,y\n")
    (problem,) = ingested(labels=tmp_path / "labels.csv")
    assert problem.endswith(": 2 (unreadable value)")


def test_a_run_commits_sound_scans_and_reasons_and_a_second_run_reads_and_writes_nothing(
    lake: Lake, folder: Path, scheduler: str, files_of: Callable[[Lake], dict[str, bytes]]
) -> None:
    report = ingest(lake, "brats21", images=folder, scheduler=scheduler)
    assert (report.found, report.read, report.unchanged, report.scans) == (3, 3, 0, 2)
    assert report.excluded == {"unreadable file": 1}
    assert rows(lake, "scans", "scan_id") == [(IDS[0],), (IDS[1],)]
    ((scan_id, reason, source),) = rows(lake, "exclusions", "scan_id", "reason", "source")
    assert (scan_id, reason) == (IDS[2], "unreadable file")
    assert source.endswith(f"{IDS[2]}_t2.nii.gz")
    ((cohort, role, rule),) = rows(lake, "cohorts", "cohort", "role", "label_rule")
    assert (cohort, role, rule) == ("brats21", "training", "brats21")
    before = files_of(lake)
    again = ingest(lake, "brats21", images=folder, scheduler=NOWHERE)
    assert (again.read, again.unchanged, again.scans, again.excluded) == (0, 3, 2, report.excluded)
    assert files_of(lake) == before
    os.utime(folder / IDS[0] / f"{IDS[0]}_t1.nii.gz")
    touched = ingest(lake, "brats21", images=folder, scheduler=scheduler)
    assert (touched.read, touched.unchanged, touched.scans) == (1, 2, 2)


def test_a_mended_scan_loses_its_exclusion_and_a_spoilt_one_its_row(
    lake: Lake, folder: Path, writer: Any, scheduler: str
) -> None:
    ingest(lake, "brats21", images=folder, scheduler=scheduler)
    writer.scan(folder, IDS[2], 2)
    (folder / IDS[0] / f"{IDS[0]}_t1.nii.gz").unlink()
    report = ingest(lake, "brats21", images=folder, scheduler=scheduler)
    assert (report.read, report.unchanged) == (2, 1)
    assert rows(lake, "scans", "scan_id") == [(IDS[1],), (IDS[2],)]
    assert rows(lake, "exclusions", "scan_id", "reason") == [(IDS[0], "missing modality")]


def test_a_scan_that_vanished_is_kept_and_told_and_its_exclusion_goes_with_its_folder(
    lake: Lake, folder: Path, scheduler: str
) -> None:
    ingest(lake, "brats21", images=folder, scheduler=scheduler)
    shutil.rmtree(folder / IDS[0])
    shutil.rmtree(folder / IDS[2])
    report = ingest(lake, "brats21", images=folder, scheduler=scheduler)
    assert (report.vanished, report.cleared) == ((IDS[0],), (IDS[2],))
    assert rows(lake, "scans", "scan_id") == [(IDS[0],), (IDS[1],)]
    assert rows(lake, "exclusions", "scan_id") == []


def test_a_run_after_a_crash_reads_only_what_was_not_committed(
    lake: Lake, folder: Path, writer: Any, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "BATCH", 1)
    read = room._outcomes

    def failing(*arguments: Any, **options: Any) -> Any:
        for number, outcome in enumerate(read(*arguments, **options)):
            if number == 2:
                raise KeyboardInterrupt
            yield outcome

    monkeypatch.setattr(room, "_outcomes", failing)
    with pytest.raises(KeyboardInterrupt):
        ingest(lake, "brats21", images=folder, scheduler=scheduler)
    assert lake.read("runs").column("outcome").to_pylist() == ["KeyboardInterrupt: "]
    monkeypatch.undo()
    report = ingest(lake, "brats21", images=folder, scheduler=scheduler)
    assert (report.read, report.unchanged) == (1, 2)
    assert (report.scans, report.excluded) == (2, {"unreadable file": 1})


def test_work_is_committed_after_so_many_scans_or_so_much_time() -> None:
    times = iter([0.0, 1.0, 2.0, 40.0, 41.0, 41.5, 42.0])
    scans = iter([(None, ReadScan(None))] * 5)
    found: list[list[Any]] = []
    commit_in_batches(scans, found.append, room.BATCH, room.BATCH_SECONDS, clock=lambda: next(times))
    assert [len(batch) for batch in found] == [3, 2]


def test_a_failure_that_nobody_foresaw_costs_its_scan_and_is_tried_again(
    lake: Lake, folder: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = room._outcomes

    def killed(*arguments: Any, **options: Any) -> Any:
        for scan, outcome in read(*arguments, **options):
            failed = ReadScan(None, (reading_failed(scan, RuntimeError("worker died")),))
            yield scan, failed if scan.scan_id == IDS[0] else outcome

    monkeypatch.setattr(room, "_outcomes", killed)
    ingest(lake, "brats21", images=folder, scheduler=scheduler)
    assert ("reading failed", "RuntimeError: worker died") in rows(lake, "exclusions", "reason", "detail")
    monkeypatch.undo()
    report = ingest(lake, "brats21", images=folder, scheduler=scheduler)
    assert (report.read, report.scans, report.excluded) == (1, 2, {"unreadable file": 1})


def test_labels_may_come_before_or_after_images_and_both_report_what_lacks_the_other(
    lake: Lake, folder: Path, tmp_path: Path, scheduler: str, files_of: Callable[[Lake], dict[str, bytes]]
) -> None:
    labels = tmp_path / "train_labels.csv"
    labels.write_text("BraTS21ID,MGMT_value\n00001,1\n00009,0\n00003,0\n00010,x\n")
    report = ingest(lake, "brats21", labels=labels)
    assert report.labels == {"train_labels": 3}
    assert report.excluded == {"unreadable value": 1}
    report = ingest(lake, "brats21", images=folder, scheduler=scheduler)
    assert report.labels_without_images == ("BraTS2021_00009",)
    assert report.images_without_labels == (IDS[1],)
    assert json.loads(json.dumps(dumped(report)))["labels"] == {"train_labels": 3}
    before = files_of(lake)
    ingest(lake, "brats21", images=folder, labels=[labels], scheduler=NOWHERE)
    assert files_of(lake) == before
    labels.write_text("BraTS21ID,MGMT_value\n00001,0\n")
    report = ingest(lake, "brats21", labels=labels)
    assert rows(lake, "labels", "scan_id", "mgmt_status") == [(IDS[0], "unmethylated")]
    assert report.excluded == {"unreadable file": 1}


def test_a_run_with_nothing_to_do_or_a_wrong_path_says_so(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to ingest"):
        ingest(lake, "brats21")
    with pytest.raises(InputError, match="not a folder"):
        ingest(lake, "brats21", images=tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"labels\.csv cannot be read"):
        ingest(lake, "brats21", labels=tmp_path / "labels.csv")
    assert lake.version == 0


THIRD = """
name = "third"
role = "external"
label_rule = "ucsf"
[ids]
pattern = 'sub-(?P<who>\\d+)(?:_ses-(?P<day>\\d+))?'
form = "sub-{who}[_ses-{day}]"
subject = "sub-{who}"
visit_day = "day"
digits = { who = 3 }
[images]
patterns = ["derivatives/*/{scan_id}_space-SRI_{role}.nii.gz"]
[images.roles]
FLAIR = "t2f"
T1 = "t1n"
T1wCE = ["t1c", "t1gd"]
T2 = "t2w"
mask = "label"
[images.mask_labels]
1 = "core"
2 = "oedema"
4 = "enhancing"
[labels]
id = "participant_id"
missing = ["", "n/a"]
[labels.mgmt_status]
column = "mgmt"
values = { "+" = "methylated", "-" = "unmethylated" }
[labels.declared_id]
column = "same_as"
cohort = "brats21"
[labels.dead]
column = "vital"
values = { deceased = true, living = false }
"""


def test_a_third_cohort_is_ingested_from_its_description_alone(
    lake: Lake, tmp_path: Path, writer: Any, scheduler: str
) -> None:
    described = tmp_path / "third.toml"
    described.write_text(THIRD)
    root = tmp_path / "bids"
    suffixes = {"FLAIR": "t2f", "T1": "t1n", "T1wCE": "t1gd", "T2": "t2w", "mask": "label"}
    for seed, name in enumerate(("sub-7", "sub-7_ses-90")):
        writer.scan(root, name, seed, pattern="derivatives/any/{scan_id}_space-SRI_{suffix}.nii.gz", suffixes=suffixes)
    labels = tmp_path / "participants.tsv"
    labels.write_text("participant_id\tsame_as\tmgmt\tvital\nsub-007\t12\t+\tliving\nsub-8\tn/a\tn/a\tn/a\n")
    report = ingest(lake, described, images=root, labels=labels, scheduler=scheduler)
    assert (report.cohort, report.scans, report.excluded) == ("third", 2, {})
    assert rows(lake, "scans", "scan_id", "subject_id", "visit_day") == [
        ("sub-007", "sub-007", 0),
        ("sub-007_ses-90", "sub-007", 90),
    ]
    assert rows(lake, "labels", "scan_id", "mgmt_status", "dead", "declared_id") == [
        ("sub-007", "methylated", False, "BraTS2021_00012"),
        ("sub-008", "unknown", None, None),
    ]
    assert rows(lake, "links", "kind", "scan_a", "scan_b") == [
        ("declared", "BraTS2021_00012", "sub-007"),
        ("follow-up", "sub-007", "sub-007_ses-90"),
    ]
    described.unlink()
    assert ingest(lake, "third", labels=labels).links == {"declared": 1, "follow-up": 1}


def stored_again(source: Path, target: Path, role: str) -> None:
    """The image turned, rescaled to 16 bits or to 8, or in another type: what programs make of it without a wish."""
    image = nib.load(source)
    values = image.get_fdata()
    target.parent.mkdir(parents=True, exist_ok=True)
    header = nib.Nifti1Header(endianness=">" if role == "t1ce" else "<")
    header.set_data_dtype({"t1": "int16", "t2": "uint8", "seg": "uint8"}.get(role, "float32"))
    made = nib.Nifti1Image(values / values.max() if role == "t1" else values, image.affine, header)
    nib.as_closest_canonical(made).to_filename(target)


def test_one_patient_in_two_cohorts_is_recognised_by_its_values_with_no_metadata(
    lake: Lake, tmp_path: Path, reference: Path, scheduler: str
) -> None:
    brats, ucsf = "BraTS2021_00000", "UCSF-PDGM-0057"
    for role, suffix in zip(("flair", "t1", "t1ce", "t2", "seg"), UCSF_SUFFIXES.values(), strict=True):
        source = reference / "scans" / "BraTS21" / brats / f"{brats}_{role}.nii.gz"
        stored_again(source, tmp_path / "ucsf" / f"{ucsf}_nifti" / f"{ucsf}_{suffix}.nii.gz", role)
    (tmp_path / "ucsf.csv").write_text(f"ID,MGMT status,MGMT index\n{ucsf},positive,3\n")
    (tmp_path / "brats.csv").write_text("BraTS21ID,MGMT_value\n0,1\n1480,0\n")
    ingest(lake, "ucsf_pdgm", images=tmp_path / "ucsf", labels=tmp_path / "ucsf.csv", scheduler=scheduler)
    report = ingest(lake, "brats21", images=reference / "scans", labels=tmp_path / "brats.csv", scheduler=scheduler)
    assert (report.found, report.scans, report.links) == (2, 2, {"same content": 1})
    ((a, b, evidence),) = rows(lake, "links", "scan_a", "scan_b", "evidence")
    assert (a, b) == (brats, ucsf)
    assert [part.split()[0] for part in evidence.split(", ")] == ["FLAIR", "T1", "T1wCE", "T2"]
    audited = 'SELECT "check", violations FROM split_audit WHERE violations > 0'
    with connect(lake) as connection:
        assert connection.sql("SELECT count(*) FROM external").fetchall() == [(0,)]
        assert connection.sql("SELECT scan_id FROM overlap").fetchall() == [(ucsf,)]
        assert connection.sql(audited).fetchall() == []
    assert rows(lake, "scans", "warnings", cohort="ucsf_pdgm") == [(["mask: labels rounded to whole numbers"],)]
    (of_brats,), (of_ucsf,) = (rows(lake, "scans", "tumour_box", "mask_labels", scan_id=scan) for scan in (brats, ucsf))
    assert of_brats == of_ucsf
    lake.transact(lambda tx: tx.replace("links", {"kind": "same content"}, []), run_id="hand")
    with connect(lake) as connection:
        assert ("the same image is both in training and external", 4) in connection.sql(audited).fetchall()


@pytest.mark.parametrize("releases", [("v2",), ("v5",), ("v2", "v5"), ("v5", "v2")])
def test_the_public_label_files_give_the_public_links(lake: Lake, reference: Path, releases: tuple[str, ...]) -> None:
    ingest(lake, "brats21", labels=reference / "brats21" / "train_labels.csv")
    for release in releases:
        report = ingest(lake, "ucsf_pdgm", labels=reference / "ucsf_pdgm" / f"UCSF-PDGM-metadata_{release}.csv")
    assert report.links == {"declared": 298, "follow-up": 6}
    assert report.labels == {f"UCSF-PDGM-metadata_{release}": 501 for release in sorted(releases)}
    assert len({(kind, a, b) for kind, a, b in rows(lake, "links", "kind", "scan_a", "scan_b")}) == 304
    follow_ups = {b for kind, b in rows(lake, "links", "kind", "scan_b") if kind == "follow-up"}
    assert follow_ups == {
        "UCSF-PDGM-0391_FU016d",
        "UCSF-PDGM-0396_FU175d",
        "UCSF-PDGM-0409_FU001d",
        "UCSF-PDGM-0429_FU003d",
        "UCSF-PDGM-0431_FU001d",
        "UCSF-PDGM-0433_FU007d",
    }


def test_of_two_ingests_at_once_neither_misses_a_link(
    lake: Lake, tmp_path: Path, writer: Any, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.scan(tmp_path / "brats", IDS[0], 5)
    pattern = "{scan_id}_nifti/{scan_id}_{suffix}.nii.gz"
    writer.scan(tmp_path / "ucsf", "UCSF-PDGM-0007", 5, pattern=pattern, suffixes=UCSF_SUFFIXES)
    commit = room.commit_links
    rival = iter([True])

    def overtaken(tx: Any) -> None:
        commit(tx)
        if tx.read("scans").num_rows and next(rival, False):  # this one has a scan, and has looked for links
            ingest(Lake(lake.root), "ucsf_pdgm", images=tmp_path / "ucsf", scheduler=scheduler)

    monkeypatch.setattr(room, "commit_links", overtaken)
    ingest(lake, "brats21", images=tmp_path / "brats", scheduler=scheduler)
    assert rows(lake, "scans", "cohort") == [("brats21",), ("ucsf_pdgm",)]
    assert rows(lake, "links", "kind", "scan_a", "scan_b") == [("same content", IDS[0], "UCSF-PDGM-0007")]
    assert next(rival, "overtaken") == "overtaken"


def test_a_repair_that_takes_links_out_finds_them_anew_in_the_same_commit(lake: Lake, tmp_path: Path) -> None:
    labels = tmp_path / "meta.csv"
    labels.write_text("ID,MGMT status\nUCSF-PDGM-0391_FU016d,positive\nUCSF-PDGM-0396_FU175d,negative\n")
    ingest(lake, "ucsf_pdgm", labels=labels)
    before = rows(lake, "links", "kind", "scan_a", "scan_b")
    (file,) = lake.state().of_table("links")
    Path(lake.root, file.path).write_bytes(b"PAR1")
    version = lake.version
    done = CliRunner().invoke(app, ["verify", "--lake", lake.root, "--repair", "--json"])
    assert json.loads(done.stdout)["findings"][0]["table"] == "links", done.output
    reopened = Lake(lake.root)
    assert rows(reopened, "links", "kind", "scan_a", "scan_b") == before != []
    removed, *others = [read_commit(lake.files, number) for number in range(version + 1, reopened.version + 1)]
    assert removed is not None
    assert [touched.table for touched in removed.removed] == ["links"]
    assert "links" in {added.table for added in removed.added}
    assert not any(touched.table == "links" for other in others if other for touched in other.touches())


def test_links_of_other_kinds_are_left_alone(lake: Lake, tmp_path: Path) -> None:
    suspected = {"cohort_a": "brats21", "scan_a": "x", "cohort_b": "brats21", "scan_b": "y",
                 "kind": "suspected", "evidence": "hand", "score": 0.4}  # fmt: skip
    lake.transact(lambda tx: tx.append("links", [suspected]), run_id="hand")
    labels = tmp_path / "meta.csv"
    labels.write_text("ID,MGMT status\nUCSF-PDGM-0391_FU016d,positive\n")
    ingest(lake, "ucsf_pdgm", labels=labels)
    assert rows(lake, "links", "kind") == [("follow-up",), ("suspected",)]


def test_a_report_prints_names_from_files_as_they_are(lake: Lake, tmp_path: Path) -> None:
    from io import StringIO

    from rich.console import Console

    labels = tmp_path / "[bold]x.csv"
    labels.write_text("BraTS21ID,MGMT_value\n00001,1\n")
    out = Console(file=StringIO(), width=100)
    out.print(rendered(ingest(lake, "brats21", labels=labels)))
    assert "labels from [bold]x" in out.file.getvalue()  # type: ignore[attr-defined]
