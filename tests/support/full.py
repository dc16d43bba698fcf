"""How long tests take: `make test` is short, `make test-faults` and `make test-examples` are not."""

from __future__ import annotations

import os

FULL = os.environ.get("GLIOLAKE_FAULTS") == "full"
"""Faults are injected at full length."""

ALL_EXAMPLES = os.environ.get("GLIOLAKE_EXAMPLES") == "full"
"""Examples are drawn, and statistics of training taken, at full length."""


def examples(full: int) -> int:
    """How many examples a property is tried on, of so many at full length: a quarter, and twenty at least."""
    return full if ALL_EXAMPLES else min(full, max(20, full // 4))
