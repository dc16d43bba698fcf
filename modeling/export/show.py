"""How an exported model looks in a terminal: its card's essentials."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gliolake.modeling.export.card import NOT_A_DEVICE, RULES, metric_rows, right_about, same_to

if TYPE_CHECKING:
    from rich.console import RenderableType

    from gliolake.modeling.export.model import Model


def shown(model: Model) -> RenderableType:
    """What it is, what it rests on, how good it is; and that its files are sound, since only such a model is loaded."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    description, told = model.description, model.description.told
    training, proof = description.training, description.proof
    sets = " and ".join(one["feature_set"] for one in description.feature_sets)
    head = Text.assemble(
        (description.experiment, "bold"), f": {len(description.fits)} fits of {told.model} on {sets}\n",
        "rests on ", (description.rests_on, "" if description.trained else "bold red"), "\n",
        f"branches {description.reads}; {RULES[told.label_rule]}\n",
        f"trained on {training['scans']} scans of {training['patients']} patients, {training['methylated']} "
        f"methylated: {', '.join(training['cohorts'])}\n",
        f"the lake's {proof['predictions']:,} predictions found again {same_to(proof['difference'])}",
    )  # fmt: skip
    table = Table("split", "metric", "mean", "95 % interval", "optimism", "patients")
    for row in metric_rows(description):
        table.add_row(*row)
    foot = Text(f"{right_about(description)}\n", style="")
    foot.append(NOT_A_DEVICE, style="dim")
    kept = Text(f"{model.folder}: model {model.model_id}, {model.bytes / 1e6:.1f} MB, all checksums right", style="dim")
    return Group(head, table, foot, kept)
