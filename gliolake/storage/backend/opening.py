"""Chooses the kind of storage for the address of a lake."""

from __future__ import annotations

import re
from pathlib import Path

from gliolake.errors import InputError
from gliolake.storage.backend.files import Files, without_secrets
from gliolake.storage.backend.local import LocalFiles


def open_files(root: str | Path, linked: bool | None = None) -> Files:
    """The files below ``root``: a folder, or ``s3://bucket/prefix``.

    Credentials, region and endpoint of an object store come from the usual AWS variables (AWS_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL); a plain-http endpoint has to be allowed by
    AWS_ALLOW_HTTP=true.

    Args:
        root: where the lake lies.
        linked: whether the folder, or folders in it, may be symbolic links; what ``links_allowed`` says where None.

    Raises:
        InputError: the root is of a kind that gliolake does not know.
    """
    place = str(root)
    if "\0" in place:
        raise InputError(f"{place!r} is no path: it has a zero byte.", hint="Give a folder, or s3://bucket/prefix.")
    scheme = place[: place.index(":")].lower() if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", place) else ""
    if scheme == "s3":
        from gliolake.storage.backend.object_store import ObjectFiles, open_store

        return ObjectFiles(place, open_store(place))
    if scheme == "" or place.lower().startswith("file:///"):
        folder = place[len("file://") :] if scheme else place
        try:
            return LocalFiles(Path(folder).expanduser(), linked)
        except RuntimeError as error:  # ~somebody who is not known
            raise InputError(f"There is no folder {folder}: {error}", hint="Give the whole path.") from error
    raise InputError(
        f"A lake cannot be kept at {without_secrets(place)!r}: gliolake does not know such addresses.",
        hint="Give a folder, or s3://bucket/prefix.",
    )
