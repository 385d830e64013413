"""How much work waits for the workers? The daemon's answer to an autoscaler, and to people who look at its queues.

    a mapping of a stream    its status says how far it is behind, and how this has changed since the last question
                             (core/streams/catching_up.py)
    a mapping of a queue     SQS counts the messages; the daemon uses the answer of a queue for KEPT_IN_SECONDS
    a function's events      its status says how many events wait, if the function has any

If nobody asks, the daemon measures nothing and calls no queue.
An autoscaler gets its answer when every queue has answered. When a person looks at the queues, the daemon asks at most
CALLS_OF_A_LOOK of them, first those whose last call was longest ago, and waits for at most LONGEST_LOOK_IN_SECONDS.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from math import inf
from typing import Protocol

import anyio

from poller.core.backlog import Known, KnownDepth, has_work, of_mappings, why_unknown
from poller.core.streams.catching_up import CatchingUp
from poller.errors import PollerError
from poller.model.arn import Arn
from poller.model.backlog import Backlog, QueueDepth, UnknownBacklog
from poller.model.ids import MappingName
from poller.model.mapping import AnyMapping, EventMapping, QueueMapping, StreamMapping
from poller.model.status import EventsStatus, MappingStatus

KEPT_IN_SECONDS = 5.0
"""How long the answer of a queue is used again. SQS's own counts lag by up to a minute."""

CALLS_AT_ONCE = 16
"""How many queues one question asks at the same time. We chose it: an autoscaler waits for only a few seconds."""

CALLS_OF_A_LOOK = 100
"""How many queues one look asks at most. The page is loaded every five seconds: at most 20 calls a second."""

LONGEST_LOOK_IN_SECONDS = 1.0

NOT_ASKED = UnknownBacklog("the queue was not asked yet")
NO_ANSWER = UnknownBacklog(f"GetQueueAttributes: no answer within {LONGEST_LOOK_IN_SECONDS:.0f} s")

AskQueue = Callable[[QueueMapping], Awaitable[QueueDepth]]
"""Asks the queue of a mapping how many messages it has. Raises PollerError."""


class Mappings(Protocol):
    """The mappings that run (`engine.supervisor.Supervisor`)."""

    def mappings(self) -> Sequence[AnyMapping]: ...

    def status(self, name: MappingName) -> MappingStatus: ...


class Backlogs:
    """Answers an autoscaler's questions about the mappings that exist at that moment."""

    def __init__(self, mappings: Mappings, *, ask: AskQueue) -> None:
        self._mappings = mappings
        self._ask = ask
        self._catching_up: dict[MappingName, CatchingUp] = {}
        self._queues: dict[Arn, _Queue] = {}

    async def of_daemon(self) -> Known:
        return await self._of([*self._all(), *self._events()])

    async def of_mapping(self, name: str) -> Known | None:
        """Return the backlog of this mapping, or None if there is no such mapping."""
        return await self._of_some([mapping for mapping in self._all() if mapping.name == name])

    async def of_function(self, name: str) -> Known | None:
        """Return the backlog of the function's events and of all mappings that invoke it; None if there are none."""
        every = [*self._all(), *self._events()]
        return await self._of_some([mapping for mapping in every if mapping.function_name == name])

    async def depths(self) -> Mapping[MappingName, KnownDepth]:
        """Return what the queue of each mapping said last, unless the mapping is disabled. Asks only some queues."""
        self._forget_removed()
        mappings = [each for each in self._all() if isinstance(each, QueueMapping) and each.is_enabled]
        by_arn = {each.event_source_arn: each for each in mappings}
        queues = {arn: self._queue(arn) for arn in by_arn}
        longest_ago = sorted(queues, key=lambda arn: queues[arn].asked_at)[:CALLS_OF_A_LOOK]
        with anyio.move_on_after(LONGEST_LOOK_IN_SECONDS):
            await self._depths_of([by_arn[arn] for arn in longest_ago])
        return {each.name: queues[each.event_source_arn].depth for each in mappings}

    def _all(self) -> list[QueueMapping | StreamMapping]:
        return [mapping for mapping in self._mappings.mappings() if not isinstance(mapping, EventMapping)]

    def _events(self) -> list[EventMapping]:
        """Return the functions' events that are in use."""
        every = [each for each in self._mappings.mappings() if isinstance(each, EventMapping)]
        return [each for each in every if (self._mappings.status(each.name).events or EventsStatus()).is_in_use]

    async def _of_some(self, mappings: Collection[AnyMapping]) -> Known | None:
        return await self._of(mappings) if mappings else None

    async def _of(self, mappings: Collection[AnyMapping]) -> Known:
        self._forget_removed()
        statuses = {mapping.name: self._mappings.status(mapping.name) for mapping in mappings}
        for status in statuses.values():
            if (reason := why_unknown(status)) is not None:
                return UnknownBacklog(reason)
        working = [mapping for mapping in mappings if has_work(statuses[mapping.name])]
        streams = [self._stream(each, statuses[each.name]) for each in working if isinstance(each, StreamMapping)]
        queues = {each.event_source_arn: each for each in working if isinstance(each, QueueMapping)}
        depths = await self._depths_of(queues.values())
        for arn, depth in depths.items():
            if isinstance(depth, UnknownBacklog):
                return UnknownBacklog(f"mapping {queues[arn].name}: {depth.reason}")
        visible = [Backlog(messages_waiting=each.visible) for each in depths.values() if isinstance(each, QueueDepth)]
        events = [each.events for each in statuses.values() if each.events is not None]
        waiting = [Backlog(events_waiting=each.waiting) for each in events]
        return of_mappings([*streams, *visible, *waiting])

    def _stream(self, mapping: StreamMapping, status: MappingStatus) -> Backlog:
        assert status.stream is not None, "the status of a stream mapping"
        chosen = mapping.maximum_batching_window_in_seconds  # records that wait for their batch are not a backlog
        age = max(0.0, status.stream.unblocked_age_in_seconds - chosen)
        catching_up = self._catching_up.setdefault(mapping.name, CatchingUp())
        seconds = catching_up.seconds(age, now=anyio.current_time())
        return Backlog(seconds_to_catch_up=seconds, shards=status.stream.shards_reading)

    async def _depths_of(self, mappings: Iterable[QueueMapping]) -> Mapping[Arn, KnownDepth]:
        """Ask these queues in their order, CALLS_AT_ONCE at the same time."""
        depths: dict[Arn, KnownDepth] = {}
        calls = anyio.Semaphore(CALLS_AT_ONCE)

        async def ask(mapping: QueueMapping) -> None:
            arn = mapping.event_source_arn
            depths[arn] = await self._queue(arn).get(mapping, self._ask)
            calls.release()

        async with anyio.create_task_group() as tasks:
            for mapping in mappings:
                await calls.acquire()
                tasks.start_soon(ask, mapping)
        return depths

    def _queue(self, arn: Arn) -> _Queue:
        return self._queues.setdefault(arn, _Queue())

    def _forget_removed(self) -> None:
        mappings = self._all()
        names, arns = {each.name for each in mappings}, {each.event_source_arn for each in mappings}
        self._catching_up = {name: each for name, each in self._catching_up.items() if name in names}
        self._queues = {arn: each for arn, each in self._queues.items() if arn in arns}


class _Queue:
    """The last answer of one queue. An error is kept like an answer, so that it causes no further calls."""

    def __init__(self) -> None:
        self.depth: KnownDepth = NOT_ASKED
        self.asked_at = -inf
        self._answered_at = -inf
        self._asking = anyio.Lock()

    async def get(self, mapping: QueueMapping, ask: AskQueue) -> KnownDepth:
        try:
            async with self._asking:
                if not self._is_fresh:
                    self.asked_at = anyio.current_time()
                    try:
                        self.depth = await ask(mapping)
                    except PollerError as error:
                        self.depth = UnknownBacklog(f"GetQueueAttributes: {error}")
                    self._answered_at = anyio.current_time()
        except anyio.get_cancelled_exc_class():
            if (
                not self._is_fresh
            ):  # no answer came in time to this question, or to one before it; the next question asks again
                self.depth = NO_ANSWER
            raise
        return self.depth

    @property
    def _is_fresh(self) -> bool:
        return anyio.current_time() - self._answered_at < KEPT_IN_SECONDS
