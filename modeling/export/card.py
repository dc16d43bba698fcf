"""The words that go with an exported model: its card, and the licence of its folder."""

from __future__ import annotations

from itertools import pairwise
from textwrap import fill

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

DATA = {
    "brats21": (
        "RSNA-ASNR-MICCAI BraTS 2021. It can be had from several places, each with its own terms: those count of the "
        "place that the scans and labels came from."
    ),
    "ucsf_pdgm": "UCSF-PDGM, The Cancer Imaging Archive, doi 10.7937/tcia.bdgf-8v37, CC BY 4.0.",
    "chen2025": (
        "Feature vectors that the authors of J Appl Clin Med Phys 2025, doi 10.1002/acm2.70373, put into their "
        "repository, made from BraTS 2021."
    ),
}
"""Cohorts whose terms are known, with what has to be named where something made of them is passed on."""

OPEN = ("ucsf_pdgm",)
"""Those of them that may be passed on under CC BY 4.0."""


def right_about(description: Description) -> str:
    """In words, how often a model is right; for a page about one case."""
    auc, accuracy = description.metric("internal", "auc"), description.metric("internal", "accuracy")
    if auc is None or auc["mean"] is None:
        return "It is not known how often this model is right: no fold could show it."
    span = "" if auc["low"] is None else f" (95 % interval {100 * auc['low']:.0f} to {100 * auc['high']:.0f})"
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
            low, high, optimism = row["low"], row["high"], row["optimism"]
            span = "–" if low is None or high is None else f"{low:.3f} to {high:.3f}"
            added = "–" if optimism is None else f"{optimism:+.3f}"
            rows.append(
                (split, "AUC" if name == "auc" else name, f"{row['mean']:.3f}", span, added, str(row["patients"]))
            )
    return rows


def model_card(description: Description) -> str:
    """MODEL_CARD.md."""
    told = description.told
    title = (
        f"An ensemble of {len(description.fits)} fits of `{told.model}` that estimates from MRI whether a "
        "glioblastoma's MGMT promoter is methylated."
    )
    warning = [] if description.trained else [f"**This model rests on {description.rests_on}.**"]
    parts = [
        _section(f"# {description.experiment}", title, *warning, f"**{NOT_A_DEVICE}**"),
        _section(
            "## What it is for",
            "To repeat, examine and criticise a piece of research, and to see what its model makes of a single case. "
            "It is not for diagnosis, prognosis or the choice of a treatment, and it does not replace a test of "
            f"tissue. {right_about(description)}",
        ),
        _section("## What it was made from", *_data(description)),
        _section("## How good it is", _metrics(description), _protocol(description)),
        _section("## What a prediction is", *_prediction(description)),
        _section("## Limits", _seen(description), *LIMITS),
        _section("## How it was made", *_making(description)),
    ]
    return "\n\n".join(parts) + "\n"


LIMITS = (
    "- Published models for this question have not held up on patients from elsewhere; nor is this one likely to.",
    "- It sees a box of fixed size around the tumour, so mask and box matter.",
    "- The same files give the same vectors; the same patient scanned again does not.",
)


def _seen(description: Description) -> str:
    if description.training["synthetic"]:
        return "- It has seen made-up scans, and of people nobody."
    return "- It has seen adults with diffuse glioma, imaged in the ways of the cohorts above, and nobody else."


def _data(description: Description) -> list[str]:
    training, rule = description.training, description.told.label_rule
    cohorts = ", ".join(f"{name} ({scans} scans)" for name, scans in training["cohorts"].items())
    raw = f"volume set {', '.join(description.volumes)}" if description.volumes else "there were none"
    sets = [f"`{one['feature_set']}` ({one['backbone']}, {one['weights']} weights)" for one in description.feature_sets]
    return [
        f"- {training['scans']} scans of {training['patients']} patients, {training['methylated']} of them methylated: "
        f"{cohorts}.",
        f"- Labels by the rule `{rule}`: {RULES[rule]}.",
        f"- Branches: {description.reads}. Preprocessing of raw scans: {raw}.",
        f"- Vectors: {', '.join(sets)}. Their recipes stand whole in `model.json`; a case has to be turned into "
        "vectors by the same ones.",
    ]


def _metrics(description: Description) -> str:
    head = ("split", "metric", "mean over fits", "95 % interval", "optimism", "patients")
    rows = [head, ("---",) * len(head), *metric_rows(description)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _protocol(description: Description) -> str:
    told = description.told
    return (
        f"Internal: {told.repeats} × {told.folds} cross-validation by patient, with the corrected resampled t. "
        "External: patients of other cohorts, with the bootstrap over patients. Optimism is what choosing on the test "
        "patients themselves would have added; the figures are without it."
    )


def _prediction(description: Description) -> list[str]:
    calibration = description.calibration
    attention = (
        "Attention says what the model looked at, and not why."
        if description.told.model.startswith("snn")
        else "The model has no attention; what a modality adds is seen by leaving it out."
    )
    return [
        "The mean of all fits, moved by a line through the logits of the out-of-fold predictions (intercept "
        f"{calibration['intercept']:.3f}, slope {calibration['slope']:.3f}; with a slope of 0 the model told nobody "
        f"apart). Its interval is over {COVERS} {attention}",
        f"The {NEAREST} nearest training patients show whom a case is like. A case that lies further from them than "
        "99 of 100 training patients lie from the others is called outside, and what the model says of it is worth "
        "little.",
    ]


def _making(description: Description) -> list[str]:
    code, proof = description.code, description.proof
    return [
        "`gliolake model export` trained the experiment's fits again from the rows of the lake, and found the same "
        f"{proof['predictions']:,} predictions {same_to(proof['difference'])}. Trained by gliolake "
        f"{code['trained_by']}, exported by {code['exported_by']}; code of the models {code['code_sha256']}, rows "
        f"{description.training['input_sha256'][:12]}.",
        "`reference.safetensors` holds vectors of the training patients under the names they have in the lake, for "
        "the search of the nearest ones: pass the folder on only where you may pass those on. Terms: `LICENSE`.",
    ]


def same_to(difference: float) -> str:
    """How well the lake's predictions were found again."""
    return "to the bit" if difference == 0 else f"to within {difference:.2g}"


def _section(title: str, *paragraphs: str) -> str:
    """A title and its paragraphs, wrapped; items of a list stand close, tables are left as they are."""
    told = fill(title, 110)
    for before, text in pairwise(("", *paragraphs)):
        close = before.startswith("- ") and text.startswith("- ")
        indent = "  " if text.startswith("- ") else ""
        wrapped = text if text.startswith("|") else fill(text, 110, subsequent_indent=indent, break_long_words=False)
        told += ("\n" if close else "\n\n") + wrapped
    return told


def licence_of(description: Description) -> str:
    """LICENSE: under what terms the folder may be passed on, as its data have it."""
    cohorts = sorted(description.training["cohorts"])
    lines = [
        f"- {name}: {DATA.get(name, 'terms not known to gliolake; ask whoever gave you the scans.')}"
        for name in cohorts
    ]
    if description.training["synthetic"]:
        head = "Made from synthetic scans of no real person. Nobody's data forbid that this folder is passed on."
        return f"{head}\n\n{NOT_A_DEVICE}\n"
    if all(name in OPEN for name in cohorts):
        head = (
            "This folder may be passed on and changed under the Creative Commons Attribution 4.0 licence (CC BY 4.0, "
            "https://creativecommons.org/licenses/by/4.0/), if the data that it was made from are named:"
        )
    else:
        head = (
            "No licence is given with this folder: the terms of some of the data that it was made from are not known "
            "to gliolake. It may be passed on as far as the owners of these data allow it, and no further:"
        )
    return _section(head, *lines, NOT_A_DEVICE) + "\n"
