"""When may a poll start, and when may a batch be invoked?

A message is received only when there is room to invoke it, so that our own limits never raise its receive count.
Room is counted at two places:

    FunctionGate   a function's `reserved_concurrency`, shared by every mapping that invokes it.
                   Invocations beyond it wait in line, first come first served.
    Permits        one mapping: polls and batches in hand together stay within its concurrency.

A mapping's first poll is a long one and mostly idle, so it does not count against the function: it needs only that
fewer batches are in hand than the function takes, or that this mapping has none.  Further polls are short and count.
So an idle queue never holds another mapping's place, and no more batches wait in line than there are mappings.
"""

from __future__ import annotations

from collections import deque
from types import TracebackType

import anyio

from poller.core.queues.scaling import Concurrency, PollScaling


class FunctionGate:
    """`async with gate:` around each invocation; at most `capacity` are inside at once."""

    def __init__(self, capacity: int) -> None:
        assert capacity >= 1, capacity
        self.capacity = capacity
        self.running = 0
        self.batches = 0
        self.short_polls = 0
        self._line: deque[anyio.Event] = deque()
        self._mappings: list[Permits] = []

    async def __aenter__(self) -> None:
        if self.running < self.capacity:
            assert not self._line, "nobody stands in line while there is room"
            self.running += 1
            return
        called = anyio.Event()
        self._line.append(called)
        try:
            await called.wait()
        except BaseException:
            if called.is_set():
                self._leave()
            else:
                self._line.remove(called)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        """Hand the place to the first in line; only with nobody there does it become free."""
        if self._line:
            self._line.popleft().set()
        else:
            self.running -= 1

    def joined_by(self, permits: Permits) -> None:
        self._mappings.append(permits)

    def left_by(self, permits: Permits) -> None:
        self._mappings.remove(permits)

    def room_changed(self) -> None:
        for permits in self._mappings:
            permits.call_next()


class Permits:
    """The polls and batches of one mapping. One owner, one task group; nothing here is shared between threads."""

    def __init__(self, *, gate: FunctionGate, polls: PollScaling, concurrency: Concurrency) -> None:
        self.polls_in_flight = 0
        self.batches_in_hand = 0
        self._gate = gate
        self._polls = polls
        self._concurrency = concurrency
        self._waiting: deque[anyio.Event] = deque()
        self._is_closed = False
        gate.joined_by(self)

    @property
    def has_room(self) -> bool:
        if self.polls_in_flight >= self._polls.wanted:
            return False
        if self.polls_in_flight + self.batches_in_hand >= self._concurrency.limit:
            return False
        if self.polls_in_flight == 0:
            return self._gate.batches < self._gate.capacity or self.batches_in_hand == 0
        return self._gate.batches + self._gate.short_polls < self._gate.capacity

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
            self._gate.short_polls += 1
        self.polls_in_flight += 1
        return True

    def end_poll(self, *, with_batch: bool) -> None:
        """The poll is over; with a batch, its room goes on to the batch."""
        self.polls_in_flight -= 1
        if self.polls_in_flight:
            self._gate.short_polls -= 1
        if with_batch:
            self.begin_batch()
        self._gate.room_changed()

    def begin_batch(self) -> None:
        self.batches_in_hand += 1
        self._gate.batches += 1

    def end_batch(self) -> None:
        self.batches_in_hand -= 1
        self._gate.batches -= 1
        self._gate.room_changed()

    def call_next(self) -> None:
        if self._waiting and self.has_room:
            self._waiting.popleft().set()

    def close(self) -> None:
        """No poll begins any more."""
        self._is_closed = True
        while self._waiting:
            self._waiting.popleft().set()

    def leave(self) -> None:
        """The mapping ended; whatever it still counted is given back to the function."""
        self._gate.batches -= self.batches_in_hand
        self._gate.short_polls -= max(0, self.polls_in_flight - 1)
        self.batches_in_hand = self.polls_in_flight = 0
        self._gate.left_by(self)
        self._gate.room_changed()
