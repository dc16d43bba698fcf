"""The answer for a case: the prediction of a model, with the facts needed to interpret it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gliolake.modeling.export.card import RULES, right_about
from gliolake.modeling.export.neighbours import NEAREST, Surroundings
from gliolake.modeling.export.recalibration import Estimate

if TYPE_CHECKING:
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
            told.append(
                "The model did not discriminate in training; the probability is the share of methylated patients."
            )
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

    @property
    def nearest_title(self) -> str:
        """Above the nearest patients."""
        methylated = sum(one.methylated for one in self.surroundings.nearest)
        return f"The {NEAREST} nearest training patients: {methylated} of them methylated"
