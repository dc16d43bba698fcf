"""The report of a study as a file: what it says, of what it refuses to speak, and what it never tells."""

from __future__ import annotations

import hashlib
import html
import re
import tomllib
from collections.abc import Iterator
from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gliolake.analysis.report.answer import Claim
from gliolake.analysis.report.checklist import STATES
from gliolake.analysis.report.page import Page, gather
from gliolake.analysis.report.rendering import render
from gliolake.analysis.report.report import report
from gliolake.analysis.report.table import without_folders
from gliolake.analysis.study.notation import plus_minus, reproduced
from gliolake.errors import InputError
from gliolake.features.extraction.scan_task import ScanFile, input_digest
from gliolake.sql.catalog import connect
from gliolake.storage.lake import Lake
from tests.support.pages import BEGAN, Tables, put, run_row, scan_row


@pytest.fixture(scope="module", autouse=True)
def one_figure() -> Iterator[None]:
    """One figure is enough here; the browser looks at all of them."""
    from gliolake.analysis.figures import registry

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "FIGURES", {"decision": registry.FIGURES["decision"]})
        yield


@pytest.fixture(scope="module")
def said(one_figure: None, finished: Any) -> Page:
    """What the report of the finished study says."""
    return gather(finished.lake, progress=False)


@pytest.fixture(scope="module")
def page(said: Page) -> bytes:
    """The same, as a file."""
    return render(said)


def written(lake: Lake, folder: Path, **told: Any) -> str:
    report(lake, folder / "report.html", progress=False, **{"overwrite": True, **told})
    return html.unescape((folder / "report.html").read_text("utf-8"))


@pytest.mark.parametrize("table", ["table_1", "table_2", "figure_7a", "figure_7b"])
def test_figures_on_the_page_are_those_of_the_views(finished: Any, page: bytes, table: str) -> None:
    with connect(finished.lake) as connection:
        view = connection.sql(f"FROM results WHERE \"table\" = '{table}'").to_arrow_table().to_pylist()
    tables = Tables(page).rows
    for metric, name in (("auc", table), ("precision", f"{table}-metrics"), ("recall", f"{table}-metrics")):
        expected = [row for row in view if row["metric"] == metric]
        if metric != "auc":
            expected = [row for row in expected if row["published"] is not None or row["reproduced"] is not None]
        place = 1 if metric == "auc" else 2
        rows = [row for row in tables[name] if metric in (row[1][0], "auc")]
        assert [row[0][0] for row in rows] == [row["label"] for row in expected]
        for row, of_view in zip(rows, expected, strict=True):
            published, ours = row[place], row[place + 1]
            assert published[0] == plus_minus(of_view["published"], of_view["published_sem"])
            assert ours[0] == reproduced(of_view)
            for shown, value in ((published[1], of_view["published"]), (ours[1], of_view["reproduced"])):
                assert (None if shown is None else float(shown)) == value


def test_what_does_not_rest_on_trained_weights_is_red_at_the_top_beside_the_table_and_in_the_row(page: bytes) -> None:
    text = html.unescape(page.decode("utf-8"))
    top = text.split('<div class="warnings">')[1].split("</div>")[0]
    assert "2 of the study's rows rest on random weights" in top
    assert "trained weights" not in top.replace("random weights: no training", "")
    part = text.split('id="table_1"')[1].split('id="table_1-metrics"')[0]
    assert '<p class="basis">Rests on random weights: no training went into the vectors.</p>' in part
    looks = {row[0][0]: (row[-1][0], row[-1][2]) for row in Tables(page).rows["table_1"]}
    assert looks["SNN"] == ("trained weights", "")
    assert looks["MLP"] == ("random weights: no training went into the vectors", "warning")
    assert looks["BROKEN"] == ("failed", "failed")


def test_the_answer_holds_the_studys_own_model_against_its_claim(finished: Any, said: Page) -> None:
    told = said.answer
    inside, outside = told.claims
    mean = next(
        row["mean"] for row in finished.rows["summaries"]
        if (row["experiment"], row["split"], row["metric"]) == ("one", "internal", "auc")
    )  # fmt: skip
    assert (inside.label, inside.value, inside.published) == ("SNN", mean, 0.666)
    assert (inside.ci_low, inside.ci_high) == (mean - 0.2, mean + 0.2)  # the corrected t's, not the bootstrap's
    assert (outside.label, outside.published) == ("BEYOND", 0.624)
    assert f"reaches an AUC of {mean:.3f} (95 % interval {mean - 0.2:.3f} to {mean + 0.2:.3f})" in told.sentence
    assert told.best[0].value == max(
        row["mean"] for row in finished.rows["summaries"] if (row["split"], row["metric"]) == ("internal", "auc")
    )
    assert "picked by its result" in told.choice


@given(st.lists(st.floats(0, 1), min_size=2, max_size=2), st.floats(0, 1) | st.none())
def test_the_verdict_follows_from_the_interval(ends: list[float], published: float | None) -> None:
    low, high = sorted(ends)
    verdict = Claim("", "", "", True, (low + high) / 2, low, high, published, 10).verdict
    assert ("no evidence" in verdict) == (low <= 0.5 <= high)
    assert ("better than chance" in verdict) == (low > 0.5)
    assert ("worse than chance" in verdict) == (high < 0.5)
    assert ("published value lies above the interval" in verdict) == (published is not None and published > high)
    assert ("published value lies below the interval" in verdict) == (published is not None and published < low)


def test_the_page_is_one_small_file_that_names_no_other(page: bytes) -> None:
    text = page.decode("utf-8")
    assert len(page) < 5e6
    assert "default-src 'none'" in html.unescape(text)
    assert {found.split(":")[0] for found in re.findall(r'(?:src|href|action)="([^"#][^"]*)"', text)} == {
        "data", "https",
    }  # fmt: skip
    assert re.findall(r'href="(https[^"]*)"', text) == ["https://doi.org/10.1136/bmj-2023-078378"]
    assert not re.search(r"<link(?! rel=\"icon\" href=\"data:,\")|@import|url\(", text)


def test_the_same_lake_gives_the_same_bytes(finished: Any, page: bytes) -> None:
    assert render(gather(finished.lake, progress=False)) == page


def test_a_study_in_the_making_is_refused_unless_forced_and_then_says_so_first(made: Any, tmp_path: Path) -> None:
    made.experiment("one")
    made.row("snn", "table_1", "one", auc=0.666)
    lake = made.commit()
    put(lake, "runs", run_row("20260506-first", "done", ended=BEGAN))
    put(lake, "runs", run_row("20260507-second", "unfinished", started=BEGAN + timedelta(days=1)))
    put(lake, "cv_folds", *(fit | {"repeat": 9} for fit in made.rows["cv_folds"][:2]), run_id="20260507-second")
    with pytest.raises(InputError, match="began at 2026-05-07 07:08:09 UTC and has brought 2 folds") as refused:
        report(lake, tmp_path / "report.html", progress=False)
    assert "study run" in refused.value.hint
    assert "--force" in refused.value.hint
    assert not (tmp_path / "report.html").exists()
    assert "THIS STUDY IS STILL BEING COMPUTED" in written(lake, tmp_path, force=True).split("<main")[0]
    put(lake, "runs", run_row("20260508-third", "done", started=BEGAN + timedelta(days=2)))
    assert "STILL BEING COMPUTED" not in written(lake, tmp_path)


def test_a_run_that_died_after_its_last_rows_leaves_a_study_that_is_done(made: Any, tmp_path: Path) -> None:
    made.row("snn", "table_1", auc=0.666)
    lake = made.commit()
    put(lake, "runs", run_row("made", "unfinished"))
    assert "STILL BEING COMPUTED" not in written(lake, tmp_path)


def test_the_first_run_of_a_study_is_known_before_it_has_rows(lake: Lake, tmp_path: Path) -> None:
    put(lake, "runs", run_row("begun", "unfinished", study="new"))
    with pytest.raises(InputError, match="Study new is still being computed"):
        report(lake, tmp_path / "report.html", progress=False)
    text = written(lake, tmp_path, force=True)
    assert "has no row of its own to be held against a published figure" in text


def test_a_failed_run_is_told_of_and_the_rest_is_shown(made: Any, tmp_path: Path) -> None:
    made.experiment("one")
    made.row("snn", "table_1", "one", auc=0.666)
    made.row("broken", "table_1", state="failed", detail="no such network in /data/private/networks", auc=0.6)
    lake = made.commit()
    put(lake, "runs", run_row("failed", "ClusterError: worker at /home/someone/scratch died", ended=BEGAN))
    text = written(lake, tmp_path)
    top = text.split("<main")[0]
    assert "ended with an error: ClusterError: worker at scratch died" in top
    assert "1 of the 2 rows that the study has of its own failed" in top
    tables = Tables(text.encode())
    assert [row[0][0] for row in tables.rows["failed-rows"]] == ["no such network in networks"]
    assert [row[-1][0] for row in tables.rows["failed-runs"]] == ["ClusterError: worker at scratch died"]
    assert [row[0][0] for row in tables.rows["table_1"]] == ["SNN", "BROKEN"]


def test_a_split_that_leaks_is_the_first_thing_that_is_said(made: Any, tmp_path: Path) -> None:
    outside = next(row for row in made.rows["labels"] if row["cohort"] == "there")
    outside |= {"declared_cohort": "here", "declared_id": "scan-0000"}  # and no link says so
    made.row("snn", "table_1", auc=0.6)
    text = written(made.commit(), tmp_path)
    assert "The audit of the splits FAILS in 1 of 7 checks." in text.split("<main")[0]
    assert "not searched for duplicates" in text.split("<main")[0]
    audit = {row[0][0]: row[1] for row in Tables(text.encode()).rows["audit"]}
    assert audit["an external scan declares a training scan"] == ("1", "1", "number failed")


def test_a_lake_without_a_study_and_one_with_several_are_refused(made: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No study has been run") as refused:
        report(made.lake, tmp_path / "report.html")
    assert "gliolake study run" in refused.value.hint
    for study in ("made", "remade"):
        made.row("snn", "table_1", study=study, auc=0.6)
    lake = made.commit()
    with pytest.raises(InputError, match="several studies") as refused:
        report(lake, tmp_path / "report.html")
    assert "--study: made, remade" in refused.value.hint
    assert "<h1>remade, repeated</h1>" in written(lake, tmp_path, study="remade")


def test_a_report_is_replaced_and_nothing_else(made: Any, page: bytes, tmp_path: Path) -> None:
    made.row("snn", "table_1", auc=0.6)
    lake, file = made.commit(), tmp_path / "report.html"
    for letter in (b"a letter", page + b"<!-- a comment of mine -->", page[: len(page) // 2]):
        file.write_bytes(letter)
        with pytest.raises(InputError, match="is not a report as gliolake writes it"):
            report(lake, file, overwrite=True)
        assert file.read_bytes() == letter
    file.write_bytes(page)
    with pytest.raises(InputError, match="there already"):
        report(lake, file)
    assert file.read_bytes() == page
    assert "<h1>made, repeated</h1>" in written(lake, tmp_path)
    assert file.read_bytes() != page
    with pytest.raises(InputError, match="does not exist"):
        report(lake, tmp_path / "nowhere" / "report.html")


def test_files_are_named_with_their_hashes_and_without_folders(hostile: Lake) -> None:
    page = render(gather(hostile, progress=False))
    listed = [(row[0][0], row[4][0]) for row in Tables(page).rows["files"] if row[2][0] == "scan-0004"]
    assert listed == [("FLAIR", "b" * 64), ("T1", "a" * 64)]
    digests = ["0", "0", "a" * 64, "b" * 64]  # two images, and the labels of two cohorts
    told = hashlib.sha256("".join(f"{digest}\n" for digest in sorted(digests)).encode()).hexdigest()
    assert told in {row[10][0] for row in Tables(page).rows["experiments"]}
    assert b"private" not in page
    assert b"/data" not in page


def test_vectors_of_files_that_changed_since_are_counted(made: Any) -> None:
    made.experiment("one")
    made.row("snn", "table_1", "one", auc=0.666)
    made.vectors("set-1", np.zeros((1, 3, 400)))  # FLAIR, T1 and T1wCE of the first scan
    files = [ScanFile(role, "", role.casefold()) for role in ("FLAIR", "T1", "mask")]
    for row in made.rows["features"]:
        row["input_sha256"] = "other" if row["modality"] == "T1wCE" else input_digest(row["modality"], files)
    lake = made.commit()

    def counted() -> list[str]:
        tables = Tables(render(gather(lake, progress=False))).rows
        return [cell[0] for cell in tables["feature-sets"][0][3:5]]

    assert counted() == ["3", "3"]
    put(lake, "scans", scan_row("scan-0000", {file.role: file.sha256 for file in files}))
    assert counted() == ["3", "1"]


NAME = st.text("abcXYZ019_-.", min_size=1, max_size=12).filter(lambda name: name.strip("."))


@given(
    st.lists(NAME, min_size=1, max_size=4), NAME,
    st.sampled_from(["/", "file:///", "s3://", "\\\\"]), st.sampled_from(["{}", "in {}: bad", "({})", '"{}", or'])
)  # fmt: skip
def test_of_a_path_nothing_but_the_last_name_is_left(folders: list[str], name: str, root: str, around: str) -> None:
    separator = "\\" if root.startswith("\\") else "/"
    path = root + separator.join([*folders, name])
    assert without_folders(around.format(path)) == around.format(name)


@pytest.mark.parametrize("words", ["ucsf_pdgm/UCSF-PDGM-0391 =(declared)=> brats21/x", "SD / √folds", "</b>", "1/k"])
def test_what_is_no_path_is_left_alone(words: str) -> None:
    assert without_folders(words) == words


def test_the_checklist_has_all_27_items_and_points_at_parts_of_the_page(said: Page, page: bytes) -> None:
    items = said.items
    assert [item.number for item in items] == list(range(1, 28))
    anchors = set(re.findall(r'id="([^"]+)"', page.decode("utf-8")))
    asked = tomllib.loads(files("gliolake.analysis.report").joinpath("tripod.toml").read_text("utf-8"))["item"]
    assert {anchor for item in asked for anchor in item["where"]} <= anchors
    assert {item["state"] for item in asked} == set(STATES)
    assert all(item.how for item in items)


def test_an_item_that_this_lake_cannot_show_is_not_met(made: Any) -> None:
    made.row("snn", "table_1", auc=0.6)
    items = {item.number: item for item in gather(made.commit(), progress=False).items}
    assert items[22].state == "not met"
    assert items[22].how == "This lake has nothing to show for it."
    assert items[23].state == "partly"  # a table with a published figure, and no subgroup


def test_the_command_writes_the_page(command: Any, finished: Any, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    answer = command("report", "--lake", finished.lake.root, "--output", file)
    assert (answer.code, "tables and" in answer.out) == (0, True)
    assert file.read_bytes().startswith(b"<!doctype html>")
