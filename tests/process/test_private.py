"""Folders of ours: nobody else can have written to them, and where there is none a new one is made."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from gliolake.process import private_folders as private
from gliolake.process.isolation import OWN
from gliolake.process.private_folders import cache_folder, is_beyond_others, temporary_folder

STRANGER = 65534


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache home and a folder for temporary files of this test."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    private._fresh.cache_clear()


def test_a_folder_is_ours_alone_and_the_same_every_time(tmp_path: Path) -> None:
    folder = cache_folder("numba")
    assert folder == tmp_path / "cache" / "gliolake" / "numba" == cache_folder("numba")
    assert {path.stat().st_mode & 0o777 for path in (folder, folder.parent)} == {0o700}
    assert temporary_folder("dask") == tmp_path / "tmp" / f"gliolake-{os.geteuid()}" / "dask"


def linked(folder: Path) -> None:
    elsewhere = folder.with_name("elsewhere")
    elsewhere.mkdir(mode=0o700)
    folder.symlink_to(elsewhere)


def open_to_others(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o770)


def of_somebody_else(folder: Path) -> None:
    if os.geteuid():
        pytest.skip("giving a folder away needs root")
    folder.mkdir(mode=0o700)
    os.chown(folder, STRANGER, STRANGER)


def a_file(folder: Path) -> None:
    folder.touch(0o700)


@pytest.mark.parametrize("prepared", [linked, open_to_others, of_somebody_else, a_file])
@pytest.mark.parametrize("level", ["gliolake", "gliolake/numba"])
def test_a_folder_that_somebody_else_may_have_prepared_is_passed_over(
    tmp_path: Path, prepared: Callable[[Path], None], level: str
) -> None:
    target = tmp_path / "cache" / level
    target.parent.mkdir(parents=True, mode=0o700)
    prepared(target)
    assert cache_folder("numba") == tmp_path / "tmp" / f"gliolake-{os.geteuid()}" / "numba"
    second = tmp_path / "tmp" / f"gliolake-{os.geteuid()}"
    second.rename(tmp_path / "tmp" / "former")
    prepared(second)
    fresh = cache_folder("numba")
    assert fresh.parent == tmp_path / "tmp"
    assert fresh == cache_folder("numba"), "one for the whole process"
    assert fresh.stat().st_mode & 0o777 == 0o700
    assert not list(fresh.iterdir())


def test_a_folder_below_one_that_anybody_can_rename_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)
    assert not is_beyond_others(tmp_path / "cache")
    assert cache_folder("numba").is_relative_to(tmp_path / "tmp")
    (tmp_path / "cache").chmod(0o1777)
    assert cache_folder("numba").is_relative_to(tmp_path / "cache"), "as in /tmp, only owners rename"


def test_no_folder_is_looked_for_in_the_current_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "archive"
    planted = archive / ".cache" / "gliolake" / "numba"
    planted.mkdir(parents=True, mode=0o700)
    (archive / f"gliolake-{os.geteuid()}" / "numba").mkdir(parents=True, mode=0o700)
    monkeypatch.chdir(archive)
    monkeypatch.setenv("XDG_CACHE_HOME", ".cache")
    monkeypatch.setenv("HOME", str(tmp_path / "absent"))
    assert cache_folder("numba").is_relative_to(tmp_path / "tmp")
    monkeypatch.setattr(tempfile, "tempdir", str(archive))  # what tempfile comes to when no other can be written to
    assert not list(cache_folder("numba").iterdir())
    assert cache_folder("numba").parent == archive
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize("given", [None, "", ".", "cache"])
def test_a_cache_lies_below_the_home_also_for_who_works_where_gliolake_lies(tmp_path: Path, given: str | None) -> None:
    environment = {"HOME": str(tmp_path)} if given is None else {"HOME": str(tmp_path), "XDG_CACHE_HOME": given}
    asked = """
from gliolake.process.isolation import leave_current_folder
leave_current_folder()
from gliolake.process.private_folders import cache_folder
print(cache_folder("numba"))"""
    told = subprocess.run(
        [sys.executable, "-c", asked], env=environment, cwd=OWN, capture_output=True, text=True, check=True
    )
    assert told.stdout == f"{tmp_path}/.cache/gliolake/numba\n"
