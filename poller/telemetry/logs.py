"""How is a log line written? Each event is one line on stderr, as JSON or as text for people.

stdout has only the answer of a command (`poller check`, the demo's table), so that the log never mixes with it.
Times are ISO 8601 in UTC. A line that cannot be written (closed pipe, full disk) is lost, and the daemon continues.
Lines are not queued. If stderr is a pipe whose reader does not read, the daemon waits, as any program does.

Messages of libraries (aiohttp, botocore, asyncio) are written as the event `library_logged`, from `warning` upwards.
This also holds with --verbose, because at debug level botocore logs requests with their bodies and signatures.
If a client of the daemon does not send HTTP, aiohttp's message about it is left out.
A library's message is written without the values in it, because values may be records or secrets. For the same reason
a traceback has no local variables, and only those error texts that disclosure.py allows.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from typing import IO, Any, Literal

import orjson
import structlog
from aiohttp.http_exceptions import BadHttpMessage
from structlog.typing import EventDict, Processor

from poller.disclosure import safe_traceback
from poller.telemetry.whole_writes import write_whole

LogFormat = Literal["json", "console"]


def configure(
    format: LogFormat,  # noqa: A002
    verbose: bool = False,
    quiet: bool = False,
    *,
    worker: int | None = None,
    has_colors: bool | None = None,
) -> None:
    """Configure structlog and the standard library's logging for this process. A later call replaces the configuration.

    `verbose` shows debug lines, several for each batch; `quiet` shows warnings and errors only.
    `worker` is the number of this worker process, which each line then has.
    If `has_colors` is None, a log for people has colours on a terminal.
    """
    level = logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
    processors: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _with_traceback,
    ]
    if worker is not None:
        processors.insert(0, _adder_of(worker))
    if format == "json":
        processors += [structlog.processors.JSONRenderer(serializer=_encode)]
    else:
        processors += [
            _joined,
            _escaped,
            _unfolded,
            _console_renderer(sys.stderr.isatty() if has_colors is None else has_colors),
            _encoder_for(sys.stderr.encoding),
        ]
    stream = sys.stderr.buffer
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_name: _Lines(stream),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_ToStructlog()], level=logging.WARNING, force=True)
    logging.captureWarnings(True)


def _console_renderer(has_colors: bool) -> structlog.dev.ConsoleRenderer:
    return structlog.dev.ConsoleRenderer(colors=has_colors, sort_keys=False)


def _encoder_for(encoding: str) -> Processor:
    def encode(_logger: Any, _method: str, line: Any) -> bytes:
        return str(line).encode(encoding, "backslashreplace")

    return encode


def _adder_of(worker: int) -> Processor:
    def add(_logger: Any, _method: str, event: EventDict) -> EventDict:
        event.setdefault("worker", worker)
        return event

    return add


def _joined(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Write a list of texts as a person does, with commas."""
    for name, value in event.items():
        if isinstance(value, list | tuple) and value and all(isinstance(each, str) for each in value):
            event[name] = ", ".join(value)
    return event


def _escaped(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Escape control characters, so that no text from outside controls the terminal or hides itself."""
    for name, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            event[name] = "\n".join(_printable(line) for line in value.splitlines())
    return event


def _unfolded(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Put a text of several lines, such as a function's traceback, below its log line, where a person can read it.

    The text is indented, so that nobody takes it for a log line.
    """
    below: list[str] = []
    for name, value in event.items():
        if isinstance(value, str) and "\n" in value and name != "exception":
            event[name], *others = value.splitlines()
            below += (f"    {line}" for line in others)
    if below:
        event["stack"] = "\n".join(below)  # the renderer writes these below a line
    return event


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def _with_traceback(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Replace the exception of a line by a traceback that may be shown (disclosure.py)."""
    error = event.pop("exc_info", None)
    if isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        event["exception"] = safe_traceback(error)
    return event


def _encode(event: dict[str, Any], *, default: Any) -> bytes:
    """Encode a line as JSON; time, level and event come first. `json` is used where orjson refuses lone surrogates."""
    line = {"timestamp": event.pop("timestamp"), "level": event.pop("level"), "event": event.pop("event"), **event}
    try:
        return orjson.dumps(line, default=str)
    except TypeError:
        return json.dumps(line, default=str).encode()


class _Lines:
    """Writes a finished line, as the last step of structlog. It never raises an error."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def msg(self, line: bytes) -> None:
        write_whole(self._stream, line + b"\n")

    debug = info = warning = error = critical = exception = log = msg


class _ToStructlog(logging.Handler):
    """Writes what a library logs; `logger` names the library."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and isinstance(record.exc_info[1], BadHttpMessage):
            return  # a client such as a port scanner did not send HTTP
        log = structlog.get_logger("poller.library")
        log.log(
            record.levelno,
            "library_logged",
            logger=record.name,
            message=_safe_message(record),
            exc_info=record.exc_info,
        )


def _safe_message(record: logging.LogRecord) -> str:
    """Return a library's message without the values in it.

    If a message has arguments, its template is returned. A message without arguments may contain values: asyncio names
    a task and its result. It is cut at the first character that may begin a value.
    A warning may quote anything, so only its file, line and category are returned.
    """
    if record.name == "py.warnings" and (file_and_category := _WARNING.match(record.getMessage())):
        return file_and_category[0]
    text = str(record.msg)
    return text if record.args else _BEFORE_VALUES.match(text)[0].strip()  # type: ignore[index]  # it always matches


_WARNING = re.compile(r"[^\n:]+:\d+: \w+")
"""The file and line of a warning, and its category."""

_BEFORE_VALUES = re.compile(r"[^\n:=<>()\[\]{}'\"`]*")
