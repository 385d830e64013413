"""How does the queue learn what became of an event in hand? One call says it; the call is made until it succeeds.

    the event needs nothing more      remove
    it changed, or must wait          put back
    an ended event of an SQS queue    store it in the daemon's own queue, then remove it from SQS: a message of SQS
                                      cannot say how its event ended
    SQS rejects the changed event     the same: an event that fits exactly has no room for what it must say of its
                                      attempts

A crash between the two calls makes a duplicate, never a loss.
While the calls fail, the event stays in hand and claimed, so that the run takes fewer events.
If the claim is lost meanwhile, the queue ignores the call: whoever takes the event begins where the queue has it.
"""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass

import anyio

from poller.core.backoff import SOURCE
from poller.engine.events.claims import Claim, ClaimKeeper
from poller.engine.events.health import EventHealth
from poller.errors import Rejected, ServiceError
from poller.model.event import Event
from poller.ports import EventQueue

RELEASE_IN_SECONDS = 10.0
"""How long a stopping run may take to put all events in hand back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settler:
    """Settles the events in hand of one run. `own_queue` is the daemon's own queue, which keeps what SQS cannot."""

    own_queue: EventQueue
    keeper: ClaimKeeper
    health: EventHealth
    randomness: random.Random

    async def settle(self, claim: Claim) -> None:
        """Write what became of the event, as often as it takes. Afterwards the event is not in hand any more."""
        failures = 0
        while True:
            claim.is_being_settled = True
            try:
                await self._write(claim)
            except ServiceError as error:
                claim.is_being_settled = False
                failures += 1
                delay = SOURCE.delay(failures, self.randomness)
                self.health.queue_failed("settle", error, retry_in=delay)
                await anyio.sleep(delay)
            else:
                self.health.succeeded("settle")
                break
        self.keeper.drop(claim)

    async def release(self, claims: Collection[Claim]) -> None:
        """Write what became of these events, in at most RELEASE_IN_SECONDS, also when cancelled.

        An event that did not change was due when it was taken, so it may be taken again at once.
        """
        with anyio.move_on_after(RELEASE_IN_SECONDS, shield=True):
            async with anyio.create_task_group() as tasks:
                for claim in claims:
                    tasks.start_soon(self.settle, claim)

    async def _write(self, claim: Claim) -> None:
        event = claim.event
        if claim.is_moved or is_done(event):
            await claim.queue.remove(claim.taken)
        elif claim.queue is self.own_queue:
            await claim.queue.put_back(claim.taken, event)
        elif event.ending is not None:
            await self._move(claim)
        else:
            try:
                await claim.queue.put_back(claim.taken, event)
            except Rejected:
                await self._move(claim)

    async def _move(self, claim: Claim) -> None:
        """Store the event in the daemon's own queue, unless its claim is lost, and remove it from its queue."""
        if claim.is_held:
            await self.own_queue.put([claim.event])
            claim.is_moved = True
            await claim.queue.remove(claim.taken)


def is_done(event: Event) -> bool:
    """Return whether the event has ended and is delivered everywhere."""
    return event.ending is not None and not event.ending.deliveries
