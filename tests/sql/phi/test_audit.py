"""The audit for identity: what strangers plant in their files does not come in, what is planted in a lake is found."""

from __future__ import annotations

import json
import re
import time
from io import StringIO
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from rich.console import Console

from gliolake.cli.output import dumped, rendered
from gliolake.features.preprocessing.command import preprocess_cohorts
from gliolake.features.preprocessing.settings import PreprocessSettings
from gliolake.ingest.pipeline import ingest
from gliolake.ingest.readers.dicom import read_dicom_series
from gliolake.ingest.scans.images import read_image
from gliolake.sql.audit import audit
from gliolake.sql.phi.patterns import kinds_in, shape_in
from gliolake.storage.lake import Lake
from tests.support.dicom import COHORT, image, write
from tests.support.scans import ScanWriter

TEXTS = ("identifying.txt", "harmless.txt")

PLANTED = {
    "date": "seen on 1950-01-31",
    "person's name": "Meier^Anna",
    "DICOM UID": "1.2.840.113619.2.55.3",
    "patient's or accession number": "Accession: A77",
    "e-mail address": "anna.meier@example.org",
    "path with a user's name": "/home/ameier/scans",
    "host name": "pacs01.radiology.local",
}


@pytest.mark.parametrize(("kind", "text"), PLANTED.items())
def test_each_kind_is_known_by_its_form_and_shown_without_its_letters_and_digits(kind: str, text: str) -> None:
    assert kind in kinds_in(text)
    assert not {*shape_in(text, kind)} & {*"bcdfghjklmnopqrstuvwxyz01234567"}


@pytest.mark.parametrize(
    "text",
    ["BraTS2021_00001", "0.1.0 (f554bf74fc4a)", "2026.4.0", "^(a|b)$", "a" * 40, "20261301", "/data/brats/x.nii.gz",
     "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "UCSF-PDGM-0004_FU003d", "x0^2"],
)  # fmt: skip
def test_what_a_lake_says_of_itself_is_no_identity(text: str) -> None:
    assert kinds_in(text) == ()


def test_of_texts_that_identify_95_percent_are_found_and_of_harmless_ones_2_percent_are_taken_for_such() -> None:
    listed = [Path(__file__).with_name(name).read_text("utf-8").splitlines() for name in TEXTS]
    missed = [text for text in listed[0] if not kinds_in(text)]
    false = [text for text in listed[1] if kinds_in(text)]
    assert min(map(len, listed)) >= 100
    print(f"found {len(listed[0]) - len(missed)} of {len(listed[0])}, false {len(false)} of {len(listed[1])}")
    assert len(missed) <= 0.05 * len(listed[0]), missed
    assert len(false) <= 0.02 * len(listed[1]), false


@pytest.mark.parametrize(
    "piece", ["a", "1.", "A. ", "1-", "/a", "a@", "a.", "0:", "Aa, ", "^a", "12 Aa ", "patient id", "\\"]
)
def test_a_long_text_made_to_be_slow_is_not(piece: str) -> None:
    text = piece * (10_000 // len(piece))
    begun = time.process_time()
    kinds_in(text)
    assert time.process_time() - begun < 2


def test_how_scans_are_named_is_shown_for_a_person_to_judge_and_nothing_is_called_clean(lake: Lake, label: Any) -> None:
    rows = [label(number) for number in range(3)] + [label(9, scan_id="SCHMITZ", source_id="SCHMITZ")]
    lake.transact(lambda transaction: transaction.append("labels", rows), run_id="hand")
    report = audit(lake)
    assert report.findings == ()
    assert {(one.column, one.shape, one.names) for one in report.namings} == {
        ("source_id", "9", 3), ("source_id", "AAAAAAA", 1),
    }  # fmt: skip
    shown = StringIO()
    Console(file=shown, width=80).print(rendered(report))
    assert "No known form" in shown.getvalue()
    assert "AAAAAAA" in shown.getvalue()
    assert "clean" not in shown.getvalue() + json.dumps(dumped(report))


def test_what_is_planted_in_a_lake_by_hand_is_found_by_table_and_column_and_not_shown(lake: Lake, label: Any) -> None:
    rows = [label(n, diagnosis=text) for n, text in enumerate(PLANTED.values())]
    header = nib.Nifti1Header()
    header["descrip"], header["aux_file"], header["magic"] = PLANTED["person's name"], "of ward 7", b"n+1"
    header["vox_offset"] = 352 + 32
    hidden = bytes([1, 0, 0, 0]) + b" \0\0\0\6\0\0\0" + PLANTED["date"].encode().ljust(24, b"\0")
    key = {"volume_set": "v", "cohort": "c", "scan_id": "s", "role": "T1"}

    def plant(tx: Any) -> None:
        tx.append("labels", rows)
        tx.append("voxels", [key | {"nifti": header.binaryblock + hidden}])

    lake.transact(plant, run_id="hand")
    report = audit(lake)
    found = {(one.table, one.column, one.kind): one.rows for one in report.findings}
    assert found == {("labels", "diagnosis", kind): 1 for kind in PLANTED} | {
        ("labels", "diagnosis", "person's name"): 2,  # the mail address says hers as well
        ("voxels", "nifti.descrip", "person's name"): 1,
        ("voxels", "nifti.aux_file", "text that gliolake does not write"): 1,
        ("voxels", "nifti.extensions", "date"): 1,
    }
    told = json.dumps(dumped(report))
    assert all(secret not in told for secret in ("Meier", "Anna", "1950", "113619", "ameier", "pacs01", "A77"))


def test_identity_in_dicom_tags_and_nifti_headers_does_not_come_in(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "clinic.toml").write_text(COHORT, encoding="utf-8")
    (tmp_path / "boxes.csv").write_text("scan_id,x0,x1,y0,y1,z0,z1\nS001,1,4,2,5,0,3\nS002,1,4,2,5,0,3\n")
    for scan in ("S001", "S002"):
        for number, role in enumerate(("flair", "t1", "t1 gad", "t2")):
            write(tmp_path / "dicom" / scan / role, image() + number, prefix="Meier^Anna_")
    next((tmp_path / "dicom" / "S002" / "t1").iterdir()).write_bytes(b"x" * 128 + b"DICM" + b"Meier^Anna 19500101")
    write(tmp_path / "dicom" / "S002" / "t2", image(), series="1.2.840.99.7.7.7", prefix="1.2.840.113619.2.55.")
    writer = ScanWriter()
    files = writer.scan(tmp_path / "nifti", "BraTS2021_00001")
    for path in files.values():
        made = nib.load(path)
        stored = nib.Nifti1Image(np.asanyarray(made.dataobj), made.affine)
        stored.header["descrip"], stored.header["aux_file"] = "Meier^Anna 19500101", "/home/ameier"
        stored.header["intent_name"], stored.header["db_name"] = "Meier^Anna", "19500101"
        stored.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"1.2.840.113619.2.55.3 Meier^Anna"))
        stored.to_filename(path)
    ingest(lake, tmp_path / "clinic.toml", tmp_path / "dicom", boxes=tmp_path / "boxes.csv", workers=1)
    ingest(lake, "brats21", tmp_path / "nifti", workers=1)
    preprocess_cohorts(lake, cohorts=["clinic"], settings=PreprocessSettings(steps=("resample",)), workers=1)
    assert lake.read("scans").num_rows == 2
    assert lake.read("exclusions").num_rows >= 2
    assert lake.read("voxels").num_rows == 4
    assert audit(lake).findings == ()
    kept = b"".join(path.read_bytes() for path in Path(lake.root).rglob("*.json"))
    for table in ("scans", "exclusions", "voxels", "volumes", "runs", "cohorts"):
        kept += repr(lake.read(table).to_pylist()).encode()
    # Some digests and nanoseconds since 1970 hold 1950 or 4711 by chance; nothing that was put in has their length.
    # So may the numbers that an image is known by.
    kept = re.sub(rb"\b(?:[0-9a-f]{64}|[0-9a-f]{32}|\d{19}|\d+\.\d{6,})\b", b"", kept)
    assert all(secret not in kept for secret in (b"Meier", b"Anna", b"1950", b"4711", b"113619", b"840.99"))
    assert read_dicom_series(tmp_path / "dicom" / "S001" / "t1").description == ""
    assert read_image(str(files["T1"])).voxels.any()
