"""Scans with the same id: one scan in two places, or two different scans."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gliolake.ingest.cohorts.description import MASK
from gliolake.ingest.exclusions import SAME_ID, Row, exclusion
from gliolake.ingest.scans.discovery import STEP
from gliolake.ingest.scans.fingerprint import same_content
from gliolake.ingest.scans.model import FoundScan


def other_place(scan: FoundScan, row: Row | None, known: Sequence[Row], excluded: Sequence[Row], root: Path) -> str:
    """Where else the scan of this id is known from, with other images; or "".

    The same images elsewhere are a scan that was moved. So is one of which nothing is left where it was excluded.

    Args:
        scan, row: what was found below ``root``, and its row of table scans, if it is sound.
        known: rows of table scans with this id.
        excluded: rows of exclusions with this id, of this step and from elsewhere than below ``root``.
        root: the images folder.
    """
    for one in known:
        if not lies_below(one, root) and not _same_files(one, scan) and not (row and _same_images(one, row)):
            return folder_of(one["files"][0]["uri"])
    if not known:
        here = {os.path.realpath(path) for path in (scan.folder, *(file.uri for file in scan.files))}
        for one in excluded:
            there = os.path.realpath(one["source"])
            if one["reason"] != SAME_ID and there not in here and os.path.exists(there):  # noqa: PTH110
                return str(one["source"])
    return ""


def same_id(scan: FoundScan, elsewhere: str) -> Row:
    """The row for a scan that is not taken, since another one has its id."""
    detail = (
        f"{scan.scan_id} is known from {elsewhere}, and {scan.folder} holds images of that id too: of another "
        "patient? A second site needs a description and ids of its own. If this folder replaces the other, give it "
        "with --moved."
    )
    return exclusion(scan.cohort, scan.scan_id, STEP, SAME_ID, detail, source=scan.folder, fingerprint=scan.fingerprint)


def lies_elsewhere(excluded: Row, root: Path) -> bool:
    """Whether a row of exclusions is about something that is not below ``root``."""
    return not Path(excluded["source"]).is_relative_to(root)


def lies_below(row: Row, root: Path) -> bool:
    """Whether a row of table scans has a file below ``root``."""
    return any(Path(uri).is_relative_to(root) for uri in uris_of(row))


def _same_files(row: Row, scan: FoundScan) -> bool:
    """Whether they are the same files of the disk, reached by another way."""
    before, now = (
        {os.path.realpath(uri) for uri in uris} for uris in (uris_of(row), (file.uri for file in scan.files))
    )
    return not before.isdisjoint(now)


def uris_of(row: Row) -> list[str]:
    """The paths in a row of table scans."""
    return [file["uri"] for file in row["files"]]


def _same_images(one: Row, other: Row) -> bool:
    """Whether two rows of table scans have the same images, however they are stored; masks may be other ones."""
    images, others = ({file["role"]: file for file in row["files"] if file["role"] != MASK} for row in (one, other))
    return images.keys() == others.keys() and all(_same_image(images[role], others[role]) for role in images)


def _same_image(one: Row, other: Row) -> bool:
    if one["sha256"] == other["sha256"]:
        return True
    contents = [one["content"], other["content"]]
    return all(contents) and len({*same_content(np.array(contents, np.float32)).tolist()}) == 1


def folder_of(uri: str) -> str:
    """The folder that a file lies in, or the folder of a series."""
    return uri.rstrip("/").rpartition("/")[0]
