"""`gliolake map`: projects the scans of a feature set onto a plane, so that similar scans are close together.

Features are standardised over all scans and nothing is taken out, so that a map also shows where cohorts part. A
missing branch takes the mean. Up to ``MOST`` scans go through 50 principal components to t-SNE (van der Maaten and
Hinton 2008), which keeps neighbours together and nothing else: distances between groups, and their sizes, mean nothing.
More scans are laid out by their first two principal components.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gliolake.analysis.vectors import Scan, informative, named_scans, read_vectors
from gliolake.errors import InputError, check_choice
from gliolake.log.progress import track
from gliolake.runs import Run, start_run
from gliolake.schema.vocabulary import BRANCHES

if TYPE_CHECKING:
    from gliolake.storage.lake import Lake

MOST = 5000
"""Scans beyond which there is no t-SNE, which takes minutes then."""

FEWEST = 5
"""Scans below which there is nothing to lay out."""

COMPONENTS = 50
PERPLEXITY = 30.0


@dataclass(frozen=True)
class Mapped:
    """A feature set's map: how it was made, of how many scans, and what became of it."""

    feature_set: str
    method: str
    scans: int
    state: str


@dataclass(frozen=True)
class MapReport:
    """What `gliolake map` did."""

    maps: tuple[Mapped, ...]


def map_feature_sets(lake: Lake, feature_set: str | None = None, *, seed: int = 0) -> MapReport:
    """Lay out the scans of one feature set, or of all. A map whose vectors and seed are unchanged is left as it is.

    Raises:
        InputError: there is no such feature set, none at all, or the seed is negative.
    """
    if seed < 0:
        raise InputError(f"A seed of {seed} is negative.", hint="Give 0 or more.")
    known = sorted({file.partition["feature_set"] for file in lake.state().of_table("features")})
    if feature_set is not None:
        check_choice("feature set", feature_set, known, hint="gliolake status lists them.")
    if not known:
        raise InputError("The lake has no feature vectors.", hint="Make some: gliolake extract.")
    asked = known if feature_set is None else [feature_set]
    made = []
    with (
        start_run(lake, "map", {"feature_set": feature_set, "seed": seed}) as run,
        track("mapping", len(asked)) as advance,
    ):
        for name in asked:
            made.append(_map(run, name, seed))
            advance()
    return MapReport(tuple(made))


def _map(run: Run, feature_set: str, seed: int) -> Mapped:
    """One feature set's map, in place of its former one."""
    scans = named_scans(run.lake, feature_set)
    method = f"{_method(len(scans), seed)}; vectors {_digest(run.lake, feature_set)}"
    before = run.lake.read("embeddings", {"feature_set": feature_set}, ["method"])["method"].to_pylist()
    if len(scans) == len(before) and set(before) == {method}:
        return Mapped(feature_set, method, len(scans), "unchanged")
    rows: list[dict[str, Any]] = []
    if len(scans) >= FEWEST:
        places = layout(standardised(run.lake, feature_set, scans), seed).tolist()
        rows = [
            {"feature_set": feature_set, "cohort": cohort, "scan_id": scan, "method": method, "x": x, "y": y}
            for (cohort, scan), (x, y) in zip(scans, places, strict=True)
        ]
    run.transact(lambda tx: tx.replace("embeddings", {"feature_set": feature_set}, rows))
    return Mapped(feature_set, method, len(scans), "mapped" if rows else "too few scans")


def standardised(lake: Lake, feature_set: str, scans: list[Scan]) -> np.ndarray:
    """(n, d) float32: the features of all branches that differ between scans, of mean 0 and SD 1, 0 where missing."""
    branches = [np.zeros((len(scans), 0), np.float32)]
    for modality in BRANCHES:
        files = lake.state().of_table("features", {"feature_set": feature_set, "modality": modality})
        values = read_vectors(lake, files, scans)
        present = informative(values)
        values[~present] = 0
        if present.any():
            spread = values[present].std(0, dtype=np.float64)
            varies = spread > 1e-6 * np.abs(values).max(0)
            shown = (values[:, varies] - values[present][:, varies].mean(0, dtype=np.float64)) / spread[varies]
            shown[~present] = 0
            branches.append(shown.astype(np.float32))
    return np.concatenate(branches, 1)


def layout(values: np.ndarray, seed: int) -> np.ndarray:
    """Places (n, 2) float64 of vectors (n, d) on the map; the same bits whatever the number of cores."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    if values.shape[1] < 2:  # nothing, or one number, differs between scans
        return np.pad(values.astype(np.float64), ((0, 0), (0, 2 - values.shape[1])))
    count = len(values)
    with threadpool_limits(1):
        wanted = min(COMPONENTS, count - 1, values.shape[1]) if count <= MOST else 2
        solver = "full" if count < values.shape[1] else "covariance_eigh"
        components = PCA(max(wanted, 2), svd_solver=solver).fit_transform(values.astype(np.float64))
        if count > MOST:
            return components
        perplexity = min(PERPLEXITY, (count - 1) / 3)
        places = TSNE(perplexity=perplexity, init="pca", random_state=seed, n_jobs=1).fit_transform(components)
    laid_out: np.ndarray = places.astype(np.float64)
    return laid_out


def _method(scans: int, seed: int) -> str:
    if scans > MOST:
        return f"first two principal components (more than {MOST:,} scans)"
    return f"t-SNE of up to {COMPONENTS} principal components, seed {seed}"


def _digest(lake: Lake, feature_set: str) -> str:
    """Of the files that hold the vectors."""
    files = lake.state().of_table("features", {"feature_set": feature_set})
    return hashlib.sha256(" ".join(file.sha256 for file in files).encode()).hexdigest()[:10]
