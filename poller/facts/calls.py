"""What happens to the calls that clients make, through Lambda's API or by `poller invoke`?"""

from __future__ import annotations

from typing import Literal, NamedTuple

from poller.facts.batches import SECONDS_OF_WORK
from poller.facts.declaration import Counter, Histogram, Label, Line, declare
from poller.model.ids import FunctionName, RequestId

CallOutcome = Literal["succeeded", "failed", "throttled", "unreachable"]


@declare(
    Line(
        "debug",
        "client_call_succeeded",
        when=lambda fact: fact.outcome == "succeeded",
        meaning="A client called a function (through Lambda's API or with poller invoke), and the function succeeded.",
    ),
    Line(
        "warning",
        "client_call_failed",
        once_per=("function", "outcome"),
        meaning="A client called a function (through Lambda's API or with poller invoke), and got an error: the "
        "function failed, was throttled, or could not be reached.",
    ),
    Counter(
        "poller_calls_total",
        "Ended synchronous calls of the function by clients.",
        of="function",
        labels=(Label("outcome", ("succeeded", "failed", "throttled", "unreachable")),),
    ).by(1),
    Histogram(
        "poller_call_duration_seconds",
        "Time from a client's synchronous call to its answer, including the wait for the function's concurrency.",
        of="function",
        buckets=SECONDS_OF_WORK,
    ).by("duration_seconds"),
)
class FunctionCalled(NamedTuple):
    """A client's synchronous call of a function has ended. `reason` and `detail` are empty after a success."""

    function: FunctionName
    request_id: RequestId
    outcome: CallOutcome
    duration_seconds: float
    reason: str = ""
    detail: str = ""


@declare(Line("error"))
class FunctionCrashed(NamedTuple):
    """A fault in poller itself closed a function that clients call. The next call opens the function again."""

    function: FunctionName
    error: BaseException
