"""The logger of gliolake, and the journal: events as one JSON object per line on standard error.

A message for people is ``logger.info(text)``, ``warning`` or ``error``; the hint of an error is ``extra={"hint":
text}``. An event for programs is ``logger.info(event, extra={"fields": {...}})``. The command line prints messages
(``gliolake.cli.logs``) or, with ``GLIOLAKE_LOG=json``, writes a journal of messages and events. A script configures
``logging`` itself; without a configuration it sees warnings and errors.

Every line of the journal has ``time`` (ISO 8601, UTC), ``level``, ``event``, ``command``, and the ``run_id`` of the
current run, or null; the other keys depend on the event. Warnings and errors of other libraries, and of Dask's worker
processes on this machine, have event ``message``. Arguments and the environment may contain secrets and are not logged.
The commit log of a lake is separate (``gliolake.storage.commit_log``).
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gliolake.log.plain_text import guard_streams, shown, without_passwords

if TYPE_CHECKING:
    from types import TracebackType

    from distributed import Worker

ON_WORKERS = "gliolake.journal"
"""Key of Dask's configuration: the fields by which a worker process begins a journal like that of its command."""

_under_way: dict[str, None] = {}


def _complete(record: logging.LogRecord) -> bool:
    """Give a record its event and run, and to its text the fields; whoever prints it, it holds no password and steers
    no terminal."""
    fields = record.__dict__.get("fields")
    plain = "note" if record.levelno == logging.INFO else record.levelname.lower()
    record.event, record.run_id = plain if fields is None else record.msg, next(reversed(_under_way), None)
    text = " ".join([record.getMessage(), *(f"{name}={value}" for name, value in (fields or {}).items())])
    record.msg, record.args = shown(without_passwords(text), lines=True), None
    return True


logger = logging.getLogger("gliolake")
logger.addFilter(_complete)


class JsonLines(logging.Formatter):
    """A record as one line. ``fields`` are told of each, e.g. the command."""

    def __init__(self, fields: dict[str, Any]) -> None:
        super().__init__()
        self.fields = fields

    def format(self, record: logging.LogRecord) -> str:
        """The JSON object; whatever has no form in JSON is told as text."""
        told = record.__dict__
        own = record.name == logger.name
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": told["event"] if own else "message",
            **self.fields,
        }
        if _under_way:
            line["run_id"] = next(reversed(_under_way))
        if not own:
            line |= {"logger": record.name, "message": record.getMessage()}
        elif "fields" in told:
            line |= told["fields"]
        else:
            line |= {"message": record.getMessage()} | ({"hint": told["hint"]} if "hint" in told else {})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return without_passwords(json.dumps(line, default=str))


def begin_journal(command: str) -> None:
    """Keep a journal of this process."""
    _begin({"command": command, "run_id": None})
    sys.excepthook = _crashed


def _begin(fields: dict[str, Any]) -> None:
    for other in logging.root.manager.loggerDict.values():
        if isinstance(other, logging.Logger):
            for handler in [*other.handlers]:
                if type(handler) is logging.StreamHandler:  # Dask gives its loggers one each as it is imported
                    other.removeHandler(handler)
                    other.propagate = True
    lines = logging.StreamHandler()
    lines.setFormatter(JsonLines(fields))
    lines.addFilter(lambda record: record.levelno >= logging.WARNING or record.name == logger.name)
    logging.root.handlers[:] = [lines]
    logging.captureWarnings(True)
    logger.setLevel(logging.INFO)


def is_kept() -> bool:
    """Whether this process keeps a journal, so that nothing else belongs on standard error."""
    return _formatter() is not None


def _formatter() -> JsonLines | None:
    formatters = (handler.formatter for handler in logging.root.handlers)
    return next((each for each in formatters if isinstance(each, JsonLines)), None)


@contextmanager
def bind_run(run_id: str) -> Iterator[None]:
    """Inside, records are of this run."""
    _under_way[run_id] = None
    try:
        yield
    finally:
        del _under_way[run_id]


def _crashed(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    fields = {"message": f"{kind.__name__}: {error}"}
    logger.critical("crashed", exc_info=(kind, error, trace), extra={"fields": fields})


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
