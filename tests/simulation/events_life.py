"""How is one process simulated that handles the events of a function? By the real engine, until the process ends.

Several processes may run at the same time and share the queues. A crash is like `kill -9`: from then on, no call of the
process reaches the world.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from random import Random
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel

from poller.engine.events.accepting import Acceptor
from poller.engine.events.delivering import NamedDestination
from poller.engine.events.mapping import EventContext, EventMappingRunner
from poller.engine.stop import Stop
from poller.engine.supervised import Runner
from poller.engine.supervisor import Supervisor
from poller.functions.opened import OpenFunction
from poller.model.arn import Arn
from poller.model.event import Event, EventQueueDepth, TakenEvent
from poller.model.function import Function
from poller.model.ids import FunctionName
from poller.model.mapping import AnyMapping, EventMapping
from poller.ports import EventQueue
from tests.fakes.series import FakeSeries
from tests.simulation.events_function import ProcessEventTarget
from tests.simulation.process import Process, ProcessDestination

if TYPE_CHECKING:
    from tests.simulation.events_world import EventsWorld


class ProcessEventQueue:
    """The `ports.EventQueue` with which one process reaches a queue.

    `lost` gets the event of each call that failed, or that the process cancelled.
    """

    def __init__(self, process: Process, queue: EventQueue, lost: list[Event]) -> None:
        self._process = process
        self._queue = queue
        self._lost = lost

    async def put(self, events: Sequence[Event]) -> None:
        with self._noted(*events):
            await self._queue.put(events)

    async def take(self, function: FunctionName, *, count: int, wait_in_seconds: float) -> list[TakenEvent]:
        self._process.check()
        return await self._queue.take(function, count=count, wait_in_seconds=wait_in_seconds)

    async def extend(self, taken: TakenEvent, *, by_seconds: float) -> TakenEvent | None:
        self._process.check()
        return await self._queue.extend(taken, by_seconds=by_seconds)

    async def put_back(self, taken: TakenEvent, event: Event) -> None:
        with self._noted(event):
            await self._queue.put_back(taken, event)

    async def remove(self, taken: TakenEvent) -> None:
        with self._noted(taken.event):
            await self._queue.remove(taken)

    async def depth(self, function: FunctionName) -> EventQueueDepth:
        self._process.check()
        return await self._queue.depth(function)

    @contextmanager
    def _noted(self, *events: Event) -> Iterator[None]:
        try:
            self._process.check()
            yield
        except BaseException:
            self._lost.extend(events)
            raise


class ProcessFormerQueues:
    """The former queues of the function, as `engine.events.former.FormerQueues`."""

    def __init__(self, process: Process, world: EventsWorld) -> None:
        self._process = process
        self._world = world

    async def remembered(self) -> Collection[Arn]:
        await anyio.lowlevel.checkpoint()
        return self._world.former_queues.keys()

    async def open(self, arn: Arn) -> EventQueue:
        await anyio.lowlevel.checkpoint()
        return ProcessEventQueue(self._process, self._world.former_queues[arn], self._world.lost_in_queues)

    async def forget(self, arn: Arn) -> bool:
        await anyio.lowlevel.checkpoint()
        del self._world.former_queues[arn]
        return True


class EventsLife:
    """One process. `number` counts the world's processes from 1."""

    def __init__(self, world: EventsWorld) -> None:
        self.number = len(world.lives) + 1
        self.process = Process(self.number)
        self.stop = Stop()
        self.scope = anyio.CancelScope()
        self.has_begun = anyio.Event()
        self._world = world
        self.function = OpenFunction(world.definition, ProcessEventTarget(self.process, world.function))
        self._own_queue = ProcessEventQueue(self.process, world.own_queue, world.lost_in_queues)
        self._sqs_queue = (
            None if world.sqs_queue is None else ProcessEventQueue(self.process, world.sqs_queue, world.lost_in_queues)
        )
        self.acceptor = Acceptor(queue_of=self._queue_of, clock=world.clock, emit=world.facts.append)
        self.supervisor = Supervisor(
            self._open,
            pauses=world.pauses,
            series=FakeSeries(),
            stop=self.stop,
            grace_in_seconds=world.grace_in_seconds,
            clock=world.clock,
            emit=world.facts.append,
            randomness=Random(world.seed),
        )

    def crash(self) -> None:
        self.process.is_dead = True
        self.scope.cancel()

    async def run(self) -> None:
        async with self.supervisor.running():
            await self.supervisor.add(self._world.mapping, self._world.definition)
            self.supervisor.begin()
            self.has_begun.set()

    @asynccontextmanager
    async def _queue_of(self, function: FunctionName) -> AsyncIterator[EventQueue]:
        await anyio.lowlevel.checkpoint()
        assert function == self._world.definition.name
        yield self._sqs_queue or self._own_queue

    @asynccontextmanager
    async def _open(self, mapping: AnyMapping, function: Function, stop: Stop) -> AsyncIterator[Runner]:
        await anyio.lowlevel.checkpoint()
        assert isinstance(mapping, EventMapping)
        world = self._world
        yield EventMappingRunner(
            EventContext(
                mapping=mapping,
                function=self.function,
                definition=function,
                bytes_in_hand=world.bytes_in_hand,
                own_queue=self._own_queue,
                sqs_queue=self._sqs_queue,
                former_queues=ProcessFormerQueues(self.process, world),
                destinations={
                    delivery: NamedDestination(delivery, ProcessDestination(self.process, destination))
                    for delivery, destination in world.destinations.items()
                },
                clock=world.clock,
                randomness=Random(world.seed + self.number),
                emit=world.facts.append,
                stop=stop,
            )
        )
