"""What is on the paper: the points, bars and boxes of each drawing against the rows that it is of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from matplotlib.colors import to_hex
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from gliolake.analysis.figures.cases import cases
from gliolake.analysis.figures.curves import calibration, roc
from gliolake.analysis.figures.decision import decision
from gliolake.analysis.figures.pictures import slices
from gliolake.analysis.figures.registry import drawn
from gliolake.analysis.figures.style import BLUE, VERMILION, number, styled
from gliolake.features.preprocessing.volumes import read_image
from gliolake.schema.vocabulary import BRANCHES, MODALITIES
from gliolake.sql.catalog import connect
from gliolake.storage.lake import Lake
from tests.support.figures import LABEL, Gallery, texts


@pytest.fixture(autouse=True)
def style() -> Iterator[None]:
    """Drawings are made as the registry makes them."""
    with styled():
        yield


def probabilities(made: Any, experiment: str, split: str) -> dict[str, tuple[bool, float]]:
    """By scan, its label and its mean prediction."""
    given: dict[str, list[float]] = {}
    truth = {}
    for row in made.rows["predictions"]:
        if (row["experiment"], row["split"]) == (experiment, split):
            given.setdefault(row["scan_id"], []).append(row["probability"])
            truth[row["scan_id"]] = row["methylated"]
    return {scan: (truth[scan], float(np.mean(values))) for scan, values in given.items()}


def test_the_flowchart_shows_every_number_of_the_view_flowchart(gallery: Gallery) -> None:
    figure = gallery.figures["flowchart"]
    shown = " ".join(texts(figure))
    steps = gallery.connection.sql("SELECT cohort, remaining, left_out FROM flowchart").fetchall()
    boxes = [(row["cohort"], row["scans"]) for row in figure.rows if row["kind"] in ("remaining", "final")]
    assert boxes == [(cohort, remaining) for cohort, remaining, _ in steps]
    sides = [row["scans"] for row in figure.rows if row["kind"] in ("left out", "leak stopped")]
    assert sum(sides) == sum(left_out for _, _, left_out in steps) > 0
    for row in figure.rows:
        assert str(row["scans"]) in shown
    assert "training: 0" in shown  # labels alone: nobody has images


def test_leaks_that_were_stopped_have_a_red_box_of_their_own(made: Any) -> None:
    linked = {"kind": "follow-up", "evidence": "made", "score": 1.0}
    made.rows["links"] = [
        {"cohort_a": "there", "scan_a": "scan-0003", "cohort_b": "here", "scan_b": "scan-0004"} | linked
    ]
    lake = made.commit()
    with connect(lake) as connection:
        figure = drawn(connection, lake, "flowchart")
        assert connection.sql("SELECT count(*) FROM leaks_avoided").fetchall() == [(1,)]
    (leak,) = [row for row in figure.rows if row["kind"] == "leak stopped"]
    assert (leak["cohort"], leak["scans"]) == ("there", 1)
    assert "1 leaks stopped" in figure.alt
    assert "leaks stopped," in texts(figure)


def test_cases_are_the_surest_of_the_internal_scans(gallery: Gallery) -> None:
    found = probabilities(gallery.made, "one", "internal")
    right = {scan: p for scan, (truth, p) in found.items() if (p >= 0.5) == truth}
    wrong = {scan: p for scan, (truth, p) in found.items() if (p >= 0.5) != truth}
    expected = {
        "surest right, methylated": max(right, key=lambda scan: right[scan]),
        "surest right, unmethylated": min(right, key=lambda scan: right[scan]),
        "surest wrong": max(wrong, key=lambda scan: abs(wrong[scan] - 0.5)),
    }
    rows = gallery.figures["cases"].rows
    assert {row["chosen_as"]: row["scan_id"] for row in rows} == expected
    for row in rows:
        assert row["probability"] == pytest.approx(found[row["scan_id"]][1])
    sketch = cases(rows, gallery.lake)
    bars = [bar.get_width() for axis in sketch.figure.axes for bar in axis.patches]
    assert bars == [row["weight"] for row in rows]
    assert [row["modality"] for row in rows[:5]] == list(BRANCHES)


def test_attention_is_the_mean_over_patients_of_the_mean_over_fits(gallery: Gallery) -> None:
    rows = [row for row in gallery.figures["attention"].rows if row["split"] == "internal"]
    of_scan: dict[str, list[list[float]]] = {}
    for row in gallery.made.rows["attention"]:
        if (row["experiment"], row["split"]) == ("one", "internal"):
            of_scan.setdefault(row["scan_id"], []).append(row["weight"])
    weights = {scan: np.reshape(values, (-1, 5)).mean(axis=0) for scan, values in of_scan.items()}
    patients = [(weights["scan-0000"] + weights["scan-0001"]) / 2, *[weights[s] for s in sorted(weights)[2:]]]
    assert [row["mean"] for row in rows] == pytest.approx(np.mean(patients, axis=0).tolist())
    error = np.std(patients, axis=0, ddof=1) / len(patients) ** 0.5
    assert [row["ci_high"] - row["mean"] for row in rows] == pytest.approx((1.96 * error).tolist())
    assert {row["patients"] for row in rows} == {23}
    shown = texts(gallery.figures["attention"])
    assert all(number(row["mean"], ".3f") in shown for row in rows)


def test_a_roc_panel_draws_curve_band_and_auc_of_both_splits(gallery: Gallery) -> None:
    rows = gallery.figures["roc"].rows
    sketch = roc(rows)
    axis = sketch.figure.axes[0]
    assert axis.get_title("left") == LABEL
    for split, line in zip(("internal", "external"), axis.lines[1:], strict=True):
        of = [row for row in rows if (row["name"], row["split"]) == ("snn", split)]
        points = [(row["false_positive_rate"], row["true_positive_rate"]) for row in of]
        assert line.get_xydata().tolist() == [[0, 0], *map(list, points)]
        found = probabilities(gallery.made, "one", split)
        auc = roc_auc_score([truth for truth, _ in found.values()], [p for _, p in found.values()])
        assert of[0]["auc"] == pytest.approx(auc)
        shown = f"{split} AUC {number(auc)} ({number(of[0]['auc_ci_low'])} to {number(of[0]['auc_ci_high'])})"
        assert shown in texts(gallery.figures["roc"])
    assert [to_hex(band.get_facecolor()[0]).upper() for band in axis.collections] == [BLUE, VERMILION]


def test_calibration_bins_have_wilsons_intervals_and_every_scan_is_in_the_histogram(gallery: Gallery) -> None:
    rows = gallery.figures["calibration"].rows
    for row in rows:
        if row["curve"] == "reliability":
            wilson = binomtest(round(row["observed"] * row["scans"]), row["scans"]).proportion_ci(method="wilson")
            assert (row["ci_low"], row["ci_high"]) == pytest.approx((wilson.low, wilson.high), abs=1e-4)
    histogram = [row for row in rows if row["curve"] == "histogram" and row["name"] == "snn"]
    for split in ("internal", "external"):
        of = {row["predicted"]: row["scans"] for row in histogram if row["split"] == split}
        given = [p for _, p in probabilities(gallery.made, "one", split).values()]
        counts, edges = np.histogram(given, np.arange(21) / 20)
        assert of == {float((edges[i] + 0.025).round(3)): n for i, n in enumerate(counts) if n}
    (panel, *_) = calibration(rows).figure.axes
    bins = [row for row in rows if (row["name"], row["split"], row["curve"]) == ("snn", "internal", "reliability")]
    assert panel.lines[-1].get_xydata().tolist() == [[row["predicted"], row["observed"]] for row in bins]


def test_decision_curves_are_drawn_as_they_are_within_the_sensible_range(gallery: Gallery) -> None:
    rows = gallery.figures["decision"].rows
    panel = decision(rows).figure.axes[0]
    of = [row for row in rows if (row["name"], row["split"]) == ("snn", "internal")]
    assert panel.lines[0].get_ydata().tolist() == [row["net_benefit"] for row in of]
    assert panel.lines[2].get_ydata().tolist() == [row["treat_all"] for row in of]
    assert (panel.patches[0].get_x(), panel.patches[0].get_width()) == pytest.approx((0.2, 0.6))


def test_the_forest_sets_ours_beside_the_published_and_lists_what_failed(gallery: Gallery) -> None:
    figure = gallery.figures["forest"]
    shown = texts(figure)
    for row in figure.rows:
        for value in (row["reproduced"], row["published"]):
            assert value is None or number(value) in shown
    assert {"Table 1", "Figure 7b", "BROKEN"} <= set(shown)
    assert "4 computed rows, 1 failed" in figure.alt
    external = next(row for row in figure.rows if row["name"] == "beyond")
    assert external["ci_high"] - external["ci_low"] == pytest.approx(
        0.2
    )  # the bootstrap's; inside, the corrected t's 0.4


def test_agreement_of_networks_stands_beside_the_published_one(gallery: Gallery) -> None:
    rows = {(row["first_network"], row["second_network"]): row for row in gallery.figures["ccc"].rows}
    assert rows["I3D", "ViViT"]["published"] == pytest.approx(0.05)
    assert rows["SlowFast", "I3D"]["mean"] is None
    assert {"0.210", "0.050", "0.010"} <= set(texts(gallery.figures["ccc"]))
    assert "I3D · ViViT 0.210 (published 0.050)" in gallery.figures["ccc"].alt


def scan_with_images(made: Any, folder: Path, scan: str) -> Path:
    """Small images of a scan, with a row of table scans; the file of its FLAIR."""
    files = []
    for role in (*MODALITIES, "mask"):
        voxels = np.zeros((24, 20, 8), np.int16)
        voxels[4:20, 4:16, 2:6] = 100 + 10 * len(files)
        if role == "mask":
            voxels[:] = 0
            voxels[8:14, 6:10, 3:6] = 1
        file = folder / f"{role}.nii.gz"
        nib.save(nib.Nifti1Image(voxels, np.diag([-1.0, -1.0, 1.0, 1.0])), file)
        digest = read_image(str(file)).sha256
        files.append(
            {
                "role": role, "uri": str(file), "bytes": file.stat().st_size, "mtime_ns": 0, "sha256": digest,
                "dtype": "int16", "content": [],
            }
        )  # fmt: skip
    made.rows["scans"].append(
        {
            "cohort": "here", "scan_id": scan, "source_id": scan, "subject_id": scan, "visit_day": 0, "files": files,
            "shape": [24, 20, 8], "spacing_mm": [1.0] * 3, "affine": [0.0] * 16, "orientation": "LPS",
            "tumour_box": [8, 14, 6, 10, 3, 6], "tumour_voxels": 72, "mask_labels": [], "warnings": [],
            "fingerprint": "0",
        }
    )  # fmt: skip
    return folder / "FLAIR.nii.gz"


def test_a_case_shows_its_tumour_only_while_its_files_are_those_that_were_ingested(made: Any, tmp_path: Path) -> None:
    made.experiment("one", seed=1, signal=0.4)
    made.row("snn", "table_1", "one")
    lake: Lake = made.commit()
    with connect(lake) as connection:
        rows = drawn(connection, lake, "cases").rows
    flair = scan_with_images(made, tmp_path, rows[0]["scan_id"])
    made.commit()
    seen = slices(lake, "here", rows[0]["scan_id"])
    assert seen is not None
    assert seen.mask is not None
    assert seen.slice == 4
    assert seen.box == (8, 6, 128)
    assert np.argwhere(seen.mask).min(axis=0).tolist() == [6, 8]  # rows are y, columns x
    assert set(seen.grey) == set(MODALITIES)
    images = [axis for axis in cases(rows, lake).figure.axes if axis.images]
    assert [axis.get_xlabel() for axis in images] == list(MODALITIES)
    flair.write_bytes(flair.read_bytes()[:-9])
    assert slices(lake, "here", rows[0]["scan_id"]) is None
    assert not any(axis.images for axis in cases(rows, lake).figure.axes)
