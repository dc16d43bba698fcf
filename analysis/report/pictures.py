"""Figures of a report, drawn by the registry and embedded into the page."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gliolake.analysis.html_page import data_uri
from gliolake.analysis.report.table import spelled, without_folders
from gliolake.errors import InputError
from gliolake.log.progress import track

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from gliolake.storage.lake import Lake

LARGEST_SVG = 200_000
"""Bytes of a drawing beyond which the page takes it as pixels where these are fewer bytes: maps of many points."""


@dataclass(frozen=True)
class Picture:
    """A figure on the page.

    Attributes:
        name: its anchor. title, caption, alt, basis: see ``gliolake.analysis.figures.registry.Drawn``.
        source: the picture as a data: URI. An image cannot run what may stand in it.
        query: the SQL that gives its numbers.
    """

    name: str
    title: str
    caption: str
    alt: str
    basis: str
    source: str
    query: str


def pictures(
    connection: DuckDBPyConnection, lake: Lake, study: str, *, progress: bool = True
) -> tuple[list[Picture], list[str]]:
    """All figures that the lake has something to draw for, and a line on each of the others."""
    from gliolake.analysis.figures.registry import FIGURES, drawn

    found, missing = [], []
    bar = track("drawing figures", len(FIGURES)) if progress else nullcontext(lambda: None)
    with bar as advance:
        for name, figure in FIGURES.items():
            try:
                done = drawn(connection, lake, name, study)
            except InputError as error:
                missing.append(f"{figure.title}: {without_folders(f'{error} {error.hint}'.strip())}")
            else:
                query = f"FROM {figure.view}" + (" WHERE study = $study" if "study" in done.rows[0] else "")
                picture = Picture(
                    f"figure-{name}",
                    done.title,
                    done.caption,
                    done.alt,
                    done.basis,
                    _source(done.svg, done.png),
                    spelled(query, study=study),
                )
                found.append(picture)
            advance()
    return found, missing


def _source(svg: bytes, png: bytes) -> str:
    if len(svg) > max(LARGEST_SVG, len(png)):
        return data_uri(png, "image/png")
    return data_uri(svg, "image/svg+xml")
