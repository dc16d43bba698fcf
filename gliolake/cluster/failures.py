"""Decides whether an error excludes one scan or ends the run.

An unforeseen error excludes its scan, so that one odd file does not stop ten thousand others. But if every scan fails,
the run must fail too, and not report success.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from gliolake.errors import ClusterError
from gliolake.extras import missing_extra

Outcome = TypeVar("Outcome")

NO_DATA_DOES_THIS = (ImportError, SyntaxError, NameError)
NO_FILE_DOES_THIS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE}

LEAST, MOST = 2, 20
"""Scans without a success among them that are too many to be left out: at the end, and meanwhile."""


def fault_of_all(error: object) -> ClusterError | None:
    """The error that ends the run, for one that no scan can be the cause of; None where a scan can, or for a result."""
    if isinstance(error, ClusterError):
        return error
    if missing := missing_extra(error):
        return ClusterError(missing[0], hint=missing[1])
    of_numba = type(error).__module__.partition(".")[0] == "numba"
    of_system = isinstance(error, OSError) and error.errno in NO_FILE_DOES_THIS
    if not (of_numba or of_system or isinstance(error, NO_DATA_DOES_THIS)):
        return None
    return ClusterError(
        f"The work cannot be done here ({type(error).__name__}: {error}).",
        hint="No scan is left out for it. Mend the installation or the machine and run the same command again.",
    )


def unless_all_fail(outcomes: Iterable[Outcome], failure: Callable[[Outcome], str | None]) -> Iterator[Outcome]:
    """The outcomes, those that failed for no reason that was foreseen only once another shows that work can be done.

    Args:
        outcomes: as they come.
        failure: what went wrong with one, in words; "" for a reason that lies in its data, None for a success.

    Raises:
        ClusterError: several failed, and none succeeded.
    """
    held: list[Outcome] = []
    remaining = iter(outcomes)
    for outcome in remaining:
        said = failure(outcome)
        if said is None:
            yield from (*held, outcome)
            yield from remaining
            return
        if said:
            held.append(outcome)
            if len(held) == MOST:
                break
        else:
            yield outcome
    if len(held) >= LEAST:
        raise ClusterError(
            f"All {len(held)} scans that were tried failed, and not by their data; the last with {failure(held[-1])}",
            hint="None is left out for it. Look for the cause in this machine and installation, and run it again.",
        )
    yield from held
