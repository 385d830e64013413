"""When may a mapping poll its queue?

A mapping receives messages only when it can soon invoke the function with them. Otherwise messages would become visible
again without an attempt, and their receive counts would rise.
Three objects count polls and batches:

    FunctionRoom   the batches in hand and the additional polls of all queue mappings that invoke one function
    MappingRoom    the batches in hand of one mapping, over all its runs
    Permits        the polls and batches of one run

Two sums are limited:

    polls and batches of one run                   at most the limit of this run, which its failures lower
                                                   (`core/queues/scaling.py`)
    polls of one run, and batches of all runs      at most the mapping's concurrency, which is the highest value of that
                                                   limit

So when a mapping is replaced, the batches of the old run do not count against the limit of the new run. Even if this
limit is low, a long invocation of the old run does not keep the new run from polling.

The first poll of a mapping is long and mostly idle, so the function's room does not count it.
The first poll may begin if the function has room for a batch, or if this mapping has no batch in hand.
Each additional poll is short and uses up room of the function. It begins only if there is room.
So a mapping with an idle queue takes no room from other mappings, and at most one batch of each mapping waits for the
function.
"""

from __future__ import annotations

from collections import deque
from math import inf

import anyio

from poller.core.queues.scaling import Concurrency, PollScaling
from poller.functions.room import FunctionRoom, Room
from poller.functions.units import Units


class MappingRoom(Room):
    """The polls and batches in hand of one mapping. An old run may finish its batches while the next run polls.

    If several workers share the mapping's `maximum_concurrency`, the mapping has at most as many polls and batches as
    this process has `units` (`functions/units.py`).
    """

    def __init__(self, shared_concurrency: int | None = None) -> None:
        """`shared_concurrency` is the mapping's `maximum_concurrency` if workers share this limit, else None."""
        super().__init__()
        self.units: Units | None = None
        self.capacity = inf
        if shared_concurrency is not None:
            self.capacity = 0
            self.units = Units(shared_concurrency, needed=lambda: self.in_use, changed=self._count_units)
            self.listen(self.units.reconsider)

    def _count_units(self) -> None:
        assert self.units is not None, "only units call this"
        if self.units.kept != self.capacity:
            self.capacity = self.units.kept
            self.changed()


class Permits:
    """The polls and batches of one run. Not thread-safe."""

    def __init__(
        self, *, room: FunctionRoom, mapping_room: MappingRoom, polls: PollScaling, concurrency: Concurrency
    ) -> None:
        self.polls_in_flight = 0
        self.batches_in_hand = 0
        self._room = room
        self._mapping_room = mapping_room
        self._polls = polls
        self._concurrency = concurrency
        self._waiting: deque[anyio.Event] = deque()
        self._is_closed = False

    @property
    def limit(self) -> int:
        """How many batches may run at once now. If workers share a limit, this process has only its own units of it."""
        return int(min(self._concurrency.limit, self._mapping_room.capacity, self._room.capacity))

    @property
    def has_room(self) -> bool:
        if self.polls_in_flight >= self._polls.wanted:
            return False
        batches = self._mapping_room.batches
        if self.polls_in_flight + self.batches_in_hand >= self._concurrency.limit:
            return False
        if self.polls_in_flight + batches >= self._concurrency.ceiling:
            return False
        if self._mapping_room.in_use >= self._mapping_room.capacity or self._room.capacity == 0:
            return False
        if self.polls_in_flight == 0:
            return self._room.batches < self._room.capacity or batches == 0
        return self._room.batches + self._room.short_polls < self._room.capacity

    @property
    def has_waiter(self) -> bool:
        return bool(self._waiting)

    async def begin_poll(self) -> bool:
        """Wait until there is room for a poll, and take the room. After `close`, return False."""
        while not self._is_closed and not self.has_room:
            called = anyio.Event()
            self._waiting.append(called)
            self._listen_while_polls_wait()
            try:
                await called.wait()
            except BaseException:
                if called.is_set():
                    self.call_next()
                else:
                    self._waiting.remove(called)
                    self._listen_while_polls_wait()
                raise
        if self._is_closed:
            return False
        if self.polls_in_flight:
            self._room.short_polls += 1
        self._count_polls(1)
        return True

    def end_poll(self, *, with_batch: bool) -> None:
        """End a poll. If it brought a batch, the batch takes the poll's room."""
        self._count_polls(-1)
        if self.polls_in_flight:
            self._room.short_polls -= 1
        if with_batch:
            self.begin_batch()
        else:
            self._mapping_room.changed()
        self._room.changed()

    def begin_batch(self) -> None:
        self.batches_in_hand += 1
        self._mapping_room.batches += 1
        self._room.batches += 1

    def end_batch(self) -> None:
        self.batches_in_hand -= 1
        self._mapping_room.batches -= 1
        self._room.batches -= 1
        self._room.changed()
        self._mapping_room.changed()

    def call_next(self) -> None:
        if self._waiting and self.has_room:
            self._waiting.popleft().set()
            self._listen_while_polls_wait()

    def close(self) -> None:
        """Let no poll begin any more. All calls of `begin_poll` that wait return False."""
        self._is_closed = True
        while self._waiting:
            self._waiting.popleft().set()
        self._listen_while_polls_wait()

    def leave(self) -> None:
        """Free the room of all polls and batches of this run, because the run has ended."""
        self._mapping_room.batches -= self.batches_in_hand
        self._room.batches -= self.batches_in_hand
        self._room.short_polls -= max(0, self.polls_in_flight - 1)
        self._count_polls(-self.polls_in_flight)
        self.batches_in_hand = 0
        self._room.changed()
        self._mapping_room.changed()

    def _listen_while_polls_wait(self) -> None:
        """Let the rooms call `call_next` exactly while a poll waits."""
        for room in (self._room, self._mapping_room):
            if self._waiting:
                room.listen(self.call_next)
            else:
                room.stop_listening(self.call_next)

    def _count_polls(self, change: int) -> None:
        self.polls_in_flight += change
        self._room.polls += change
        self._mapping_room.polls += change
