"""How is a function invoked with one event?  wait for the function's concurrency ── decide ── invoke ── decide again.

core/events/attempts.py makes both decisions. The first one may end the event without an invocation, for example because
the event is too old. The second one ends the event, or makes it wait for the next attempt.
If another process may have taken the event (its claim is lost), the function is not invoked with it.
An event that waits does not use up the function's concurrency, and stops waiting when the daemon stops.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import assert_never

import anyio

from poller.core.events.attempts import EventPolicy, after_attempt, before_attempt
from poller.core.events.trace import passed_on
from poller.engine.events.claims import Claim
from poller.engine.events.pace import Pace
from poller.engine.stop import Stop
from poller.facts import Emit, EventDropped, EventEnded, EventInvoked, EventPostponed
from poller.functions.health import FunctionHealth
from poller.functions.opened import Contents, Invoked, OpenFunction
from poller.model.event import Event
from poller.model.invocation import FunctionError, Invocation
from poller.model.outcome import Failed, Oversized, PartlyFailed, Postponed, Succeeded
from poller.ports import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempts:
    """Invokes one function with events."""

    function: OpenFunction
    policy: EventPolicy
    health: FunctionHealth
    pace: Pace
    clock: Clock
    randomness: random.Random
    emit: Emit
    stop: Stop

    async def attempt(self, claim: Claim) -> None:
        """Invoke the function with the claim's event, and set `claim.event` to the event after this attempt.

        If the daemon stops before the invocation, or if the claim is lost, the event stays as it was.
        """
        if self._ends_now(claim):
            return
        async with self.function.gate.slot(unless=self.stop.draining) as has_slot:
            if not has_slot or not claim.is_held or self._ends_now(claim):
                return
            age = max(0.0, self.clock.now() - claim.event.accepted_at)
            began_at = anyio.current_time()
            invoked = await self.function.invoke(self._invocation(claim.event), Contents(), began_at=began_at)
        self._decide(claim, invoked, age=age, began_at=began_at)

    def _ends_now(self, claim: Claim) -> bool:
        """End the event if the function must not get it any more. Return whether the event has ended."""
        ended = before_attempt(claim.event, self.policy, now=self.clock.now())
        if ended is None:
            return False
        claim.event = ended
        self._say_it_ended(ended)
        return True

    def _invocation(self, event: Event) -> Invocation:
        return Invocation(
            event.request_id,
            event.payload,
            None,
            event.attempts + 1,
            invoked_arn=event.invoked_arn,
            trace=passed_on(event, self.policy.function),
            traceparent=event.traceparent,
        )

    def _decide(self, claim: Claim, invoked: Invoked, *, age: float, began_at: float) -> None:
        before = claim.event
        claim.event = after_attempt(
            before, invoked.response, self.policy, now=self.clock.now(), randomness=self.randomness
        )
        outcome, ending = invoked.outcome, claim.event.ending
        retry_in = None if ending is not None else max(0.0, claim.event.due_at - self.clock.now())
        match outcome:
            case Postponed():
                if ending is None:  # an event ends at once if its function does not exist any more
                    self.pace.postponed(retry_after=outcome.retry_after, began_at=began_at)
                self.health.postponed(outcome, retry_in=max(0.0, self.pace.pause))
                self.emit(
                    EventPostponed(
                        before.function,
                        before.request_id,
                        "throttled" if outcome.is_throttle else "unreachable",
                        outcome.reason,
                        retry_in,
                        outcome.detail,
                    )
                )
            case Succeeded() | Failed():
                self.pace.ran()
                self.health.answered(invoked.response, retry_in=None)
                self._say_it_ran(before, invoked, outcome, age, retry_in)
            case PartlyFailed() | Oversized():
                raise AssertionError("an event has no records that could fail or be split")
            case _:
                assert_never(outcome)
        if ending is not None:
            self._say_it_ended(claim.event)

    def _say_it_ran(
        self, event: Event, invoked: Invoked, outcome: Succeeded | Failed, age: float, retry_in: float | None
    ) -> None:
        response, is_failure = invoked.response, isinstance(outcome, Failed)
        self.emit(
            EventInvoked(
                event.function,
                event.request_id,
                "failed" if is_failure else "succeeded",
                invoked.invocation.attempt,
                age,
                invoked.duration_in_seconds,
                outcome.reason if isinstance(outcome, Failed) else "",
                outcome.detail if isinstance(outcome, Failed) else "",
                response.log_tail if isinstance(response, FunctionError) else "",
                retry_in,
            )
        )

    def _say_it_ended(self, event: Event) -> None:
        ending = event.ending
        assert ending is not None, "it has ended"
        self.emit(EventEnded(event.function, event.request_id, ending.condition, event.attempts, ending.deliveries))
        if ending.condition != "Success" and not ending.deliveries:
            self.emit(EventDropped(event.function, event.request_id, ending.condition, event.attempts))
