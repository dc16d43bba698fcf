"""Outputs are put in place whole or not at all, and take the place of nothing but what gliolake wrote."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gliolake.atomic import replaced, replaced_folder, replaced_path
from gliolake.errors import InputError, StorageFull
from gliolake.storage.lake import Lake
from gliolake.target import Own, check_target, marked
from tests.support.rows import label

NOTES = marked("a page of notes", opens=b"<notes", bears=b"by gliolake", ends=b"</notes>")
GOOD = b"<notes by gliolake>1</notes>\n"

BOX = Own(kind="a box", recognises=lambda folder: {path.name for path in folder.iterdir()} == {"a", "b"})


def nothing(_: Path) -> None:
    """It all goes well."""


def write_box(
    target: Path, text: str = "after", *, overwrite: bool = True, during: Callable[[Path], object] = nothing
) -> None:
    with replaced_folder(target, overwrite=overwrite, own=BOX) as part:
        (part / "a").write_text(text)
        (part / "b").write_text(text)
        during(part)


def write_file(target: Path, *, overwrite: bool = True, during: Callable[[Path], object] = nothing) -> None:
    with replaced_path(target, overwrite=overwrite) as part:
        part.write_text("after")
        during(part)


def contents(folder: Path) -> dict[str, bytes | None]:
    """Everything below, hidden names too."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
            for path in sorted(folder.rglob("*"))}  # fmt: skip


def test_a_file_and_a_folder_stand_whole_with_the_usual_modes(tmp_path: Path) -> None:
    umask = os.umask(0o027)
    try:
        with replaced(tmp_path / "a.csv") as file:
            file.write(b"x")
            assert not (tmp_path / "a.csv").exists()
            (private,) = tmp_path.iterdir()
            assert private.stat().st_mode & 0o777 == 0o700
        write_box(tmp_path / "box", "1", overwrite=False)
    finally:
        os.umask(umask)
    assert contents(tmp_path) == {"a.csv": b"x", "box": None, "box/a": b"1", "box/b": b"1"}
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("a.csv", "box", "box/a")] == [0o640, 0o750, 0o640]


def run_out_of_rows(_target: Path) -> None:
    raise LookupError("row 7")


def fill_the_disk(target: Path) -> None:
    (target / "x" if target.is_dir() else target).write_bytes(bytes(1 << 20))


@pytest.mark.parametrize("former", [True, False])
@pytest.mark.parametrize(("fail", "error"), [(run_out_of_rows, LookupError), (fill_the_disk, StorageFull)])
def test_a_failure_leaves_the_former_file_or_folder_and_nothing_else(
    tmp_path: Path, former: bool, fail: Callable[[Path], None], error: type[Exception]
) -> None:
    file, box = tmp_path / "a.csv", tmp_path / "box"
    if former:
        file.write_bytes(b"before")
        write_box(box, "before")
    before = contents(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # EFBIG: Python ignores SIGXFSZ
    try:
        with pytest.raises(error) as caught:
            write_file(file, during=fail)
        assert error is LookupError or "a.csv is larger than a file may be" in str(caught.value)
        with pytest.raises(error):
            write_box(box, during=fail)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert contents(tmp_path) == before


def test_a_full_disk_is_said_and_leaves_what_was_there(small_disk: Path) -> None:
    (small_disk / "a.csv").write_bytes(b"before")
    with pytest.raises(StorageFull, match=r"No space is left for .*a\.csv"):
        write_file(small_disk / "a.csv", during=lambda part: fill_the_disk(part) or fill_the_disk(part.with_name("b")))
    assert contents(small_disk) == {"a.csv": b"before"}


def test_without_overwrite_nothing_is_replaced_not_even_what_appears_meanwhile(tmp_path: Path) -> None:
    target = tmp_path / "a.csv"
    with pytest.raises(InputError, match="is there"):
        write_file(target, overwrite=False, during=lambda _: target.write_text("theirs"))
    with pytest.raises(InputError, match="there already"), replaced(target):
        raise AssertionError("it must not come so far")
    write_box(tmp_path / "box", "1")
    with pytest.raises(InputError, match="there already"):
        write_box(tmp_path / "box", "2", overwrite=False)
    assert contents(tmp_path) == {"a.csv": b"theirs", "box": None, "box/a": b"1", "box/b": b"1"}


@pytest.mark.parametrize("other", [b"", b"my notes by gliolake", b"<notes>my own</notes>", GOOD + b"and what I added"])
def test_a_file_that_can_be_recognised_replaces_its_like_alone(tmp_path: Path, other: bytes) -> None:
    target = tmp_path / "notes"
    for there, allowed in ((GOOD, True), (other, False)):
        target.write_bytes(there)
        if allowed:
            with replaced(target, overwrite=True, own=NOTES) as file:
                file.write(GOOD)
        else:
            with pytest.raises(InputError, match="not a page of notes"), replaced(target, overwrite=True, own=NOTES):
                raise AssertionError("it must not come so far")
            assert contents(tmp_path) == {"notes": other}


def add_thesis(box: Path) -> None:
    (box / "thesis.docx").write_text("years of work")


def add_folder(box: Path) -> None:
    (box / ".hidden").mkdir()


def lose_a_file(box: Path) -> None:
    (box / "b").unlink()


@pytest.mark.parametrize("change", [add_thesis, add_folder, lose_a_file])
@pytest.mark.parametrize("meanwhile", [True, False])
def test_a_folder_that_is_not_wholly_ours_is_left_even_if_it_changes_meanwhile(
    tmp_path: Path, change: Callable[[Path], None], meanwhile: bool
) -> None:
    box = tmp_path / "box"
    write_box(box, "before")
    if not meanwhile:
        change(box)
    with pytest.raises(InputError, match="left as it is"):
        write_box(box, during=lambda _: change(box) if meanwhile else None)
    assert (box / "a").read_text() == "before"
    assert {path.name for path in tmp_path.iterdir()} == {"box"}


def test_a_folder_takes_the_place_of_an_empty_one_and_of_its_like(tmp_path: Path) -> None:
    (tmp_path / "box").mkdir()
    write_box(tmp_path / "box", "1", overwrite=False)
    write_box(tmp_path / "box", "2")
    assert contents(tmp_path) == {"box": None, "box/a": b"2", "box/b": b"2"}


def link_to_a_file(path: Path) -> None:
    path.symlink_to("precious")


def dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


def link_to_a_folder(path: Path) -> None:
    path.symlink_to(".", target_is_directory=True)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def listener(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


@pytest.mark.parametrize("make", [link_to_a_file, dangling_link, link_to_a_folder, pipe, listener, Path.mkdir])
def test_no_file_is_written_through_a_link_or_over_what_is_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("precious").write_text("before")
    make(Path("out"))
    before = set(Path.cwd().iterdir())
    with pytest.raises(InputError, match="out is a"), replaced(Path("out"), overwrite=True):
        raise AssertionError("it must not come so far")
    if make is not Path.mkdir:
        with pytest.raises(InputError, match="out is a"), replaced_folder(Path("out"), overwrite=True, own=BOX):
            raise AssertionError("it must not come so far")
    assert set(Path.cwd().iterdir()) == before
    assert Path("precious").read_text() == "before"


def test_no_output_lies_in_a_lake_or_takes_the_place_of_an_input(lake: Lake, tmp_path: Path) -> None:
    lake.transact(lambda tx: tx.append("labels", [label(1)]), run_id="r")
    root = Path(lake.root)
    (tmp_path / "way").symlink_to(root / "labels")
    for target in (root / "a.csv", root / "labels" / "a.csv", tmp_path / "way" / "a.csv"):
        with pytest.raises(InputError, match="in the lake"):
            check_target(target)
        with pytest.raises(InputError, match="in the lake"):
            check_target(target, folder=True, own=BOX)
    (tmp_path / "asked.sql").write_text("from labels")
    os.link(tmp_path / "asked.sql", tmp_path / "same.sql")
    with pytest.raises(InputError, match="this command reads"):
        check_target(tmp_path / "same.sql", overwrite=True, inputs=[tmp_path / "asked.sql"])


@pytest.mark.parametrize("name", ["missing/a.csv", "..", "/", "n" * 300])
def test_a_name_that_cannot_be_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((InputError, OSError)), replaced(Path(name)):
        raise AssertionError("it must not come so far")
    assert not list(tmp_path.iterdir())


def test_standard_output_is_written_straight_through_and_what_it_appends_to_is_kept(tmp_path: Path) -> None:
    program = "from pathlib import Path\nfrom gliolake.atomic import replaced\nimport sys\n"
    program += "with replaced(Path(sys.argv[1])) as file: file.write(b'rows')"
    for name in ("/dev/stdout", "/dev/fd/1"):
        with (tmp_path / "log").open("ab") as log:
            log.write(b"before;")
            log.flush()
            subprocess.run([sys.executable, "-c", program, name], check=True, stdout=log)
    assert (tmp_path / "log").read_bytes() == b"before;rowsbefore;rows"


KILLED = """
import os, signal, sys
from pathlib import Path
from gliolake import atomic
from gliolake.target import Own
target, when = Path(sys.argv[1]), sys.argv[2]
if when == "between":
    atomic.Path.rename, rename = lambda path, to: path.name == "new" and os.kill(os.getpid(), 9) or rename(path, to), \\
        atomic.Path.rename
else:
    os.fsync = lambda handle: os.kill(os.getpid(), 9)
box = Own(kind="a box", recognises=lambda folder: {path.name for path in folder.iterdir()} == {"a", "b"})
with atomic.replaced_folder(target, overwrite=True, own=box) as part:
    (part / "a").write_text("after")
    (part / "b").write_text("after")
"""


@pytest.mark.parametrize("when", ["before", "between"])
def test_what_a_killed_process_left_is_private_and_cleared_by_the_next_and_the_former_folder_comes_back(
    tmp_path: Path, when: str
) -> None:
    box = tmp_path / "box"
    write_box(box, "before")
    done = subprocess.run([sys.executable, "-c", KILLED, box, when], cwd=Path(__file__).parents[1], check=False)
    assert done.returncode == -signal.SIGKILL
    assert box.exists() == (when == "before")
    (left,) = (path for path in tmp_path.iterdir() if path != box)
    assert left.stat().st_mode & 0o777 == 0o700
    with pytest.raises(InputError, match="there already"):
        write_box(box, "next", overwrite=False)
    write_box(box, "next")
    assert contents(tmp_path) == {"box": None, "box/a": b"next", "box/b": b"next"}


def test_what_a_living_process_writes_and_what_only_looks_so_is_not_cleared(tmp_path: Path) -> None:
    target = tmp_path / "a.csv"
    with replaced(target, overwrite=True) as file:
        (private,) = tmp_path.iterdir()
        kept = private.with_name(private.name[:-3] + "own")
        kept.mkdir(mode=0o700)
        (kept / "thesis.docx").write_text("years of work")
        with replaced(target, overwrite=True) as second:
            second.write(b"second")
        file.write(b"first")
    assert target.read_bytes() == b"first"
    assert {path.name for path in tmp_path.iterdir()} == {"a.csv", kept.name}
    assert (kept / "thesis.docx").exists()
