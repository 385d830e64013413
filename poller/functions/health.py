"""Can the mapping's function be invoked now? The mapping knows this from the answers to its own invocations.

    working ── a batch is postponed, or the function cannot start ──> waiting ── the function runs again ──> working

If the function runs and fails, the mapping is still working: the batch is retried, and the failure is counted.
A lost answer and a too large event change nothing, because they do not show whether the function runs.
If several invocations run at once, the reason and the next try are those of the batch that was postponed last. The
first invocation that the function runs ends the waiting.
"""

from __future__ import annotations

from poller.core.outcome import cannot_start
from poller.facts import Emit, MappingWaitEnded, MappingWaiting
from poller.model.ids import FunctionName, MappingName
from poller.model.invocation import LostAnswer, Response, TooLarge
from poller.model.outcome import Postponed
from poller.model.status import Health
from poller.ports import Clock

REASON_LIMIT_IN_CHARACTERS = 1024
"""A status shows at most this many characters of the function's error message."""


class FunctionHealth:
    """One mapping's view of its function."""

    def __init__(self, *, mapping: MappingName, function: FunctionName, clock: Clock, emit: Emit) -> None:
        self._mapping = mapping
        self._function = function
        self._clock = clock
        self._emit = emit
        self._waiting: Health | None = None
        self._resumed_at = 0.0

    def postponed(self, outcome: Postponed, *, retry_in: float) -> None:
        """Report that a batch was postponed. The function is invoked with it again in `retry_in` seconds."""
        verb = "is throttled" if outcome.is_throttle else "cannot be invoked"
        self._wait(f"{verb}: {outcome.detail or outcome.reason}", retry_in)

    def answered(self, response: Response, *, retry_in: float | None) -> None:
        """Report that the function answered an invocation.

        `retry_in` is the time in seconds until the records are tried again. It is None if they are not tried again, or
        if the queue decides when.
        """
        if cannot_start(response):
            self._wait(f"cannot start: {response.error_type}: {response.message}", retry_in)
        elif self._waiting is not None and not isinstance(response, LostAnswer | TooLarge):
            self._resume(self._waiting)

    def together_with(self, source: Health) -> Health:
        """Return one health for the function and the source. `source` is the source's own health.

        If only one of the two has a trouble, the result is this trouble. If both have a trouble, the reason names both.
        """
        waiting = self._waiting
        if source.state != "ready":
            return source._replace(reason=f"{source.reason}; {waiting.reason}") if waiting is not None else source
        return waiting or source._replace(since=max(source.since or 0.0, self._resumed_at))

    def _wait(self, problem: str, retry_in: float | None) -> None:
        now, before = self._clock.now(), self._waiting
        reason = f"function {self._function} {problem}"[:REASON_LIMIT_IN_CHARACTERS]
        next_try = None if retry_in is None else now + retry_in
        if before is None:
            self._waiting = Health("waiting", reason, since=now, attempt=1, next_try=next_try)
            self._emit(MappingWaiting(self._mapping, self._function, reason))
            return
        self._waiting = before._replace(reason=reason, attempt=(before.attempt or 0) + 1, next_try=next_try)

    def _resume(self, waiting: Health) -> None:
        self._waiting = None
        self._resumed_at = now = self._clock.now()
        self._emit(MappingWaitEnded(self._mapping, self._function, now - (waiting.since or now)))
