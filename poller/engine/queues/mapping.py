"""How does a mapping of a queue run?  permit -> receive -> filter -> batch -> invoke -> interpret -> delete.

A queue mapping has several tasks, called walkers. Each walker repeats these steps:

    walker:  begin a poll ── gather (receive, filter, batch) ── end the poll ── deliver (invoke, interpret, delete) ─┐
                ^                                                    └ another walker may poll now                   │
                └────────────────────────────────────────────────────────────────────────────────────────────────────┘

One poll is in flight as long as the function has room. If many messages wait, more polls are in flight
(`core/queues/scaling.py`), as many as `permits.py` allows. A walker ends if another walker already waits to poll.
Meanwhile the keeper (`visibility.py`) keeps the messages in hand hidden.

Source: AWS Lambda Developer Guide, "Using Lambda with Amazon SQS".
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import anyio
from anyio.abc import TaskGroup

from poller.core.filtering import RecordFilter
from poller.core.queues.scaling import Concurrency, PollScaling
from poller.engine.queues.delivering import Deliverer
from poller.engine.queues.finishing import Finisher
from poller.engine.queues.gathering import Gatherer
from poller.engine.queues.groups import GroupTurns
from poller.engine.queues.invoking import Invoker
from poller.engine.queues.lookup import QueueLookup
from poller.engine.queues.permits import MappingRoom, Permits
from poller.engine.queues.receiving import Receiver
from poller.engine.queues.releasing import Releaser
from poller.engine.queues.visibility import VisibilityKeeper
from poller.engine.source_health import SourceHealth
from poller.engine.source_pauses import SourcePauses
from poller.engine.stop import Stop
from poller.facts import Emit
from poller.functions.opened import OpenFunction
from poller.functions.telling import Invocations
from poller.model.ids import RequestId
from poller.model.mapping import QueueMapping
from poller.model.status import MappingStatus, QueueStatus
from poller.ports import Clock, QueueSource


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueContext:
    """Everything that a run of a queue mapping needs.

    All runs of the mapping share `room`. All runs of all mappings of the same queue share `groups`.
    """

    mapping: QueueMapping
    function: OpenFunction
    room: MappingRoom
    groups: GroupTurns
    source: QueueSource
    filters: RecordFilter | None
    clock: Clock
    randomness: random.Random
    new_request_id: Callable[[], RequestId]
    emit: Emit
    stop: Stop


class QueueMappingRunner:
    """Runs one queue mapping once, until the stop."""

    def __init__(self, context: QueueContext) -> None:
        mapping, emit, stop = context.mapping, context.emit, context.stop
        room = context.function.room
        concurrency = context.function.definition.reserved_concurrency  # this process may hold no unit of it now
        ceiling = min(concurrency, mapping.maximum_concurrency or concurrency)
        scaling = PollScaling(ceiling=ceiling)
        self.mapping = mapping
        self._context = context
        self._concurrency = Concurrency(ceiling=ceiling)
        self._permits = Permits(room=room, mapping_room=context.room, polls=scaling, concurrency=self._concurrency)
        self._health = SourceHealth(
            mapping=mapping.name,
            source=mapping.event_source_arn,
            clock=context.clock,
            emit=emit,
        )
        pauses = SourcePauses(context.randomness)
        self._invocations = Invocations(
            mapping=mapping.name, function=mapping.function_name, clock=context.clock, emit=emit
        )
        finisher = Finisher(
            mapping=mapping.name, source=context.source, health=self._health, emit=emit, randomness=context.randomness
        )
        self._keeper = VisibilityKeeper(mapping=mapping.name, source=context.source, health=self._health, emit=emit)
        self._lookup = QueueLookup(
            mapping=mapping,
            function=context.function.definition,
            source=context.source,
            keeper=self._keeper,
            health=self._health,
            pauses=pauses,
            emit=emit,
            stop=stop,
        )
        self._releaser = Releaser(
            finisher=finisher,
            keeper=self._keeper,
            function_timeout_in_seconds=context.function.definition.timeout_in_seconds,
        )
        self._receiver = Receiver(
            mapping=mapping.name,
            source=context.source,
            keeper=self._keeper,
            permits=self._permits,
            scaling=scaling,
            health=self._health,
            pauses=pauses,
            stop=stop,
            emit=emit,
            randomness=context.randomness,
        )
        self._gatherer = Gatherer(
            mapping=mapping,
            receiver=self._receiver,
            filters=context.filters,
            keeper=self._keeper,
            finisher=finisher,
            releaser=self._releaser,
            event_limit=context.function.event_limit,
            stop=stop,
            emit=emit,
            randomness=context.randomness,
            new_request_id=context.new_request_id,
        )
        self._deliverer = Deliverer(
            invoker=Invoker(
                mapping=mapping,
                function=context.function,
                invocations=self._invocations,
                concurrency=self._concurrency,
                permits=self._permits,
                units=context.room.units,
                keeper=self._keeper,
                source_clock=context.source.clock,
                emit=emit,
                stop=stop,
            ),
            finisher=finisher,
            keeper=self._keeper,
            releaser=self._releaser,
            groups=context.groups if mapping.is_fifo else None,
            stop=stop,
        )

    async def run(self) -> None:
        """Poll and deliver until the stop.

        At the end, also after an error, return all messages in hand to the queue.
        """
        try:
            if await self._lookup.find():
                await self._work()
        finally:
            try:
                await self._releaser.release_all()
            finally:
                self._permits.leave()

    async def _work(self) -> None:
        """Let the walkers work until the stop.

        Then let them finish their batches, and cancel them when the grace is over.
        """
        async with anyio.create_task_group() as services:
            services.start_soon(self._keeper.run)
            services.start_soon(self._lookup.find_again)
            with anyio.CancelScope() as working:
                services.start_soon(self._obey_the_stop, working)
                async with anyio.create_task_group() as walkers:
                    walkers.start_soon(self._walker, walkers)
            services.cancel_scope.cancel()

    async def _walker(self, walkers: TaskGroup) -> None:
        """Poll and deliver, again and again, until the stop.

        After an unexpected exception, this run of the mapping stops: the other walkers stop polling, and finish their
        batches.
        """
        try:
            await self._walk(walkers)
        except Exception as error:  # a fault of poller must not cancel the batches of the other walkers
            self._context.stop.fail(error)

    async def _walk(self, walkers: TaskGroup) -> None:
        permits = self._permits
        while not self._context.stop.has_begun and not permits.has_waiter and await permits.begin_poll():
            is_delivering = False
            try:
                delivery = await self._gatherer.gather()
                is_delivering = delivery is not None
            finally:
                permits.end_poll(with_batch=is_delivering)
            if delivery is None:
                continue
            try:
                if permits.has_room and not permits.has_waiter:
                    walkers.start_soon(self._walker, walkers)
                await self._deliverer.deliver(delivery)
            except Exception:  # else the messages stay hidden until the other batches of this run have ended
                await self._releaser.release([delivery])
                raise
            finally:
                permits.end_batch()

    async def _obey_the_stop(self, working: anyio.CancelScope) -> None:
        await self._context.stop.draining.wait()
        self._permits.close()
        self._receiver.cut()
        self._context.function.gate.send_home()
        await self._context.stop.releasing.wait()
        working.cancel()

    def held(self) -> tuple[str, ...]:
        """Return the message groups of running batches, for a person. On a standard queue, no later run waits."""
        batches = self._permits.batches_in_hand
        if not (self.mapping.is_fifo and batches):
            return ()
        return (f"the message groups of {batches} {'batch' if batches == 1 else 'batches'}",)

    def status(self) -> MappingStatus:
        health = self._invocations.health.together_with(self._health.health)
        return MappingStatus(
            mapping=self.mapping.name,
            function=self.mapping.function_name,
            source=str(self.mapping.event_source_arn),
            state=health.state,
            reason=health.reason,
            polls_in_flight=self._permits.polls_in_flight,
            batches_in_flight=self._permits.batches_in_hand,
            messages_held=self._keeper.messages_held,
            concurrency_limit=self._permits.limit,
            since=health.since,
            attempt=health.attempt,
            next_try=health.next_try,
            last_error=self._invocations.last_error,
            queue=QueueStatus(self._keeper.oldest_age(self._context.source.clock.now())),
        )
