"""Shapes of cells: what a person needs to find a mistake, and nothing that says who a patient is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gliolake.text_shape import shape_of


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("John Smith", "Aaaa Aaaaa"),
        ("José Ñandú", "Aaaa Aaaaa"),
        ("Jose\u0301", "Aaaa"),
        ("1958-03-05", "9999-99-99"),
        ("MRN 0012345678901", "AAA 99999999…"),
        ("UCSF-PDGM-0004_FU003d", "AAAA-AAAA-9999_AA999a"),
        ("王小明", "aaa"),
        ("٣٤", "99"),
        ("a\x1b]52;c\x07\u202eb", "a**99;a**a"),
        ("  ", "(empty)"),
        ("?", "(1 sign)"),
        ("+-*/", "(4 signs)"),
        ("pass \u00a0 word", "aaaa   aaaa"),
        ("Aa" * 40, "AaAaAaAaAaAaAaAaAaAaAaAaAaAaA…"),
    ],
)
def test_a_shape_shows_classes_of_signs(text: str, shape: str) -> None:
    assert shape_of(text) == shape


@given(st.text(max_size=200))
def test_no_text_can_be_read_from_its_shape(text: str) -> None:
    shape = shape_of(text)
    assert len(shape) <= 30
    assert shape.isprintable()
    assert set(shape) <= {*"Aa9*…", *" -_./,:;+@()"} or shape == "(empty)" or shape.endswith(("sign)", "signs)"))
