"""`gliolake ccc`: how well feature sets agree, feature by feature, on the scans that both have.

A block of scans and a modality is a task, and what comes back is the moments of groups of patients: memory does not
grow with the cohort, and neither files nor workers show in the result. What was computed from the same files and the
same patients is not computed again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING

from gliolake.analysis.agreement.plan import Pair, blocks_of, comparisons, files_of
from gliolake.analysis.agreement.report import AgreementReport, report
from gliolake.analysis.agreement.rows import Gathered, Rows
from gliolake.analysis.agreement.task import Block, Compared, compare_block
from gliolake.cluster.client import map_tasks, open_cluster
from gliolake.errors import InputError, known_name
from gliolake.log.progress import track
from gliolake.runs import start_run

if TYPE_CHECKING:
    from gliolake.storage.lake import Lake
    from gliolake.storage.transaction import Transaction

MEMORY = 700_000_000
"""About the bytes that a worker needs."""

FEW = 200_000
"""Vectors that this process compares by itself, in about the time that workers need to start."""

DOING = "comparing feature sets"


def compare(
    lake: Lake, names: Sequence[str] = (), *, rescans: bool = False, scheduler: str | None = None,
    workers: int | None = None,
) -> AgreementReport:  # fmt: skip
    """Compute tables ccc and ccc_means for feature sets, as far as the lake does not have them.

    Args:
        lake: the lake.
        names: two feature sets; where none, all pairs that share scans. With ``rescans`` one, or none for all.
        rescans: compare the first with the second examination of each patient, within a feature set.
        scheduler, workers: see ``gliolake.cluster.client.open_cluster``; where both are None and there is little to do,
            it is done by this process.

    Raises:
        InputError: no such feature set, other names than can be compared, or no scan to compare.
        DamagedFile: a committed file is missing or altered.
        ClusterError: the cluster is at fault.
    """
    pairs = _pairs(lake, names, rescans)
    computed = compute(lake, pairs, scheduler=scheduler, workers=workers)
    return report(lake, pairs, computed, single=bool(names))


def compute(
    lake: Lake, pairs: Sequence[Pair], *, scheduler: str | None = None, workers: int | None = None,
    progress: bool = True,
) -> int:  # fmt: skip
    """Compute pairs of feature sets, each the smaller name first, and return how many were not there yet.

    Args:
        lake, scheduler, workers: see ``compare``.
        pairs: of two sets, or of one and itself: then two examinations of each patient are compared.
        progress: show a progress bar on standard error; without one, all is done by this process.
    """
    there = {(row["first"], row["second"]): row["input_sha256"] for row in lake.read("ccc_means").to_pylist()}
    files = files_of(lake.state())
    todo = {one.pair: one for one in comparisons(lake, pairs, files) if there.get(one.pair) != one.digest}
    blocks = [block for one in todo.values() for block in blocks_of(lake, one, files)]
    gathered = {pair: Gathered(block for block in blocks if block.pair == pair) for pair in todo}
    computed = {block.pair for block in blocks}
    with start_run(lake, "ccc", {"pairs": pairs}) as run:

        def commit(pair: Pair) -> None:
            rows = gathered.pop(pair).rows(pair, todo[pair].digest)
            run.transact(partial(_replace, pair=pair, rows=rows))

        for pair in sorted(todo.keys() - computed):
            commit(pair)  # nothing is left of it, and nothing stays
        for block, found in _outcomes(blocks, scheduler, workers, progress):
            gathered[block.pair].add(block, found)
            if gathered[block.pair].whole:
                commit(block.pair)
    return len(computed)


def _pairs(lake: Lake, names: Sequence[str], rescans: bool) -> list[Pair]:
    there = sorted(lake.read("feature_sets", columns=["feature_set"])["feature_set"].to_pylist())
    for name in names:
        known_name("feature set", name, there, hint="gliolake status lists them.")
    if rescans:
        if len(names) > 1:
            raise InputError(
                "Examinations are compared within one feature set, and two were given.",
                hint=f"Give one: gliolake ccc {names[0]} --test-retest.",
            )
        return [(name, name) for name in names or there]
    if not names:
        return list(combinations(there, 2))
    if len(names) != 2 or names[0] == names[1]:
        raise InputError(
            f"A comparison takes two feature sets; given: {', '.join(names)}.",
            hint="Give two, or none for all pairs; to compare examinations within a single one, add --test-retest.",
        )
    return [(min(names), max(names))]


def _outcomes(
    blocks: Sequence[Block], scheduler: str | None, workers: int | None, progress: bool
) -> Iterator[tuple[Block, Compared]]:
    if not blocks:
        return
    vectors = sum(file.rows for block in blocks for file in (*block.first, *block.second))
    if not progress or (scheduler is None and workers is None and vectors <= FEW):
        with track(DOING, len(blocks)) if progress else nullcontext(lambda: None) as advance:
            for block in blocks:
                yield block, compare_block(block)
                advance()
        return
    with open_cluster(scheduler, workers, memory=MEMORY) as client:
        for block, outcome in map_tasks(client, compare_block, blocks, description=DOING):
            if isinstance(outcome, Exception):
                raise outcome
            yield block, outcome


def _replace(transaction: Transaction, pair: Pair, rows: Rows) -> None:
    for table, content in rows.items():
        transaction.replace(table, {"first": pair[0], "second": pair[1]}, content)
