"""How are a mapping's invocations reported? Each one becomes a fact, and changes the mapping's health.

the function ran, or may have run      BatchInvoked; and BatchItemFailuresIgnored, if the answer names failed records in
                                       a way that has no effect
the function did not take the batch    InvocationPostponed
the event was too large                EventTooLarge
"""

from __future__ import annotations

from typing import Literal, assert_never

from poller.core.outcome import unheeded_failures
from poller.facts import BatchInvoked, BatchItemFailuresIgnored, Emit, EventTooLarge, InvocationPostponed
from poller.functions.health import FunctionHealth
from poller.functions.opened import Invoked
from poller.model.ids import FunctionName, MappingName
from poller.model.invocation import FunctionError
from poller.model.outcome import Failed, Oversized, PartlyFailed, Postponed, Succeeded
from poller.model.status import ERROR_DETAIL_CHARACTERS, LastError
from poller.ports import Clock

OutcomeName = Literal["succeeded", "partly_failed", "failed"]


class Invocations:
    """Reports the invocations of one mapping."""

    def __init__(self, *, mapping: MappingName, function: FunctionName, clock: Clock, emit: Emit) -> None:
        self.health = FunctionHealth(mapping=mapping, function=function, clock=clock, emit=emit)
        self.last_error: LastError | None = None
        self._clock = clock
        self._mapping = mapping
        self._function = function
        self._emit = emit

    def ended(self, invoked: Invoked, *, retry_in: float | None) -> None:
        """Report an invocation that has ended.

        `retry_in` is the time in seconds until the same records are tried again. It is None if they are not tried
        again, or if the queue decides when.
        """
        outcome = invoked.outcome
        match outcome:
            case Postponed():
                assert retry_in is not None, "a batch that was postponed is invoked again"
                self._postponed(invoked, outcome, retry_in)
            case Oversized():
                self._too_large(invoked, outcome)
            case Succeeded() | PartlyFailed() | Failed():
                self.health.answered(invoked.response, retry_in=retry_in)
                self._ran(invoked, outcome)
            case _:
                assert_never(outcome)

    def _postponed(self, invoked: Invoked, outcome: Postponed, retry_in: float) -> None:
        self.health.postponed(outcome, retry_in=retry_in)
        self._emit(
            InvocationPostponed(
                self._mapping,
                self._function,
                invoked.contents.records,
                invoked.invocation.attempt,
                outcome.reason,
                retry_in,
                outcome.is_throttle,
                outcome.detail,
            )
        )

    def _too_large(self, invoked: Invoked, outcome: Oversized) -> None:
        event_bytes = len(invoked.invocation.payload)
        self._emit(EventTooLarge(self._mapping, self._function, invoked.contents.records, event_bytes, outcome.reason))

    def _ran(self, invoked: Invoked, outcome: Succeeded | PartlyFailed | Failed) -> None:
        invocation, contents, response, _, duration = invoked
        name, failed, reason, detail = _in_words(outcome, contents.records)
        if failed:
            self.last_error = LastError(self._clock.now(), reason, detail[:ERROR_DETAIL_CHARACTERS])
        self._emit(
            BatchInvoked(
                self._mapping,
                self._function,
                invocation.request_id,
                name,
                contents.records,
                failed,
                invocation.attempt,
                duration,
                contents.oldest_age_in_seconds,
                reason,
                detail,
                response.log_tail if isinstance(response, FunctionError) else "",
            )
        )
        advice = unheeded_failures(response, reports_item_failures=contents.reports_item_failures)
        if advice is not None:
            self._emit(BatchItemFailuresIgnored(self._mapping, self._function, advice))


def _in_words(outcome: Succeeded | PartlyFailed | Failed, count: int) -> tuple[OutcomeName, int, str, str]:
    """Return parts of a fact: the outcome's name, how many of the `count` records are not done, why, and the detail."""
    match outcome:
        case Succeeded():
            return "succeeded", 0, "", ""
        case PartlyFailed(failed=failed):
            return "partly_failed", len(failed), "batchItemFailures", ""
        case Failed(reason=reason, detail=detail):
            return "failed", count, reason, detail
    assert_never(outcome)
