"""What a bench is at, for whoever waits; its figures alone go to standard output."""

from __future__ import annotations

import sys


def tell(what: str) -> None:
    """Print a line beside the figures, at once."""
    print(what, file=sys.stderr, flush=True)
