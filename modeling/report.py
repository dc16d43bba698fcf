"""What an experiment found, for a person and for a program."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class Line:
    """One metric on one split: mean and SD over folds, 95 % interval, mean optimism, folds that could show it."""

    split: str
    metric: str
    mean: float | None
    sd: float | None
    low: float | None
    high: float | None
    optimism: float | None
    folds: int


@dataclass(frozen=True)
class Report:
    """An experiment's outcome. ``weights`` and ``synthetic`` say what every figure in it rests on,
    ``cautions`` what may be wrong with its splits."""

    experiment: str
    model: str
    feature_set: str
    weights: str
    synthetic: bool
    label_rule: str
    branches: tuple[str, ...]
    repeats: int
    folds: int
    scans: int
    patients: int
    external_scans: int
    external_patients: int
    unlabelled: int
    without_branches: int
    cautions: tuple[str, ...]
    lines: tuple[Line, ...]

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return asdict(self)

    def value(self, split: str, metric: str) -> float | None:
        """Mean of a metric on a split, ``internal`` or ``external``; None where there is none."""
        return next((line.mean for line in self.lines if (line.split, line.metric) == (split, metric)), None)

    @property
    def rests_on(self) -> str:
        """What the vectors rest on, in words."""
        weights = {
            "random": "random weights (no training went into the vectors)",
            "untrained": "untrained weights",
            "released": "the study's released vectors",
            "trained": "trained weights",
        }.get(self.weights, f"{self.weights} weights")
        return f"{weights}, SYNTHETIC scans" if self.synthetic else weights

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        head = Text.assemble(
            (self.experiment, "bold"), f": {self.model} on {self.feature_set}\n",
            "rests on ", (self.rests_on, "bold yellow" if self.weights != "trained" or self.synthetic else ""), "\n",
            f"branches {', '.join(self.branches)}; labels by the rule {self.label_rule}; "
            f"{self.repeats} × {self.folds} folds\n",
            f"internal: {self.scans} scans of {self.patients} patients; "
            f"external: {self.external_scans} scans of {self.external_patients} patients",
        )  # fmt: skip
        if self.unlabelled or self.without_branches:
            head.append(f"\nleft out: {self.unlabelled} without a call, {self.without_branches} without these branches")
        table = Table("split", "metric", "mean", "SD", "95 % interval", "optimism", "fits")
        for line in self.lines:
            span = "–" if line.low is None or line.high is None else f"{line.low:.3f} to {line.high:.3f}"
            table.add_row(
                line.split, line.metric, number(line.mean), number(line.sd), span,
                number(line.optimism, "+.3f"), str(line.folds),
            )  # fmt: skip
        foot = Text(
            "Mean and SD over fits. Intervals: internal, corrected resampled t; external, bootstrap over patients. "
            "Optimism: what choosing on the test scans themselves would have added (Brier: less is better).",
            style="dim",
        )
        return Group(head, table, *(Text(f"Caution: {caution}", style="yellow") for caution in self.cautions), foot)


def number(value: float | None, style: str = ".3f") -> str:
    """A figure as it is printed; a dash where there is none."""
    return "–" if value is None else f"{value:{style}}"
