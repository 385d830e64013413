"""Which line does a fact write into the log, and with which fields?

A fact writes the first of its lines whose condition holds, unless the line repeats too soon (repetitions.py).
The fields of the line are those of the fact. Numbers with a fraction are rounded to three digits after the point.
Fields without a value (None or an empty list) are left out.
No line has the body of a record, because no fact has one.
A function's error message and the end of its log may quote data of its users. They are written, cut to 1,024 and 4,096
characters, because Lambda's own logs have them too, and without them nobody could understand a failure.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from operator import attrgetter
from typing import Any

from structlog.typing import FilteringBoundLogger

from poller.facts.declaration import Declaration, Fact, Label, Line
from poller.telemetry.repetitions import Key
from poller.telemetry.subject import Subject

DETAIL_CHARACTERS = 1024
LOG_TAIL_CHARACTERS = 4096

_FOREIGN = {
    "reason": slice(DETAIL_CHARACTERS),
    "detail": slice(DETAIL_CHARACTERS),
    "log_tail": slice(-LOG_TAIL_CHARACTERS, None),  # the end of a log matters
}
"""Fields whose text comes from outside, each with the part of the text that is written. An empty text is left out."""

WriteLine = Callable[[Any, Subject | None], None]
_KeyOf = Callable[[Subject, Fact], Key]


def writer(declaration: Declaration, log: FilteringBoundLogger) -> WriteLine | None:
    """Return a function that writes the lines of a fact; None if the log's level excludes all of them."""
    lines = [_write(line, line.event or declaration.event, log) for line in declaration.lines]
    if not any(lines):
        return None
    cases = [(line.when, write) for line, write in zip(declaration.lines, lines, strict=True)]

    def write_line(fact: Fact, subject: Subject | None) -> None:
        for when, write in cases:
            if when is None or when(fact):
                if write is not None:
                    write(fact, subject)
                return

    return write_line


def _write(line: Line, event: str, log: FilteringBoundLogger) -> WriteLine | None:
    level = logging.getLevelNamesMapping()[line.level.upper()]
    if not log.is_enabled_for(level):
        return None
    key = _key(event, line)

    def write(fact: Fact, subject: Subject | None) -> None:
        suppressed: int | None = 0
        if line.once_per and subject is not None:
            suppressed = subject.repetitions.admit(key(subject, fact), line.pause_in_seconds)
        if suppressed is not None:
            log.log(level, event, **_fields(fact), **({"suppressed": suppressed} if suppressed else {}))

    return write


def _key(event: str, line: Line) -> _KeyOf:
    """Return a function that makes the key of a line from a fact. Lines with equal keys are repetitions."""
    parts = [part if isinstance(part, Label) else Label(part) for part in line.once_per]
    labels = [(label, attrgetter(label.source)) for label in parts]
    return lambda subject, fact: (event, *[subject.admit(label, value(fact)) for label, value in labels])


def _fields(fact: Fact) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in fact._asdict().items():
        if value is None or value == ():
            continue
        if isinstance(value, BaseException):
            fields["exc_info"] = value
        elif isinstance(value, float):
            fields[name] = round(value, 3)
        elif name not in _FOREIGN:
            fields[name] = value
        elif value:
            fields[name] = value[_FOREIGN[name]]
    return fields
