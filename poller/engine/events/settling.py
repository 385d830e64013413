"""How is an event in hand removed from its queue, or returned to it? By one call, which is repeated until it succeeds.

    the event is done                 remove it
    it must wait, or did not change   return it to the queue
    it came from SQS, and has ended   store it in the daemon's own queue, then remove it from SQS: an SQS message has
                                      no place for the ending
    SQS rejects the changed event     the same; the error of the last attempt has made the message too large

If the daemon crashes after it has stored the event and before it has removed it from SQS, the event exists twice, but
is never lost.
While the calls fail, the event stays in hand, so this run takes fewer new events.
If another process may have taken the event (its claim is lost), the queue does not store its changes. The other process
repeats the attempt.
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
"""How long a run may take to return all events in hand to their queues when it stops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settler:
    """Removes the events of one run from their queues, or returns them. `own_queue` is the daemon's own queue."""

    own_queue: EventQueue
    keeper: ClaimKeeper
    health: EventHealth
    randomness: random.Random

    async def settle(self, claim: Claim) -> None:
        """Remove the event from its queue, or return it, and repeat this until it succeeds.

        Then the event is not in hand any more.
        """
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
        """Settle all these events at the same time, in at most RELEASE_IN_SECONDS.

        A cancellation does not interrupt it.

        An event without changes is due, so it may be taken again at once.
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
        """Store the event in the daemon's own queue and remove it from SQS. Do nothing if its claim is lost."""
        if claim.is_held:
            with anyio.CancelScope(shield=True):  # if the stop cancelled this, `release` would store the event again
                await self.own_queue.put([claim.event])
                claim.is_moved = True
            await claim.queue.remove(claim.taken)


def is_done(event: Event) -> bool:
    """Return whether the event has ended and needs no delivery any more."""
    return event.ending is not None and not event.ending.deliveries
