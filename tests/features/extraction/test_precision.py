"""The check of a precision: the same scans in both, feature by feature, and nothing kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from gliolake.cli.output import dumped, rendered
from gliolake.errors import InputError
from gliolake.features.backbones import registry as backbones
from gliolake.features.backbones.registry import BackboneOptions
from gliolake.features.clips import ClipSettings
from gliolake.features.extraction import command as extract
from gliolake.features.extraction import precision, preflight
from gliolake.features.extraction.precision import PrecisionReports, check_precision
from gliolake.schema.vocabulary import BRANCHES
from gliolake.storage.lake import Lake

SMALL = ClipSettings(box=48, slices=40)
BF16 = BackboneOptions(precision="bf16")


class Rounding:
    """Pixels as features, cut to five bits in bf16; one feature is constant. Fails on demand."""

    name, weights = "net", "untrained"
    fails_after = 10**6

    def __init__(self, options: BackboneOptions) -> None:
        self.precision = options.precision

    def recipe(self) -> dict[str, Any]:
        return {"precision": self.precision, "versions": {}}

    def load(self) -> None:
        pass

    def vectors(self, clips: list[Any], tumour_slices: tuple[int, int] | None = None) -> Any:
        Rounding.fails_after -= 1
        if Rounding.fails_after < 0:
            raise InputError("This film is not to my taste.")
        pixels = np.array([clip[20].reshape(-1)[900:1300] for clip in clips], np.float32)
        pixels[:, 0] = 8
        return np.floor(pixels / 8) * 8 if self.precision == "bf16" else pixels


@pytest.fixture(autouse=True)
def net(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that costs nothing, and tasks that run here."""

    def run(client: None, function: Callable[[Any], Any], items: list[Any], **_: Any) -> Iterator[tuple[Any, Any]]:
        for item in items:
            yield item, function(item)

    preflight._open_all.cache_clear()
    monkeypatch.setattr(Rounding, "fails_after", 10**6)
    monkeypatch.setitem(backbones.BACKBONES, "net", Rounding)
    monkeypatch.setattr(precision, "open_checked", lambda *_: nullcontext())
    monkeypatch.setattr(extract, "map_tasks", run)


def test_the_same_scans_are_compared_feature_by_feature_and_nothing_is_written(world: tuple[Lake, Path]) -> None:
    lake, _ = world
    version = lake.version
    (report,) = check_precision(lake, ["random_conv", "net"], options=BF16, settings=SMALL, scans=5).reports
    assert (report.backbone, report.precision, report.scans, report.weights) == ("net", "bf16", 5, "untrained")
    assert list(report.agreement) == list(BRANCHES)
    for values in report.agreement.values():
        assert values.shape == (400,)
        assert np.isnan(values[0])
        assert 0.8 < np.nanmedian(values) < 1
    again = check_precision(lake, ["net"], options=BF16, settings=SMALL, scans=5)
    assert dumped(again) == dumped(PrecisionReports((report,)))
    assert lake.version == version


def test_json_has_every_coefficient_and_the_table_the_worst(world: tuple[Lake, Path]) -> None:
    reports = check_precision(world[0], ["net"], options=BF16, settings=SMALL, scans=4)
    told = json.loads(json.dumps(dumped(reports), allow_nan=False))["reports"][0]
    values = told["ccc"]["T2"]
    assert len(values) == 400
    assert values[0] is None
    summary = told["summary"]["T2"]
    known = [value for value in values if value is not None]
    assert (summary["min"], summary["constant"]) == (min(known), 400 - len(known))
    assert summary["median"] == pytest.approx(float(np.median(known)))
    assert summary["share_good"] == pytest.approx(sum(value >= 0.99 for value in known) / len(known))
    feature, worst = summary["worst"][0]
    assert worst == min(known) == values[feature]
    console = Console(width=140, record=True, quiet=False, stderr=True)
    console.print(rendered(reports))
    text = console.export_text()
    assert "bf16 against fp32 over 4 scans" in text
    assert f"{feature} ({worst:.4f})" in text


def test_few_scans_are_said_to_be_few_and_failures_are_told(world: tuple[Lake, Path]) -> None:
    (report,) = check_precision(world[0], ["net"], options=BF16, settings=SMALL, scans=100).reports
    assert report.scans == 11
    Rounding.fails_after = 5
    (report,) = check_precision(world[0], ["net"], options=BF16, settings=SMALL, scans=4).reports
    assert report.scans == 2
    assert len(report.failed) == 2
    assert "not to my taste" in report.failed[0]
    Rounding.fails_after = 2
    with pytest.raises(InputError, match=r"Only 1 scans could be computed.*not to my taste"):
        check_precision(world[0], ["net"], options=BF16, settings=SMALL, scans=4)


def test_fp32_a_single_scan_and_backbones_without_the_choice_are_refused(world: tuple[Lake, Path]) -> None:
    with pytest.raises(InputError, match="fp32 is what is compared with") as caught:
        check_precision(world[0], ["net"], options=BackboneOptions())
    assert "--precision bf16" in caught.value.hint
    with pytest.raises(InputError, match="1 scans cannot show agreement"):
        check_precision(world[0], ["net"], options=BF16, scans=1)
    with pytest.raises(InputError, match="random_conv has no choice of precision"):
        check_precision(world[0], ["random_conv"], options=BF16)
