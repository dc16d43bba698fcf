"""Fuzz one parser of ``parsers.py`` under atheris, guided by what its bytes reach; `make fuzz` does it for all.

An input that breaks the rule is kept in ``corpus``, where ``test_fuzz`` replays it from then on. Inputs that reached
something new are kept in the system's folder for temporary files, and the next run begins with them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
MEMORY = 4096
"""Megabytes beyond which an input has broken the rule, PyTorch's own included."""

SLOWEST = 15
"""Seconds beyond which it has."""


def main() -> None:
    """Parse the command line and fuzz; never returns."""
    import warnings

    import atheris

    sys.path[:0] = [str(HERE), str(HERE.parents[1])]
    with atheris.instrument_imports(include=["ingest", "features", "lake"]):
        from parsers import PARSERS, feed

    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("parser", choices=[*PARSERS, "list"], help="which one, or list for their names")
    arguments.add_argument("--seconds", type=int, default=60)
    asked = arguments.parse_args()
    if asked.parser == "list":
        print(*PARSERS)
        return
    parser = PARSERS[asked.parser]
    kept, reached = HERE / "corpus" / asked.parser, Path(tempfile.gettempdir(), "gliolake-corpus", asked.parser)
    for folder in (kept, reached):
        folder.mkdir(parents=True, exist_ok=True)
    options = [f"-max_total_time={asked.seconds}", f"-rss_limit_mb={MEMORY}", f"-timeout={SLOWEST}", "-max_len=4096"]
    options += [f"-artifact_prefix={kept}/", str(reached), str(kept)]
    warnings.simplefilter("error", RuntimeWarning)  # what numpy warns of was let in unchecked
    atheris.Setup([sys.argv[0], *options], lambda data: feed(parser, data))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
