"""What a model says of a case, with what has to be known to read it: for a terminal, a program, a page."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from gliolake.analysis.study.tables import number
from gliolake.modeling.export.card import NOT_A_DEVICE, RULES, right_about
from gliolake.modeling.export.neighbours import NEAREST, Surroundings
from gliolake.modeling.export.recalibration import COVERS, Estimate

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

    from gliolake.analysis.case.images import CaseImages
    from gliolake.modeling.export.model import Model


@dataclass(frozen=True)
class Share:
    """A modality's part in the answer: mean and SD over fits of its attention, or of what it adds to the probability.
    None where the case lacks it or the model was not shown it, or where nothing is left without it."""

    modality: str
    mean: float | None = None
    sd: float | None = None


@dataclass(frozen=True)
class Answer:
    """What a model says of a case.

    Attributes:
        case, model: who was asked about whom.
        estimate: probability of methylation, calibrated, with its interval.
        fits: how many of the model's fits it rests on.
        shares: of the modalities that the model reads. attention: whether they are attention, or what leaving each
            out takes away.
        surroundings: the nearest training patients, and how far out the case lies.
        pages: files that show it.
    """

    case: CaseImages
    model: Model
    estimate: Estimate
    fits: int
    shares: tuple[Share, ...]
    attention: bool
    surroundings: Surroundings
    pages: tuple[str, ...] = ()

    @property
    def rule(self) -> str:
        """What is called methylated here."""
        return RULES[self.model.description.told.label_rule]

    @property
    def base(self) -> float:
        """Share of methylated patients in training."""
        training = self.model.description.training
        return float(training["methylated"] / training["scans"])

    @property
    def right(self) -> str:
        """How often the model is right."""
        return right_about(self.model.description)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What has to be known before anything else; shown in red."""
        told = []
        description, where = self.model.description, self.surroundings
        if not description.trained:
            told.append(f"This model rests on {description.rests_on}.")
        if self.case.synthetic:
            told.append("This case is SYNTHETIC: made up, and of nobody.")
        if where.same:
            told.append(
                f"This case has the vectors of training scan {where.same.cohort} {where.same.scan_id}. Of the model's "
                f"{self.model.fitted.count} fits the answer rests on the {self.fits} not trained on its patient."
            )
        if where.outside:
            told.append(
                f"This case lies outside of what the model was trained on: further from its nearest patients than "
                f"{100 * where.percentile:.0f} of 100 training patients are. The probability is worth little."
            )
        if description.calibration["slope"] <= 0:
            told.append("The model told nobody apart in training; the probability is the share of methylated patients.")
        return tuple(told)

    @property
    def notes(self) -> tuple[str, ...]:
        """What else is odd about the case."""
        told = [f"{warning[:1].upper()}{warning[1:]}." for warning in self.case.warnings]
        if self.case.missing:
            told.insert(0, f"There is no {', '.join(self.case.missing)}; the model was not shown it.")
        return tuple(told)

    @property
    def place(self) -> str:
        """Where the case lies among the training patients, in words."""
        where = self.surroundings
        side = "outside" if where.outside else "inside"
        return (
            f"Distance {where.distance:.2f} to its {len(where.nearest)} nearest patients; training patients' own: "
            f"median {where.usual:.2f}, 99th percentile {where.limit:.2f}. It lies {side}, at percentile "
            f"{100 * where.percentile:.0f}."
        )

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        where, told = self.surroundings, self.estimate
        shares = "attention" if self.attention else "what the modality adds to the probability"
        return {
            "case": self._case(),
            "model": self._model(),
            "probability": told.probability,
            "low": told.low,
            "high": told.high,
            "interval": COVERS,
            "rule": self.rule,
            "base_rate": self.base,
            "fits": self.fits,
            "shares": {"are": shares, "of": [asdict(share) for share in self.shares]},
            "nearest": [asdict(one) for one in where.nearest],
            "outside": {
                "flagged": where.outside, "distance": where.distance, "median": where.usual, "limit": where.limit,
                "percentile": where.percentile,
            },
            "same_as": asdict(where.same) if where.same else None,
            "warnings": list(self.warnings),
            "right_about": self.right,
            "use": NOT_A_DEVICE,
            "pages": list(self.pages),
        }  # fmt: skip

    def _case(self) -> dict[str, Any]:
        case = self.case
        return {
            "name": case.name, "files": [{key: file[key] for key in ("role", "uri", "sha256")} for file in case.files],
            "tumour_box": list(case.tumour_box), "missing": list(case.missing), "synthetic": case.synthetic,
            "notes": list(self.notes),
        }  # fmt: skip

    def _model(self) -> dict[str, Any]:
        description = self.model.description
        return {
            "model_id": self.model.model_id, "experiment": description.experiment, "kind": description.told.model,
            "feature_sets": [one["feature_set"] for one in description.feature_sets],
            "label_rule": description.told.label_rule, "rests_on": description.rests_on,
            "trained": description.trained, "metrics": description.metrics,
        }  # fmt: skip

    def __rich__(self) -> RenderableType:
        return shown(self)


def nearest_title(answer: Answer) -> str:
    """Above the nearest patients."""
    methylated = sum(one.methylated for one in answer.surroundings.nearest)
    return f"The {NEAREST} nearest training patients: {methylated} of them methylated"


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
