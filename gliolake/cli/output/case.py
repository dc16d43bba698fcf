"""Formats the answer for a case."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gliolake.analysis.study.notation import number

if TYPE_CHECKING:
    from gliolake.analysis.case.answer import Answer


def shown(answer: Answer) -> RenderableType:
    """Warnings first, then the probability, what it looked at, who is like it, and how often the model is right."""
    from gliolake.modeling.export.card import NOT_A_DEVICE
    from gliolake.modeling.export.recalibration import COVERS

    told = answer.estimate
    model = f" by {answer.model.description.experiment} (model {answer.model.model_id})"
    return Group(
        Text.assemble((answer.case.name, "bold"), model),
        *(Text(warning, style="bold red") for warning in answer.warnings),
        Text.assemble(
            "\nProbability that the MGMT promoter is methylated: ", (f"{told.probability:.2f}", "bold"),
            f", 95 % interval {told.ci_low:.2f} to {told.ci_high:.2f}\n",
            (f"{answer.rule}; of the training patients {answer.base:.2f} are\n", "dim"),
            (f"The interval is over {COVERS}\n", "dim"),
        ),
        _shares(answer),
        _nearest(answer),
        *map(Text, (answer.place, *answer.notes, f"\n{answer.right}")),
        Text(NOT_A_DEVICE, style="dim"),
        Text(" and ".join(answer.pages)),
    )  # fmt: skip


def _shares(answer: Answer) -> Table:
    what, style = ("attention", ".2f") if answer.attention else ("probability it adds", "+.2f")
    table = Table("modality", what, "SD over fits")
    for share in answer.shares:
        table.add_row(share.modality, number(share.mean, style), number(share.sd, ".2f"))
    return table


def _nearest(answer: Answer) -> Table:
    table = Table("patient", "scan", "label", "distance", title=answer.nearest_title, title_justify="left")
    for one in answer.surroundings.nearest:
        table.add_row(
            Text(one.patient_id), Text(f"{one.cohort} {one.scan_id}"), one.called, f"{one.distance:.2f}"
        )  # fmt: skip
    return table


def dumped(answer: Answer) -> dict[str, Any]:
    """What the answer says and rests on, vectors and tensors aside."""
    from gliolake.modeling.export.card import NOT_A_DEVICE
    from gliolake.modeling.export.recalibration import COVERS

    case, where, description = answer.case, answer.surroundings, answer.model.description
    shares = "attention" if answer.attention else "what the modality adds to the probability"
    return {
        "case": {
            "name": case.name,
            "files": [{key: file[key] for key in ("role", "uri", "sha256")} for file in case.files],
            "tumour_box": case.tumour_box,
            "missing": case.missing,
            "synthetic": case.synthetic,
            "notes": answer.notes,
        },
        "model": {
            "model_id": answer.model.model_id,
            "experiment": description.experiment,
            "kind": description.told.model,
            "feature_sets": [one["feature_set"] for one in description.feature_sets],
            "label_rule": description.told.label_rule,
            "rests_on": description.rests_on,
            "trained": description.trained,
            "metrics": description.metrics,
        },
        **asdict(answer.estimate),
        "interval": COVERS,
        "rule": answer.rule,
        "base_rate": answer.base,
        "fits": answer.fits,
        "shares": {"are": shares, "of": [asdict(share) for share in answer.shares]},
        "nearest": [asdict(one) for one in where.nearest],
        "outside": {
            "flagged": where.outside,
            "distance": where.distance,
            "median": where.usual,
            "limit": where.limit,
            "percentile": where.percentile,
        },
        "same_as": asdict(where.same) if where.same else None,
        "warnings": answer.warnings,
        "right_about": answer.right,
        "use": NOT_A_DEVICE,
        "pages": answer.pages,
    }
