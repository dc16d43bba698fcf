"""The results of a study as views: published beside reproduced, and what each figure rests on."""

from __future__ import annotations

from typing import Any

import pytest

from gliolake.sql.catalog import connect, write_catalog
from gliolake.storage.lake import Lake

VIEWS = ("results", "table_1", "table_2", "table_3", "table_4", "figure_7")


class Results:
    """Rows of a study and of its experiments, and questions to their views."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake
        self.rows: dict[str, list[dict[str, Any]]] = {"study_rows": [], "experiments": [], "summaries": []}

    def row(self, name: str, table: str = "table_1", experiment: str = "", **told: Any) -> None:
        row = {
            "study": "made", "name": name, "table": table, "position": len(self.rows["study_rows"]), "label": name,
            "split": "internal", "state": "done" if experiment else "quoted", "detail": "", "experiment": experiment,
            "compared_with": "",
        }  # fmt: skip
        self.rows["study_rows"].append(row | told)

    def experiment(self, name: str, weights: str = "trained", **figures: float) -> None:
        """An experiment with internal figures, the mean by metric."""
        row = {
            "experiment": name, "model": "snn", "feature_set": "set-1", "weights": weights, "label_rule": "brats21",
            "split": "training", "scans": 20, "patients": 20, "settings": "{}",
        }  # fmt: skip
        self.rows["experiments"].append(row)
        for metric, mean in figures.items():
            self.figure(name, "internal", metric, mean, ci_low=mean - 0.2, ci_high=mean + 0.2)

    def figure(self, experiment: str, split: str, metric: str, mean: float, **more: float) -> None:
        row = {"experiment": experiment, "split": split, "metric": metric, "mean": mean, "sd": 0.04, "sem": 0.02}
        row |= {"bootstrap_low": mean - 0.1, "bootstrap_high": mean + 0.1, "ci_low": mean - 0.1, "ci_high": mean + 0.1}
        row |= {"optimism": 0.01, "folds": 4, "scans": 20, "patients": 19}
        self.rows["summaries"].append(row | more)

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        def write(transaction: Any) -> None:
            for table, rows in self.rows.items():
                transaction.upsert(table, rows)

        self.lake.transact(write, run_id="made")
        with connect(self.lake) as connection:
            return connection.sql(statement).fetchall()


@pytest.fixture
def results(lake: Lake) -> Results:
    return Results(lake)


def test_an_empty_lake_has_empty_views(lake: Lake) -> None:
    with connect(lake) as connection:
        assert {view: connection.table(view).fetchall() for view in VIEWS} == {view: [] for view in VIEWS}


def test_a_row_shows_what_was_published_what_came_out_and_the_difference(results: Results) -> None:
    results.experiment("e", auc=0.62, precision=0.55, accuracy=0.56, recall=0.7)
    results.row("snn", experiment="e", auc=0.666, auc_sem=0.031, precision=0.591, recall=0.63)
    found = results.ask("SELECT metric, published, published_sem, reproduced, round(difference, 3) FROM table_1")
    assert found == [
        ("auc", 0.666, 0.031, 0.62, -0.046),
        ("precision", 0.591, None, 0.55, -0.041),
        ("accuracy", None, None, 0.56, None),
        ("recall", 0.63, None, 0.7, 0.07),
    ]
    ((*figures,),) = results.ask(
        "SELECT sem, bootstrap_low, bootstrap_high, ci_low, ci_high, optimism, folds, scans, patients "
        "FROM results WHERE metric = 'auc'"
    )
    assert figures == pytest.approx([0.02, 0.52, 0.72, 0.42, 0.82, 0.01, 4, 20, 19])


def test_precision_and_accuracy_carry_the_warning_about_the_released_script(results: Results) -> None:
    results.experiment("e", auc=0.6, precision=0.55, accuracy=0.56)
    results.row("snn", experiment="e", precision=0.591)
    assert results.ask("SELECT note FROM results WHERE metric IN ('precision', 'accuracy')") == [
        ("trained weights; the released script filled precision with accuracy",),
        ("trained weights; not published under its name; see precision",),
    ]


def test_the_note_says_what_a_row_rests_on(results: Results) -> None:
    notes = {
        "trained": "trained weights",
        "released": "the study's released vectors",
        "untrained": "untrained weights",
        "random": "random weights: no training went into the vectors",
        "random and trained": "random and trained weights",
        "synthetic": "SYNTHETIC scans",
    }
    for weights in notes:
        results.experiment(f"on-{weights}", weights, auc=0.6)
        results.row(weights, experiment=f"on-{weights}")
    assert dict(results.ask("SELECT name, note FROM results WHERE metric = 'auc'")) == notes


def test_failed_and_quoted_rows_have_what_was_published_and_no_figure_of_ours(results: Results) -> None:
    results.experiment("e", auc=0.6)
    results.row("broken", state="failed", detail="no vectors", experiment="e", auc=0.61)
    results.row("others", auc=0.622)
    found = results.ask("SELECT name, state, published, reproduced, difference, note FROM results WHERE metric = 'auc'")
    assert found == [
        ("broken", "failed", 0.61, None, None, "failed: no vectors"),
        ("others", "quoted", 0.622, None, None, "quoted"),
    ]
    assert results.ask("SELECT count(*) FROM results WHERE state = 'quoted' AND metric = 'accuracy'") == [(0,)]


def test_an_external_row_has_external_figures_or_says_that_there_are_none(results: Results) -> None:
    results.experiment("e", auc=0.6)
    results.figure("e", "external", "auc", 0.7)
    results.experiment("never-tested", auc=0.6)
    results.row("beyond", "figure_7b", "e", split="external", auc=0.624)
    results.row("none", "figure_7b", "never-tested", split="external", auc=0.624)
    found = results.ask("SELECT name, reproduced, bootstrap_low, ci_low, note FROM figure_7 WHERE metric = 'auc'")
    assert found == [
        ("beyond", 0.7, pytest.approx(0.6), pytest.approx(0.6), "trained weights"),
        ("none", None, None, None, "trained weights; no external fold shows it"),
    ]


def test_rows_that_share_an_experiment_show_the_same_figures_against_their_own_publication(results: Results) -> None:
    results.experiment("e", auc=0.62)
    results.row("snn", "table_1", "e", auc=0.666)
    results.row("all", "table_2", "e", auc=0.6)
    found = results.ask("SELECT name, reproduced, round(difference, 3) FROM results WHERE metric = 'auc'")
    assert found == [("snn", 0.62, -0.046), ("all", 0.62, 0.02)]


def test_every_view_is_in_the_order_of_the_study_file(results: Results) -> None:
    results.experiment("e", auc=0.6, recall=0.5)
    tables = ["table_3", "figure_7b", "table_1", "figure_7a", "table_4", "table_2", "robustness"] * 3
    for n, table in enumerate(tables):
        results.row(f"row-{97 * n % 50:02d}", table, "e")
    results.ask("SELECT 1")
    with connect(results.lake) as connection:
        shown = {view: connection.table(view).select("position, metric").fetchall() for view in VIEWS}
    for view, rows in shown.items():
        wanted = [
            (position, metric)
            for position, table in enumerate(tables)
            if view == "results" or table.removesuffix("a").removesuffix("b") == view
            for metric in ("auc", "precision", "accuracy", "recall")
        ]
        assert rows == wanted


def test_the_views_are_in_a_written_catalog(results: Results, tmp_path: Any) -> None:
    results.experiment("e", auc=0.6)
    results.row("snn", "table_1", "e", auc=0.666)
    results.ask("SELECT 1")
    rows = write_catalog(results.lake, tmp_path / "lake.duckdb")
    assert {view: rows[view] for view in VIEWS} == dict.fromkeys(VIEWS, 0) | {"results": 4, "table_1": 4}
