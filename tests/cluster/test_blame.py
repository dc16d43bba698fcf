"""Whose fault an error is: what no scan can cause ends the run, and so do scans that all fail for no known reason."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import pytest
from numba.core.errors import TypingError

from gliolake.cluster.failures import LEAST, MOST, fault_of_all, unless_all_fail
from gliolake.errors import ClusterError, InputError


@pytest.mark.parametrize(
    "error",
    [
        ModuleNotFoundError("No module named 'isal'"), ImportError("libgomp.so.1: cannot open shared object file"),
        TypingError("cannot determine type"), OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EMFILE, "Too many open files"), NameError("name 'numpi' is not defined"), SyntaxError("invalid"),
    ],
    ids=repr,
)  # fmt: skip
def test_what_no_scan_can_cause_is_everybodys(error: Exception) -> None:
    fault = fault_of_all(error)
    assert fault is not None
    assert type(error).__name__ in str(fault)
    assert "No scan is left out" in fault.hint
    assert fault_of_all(fault) is fault


@pytest.mark.parametrize(
    "error",
    [
        ValueError("odd"),
        InputError("odd"),
        FileNotFoundError(errno.ENOENT, "gone"),
        ZeroDivisionError(),
        "a result",
        None,
    ],
)
def test_what_a_scan_may_cause_is_its_own(error: object) -> None:
    assert fault_of_all(error) is None


def told(outcome: str) -> str | None:
    """By its first letter: a Success, a failure by its Data, and anything else nobody foresaw."""
    return {"s": None, "d": ""}.get(outcome[0], f"ValueError: {outcome}")


def counted(outcomes: list[str], asked: list[str]) -> Iterator[str]:
    for outcome in outcomes:
        asked.append(outcome)
        yield outcome


def test_failures_that_nobody_foresaw_are_told_once_something_succeeded() -> None:
    outcomes = ["odd 1", "data", "odd 2", "success", "odd 3", "odd 4"]
    assert sorted(unless_all_fail(outcomes, told)) == sorted(outcomes)


def test_one_scan_alone_may_be_odd_and_scans_with_bad_data_are_no_sign_of_trouble() -> None:
    assert list(unless_all_fail(["odd"], told)) == ["odd"]
    assert list(unless_all_fail(["data"] * 50, told)) == ["data"] * 50
    assert list(unless_all_fail([], told)) == []


def test_if_all_fail_the_run_ends_and_soon() -> None:
    with pytest.raises(ClusterError, match=rf"All {LEAST} scans .*ValueError: odd"):
        list(unless_all_fail(["odd"] * LEAST, told))
    asked: list[str] = []
    got = []
    with pytest.raises(ClusterError):
        got.extend(unless_all_fail(counted(["data", *["odd"] * 1000], asked), told))
    assert len(asked) == MOST + 1
    assert got == ["data"]
