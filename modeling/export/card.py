"""Texts of an exported model: its model card, and the licence of its folder."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from textwrap import fill
from typing import Any

from gliolake.modeling.export.description import Description
from gliolake.modeling.export.neighbours import NEAREST
from gliolake.modeling.export.recalibration import COVERS

RULES = {
    "brats21": "methylated means two methylated CpG sites or more (BraTS 2021)",
    "ucsf": "methylated means one methylated CpG site or more (UCSF-PDGM)",
}

NOT_A_DEVICE = (
    "For research only. Not a medical device: it was examined and approved by nobody, and no decision about a patient "
    "may rest on it."
)


def right_about(description: Description) -> str:
    """In words, how often a model is right; for a page about one case."""
    auc, accuracy = description.metric("internal", "auc"), description.metric("internal", "accuracy")
    if auc is None or auc["mean"] is None:
        return "It is not known how often this model is right: no fold could show it."
    span = "" if auc["ci_low"] is None else f" (95 % interval {100 * auc['ci_low']:.0f} to {100 * auc['ci_high']:.0f})"
    told = (
        f"Of a methylated and an unmethylated patient, neither seen in training, this model ranks the two rightly in "
        f"{100 * auc['mean']:.0f} of 100 pairs{span}; a coin does in 50."
    )
    if accuracy is None or accuracy["mean"] is None:
        return told
    training = description.training
    share = max(training["methylated"], training["scans"] - training["methylated"]) / training["scans"]
    return (
        f"{told} Its calls are right for {100 * accuracy['mean']:.0f} of 100 patients; calling all of them alike is "
        f"right for {100 * share:.0f}."
    )


def metric_rows(description: Description) -> list[tuple[str, ...]]:
    """Split, metric, mean, 95 % interval, optimism and number of patients, as they are printed."""
    rows: list[tuple[str, ...]] = []
    for split in ("internal", "external"):
        for name in ("auc", "accuracy", "precision", "recall", "brier"):
            row = description.metric(split, name)
            if row is None or row["mean"] is None:
                continue
            low, high, optimism = row["ci_low"], row["ci_high"], row["optimism"]
            span = "–" if low is None or high is None else f"{low:.3f} to {high:.3f}"
            added = "–" if optimism is None else f"{optimism:+.3f}"
            rows.append(
                (split, "AUC" if name == "auc" else name, f"{row['mean']:.3f}", span, added, str(row["patients"]))
            )
    return rows


def model_card(description: Description) -> str:
    """MODEL_CARD.md."""
    told = description.told
    return _rendered(
        "MODEL_CARD.md.j2", model=description, told=told, training=description.training, rule=RULES[told.label_rule],
        right=right_about(description), metrics=metric_rows(description), covers=COVERS, nearest=NEAREST,
        same=same_to(description.proof["difference"]),
    )  # fmt: skip


def licence_of(description: Description) -> str:
    """LICENSE: under what terms the folder may be passed on, as its data have it."""
    known = tomllib.loads((files("gliolake.modeling.export") / "licences.toml").read_text("utf-8"))
    unknown = {"terms": "terms not known to gliolake; ask whoever gave you the scans.", "open": False}
    data = {name: known.get(name, unknown) for name in sorted(description.training["cohorts"])}
    return _rendered(
        "LICENSE.j2", model=description, data=[(name, one["terms"]) for name, one in data.items()],
        all_open=all(one["open"] for one in data.values()),
    )  # fmt: skip


def same_to(difference: float) -> str:
    """How well the lake's predictions were found again."""
    return "to the bit" if difference == 0 else f"to within {difference:.2g}"


def _rendered(template: str, **content: Any) -> str:
    """A template's text, whose paragraphs and items of lists are wrapped anew; tables are left as they are."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(  # noqa: S701 - it makes Markdown, not HTML
        loader=PackageLoader("gliolake.modeling.export", ""), undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    text = environment.get_template(template).render(content, use=NOT_A_DEVICE)
    return "\n\n".join(map(_wrapped, text.strip().split("\n\n"))) + "\n"


def _wrapped(paragraph: str) -> str:
    if paragraph.startswith("|"):
        return paragraph
    items = paragraph.replace("\n- ", "\0- ").split("\0")
    indent = "  " if paragraph.startswith("- ") else ""
    return "\n".join(fill(item, 110, subsequent_indent=indent, break_long_words=False) for item in items)
