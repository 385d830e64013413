"""How does a daemon keep an event for itself while it works with the event? It holds a claim on the event.

A claim begins when the daemon takes the event, and ends when the event is removed or returned to its queue.
During a claim, the queue gives the event to no other process. The keeper extends a claim that will end in less than
`EXTENDED_BELOW_IN_SECONDS`. If the process dies, its claims soon end, and other processes get its events.
A claim is lost if the queue has ended it, or if the keeper could not extend it in time. Then the function is not
invoked with the event, because another process may have taken the event.
The keeper measures time on anyio's clock, because a person may set the system's clock during a claim.
"""

from __future__ import annotations

import anyio

from poller.engine.events.health import EventHealth
from poller.errors import ServiceError
from poller.facts import Emit, EventClaimLost
from poller.model.event import CLAIM_IN_SECONDS, Event, TakenEvent
from poller.ports import Clock, EventQueue

EXTENDED_BELOW_IN_SECONDS = 40.0
TICK_IN_SECONDS = 5.0


class Claim:
    """The right to one event of a queue, for a limited time.

    `event` is the event after the last attempt or delivery. `taken` is the event that the queue still stores.
    `is_being_settled` is true while a call to the queue ends the claim.
    `is_moved` is true once the daemon's own queue has stored `event`. Then the event must still be removed from SQS.
    """

    __slots__ = ("ends_at", "event", "is_being_settled", "is_lost", "is_moved", "queue", "taken")

    def __init__(self, queue: EventQueue, taken: TakenEvent, *, seconds_left: float) -> None:
        self.queue = queue
        self.taken = taken
        self.event: Event = taken.event
        self.ends_at = anyio.current_time() + seconds_left
        self.is_lost = False
        self.is_being_settled = False
        self.is_moved = False

    @property
    def is_held(self) -> bool:
        return not self.is_lost and anyio.current_time() < self.ends_at


class ClaimKeeper:
    """Extends the claims of one run before they end."""

    def __init__(self, *, health: EventHealth, clock: Clock, emit: Emit) -> None:
        self.claims: dict[Claim, None] = {}
        self._health = health
        self._clock = clock
        self._emit = emit
        self._has_claims = anyio.Event()

    def hold(self, queue: EventQueue, taken: TakenEvent) -> Claim:
        claim = Claim(queue, taken, seconds_left=taken.claimed_until - self._clock.now())
        self.claims[claim] = None
        self._has_claims.set()
        return claim

    def drop(self, claim: Claim) -> None:
        """Do not extend this claim any more."""
        self.claims.pop(claim, None)

    async def run(self) -> None:
        """Extend the claims that would end soon, until cancelled."""
        while True:
            await self._has_claims.wait()
            await self.run_once()
            if not self.claims:
                self._has_claims = anyio.Event()
            await anyio.sleep(TICK_IN_SECONDS)

    async def run_once(self) -> None:
        soon = anyio.current_time() + EXTENDED_BELOW_IN_SECONDS
        async with anyio.create_task_group() as tasks:
            for claim in self.claims:
                if not claim.is_lost and claim.ends_at < soon:
                    tasks.start_soon(self._extend, claim)

    async def _extend(self, claim: Claim) -> None:
        asked_at = anyio.current_time()
        try:
            taken = await claim.queue.extend(claim.taken, by_seconds=CLAIM_IN_SECONDS)
        except ServiceError as error:
            self._health.queue_failed("extend", error, retry_in=TICK_IN_SECONDS)
            if not claim.is_held:
                self.lost(claim)
            return
        self._health.succeeded("extend")
        if taken is None:
            self.lost(claim)
        else:
            claim.taken, claim.ends_at = taken, asked_at + CLAIM_IN_SECONDS

    def lost(self, claim: Claim) -> None:
        """Note that another process may take the event of this claim."""
        if claim in self.claims and not claim.is_lost and not claim.is_being_settled:
            claim.is_lost = True
            self._emit(EventClaimLost(claim.event.function, claim.event.request_id))
