"""Whether the first process of a container answers: Dask's schedulers and workers on the port of their dashboard.

Exit code 0 for one that answers, and for any other command, which is well as long as it is there; 1 for one that is
silent.
"""

from __future__ import annotations

import re
import sys
import urllib.error
import urllib.request
from pathlib import Path

SECONDS = 5.0


def port_of(command: str) -> int | None:
    """The port of the dashboard that a command of Dask serves; None where it serves none."""
    found = re.search(r"--dashboard-address[= ]\S*?:(\d+)", command)
    return int(found[1]) if found else None


def answers(port: int) -> bool:
    """Whether a scheduler or a worker says on this port that it is well."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=SECONDS) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


if __name__ == "__main__":
    port = port_of(Path("/proc/1/cmdline").read_text("utf-8").replace("\0", " "))
    sys.exit(0 if port is None or answers(port) else 1)
