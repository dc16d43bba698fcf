"""Damage and litter: found, named, and put right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lake.errors import DamagedFile
from lake.log import record_path
from lake.store import Lake
from lake.verify import verify


@pytest.fixture
def filled(lake: Lake, label: Any) -> Lake:
    """A lake of three commits to three partitions."""
    for cohort in ("brats21", "ucsf_pdgm", "third"):
        lake.transact(lambda tx, c=cohort: tx.append("labels", [label(n, cohort=c) for n in range(50)]), run_id="r")  # type: ignore[misc]
    return lake


def committed_file(lake: Lake, cohort: str) -> Path:
    (file,) = lake.state().of_table("labels", {"cohort": cohort})
    return Path(lake.root, file.path)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x40
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("harm", "kind"),
    [(truncate, "truncated file"), (flip_a_byte, "altered file"), (Path.unlink, "missing file")],
)
def test_a_damaged_file_is_named_and_taken_out_and_the_rest_stays(filled: Lake, harm: Any, kind: str) -> None:
    victim = committed_file(filled, "ucsf_pdgm")
    harm(victim)
    found = verify(filled)
    assert not found.sound
    (finding,) = found.findings
    assert (finding.kind, finding.table, finding.rows) == (kind, "labels", 50)
    assert victim.name in finding.path
    with pytest.raises(DamagedFile):
        filled.read("labels")

    repaired = verify(filled, repair=True)
    assert repaired.sound
    assert repaired.restore_commands() == ["gliolake ingest"]
    reopened = Lake(filled.root)
    assert {row["cohort"] for row in reopened.read("labels").to_pylist()} == {"brats21", "third"}
    assert [finding for finding in verify(reopened).findings if finding.is_damage] == []
    if kind != "missing file":
        assert list(Path(filled.root, "_quarantine").rglob(victim.name))


def test_litter_is_found_left_alone_while_young_and_cleared_on_repair(filled: Lake, label: Any) -> None:
    temporary = Path(filled.root, "_tmp", "4711-half-written")
    temporary.parent.mkdir(exist_ok=True)
    temporary.write_bytes(b"PAR1 and then the power went")
    filled.stage("labels", [label(7, cohort="fourth")], run_id="killed")
    filled.transact(lambda tx: tx.upsert("labels", [label(0, age=1.0)]), run_id="r")

    young = verify(filled)
    assert young.sound
    assert {finding.kind for finding in young.findings} == {"temporary file", "uncommitted file", "replaced file"}
    verify(filled, repair=True)
    assert temporary.exists()

    assert not verify(filled, grace=0).sound
    temporary.unlink()
    for path in Path(filled.root, "labels", "cohort=fourth").iterdir():
        path.unlink()
    only_replaced = verify(filled, grace=0)
    assert only_replaced.sound
    assert {finding.kind for finding in only_replaced.findings} == {"replaced file"}
    temporary.write_bytes(b"PAR1 again")
    assert verify(filled, repair=True, grace=0).sound
    assert verify(filled, grace=0).findings == ()
    assert not temporary.exists()
    assert Lake(filled.root).read("labels").num_rows == 150


def test_a_damaged_commit_record_is_named(filled: Lake) -> None:
    record = Path(filled.root, record_path(2))
    record.write_bytes(record.read_bytes().replace(b'"rows":50', b'"rows":51'))
    with pytest.raises(DamagedFile, match=record.name):
        Lake(filled.root)
