"""The journal: what a command does, one JSON object a line on standard error, for programs that gather such lines.

``GLIOLAKE_LOG=json`` asks for it, in place of the notes and progress bars that people see (``gliolake.log.progress``).
Every line has ``time`` (ISO 8601, UTC), ``level``, ``event``, ``command``, and ``run_id`` of the run that is under way,
null where none is; the rest depends on the event. Warnings and errors of other libraries, and of Dask's worker
processes on this machine, are told as event ``message``. Arguments and the environment, which may hold secrets, are not
told. The log of commits, by which a lake is read, is another thing (``gliolake.storage.commit_log``).
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gliolake.errors import known_name
from gliolake.log.plain_text import guard_streams

if TYPE_CHECKING:
    from types import TracebackType

    from distributed import Worker

VARIABLE = "GLIOLAKE_LOG"
FORMS = ("text", "json")

ON_WORKERS = "gliolake.journal"
"""Key of Dask's configuration: the fields by which a worker process begins a journal like that of its command."""

_own = logging.getLogger("gliolake")
_own.addHandler(logging.NullHandler())
_under_way: dict[str, None] = {}


class JsonLines(logging.Formatter):
    """A record as one line. ``fields`` are told of each, e.g. the command."""

    def __init__(self, fields: dict[str, Any]) -> None:
        super().__init__()
        self.fields = fields

    def format(self, record: logging.LogRecord) -> str:
        """The JSON object; whatever has no form in JSON is told as text."""
        own = record.name == _own.name
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.msg if own else "message",
            **self.fields,
        }
        if _under_way:
            line["run_id"] = next(reversed(_under_way))
        line |= record.__dict__.get("fields", {}) if own else {"logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def begin_journal(command: str) -> None:
    """Keep a journal of this process, if the environment asks for one.

    Raises:
        InputError: it asks for something else.
    """
    hint = f"{VARIABLE} says how a command tells what it does."
    if known_name("form of log", os.environ.get(VARIABLE) or "text", FORMS, hint=hint) == "json":
        _begin({"command": command, "run_id": None})
        sys.excepthook = _crashed


def _begin(fields: dict[str, Any]) -> None:
    for logger in logging.root.manager.loggerDict.values():
        if isinstance(logger, logging.Logger):
            for handler in [*logger.handlers]:
                if type(handler) is logging.StreamHandler:  # Dask gives its loggers one each as it is imported
                    logger.removeHandler(handler)
                    logger.propagate = True
    lines = logging.StreamHandler()
    lines.setFormatter(JsonLines(fields))
    lines.addFilter(lambda record: record.levelno >= logging.WARNING or record.name == _own.name)
    logging.root.handlers[:] = [lines]
    logging.captureWarnings(True)
    _own.setLevel(logging.INFO)


def is_kept() -> bool:
    """Whether this process keeps a journal, so that nothing else belongs on standard error."""
    return _formatter() is not None


def _formatter() -> JsonLines | None:
    formatters = (handler.formatter for handler in logging.root.handlers)
    return next((each for each in formatters if isinstance(each, JsonLines)), None)


def tell(event: str, level: int = logging.INFO, **fields: Any) -> None:
    """Write a line, if a journal is kept."""
    _own.log(level, event, extra={"fields": fields})


@contextmanager
def telling_of(run_id: str) -> Iterator[None]:
    """Inside, lines are of this run."""
    _under_way[run_id] = None
    try:
        yield
    finally:
        del _under_way[run_id]


def _crashed(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    fields = {"message": f"{kind.__name__}: {error}"}
    _own.critical("crashed", exc_info=(kind, error, trace), extra={"fields": fields})


def settings_of_workers() -> dict[str, Any]:
    """What Dask's configuration has to hold for worker processes of this machine, which print where we do.

    They write such lines as well, and nothing else that they print steers a terminal.
    """
    import dask

    preload = [*dask.config.get("distributed.worker.preload", []), __name__]
    formatter = _formatter()
    fields = formatter and formatter.fields | {"run_id": next(reversed(_under_way), None)}
    return {"distributed.worker.preload": preload, ON_WORKERS: fields}


def dask_setup(worker: Worker) -> None:
    """Dask calls it in each worker process that was started so."""
    import dask

    guard_streams()
    if fields := dask.config.get(ON_WORKERS):
        _begin({**fields, "worker": worker.address})
