"""The study's correlations, computed from its finished rows: which properties correlate with AUC.

The modality, pair of feature sets or backbone of a row follows from its experiment's settings, not from its label.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from gliolake.analysis.agreement.command import compute
from gliolake.analysis.statistics.correlation import KINETICS_TOP1, Correlation, correlation
from gliolake.analysis.study.results import Finished
from gliolake.schema.vocabulary import BRANCHES

if TYPE_CHECKING:
    from gliolake.storage.lake import Lake

MODALITY_TABLE, BACKBONE_TABLE, COMBINATION_TABLE = "table_2", "table_3", "table_4"
"""Tables of a study whose rows are about one modality more or less, one backbone, or several backbones."""

SAME_NETWORK = {"vivit_released": "vivit_b_16x2"}
"""The released vectors are of the network that the released script loads."""

UNTRAINED = ("random", "untrained")

Points = dict[str, Finished]
"""What is correlated, by the name of what varies."""


def correlation_rows(
    lake: Lake, done: Sequence[Finished], *, advance: Callable[[], None] = lambda: None
) -> list[dict[str, Any]]:
    """Rows of table correlations, one for each that the study states, even where it cannot be computed.

    Args:
        lake: whose vectors agree more or less.
        done: the study's finished rows, in the order of its file.
        advance: called once per pair of feature sets.
    """
    rows = [*_modalities(done), _agreement(lake, pairs(done), advance), _kinetics(lake, done)]
    for row in rows:
        row["study"] = done[0].row["study"]
    return rows


def _modalities(done: Sequence[Finished]) -> Iterator[dict[str, Any]]:
    """AUC of a modality alone against AUC without it, once per way of being without it."""
    of_table = [one for one in done if one.row["table"] == MODALITY_TABLE]
    alone = first_of(of_table, modality_alone)
    kind = family(next(iter(alone.values()))) if alone else ()
    like = [one for one in done if family(one) == kind]
    alone = {name: one for name, one in alone.items() if family(one) == kind}
    ways: dict[str, Points] = {}
    for way, modality, one in ((*lacking, one) for one in like if (lacking := modality_lacking(one))):
        ways.setdefault(way, {}).setdefault(modality, one)
    for way, without in sorted(ways.items()) or [("without it", {})]:
        shared = [name for name in BRANCHES if name in alone and name in without]
        yield _row(
            f"AUC of a modality alone, and AUC {way}", "r = −0.90",
            {name: alone[name].auc for name in shared}, {name: without[name] for name in shared},
            basis=[alone[name] for name in shared], published={name: alone[name].row["auc"] for name in shared},
        )  # fmt: skip


def _agreement(lake: Lake, points: Points, advance: Callable[[], None]) -> dict[str, Any]:
    """Mean CCC of two feature sets against AUC of the two together; as published, where the lake has Table S4."""
    sets = {name: _in_order(_feature_sets(one)) for name, one in points.items()}
    for pair in sets.values():
        compute(lake, [pair], progress=False)
        advance()
    known = agreements(lake) if sets else {}
    ours, theirs = ({name: known.get(pair, (None, None))[side] for name, pair in sets.items()} for side in (0, 1))
    published = theirs if any(mean is not None for mean in theirs.values()) else None
    return _row("CCC of two backbones, and AUC of the two together", "r² = 0.58", ours, points, published=published)


def agreements(lake: Lake) -> dict[tuple[str, str], tuple[float | None, float | None]]:
    """By pair of feature sets the mean CCC over features and modalities, here and as published (view ccc_summary)."""
    from gliolake.sql.catalog import connect

    with connect(lake) as connection:
        rows = connection.sql(
            "SELECT first, second, mean, published FROM ccc_summary WHERE modality = 'all' AND first IS NOT NULL"
        ).fetchall()
    return {(first, second): (mean, published) for first, second, mean, published in rows}


def _in_order(names: Sequence[str]) -> tuple[str, str]:
    return min(names), max(names)


def _kinetics(lake: Lake, done: Sequence[Finished]) -> dict[str, Any]:
    """Accuracy of a backbone on Kinetics-400, which an untrained one has none of, against AUC of its vectors."""
    trained = {
        row["feature_set"]: SAME_NETWORK.get(row["backbone"], row["backbone"])
        for row in lake.read("feature_sets").to_pylist()
        if row["weights"] not in UNTRAINED
    }
    single = [one for one in done if one.row["table"] == BACKBONE_TABLE and len(_feature_sets(one)) == 1]
    networks = {one.row["name"]: trained.get(_feature_sets(one)[0], "") for one in single}
    points = first_of(single, lambda one: networks[one.row["name"]] or None)
    points = {network: one for network, one in points.items() if network in KINETICS_TOP1}
    accuracy: dict[str, float | None] = {name: KINETICS_TOP1[name] for name in points}
    row = _row("accuracy of a backbone on Kinetics-400, and AUC", "r² = 0.93", accuracy, points, published=accuracy)
    if left_out := sum(network not in points for network in networks.values()):
        row["note"] += f"; {left_out} backbones are untrained or of no known accuracy"
    return row


def modality_alone(one: Finished) -> str | None:
    """The modality, of a model that is trained on it alone."""
    trained, shown = _branches(one)
    return trained[0] if trained == shown and len(trained) == 1 else None


def modality_lacking(one: Finished) -> tuple[str, str] | None:
    """How a model comes to lack one modality of five, and which; None for other models."""
    trained, shown = _branches(one)
    lacking = [name for name in BRANCHES if name not in shown]
    if len(lacking) != 1:
        return None
    if len(trained) < len(BRANCHES):
        return "trained without it", lacking[0]
    dropout = _settings(one).get("modality_dropout")
    return "without it when tested" + (", after modality drop-out in training" if dropout else ""), lacking[0]


def family(one: Finished) -> tuple[Any, ...]:
    """What models have to have in common to differ by their modalities alone."""
    told = one.told
    return told.get("model"), _feature_sets(one), told.get("label_rule"), told.get("delta"), one.row["split"]


def first_of(done: Sequence[Finished], name: Callable[[Finished], str | None]) -> Points:
    """By name the first of the rows that has it."""
    found: Points = {}
    for one in done:
        if (of := name(one)) is not None:
            found.setdefault(of, one)
    return found


def pairs(done: Sequence[Finished]) -> Points:
    """The rows that combine two feature sets, by the names of both."""

    def pair(one: Finished) -> str | None:
        names = _feature_sets(one)
        return " + ".join(names) if one.row["table"] == COMBINATION_TABLE and len(set(names)) == 2 else None

    return first_of(done, pair)


def _branches(one: Finished) -> tuple[list[str], list[str]]:
    """Branches that a model is trained on, and those of them that it is shown when tested."""
    settings = _settings(one)
    trained = list(settings.get("branches", ()))
    return trained, [name for name in trained if name not in settings.get("masked_branches", ())]


def _feature_sets(one: Finished) -> tuple[str, ...]:
    return tuple(one.told.get("feature_sets", ()))


def _settings(one: Finished) -> dict[str, Any]:
    settings: dict[str, Any] = one.told.get("settings", {})
    return settings


def _row(
    name: str, states: str, first: Mapping[str, float | None], points: Points, *, basis: Sequence[Finished] = (),
    published: Mapping[str, float | None] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """A correlation of ``first`` with the AUC of the models ``points``, which are named alike.

    Args:
        name, states: what is correlated, and what the study says of it.
        first, points: the two sides.
        basis: models that ``first`` rests on.
        published: ``first`` in the study; None where it does not say.
    """
    ours = _correlated(first, {of: one.auc for of, one in points.items()})
    theirs = None
    if published is not None:
        theirs = _correlated(published, {of: one.row["auc"] for of, one in points.items()}).r
    weights = sorted({str(one.experiment["weights"]) for one in (*points.values(), *basis)})
    note = f"rests on: {', '.join(weights)}" if weights else "the study has no finished rows for it"
    if weights and ours.r is None:
        note += "; fewer than three points" if ours.points < 3 else "; a side does not vary"
    return {"name": name, "published": states, **asdict(ours), "published_r": theirs, "note": note}


def _correlated(first: Mapping[str, float | None], second: Mapping[str, float | None]) -> Correlation:
    return correlation(first, second) if first else Correlation(None, None, None, None, None, 0)
