"""Candidates of a search: models with settings, and averages of the best of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from gliolake.errors import InputError, check_choice
from gliolake.modeling.models.settings import Settings, defaults
from gliolake.schema.vocabulary import BRANCHES


@dataclass(frozen=True)
class Candidate:
    """A model with settings, by a name of its own."""

    name: str
    model: str
    settings: Settings

    def described(self) -> dict[str, Any]:
        """What it is, as JSON values."""
        return {"model": self.model, **asdict(self.settings)}


@dataclass(frozen=True)
class Blend:
    """The mean of the probabilities of as many candidates as are ``best`` by the inner figures of an outer fold."""

    name: str
    best: int

    def described(self) -> dict[str, Any]:
        """What it is, as JSON values."""
        return {"blend": self.best}


Choice = Candidate | Blend


def default_candidates() -> tuple[Choice, ...]:
    """The list that is searched unless told otherwise; made before a search of real labels was run.

    Not all of it is blind: that delta tells little and FLAIR and T1wCE tell most was known from logistic regression on
    the study's released vectors, so on those the candidates with fewer branches have an advantage that no fold shows.

    One thing at a time is changed in the low-rank Siamese network, from a middle that made-up labels on real vectors
    showed to be sound: the networks averaged, the rank, what is dropped, the pull on the weights, the branches.
    """
    middle = defaults("snn_lowrank")
    changed: dict[str, dict[str, Any]] = {
        "lowrank": {},
        "lowrank one network": {"ensemble_size": 1},
        "lowrank rank 2": {"hidden": (2,)},
        "lowrank dropout": {"dropout": 0.5},
        "lowrank no branch dropped": {"modality_dropout": 0.0},
        "lowrank strong decay": {"weight_decay": 10.0},
        "lowrank without delta": {"branches": tuple(b for b in BRANCHES if b != "DeltaT1")},
        "lowrank FLAIR and T1wCE": {"branches": ("FLAIR", "T1wCE")},
    }
    return (
        *(Candidate(name, "snn_lowrank", replace(middle, **some)) for name, some in changed.items()),
        Candidate("snn", "snn", replace(defaults("snn"), epochs=80, patience=20)),
        Candidate("logistic", "logistic", defaults("logistic")),
        Blend("mean of the best 3", 3),
        Blend("mean of all", len(changed) + 2),
    )


def named_candidates(names: Sequence[str]) -> tuple[Choice, ...]:
    """Those of the default list that have these names, in the list's order.

    Raises:
        InputError: there is none of a name.
    """
    known = {candidate.name: candidate for candidate in default_candidates()}
    for name in names:
        check_choice("candidate", name, known)
    return tuple(candidate for name, candidate in known.items() if name in names)


def check_candidates(candidates: Sequence[Choice]) -> None:
    """Refuse a list that cannot be searched.

    Raises:
        InputError: no model, two candidates of one name, no model of a name, or a blend of none.
    """
    models = [candidate for candidate in candidates if isinstance(candidate, Candidate)]
    if not models:
        raise InputError("There is no model to choose among the candidates.", hint="A blend is made of candidates.")
    for candidate in models:
        defaults(candidate.model)
    names = [candidate.name for candidate in candidates]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"Two candidates are named {twice[0]}.", hint="Trials are told apart by name.")
    if empty := [c.name for c in candidates if isinstance(c, Blend) and c.best < 1]:
        raise InputError(f"{empty[0]} is a blend of no candidate: at least 1 is needed.")
