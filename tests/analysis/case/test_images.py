"""Which file of a folder is which image, and what is said when one cannot be used."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gliolake.analysis.case.images import read_case
from gliolake.errors import InputError
from gliolake.schema.vocabulary import MODALITIES

UCSF = {"flair": "FLAIR", "t1": "T1", "t1ce": "T1c", "t2": "T2", "seg": "tumor_segmentation"}


def test_a_case_is_read_whatever_shipped_cohort_its_files_are_named_like(make_case: Any) -> None:
    brats = make_case("brats")
    plain, ucsf = make_case("plain"), make_case("ucsf")
    for ending, other in UCSF.items():
        (plain / f"x_{ending}.nii.gz").rename(plain / f"{ending.upper()}.nii.gz")
        (ucsf / f"x_{ending}.nii.gz").rename(ucsf / f"UCSF-PDGM-0004_{other}.nii.gz")
    (ucsf / "UCSF-PDGM-0004_T1c_bias.nii.gz").write_bytes(b"another of the release's files")
    cases = [read_case(folder) for folder in (brats, plain, ucsf)]
    digests = [{file["role"]: file["sha256"] for file in case.files} for case in cases]
    assert digests[0] == digests[1] == digests[2]
    assert list(digests[0]) == [*MODALITIES, "mask"]
    assert [case.tumour_box for case in cases] == [(10, 20, 12, 24, 6, 14)] * 3
    assert cases[0].missing == ()


def test_fewer_modalities_are_a_case_too(make_case: Any) -> None:
    case = read_case(make_case("few", without=("T1wCE", "T2")))
    assert case.missing == ("T1wCE", "T2")
    by_hand = read_case(make_case("box", without=("mask", "T1wCE")), box=(1, 9, 2, 12, 3, 9))
    assert by_hand.tumour_box == (1, 9, 2, 12, 3, 9)
    assert by_hand.warnings == ("box given by hand",)


def test_a_mask_or_box_that_is_given_stands_in_place_of_the_folders(make_case: Any, write_image: Any) -> None:
    folder = make_case()
    other = np.zeros((44, 48, 22), np.uint8)
    other[30:34, 5:9, 2:4] = 1
    write_image(folder.parent / "mine.nii.gz", other)
    assert read_case(folder, mask=folder.parent / "mine.nii.gz").tumour_box == (30, 34, 5, 9, 2, 4)
    assert read_case(folder, box=(0, 4, 0, 4, 0, 4)).tumour_box == (0, 4, 0, 4, 0, 4)
    with pytest.raises(InputError, match="Both a mask and a box"):
        read_case(folder, mask=folder.parent / "mine.nii.gz", box=(0, 4, 0, 4, 0, 4))


def refusal(folder: Path, **how: Any) -> tuple[str, str]:
    with pytest.raises(InputError) as error:
        read_case(folder, **how)
    return str(error.value), error.value.hint


def test_what_is_wrong_is_said_with_the_files_name_and_what_to_do(make_case: Any, write_image: Any) -> None:
    said, hint = refusal(make_case("bare", without=(*MODALITIES, "mask")))
    assert "no image that can be told by its name" in said
    assert "t1ce" in hint
    said, hint = refusal(make_case("unmasked", without=("mask",)))
    assert "no mask" in said
    assert "--tumour-box X0 X1 Y0 Y1 Z0 Z1" in hint
    twice = make_case("twice")
    (twice / "y_t1ce.nii.gz").write_bytes((twice / "x_t1ce.nii.gz").read_bytes())
    said, hint = refusal(twice)
    assert "T1wCE has 2" in said
    assert "y_t1ce.nii.gz" in said
    assert "Leave one" in hint
    apart = make_case("apart")
    write_image(apart / "x_t2.nii.gz", np.ones((9, 9, 9), np.int16) * np.arange(9, dtype=np.int16))
    said, hint = refusal(apart)
    assert "T2 has 9×9×9 voxels" in said
    assert "one grid" in hint
    broken = make_case("broken")
    (broken / "x_flair.nii.gz").write_bytes((broken / "x_flair.nii.gz").read_bytes()[:900])
    said, hint = refusal(broken)
    assert "x_flair.nii.gz" in said
    assert "breaks off" in said
    assert hint
    labelled = make_case("labelled")
    write_image(labelled / "x_seg.nii.gz", np.eye(44, 48, dtype=np.uint8)[:, :, None].repeat(22, 2) * 3)
    said, hint = refusal(labelled)
    assert "holds labels 3" in said
    assert "--tumour-box" in hint


@pytest.mark.parametrize(
    ("box", "why"), [((0, 45, 0, 9, 0, 9), "leaves the image"), ((5, 5, 0, 9, 0, 9), "empty along x"),
                     ((-1, 5, 0, 9, 0, 9), "leaves the image")],
)  # fmt: skip
def test_a_box_that_is_none_is_refused(make_case: Any, box: tuple[int, ...], why: str) -> None:
    said, _ = refusal(make_case(without=("mask",)), box=box)
    assert why in said


def test_links_out_of_a_case_are_refused_unless_they_are_asked_for_and_litter_is_passed_over(make_case: Any) -> None:
    folder = make_case("BraTS2021_00001")
    image = next(folder.glob("*_t1.nii.gz"))
    elsewhere = image.rename(folder.parent / "elsewhere.nii.gz")
    image.symlink_to(elsewhere)
    (folder / "._BraTS2021_00001_t1.nii.gz").touch()
    (folder / "x_t2.nii.gz.part").touch()
    with pytest.raises(InputError, match="--linked-images"):
        read_case(folder)
    assert read_case(folder, linked=True).missing == ()
    image.unlink()
    image.symlink_to("/dev/zero")
    with pytest.raises(InputError, match="no regular file"):
        read_case(folder, linked=True)


def test_a_case_in_a_folder_of_another_encoding_is_refused_or_named_by_a_link_to_it(make_case: Any) -> None:
    odd = make_case("BraTS2021_00001").rename(os.fsdecode(os.fsencode(make_case("x").parent) + b"/f\xfcnf"))
    with pytest.raises(InputError, match=r"f\\udcfcnf is no UTF-8"):
        read_case(odd)
    (odd.parent / "five").symlink_to(odd)
    assert read_case(odd.parent / "five").name == "five"
