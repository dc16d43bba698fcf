"""Maps of vectors: scans coloured by site and by label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from gliolake.analysis.figures.style import BLUE, PALETTE, PAPER, PENCIL, VERMILION, Row, Sketch, blank, readable

MARKERS = ("o", "s", "^", "D", "v", "P")
"""Of the same places in the palette."""

Look = tuple[str, str, str]
"""Marker, colour of its edge, colour inside."""

LABELS: dict[bool | None, tuple[str, Look]] = {
    True: ("methylated", ("o", BLUE, BLUE)),
    False: ("unmethylated", ("o", VERMILION, PAPER)),
    None: ("no call", ("x", PENCIL, PENCIL)),
}


def scan_map(rows: Sequence[Row]) -> Sketch:
    """Rows of view figure_map: for each feature set a panel by site and one by label."""
    sets = [(str(name), list(of)) for name, of in groupby(rows, key=lambda row: row["feature_set"])]
    figure, axes = blank(2.75 * len(sets) + 0.2, len(sets), 2)
    counts = Counter(str(row["site"]) for row in sets[0][1])
    largest = [site for site, _ in sorted(counts.items(), key=lambda of: (-of[1], of[0]))][: len(PALETTE)]
    looks = {site: (MARKERS[i], PALETTE[i], PAPER) for i, site in enumerate(largest)}
    others: Look = ("x", PENCIL, PENCIL)
    for (name, of), by_site, by_label in zip(sets, axes[::2], axes[1::2], strict=True):
        by_site.set_title(readable(name, 34))
        sites = {site: looks.get(site, others) for site in sorted({str(row["site"]) for row in of})}
        named = {site: readable(site, 20) if site in looks else "another site" for site in sites}
        _panel(
            by_site, [([row for row in of if row["site"] == site], named[site], look) for site, look in sites.items()]
        )
        _panel(by_label, [([row for row in of if row["methylated"] is call], *look) for call, look in LABELS.items()])
    calls = Counter(LABELS[row["methylated"]][0] for row in sets[0][1])
    told = ", ".join(f"{n} {what}" for what, n in sorted(calls.items()))
    sites_told = ", ".join(f"{readable(site, 20)} {counts[site]}" for site in largest)
    return Sketch(figure, f"Map of {len(sets[0][1])} scans ({told}); scans of each site: {sites_told}.")


def _panel(axis: Axes, parts: Sequence[tuple[Sequence[Row], str, Look]]) -> None:
    entries: dict[str, Line2D] = {}
    for rows, name, (marker, edge, inside) in parts:
        if not rows:
            continue
        size = 4.5 if len(rows) < 100 else 3
        (dots,) = axis.plot(
            [row["x"] for row in rows], [row["y"] for row in rows], ls="", marker=marker, ms=size, mec=edge, mfc=inside,
            mew=0.9,
        )  # fmt: skip
        entries.setdefault(name, dots)
    axis.set(xticks=[], yticks=[], aspect="equal", adjustable="datalim")
    axis.spines[:].set_visible(True)
    axis.legend(
        handles=list(entries.values()), labels=list(entries), loc="upper center", bbox_to_anchor=(0.5, -0.01),
        ncols=min(3, len(entries)), handletextpad=0.1, columnspacing=0.8, borderpad=0.2,
    )  # fmt: skip
