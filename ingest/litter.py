"""What systems, editors and downloads leave in folders beside what people put there: it is passed over everywhere."""

from __future__ import annotations

import re

_NAMES = frozenset(
    {
        "__macosx", "icon\r", "network trash folder", "temporary items", "thevolumesettingsfolder",
        "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "recycler", "system volume information",
        "lost+found", "@eadir", "@recycle", "@tmp", "#recycle", "#snapshot", "__pycache__", "cvs",
    }
)  # fmt: skip

_FORMS = re.compile(
    r"""\..*                        # hidden: ._x, .DS_Store, .git, .nfs0012, .Trash-1000, rsync's .name.Xy12ab
    | ~\$.* | .*~ | \#.*\#          # an office's lock, editors' backups
    | .*\.(part|partial|crdownload|filepart|download|opdownload|aria2|!ut|tmp|temp|swp|swo|bak|orig|rej)
    | found\.\d{3}                  # what a check of a Windows disk found
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)


def is_litter(name: str) -> bool:
    """Whether a file or folder of this name (not a path) is no part of any cohort, whatever its content."""
    return name.lower() in _NAMES or _FORMS.fullmatch(name) is not None
