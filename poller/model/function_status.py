"""What does a function do now? The page and /api/status show these values."""

from __future__ import annotations

from typing import NamedTuple

from poller.model.ids import FunctionName

CHILDREN_SHOWN = 20
"""How many child processes of a function its status lists at most."""

LINES_KEPT = 20
"""How many lines of a function's log its status has at most."""

LINE_CHARACTERS = 500
"""How many characters of a line are kept. The status of a function may be sent to another process each second."""


class ChildStatus(NamedTuple):
    """A child process of a function. It is busy while it starts or runs an invocation."""

    pid: int
    is_busy: bool
    age_in_seconds: float


class LoggedLine(NamedTuple):
    """A line that a function has written. `at` is in epoch seconds.

    `pid` is the child process that has written it, or None if the line is from the log tail of a failed invocation.
    """

    at: float
    pid: int | None
    text: str


class FunctionStatus(NamedTuple):
    """A function that this daemon invokes now or has invoked lately.

    `running` is the number of its invocations that run, of mappings, events and clients together. `waiting` is the
    number of those that wait for one of them to end. At most `limit` may run at once.
    `children` is the number of its child processes, and `busy` that of the busy ones. `first_children` are the first
    CHILDREN_SHOWN of them, the busy ones first.
    `log` has the last LINES_KEPT lines that the function has written, the oldest first.
    """

    function: FunctionName
    running: int
    waiting: int
    limit: int
    children: int = 0
    busy: int = 0
    first_children: tuple[ChildStatus, ...] = ()
    log: tuple[LoggedLine, ...] = ()


def first_of(children: list[ChildStatus]) -> tuple[ChildStatus, ...]:
    """Return the children that a status lists: the busy ones first, the oldest of them first."""
    return tuple(sorted(children, key=lambda child: (not child.is_busy, -child.age_in_seconds))[:CHILDREN_SHOWN])


def last_of(lines: list[LoggedLine]) -> tuple[LoggedLine, ...]:
    """Return the lines that a status has: the last ones, the oldest of them first."""
    return tuple(sorted(lines, key=lambda line: line.at)[-LINES_KEPT:])
