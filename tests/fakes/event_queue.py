"""Which fake replaces an event queue? Events in memory, on a clock that may be virtual.

Requests and answers may get lost.

    put ──(faults, latency)──> waiting ──take──> claimed ──remove──> gone
                                  ^                 │
                                  ├── put_back      │
                                  └── the claim's deadline has passed

Several processes may share one fake. A claim belongs to its handle, and the claims of a crashed process end by
themselves.
A call that is cancelled, or whose answer is lost, has had its effect.
`duplicate_rate` is the chance that an event is taken a second time while it is claimed, as from a standard SQS queue.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count as counter
from math import inf
from random import Random
from typing import Literal, NamedTuple

import anyio

from poller.errors import QueueFull, Rejected
from poller.model.event import MOST_BYTES_TAKEN, Event, EventQueueDepth, TakenEvent
from poller.model.ids import FunctionName
from poller.ports import Clock
from tests.fakes.faults import Fault, FaultPlan

Kind = Literal[
    "put",
    "full",  # a put that was refused
    "taken",
    "extended",
    "put_back",
    "removed",
    "too_late",  # a call with a lost claim, which had no effect
]


class Entry(NamedTuple):
    """One fact of the queue's history. `at` is in epoch seconds, and `event` is the event after the fact.

    `handle` belongs to the claim, and is empty for a put.
    """

    at: float
    kind: Kind
    event: Event
    handle: str = ""


@dataclass(slots=True, eq=False)
class Stored:
    """An event in the queue. It may be taken from `free_at` on (epoch seconds)."""

    event: Event
    free_at: float
    handle: str = ""


class FakeEventQueue:
    """`ports.EventQueue`. The fault plan's operations are its methods.

    `maximum_bytes` bounds the sum of the payloads.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        faults: FaultPlan | None = None,
        claim_in_seconds: float = 60.0,
        maximum_bytes: float = inf,
        duplicate_rate: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.faults = faults or FaultPlan()
        self.maximum_bytes = maximum_bytes
        self.history: list[Entry] = []
        self._clock = clock
        self._claim_in_seconds = claim_in_seconds
        self._duplicate_rate = duplicate_rate
        self._rng = Random(seed)
        self._stored: list[Stored] = []
        self._handles = counter(1)
        self._changed = anyio.Event()

    @property
    def events(self) -> list[Event]:
        """Return all events in the queue, in the order in which they were put."""
        return [stored.event for stored in self._stored]

    def drop_all(self) -> None:
        """Remove all events, as a person does with `poller events drop`."""
        self._stored.clear()

    async def put(self, events: Sequence[Event]) -> None:
        fault = await self._begin("put")
        if any(len(event.payload) > self.maximum_bytes for event in events):
            raise Rejected("an event is larger than the queue", code="EventTooLarge")
        if sum(len(event.payload) for event in [*self.events, *events]) > self.maximum_bytes:
            self.history.extend(Entry(self._clock.now(), "full", event) for event in events)
            raise QueueFull("the queue is full", code="QueueFull", retry_after=1.0)
        for event in events:
            self._stored.append(Stored(event, event.due_at))
            self._note("put", self._stored[-1])
        self._wake()
        await self.faults.way_back(fault)

    async def take(self, function: FunctionName, *, count: int, wait_in_seconds: float) -> list[TakenEvent]:
        assert count > 0
        until = anyio.current_time() + wait_in_seconds
        fault = await self._begin("take")
        while not (taken := self._claim(function, count)) and (left := until - anyio.current_time()) > 0:
            with anyio.move_on_after(min(left, self._seconds_to_the_next(function))):
                await self._changed.wait()
        await self.faults.way_back(fault)
        return taken

    async def extend(self, taken: TakenEvent, *, by_seconds: float) -> TakenEvent | None:
        fault = await self._begin("extend")
        extended = None
        if stored := self._claimed(taken):
            stored.free_at = self._clock.now() + by_seconds
            extended = replace(taken, claimed_until=stored.free_at)
            self._note("extended", stored)
            self._wake()
        await self.faults.way_back(fault)
        return extended

    async def put_back(self, taken: TakenEvent, event: Event) -> None:
        assert event.request_id == taken.event.request_id, "one event cannot become another"
        fault = await self._begin("put_back")
        if stored := self._claimed(taken):
            stored.event, stored.free_at = event, event.due_at
            self._note("put_back", stored)
            stored.handle = ""
            self._wake()
        await self.faults.way_back(fault)

    async def remove(self, taken: TakenEvent) -> None:
        fault = await self._begin("remove")
        if stored := self._claimed(taken):
            self._stored.remove(stored)
            self._note("removed", stored)
        await self.faults.way_back(fault)

    async def depth(self, function: FunctionName) -> EventQueueDepth:
        fault = await self._begin("depth")
        held, now = list(self._of(function)), self._clock.now()
        stuck = sum(bool(stored.event.stuck) for stored in held)
        in_flight = sum(bool(stored.handle) and stored.free_at > now for stored in held)
        depth = EventQueueDepth(
            waiting=len(held) - stuck - in_flight,
            in_flight=in_flight,
            stuck=stuck,
            oldest_accepted_at=min((stored.event.accepted_at for stored in held), default=None),
        )
        await self.faults.way_back(fault)
        return depth

    def _of(self, function: FunctionName) -> Iterator[Stored]:
        return (stored for stored in self._stored if stored.event.function == function)

    def _claim(self, function: FunctionName, count: int) -> list[TakenEvent]:
        now = self._clock.now()
        free = [stored for stored in self._of(function) if not stored.event.stuck and self._is_free(stored, now)]
        free.sort(key=lambda stored: stored.free_at)
        taken: list[TakenEvent] = []
        size = 0
        for stored in free[:count]:
            size += stored.event.size_in_bytes
            if taken and size > MOST_BYTES_TAKEN:
                break
            stored.handle, stored.free_at = str(next(self._handles)), now + self._claim_in_seconds
            taken.append(TakenEvent(event=stored.event, handle=stored.handle, claimed_until=stored.free_at))
            self._note("taken", stored)
        return taken

    def _is_free(self, stored: Stored, now: float) -> bool:
        return stored.free_at <= now or (bool(stored.handle) and self._rng.random() < self._duplicate_rate)

    def _claimed(self, taken: TakenEvent) -> Stored | None:
        """Return the event if the claim is not lost. An ended claim is lost, even if nobody has taken the event."""
        now = self._clock.now()
        for stored in self._stored:
            if stored.handle == taken.handle and now < stored.free_at:
                return stored
        self.history.append(Entry(now, "too_late", taken.event, taken.handle))
        return None

    def _seconds_to_the_next(self, function: FunctionName) -> float:
        times = (stored.free_at for stored in self._of(function) if not stored.event.stuck)
        return min(times, default=inf) - self._clock.now()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    def _note(self, kind: Kind, stored: Stored) -> None:
        self.history.append(Entry(self._clock.now(), kind, stored.event, stored.handle))

    async def _begin(self, operation: str) -> Fault:
        fault = self.faults.draw(operation, anyio.current_time())
        await self.faults.way_there(fault)
        return fault
