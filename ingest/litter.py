"""Files that systems, editors and downloads leave in folders: every command ignores them."""

from __future__ import annotations

_NAMES = frozenset(
    {
        "__macosx", "icon\r", "network trash folder", "temporary items", "thevolumesettingsfolder",
        "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "recycler", "system volume information",
        "lost+found", "@eadir", "@recycle", "@tmp", "#recycle", "#snapshot", "backups.backupdb", "__pycache__", "cvs",
    }
)  # fmt: skip

_BEGINNINGS = (".", "~$")
"""Hidden, such as ._x, .DS_Store, .git, .nfs0012, .Trash-1000, rsync's .name.Xy12ab; and locks of office programs."""

_HALVES = (
    ".part",
    ".partial",
    ".crdownload",
    ".filepart",
    ".download",
    ".opdownload",
    ".aria2",
    ".!ut",
    ".tmp",
    ".temp",
)
"""Of what is not there in whole: downloads, and copies that broke off."""

_ENDINGS = (*_HALVES, "~", ".swp", ".swo", ".bak", ".orig", ".rej")
"""These, and what editors keep."""


def is_half(name: str) -> bool:
    """Whether a file of this name is what is left of a download or a copy that broke off."""
    return name.lower().endswith(_HALVES) and not name.startswith(_BEGINNINGS)


def is_litter(name: str) -> bool:
    """Whether a file or folder of this name (not a path) is no part of any cohort, whatever its content."""
    lower = name.lower()
    if lower.startswith(_BEGINNINGS) or lower.endswith(_ENDINGS) or lower in _NAMES:
        return True
    of_an_editor = lower.startswith("#") and lower.endswith("#")
    of_a_disk_check = lower.startswith("found.") and lower[6:].isdigit()
    return of_an_editor or of_a_disk_check
