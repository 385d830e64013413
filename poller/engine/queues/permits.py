"""When may a mapping poll its queue?

A message is received only when there is room to invoke it, so that our own limits never raise its receive count.
Room is counted at three places:

    FunctionRoom   a function's `reserved_concurrency`, shared by every mapping that invokes it
    MappingRoom    one mapping's batches in hand, over all its runs
    Permits        one run: its polls and the mapping's batches in hand together stay within the mapping's concurrency

A mapping's first poll is long and mostly idle, so it does not count against the function: it may begin if fewer batches
are in hand than the function takes, or if this mapping has none.  Further polls are short, and they count.
So an idle queue never takes another mapping's room, and no more batches wait in line than there are mappings.
"""

from __future__ import annotations

from collections import deque

import anyio

from poller.core.queues.scaling import Concurrency, PollScaling
from poller.functions.room import FunctionRoom, Room


class MappingRoom(Room):
    """How many batches a mapping has in hand. An old run may still finish its own while the next one polls."""


class Permits:
    """The polls and batches of one run. One owner, one task group; nothing here is shared between threads."""

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
        room.listen(self.call_next)
        mapping_room.listen(self.call_next)

    @property
    def has_room(self) -> bool:
        if self.polls_in_flight >= self._polls.wanted:
            return False
        batches = self._mapping_room.batches
        if self.polls_in_flight + batches >= self._concurrency.limit:
            return False
        if self.polls_in_flight == 0:
            return self._room.batches < self._room.capacity or batches == 0
        return self._room.batches + self._room.short_polls < self._room.capacity

    @property
    def has_waiter(self) -> bool:
        return bool(self._waiting)

    async def begin_poll(self) -> bool:
        """Wait for room and take it; false once the mapping stops polling."""
        while not self._is_closed and not self.has_room:
            called = anyio.Event()
            self._waiting.append(called)
            try:
                await called.wait()
            except BaseException:
                if called.is_set():
                    self.call_next()
                else:
                    self._waiting.remove(called)
                raise
        if self._is_closed:
            return False
        if self.polls_in_flight:
            self._room.short_polls += 1
        self.polls_in_flight += 1
        return True

    def end_poll(self, *, with_batch: bool) -> None:
        """The poll is over; with a batch, its room goes on to the batch."""
        self.polls_in_flight -= 1
        if self.polls_in_flight:
            self._room.short_polls -= 1
        if with_batch:
            self.begin_batch()
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

    def close(self) -> None:
        """No poll begins any more."""
        self._is_closed = True
        while self._waiting:
            self._waiting.popleft().set()

    def leave(self) -> None:
        """The run has ended; whatever it still counted is given back to the function and to the mapping."""
        self._mapping_room.batches -= self.batches_in_hand
        self._room.batches -= self.batches_in_hand
        self._room.short_polls -= max(0, self.polls_in_flight - 1)
        self.batches_in_hand = self.polls_in_flight = 0
        self._room.stop_listening(self.call_next)
        self._mapping_room.stop_listening(self.call_next)
        self._room.changed()
        self._mapping_room.changed()
