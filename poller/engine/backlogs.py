"""How much work waits for the workers? The daemon's answer to an autoscaler.

    a mapping of a stream    its status says how far it is behind, and how this has changed since the last question
                             (core/streams/catching_up.py)
    a mapping of a queue     SQS counts the messages: one call at a time, whose answer is kept for KEPT_IN_SECONDS

If nobody asks, the daemon measures nothing and calls no queue.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from math import inf
from typing import Protocol

import anyio

from poller.core.backlog import Known, has_work, of_mappings, why_unknown
from poller.core.streams.catching_up import CatchingUp
from poller.errors import PollerError
from poller.model.arn import Arn
from poller.model.backlog import Backlog, UnknownBacklog
from poller.model.ids import MappingName
from poller.model.mapping import AnyMapping, EventMapping, QueueMapping, StreamMapping
from poller.model.status import MappingStatus

KEPT_IN_SECONDS = 5.0
"""How long the answer of a queue is used again. SQS's own counts lag by up to a minute."""

CALLS_AT_ONCE = 16
"""How many queues one question asks at the same time. We chose it: an autoscaler waits for only a few seconds."""

CountMessages = Callable[[QueueMapping], Awaitable[int]]
"""Asks the queue of a mapping how many messages wait. Raises PollerError."""


class Mappings(Protocol):
    """The mappings that run (`engine.supervisor.Supervisor`)."""

    def mappings(self) -> Sequence[AnyMapping]: ...

    def status(self, name: MappingName) -> MappingStatus: ...


class Backlogs:
    """Answers an autoscaler's questions about the mappings that exist at that moment."""

    def __init__(self, mappings: Mappings, *, count_messages: CountMessages) -> None:
        self._mappings = mappings
        self._count_messages = count_messages
        self._catching_up: dict[MappingName, CatchingUp] = {}
        self._counts: dict[Arn, _Count] = {}

    async def of_daemon(self) -> Known:
        return await self._of(self._all())

    async def of_mapping(self, name: str) -> Known | None:
        """Return the backlog of this mapping, or None if there is no such mapping."""
        return await self._of_some([mapping for mapping in self._all() if mapping.name == name])

    async def of_function(self, name: str) -> Known | None:
        """Return the backlog of all mappings that invoke the function; None if there are none."""
        return await self._of_some([mapping for mapping in self._all() if mapping.function_name == name])

    def _all(self) -> list[QueueMapping | StreamMapping]:
        return [mapping for mapping in self._mappings.mappings() if not isinstance(mapping, EventMapping)]

    async def _of_some(self, mappings: Collection[QueueMapping | StreamMapping]) -> Known | None:
        return await self._of(mappings) if mappings else None

    async def _of(self, mappings: Collection[QueueMapping | StreamMapping]) -> Known:
        self._forget_removed()
        statuses = {mapping.name: self._mappings.status(mapping.name) for mapping in mappings}
        for status in statuses.values():
            if (reason := why_unknown(status)) is not None:
                return UnknownBacklog(reason)
        working = [mapping for mapping in mappings if has_work(statuses[mapping.name])]
        streams = [self._stream(each, statuses[each.name]) for each in working if isinstance(each, StreamMapping)]
        queues = {each.event_source_arn: each for each in working if isinstance(each, QueueMapping)}
        counts = await self._counts_of(queues.values())
        for count in counts:
            if isinstance(count, UnknownBacklog):
                return count
        return of_mappings([*streams, *(count for count in counts if isinstance(count, Backlog))])

    def _stream(self, mapping: StreamMapping, status: MappingStatus) -> Backlog:
        assert status.stream is not None, "the status of a stream mapping"
        chosen = mapping.maximum_batching_window_in_seconds  # records that wait for their batch are no backlog
        age = max(0.0, status.stream.unblocked_age_in_seconds - chosen)
        catching_up = self._catching_up.setdefault(mapping.name, CatchingUp())
        seconds = catching_up.seconds(age, now=anyio.current_time())
        return Backlog(seconds_to_catch_up=seconds, shards=status.stream.shards_reading)

    async def _counts_of(self, mappings: Iterable[QueueMapping]) -> list[Known]:
        counts: list[Known] = []
        at_once = anyio.CapacityLimiter(CALLS_AT_ONCE)

        async def ask(mapping: QueueMapping) -> None:
            count = self._counts.setdefault(mapping.event_source_arn, _Count())
            async with at_once:
                counts.append(await count.get(mapping, self._count_messages))

        async with anyio.create_task_group() as tasks:
            for mapping in mappings:
                tasks.start_soon(ask, mapping)
        return counts

    def _forget_removed(self) -> None:
        mappings = self._all()
        names, arns = {each.name for each in mappings}, {each.event_source_arn for each in mappings}
        self._catching_up = {name: each for name, each in self._catching_up.items() if name in names}
        self._counts = {arn: each for arn, each in self._counts.items() if arn in arns}


class _Count:
    """The last answer of one queue. An error is kept like an answer, so that it causes no further calls."""

    def __init__(self) -> None:
        self._answer: Known = Backlog()
        self._answered_at = -inf
        self._asking = anyio.Lock()

    async def get(self, mapping: QueueMapping, count_messages: CountMessages) -> Known:
        async with self._asking:
            if anyio.current_time() - self._answered_at >= KEPT_IN_SECONDS:
                try:
                    self._answer = Backlog(messages_waiting=await count_messages(mapping))
                except PollerError as error:
                    self._answer = UnknownBacklog(f"mapping {mapping.name}: GetQueueAttributes: {error}")
                self._answered_at = anyio.current_time()
            return self._answer
