"""A study full of texts that would do harm if a page believed them, and pages as tests read them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gliolake.storage.lake import Lake
from tests.support.pages import BEGAN, put, run_row, scan_row

HOSTILE = (
    """<script>document.title = "hit"</script>""",
    """"><img src=x onerror='document.title = "hit"'>""",
    """' onfocus='document.title = "hit"' autofocus='""",
    """</svg></style></script></title><script>document.title = "hit"</script>""",
)
"""Texts as a label, a site, a path of links or an error may have them."""


@pytest.fixture(scope="module")
def hostile(finished: Any, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake whose every text that comes from a file is hostile, with a study that can be reported."""
    script, attribute, quote, closing = HOSTILE
    made = type(finished)(Lake(tmp_path_factory.mktemp("hostile") / "lake", create=True))
    for row in made.rows["labels"]:
        row |= {"site": attribute, "diagnosis": closing, "sex": quote, "source": script}
    made.experiment("one", external=True)
    made.experiment("other", weights=script)
    made.rows["experiments"][0]["settings"] = json.dumps({"diagnosis": closing, "external": script})
    made.row("snn", "table_1", "one", label=script, auc=0.666, detail=attribute)
    made.row("mlp", "table_1", "other", label=attribute, compared_with="snn")
    made.row("broken", closing, state="failed", label=quote, detail=f"{closing} in /data/of a person/scan.nii.gz")
    made.row("beyond", "figure_7b", "one", label=quote, split="external", auc=0.624)
    lake = made.commit()
    link = {"cohort_a": "there", "scan_a": "scan-0005", "cohort_b": "here", "scan_b": "scan-0003", "kind": "follow-up"}
    put(lake, "links", link | {"evidence": "".join(HOSTILE), "score": 1.0})
    left_out = {"cohort": script, "scan_id": attribute, "step": quote, "reason": closing, "detail": "", "source": ""}
    put(lake, "exclusions", left_out | {"fingerprint": ""})
    put(lake, "runs", run_row("failed", f"{script}: /data/of/{closing}", command="ingest", ended=BEGAN))
    put(lake, "scans", scan_row("scan-0004", {"FLAIR": "b" * 64, "T1": "a" * 64}))
    return lake
