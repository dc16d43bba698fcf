"""The folder deploy, and its compose file as data."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml


@pytest.fixture(scope="session")
def deploy() -> Path:
    """The folder itself."""
    return Path(__file__).parents[2] / "deploy"


@pytest.fixture(scope="session")
def compose(deploy: Path) -> dict[str, Any]:
    """The compose file, with defaults for its variables, and its scans in /data."""
    text = (deploy / "compose.yaml").read_text("utf-8")
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)
    return yaml.safe_load(re.sub(r"\$\{GLIOLAKE_DATA[^}]*\}", "/data", text))
