"""The command line: it parses arguments, calls one function of another package, and prints the result.

Public: ``app.main``. May import every package. Typer, Rich, exit codes and the format of JSON output stay in here; no
other package imports this one.
"""

from __future__ import annotations

import os
import sys

if "".join(sys.argv[:1]).endswith(("/gliolake", "/gliolake/__main__.py")):
    # A command imports nothing from the current folder, where anybody's modules may lie: `python -m` has it among its
    # places, and so has who sets PYTHONPATH to $PYTHONPATH:/some/folder where it was not set.
    own = __file__.rsplit("/", 3)[0]
    try:
        here = os.getcwd()  # noqa: PTH109 - it may have a pathlib.py
    except FileNotFoundError:
        here = ""
    sys.path[:] = [place for place in sys.path if place == own or place not in {"", here}]
    import signal

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))  # until ending.begin(): nothing is open yet

    from gliolake.cli import ending

    ending.begin()  # a signal may come while the rest is imported
