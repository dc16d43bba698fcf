"""Dask workers: real processes, real deaths."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lake.cluster import map_tasks, open_cluster
from lake.errors import ClusterError, InputError

if TYPE_CHECKING:
    from distributed import Client


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with open_cluster(workers=2) as opened:
        yield opened


def halve(number: int) -> int:
    if number % 2:
        raise InputError(f"{number} is odd.", hint="Give an even number.")
    return number // 2


def die_the_first_time(marker: str) -> str:
    if not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


def test_every_item_has_one_outcome_and_a_failure_stays_its_own(client: Client) -> None:
    outcomes = dict(map_tasks(client, halve, range(40), description="halving"))
    assert {n: outcome for n, outcome in outcomes.items() if n % 2 == 0} == {n: n // 2 for n in range(0, 40, 2)}
    odd = outcomes[7]
    assert isinstance(odd, InputError)
    assert (str(odd), odd.hint) == ("7 is odd.", "Give an even number.")


def test_a_killed_worker_costs_only_a_second_try(client: Client, tmp_path: Path) -> None:
    markers = [str(tmp_path / name) for name in "abc"]
    assert dict(map_tasks(client, die_the_first_time, markers, description="dying")) == dict.fromkeys(
        markers, "survived"
    )


def test_nothing_is_kept_on_the_cluster_after_its_result_was_taken(client: Client) -> None:
    for _ in map_tasks(client, halve, [2, 4, 6], description="halving"):
        pass
    client.sync(client.scheduler.identity)  # lets the releases reach the scheduler
    assert client.futures == {}


def test_a_scheduler_that_does_not_answer_is_named() -> None:
    with pytest.raises(ClusterError, match=r"tcp://127\.0\.0\.1:9"), open_cluster("tcp://127.0.0.1:9"):
        pass
    with pytest.raises(InputError, match="--workers is 0"), open_cluster(workers=0):
        pass


def test_a_cluster_that_is_up_is_used_as_it_is(client: Client) -> None:
    with open_cluster(client.scheduler.address) as other:
        assert dict(map_tasks(other, halve, [8], description="halving")) == {8: 4}
