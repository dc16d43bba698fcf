"""Settings of a whole process, where several of its threads are at work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from gliolake.process.threads import while_any_is_inside


def test_a_setting_that_tasks_share_holds_until_the_last_of_them_is_out() -> None:
    told: list[str] = []

    @while_any_is_inside
    @contextmanager
    def setting() -> Iterator[None]:
        told.append("made")
        yield
        told.append("undone")

    for _ in range(2):
        told.clear()
        with ExitStack() as first, ExitStack() as second:
            first.enter_context(setting())
            second.enter_context(setting())
            first.close()
            assert told == ["made"]
        assert told == ["made", "undone"]
