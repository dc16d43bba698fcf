"""An S3 server in a process of its own that counts what it is asked: moto's, which keeps all in memory.

    python tests/support/s3_server.py PORT    serves until it is ended

It is one Python process: requests per second are its own, not those of a store; requests per commit are the lake's.
moto looks whether a name is free and then writes, in two steps, so that of two PUTs at once that both ask for it to be
free both may succeed. A store promises that one does, and so do these: they go to moto one at a time.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from threading import Lock
from typing import Any

BUCKET = "s3://lakes"
COUNTS = "/requests-so-far"


def serve(port: int) -> None:
    """Serve on 127.0.0.1, for ever."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import run_simple

    backend, counts, one_at_a_time = DomainDispatcherApplication(create_backend_app), Counter[str](), Lock()

    def counting(environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] == COUNTS:
            start_response("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(counts).encode()]
        asked = environ["REQUEST_METHOD"]
        counts["LIST" if asked == "GET" and "list-type=2" in environ["QUERY_STRING"] else asked] += 1
        with one_at_a_time if "HTTP_IF_NONE_MATCH" in environ else nullcontext():
            return backend(environ, start_response)

    run_simple("127.0.0.1", port, counting, threaded=True)


@contextmanager
def s3_server() -> Iterator[str]:
    """A server with an empty bucket, and its URL; inside, the AWS variables of this process lead to it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    variables = {
        "AWS_ACCESS_KEY_ID": "made", "AWS_SECRET_ACCESS_KEY": "made", "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": "true",
    }  # fmt: skip
    before = {name: os.environ.get(name) for name in variables}
    os.environ |= variables
    command = [sys.executable, __file__, str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _until_it_answers(endpoint)
        new_bucket()
        yield BUCKET
    finally:
        server.kill()
        server.wait()
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def new_bucket() -> None:
    """Forget all that is stored, and make the bucket again."""
    for path, method in (("moto-api/reset", "POST"), ("lakes", "PUT")):
        request = urllib.request.Request(f"{os.environ['AWS_ENDPOINT_URL']}/{path}", method=method)
        urllib.request.urlopen(request).close()


def requests_so_far() -> Counter[str]:
    """How often the server was asked for what: PUT, GET, LIST, HEAD, DELETE."""
    with urllib.request.urlopen(os.environ["AWS_ENDPOINT_URL"] + COUNTS) as answer:
        return Counter(json.load(answer))


def _until_it_answers(endpoint: str) -> None:
    for _ in range(300):
        try:
            urllib.request.urlopen(endpoint + COUNTS).close()
        except urllib.error.URLError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("the S3 server did not start")


if __name__ == "__main__":
    serve(int(sys.argv[1]))
