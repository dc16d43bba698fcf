"""Lists that a user gives: entries counted, repeats named, strangers told."""

from __future__ import annotations

from pathlib import Path

import pytest

from gliolake.errors import InputError
from gliolake.ingest.pipeline import ingest
from gliolake.ingest.scan_lists import ingest_list
from gliolake.storage.lake import Lake


def test_table_s2_has_81_entries_for_80_scans_and_names_one_twice(lake: Lake, reference: Path) -> None:
    ingest(lake, "ucsf_pdgm", labels=reference / "ucsf_pdgm" / "UCSF-PDGM-metadata_v5.csv")
    file = reference / "paper" / "table_s2_external_patients.csv"
    report = ingest_list(lake, "ucsf_pdgm", "table_s2", file)
    assert (report.entries, report.scans, report.repeated) == (81, 80, ("UCSF-PDGM-0284",))
    assert (report.unreadable, report.unknown) == ((), ())
    rows = lake.read("scan_lists").to_pylist()
    assert len(rows) == 80
    assert [row["scan_id"] for row in rows if row["entries"] == 2] == ["UCSF-PDGM-0284"]
    version = lake.version
    assert ingest_list(lake, "ucsf_pdgm", "table_s2", file) == report
    assert lake.version == version


def test_a_list_needs_no_header_and_may_have_other_columns_and_strangers(lake: Lake, tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text("3,UCSF-PDGM-004\n4,UCSF-PDGM-0005\n5,P-17\n6,UCSF-PDGM-5\n")
    report = ingest_list(lake, "ucsf_pdgm", "mine", file)
    assert (report.entries, report.scans) == (4, 2)
    assert report.repeated == ("UCSF-PDGM-0005",)
    assert report.unreadable == ("line 3 (A-99)",)
    assert report.unknown == ("UCSF-PDGM-0004", "UCSF-PDGM-0005")
    file.write_text("UCSF-PDGM-004\n")
    assert ingest_list(lake, "ucsf_pdgm", "mine", file).replaced == 2
    assert ingest_list(lake, "ucsf_pdgm", "mine", file).replaced == 0
    assert lake.read("scan_lists").column("scan_id").to_pylist() == ["UCSF-PDGM-0004"]
    file.write_text("who,what\na,b\n")
    with pytest.raises(InputError, match="names no scan of ucsf_pdgm"):
        ingest_list(lake, "ucsf_pdgm", "mine", file)
