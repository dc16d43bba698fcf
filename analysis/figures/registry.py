"""Registry of figures: name, published counterpart, and drawing function of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gliolake.analysis.figures.attention import attention
from gliolake.analysis.figures.cases import cases
from gliolake.analysis.figures.curves import calibration, roc
from gliolake.analysis.figures.decision import decision
from gliolake.analysis.figures.flowchart import flowchart
from gliolake.analysis.figures.forest import agreement, delta, forest, subgroups
from gliolake.analysis.figures.maps import scan_map
from gliolake.analysis.figures.style import Row, Sketch, saved, stamp, styled
from gliolake.analysis.study.published import the_study
from gliolake.errors import InputError, check_choice
from gliolake.sql.statements import statement

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from gliolake.storage.lake import Lake

SILENT = ("", "trained weights")
"""What a figure may rest on without saying so."""

RUN = "gliolake study run fills it."
WEIGHS = "gliolake study run fills it, of a network that weighs its branches: snn."


@dataclass(frozen=True)
class Figure:
    """A figure that can be drawn.

    Attributes:
        name, title: What it is called.
        view: The SQL view whose rows are drawn.
        caption: How it is read, and which published figure it is the counterpart of.
        draw: Draws rows of the view, of which there is at least one; may read images that the lake names.
        hint: Which command fills the view.
    """

    name: str
    title: str
    view: str
    caption: str
    draw: Callable[[Sequence[Row], Lake], Sketch]
    hint: str = RUN


@dataclass(frozen=True)
class Drawn:
    """A figure that was drawn.

    Attributes:
        name, title, caption: As in ``Figure``.
        alt: One sentence for those who cannot see it, with the main numbers.
        basis: What it rests on in words; empty only for trained weights on real scans.
        rows: The rows of the view, which hold every number that is drawn.
        svg, png: The picture, its text as text and at two pixels for each of a screen's.
        query: The SQL that gives the rows.
    """

    name: str
    title: str
    caption: str
    alt: str
    basis: str
    rows: list[Row]
    svg: bytes
    png: bytes
    query: str = ""


def _of_rows(draw: Callable[[Sequence[Row]], Sketch]) -> Callable[[Sequence[Row], Lake], Sketch]:
    """A drawing of rows alone."""
    return lambda rows, _: draw(rows)


_ALL = (
    Figure(
        "flowchart", "Who is in the study", "figure_2",
        "From every scan that images or labels name down to those that train and those that test from outside. Boxes "
        "at the side say what was left out and why. Red: scans of training patients under another name, which matching "
        "by id alone would have let into the external set. Counterpart of the study's Figure 2.",
        _of_rows(flowchart), "gliolake ingest fills it.",
    ),
    Figure(
        "cases", "Example cases", "figure_3",
        "Chosen by rule, not by eye: of the internal test parts the surest right prediction of either class and the "
        "surest wrong one. Bars: attention of the branches; broken line: all alike. Images, where the files are still "
        "there unchanged: the middle slice of the tumour in each modality, with the outline of its mask and the box "
        "that networks see. Counterpart of the study's Figure 3.",
        cases, WEIGHS,
    ),
    Figure(
        "decision", "Decision curves", "figure_4",
        "Net benefit of treating those whom a model calls methylated at a threshold, beside treating all and none. The "
        "grey range holds thresholds at which a doctor may be in two minds. A model is of use where its line is the "
        "highest. One mean prediction per scan. Counterpart of the study's Figure 4.",
        _of_rows(decision),
    ),
    Figure(
        "attention", "Attention of the branches", "figure_5",
        "Mean weight that the fusion gives each branch, over patients, with 95 % intervals. The broken line is where "
        "all branches count alike. A weight says what the network listens to, not that it is right to do so. "
        "Counterpart of the study's Figure 5.",
        _of_rows(attention), WEIGHS,
    ),
    Figure(
        "ccc", "Agreement of networks", "figure_6",
        "Lin's concordance of the same feature from two networks, mean over features: 1 if both give the same numbers, "
        "0 if one says nothing of the other. Dots are computed here, with 95 % intervals over patients; diamonds are "
        "the published means. Counterpart of the study's Figure 6.",
        _of_rows(agreement), "gliolake ccc fills it.",
    ),
    Figure(
        "delta", "With and without delta T1, and external validation", "figure_7",
        "AUC, mean over folds. Dots are computed here, with 95 % intervals (internal, corrected resampled t; external, "
        "bootstrap over patients); diamonds are published, with their standard error. Counterpart of the study's "
        "Figure 7.",
        _of_rows(delta),
    ),
    Figure(
        "roc", "ROC curves", "figure_roc",
        "Sensitivity against false alarms, of one mean prediction per scan, with pointwise 95 % bands by bootstrap "
        "over patients. On the broken line a model is no better than chance. The AUC is that of the curve, not the "
        "mean over folds that the tables show. The study has no such figure.",
        _of_rows(roc),
    ),
    Figure(
        "calibration", "Calibration curves", "figure_calibration",
        "Of scans that were given a probability, the share that is methylated, in bins of about equally many scans, "
        "with Wilson's 95 % intervals. On the broken line probabilities mean what they say. Grey bars: how many scans "
        "were given which probability. The study has no such figure.",
        _of_rows(calibration),
    ),
    Figure(
        "forest", "All results of the study", "figure_forest",
        "AUC of every row of the study, mean over folds. Dots are computed here, with 95 % intervals (internal, "
        "corrected resampled t; external, bootstrap over patients); diamonds are published, with their standard error. "
        "The numbers of the study's Tables 1 to 4 and Figure 7 as one picture.",
        _of_rows(forest),
    ),
    Figure(
        "map", "Map of the scans", "figure_map",
        "Scans with like vectors lie near each other; axes have no meaning. Left by site, right by label: where sites "
        "lie apart and labels do not, vectors know the scanner better than the tumour. The study has no such figure.",
        _of_rows(scan_map), "gliolake map fills it.",
    ),
    Figure(
        "subgroups", "Subgroups of patients", "figure_subgroups",
        "AUC of one mean prediction per scan in groups of patients, with each group's own 95 % interval by bootstrap "
        "over patients. Groups of fewer than ten patients of a class have none; n counts "
        "patients. Many groups are looked at, so some stand out by chance. The study has no such figure.",
        _of_rows(subgroups),
    ),
)  # fmt: skip

FIGURES: dict[str, Figure] = {figure.name: figure for figure in _ALL}


def drawn(connection: DuckDBPyConnection, lake: Lake, name: str, study: str | None = None) -> Drawn:
    """Draw a figure.

    Args:
        connection: of the lake (``gliolake.sql.catalog.connect``).
        lake: the lake, for figures that show images.
        name: of the figure.
        study: of which study; None for the only one of the lake. Of no concern to figures that are of no study.

    Raises:
        InputError: no such figure, no such study, several studies and none was named, or nothing to draw.
    """
    figure = FIGURES[check_choice("figure", name, FIGURES)]
    query, given = statement("FROM {view}", view=figure.view), {}
    if "study" in connection.sql(query).columns:
        query, given = query + " WHERE study = $study", {"study": the_study(connection, study)}
    rows: list[Row] = connection.sql(query, params=given).to_arrow_table().to_pylist()
    if not rows:
        raise InputError(f"There is nothing to draw for {name}: the view {figure.view} has no rows.", hint=figure.hint)
    basis = "; ".join(sorted({one for row in rows for one in (row["basis"] or "").split("; ")} - set(SILENT)))
    with styled():
        sketch = figure.draw(rows, lake)
        stamp(sketch.figure, basis)
        files = saved(sketch.figure, figure.title, sketch.alt)
    asked = f"FROM {figure.view}"
    if study is not None and given:
        name_of = study.replace("'", "''")
        asked += f" WHERE study = '{name_of}'"
    return Drawn(name, figure.title, figure.caption, sketch.alt, basis, rows, files.svg, files.png, asked)
