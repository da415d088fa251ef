"""What the service says while it runs, on stderr: lines for people, or one JSON object a line."""

import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from math import isfinite
from types import TracebackType
from typing import Any, Literal, TextIO

from serving.hidden import hider

__all__ = ["LOG", "Hiding", "LogFormat", "logs"]

LOG = logging.getLogger("streamgauge")
"""`extra=` may have `fields`, numbers and names to go with the words, and `plain`: to people,
the words are all there is to say."""
LogFormat = Literal["text", "json"]
_OWN = ("time", "level", "logger", "message", "error")


@contextmanager
def logs(how: LogFormat, stream: TextIO) -> Iterator["Hiding"]:
    """Send records of this process to `stream` for the length of the context: ours, warnings, those
    of libraries, and what ends a thread. What is yielded is told what must not be seen."""
    hiding = Hiding()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Json(hiding) if how == "json" else _Text(hiding))
    root, hooks = logging.getLogger(), (sys.excepthook, threading.excepthook)
    root.addHandler(handler)
    LOG.setLevel(logging.INFO if how == "json" else logging.WARNING)
    logging.captureWarnings(capture=True)
    sys.excepthook, threading.excepthook = _ended, _thread_ended
    try:
        yield hiding
    finally:
        sys.excepthook, threading.excepthook = hooks
        logging.captureWarnings(capture=False)
        root.removeHandler(handler)


class Hiding:
    """Takes out of a text what must not be seen; see `serving.hidden`."""

    def __init__(self) -> None:
        self.hidden = hider(set())


def _ended(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    LOG.critical("the process ended", exc_info=(kind, error, trace))


def _thread_ended(told: threading.ExceptHookArgs) -> None:
    if told.exc_value is not None:
        name = told.thread.name if told.thread else "?"
        error = (told.exc_type, told.exc_value, told.exc_traceback)
        LOG.error("the thread %s ended", name, exc_info=error)


class _Json(logging.Formatter):
    def __init__(self, hiding: Hiding) -> None:
        super().__init__()
        self._hiding = hiding

    def format(self, record: logging.LogRecord) -> str:
        hidden = self._hiding.hidden
        found: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": hidden(record.getMessage()),
        }
        for key, value in getattr(record, "fields", {}).items():
            if key not in _OWN:
                found[key] = _plain(value, hidden)
        error = _error(self, record)
        if error:
            found["error"] = hidden(error)
        return json.dumps(found)


class _Text(logging.Formatter):
    def __init__(self, hiding: Hiding) -> None:
        super().__init__()
        self._hiding = hiding

    def format(self, record: logging.LogRecord) -> str:
        told = record.getMessage()
        if not hasattr(record, "plain"):
            told = f"{_time(record)} {record.levelname.lower()} {record.name}: {told}"
            fields = getattr(record, "fields", {})
            told += "".join(f" {key}={value}" for key, value in fields.items())
        error = _error(self, record)
        return self._hiding.hidden(f"{told}\n{error}" if error else told)


def _plain(value: Any, hidden: Callable[[str], str]) -> Any:
    """A value as JSON has it; what JSON has not, as text."""
    if isinstance(value, dict):
        return {hidden(str(key)): _plain(item, hidden) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, hidden) for item in value]
    if value is None or isinstance(value, int) or (isinstance(value, float) and isfinite(value)):
        return value
    return hidden(str(value))


def _time(record: logging.LogRecord) -> str:
    told = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds")
    return told.replace("+00:00", "Z")


def _error(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    """The traceback, where the record has one."""
    return formatter.formatException(record.exc_info) if record.exc_info else ""
