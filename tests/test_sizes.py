"""A module of the product has at most 300 lines, and a folder at most 15 modules."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import gliolake

ROOT = Path(gliolake.__file__).parent
LINES, MODULES = 300, 15


def too_large(folders: list[Path]) -> list[str]:
    """The modules and folders below these that are larger than they may be."""
    modules = [path for folder in folders for path in folder.rglob("*.py")]
    in_folder = Counter(path.parent for path in modules if path.name != "__init__.py")
    long = [path for path in modules if len(path.read_text("utf-8").splitlines()) > LINES]
    return [str(path) for path in (*long, *(folder for folder, count in in_folder.items() if count > MODULES))]


def test_no_module_and_no_folder_is_too_large() -> None:
    rooms = [path for path in ROOT.iterdir() if path.is_symlink()]  # rglob does not go through links
    assert len(rooms) == 5
    assert too_large([ROOT, *rooms]) == []


def test_one_line_or_module_too_many_is_found(tmp_path: Path) -> None:
    for number in range(MODULES):
        (tmp_path / f"{number}.py").write_text("\n" * LINES, "utf-8")
    (tmp_path / "__init__.py").touch()
    assert too_large([tmp_path]) == []
    (tmp_path / "more.py").write_text("\n" * (LINES + 1), "utf-8")
    assert too_large([tmp_path]) == [str(tmp_path / "more.py"), str(tmp_path)]
