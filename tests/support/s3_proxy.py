"""An S3 server that fails: a proxy in front of a sound one, which answers, drops or delays each request as it is told.

The interesting fault is ``answer lost``: the server has done what was asked, and the client cannot know.
"""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast
from urllib.parse import urlsplit

FAULTS = (
    "error 500",
    "slow down",
    "request lost",
    "answer lost",
    "half an answer",
    "slow answer",
    "silence",
    "conflict",
)
CONDITION_FAULTS = (
    "condition ignored",
    "condition not implemented",
    "condition bad request",
    "condition always failed",
)
"""What stores do to a PUT that asks for a free name, which cannot do that."""

SLOW_SECONDS = 0.05
SILENT_SECONDS = 1.0
"""Longer than ``TIMEOUT``: the client gives up on the answer."""

TIMEOUT = 0.5
"""Seconds for which a client of these tests waits for an answer."""

REPLIES = {
    "error 500": (500, ""), "slow down": (503, "SlowDown"), "conflict": (409, "OperationAborted"),
    "bucket gone": (404, "NoSuchBucket"), "condition not implemented": (501, "NotImplemented"),
    "condition bad request": (400, "InvalidArgument"), "condition always failed": (412, "PreconditionFailed"),
}  # fmt: skip
"""Faults that are an answer: its status and code."""

Plan = Callable[[str], str | None]
"""From a request's method to the fault that befalls it, or None."""


def calm(method: str) -> None:
    """No fault."""


def at_request(number: int, fault: str) -> Plan:
    """One fault, at the request of this number from now on, counted from 0."""
    passed = iter(range(10**9))
    return lambda method: fault if next(passed) == number else None


def storm(seed: int, share: float) -> Plan:
    """This share of all requests meets with a fault of any kind."""
    choice = random.Random(seed)
    return lambda method: choice.choice(FAULTS) if choice.random() < share else None


class S3Proxy(ThreadingHTTPServer):
    """Passes requests on to ``endpoint``. ``plan`` may be changed at any time; ``injected`` counts what it did."""

    daemon_threads = True

    def __init__(self, endpoint: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behind = urlsplit(endpoint).netloc
        self.plan: Plan = calm
        self.injected = 0
        self._lock = threading.Lock()

    def fault(self, method: str) -> str | None:
        """The fault of this request, counted."""
        with self._lock:
            chosen = self.plan(method)
            self.injected += chosen is not None
            return chosen


class Handler(BaseHTTPRequestHandler):
    """One client's requests, one after the other."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for the client's word
    wbufsize = -1

    def handle_request(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = cast(S3Proxy, self.server).fault(self.command)
        if fault in CONDITION_FAULTS and "If-None-Match" not in self.headers:
            fault = None
        if fault in REPLIES:
            status, code = REPLIES[fault]
            self.reply(
                status, [], f"<Error><Code>{code}</Code><Message>Made.</Message></Error>".encode() if code else b""
            )
        elif fault == "request lost":
            self.close_connection = True
        else:
            time.sleep(SLOW_SECONDS if fault == "slow answer" else 0)
            if fault == "condition ignored":
                del self.headers["If-None-Match"]
            status, headers, answer = self.passed_on(body)
            time.sleep(SILENT_SECONDS if fault == "silence" else 0)
            if fault in ("answer lost", "silence"):
                self.close_connection = True
            else:
                self.reply(status, headers, answer, whole=fault != "half an answer")

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = handle_request  # noqa: N815 - the base class calls them so

    def passed_on(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        """What the sound server says to this request."""
        connection = http.client.HTTPConnection(cast(S3Proxy, self.server).behind, timeout=30)
        try:
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def reply(self, status: int, headers: list[tuple[str, str]], answer: bytes | str, whole: bool = True) -> None:
        """Send an answer; one that is not whole promises more bytes than come."""
        body = answer.encode() if isinstance(answer, str) else answer
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                self.send_header(name, value)
        length = next((value for name, value in headers if name.lower() == "content-length"), str(len(body)))
        self.send_header("Content-Length", length if whole else str(len(body) + 100))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body if whole else body[: len(body) // 2])
        self.wfile.flush()
        self.close_connection = self.close_connection or not whole

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:
            self.close_connection = True  # the client has had enough

    def log_message(self, *given: object) -> None:
        """Nothing."""


@contextmanager
def s3_proxy(endpoint: str) -> Iterator[tuple[S3Proxy, str]]:
    """A proxy that runs inside the block, and its address."""
    with S3Proxy(endpoint) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield proxy, f"http://127.0.0.1:{proxy.server_port}"
        finally:
            proxy.shutdown()
            thread.join()
