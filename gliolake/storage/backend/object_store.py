"""A lake in an object store."""

from __future__ import annotations

import contextlib
import os
import random
import re
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from gliolake.errors import InputError, StorageUnreachable, UnsuitedStorage
from gliolake.storage.backend.files import Entry, parts_of, too_large, without_secrets
from gliolake.storage.layout import TEMPORARY

if TYPE_CHECKING:
    from obstore.store import ObjectStore

Answer = TypeVar("Answer")

ATTEMPTS = 6
"""Times that an object store is asked for the same thing, beside those that its client asks again by itself."""

AT_ONCE = 8
"""Files that are put into an object store side by side."""

PATIENCE = 180.0
"""Seconds after which an object store is not asked again: the client has then been at it for as long."""

FINAL = r"status code: (?!400 .*RequestTimeout)(4(?!08|09|25|29)\d\d|501)"
"""What an error says that asking again does not change."""

UNKNOWN = r"NotImplemented|status code: 501|InvalidArgument|InvalidRequest"
"""What a store says that does not know the condition of a PUT."""


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
    bucket = re.fullmatch(r"[A-Za-z0-9._-]+", parts.netloc)
    if not url.lower().startswith("s3://") or not bucket or parts.query or parts.fragment:
        raise InputError(f"{without_secrets(url)!r} is no address of a lake.", hint="Give s3://bucket/prefix.")
    endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
    if endpoint and not re.fullmatch(r"https?://[\x21-\x7e]+", endpoint):
        raise InputError("AWS_ENDPOINT_URL is no address.", hint="It has to begin with https:// (or http://).")
    return from_url(url)


class ObjectFiles:
    """A prefix in an object store. One PUT is atomic; ``create`` is a PUT that the store refuses if the name exists.

    The client tries a failed request again by itself, except where it cannot know how far the request came: an answer
    that broke off, a connection that was lost. Every verb here can be asked twice, so those are tried again too.
    """

    def __init__(self, root: str, store: ObjectStore) -> None:
        self.root = root.rstrip("/")
        self.store = store
        self._proven = False

    def put(self, path: str, data: bytes) -> None:
        self._insist(path, lambda: self.store.put(path, data))

    def put_all(self, contents: Mapping[str, bytes]) -> None:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for _ in pool.map(self.put, contents, contents.values()):
                pass

    def create(self, paths: Iterable[str], data: bytes) -> str | None:
        if not self._proven:
            self._prove()
        return next((path for path in paths if self._created(path, data)), None)

    def get(self, path: str, most: int | None = None) -> bytes | None:
        def ask() -> bytes:
            answer = self.store.get(path)
            if most is not None and answer.meta["size"] > most:
                size = self.store.head(path)["size"]  # asked too: an answer that breaks off may have said anything
                if size > most:
                    raise too_large(self.url(path), size, most)
            return bytes(answer.bytes())

        return self._if_there(path, ask)

    def size(self, path: str) -> int | None:
        return self._if_there(path, lambda: self.store.head(path)["size"])

    def list(self, prefix: str = "") -> Iterator[Entry]:
        now = time.time()
        for batch in self._insist(prefix or None, lambda: [*self.store.list(prefix or None)]):
            for item in batch:
                yield Entry(item["path"], item["size"], now - item["last_modified"].timestamp())

    def names(self) -> Sequence[str]:
        first = self._insist(None, lambda: [*islice(self.store.list(), 20)])
        names = {item["path"].split("/")[0]: None for batch in first for item in batch}
        return [name for name in names if name]  # a prefix made as a folder has an object of its own

    def delete(self, path: str) -> None:
        self._if_there(path, lambda: self.store.delete(path))

    def move(self, path: str, names: Iterable[str]) -> str | None:
        """As promised above, by a copy: an object cannot be renamed."""
        if (data := self.get(path)) is None:
            return None
        if name := self.create(names, data):
            self.delete(path)
        return name

    def url(self, path: str) -> str:
        return f"{self.root}/{path}"

    def _created(self, path: str, data: bytes) -> bool:
        from obstore.exceptions import AlreadyExistsError

        for attempt in range(ATTEMPTS):
            try:
                self._insist(path, lambda: self.store.put(path, data, mode="create"), conflicts=False)
            except AlreadyExistsError:
                if (found := self.get(path)) is not None:
                    return found == data  # asked again after a lost answer, one is refused by one's own file
                _pause(attempt)  # two asked at once, and neither got it
            else:
                return True
        return False

    def _prove(self) -> None:
        """Try whether the store gives a name once only: else, of two commits at once one would vanish without a word.

        Raises:
            UnsuitedStorage: it does not.
        """
        name = f"{TEMPORARY}/probe-{uuid.uuid4().hex}"
        try:
            given = self._created(name, b"first"), self._created(name, b"second")
        except StorageUnreachable as error:
            if not re.search(UNKNOWN, str(error.__cause__)):
                raise
            raise self._unsuited(f"it refuses a PUT with If-None-Match ({_first_line(error.__cause__)})") from error
        finally:
            with contextlib.suppress(StorageUnreachable):
                self.delete(name)
        if given != (True, False):
            what = (
                "it overwrites what is there in spite of If-None-Match" if given[0] else "it gives no name that is free"
            )
            raise self._unsuited(what)
        self._proven = True

    def _unsuited(self, what: str) -> UnsuitedStorage:
        where = without_secrets(os.environ.get("AWS_ENDPOINT_URL") or "https://s3.amazonaws.com")
        return UnsuitedStorage(
            f"The object store at {where} cannot hold the lake {self.root}: {what}.",
            hint="Nothing was committed. A lake needs conditional PUTs (If-None-Match: *), as AWS S3 has: see "
            "deploy/README.md.",
        )

    def _if_there(self, path: str | None, ask: Callable[[], Answer]) -> Answer | None:
        try:
            return self._insist(path, ask, missing=True)
        except FileNotFoundError:
            return None

    def _insist(
        self, path: str | None, ask: Callable[[], Answer], *, missing: bool = False, conflicts: bool = True
    ) -> Answer:
        """Ask until there is an answer.

        Args:
            path: what it is about; None for all.
            ask: sends the request.
            missing: whether "not found" is an answer; else it is the bucket that is not found.
            conflicts: whether others who ask at the same time are waited for, or an answer too.
        """
        from obstore.exceptions import AlreadyExistsError, BaseError, GenericError

        if path is not None:
            parts_of(path)
        deadline = time.monotonic() + PATIENCE
        for attempt in range(ATTEMPTS):
            try:
                return ask()
            except FileNotFoundError as error:
                if missing and "NoSuchBucket" not in str(error):
                    raise
                raise self._unreachable(error, "Check whether the bucket is there.") from error
            except (GenericError, AlreadyExistsError) as error:
                conflict = isinstance(error, AlreadyExistsError)
                if conflict and not conflicts:
                    raise
                final = not conflict and re.search(FINAL, str(error))
                if final or attempt == ATTEMPTS - 1 or time.monotonic() > deadline:
                    raise self._unreachable(error, "Check AWS_ENDPOINT_URL and the network.") from error
                _pause(attempt)
            except (BaseError, NotImplementedError) as error:
                raise self._unreachable(error, "Check the credentials, and what they allow there.") from error
        raise AssertionError("the last attempt returns or raises")

    def _unreachable(self, error: Exception, advice: str) -> StorageUnreachable:
        return StorageUnreachable(
            f"The object store did not do its part for the lake at {self.root}: {_first_line(error)}.",
            hint=f"{advice} No commit is half made. Run the same command again; it goes on from what was committed.",
        )


def _pause(attempt: int) -> None:
    """Wait, the longer the more often; rivals not equally long."""
    time.sleep(random.uniform(0.05, 0.1) * 2**attempt)  # noqa: S311


def _first_line(error: object) -> str:
    """What a client says, in one line, and without a password that an endpoint's address may hold."""
    return re.sub(r"//[^/\s]*@", "//…@", str(error).splitlines()[0])
