"""How many events of a function may be taken now? As many as the function's concurrency allows soon.

The function's room is its concurrency minus the batches and the events that it still has to answer.
An event that waits only for its deliveries uses up no room, but a second limit counts it. So slow destinations slow
down the taking of events, but not the mappings that invoke the same function.
If batches use up all room, one event may still be taken. It waits for the function in the same line as the batches.
While the function is throttled, only one event at a time is tried (`pace.py`).
While the events in hand have too many bytes, no event is taken (`bytes_in_hand.py`).
If other workers have all units of the function's concurrency, they take the events of a queue that all workers share.
But if only this worker reads the queue, nobody else takes its events. So from time to time, this worker takes one event
without a unit. The event waits for the function, and the worker asks for a unit.
"""

from __future__ import annotations

import anyio

from poller.engine.events.bytes_in_hand import BytesInHand
from poller.engine.events.pace import Pace
from poller.functions.room import FunctionRoom

MOST_AT_ONCE = 64
"""How many events are taken with one call. SQS gives at most ten."""

LOOK_WITHOUT_UNIT_EVERY_SECONDS = 10.0
"""How often a worker without a unit takes an event. By then, the others have taken the events that they can take."""

IN_DELIVERY = 16
"""How many more events may be in hand than the function runs at once. The additional ones wait for their deliveries."""


class EventPermits:
    """Counts the events in hand of one run, and says how many more the run may take. Not thread-safe."""

    def __init__(self, *, room: FunctionRoom, pace: Pace, bytes_in_hand: BytesInHand, may_run: bool = True) -> None:
        """`may_run` is false if the function has `reserved_concurrency = 0`, so that it is never invoked."""
        self.in_hand = 0
        self.invoking = 0
        self._room = room
        self._pace = pace
        self._may_run = may_run
        self._bytes = bytes_in_hand
        self._changed = anyio.Event()

    def enter(self) -> None:
        """Begin to watch the function's room and the bytes in hand, so that `some` wakes up when either grows.

        `leave` ends the watch.
        """
        self._room.listen(self._wake)
        self._bytes.listen(self._wake)

    @property
    def is_without_unit(self) -> bool:
        """Return whether other workers have all units of the function's concurrency."""
        return self._may_run and not self._room.capacity

    @property
    def free(self) -> int:
        """Return how many events may be taken now. Zero or less means none."""
        room, most = self._room, MOST_AT_ONCE
        if self._bytes.is_full:
            most = 0 if self.in_hand else 1
        own = min(most, room.capacity + IN_DELIVERY - self.in_hand)
        if not self._may_run:
            return own  # these events end at once
        if self.is_without_unit:
            return 0
        if self._pace.is_slow:
            return min(own, 1 - self.invoking)
        shared = room.capacity - room.batches - room.short_polls
        return min(own, max(shared, 0 if self.invoking else 1))

    async def some(self) -> int:
        """Wait until events may be taken, and return how many."""
        while (free := self.free) <= 0:
            if not self.is_without_unit or self.invoking or self._bytes.is_full:
                await self._changed.wait()
                continue
            with anyio.move_on_after(LOOK_WITHOUT_UNIT_EVERY_SECONDS):
                await self._changed.wait()
                continue
            return 1
        return free

    def begin(self, size_in_bytes: int) -> None:
        """Count an event that was taken."""
        self._bytes.charge(size_in_bytes)
        self.in_hand += 1
        self.invoking += 1
        self._room.batches += 1

    def answered(self, *, grown_by: int) -> None:
        """Free the room of one event, because its attempt is over. The event now has `grown_by` more bytes."""
        self._bytes.charge(grown_by)
        self.invoking -= 1
        self._room.batches -= 1
        self._room.changed()

    def end(self, size_in_bytes: int) -> None:
        """Note that an event is no longer in hand. Call `answered` for this event first."""
        self._bytes.give_back(size_in_bytes)
        self.in_hand -= 1
        self._wake()

    def leave(self) -> None:
        self._room.stop_listening(self._wake)
        self._bytes.stop_listening(self._wake)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
