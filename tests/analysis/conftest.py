"""A finished study, made up and written straight into a lake."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from gliolake.modeling.evaluation.scores import METRICS, scores
from gliolake.modeling.experiment import Experiment, as_json
from gliolake.modeling.models.settings import Settings
from gliolake.schema.vocabulary import BRANCHES
from gliolake.storage.lake import Lake

INTERNAL, EXTERNAL = 24, 14
FILLED = (
    "cohorts", "labels", "scans", "experiments", "cv_folds", "predictions", "attention", "metrics", "summaries",
    "study_rows", "feature_sets", "features", "ccc", "ccc_means", "published_ccc", "embeddings",
)  # fmt: skip
Rows = list[dict[str, Any]]


class MadeStudy:
    """A lake with labelled scans of two cohorts, and the study ``made`` in the making: 2 repeats × 2 folds.

    Scans 0 and 1 of each cohort are one patient; every second scan is methylated.
    """

    def __init__(self, lake: Lake) -> None:
        self.lake = lake
        self.rows: dict[str, Rows] = {name: [] for name in FILLED}
        described = {"label_rule": "brats21", "description": "", "description_sha256": ""}
        for cohort, role, scans in (("here", "training", INTERNAL), ("there", "external", EXTERNAL)):
            self.rows["cohorts"].append({"cohort": cohort, "role": role, **described})
            for n in range(scans):
                self.rows["labels"].append(
                    {
                        "cohort": cohort, "scan_id": f"scan-{n:04d}", "source": "made", "source_id": str(n),
                        "source_row": n + 2, "source_sha256": "0", "label_rule": "brats21",
                        "mgmt_status": "unmethylated" if n % 2 else "methylated",
                        "site": "AB"[n // 2 % 2], "age": 40.0 + n,
                    }
                )  # fmt: skip

    def experiment(
        self, name: str, *, seed: int = 0, signal: float = 0.3, weights: str = "trained", external: bool = False,
        folds_of: int = 0, scans: Sequence[int] = range(INTERNAL), model: str = "snn",
        feature_sets: Sequence[str] = ("set-1",), **settings: Any,
    ) -> str:  # fmt: skip
        """An experiment whose predictions are noise and some signal.

        folds_of: another number cuts other folds. settings: of ``gliolake.modeling.models.settings.Settings``.
        """
        told = Experiment(model, tuple(feature_sets), Settings(**settings), repeats=2, folds=2)
        self.rows["experiments"].append(
            {
                "experiment": name, "model": model, "feature_set": " + ".join(feature_sets),
                "weights": weights, "label_rule": "brats21", "split": "training", "scans": len(scans),
                "patients": len(scans) - 1, "settings": as_json(told.described("")),
            }
        )  # fmt: skip
        stream = np.random.default_rng(seed)
        figures: dict[tuple[str, str], list[float | None]] = {}
        for repeat, fold in np.ndindex(2, 2):
            tested = [n for n in scans if (n // 2 + folds_of + repeat * (n // 4)) % 2 == fold]
            self.rows["cv_folds"].append(
                {
                    "experiment": name, "repeat": repeat, "fold": fold, "n_train": len(scans) - len(tested) - 2,
                    "n_validation": 2, "n_test": len(tested), "selection": "{}",
                }
            )  # fmt: skip
            for split, cohort, part in (("internal", "here", tested), ("external", "there", range(EXTERNAL))):
                if split == "external" and not external:
                    continue
                truth = np.array(part) % 2 == 0
                probability = np.clip(0.5 + signal * (truth - 0.5) + stream.normal(0, 0.2, len(truth)), 0, 1)
                for n, label, value in zip(part, truth, probability, strict=True):
                    self.rows["predictions"].append(
                        {
                            "experiment": name, "split": split, "repeat": repeat, "fold": fold, "cohort": cohort,
                            "scan_id": f"scan-{n:04d}", "patient_id": f"{cohort}-{max(n, 1)}",
                            "methylated": bool(label), "probability": float(value),
                        }
                    )  # fmt: skip
                    if model.startswith("snn"):
                        fit = {"experiment": name, "split": split, "repeat": repeat, "fold": fold}
                        self._attention(fit, cohort, n, len(feature_sets))
                for metric, value in scores(truth, probability).items():
                    figures.setdefault((split, metric), []).append(value)
                    place = {"experiment": name, "split": split, "repeat": repeat, "fold": fold, "metric": metric}
                    self.rows["metrics"].append({**place, "value": value, "optimism": 0.01})
        for (split, metric), values in figures.items():
            self.summary(name, split, metric, float(np.mean([value for value in values if value is not None])))
        return name

    def _attention(self, fit: dict[str, Any], cohort: str, scan: int, sets: int) -> None:
        """The weights of a scan's branches: later branches weigh more, and the first ones less from scan to scan."""
        weights = np.arange(1.0, 1 + len(BRANCHES) * sets) + scan % 3
        for place, weight in enumerate(weights / weights.sum()):
            modality = BRANCHES[place % len(BRANCHES)] if sets == 1 else f"set-{place // 5}:{BRANCHES[place % 5]}"
            self.rows["attention"].append(
                {**fit, "cohort": cohort, "scan_id": f"scan-{scan:04d}", "modality": modality, "weight": float(weight)}
            )

    def summary(self, experiment: str, split: str, metric: str, mean: float) -> None:
        """A row of table summaries, in place of another of the same experiment, split and metric."""
        assert metric in METRICS
        key = {"experiment": experiment, "split": split, "metric": metric}
        kept = [row for row in self.rows["summaries"] if not key.items() <= row.items()]
        internal = {"ci_low": mean - 0.2, "ci_high": mean + 0.2} if split == "internal" else {}
        ends = {
            f"{kind}_{end}": mean + by for kind in ("ci", "bootstrap") for end, by in (("low", -0.1), ("high", 0.1))
        }
        row = {"mean": mean, "sd": 0.04, "sem": 0.02, **ends, "optimism": 0.01}
        self.rows["summaries"] = [*kept, key | row | internal | {"folds": 4, "scans": 24, "patients": 23}]

    def reaching(self, name: str, auc: float, **told: Any) -> str:
        """An experiment of which only the AUC is of interest."""
        self.experiment(name, **told)
        self.summary(name, "internal", "auc", auc)
        return name

    def row(self, name: str, table: str, experiment: str = "", **told: Any) -> None:
        """A row of the study; done if it has an experiment."""
        row = {
            "study": "made", "name": name, "table": table, "position": len(self.rows["study_rows"]),
            "label": name.upper(), "split": "internal", "state": "done" if experiment else "quoted", "detail": "",
            "experiment": experiment, "compared_with": "",
        }  # fmt: skip
        self.rows["study_rows"].append(row | told)

    def vectors(self, feature_set: str, values: np.ndarray, **told: Any) -> None:
        """A feature set: vectors (scans, branches, 400)."""
        row = {"feature_set": feature_set, "backbone": feature_set, "weights": "trained", "recipe": "{}"}
        self.rows["feature_sets"].append(row | told)
        for scan, branches in enumerate(values):
            for modality, vector in zip(BRANCHES, branches, strict=False):
                self.rows["features"].append(
                    {
                        "feature_set": feature_set, "cohort": "here", "scan_id": f"scan-{scan:04d}",
                        "modality": modality, "values": vector.astype(np.float32).tolist(), "input_sha256": "0",
                    }
                )  # fmt: skip

    def agreement(self, first: str, second: str, mean: float, modality: str = "all") -> None:
        """Two feature sets, given in the order of their names, that agree to this CCC on average."""
        self.rows["ccc_means"].append(
            {
                "first": first, "second": second, "modality": modality, "mean": mean, "ci_low": mean - 0.05,
                "ci_high": mean + 0.05, "features": 400, "scans": INTERNAL, "patients": INTERNAL - 1,
                "input_sha256": "0",
            }
        )  # fmt: skip

    def published_agreement(self, first: str, second: str, *values: float) -> None:
        """What a publication prints for two networks: the CCC of a feature each."""
        self.rows["published_ccc"] += [
            {"source": "table_s4_ccc", "first": first, "second": second, "feature": n, "ccc": v, "source_sha256": "0"}
            for n, v in enumerate(values, start=1)
        ]

    def map(self, feature_set: str) -> None:
        """A map of the labelled scans of a feature set."""
        self.rows["embeddings"] += [
            {
                "feature_set": feature_set, "cohort": row["cohort"], "scan_id": row["scan_id"],
                "method": "made up", "x": float(n % 7), "y": float(n // 7),
            }
            for n, row in enumerate(self.rows["labels"])
        ]  # fmt: skip

    def commit(self) -> Lake:
        """The lake, with all of it."""

        def write(transaction: Any) -> None:
            for table, rows in self.rows.items():
                transaction.upsert(table, rows)

        self.lake.transact(write, run_id="made")
        return self.lake


@pytest.fixture(scope="session")
def made_study() -> type[MadeStudy]:
    """The class of studies in the making, for fixtures of wider scope."""
    return MadeStudy


@pytest.fixture
def made(lake: Lake) -> MadeStudy:
    """A study in the making."""
    return MadeStudy(lake)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> MadeStudy:
    """A study with rows of all kinds, committed and analysed; to be read only."""
    from gliolake.analysis.study.command import analyse

    made = MadeStudy(Lake(tmp_path_factory.mktemp("study") / "lake", create=True))
    made.experiment("one", seed=1, signal=0.2, external=True)
    made.experiment("other", seed=2, signal=0.05, weights="random")
    made.experiment("cut-otherwise", seed=3, signal=0.1, folds_of=1)
    made.experiment("of-fewer-scans", seed=4, signal=0.1, scans=range(4, 24))
    made.row("snn", "table_1", "one", auc=0.666, auc_sem=0.031, precision=0.591, precision_sem=0.021)
    made.row("mlp", "table_1", "other", compared_with="snn")
    made.row("recut", "table_1", "cut-otherwise", compared_with="snn")
    made.row("fewer", "table_1", "of-fewer-scans", compared_with="snn")
    made.row("quoted", "table_1", auc=0.622)
    made.row("broken", "table_1", state="failed", detail="no vectors of [that] network", auc=0.6, compared_with="snn")
    made.row("on-broken", "table_1", "one", compared_with="broken")
    made.row("on-quoted", "table_1", "one", compared_with="quoted")
    made.row("all", "table_2", "one", compared_with="snn", auc=0.666)
    made.row("alone", "table_2", "other", compared_with="snn")
    made.row("inside", "figure_7a", "one")
    made.row("beyond", "figure_7b", "one", split="external", compared_with="snn", auc=0.624)
    analyse(made.commit(), "made", progress=False)
    return made
