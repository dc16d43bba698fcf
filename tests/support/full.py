"""Whether faults are injected at full length, as `make test-faults` asks."""

from __future__ import annotations

import os

FULL = os.environ.get("GLIOLAKE_FAULTS") == "full"
