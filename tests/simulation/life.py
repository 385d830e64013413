"""How is one process of the daemon simulated?

By the real engine and sources, with all mappings, until the process ends.

A crash is like `kill -9`: from then on, no call of the process reaches the world.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel

from poller.core.filtering import DataKey, RecordFilter, compile_filters
from poller.engine.leases.worker import Worker
from poller.engine.queues.groups import GroupTurns
from poller.engine.queues.mapping import QueueContext, QueueMappingRunner
from poller.engine.queues.permits import MappingRoom
from poller.engine.sharing import Shared
from poller.engine.stop import Stop
from poller.engine.streams.budget import Budget
from poller.engine.streams.lane import LaneContext
from poller.engine.streams.mapping import StreamContext, StreamMappingRunner
from poller.engine.supervised import Runner
from poller.engine.supervisor import Supervisor
from poller.functions.opened import OpenFunction
from poller.functions.telling import Invocations
from poller.model.arn import Arn
from poller.model.function import Function
from poller.model.ids import MappingName, RequestId
from poller.model.lease import Owner
from poller.model.mapping import AnyMapping, QueueMapping, StreamMapping
from poller.model.stream import Checkpoint, ShardId, StateKey
from poller.ports import StreamSource
from poller.sources.pacing import CALLS_IN_A_SECOND, Pace, PacedClient
from poller.sources.receive_attempts import ReceiveAttempts
from poller.sources.sqs import SqsSource
from tests.fakes.clock import SteadyClock
from tests.fakes.series import FakeSeries
from tests.fakes.target import RUN
from tests.simulation.process import (
    Process,
    ProcessClient,
    ProcessDestination,
    ProcessStore,
    ProcessTarget,
    StreamClient,
    WatchedSource,
)

if TYPE_CHECKING:
    from tests.simulation.world import World


class Life:
    """One process of the daemon.

    `stopped_at` is the time at which its stop began. `stored` has the positions that it found in the store.
    """

    def __init__(self, world: World) -> None:
        self.number = len(world.lives) + 1
        self.stop = Stop()
        self.scope = anyio.CancelScope()
        self.process = Process(self.number)
        self.has_begun = anyio.Event()
        self.began_at = anyio.current_time()
        self.stopped_at: float | None = None
        self.ended_at: float | None = None
        self.stored: dict[StateKey, dict[ShardId, Checkpoint]] = {
            key: dict(stored) for key, stored in world.store.stored.items()
        }
        self._runs = 0
        self._request_ids = 0
        self._world = world
        self.budget = Budget(world.budget_in_bytes)
        self.opened: list[tuple[OpenFunction, ProcessTarget]] = []
        """The open functions with their targets, in the order in which they were opened."""
        self._paces = {operation: Pace(operation, world.randomness) for operation in CALLS_IN_A_SECOND}
        self._rooms: defaultdict[MappingName, MappingRoom] = defaultdict(MappingRoom)
        self._functions: Shared[Function, OpenFunction]
        self._groups: defaultdict[Arn, GroupTurns] = defaultdict(GroupTurns)
        self._attempts = ReceiveAttempts()
        self.worker = Worker(
            Owner(f"worker/{self.number:032x}"),
            store=ProcessStore(self.process, world.store),
            clock=SteadyClock(),
            randomness=world.randomness,
            emit=world.note,
            lease_duration=world.lease_duration,
            save_every_seconds=world.lease_duration / 10,
        )
        self.supervisor = Supervisor(
            self._open,
            pauses=world.pauses,
            series=FakeSeries(),
            stop=self.stop,
            grace_in_seconds=world.grace_in_seconds,
            clock=world.clock,
            emit=world.note,
            randomness=world.randomness,
            stop_announced=self.worker.stop_announced if world.streams else anyio.lowlevel.checkpoint,
        )

    @property
    def has_crashed(self) -> bool:
        return self.process.is_dead

    def crash(self) -> None:
        self.process.is_dead = True
        self.scope.cancel()

    def begin_stop(self) -> None:
        self.stopped_at = anyio.current_time()
        self.worker.begin_stop()
        self.stop.begin()

    def function(self, mapping: AnyMapping) -> Function:
        return self._world.functions[mapping.function_name]

    async def run(self) -> None:
        """Run the process until every mapping of the world has stopped."""
        async with anyio.create_task_group() as tasks:
            self._functions = Shared(self._open_function, tasks=tasks)
            async with AsyncExitStack() as stack:
                if self._world.streams:
                    if all(life is self or life.ended_at is not None for life in self._world.lives):
                        self._world.store.opened_alone()
                    await stack.enter_async_context(self.worker.running())
                await stack.enter_async_context(self.supervisor.running())
                for mapping in self._world.all_mappings:
                    await self.supervisor.add(mapping, self.function(mapping))
                self.supervisor.begin()
                self.has_begun.set()

    @asynccontextmanager
    async def _open_function(self, definition: Function) -> AsyncIterator[OpenFunction]:
        await anyio.lowlevel.checkpoint()
        way = ProcessTarget(self.process, self._world.targets[definition.name], crashes=self._world.draw_crash)
        function = OpenFunction(definition, way)
        self.opened.append((function, way))
        yield function

    @asynccontextmanager
    async def _open(self, mapping: AnyMapping, definition: Function, stop: Stop) -> AsyncIterator[Runner]:
        is_changing = definition.name in self._world.changing
        assert is_changing or definition == self.function(mapping), "a run begins with a function that was replaced"
        async with self._functions.use(definition) as function:
            self._runs += 1
            RUN.set(self._runs)
            match mapping:
                case QueueMapping():
                    yield QueueMappingRunner(self._queue_context(mapping, function, stop))
                case StreamMapping():
                    with self.worker.open_run(mapping.name):
                        yield StreamMappingRunner(self._stream_context(mapping, function, stop))

    def _queue_context(self, mapping: QueueMapping, function: OpenFunction, stop: Stop) -> QueueContext:
        world = self._world
        queue = world.queue_of(mapping)
        return QueueContext(
            mapping=mapping,
            function=function,
            room=self._rooms[mapping.name],
            groups=self._groups[mapping.event_source_arn],
            source=SqsSource(
                ProcessClient(self.process, world.sqs, ours=world.clock),
                arn=queue.arn,
                queue_url=world.sqs.url(queue),
                has_batching_window=mapping.maximum_batching_window_in_seconds > 0,
                attempts=self._attempts,
            ),
            filters=_filters(mapping.filters, data_key="body"),
            clock=world.clock,
            randomness=world.randomness,
            new_request_id=partial(self._new_request_id, self._runs),
            emit=world.note,
            stop=stop,
        )

    def _stream_context(self, mapping: StreamMapping, function: OpenFunction, stop: Stop) -> StreamContext:
        world = self._world
        destination = world.destinations.get(mapping.name)
        source = self._source(mapping)
        lane = LaneContext(
            mapping=mapping,
            function=function,
            invocations=Invocations(
                mapping=mapping.name, function=mapping.function_name, clock=world.clock, emit=world.note
            ),
            destination=ProcessDestination(self.process, destination) if destination else None,
            clock=world.clock,
            source_clock=source.clock,
            randomness=world.randomness,
            new_request_id=partial(self._new_request_id, self._runs),
            emit=world.note,
            stop=stop,
        )
        return StreamContext(
            lane=lane,
            source=source,
            worker=self.worker,
            state="memory:",
            names=lambda: [known.name for known in self.supervisor.mappings()],
            filters=_filters(mapping.filters, data_key="data" if mapping.is_kinesis else "dynamodb"),
            budget=self.budget,
            take_over=has_no_kcl_table,
        )

    def _source(self, mapping: StreamMapping) -> StreamSource:
        world = self._world
        client = PacedClient(
            StreamClient(
                self.process,
                world.streams[mapping.event_source_arn].service,
                run=self._runs,
                mapping=mapping.name,
                notes=world.notes,
                ours=world.clock,
            ),
            self._paces["ListShards" if mapping.is_kinesis else "DescribeStream"],
        )
        source = world.source(mapping, client)
        return WatchedSource(self.process, source, run=self._runs, mapping=mapping.name, notes=world.notes)

    def _new_request_id(self, run: int) -> RequestId:
        self._request_ids += 1
        return RequestId(f"{self.number}-{run}-{self._request_ids}")


async def has_no_kcl_table(*, waits: Callable[[str], None]) -> None:
    await anyio.lowlevel.checkpoint()


def _filters(patterns: tuple[str, ...], *, data_key: DataKey) -> RecordFilter | None:
    return compile_filters(patterns, data_key=data_key) if patterns else None
