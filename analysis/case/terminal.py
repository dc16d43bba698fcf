"""How an answer looks in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gliolake.analysis.case.answer import Answer, nearest_title
from gliolake.analysis.study.tables import number
from gliolake.modeling.export.card import NOT_A_DEVICE
from gliolake.modeling.export.recalibration import COVERS

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text


def shown(answer: Answer) -> RenderableType:
    """Warnings first, then the probability, what it looked at, who is like it, and how often the model is right."""
    from rich.console import Group
    from rich.text import Text

    description, told = answer.model.description, answer.estimate
    head = Text.assemble((answer.case.name, "bold"), f" by {description.experiment} (model {answer.model.model_id})")
    red = [Text(warning, style="bold red") for warning in answer.warnings]
    verdict = Text.assemble(
        "\nProbability that the MGMT promoter is methylated: ", (f"{told.probability:.2f}", "bold"),
        f", 95 % interval {told.low:.2f} to {told.high:.2f}\n",
        (f"{answer.rule}; of the training patients {answer.base:.2f} are\n", "dim"),
        (f"The interval is over {COVERS}\n", "dim"),
    )  # fmt: skip
    parts: list[RenderableType] = [head, *red, verdict, _shares(answer), _nearest(answer), Text(answer.place)]
    parts += [Text(note) for note in answer.notes]
    foot: list[Text] = [Text(f"\n{answer.right}"), Text(NOT_A_DEVICE, style="dim"), Text(" and ".join(answer.pages))]
    return Group(*parts, *foot)


def _shares(answer: Answer) -> Table:
    from rich.table import Table

    what = "attention" if answer.attention else "probability it adds"
    table = Table("modality", what, "SD over fits")
    style = ".2f" if answer.attention else "+.2f"
    for share in answer.shares:
        table.add_row(share.modality, number(share.mean, style), number(share.sd, ".2f"))
    return table


def _nearest(answer: Answer) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table("patient", "scan", "label", "distance", title=nearest_title(answer), title_justify="left")
    for one in answer.surroundings.nearest:
        called = "methylated" if one.methylated else "unmethylated"
        table.add_row(Text(one.patient_id), Text(f"{one.cohort} {one.scan_id}"), called, f"{one.distance:.2f}")
    return table
