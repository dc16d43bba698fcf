"""Private folders, which no other account can access: for caches with code, and for temporary files.

A folder is private if it has mode 0700, belongs to this account, is not a link, and all its parents belong to this
account or root and are not writable by others, except sticky ones such as ``/tmp``, in which only owners rename.
"""

from __future__ import annotations

import atexit
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

from gliolake.process.isolation import current_folder


def cache_folder(name: str) -> Path:
    """A folder that outlives the command: ``$XDG_CACHE_HOME/gliolake/NAME``, else ``~/.cache/gliolake/NAME``.

    Where that cannot be made, as in a home that is missing, read-only or somebody else's, it is a temporary one.
    """
    return _first_private(name, [*_cache_home(), *_temporary_home()])


def temporary_folder(name: str, within: str | None = None) -> Path:
    """A folder for temporary files, the same for all commands of this account: ``/tmp/gliolake-UID/NAME``.

    within: the folder of temporary files, where it is not the system's (``TMPDIR``).
    """
    return _first_private(name, _temporary_home(within))


def _cache_home() -> Iterator[Path]:
    home = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not home.is_absolute():  # the standard says to pass over it; it would lie in the current folder
        with suppress(RuntimeError):  # nobody has a home
            home = Path("~/.cache").expanduser()
    if home.is_absolute():
        yield home / "gliolake"


def _temporary_home(within: str | None = None) -> Iterator[Path]:
    folder = Path(within or tempfile.gettempdir())
    if folder.is_absolute() and str(folder) != current_folder():  # tempfile's last resort
        yield folder / f"gliolake-{os.geteuid()}"


def _first_private(name: str, homes: Iterable[Path]) -> Path:
    for home in homes:
        try:
            if _made_private(home) and is_beyond_others(home) and _made_private(home / name):
                return home / name
        except OSError:
            continue
    return _fresh(name)


@cache
def _fresh(name: str) -> Path:
    """A new folder that goes with this process."""
    folder = tempfile.mkdtemp(prefix=f"gliolake-{name}-")
    owner = os.getpid()

    def remove() -> None:
        if os.getpid() == owner:  # a forked child ends as well
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return Path(folder)


def _made_private(folder: Path) -> bool:
    """Make the folder with mode 0700, or take it if it is ours; whether it is."""
    folder.parent.mkdir(mode=0o700, exist_ok=True)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            return False
        if stat.S_IMODE(found.st_mode) != 0o700:
            # What others could write while it was open to them may lie in it.
            if found.st_mode & 0o022:
                return False
            folder.chmod(0o700)
    return os.access(folder, os.R_OK | os.W_OK | os.X_OK)


def is_beyond_others(folder: Path) -> bool:
    """Whether nobody but this account and root can put another folder in its place, or in that of one above it."""
    trusted = (0, os.geteuid())
    for path in {*_upwards(folder.absolute()), *_upwards(folder.resolve())}:
        try:
            found = path.lstat()
        except FileNotFoundError:
            continue
        writable = not stat.S_ISLNK(found.st_mode) and found.st_mode & 0o002 and not found.st_mode & stat.S_ISVTX
        if found.st_uid not in trusted or writable:
            return False
    return True


def _upwards(path: Path) -> Iterator[Path]:
    yield path
    yield from path.parents
