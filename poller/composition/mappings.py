"""Which objects does the run of a mapping need? This module makes them, and chooses their classes.

    a mapping of a queue     a source ─────────────────────────────────────────┐
    a mapping of a stream    a source, the worker, a destination ──────────────┼─ a function
    a function's events      their queue, destinations (events.py) ─┘

`Composition.open` makes one run of a mapping for the supervisor, with all that the run needs, and closes it afterwards.
The other compositions make the parts: sources.py, functions.py and worker.py.
Runs share AWS clients: the first run that needs them opens them, and they are closed after the last one.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import NamedTuple, assert_never
from weakref import WeakValueDictionary

import anyio
from anyio.abc import TaskGroup

from poller.aws.clients import Aws, AwsSettings
from poller.composition.event_queues import aws_settings
from poller.composition.events import EventComposition, open_destination
from poller.composition.functions import FunctionComposition, SharedFunction
from poller.composition.sources import SourceComposition, filter_of
from poller.composition.worker import SharedLimit, WorkerComposition
from poller.core.leases.units import limit_of_mapping
from poller.engine.events.mapping import EventMappingRunner
from poller.engine.idle import IdleRunner
from poller.engine.queues.groups import GroupTurns
from poller.engine.queues.mapping import QueueContext, QueueMappingRunner
from poller.engine.queues.permits import MappingRoom
from poller.engine.sharing import Shared
from poller.engine.stop import Stop
from poller.engine.streams.budget import BYTES_OF_THE_PROCESS, Budget
from poller.engine.streams.lane import LaneContext
from poller.engine.streams.mapping import StreamContext, StreamMappingRunner
from poller.engine.supervised import Runner
from poller.facts import Emit
from poller.functions.telling import Invocations
from poller.model.arn import Arn
from poller.model.backlog import QueueDepth
from poller.model.function import Function
from poller.model.ids import MappingName, RequestId
from poller.model.mapping import AnyMapping, EventMapping, QueueMapping, StreamMapping
from poller.model.move import Moved, MoveOrder, StoredPositions
from poller.model.stream import StateKey
from poller.ports import Destination
from poller.settings.values import Settings
from poller.sources.reader_identity import AskedOnce
from poller.stores.lease_by_hand import grouped
from poller.stores.move_orders import listed, ordered
from poller.tracing.wrapping import Tracing


class WallClock:
    """Implements `ports.Clock` with the system's time of day."""

    def now(self) -> float:
        return time.time()


@asynccontextmanager
async def compose(
    settings: Settings,
    *,
    emit: Emit,
    descriptor_limit: int,
    tracing: Tracing | None = None,
    worker_number: int | None = None,
    is_daemon: bool = True,
) -> AsyncIterator[Composition]:
    """Yield a composition. All its runs must have ended before the block is left.

    `descriptor_limit` is the soft limit of open files that child processes get.
    `worker_number` is the number of this process among the workers of one daemon, or None if it has no others.
    `tracing` wraps what the runs open, so that it makes spans; None means no spans.
    `is_daemon` is false for a single call without a daemon. The call does not open the state, so it shares no limit.
    """
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        composition = Composition(
            settings,
            emit=emit,
            tasks=tasks,
            descriptor_limit=descriptor_limit,
            tracing=tracing,
            worker_number=worker_number,
            is_daemon=is_daemon,
        )
        try:
            yield composition
        except Exception as error:  # raised again below: the task group would wrap it
            failure = error
        composition.is_over.set()
    if failure is not None:
        raise failure


class Composition:
    """Opens runs of mappings, with the settings that `use` got last."""

    def __init__(
        self,
        settings: Settings,
        *,
        emit: Emit,
        tasks: TaskGroup,
        descriptor_limit: int,
        tracing: Tracing | None = None,
        worker_number: int | None = None,
        is_daemon: bool = True,
    ) -> None:
        self.settings = settings
        self.randomness = random.Random()
        self.clock = WallClock()
        self.is_over = anyio.Event()
        self._emit = emit
        self._tracing = tracing or Tracing()
        self._budget = Budget(BYTES_OF_THE_PROCESS)
        self._aws = Shared(_open_aws, tasks=tasks)
        self._sources = SourceComposition(self.randomness)
        self._rooms: WeakValueDictionary[tuple[MappingName, bool], MappingRoom] = WeakValueDictionary()
        self._groups: WeakValueDictionary[Arn, GroupTurns] = WeakValueDictionary()
        self.worker = WorkerComposition(
            lambda: self.settings,
            open_aws=self._clients,
            tasks=tasks,
            is_over=self.is_over,
            clock=self.clock,
            randomness=self.randomness,
            emit=emit,
            worker_number=worker_number,
            is_daemon=is_daemon,
        )
        self.functions = FunctionComposition(
            lambda: self.settings,
            open_aws=self._clients,
            worker=self.worker,
            tasks=tasks,
            descriptor_limit=descriptor_limit,
            emit=emit,
            tracing=self._tracing,
        )
        self.events = EventComposition(
            lambda: self.settings,
            open_aws=self._clients,
            tasks=tasks,
            is_over=self.is_over,
            clock=self.clock,
            randomness=self.randomness,
            new_request_id=new_request_id,
            emit=emit,
            tracing=self._tracing,
        )

    @asynccontextmanager
    async def open(self, mapping: AnyMapping, function: Function, stop: Stop) -> AsyncIterator[Runner]:
        """Yield a new run of the mapping, and close afterwards what only this run used.

        Raises PollerError or OSError if the function, a client or the state cannot be opened.
        """
        if function.reserved_concurrency == 0 and not isinstance(mapping, EventMapping):
            yield IdleRunner(mapping, stop=stop, clock=self.clock, emit=self._emit)
            return
        async with AsyncExitStack() as stack:
            aws = await stack.enter_async_context(self._aws.use(aws_settings(self.settings)))
            shared = await stack.enter_async_context(self.functions.use(function))
            match mapping:
                case QueueMapping():
                    room = await self._room(mapping, stack)
                    yield QueueMappingRunner(await self._queue_context(mapping, shared, room, stop, aws))
                case StreamMapping():
                    destination = await stack.enter_async_context(self._destination(mapping, aws))
                    stream = await self._stream_context(mapping, shared, stop, aws, destination)
                    with stream.worker.open_run(mapping.name):
                        yield StreamMappingRunner(stream)
                case EventMapping():
                    context = await self.events.context(mapping, function, shared.opened, stop, stack)
                    yield EventMappingRunner(context)
                case _:
                    assert_never(mapping)

    def use(self, settings: Settings) -> None:
        """Open later runs with these settings. Open runs keep their settings.

        Later child processes get the new environment.
        """
        self.settings = settings
        self.functions.follow_settings()

    def renew(self, function: Function) -> None:
        """Use new child processes for later invocations. Does nothing if no run has opened the function."""
        self.functions.renew(function)

    async def begun(self) -> Collection[StateKey]:
        """Return which mappings have stored positions in which streams. Raises PollerError if the state is unusable."""
        return grouped(await (await self.worker.state()).leases.scan()).keys()

    async def positions(self, mapping: StreamMapping) -> StoredPositions:
        """Return the stored positions of a mapping. Raises the errors of `WorkerComposition.hand`."""
        return listed((await self.worker.hand(mapping)).rows, mapping.state_key)

    async def move(self, mapping: StreamMapping, order: MoveOrder) -> Moved:
        """Move stored positions of a mapping, or only show the effect. Raises the errors of `hand` and `ordered`."""
        hand = await self.worker.hand(mapping)
        return await ordered(hand, mapping.state_key, order, now=self.clock.now(), kcl_table=mapping.kcl_table)

    async def depth_of(self, mapping: QueueMapping) -> QueueDepth:
        """Ask the queue of a mapping how many messages it has. Raises PollerError if it does not answer."""
        async with self._aws.use(aws_settings(self.settings)) as aws:
            return await (await self._sources.queue(mapping, aws.clients)).depth()

    async def _queue_context(
        self, mapping: QueueMapping, function: SharedFunction, room: MappingRoom, stop: Stop, aws: SharedAws
    ) -> QueueContext:
        return QueueContext(
            mapping=mapping,
            function=function.opened,
            room=room,
            groups=self._groups.setdefault(mapping.event_source_arn, GroupTurns()),
            source=self._tracing.queue(await self._sources.queue(mapping, aws.clients), mapping.name),
            filters=filter_of(mapping),
            clock=self.clock,
            randomness=self.randomness,
            new_request_id=new_request_id,
            emit=self._emit,
            stop=stop,
        )

    async def _stream_context(
        self,
        mapping: StreamMapping,
        function: SharedFunction,
        stop: Stop,
        aws: SharedAws,
        destination: Destination | None,
    ) -> StreamContext:
        opened = await self._sources.stream(
            mapping,
            function.opened.definition.kind,
            aws.clients,
            role_of_function=function.role,
            own_identity=aws.identity,
        )
        source = self._tracing.stream(opened, mapping.name, is_kinesis=mapping.is_kinesis)
        lane = LaneContext(
            mapping=mapping,
            function=function.opened,
            invocations=Invocations(
                mapping=mapping.name, function=mapping.function_name, clock=self.clock, emit=self._emit
            ),
            destination=destination,
            clock=self.clock,
            source_clock=source.clock,
            randomness=self.randomness,
            new_request_id=new_request_id,
            emit=self._emit,
            stop=stop,
        )
        state = await self.worker.state()
        if function.opened.capacity.units is not None:
            state.worker.functions[mapping.name] = mapping.function_name
        else:
            state.worker.functions.pop(mapping.name, None)  # the run before may have had a function with a limit
        return StreamContext(
            take_over=partial(state.kcl_tables.use, mapping, failed=stop.fail),
            lane=lane,
            source=source,
            worker=state.worker,
            state=state.address,
            names=lambda: [known.name for known in self.settings.stream_mappings],
            filters=filter_of(mapping),
            budget=self._budget,
        )

    @asynccontextmanager
    async def _destination(self, mapping: StreamMapping, aws: SharedAws) -> AsyncIterator[Destination | None]:
        if mapping.on_failure is None:
            yield None
            return
        arn = mapping.on_failure.destination_arn
        async with open_destination(arn, aws.clients, region=mapping.region, role_arn=mapping.role_arn) as destination:
            yield self._tracing.destination(destination, str(arn))

    @asynccontextmanager
    async def _clients(self, settings: AwsSettings) -> AsyncIterator[Aws]:
        async with self._aws.use(settings) as aws:
            yield aws.clients

    async def _room(self, mapping: QueueMapping, stack: AsyncExitStack) -> MappingRoom:
        """Return the room of a mapping. If other workers share its limit, hold units of it until the stack closes."""
        maximum = mapping.maximum_concurrency if self.worker.shares_limits else None
        room = self._rooms.setdefault((mapping.name, maximum is not None), MappingRoom(maximum))
        if room.units is not None and maximum is not None:
            room.units.want(maximum)
            limit = SharedLimit(limit_of_mapping(mapping.name), room.units)
            await stack.enter_async_context(self.worker.hold(limit))
        return room


class SharedAws(NamedTuple):
    """The AWS clients, and the daemon's own identity."""

    clients: Aws
    identity: AskedOnce


@asynccontextmanager
async def _open_aws(settings: AwsSettings) -> AsyncIterator[SharedAws]:
    async with Aws(settings) as clients:
        yield SharedAws(clients, AskedOnce())


def new_request_id() -> RequestId:
    return RequestId(str(uuid.uuid4()))
