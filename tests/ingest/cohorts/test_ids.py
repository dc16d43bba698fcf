"""Scan ids: however a source writes one, the lake has one form of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gliolake.ingest.cohorts.description import load_cohort

V2_FOLLOW_UPS = {
    "289": "UCSF-PDGM-0391_FU016d",
    "175": "UCSF-PDGM-0396_FU175d",
    "181": "UCSF-PDGM-0409_FU001d",
    "138": "UCSF-PDGM-0429_FU003d",
    "278": "UCSF-PDGM-0431_FU001d",
    "315": "UCSF-PDGM-0433_FU007d",
}


@given(
    number=st.integers(0, 99999), zeros=st.integers(0, 5), prefix=st.sampled_from(["", "BraTS2021_", "  BraTS2021_"])
)
def test_brats21_ids_have_one_form_however_many_zeros_a_spreadsheet_left(number: int, zeros: int, prefix: str) -> None:
    ids = load_cohort("brats21").ids
    written = f"{prefix}{str(number).rjust(min(5, zeros), '0')}"
    parsed = ids.parse(written)
    assert parsed is not None
    assert parsed.scan_id == parsed.subject_id == f"BraTS2021_{number:05d}"
    assert ids.parse(parsed.scan_id) == parsed


@given(
    number=st.integers(1, 9999),
    width=st.integers(3, 4),
    day=st.none() | st.integers(1, 9999),
    ending=st.sampled_from(["", "_nifti"]),
)
def test_ucsf_ids_have_one_form_in_folders_and_metadata(number: int, width: int, day: int | None, ending: str) -> None:
    ids = load_cohort("ucsf_pdgm").ids
    suffix = f"_FU{day:03d}d" if day else ""
    parsed = ids.parse(f"UCSF-PDGM-{number:0{width}d}{suffix}{ending}")
    assert parsed is not None
    if day or f"{number:03d}" not in V2_FOLLOW_UPS:
        assert parsed.scan_id == f"UCSF-PDGM-{number:04d}{suffix}"
        assert (parsed.subject_id, parsed.visit_day) == (f"UCSF-PDGM-{number:04d}", day or 0)
    assert ids.parse(parsed.scan_id) is not None
    assert ids.parse(parsed.scan_id).scan_id == parsed.scan_id  # type: ignore[union-attr]


@pytest.mark.parametrize("number", V2_FOLLOW_UPS)
def test_the_v2_number_of_a_follow_up_is_the_scan_that_v5_names(number: str) -> None:
    parsed = load_cohort("ucsf_pdgm").ids.parse(f"UCSF-PDGM-{number}")
    assert parsed is not None
    assert parsed.scan_id == V2_FOLLOW_UPS[number]
    assert parsed.written_id == f"UCSF-PDGM-0{number}"
    assert parsed.by_alias


@pytest.mark.parametrize(
    "name", ["", "BraTS2021_", "BraTS2021_123456", "BraTS2020_00001", "12a", "٣٤", "00001/../2", "x 1"]
)
def test_what_is_no_id_is_not_made_one(name: str) -> None:
    assert load_cohort("brats21").ids.parse(name) is None
