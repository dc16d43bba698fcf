"""A commit killed at every point at which it touches its storage, one after the other: no point is left to chance."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.support.full import FULL

pytestmark = pytest.mark.long

DRIVER = '''
"""For each point in turn: begin a lake, kill a second commit at that point, look, commit again, look again.

Each of these is done by a process forked from this one, which itself touches neither Arrow nor a store.
"""
import json, os, signal, sys
from gliolake.storage.backend.object_store import ObjectFiles
from gliolake.storage.lake import Lake
from gliolake.maintenance.verify import verify

def row(n, **values):
    return dict(cohort="brats21", scan_id=f"scan-{n}", source="made", source_id="x", source_row=2,
                source_sha256="0", mgmt_status="methylated", label_rule="brats21", **values)

def link(n):
    return dict(cohort_a="a", scan_a=f"scan-{n}", cohort_b="b", scan_b=f"scan-{n}", kind="declared",
                evidence="made", score=1.0)

def first(tx):
    tx.append("labels", [row(n) for n in range(3)])
    tx.append("links", [link(n) for n in range(3)])

def second(tx):
    """Rows changed, rows new, rows gone, in two tables at once."""
    tx.upsert("labels", [row(0, age=60.0), row(3)])
    tx.delete("links", {"scan_a": "scan-1"})
    tx.upsert("links", [link(3)])

def dying_at(point, store):
    passed = iter(range(10**6))

    def step():
        if next(passed) == point:
            os.kill(os.getpid(), signal.SIGKILL)

    if store:
        for verb in ("put", "create", "delete"):
            def around(self, *given, real=getattr(ObjectFiles, verb)):
                step()
                told = real(self, *given)
                step()
                return told
            setattr(ObjectFiles, verb, around)
        return
    real_sync = os.fsync

    def sync(handle):
        step()
        real_sync(handle)
        step()

    def hook(event, given):
        # Reading is no step; what is opened to be written, linked, renamed or removed is.
        read_only = event == "open" and not given[2] & (os.O_WRONLY | os.O_RDWR)
        if event in ("open", "os.link", "os.rename", "os.remove", "os.mkdir") and not read_only:
            step()

    os.fsync = sync
    sys.addaudithook(hook)

def look(root):
    lake = Lake(root)
    damage = [finding.path for finding in verify(lake, grace=0).findings if finding.is_damage]
    labels = sorted([r["scan_id"], r["age"]] for r in lake.read("labels", columns=["scan_id", "age"]).to_pylist())
    print(json.dumps([labels, sorted(lake.read("links")["scan_a"].to_pylist()), damage]), flush=True)

def forked(do):
    pid = os.fork()
    if not pid:
        do()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def attempt(root, point):
    lake = Lake(root)
    dying_at(point, root.startswith("s3://"))
    lake.transact(second, run_id="second")

for point in range(0, 1000, int(sys.argv[2])):
    root = f"{sys.argv[1]}-{point}"
    forked(lambda: Lake(root, create=True).transact(first, run_id="first"))
    status = forked(lambda: attempt(root, point))
    forked(lambda: look(root))
    forked(lambda: (Lake(root).transact(second, run_id="again"), verify(Lake(root), repair=True, grace=0)))
    forked(lambda: look(root))
    if not status:
        break
    assert status == -signal.SIGKILL, status
'''

OLD = [[[f"scan-{n}", None] for n in range(3)], [f"scan-{n}" for n in range(3)], []]
NEW = [
    [["scan-0", 60.0], ["scan-1", None], ["scan-2", None], ["scan-3", None]],
    ["scan-0", "scan-2", "scan-3"],
    [],
]


@pytest.mark.faults
def test_a_commit_killed_between_any_two_of_its_steps_leaves_the_old_state_or_the_new(
    root: str, record_property: Any
) -> None:
    step = 1 if FULL else 3 if root.startswith("s3://") else 9
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, root, str(step)], capture_output=True, encoding="utf-8", check=True
    )
    seen = [json.loads(line) for line in done.stdout.splitlines()]
    after_kill, after_again = seen[::2], seen[1::2]
    assert len(after_kill) == len(after_again) > 3
    turned = after_kill.index(NEW)  # from the point on at which the record exists, the commit is made
    assert after_kill == [OLD] * turned + [NEW] * (len(after_kill) - turned)
    assert turned > 0, "no point before the record was made"
    assert not FULL or turned < len(after_kill) - 1, "no point after it"
    assert after_again == [NEW] * len(after_again)
    killed = len(after_kill) - 1  # each point killed once; at the last the commit was done
    record_property("faults: crash between two steps of a commit", killed)
