"""A lake's folder as an enemy or an odd file system prepares it: nothing outside is reached, and one creates a name."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gliolake.errors import (
    DamagedFile,
    GliolakeError,
    InputError,
    NotALake,
    ReadOnlyLake,
    StorageFull,
    StorageUnreachable,
    UnsuitedStorage,
)
from gliolake.maintenance.compaction import compact
from gliolake.maintenance.purge import purge
from gliolake.maintenance.verify import verify
from gliolake.storage import layout as names
from gliolake.storage.backend.files import Entry
from gliolake.storage.backend.local import LocalFiles
from gliolake.storage.lake import Lake

PROJECT = Path(__file__).parents[2]
DATA = f"labels/cohort=a/{'0' * 32}.parquet"
RECORD = "_log/00000000000000000001.json"
PATHS = (DATA, RECORD, "_tmp/4711", f"_quarantine/{DATA}", "_gliolake.json")

VERBS: dict[str, Callable[[LocalFiles, str], object]] = {
    "put": lambda files, path: files.put(path, b"new"),
    "put among others": lambda files, path: files.put_all({"labels/first": b"new", path: b"new"}),
    "create": lambda files, path: files.create([path], b"new"),
    "get": lambda files, path: files.get(path),
    "size": lambda files, path: files.size(path),
    "delete": lambda files, path: files.delete(path),
    "move to it": lambda files, path: files.move("mine", [path]),
    "list": lambda files, path: [*files.list(path.rpartition("/")[0])],
}
READING = ("get", "size", "list")


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder of somebody's, with files of all the names that a lake might reach for."""
    folder = tmp_path / "outside"
    for path in PATHS:
        for cut in range(path.count("/") + 1):
            place = folder.joinpath(*path.split("/")[cut:])
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(b"precious")
    return folder


def snapshot(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """All names below a folder, with their inodes, links and bytes."""
    return {
        str(path): (path.stat().st_ino, path.stat().st_nlink, path.read_bytes() if path.is_file() else b"")
        for path in folder.rglob("*")
    }


def beginnings(path: str) -> Iterator[str]:
    """The folders of a path, and the path."""
    parts = path.split("/")
    yield from ("/".join(parts[: end + 1]) for end in range(len(parts)))


@pytest.mark.parametrize("target", ["outside", "sibling", "nowhere", "itself"])
@pytest.mark.parametrize("verb", VERBS)
def test_no_verb_reaches_through_a_link_wherever_on_the_path_it_stands(
    tmp_path: Path, outside: Path, verb: str, target: str
) -> None:
    before = snapshot(outside)
    for number, path in enumerate(PATHS):
        for depth, link in enumerate(beginnings(path)):
            root = tmp_path / f"lake-{number}-{depth}"
            (root / "other").mkdir(parents=True)
            (root / "mine").write_bytes(b"mine")
            (root / link).parent.mkdir(parents=True, exist_ok=True)
            inside_outside = outside.joinpath(*path.split("/")[: depth + 1])
            leads = {
                "outside": inside_outside,
                "sibling": root / "other",
                "nowhere": root / "gone",
                "itself": root / link,
            }
            (root / link).symlink_to(leads[target])
            files, raised = LocalFiles(root), None
            try:
                told = VERBS[verb](files, path)
            except GliolakeError as error:
                raised, told = error, None
            taken = verb in ("move to it", "list") and link == path  # the link has the name; it is not gone through
            assert taken or isinstance(raised, DamagedFile), (link, told)
            assert taken or f"{root / link} is a symbolic link" in str(raised)
            assert (root / link).is_symlink()
            assert not [entry for entry in files.list() if entry.path.startswith(f"{link}/")]
            assert [entry.kind for entry in files.list() if entry.path == link] == ["symbolic link"]
            assert (root / "mine").exists()
    assert snapshot(outside) == before


@pytest.mark.parametrize("folder", ["_tmp", "_log", "labels", "_quarantine"])
def test_links_that_come_and_go_between_two_calls_lead_nowhere(tmp_path: Path, outside: Path, folder: str) -> None:
    files, over = LocalFiles(tmp_path / "lake"), threading.Event()
    path = {"_log": RECORD, "_quarantine": f"_quarantine/{DATA}"}.get(folder, DATA)
    files.put(path, b"begun")
    place = tmp_path / "lake" / folder
    place.mkdir(exist_ok=True)
    (outside / folder).mkdir(exist_ok=True)
    before = snapshot(outside)
    link = tmp_path / "link"
    link.symlink_to(outside / folder)
    exchange = functools.partial(ctypes.CDLL(None).renameat2, -100, os.fsencode(place), -100, os.fsencode(link), 2)

    def swap() -> None:
        while not over.is_set():
            exchange()

    def work(number: int) -> None:
        files.put("mine", b"mine")
        files.put(path, b"new %d" % number)
        files.create([path, f"{path}.{number}"], b"new %d" % number)
        assert files.get(path) != b"precious"
        files.move("mine", [f"{path}~"])
        files.delete(f"{path}~")
        files.delete(f"{path}.{number}")

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for number in range(100):
            with contextlib.suppress(GliolakeError):
                work(number)
            with contextlib.suppress(GliolakeError):
                assert {files.get(entry.path) for entry in files.list()} & {b"precious"} == set()
    finally:
        over.set()
        thread.join()
    assert snapshot(outside) == before


def test_a_folder_that_takes_the_place_of_an_open_lake_is_not_gone_into(tmp_path: Path, outside: Path) -> None:
    files = LocalFiles(tmp_path / "lake")
    files.put(DATA, b"one")
    (tmp_path / "lake").rename(tmp_path / "moved")
    (tmp_path / "lake").symlink_to(outside)
    before = snapshot(outside)
    files.put(DATA, b"two")
    assert files.get(DATA) == b"two"
    files.delete(DATA)
    assert (snapshot(outside), (tmp_path / "moved" / DATA).exists()) == (before, False)


@pytest.mark.parametrize("verb", VERBS)
def test_what_is_no_file_is_named_and_not_waited_for(tmp_path: Path, verb: str) -> None:
    files = LocalFiles(tmp_path)
    (tmp_path / "mine").write_bytes(b"mine")
    makers: dict[str, Callable[[Path], object]] = {"pipe": os.mkfifo, "socket": _socket, "folder": Path.mkdir}
    if os.geteuid() == 0:
        makers["device"] = lambda path: os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))
    for kind, make in makers.items():
        path = f"labels/{kind}"
        (tmp_path / "labels").mkdir(exist_ok=True)
        make(tmp_path / path)
        if verb == "list":
            assert {entry.kind for entry in files.list("labels") if entry.path == path} <= {kind}
        elif verb == "move to it":
            assert VERBS[verb](files, path) is None
        else:
            with pytest.raises(DamagedFile, match=f"{path} is a {kind}, where a file has to be"):
                VERBS[verb](files, path)
        if kind != "folder":
            with pytest.raises(DamagedFile, match=f"{path} is a {kind}, where a folder has to be"):
                VERBS[verb](files, f"{path}/below")
        assert (tmp_path / path).exists()


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener, contextlib.chdir(path.parent):
        listener.bind(path.name)


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/x", "a//b", "", ".", "./a", "a/.", "a/..", "a\0b", "a/"])
def test_a_path_that_could_lead_out_of_the_lake_is_refused_by_every_verb(root: str, path: str) -> None:
    from gliolake.storage.backend.opening import open_files

    files = open_files(f"{root}/lake")
    files.put("mine", b"mine")
    for verb, do in VERBS.items():
        if verb != "list":
            with pytest.raises(InputError):
                do(files, path)  # type: ignore[arg-type]
    assert files.get("mine") == b"mine"


def test_hard_links_of_others_are_replaced_and_deleted_as_names_only(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_bytes(b"mine")
    files = LocalFiles(tmp_path / "lake")
    files.put("labels/a", b"one")
    for path in ("labels/b", "labels/c"):
        os.link(mine, tmp_path / "lake" / path)
    files.put("labels/b", b"two")
    files.delete("labels/c")
    assert (mine.read_bytes(), mine.stat().st_nlink) == (b"mine", 1)


def test_a_listing_ends_in_folders_that_go_deeper_than_a_lake_or_may_not_be_read(tmp_path: Path) -> None:
    files = LocalFiles(tmp_path)
    files.put("labels/sound", b"bytes")
    deep = "/".join(["deep"] * 400)
    place = os.open(tmp_path, os.O_RDONLY)
    for name in deep.split("/"):
        os.mkdir(name, dir_fd=place)
        place, above = os.open(name, os.O_RDONLY, dir_fd=place), place
        os.close(above)
    os.close(place)
    (tmp_path / "odd\udcff\n").write_bytes(b"")
    found = {entry.path: entry for entry in files.list()}
    assert {path: entry.kind for path, entry in found.items() if not path.startswith("deep")} == {
        "labels/sound": "file", "odd\udcff\n": "file",
    }  # fmt: skip
    assert [entry.kind for path, entry in found.items() if path.startswith("deep")] == ["folder"]
    assert found["labels/sound"] == Entry("labels/sound", 5, found["labels/sound"].age)
    assert [*LocalFiles(tmp_path / "nothing").list()] == []


@pytest.mark.parametrize(
    "link", ["labels", "labels/cohort=brats21", "_log", "_tmp", "_quarantine", "_catalog", "a file"]
)
@pytest.mark.parametrize("leads", ["to where it was moved", "to a folder of mine"])
def test_no_command_harms_what_a_link_in_a_lake_leads_to_nor_gives_up_what_lies_behind_it(
    tmp_path: Path, outside: Path, label: Any, link: str, leads: str
) -> None:
    lake = Lake(tmp_path / "lake", create=True)
    for number in range(5):
        lake.transact(lambda tx, n=number: tx.append("labels", [label(n)]), run_id="r")  # type: ignore[misc]
    name = min(lake.state().files) if link == "a file" else link
    place, moved = Path(lake.root, name), tmp_path / "moved"
    place.rename(moved) if place.exists() else moved.mkdir()
    for number in range(2):  # ripe for a repair, if it went there
        old = moved / f"{number:032x}.parquet" if moved.is_dir() else outside / f"{number:032x}.parquet"
        old.write_bytes(b"mine")
        os.utime(old, (0, 0))
    place.symlink_to(moved if leads == "to where it was moved" else outside)
    before = snapshot(outside), snapshot(moved)
    commands: list[Callable[[], object]] = [
        lambda: verify(lake.root), lambda: verify(lake.root, repair=True, grace=-1),
        lambda: purge(Lake(lake.root), lain=-1),
        lambda: compact(Lake(lake.root)), lambda: Lake(lake.root).read("labels"),
        lambda: Lake(lake.root).transact(lambda tx: tx.upsert("labels", [label(1, age=50.0)]), run_id="r"),
    ]  # fmt: skip
    for command in commands:
        with contextlib.suppress(GliolakeError):
            command()
    assert (snapshot(outside), snapshot(moved)) == before
    if link != "a file":
        assert place.is_symlink()
        place.unlink()
        moved.rename(place)
        assert Lake(lake.root).read("labels").num_rows == 5


def test_a_listing_that_the_system_breaks_off_ends_in_words_and_not_in_fewer_files(
    lake: Lake, label: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.transact(lambda tx: tx.append("labels", [label(1)]), run_id="r")
    for answer, kind in {
        errno.EMFILE: StorageUnreachable,
        errno.ESTALE: StorageUnreachable,
        errno.EIO: DamagedFile,
    }.items():
        with monkeypatch.context() as failing:
            failing.setattr(os, "scandir", _failing(answer))
            with pytest.raises(kind, match=os.strerror(answer)):
                [*lake.files.list()]


# Links that the user made on purpose.


def test_a_lake_behind_a_link_is_refused_until_the_user_allows_it(
    tmp_path: Path, label: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GLIOLAKE_LINKED_LAKE", raising=False)
    (tmp_path / "disk" / "lake").mkdir(parents=True)
    (tmp_path / "home").symlink_to(tmp_path / "disk")  # above the lake, links are the system's matter
    Lake(tmp_path / "home" / "lake", create=True).transact(lambda tx: tx.append("labels", [label(1)]), run_id="r")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "disk" / "lake")
    for create in (False, True):
        with pytest.raises(NotALake, match=f"{link} is a symbolic link to .*disk/lake") as caught:
            Lake(link, create=create)
        assert "--linked-lake (GLIOLAKE_LINKED_LAKE=1)" in caught.value.hint
    assert Lake(link, linked=True).read("labels").num_rows == 1
    monkeypatch.setenv("GLIOLAKE_LINKED_LAKE", "1")
    assert Lake(link).read("labels").num_rows == 1


def test_a_table_on_another_disk_by_a_link_is_read_and_written_where_allowed_and_never_tidied(
    tmp_path: Path, small_disk: Path, label: Any
) -> None:
    root, there = tmp_path / "lake", small_disk / "labels"
    root.mkdir(mode=0o755)
    Lake(root, create=True).transact(lambda tx: tx.append("links", [_link()]), run_id="r")
    there.mkdir()
    (root / "labels").symlink_to(there)
    with pytest.raises(DamagedFile, match="labels is a symbolic link") as caught:
        Lake(root).transact(lambda tx: tx.append("labels", [label(1)]), run_id="r")
    assert "--linked-lake" in caught.value.hint
    lake = Lake(root, linked=True)
    lake.transact(lambda tx: tx.append("labels", [label(1)]), run_id="r")
    lake.transact(lambda tx: tx.append("labels", [label(2)]), run_id="r")
    assert lake.read("labels").num_rows == 2
    files = sorted(path.name for path in there.rglob("*") if path.is_file())
    assert [names.kind(f"labels/cohort=brats21/{name}") for name in files] == ["data", "data"]
    with pytest.raises(DamagedFile):
        Lake(root).read("labels")
    path = next(iter(file.path for file in lake.state().of_table("labels")))
    for forbidden in (lambda: lake.files.delete(path), lambda: lake.files.move(path, ["_quarantine/x"])):
        with pytest.raises(DamagedFile):
            forbidden()
    assert [entry.kind for entry in lake.files.list("") if entry.path == "labels"] == ["symbolic link"]
    assert len([*there.rglob("*.parquet")]) == 2


def _link() -> dict[str, Any]:
    return {
        "cohort_a": "a", "scan_a": "1", "cohort_b": "b", "scan_b": "1", "kind": "declared", "evidence": "made",
        "score": 1.0,
    }  # fmt: skip


def test_a_part_of_the_lake_may_be_a_disk_of_its_own(tmp_path: Path, label: Any) -> None:
    root = tmp_path / "lake"
    for folder in ("_log", "labels"):
        (root / folder).mkdir(parents=True)
        mounted = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", root / folder], capture_output=True, check=False)
        if mounted.returncode:
            pytest.skip("mounting needs rights that this user lacks")
    try:
        files = LocalFiles(root)
        files.put("labels/a", b"one")
        assert files.create(["_log/1", "_log/2"], b"x") == "_log/1"
        assert files.create(["_log/1", "_log/2"], b"y") == "_log/2"
        assert files.move("labels/a", ["_quarantine/a"]) == "_quarantine/a"
        found = {entry.path for entry in files.list()}
        assert found == {"_log/1", "_log/2", "_quarantine/a"}
    finally:
        for folder in ("_log", "labels"):
            subprocess.run(["umount", "--lazy", root / folder], check=True)


# Moving.


def test_what_is_moved_takes_the_first_free_name_whatever_it_is(tmp_path: Path) -> None:
    files = LocalFiles(tmp_path)
    for number in range(3):
        files.put("_log/1", b"%d" % number)
        assert files.move("_log/1", iter(["_quarantine/1", "_quarantine/1~", "_quarantine/1~~"]))
    (tmp_path / "_log" / "1").mkdir()
    (tmp_path / "_log" / "2").symlink_to("/etc/passwd")
    assert files.move("_log/1", ["_quarantine/1", "_quarantine/folder"]) == "_quarantine/folder"
    assert files.move("_log/2", ["_quarantine/link"]) == "_quarantine/link"
    assert files.move("_log/3", ["_quarantine/none"]) is None
    assert [(tmp_path / "_quarantine" / name).read_bytes() for name in ("1", "1~", "1~~")] == [b"0", b"1", b"2"]
    assert (tmp_path / "_quarantine" / "link").readlink() == Path("/etc/passwd")
    assert [*(tmp_path / "_log").iterdir()] == []


# Creating only if absent.


@pytest.mark.parametrize("answer", [errno.EEXIST, errno.EIO, errno.ETIMEDOUT, errno.ESTALE])
def test_a_link_that_was_made_though_its_answer_says_otherwise_commits_once(
    lake: Lake, label: Any, monkeypatch: pytest.MonkeyPatch, answer: int
) -> None:
    """On NFS a request is sent again when its answer is lost, and is then refused by its own link."""
    lake.transact(lambda tx: tx.append("labels", [label(0)]), run_id="r")
    real = os.link

    def lost(*given: Any, **options: Any) -> None:
        real(*given, **options)
        raise OSError(answer, os.strerror(answer))

    def one_more(tx: Any) -> None:
        tx.append("labels", [label(tx.read("labels").num_rows)])

    monkeypatch.setattr(os, "link", lost)
    assert lake.transact(one_more, run_id="r").version == 2  # type: ignore[union-attr]
    assert (Lake(lake.root).version, Lake(lake.root).read("labels").num_rows) == (2, 2)


def test_a_file_whose_renaming_was_answered_with_an_error_is_there_all_the_same(
    lake: Lake, label: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On NFS a rename that is asked for again finds its source gone."""
    real = os.rename

    def lost(*given: Any, **options: Any) -> None:
        real(*given, **options)
        real(*given, **options)

    monkeypatch.setattr(os, "rename", lost)
    lake.transact(lambda tx: tx.append("labels", [label(0)]), run_id="r")
    assert Lake(lake.root).read("labels").num_rows == 1


@pytest.mark.parametrize("answer", [errno.EIO, errno.ESTALE])
def test_a_link_that_was_not_made_is_no_commit(
    lake: Lake, label: Any, monkeypatch: pytest.MonkeyPatch, answer: int
) -> None:
    lake.transact(lambda tx: tx.append("labels", [label(0)]), run_id="r")
    with monkeypatch.context() as failing:
        failing.setattr(os, "link", _failing(answer))
        with pytest.raises(StorageUnreachable, match=os.strerror(answer)):
            lake.transact(lambda tx: tx.append("labels", [label(1)]), run_id="r")
    assert Lake(lake.root).version == 1
    assert [entry.path for entry in lake.files.list("_tmp")] == []


def _failing(*answers: int) -> Callable[..., Any]:
    def fail(*given: object, **options: object) -> None:
        raise OSError(answers[0], os.strerror(answers[0]))

    return fail


WITHOUT_LINKS = """
import errno, os, sys
from gliolake.storage.lake import Lake
from tests.support.rows import label

def no_links(*given, **options):
    raise OSError(errno.EPERM, "no hard links here")

os.link = no_links
lake = Lake(sys.argv[1], create=True)
print("ready", flush=True)
sys.stdin.read()
for number in range(15):
    lake.transact(lambda tx: tx.append("labels", [label(number, cohort=sys.argv[2])]), run_id="r")
"""


@pytest.mark.faults
def test_in_a_folder_without_hard_links_writers_side_by_side_lose_and_double_nothing(
    tmp_path: Path, record_property: Any
) -> None:
    root = tmp_path / "lake"
    command = [sys.executable, "-c", WITHOUT_LINKS, str(root)]
    writers = [
        subprocess.Popen([*command, f"c{number}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=PROJECT)
        for number in range(3)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.close()
        writer.stdout.close()  # type: ignore[union-attr]
    assert [writer.wait(120) for writer in writers] == [0, 0, 0]
    lake = Lake(root)
    assert (lake.version, lake.read("labels").num_rows) == (45, 45)
    assert [entry.path for entry in lake.files.list("_tmp")] == []
    record_property("faults: commit without hard links", 45)


@pytest.mark.parametrize("answer", [errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV, errno.EINVAL])
def test_a_name_is_given_once_by_renaming_where_links_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: int
) -> None:
    monkeypatch.setattr(os, "link", _failing(answer))
    files = LocalFiles(tmp_path)
    assert files.create(["_log/1"], b"one") == "_log/1"
    assert files.create(["_log/1"], b"two") is None
    assert files.create(["_log/1", "_log/2"], b"two") == "_log/2"
    assert {entry.path: files.get(entry.path) for entry in files.list()} == {"_log/1": b"one", "_log/2": b"two"}


def test_a_folder_in_which_nothing_can_be_created_only_once_is_refused_with_the_reason(
    tmp_path: Path, label: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", _failing(errno.EOPNOTSUPP))
    monkeypatch.setattr("gliolake.storage.backend.local.rename_if_free", _failing(errno.EINVAL))
    lake = Lake(tmp_path / "lake", create=True)
    with pytest.raises(UnsuitedStorage, match=f"{lake.root} cannot hold a lake: .* no hard links") as caught:
        lake.transact(lambda tx: tx.append("labels", [label(1)]), run_id="r")
    assert "ext4" in caught.value.hint
    assert [*lake.files.list()] == []


def test_a_log_that_its_system_protects_is_not_taken_for_a_disk_without_links(
    lake: Lake, label: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.transact(lambda tx: tx.append("labels", [label(1)]), run_id="r")
    log = Path(lake.root, "_log")
    really = subprocess.run(["chattr", "+i", log], capture_output=True, check=False).returncode == 0
    if not really:
        monkeypatch.setattr(os, "link", _failing(errno.EPERM))
        monkeypatch.setattr("gliolake.storage.backend.local.rename_if_free", _failing(errno.EPERM))
    try:
        with pytest.raises(ReadOnlyLake) as caught:
            lake.transact(lambda tx: tx.append("labels", [label(2)]), run_id="r")
        assert "lsattr" in caught.value.hint
    finally:
        if really:
            subprocess.run(["chattr", "-i", log], check=True)


# Surviving a power cut.


def test_every_new_folder_is_synced_into_the_one_above_it_up_to_the_lakes_own(
    tmp_path: Path, label: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, int]] = []
    real_sync, real_mkdir, real_link = os.fsync, os.mkdir, os.link

    def sync(handle: int) -> None:
        calls.append(("sync", os.fstat(handle).st_ino))
        real_sync(handle)

    def mkdir(path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        real_mkdir(path, mode, dir_fd=dir_fd)
        calls.append(("made in", os.fstat(dir_fd).st_ino if dir_fd else Path(path).parent.stat().st_ino))

    def link(*given: Any, **options: Any) -> None:
        calls.append(("link", 0))
        real_link(*given, **options)

    for name, call in {"fsync": sync, "mkdir": mkdir, "link": link}.items():
        monkeypatch.setattr(os, name, call)
    lake = Lake(tmp_path / "new" / "lake", create=True)
    lake.transact(lambda tx: tx.append("labels", [label(1), label(2, cohort="b")]), run_id="r")
    made = [at for at, (call, _) in enumerate(calls) if call == "made in"]
    assert len(made) == 7  # new, lake, _tmp, labels, two cohorts, _log
    last_link = max(at for at, (call, _) in enumerate(calls) if call == "link")
    for at in made:
        assert ("sync", calls[at][1]) in calls[at:last_link], calls[at]
    inodes = [inode for call, inode in calls[last_link:] if call == "sync"]
    assert inodes == [Path(lake.root, "_log").stat().st_ino]


@pytest.mark.parametrize("answer", [errno.EINVAL, errno.ENOTSUP, errno.EBADF])
def test_where_folders_cannot_be_synced_it_is_said_once_and_commits_go_on(
    lake: Lake, label: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, answer: int
) -> None:
    real = os.fsync

    def sync(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(answer, os.strerror(answer))
        real(handle)

    monkeypatch.setattr(os, "fsync", sync)
    for number in range(3):
        lake.transact(lambda tx, n=number: tx.append("labels", [label(n)]), run_id="r")  # type: ignore[misc]
    assert Lake(lake.root).read("labels").num_rows == 3
    said = caplog.text
    assert (said.count("cannot sync"), said.count("power cut")) == (1, 1)


# What the system says, in words.


@pytest.mark.parametrize(
    "expected",
    [
        (errno.ENOSPC, StorageFull, "Free some space"), (errno.EDQUOT, StorageFull, "quota"),
        (errno.EFBIG, StorageFull, "ulimit -f"), (errno.EROFS, ReadOnlyLake, "mount it writable"),
        (errno.EACCES, ReadOnlyLake, "given the right"), (errno.EPERM, ReadOnlyLake, "lsattr"),
        (errno.EIO, StorageUnreachable, "dmesg"), (errno.ESTALE, StorageUnreachable, "mount it again"),
        (errno.EMFILE, StorageUnreachable, "ulimit -n"), (errno.ENAMETOOLONG, InputError, "shorter"),
        (errno.ENODEV, StorageUnreachable, "dmesg"), (errno.ENOTCONN, StorageUnreachable, "dmesg"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("call", ["open", "fsync", "rename"])
def test_an_error_of_the_storage_becomes_a_sentence_and_an_advice(
    lake: Lake,
    label: Any,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    expected: tuple[int, type[GliolakeError], str],
) -> None:
    answer, kind, advice = expected
    lake.transact(lambda tx: tx.append("labels", [label(0)]), run_id="r")
    real = getattr(os, call)

    def fail(*given: Any, **options: Any) -> Any:
        if call == "open" and not given[1] & os.O_CREAT:
            return real(*given, **options)
        raise OSError(answer, os.strerror(answer), "somewhere")

    with monkeypatch.context() as failing:
        failing.setattr(os, call, fail)
        with pytest.raises(kind) as caught:
            lake.transact(lambda tx: tx.append("labels", [label(1)]), run_id="r")
    assert lake.root in str(caught.value)
    assert advice in caught.value.hint
    assert answer == errno.EROFS or "mount it writable" not in caught.value.hint
    assert Lake(lake.root).version == 1


def test_a_name_that_is_too_long_for_the_disk_is_named_before_anything_is_committed(lake: Lake, label: Any) -> None:
    with pytest.raises(InputError, match="A name is too long") as caught:
        lake.transact(lambda tx: tx.append("labels", [label(1, cohort="ä" * 200)]), run_id="r")
    assert "shorter" in caught.value.hint
    assert [*lake.files.list("_log")] == []


@pytest.mark.parametrize("link", ["_log", "_log/00000000000000000001.json", "_log/newest_checkpoint.json"])
def test_a_log_behind_a_link_is_named_and_not_read(tmp_path: Path, label: Any, link: str) -> None:
    lake = Lake(tmp_path / "lake", create=True)
    lake.transact(lambda tx: tx.append("labels", [label(1)]), run_id="r")
    place = tmp_path / "lake" / link
    if place.exists():
        place.rename(tmp_path / "elsewhere")
    place.symlink_to(tmp_path / "elsewhere")
    if link.endswith("checkpoint.json"):  # only says where to look; another than the newest does as well
        assert Lake(tmp_path / "lake").read("labels").num_rows == 1
        return
    with pytest.raises(DamagedFile, match=f"{place} is a symbolic link") as caught:
        Lake(tmp_path / "lake")
    assert ("--linked-lake" in caught.value.hint) == (link == "_log")


@pytest.mark.parametrize(
    "address", ["file://host/lake", "file:lake", "FILE:x", "~nobody-of-this-name/lake", "a\0b", "gs://x/y"]
)
def test_an_address_that_is_no_place_for_a_lake_is_refused_in_words(address: str) -> None:
    with pytest.raises(InputError) as caught:
        Lake(address, create=True)
    assert caught.value.hint


@pytest.mark.parametrize("answer", [errno.EIO, errno.EUCLEAN, errno.EBADMSG])
def test_a_file_that_the_disk_has_lost_is_damage_and_hides_no_other(
    lake: Lake, label: Any, monkeypatch: pytest.MonkeyPatch, answer: int
) -> None:
    for number in range(3):
        lake.transact(lambda tx, n=number: tx.append("labels", [label(n)]), run_id="r")  # type: ignore[misc]
    lost, real = sorted(lake.state().files)[1], os.open

    def worn(name: Any, *given: Any, **options: Any) -> int:
        if lost.endswith(f"/{name}"):
            raise OSError(answer, os.strerror(answer), name)
        return real(name, *given, **options)

    monkeypatch.setattr(os, "open", worn)
    assert [(found.kind, found.path) for found in verify(lake).findings] == [("unreadable file", lost)]
    with pytest.raises(DamagedFile, match=f"{lost} cannot be read: {os.strerror(answer)}"):
        Lake(lake.root).read("labels")


LIMITED = """
import resource, sys
from gliolake.errors import GliolakeError
from gliolake.storage.lake import Lake
from tests.support.rows import label

lake = Lake(sys.argv[1], create=True)
lake.transact(lambda tx: tx.append("labels", [label(0)]), run_id="r")
which = getattr(resource, sys.argv[2])
resource.setrlimit(which, (int(sys.argv[3]), resource.getrlimit(which)[1]))
try:
    lake.transact(lambda tx: tx.append("labels", [label(1)]), run_id="r")
except GliolakeError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize(
    ("limit", "value", "kind"), [("RLIMIT_FSIZE", 1000, "StorageFull"), ("RLIMIT_NOFILE", 3, "StorageUnreachable")]
)
def test_real_limits_of_a_process_are_named(tmp_path: Path, limit: str, value: int, kind: str) -> None:
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "lake"), limit, str(value)]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, check=False)
    assert (ended.returncode, ended.stdout.split(" ")[0]) == (0, kind), ended.stderr
    assert Lake(tmp_path / "lake").version == 1


# Who may see it.


@pytest.mark.parametrize("mode", [None, 0o700, 0o750, 0o755, 0o777])
def test_what_is_made_in_a_lake_gives_others_no_more_than_its_folder(
    tmp_path: Path, label: Any, mode: int | None
) -> None:
    before = os.umask(0o022)
    try:
        root = tmp_path / "lake"
        if mode is not None:
            root.mkdir()
            root.chmod(mode)
        Lake(root, create=True).transact(lambda tx: tx.append("labels", [label(1)]), run_id="r")
    finally:
        os.umask(before)
    allowed = mode or 0o700
    assert stat.S_IMODE(root.stat().st_mode) == allowed
    for path in root.rglob("*"):
        expected = allowed & (0o755 if path.is_dir() else 0o644)
        assert stat.S_IMODE(path.stat().st_mode) == expected, path


# Where a new lake may begin.


def snapshot_names(root: str) -> list[str]:
    from gliolake.storage.backend.opening import open_files

    return sorted(entry.path for entry in open_files(root).list())


@pytest.mark.parametrize(
    "lying", ["scans/p1/t1.nii.gz", "labels/train.csv", "_log/app.log", "_tmp/thesis.docx", "_quarantine/x", ".hidden"]
)
def test_a_lake_begins_in_no_folder_that_holds_anything_whatever_its_name(root: str, label: Any, lying: str) -> None:
    from gliolake.storage.backend.opening import open_files

    open_files(root).put(lying, b"mine")
    with pytest.raises(NotALake, match=f"holds no lake but other things, e.g. {lying.split('/', maxsplit=1)[0]}"):
        Lake(root, create=True)
    assert snapshot_names(root) == [lying]


def test_a_folder_that_holds_only_an_empty_folder_is_no_place_for_a_lake(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    with pytest.raises(NotALake, match=r"other things, e\.g\. scans"):
        Lake(tmp_path, create=True)


def test_what_appears_between_opening_and_the_first_commit_stops_the_lake(root: str, label: Any) -> None:
    from gliolake.storage.backend.opening import open_files

    lake = Lake(root, create=True)
    open_files(root).put("scans/t1.nii.gz", b"mine")
    with pytest.raises(NotALake):
        lake.transact(lambda tx: tx.append("labels", [label(1)]), run_id="r")
    assert snapshot_names(root) == ["scans/t1.nii.gz"]


@pytest.mark.parametrize("marked", [True, False])
def test_an_interrupted_first_commit_can_be_made_again(root: str, label: Any, marked: bool) -> None:
    lake = Lake(root, create=True)
    if marked:
        lake.stage("labels", [label(9)], run_id="broken off")
    else:
        lake.files.put(f"_tmp/4711-{'0' * 32}-0", b'{"half')
    with pytest.raises(NotALake, match="There is no lake"):
        Lake(root)
    lake = Lake(root, create=True)
    lake.transact(lambda tx: tx.append("labels", [label(1)]), run_id="r")
    assert Lake(root).read("labels").num_rows == 1


def test_two_that_begin_the_same_lake_both_do(root: str, label: Any) -> None:
    first, second = Lake(root, create=True), Lake(root, create=True)
    for number, lake in enumerate((first, second)):
        lake.transact(lambda tx, n=number: tx.append("labels", [label(n)]), run_id="r")  # type: ignore[misc]
    assert Lake(root).read("labels").num_rows == 2


def test_nothing_is_written_before_there_is_something_to_commit(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake", create=True)
    lake.transact(lambda tx: None, run_id="r")
    assert not (tmp_path / "lake").exists()


def test_a_marker_of_a_newer_gliolake_is_respected(root: str, monkeypatch: pytest.MonkeyPatch, label: Any) -> None:
    from gliolake.errors import NewerLake
    from gliolake.storage import commit_log as log

    with monkeypatch.context() as newer:
        newer.setattr(log, "FORMAT", log.FORMAT + 1)
        Lake(root, create=True).stage("labels", [label(1)], run_id="r")
    with pytest.raises(NewerLake):
        Lake(root, create=True)
