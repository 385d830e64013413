"""What happens to the queues in which asynchronous events wait?"""

from __future__ import annotations

from typing import Literal, NamedTuple

from poller.facts.declaration import Counter, Line, declare
from poller.facts.sources import CODE
from poller.model.ids import FunctionName


@declare(
    Line("error", when=lambda fact: fact.needs_action, once_per=("function", CODE)),
    Line("warning", once_per=("function", CODE)),
    Counter(
        "poller_event_queue_errors_total",
        "Calls to the event queue that got an error or no answer.",
        of="function",
    ).by(1),
)
class EventQueueFailed(NamedTuple):
    """A call to the function's event queue failed. The daemon repeats the call in `retry_in_seconds`. If `needs_action`
    is true, waiting does not help: a person must act.
    """

    function: FunctionName
    queue: str
    operation: str
    code: str
    detail: str
    retry_in_seconds: float
    needs_action: bool


@declare(Line("info"))
class EventQueueRecovered(NamedTuple):
    """All calls to the function's event queue succeed again, and its destinations accept ended events again."""

    function: FunctionName
    queue: str


@declare(Line("info"))
class FormerEventQueueFound(NamedTuple):
    """The settings no longer name this event queue for the function. The daemon takes events from the queue until the
    queue is empty.
    """

    function: FunctionName
    queue: str


@declare(Line("info", when=lambda fact: fact.reason == "empty"), Line("warning"))
class FormerEventQueueForgotten(NamedTuple):
    """The daemon takes no more events from this former event queue of the function, because the queue has been empty or
    deleted for ten minutes, or because the settings now use it for something else. `reason` says which.
    """

    function: FunctionName
    queue: str
    reason: Literal["empty", "used for something else"]


@declare(Line("info"))
class EventFileMigrated(NamedTuple):
    """This version of poller has changed the format of the file of asynchronous events.

    `kept_copy` is a copy of the file in its old format, for a return to the older version.
    """

    event_queue: str
    kept_copy: str
