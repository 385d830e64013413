"""How is an invocation told? One fact for each that came to an end, whatever the source."""

from __future__ import annotations

from typing import Literal

from poller.facts import BatchInvoked
from poller.model.function import Function
from poller.model.invocation import FunctionError, Invocation, Response
from poller.model.outcome import Failed, Outcome, Oversized, PartlyFailed, Postponed, Succeeded

OutcomeName = Literal["succeeded", "partly_failed", "failed"]


def batch_invoked(
    invocation: Invocation,
    function: Function,
    response: Response,
    outcome: Outcome,
    *,
    records: int,
    duration: float,
    oldest_age: float,
) -> BatchInvoked:
    """`records` were in the batch; durations and ages are in seconds."""
    name, failed, reason, detail = _in_words(outcome, records)
    return BatchInvoked(
        invocation.mapping,
        function.name,
        invocation.request_id,
        name,
        records,
        failed,
        invocation.attempt,
        duration,
        oldest_age,
        reason,
        detail,
        response.log_tail if isinstance(response, FunctionError) else "",
    )


def _in_words(outcome: Outcome, count: int) -> tuple[OutcomeName, int, str, str]:
    """The outcome's name, how many records it left undone, and why."""
    match outcome:
        case Succeeded():
            return "succeeded", 0, "", ""
        case PartlyFailed(failed=failed):
            return "partly_failed", len(failed), "batchItemFailures", ""
        case Failed(reason=reason, detail=detail):
            return "failed", count, reason, detail
        case Postponed() | Oversized():
            raise AssertionError("the function never saw this batch")
