"""A lake in an object store."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from lake.errors import InputError, StorageUnreachable
from lake.files import Entry, without_secrets

if TYPE_CHECKING:
    from obstore.store import ObjectStore

Answer = TypeVar("Answer")

ATTEMPTS = 6
"""Times that an object store is asked for the same thing, beside those that its client asks again by itself."""

AT_ONCE = 8
"""Files that are put into an object store side by side."""

PATIENCE = 180.0
"""Seconds after which an object store is not asked again: the client has then been at it for as long."""


def open_store(url: str) -> ObjectStore:
    """The client of an address ``s3://bucket/prefix``; what it needs besides is in the AWS variables.

    Raises:
        InputError: it is no such address. What may be a password in it is not shown.
    """
    from obstore.store import from_url

    parts = urlsplit(url)
    if "@" in url:
        raise InputError(
            f"The address {without_secrets(url)} must not hold a user or a password.",
            hint="Give s3://bucket/prefix, and the credentials in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
        )
    if not url.lower().startswith("s3://") or not parts.netloc or parts.query or parts.fragment:
        raise InputError(f"{without_secrets(url)!r} is no address of a lake.", hint="Give s3://bucket/prefix.")
    return from_url(url)


class ObjectFiles:
    """A prefix in an object store. One PUT is atomic; ``create`` is a PUT that the store refuses if the name exists.

    The client tries a failed request again by itself, except where it cannot know how far the request came: an answer
    that broke off, a connection that was lost. Every verb here can be asked twice, so those are tried again too.
    """

    def __init__(self, root: str, store: ObjectStore) -> None:
        self.root = root.rstrip("/")
        self.store = store

    def put(self, path: str, data: bytes) -> None:
        self._insist(lambda: self.store.put(path, data))

    def put_all(self, contents: Mapping[str, bytes]) -> None:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for _ in pool.map(self.put, contents, contents.values()):
                pass

    def create(self, paths: Iterable[str], data: bytes) -> str | None:
        return next((path for path in paths if self._created(path, data)), None)

    def _created(self, path: str, data: bytes) -> bool:
        from obstore.exceptions import AlreadyExistsError

        try:
            self._insist(lambda: self.store.put(path, data, mode="create"))
        except AlreadyExistsError:
            return self.get(path) == data  # asked again after a lost answer, one is refused by one's own file
        return True

    def get(self, path: str) -> bytes | None:
        try:
            return self._insist(lambda: bytes(self.store.get(path).bytes()))
        except FileNotFoundError:
            return None

    def list(self, prefix: str = "") -> Iterator[Entry]:
        now = time.time()
        for batch in self._insist(lambda: [*self.store.list(prefix or None)]):
            for item in batch:
                yield Entry(item["path"], item["size"], now - item["last_modified"].timestamp())

    def size(self, path: str) -> int | None:
        try:
            return self._insist(lambda: self.store.head(path)["size"])
        except FileNotFoundError:
            return None

    def names(self) -> Sequence[str]:
        first = self._insist(lambda: [*islice(self.store.list(), 1)])
        return [*{item["path"].split("/")[0]: None for batch in first for item in batch}]

    def delete(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._insist(lambda: self.store.delete(path))

    def move(self, path: str, names: Iterable[str]) -> str | None:
        """As promised above, by a copy: an object cannot be renamed."""
        if (data := self.get(path)) is None:
            return None
        if name := self.create(names, data):
            self.delete(path)
        return name

    def url(self, path: str) -> str:
        return f"{self.root}/{path}"

    def _insist(self, ask: Callable[[], Answer]) -> Answer:
        from obstore.exceptions import GenericError, PermissionDeniedError, UnauthenticatedError

        deadline = time.monotonic() + PATIENCE
        for attempt in range(ATTEMPTS):
            try:
                return ask()
            except (PermissionDeniedError, UnauthenticatedError) as error:
                raise self._unreachable(error, "Check the credentials, and what they allow there.") from error
            except GenericError as error:
                if attempt == ATTEMPTS - 1 or time.monotonic() > deadline:
                    raise self._unreachable(error, "Check AWS_ENDPOINT_URL and the network.") from error
                time.sleep(random.uniform(0.05, 0.1) * 2**attempt)  # noqa: S311 - spreads rivals out, nothing more
        raise AssertionError("the last attempt returns or raises")

    def _unreachable(self, error: Exception, advice: str) -> StorageUnreachable:
        what = str(error).splitlines()[0]
        return StorageUnreachable(
            f"The object store did not do its part for the lake at {self.root}: {what}.",
            hint=f"{advice} No commit is half made. Run the same command again; it goes on from what was committed.",
        )
