"""Weights from the network, when a person asks for them and never otherwise."""

from __future__ import annotations

import urllib.error
import urllib.request
import uuid
from http.client import HTTPException
from pathlib import Path

from gliolake.errors import InputError
from gliolake.features.weights.folder import WeightsFile, add_weights, room_in, weights_folder
from gliolake.features.weights.sources import source_of

LARGEST_RATIO = 3
"""A download of more than this many times the expected size is broken off."""

SECONDS_WITHOUT_DATA = 60


def fetch_weights(name: str, folder: str | Path | None = None, *, url: str | None = None) -> WeightsFile:
    """Download a network's weights and add them. Only ever called when a person asks for it.

    Raises:
        InputError: no such network, the server cannot be reached or sends more than expected, or as ``add_weights``.
        StorageFull: no space is left.
    """
    source, place = source_of(name), weights_folder(folder)
    address = url or source.url
    if not address.startswith(("https://", "http://")):
        raise InputError(f"{address} is not an address on the web.", hint="Add a file with gliolake weights add.")
    part = place / f".{Path(name).name}.{uuid.uuid4().hex}.part"
    try:
        with room_in(place):
            place.mkdir(parents=True, exist_ok=True)
            _download(address, part, source.megabytes * 10**6 * LARGEST_RATIO)
        return add_weights(part, name, folder)
    finally:
        part.unlink(missing_ok=True)


def _download(address: str, part: Path, limit: int) -> None:
    try:
        # The caller has seen to it that the address is one of the web.
        answer = urllib.request.urlopen(address, timeout=SECONDS_WITHOUT_DATA)  # noqa: S310
        with answer, part.open("wb") as file:
            expected, written = answer.headers.get("Content-Length"), 0
            while block := answer.read(2**20):
                written += len(block)
                if written > limit:
                    raise InputError(f"{address} sends more than {limit} bytes, which are no weights of this network.")
                file.write(block)
    except (urllib.error.URLError, TimeoutError, ConnectionError, HTTPException) as error:
        raise InputError(
            f"{address} cannot be fetched: {getattr(error, 'reason', error)}.",
            hint="Fetch it on a machine with a network, then run gliolake weights add.",
        ) from None
    if expected is not None and str(written) != expected.strip():
        raise InputError(f"{address} broke off after {written} of {expected} bytes.", hint="Try again.")
