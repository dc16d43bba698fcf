"""`gliolake figure`: figures as files, each with the query of its data."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gliolake.analysis.figures.registry import FIGURES, Drawn, drawn
from gliolake.analysis.figures.style import SVG
from gliolake.analysis.study.published import the_study
from gliolake.atomic import replaced
from gliolake.errors import InputError, check_choice
from gliolake.log.progress import track
from gliolake.target import PNG, Own, check_target

if TYPE_CHECKING:
    from gliolake.storage.lake import Lake


@dataclass(frozen=True)
class Written:
    """A figure's files, or why there are none.

    Attributes:
        name, title: What it is called.
        files: Where its PNG and its SVG are. alt: What it shows, in a sentence. basis: What it rests on.
        query: The command that gives the numbers that are drawn.
        reason, hint: Why it could not be drawn, and what to do; both empty if it was.
    """

    name: str
    title: str
    files: tuple[str, ...] = ()
    alt: str = ""
    basis: str = ""
    query: str = ""
    reason: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Gallery:
    """All figures that were asked for."""

    figures: tuple[Written, ...]

    @property
    def any_drawn(self) -> bool:
        """Whether there is something to look at."""
        return any(one.files for one in self.figures)


def write_figures(
    lake: Lake,
    names: Sequence[str] = (),
    *,
    study: str | None = None,
    output: Path = Path(),
    overwrite: bool = False,
    progress: bool = True,
) -> Gallery:
    """Draw figures and write each as NAME.png and NAME.svg.

    Args:
        lake: the lake; it is only read.
        names: of figures; all if none is given, and then one that cannot be drawn is no error.
        study: of which study; None for the only one of the lake.
        output: folder of the files; made if it is not there. What else lies in it stays.
        overwrite: replace figures that are there.
        progress: show a progress bar on standard error.

    Raises:
        InputError: no such figure or study; or a figure that was named cannot be drawn; or a file may not be
            written, and then none is.
        StorageFull: no space is left.
    """
    from gliolake.sql.catalog import connect

    for name in names:
        check_choice("figure", name, FIGURES)
    wanted = list(dict.fromkeys(names)) or list(FIGURES)
    found = []
    for file, own in (each for name in wanted for each in _files(name, output)):
        check_target(file, overwrite=overwrite, own=own, new_parent=True)
    with connect(lake) as connection, _bar(len(wanted), progress) as advance:
        if study is not None:
            the_study(connection, study)
        for name in wanted:
            try:
                found.append(_written(drawn(connection, lake, name, study), output, overwrite))
            except InputError as error:
                if names:
                    raise
                found.append(Written(name, FIGURES[name].title, reason=str(error), hint=error.hint))
            advance()
    return Gallery(tuple(found))


def _bar(total: int, progress: bool) -> AbstractContextManager[Callable[[], None]]:
    return track("drawing", total) if progress else nullcontext(lambda: None)


def _files(name: str, output: Path) -> tuple[tuple[Path, Own], tuple[Path, Own]]:
    return (output / f"{name}.png", PNG), (output / f"{name}.svg", SVG)


def _written(figure: Drawn, output: Path, overwrite: bool) -> Written:
    output.mkdir(parents=True, exist_ok=True)
    files = _files(figure.name, output)
    for (file, own), content in zip(files, (figure.png, figure.svg), strict=True):
        with replaced(file, overwrite=overwrite, own=own) as stream:
            stream.write(content)
    names = tuple(str(file) for file, _ in files)
    return Written(figure.name, figure.title, names, figure.alt, figure.basis, _command(figure.query))


def _command(query: str) -> str:
    """As one would type it: in double quotes, where a shell leaves all that is between them alone."""
    plain = not set(query) & set('"$`!\\')
    return "gliolake sql " + (f'"{query}"' if plain else shlex.quote(query))
