"""`gliolake study show` on a made-up study: what stands beside what, and what is said of the rest."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from gliolake.analysis.study.command import analyse
from gliolake.analysis.study.published import Shown, show
from gliolake.cli.output import rendered
from gliolake.errors import InputError
from gliolake.storage.lake import Lake


@pytest.fixture(scope="module")
def shown(finished: Any) -> Callable[[str], Shown]:
    """What is shown of the finished study, by its name."""
    return cache(lambda what: show(finished.lake, what))


def printed(shown: Shown, *, colour: bool = False) -> str:
    file = StringIO()
    Console(file=file, width=220, force_terminal=colour, color_system="standard" if colour else None).print(
        rendered(shown)
    )
    return file.getvalue()


def lines_with(text: str, *parts: str) -> list[list[str]]:
    """Cells of the lines that hold all of the parts."""
    lines = [[cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines() if "│" in line]
    return [cells for cells in lines if all(part in cells for part in parts)]


def mean_of(finished: Any, experiment: str, split: str = "internal", metric: str = "auc") -> float:
    key = {"experiment": experiment, "split": split, "metric": metric}
    return next(row["mean"] for row in finished.rows["summaries"] if key.items() <= row.items())


def test_the_published_figure_stands_beside_ours_with_the_corrected_interval(finished: Any, shown: Any) -> None:
    ours = mean_of(finished, "one")
    ((label, metric, published, reproduced, difference, optimism, folds, basis),) = lines_with(
        printed(shown("table_1")), "SNN", "auc"
    )
    assert (label, metric, published, optimism, folds, basis) == (
        "SNN", "auc", "0.666 ± 0.031", "+0.010", "4", "trained weights",
    )  # fmt: skip
    assert reproduced == f"{ours:.3f} ± 0.020 [{ours - 0.2:.3f}, {ours + 0.2:.3f}]"
    assert difference == f"{ours - 0.666:+.3f}"


def test_a_figure_is_shown_with_all_its_parts_and_external_ones_with_their_bootstrap(finished: Any, shown: Any) -> None:
    given = shown("figure_7")
    assert {row["table"] for row in given.rows} == {"figure_7a", "figure_7b"}
    ours = mean_of(finished, "one", "external")
    (cells,) = lines_with(printed(given), "BEYOND", "auc")
    assert cells[3] == f"{ours:.3f} ± 0.020 [{ours - 0.1:.3f}, {ours + 0.1:.3f}]"


def test_what_is_not_trained_is_yellow(shown: Any) -> None:
    text = printed(shown("table_1"), colour=True)
    assert "\x1b[1;33mrandom weights: no training went into the vectors" in text
    assert text.count("\x1b[1;33m") == 1
    assert "\x1b[1;33m" in printed(shown("subgroups"), colour=True)


def test_rows_that_failed_are_named_below_with_the_reason_to_the_letter(shown: Any) -> None:
    given = shown("table_1")
    text = printed(given)
    assert "table_1, BROKEN: no vectors of [that] network" in text.split("Could not be computed:")[1]
    assert [row["name"] for row in given.missing] == ["broken"]
    (cells,) = lines_with(text, "BROKEN")
    assert cells == ["BROKEN", "auc", "0.600", "–", "–", "–", "", "failed"]
    assert lines_with(text, "QUOTED") == [["QUOTED", "auc", "0.622", "–", "–", "–", "", "quoted"]]
    assert "Could not be computed" not in printed(shown("table_2"))


def test_comparisons_say_which_rows_have_none_and_why(shown: Any) -> None:
    given = shown("comparisons")
    assert {row["name"]: row["why"] for row in given.missing} == {
        "broken": "no vectors of [that] network",
        "on-broken": "is compared with BROKEN, which failed",
        "on-quoted": "is compared with QUOTED, a quoted figure",
    }
    text = printed(given)
    assert lines_with(text, "BEYOND (external)", "SNN", "rank-sum")
    corrected = [cells for cells in lines_with(text, "corrected t", "auc") if cells[7] == "0"]
    assert [cells[5:7] for cells in corrected] == [["–", "–"]] * 2  # folds cut otherwise, and folds of fewer scans
    assert {cells[8] for cells in corrected} == {"their folds are of other patients"}


def test_comparisons_of_vectors_of_two_kinds_rest_on_both(shown: Any) -> None:
    rows = [row for row in shown("comparisons").rows if row["first"] == "mlp"]
    assert {(row["basis"], row["trained"]) for row in rows} == {("random against trained", False)}


def test_correlations_stand_beside_what_the_study_says(shown: Any) -> None:
    ((name, says, theirs, r, *_, points, note),) = lines_with(printed(shown("correlations")), "r² = 0.58")
    assert (name, says, theirs, r) == ("CCC of two backbones, and AUC of the two together", "r² = 0.58", "–", "–")
    assert (points, note) == ("0", "the study has no finished rows for it")


def test_subgroups_are_shown_by_row_split_and_attribute(shown: Any) -> None:
    text = printed(shown("subgroups"))
    ((_, split, attribute, *counts),) = lines_with(text, "SNN", "internal")
    assert (split, attribute, *counts[:4]) == ("internal", "all", "all", "24", "23", "12")
    (_, split, attribute, group, scans, patients, positive, auc, note, _), *_ = lines_with(text, "site", "A")
    assert (split, attribute, group, scans, patients, positive, auc) == ("", "site", "A", "12", "11", "6", "–")
    assert note == "6 methylated and 6 unmethylated patients; 10 of each are needed"


def test_the_overview_counts_rows_of_every_table_in_the_order_of_the_study(finished: Any) -> None:
    given = show(finished.lake)
    assert [(row["table"], row["done"], row["failed"], row["quoted"]) for row in given.rows] == [
        ("table_1", 6, 1, 1), ("table_2", 2, 0, 0), ("figure_7a", 1, 0, 0), ("figure_7b", 1, 0, 0),
    ]  # fmt: skip
    assert "no vectors of [that] network" in printed(given)


@pytest.mark.parametrize(("asked", "nearest"), [("table1", "table_1"), ("comparison", "comparisons")])
def test_an_unknown_name_is_refused_with_the_nearest(finished: Any, asked: str, nearest: str) -> None:
    with pytest.raises(InputError, match=f"no table or figure named '{asked}'") as refused:
        show(finished.lake, asked)
    assert nearest in refused.value.hint


def test_of_several_studies_one_has_to_be_chosen(made: Any) -> None:
    for study in ("made", "remade"):
        made.row("snn", "table_1", study=study, auc=0.6)
    lake = made.commit()
    assert [row["study"] for row in show(lake).rows] == ["made", "remade"]
    with pytest.raises(InputError, match="several studies") as refused:
        show(lake, "table_1")
    assert "made, remade" in refused.value.hint
    assert {row["study"] for row in show(lake, "table_1", "remade").rows} == {"remade"}
    with pytest.raises(InputError, match="no study named 'remad'"):
        show(lake, None, "remad")


def test_a_lake_without_a_study_says_what_to_do(lake: Lake) -> None:
    with pytest.raises(InputError, match="No study has been run") as refused:
        show(lake)
    assert "gliolake study run" in refused.value.hint


def test_a_study_whose_statistics_are_not_there_yet_is_shown(made: Any) -> None:
    made.row("snn", "table_1", auc=0.6)
    lake = made.commit()
    assert "Nothing yet." in printed(show(lake, "comparisons"))
    analyse(lake, "made", progress=False)
    assert show(lake, "subgroups").rows == []
