"""Folders from strangers: whatever is not as it was exported is refused by name, and nothing in it runs."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from gliolake.errors import DamagedFile, GliolakeError
from gliolake.modeling.export.card import model_card
from gliolake.modeling.export.description import parse_description
from gliolake.modeling.export.folder import LARGEST, SUMS, NewerModel, NotAModel
from gliolake.modeling.export.model import load_model
from tests.support.full import examples

WEIGHTS, REFERENCE = "weights.safetensors", "reference.safetensors"


@settings(deadline=None, max_examples=examples(80), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([SUMS, *LARGEST]), st.floats(0, 1, exclude_max=True), st.integers(1, 255))
def test_every_changed_byte_is_refused_and_the_file_named(folder: Path, file: str, place: float, flip: int) -> None:
    path = folder / file
    content = path.read_bytes()
    changed = bytearray(content)
    changed[int(place * len(content))] ^= flip
    path.write_bytes(changed)
    try:
        with pytest.raises((DamagedFile, NotAModel)) as error:
            load_model(folder)
    finally:
        path.write_bytes(content)
    # A digit of a checksum accuses the file it is of.
    assert file in str(error.value) or (file == SUMS and any(name in str(error.value) for name in LARGEST))


def test_a_missing_file_and_a_folder_that_holds_something_else_are_named(folder: Path, tmp_path: Path) -> None:
    for file in LARGEST:
        content = (folder / file).read_bytes()
        (folder / file).unlink()
        with pytest.raises(DamagedFile, match=f"{file} is missing"):
            load_model(folder)
        (folder / file).write_bytes(content)
    load_model(folder)
    (tmp_path / "other").mkdir()
    for place, why in (("nowhere", "not a folder"), ("other", "no exported model")):
        with pytest.raises(NotAModel, match=why) as error:
            load_model(tmp_path / place)
        assert "gliolake model export" in error.value.hint


def resigned(folder: Path, file: str, content: bytes) -> None:
    """Another content, under a checksum that is right: what a stranger could send."""
    (folder / file).write_bytes(content)
    digests = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in LARGEST}
    (folder / SUMS).write_text("".join(f"{digests[name]}  {name}\n" for name in LARGEST))


def described(change: Callable[[dict[str, Any]], Any]) -> Callable[[bytes], bytes]:
    """Changes model.json."""

    def made(content: bytes) -> bytes:
        told = json.loads(content)
        change(told)
        return json.dumps(told).encode()

    return made


def tensors(change: Callable[[dict[str, np.ndarray]], Any]) -> Callable[[bytes], bytes]:
    """Changes a safetensors file."""

    def made(content: bytes) -> bytes:
        told = load(content)
        change(told)
        return bytes(save(told))

    return made


HOSTILE: dict[str, tuple[str, Callable[[bytes], bytes], type[GliolakeError], str]] = {
    "newer": ("model.json", described(lambda told: told.update(format_version=2)), NewerModel, "format 2"),
    "another format": ("model.json", described(lambda t: t.update(format="onnx")), NotAModel, "model of gliolake"),
    "no JSON": ("model.json", lambda _: b"{" * 100_000, NotAModel, "not JSON"),
    "not a number": ("model.json", lambda content: content.replace(b'"seed": 0', b'"seed": NaN'),
                     NotAModel, "NaN is no number"),
    "a key missing": ("model.json", described(lambda told: told.pop("fits")), NotAModel, "fits"),
    "a key of another type": ("model.json", described(lambda t: t.update(branches=[1])), NotAModel, "branches"),
    "no such model": (
        "model.json", described(lambda told: told["settings"].update(model="eval")), NotAModel, "no model named 'eval'"
    ),
    "endless layers": (
        "model.json", described(lambda t: t["settings"]["settings"].update(hidden=[10**9])), NotAModel, "width 1 is"
    ),
    "no feature set": ("model.json", described(lambda t: t.update(feature_sets=[])), NotAModel, "feature sets"),
    "no scans": ("model.json", described(lambda t: t["training"].update(scans=0)), NotAModel, "of 0 scans"),
    "other settings": (
        "model.json", described(lambda t: t["settings"]["settings"].update(x=1)), NotAModel, "unexpected keyword"
    ),
    "a pickle": (WEIGHTS, lambda _: pickle.dumps({"weight": np.zeros(3)}), NotAModel, WEIGHTS),
    "a huge header": (REFERENCE, lambda content: (2**60).to_bytes(8, "little") + content[8:], NotAModel, REFERENCE),
    "an empty file": (REFERENCE, lambda _: b"", NotAModel, REFERENCE),
    "a tensor missing": (WEIGHTS, tensors(lambda told: told.pop("weight")), NotAModel, "weight"),
    "a tensor too many": (WEIGHTS, tensors(lambda t: t.update(x=np.zeros(1))), NotAModel, "unknown tensor 'x'"),
    "another shape": (WEIGHTS, tensors(lambda t: t.update(shift=t["shift"][:, :, :9].copy())), NotAModel, "expected"),
    "another type": (WEIGHTS, tensors(lambda t: t.update(shift=t["shift"].astype(int))), NotAModel, "type int64"),
    "not finite": (WEIGHTS, tensors(lambda told: told["weight"].fill(np.nan)), NotAModel, "not finite"),
    "names of nobody": (REFERENCE, tensors(lambda told: told["names"].fill(91)), NotAModel, "names"),
}  # fmt: skip


def test_a_folder_made_up_by_a_stranger_is_refused_with_what_is_wrong(folder: Path) -> None:
    for what, (file, change, kind, why) in HOSTILE.items():
        own = shutil.copytree(folder, folder.parent / "stranger")
        resigned(own, file, change((own / file).read_bytes()))
        with pytest.raises(kind, match=why) as error:
            load_model(own)
        assert error.value.hint, what
        shutil.rmtree(own)


def test_names_that_lead_elsewhere_are_refused_and_what_is_not_listed_is_never_read(folder: Path) -> None:
    sums = (folder / SUMS).read_text()
    (folder / SUMS).write_text(sums + f"{'0' * 64}  ../../etc/passwd\n")
    with pytest.raises(NotAModel, match=r"lists '\.\./\.\./etc/passwd'"):
        load_model(folder)
    (folder / SUMS).write_text(sums)
    (folder / "weights.pkl").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    before = load_model(folder).model_id
    (folder / "weights.pkl").unlink()
    assert load_model(folder).model_id == before


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10**12) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)


@settings(deadline=None, max_examples=examples(150), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_value_anywhere_in_a_description_is_taken_or_refused_but_never_a_crash(
    folder: Path, data: st.DataObject
) -> None:
    told = json.loads((folder / "model.json").read_bytes())
    place: Any = told
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        inner = place[key]
        if not (isinstance(inner, dict | list) and inner) or data.draw(st.booleans()):
            break
        place = inner
    place[key] = data.draw(ANYTHING)
    try:
        description = parse_description(json.dumps(told).encode())
    except (NotAModel, NewerModel):
        return
    assert description.experiment in model_card(description)
