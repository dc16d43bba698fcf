"""Arguments that are no UTF-8, and arguments that Python read as if they were ASCII."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ASCII = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize(
    ("name", "variables", "said"),
    [
        ("Fäll".encode(), ASCII, "LC_ALL=C.UTF-8"),
        (b"F\xe4ll", ASCII, "is no UTF-8"),
        (b"F\xe4ll", {"LC_ALL": "C.UTF-8"}, "is no UTF-8"),
    ],
)
def test_a_name_that_cannot_be_read_says_whether_name_or_locale_is_at_fault(
    tmp_path: Path, name: bytes, variables: dict[str, str], said: str
) -> None:
    lake = os.fsencode(tmp_path) + b"/" + name
    command = [sys.executable, "-P", "-m", "gliolake", "status", "--lake", lake]
    done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, encoding="utf-8", check=False)
    assert (done.returncode, said in done.stderr, "Traceback" in done.stderr) == (2, True, False), done.stderr
