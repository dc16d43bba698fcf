"""Telling a web address how a scheduled run went. Nobody's answer, or none, stops a run."""

from __future__ import annotations

import ipaddress
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

SECONDS = 10.0


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """An answer that leads elsewhere is no answer: what is posted goes to the address that was given."""

    def redirect_request(self, *_: Any) -> None:
        return None


def is_safe(address: str) -> bool:
    """Whether it is https, or http of this machine."""
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError:
        return False
    if parts.scheme == "https":
        return bool(host)
    return parts.scheme == "http" and _is_loopback(host)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def post(address: str, content: Mapping[str, Any]) -> str:
    """POST the content as JSON. Returns what went wrong ("" for nothing), but never the address: it may be secret."""
    parts = urlsplit(address)
    handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
    if _is_loopback(parts.hostname or ""):
        handlers.append(urllib.request.ProxyHandler({}))
    data = json.dumps(content, default=str).encode()
    # The address was checked by is_safe when it was read.
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"})  # noqa: S310
    try:
        urllib.request.build_opener(*handlers).open(request, timeout=SECONDS).close()
    except urllib.error.HTTPError as error:
        error.close()
        return f"The webhook at {parts.hostname} answered {error.code}."
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        return f"The webhook at {parts.hostname} could not be told ({type(reason).__name__})."
    return ""
