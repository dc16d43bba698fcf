"""Cohorts described by TOML: the shipped ones hold, and every slip in a description is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from gliolake.errors import InputError
from gliolake.ingest.cohorts.description import load_cohort, parse_cohort, read_cohort

GOOD = load_cohort("ucsf_pdgm").text

SLIPS = {
    "a misspelt key": ("label_rule =", "label_rul =", ["label_rule is missing", "'label_rul'"]),
    "an unknown key": ('name = "ucsf_pdgm"', 'name = "ucsf_pdgm"\nsite = 3', ["site is a key that", "does not know"]),
    "an unknown key, nearly right": ("[labels.idh]", "[labels.idhh]", ["labels.idhh", "Did you mean idh?"]),
    "an unknown rule": ('"ucsf"  #', '"ucfs"  #', ["label_rule is 'ucfs'", "Did you mean ucsf?"]),
    "an unknown role": ('role = "external"', 'role = "released"', ["role is 'released'", "training or external"]),
    "a broken pattern": ("'UCSF-PDGM-(", "'UCSF-PDGM-((", ["ids.pattern is not a regular expression"]),
    "a group that is none": ("[_FU{day}d]", "[_FU{days}d]", ["ids.form names 'days'", "day, number"]),
    "an alias that is no id": ('UCSF-PDGM-0138 = "', 'UCSF-PDGM-138 = "', ["ids.aliases names 'UCSF-PDGM-138'"]),
    "digits that are no number": ("number = 4", 'number = "4"', ["ids.digits.number is '4'", "a whole number"]),
    "a missing modality": ('T2 = "T2"\n', "", ["images.roles.T2 is missing"]),
    "one name for two roles": ('T2 = "T2"', 'T2 = "T1"', ["images.roles uses 'T1' for two"]),
    "a pattern without a role": ("{scan_id}_{role}.nii.gz", "{scan_id}.nii.gz", ["images.patterns", "{role}"]),
    "a mask label that is a word": ("4 = ", "four = ", ["images.mask_labels has a key 'four'"]),
    "background as a mask label": ("4 = ", "0 = ", ["images.mask_labels", "background"]),
    "a step that is none": ('"bias", "denoise"', '"bias", "denoising"', ["done names 'denoising'", "mean denoise?"]),
    "steps that are no list": ('done = ["bias', 'don = ["bias', ["preprocessing.done is missing", "'don'"]),
    "mask labels without a mask": ('mask = "tumor_segmentation"', "", ["images.mask_labels and images.roles.mask"]),
    "no id column": ('id = "ID"\n', "", ["labels.id is missing"]),
    "a status of its own": ('= "methylated"', '= "positive"', ["labels.mgmt_status.values gives 'positive'"]),
    "statuses not explained": ("values = { positive", "valves = { positive", ["labels.mgmt_status.valves", "values"]),
    "a word for true": ("Yes = true", 'Yes = "true"', ["labels.biopsied_before_imaging.values gives 'true'", "bool"]),
    "no TOML": ("[images]", "[images", ["is not a TOML file"]),
    "a name that is no folder": ('"ucsf_pdgm"', '"../ucsf"', ["name is '../ucsf'"]),
}  # fmt: skip


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_in_a_description_is_named_with_its_file_and_key(slip: str) -> None:
    right, wrong, expected = SLIPS[slip]
    assert right in GOOD
    with pytest.raises(InputError) as caught:
        parse_cohort(GOOD.replace(right, wrong, 1), "third.toml")
    said = f"{caught.value} {caught.value.hint}"
    for part in ("third.toml", *expected):
        assert part in said


def test_all_slips_of_a_description_are_told_at_once() -> None:
    text = GOOD
    for slip in ("an unknown rule", "a missing modality", "digits that are no number", "statuses not explained"):
        right, wrong, _ = SLIPS[slip]
        text = text.replace(right, wrong, 1)
    with pytest.raises(InputError) as caught:
        parse_cohort(text, "third.toml")
    first, *faults = str(caught.value).splitlines()
    assert first == "third.toml has 4 faults:"
    assert [fault.split()[0] for fault in faults] == [
        "label_rule",
        "ids.digits.number",
        "images.roles.T2",
        "labels.mgmt_status.valves",
    ]


def test_a_cohort_is_found_by_name_or_by_path_and_a_wrong_name_gets_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "third.toml"
    path.write_text(GOOD.replace('"ucsf_pdgm"', '"third"'), encoding="utf-8")
    assert load_cohort(path).name == load_cohort(str(path)).name == "third"
    with pytest.raises(InputError, match="ucsf_pgdm") as caught:
        load_cohort("ucsf_pgdm")
    assert "ucsf_pdgm" in caught.value.hint
    assert "TOML" in caught.value.hint or ".toml" in caught.value.hint
    with pytest.raises(InputError, match=r"nowhere\.toml cannot be read"):
        read_cohort(tmp_path / "nowhere.toml")


def test_a_cohort_is_raw_where_a_step_is_left_that_neither_clips_do_nor_a_template_is_needed_for() -> None:
    done = 'done = ["bias", "denoise", "align", "coregister", "resample"]'
    assert done in GOOD
    for given, raw in (
        (done, False),
        ('done = ["resample", "align", "bias", "denoise"]', False),
        ('done = ["bias", "denoise", "coregister", "resample", "fit", "normalise"]', True),
        ("done = []", True),
    ):
        cohort = parse_cohort(GOOD.replace(done, given), "third.toml")
        assert cohort.images
        assert (cohort.raw, cohort.images.several_grids) == (raw, raw)
    silent = parse_cohort(GOOD.replace(done, "").replace("[preprocessing]", ""), "third.toml")
    assert (silent.done, silent.raw) == (None, False)
