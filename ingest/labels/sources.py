"""Sources of labels: a file is known by its path and its content, never by its name alone.

Two sites may both send a ``labels.csv``; a site may send a new one in place of the last, or move it elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gliolake.paths import absolute

if TYPE_CHECKING:
    from gliolake.storage.transaction import Transaction


@dataclass(frozen=True)
class Source:
    """A file of labels as the lake knows it.

    name: what it is called in the lake: the file's stem, with its folder where another source is called so.
    path: absolute. sha256: of its bytes. order: larger than that of all sources whose content came before.
    """

    name: str
    path: str
    sha256: str
    order: int


def path_of(file: Path) -> str:
    """A file's absolute path as text. Links are not followed: what a link leads to may change."""
    return str(absolute(file))


def known_sources(tx: Transaction, cohort: str) -> list[Source]:
    """The sources of a cohort's labels."""
    rows = tx.read("labels", {"cohort": cohort}, ["source", "source_path", "source_sha256", "source_order"])
    found = rows.group_by(rows.column_names).aggregate([]).to_pylist()
    return sorted(
        (
            Source(row["source"], row["source_path"] or "", row["source_sha256"], row["source_order"] or 0)
            for row in found
        ),
        key=lambda source: (source.order, source.name),
    )


def placed(known: Iterable[Source], files: Sequence[tuple[str, str]]) -> list[Source]:
    """The sources that files, given by path and sha256 and all different in both, are from now on.

    The same content at another path is a source that moved. New content at a known path takes the place of the old,
    and counts as later than all other sources; so does a file that is new in both.
    """
    sources = list(known)
    settled: dict[str, Source] = {}
    for path, sha256 in files:
        same = [source for source in sources if source.sha256 == sha256]
        if same:
            before = next((source for source in same if source.path == path), same[0])
            settled[path] = replace(before, path=path)
            sources = [settled[path] if source is before else source for source in sources]
    for path, sha256 in files:
        if path not in settled:
            former = next((source for source in sources if source.path == path), None)
            name = former.name if former else _free_name(Path(path), {source.name for source in sources})
            order = 1 + max((source.order for source in sources), default=0)
            settled[path] = Source(name, path, sha256, order)
            sources = [source for source in sources if source is not former] + [settled[path]]
    return [settled[path] for path, _ in files]


def given_up(known: Iterable[Source], now: Sequence[Source]) -> list[Source]:
    """The known sources at whose paths other ones are now."""
    names, paths = {source.name for source in now}, {source.path for source in now}
    return [source for source in known if source.path in paths and source.name not in names]


def put(tx: Transaction, cohort: str, files: Sequence[tuple[str, str]]) -> list[Source]:
    """Settle which sources files are (``placed``), and take out the rows of those whose path another now has."""
    known = known_sources(tx, cohort)
    now = placed(known, files)
    for source in given_up(known, now):
        tx.delete("labels", {"cohort": cohort, "source": source.name})
    return now


def _free_name(path: Path, taken: set[str]) -> str:
    """The stem, with as many folders as it takes to be no other source's name, and at last a number."""
    folders = [folder.name for folder in path.parents if folder.name]
    names = [path.stem, *(f"{path.stem} ({'/'.join(folders[n::-1])})" for n in range(len(folders)))]
    numbered = (f"{path.stem} {number}" for number in range(2, len(taken) + 3))
    return next(name for name in (*names, *numbered) if name not in taken)
