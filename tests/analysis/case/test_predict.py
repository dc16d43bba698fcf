"""A case asked of a model, from files to a page."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gliolake.analysis.case import images
from gliolake.analysis.case.images import read_case
from gliolake.analysis.case.predict import predict
from gliolake.analysis.case.vectors import OtherRecipe, own_recipes, ready
from gliolake.cli.output import dumped
from gliolake.errors import InputError
from gliolake.features.clips import ClipSettings
from gliolake.features.preprocessing.settings import PreprocessSettings
from gliolake.features.preprocessing.volumes import read_image
from gliolake.modeling.export.model import load_model
from gliolake.storage.lake import Lake
from tests.support.answer import Answer

SMALL = ClipSettings(box=40, slices=36)


def test_a_real_case_is_asked_from_its_files_to_a_page(models: Any, reference: Path, tmp_path: Path) -> None:
    folder = reference / "scans" / "BraTS21" / "BraTS2021_01480"
    answer = predict(folder, models("snn", ClipSettings()), output=tmp_path / "out", progress=False)
    assert 0 <= answer.estimate.ci_low <= answer.estimate.probability <= answer.estimate.ci_high <= 1
    assert answer.attention
    assert sum(share.mean or 0 for share in answer.shares) == pytest.approx(1, abs=1e-5)
    assert answer.surroundings.outside, "made vectors are not like a brain's"
    assert "No voxel of label 4 (enhancing tumour)." in answer.notes
    page = (tmp_path / "out.html").read_text("utf-8")
    warnings = page[page.index('class="warnings"') : page.index("</ul>")]
    assert "random weights" in warnings
    assert "outside of what the model was trained on" in warnings
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    told = json.loads(json.dumps(dumped(answer)))
    assert told["probability"] == answer.estimate.probability
    assert told["model"]["trained"] is False
    assert len(told["nearest"]) == 5


def test_a_training_scan_is_known_again_and_gets_its_out_of_fold_answer(models: Any, reference: Path) -> None:
    folder = reference / "scans" / "BraTS21" / "BraTS2021_00000"
    place = models("logistic", ClipSettings(), folder)
    answer = predict(folder, place, progress=False)
    same = answer.surroundings.same
    assert same is not None
    assert same.scan_id == "scan-0000"
    assert answer.fits == 2, "one of each repeat"
    assert not answer.surroundings.outside
    (lake,) = (path for path in place.parent.iterdir() if path.name == f"lake-{place.name}")
    rows = Lake(lake).read("predictions", {"split": "internal", "scan_id": "scan-0000"}).to_pylist()
    kept = np.mean([row["probability"] for row in rows])
    assert answer.estimate.probability == pytest.approx(float(load_model(place).recalibration.moved(kept)), abs=1e-6)
    assert "made scan-0000" in answer.warnings[1]


def test_missing_modalities_are_left_out_and_said_to_be(models: Any, make_case: Any) -> None:
    folder = make_case(without=("T1wCE", "mask"))
    answer = predict(folder, models(), box=(8, 20, 8, 20, 4, 12), progress=False)
    parts = {share.modality: share.mean for share in answer.shares}
    assert [name for name, mean in parts.items() if mean is None] == ["T1wCE", "DeltaT1"]
    assert answer.notes == ("There is no T1wCE; the model was not shown it.", "Box given by hand.")
    only = predict(
        make_case("one", without=("T1wCE", "T1", "T2")), models(), progress=False
    )  # fmt: skip
    assert [share.mean for share in only.shares] == [None] * 5, "without its only modality nothing could be said"
    with pytest.raises(InputError, match="reads T1wCE; the case has only FLAIR"):
        predict(make_case("none", without=("T1wCE",)), models("mlp"), progress=False)


def test_a_modality_adds_what_leaving_it_out_takes(make_case: Any, model: Path) -> None:
    folder = make_case()
    one = predict(folder, model, progress=False)
    adds = {share.modality: share.mean for share in one.shares}
    (folder / "x_flair.nii.gz").unlink()
    without = predict(folder, model, progress=False)
    assert adds["FLAIR"] is not None
    # The mean over fits of what is recalibrated is not quite the recalibrated mean.
    assert without.estimate.probability == pytest.approx(one.estimate.probability - adds["FLAIR"], abs=0.1)


RAW = """
name = "clinic"
role = "external"
label_rule = "ucsf"
[ids]
pattern = '(?P<name>.+)'
form = "{name}"
[preprocessing]
done = []
[images]
patterns = ["{scan_id}/x_{role}.nii.gz"]
[images.roles]
FLAIR = "flair"
T1 = "t1"
T1wCE = "t1ce"
T2 = "t2"
mask = "seg"
[images.mask_labels]
2 = "tumour"
"""


def test_a_raw_case_is_preprocessed_as_the_models_training_scans_were(
    models: Any, make_case: Any, write_image: Any, tmp_path: Path
) -> None:
    (tmp_path / "clinic.toml").write_text(RAW)
    how = {"cohort": str(tmp_path / "clinic.toml"), "progress": False}
    folder = make_case()
    other = np.random.default_rng(5).integers(50, 900, (22, 24, 11)).astype(np.int16)
    write_image(folder / "x_t2.nii.gz", other, spacing=2.0)
    raw = models("logistic", SMALL, None, PreprocessSettings(steps=("resample",), spacing_mm=2.0))
    described = load_model(raw).description
    with ready(read_case(folder, cohort=how["cohort"]), described) as case:
        assert case.tumour_box == (5, 10, 6, 12, 3, 7)
        shapes = {read_image(file["uri"]).voxels.shape for file in case.files}
        assert shapes == {(22, 24, 11)}, "all on one grid, twice as coarse"
    assert 0 <= predict(folder, raw, **how).estimate.probability <= 1
    with pytest.raises(InputError, match="is raw, and the model was trained on scans that came ready"):
        predict(folder, models(), **how)
    with pytest.raises(InputError, match="T2 has 22×24×11 voxels"):
        predict(folder, raw, progress=False)


class Tags(HTMLParser):
    """The tags of a page, and what its attributes lead to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]


def test_a_page_is_the_same_bytes_and_needs_nothing_but_itself_and_names_from_files_stay_text(
    make_case: Any, model: Path, tmp_path: Path
) -> None:
    folder = make_case('<img src=x onerror="alert(1)">$x$', descrip="synthetic scan")
    answer, _ = (predict(folder, model, output=tmp_path / name, progress=False) for name in ("out", "again"))
    for ending in ("html", "png"):
        assert (tmp_path / f"out.{ending}").read_bytes() == (tmp_path / f"again.{ending}").read_bytes()
    page = (tmp_path / "out.html").read_text("utf-8")
    assert "This case is SYNTHETIC: made up, and of nobody." in answer.warnings
    assert "This case is SYNTHETIC" in page
    found = Tags(page)
    assert not {"script", "iframe", "object", "link"} & {*found.tags}
    assert found.tags.count("img") == 4
    assert all(link.startswith("data:image/") for link in found.links)
    assert "&lt;img src=x onerror=" in page
    (style,) = re.findall("<style>(.*)</style>", page, re.DOTALL)
    policy = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"default-src 'none'; img-src data:; style-src 'sha256-{policy}'" in page


def changed(model: Path, **network: Any) -> None:
    """Another recipe in the model's description; its checksums are right."""
    told = json.loads((model / "model.json").read_text())
    recipe = told["feature_sets"][0]["recipe"]
    recipe["network"] |= network.pop("network", {})
    recipe["clip"] |= network.pop("clip", {})
    told["feature_sets"][0] |= network
    (model / "model.json").write_text(json.dumps(told))
    lines = (model / "SHA256SUMS").read_text().splitlines()
    digest = hashlib.sha256((model / "model.json").read_bytes()).hexdigest()
    new = [f"{digest}  model.json" if line.endswith("model.json") else line for line in lines]
    (model / "SHA256SUMS").write_text("\n".join(new) + "\n")


def test_another_recipe_is_refused_with_every_difference_and_both_values(model: Path) -> None:
    assert own_recipes(load_model(model).description)
    changed(model, network={"kernels": 300, "versions": {"numpy": "9.9"}}, clip={"revision": 7, "colour": "red"})
    with pytest.raises(OtherRecipe) as error:
        own_recipes(load_model(model).description)
    for line in (
        "network.kernels: 300 in the model, 200 here",
        'network.versions.numpy: "9.9" in the model, nothing here',
        "clip.revision: 7 in the model, 1 here",
        'clip.colour: "red" in the model, nothing here',
    ):
        assert line in str(error.value)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"recipe": {"scaling": "minimum to maximum"}, "weights": "released"}, "came without the recipe"),
        ({"backbone": "no_such_net"}, "no_such_net, which this gliolake does not have"),
        ({"backbone": "slowfast_4x16_resnet50_kinetics400", "network": {"engine": "mxnet"}}, "computed by MXNet"),
        ({"backbone": "vivit_b_16x2", "network": {"weights": {"sha256": "0"}, "precision": "fp32"}}, "vivit_b_16x2"),
        ({"network": {"seed": "0"}}, "none that can be followed"),
    ],
)
def test_vectors_that_cannot_be_made_here_are_refused_with_the_reason(
    model: Path, row: dict[str, Any], why: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GLIOLAKE_WEIGHTS", str(tmp_path / "weights"))
    changed(model, **row)
    with pytest.raises((InputError, OtherRecipe), match=why):
        own_recipes(load_model(model).description)


def test_a_mistake_on_the_command_line_ends_in_a_message_and_a_hint(
    make_case: Any, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[..., Answer]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = make_case()
    answer = command("predict", folder, "--model", model)
    assert answer.code == 0
    assert "Probability that the MGMT promoter is methylated" in answer.out
    assert "case.html and case.png" in answer.out
    answer = command("model", "show", model)
    assert answer.code == 0
    assert "all checksums right" in answer.out
    (folder / "x_seg.nii.gz").unlink()
    answer = command("predict", folder, "--model", model, "--overwrite")
    assert (answer.code, "Traceback" in answer.err) == (2, False)
    assert answer.err.splitlines()[-2].startswith("gliolake: ")
    assert images.GIVE_BOX in answer.err
    (model / "weights.safetensors").write_bytes(b"")
    answer = command("model", "show", model)
    assert (answer.code, "Traceback" in answer.err) == (2, False)
    assert "weights.safetensors is damaged" in answer.err
