"""Searches for the best model of a feature set by nested cross-validation, and writes the result and all trials as
tables.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from gliolake.log.journal import logger
from gliolake.log.progress import track
from gliolake.modeling.data.inputs import read_cohorts
from gliolake.modeling.experiment import Experiment, as_json
from gliolake.modeling.nested_cv.candidates import Choice, check_candidates, default_candidates
from gliolake.modeling.nested_cv.report import SearchReport, candidate_lines
from gliolake.modeling.nested_cv.selection import Trial, search_folds, search_steps
from gliolake.modeling.train import keep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gliolake.storage.lake import Lake


@dataclass(frozen=True)
class Search(Experiment):
    """An experiment whose model is chosen anew in each outer fold, among ``candidates``, by ``inner_folds`` folds."""

    candidates: tuple[Choice, ...] = ()
    inner_folds: int = 5

    def described(self, digest: str) -> dict[str, Any]:
        """As for any experiment; settings are the candidates'."""
        told = super().described(digest)
        del told["settings"]
        return told | {"candidates": {candidate.name: candidate.described() for candidate in self.candidates}}


def search(
    lake: Lake,
    feature_set: str,
    *,
    label_rule: str = "brats21",
    candidates: Sequence[Choice] | None = None,
    repeats: int = 4,
    folds: int = 5,
    inner_folds: int = 5,
    seed: int = 0,
    progress: bool = True,
) -> SearchReport:
    """Choose a candidate in every outer fold by an inner cross-validation, score it outside, and commit all of it.

    Args:
        lake: the lake.
        feature_set: the vectors to train on (table ``feature_sets``).
        label_rule: brats21 (methylated at two sites or more) or ucsf (at one).
        candidates: what to choose among; None for ``gliolake.modeling.nested_cv.candidates.default_candidates()``.
        repeats, folds, seed: of the outer cross-validation.
        inner_folds: of the cross-validation inside each outer training part.
        progress: show a progress bar on standard error.

    Returns:
        The figures. Optimism is what choosing on the outer test part itself would have added. The same call on the
        same rows has the same experiment id, and writes nothing the second time.

    Raises:
        InputError: an unknown name, candidates that cannot be searched, one class, or too few patients for the folds.
        LeakingSplit: a patient is both training and external.
    """
    chosen_among = tuple(candidates) if candidates is not None else default_candidates()
    check_candidates(chosen_among)
    cohorts = read_cohorts(lake, feature_set, label_rule)
    for sentence in cohorts.shared_patients:
        logger.warning(sentence)
    experiment = Search(
        "search", (feature_set,), label_rule=label_rule, repeats=repeats, folds=folds, seed=seed,
        candidates=chosen_among, inner_folds=inner_folds,
    )  # fmt: skip
    name = experiment.name(cohorts.digest)
    total = search_steps(chosen_among, repeats, folds, inner_folds)
    with track("searching", total) if progress else nullcontext(lambda: None) as advance:
        found = search_folds(
            cohorts.scans["training"], chosen_among, external=cohorts.scans["external"], repeats=repeats,
            folds=folds, inner_folds=inner_folds, seed=seed, advance=advance,
        )  # fmt: skip
    trials = _trial_rows(name, chosen_among, found.trials)
    report = keep(lake, "search", experiment, cohorts, found.result, trials=trials)
    return SearchReport(report, inner_folds, candidate_lines([c.name for c in chosen_among], found.trials))


def _trial_rows(name: str, candidates: Sequence[Choice], trials: Sequence[Trial]) -> list[dict[str, Any]]:
    settings = {candidate.name: as_json(candidate.described()) for candidate in candidates}
    return [{"search": name, "settings": settings[trial.candidate], **asdict(trial)} for trial in trials]
