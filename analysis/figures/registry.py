"""Which figures there are, what each is the counterpart of, and how one is drawn from the lake."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.figures.attention import attention
from analysis.figures.decision import decision
from analysis.figures.style import Row, Sketch, saved, stamp, styled
from analysis.show import the_study
from lake.errors import InputError, known_name

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from lake.store import Lake

SILENT = ("", "trained weights")
"""What a figure may rest on without saying so."""

RUN = "gliolake study run fills it."


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
    """

    name: str
    title: str
    caption: str
    alt: str
    basis: str
    rows: list[Row]
    svg: bytes
    png: bytes


def _of_rows(draw: Callable[[Sequence[Row]], Sketch]) -> Callable[[Sequence[Row], Lake], Sketch]:
    """A drawing of rows alone."""
    return lambda rows, _: draw(rows)


_ALL = (
    Figure(
        "decision", "Decision curves", "figure_4",
        "Net benefit of treating those whom a model calls methylated at a threshold, beside treating all and none. The "
        "grey range holds thresholds at which a doctor may be in two minds. A model is of use where its line is the "
        "highest. One mean prediction per scan; counterpart of the study's Figure 4.",
        _of_rows(decision),
    ),
    Figure(
        "attention", "Attention of the branches", "figure_5",
        "Mean weight that the fusion gives each branch, over patients, with 95 % intervals. The broken line is where "
        "all branches count alike. A weight says what the network listens to, not that it is right to do so. "
        "Counterpart of the study's Figure 5.",
        _of_rows(attention),
    ),
)  # fmt: skip

FIGURES: dict[str, Figure] = {figure.name: figure for figure in _ALL}


def drawn(connection: DuckDBPyConnection, lake: Lake, name: str, study: str | None = None) -> Drawn:
    """Draw a figure.

    Args:
        connection: of the lake (``sql.catalog.connect``).
        lake: the lake, for figures that show images.
        name: of the figure.
        study: of which study; None for the only one of the lake. Of no concern to figures that are of no study.

    Raises:
        InputError: no such figure, no such study, several studies and none was named, or nothing to draw.
    """
    figure = FIGURES[known_name("figure", name, FIGURES)]
    query, given = f"FROM {figure.view}", {}  # the view's name is our own
    if "study" in connection.sql(query).columns:
        query, given = f"{query} WHERE study = $study", {"study": the_study(connection, study)}
    rows: list[Row] = connection.sql(query, params=given).to_arrow_table().to_pylist()
    if not rows:
        raise InputError(f"There is nothing to draw for {name}: the view {figure.view} has no rows.", hint=figure.hint)
    basis = ", ".join(sorted({row["basis"] or "" for row in rows} - set(SILENT)))
    with styled():
        sketch = figure.draw(rows, lake)
        stamp(sketch.figure, basis)
        files = saved(sketch.figure, figure.title, sketch.alt)
    return Drawn(name, figure.title, figure.caption, sketch.alt, basis, rows, files.svg, files.png)
