"""How do the asynchronous events of a function run?  permit -> take -> invoke -> interpret -> (wait | end -> deliver).

    taker of each queue ──(permits, pace)── take ──> a task for each event: attempt, deliver, settle
    keeper                                           extends the claims on the events in hand
    watcher                                          reads how many events are stored

An event is in hand from the moment when this run takes it until it is removed or returned to its queue.
The daemon's own queue stores the events of the function. If the function has an SQS queue for its events, the daemon's
own queue stores only the events that SQS cannot keep, and each of the two queues has a taker.
At the stop, the takers end at once, and invocations that run may finish within the grace. After the grace, they are
cancelled, and all events in hand are returned to their queues. An event whose attempt was cancelled does not change.

Source: AWS Lambda Developer Guide, "How Lambda handles errors and retries with asynchronous invocation".
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial

import anyio
from anyio.abc import TaskGroup

from poller.core.backoff import HASTY
from poller.core.events.attempts import EventPolicy
from poller.engine.events.attempting import Attempts
from poller.engine.events.bytes_in_hand import BYTES_OF_A_RUN, BytesInHand
from poller.engine.events.claims import Claim, ClaimKeeper
from poller.engine.events.delivering import Deliverer, NamedDestination
from poller.engine.events.depth import DepthWatch, count, sum_of
from poller.engine.events.former import FormerQueueReader, FormerQueues
from poller.engine.events.health import EventHealth
from poller.engine.events.pace import Pace
from poller.engine.events.permits import EventPermits
from poller.engine.events.settling import Settler
from poller.engine.source_pauses import SourcePauses
from poller.engine.stop import Stop
from poller.errors import ServiceError
from poller.facts import Emit
from poller.functions.health import FunctionHealth
from poller.functions.opened import OpenFunction
from poller.model.event import Delivery, EventQueueDepth
from poller.model.function import EventInvokeConfig, Function
from poller.model.mapping import OWN_QUEUE, EventMapping
from poller.model.status import EventsStatus, MappingStatus
from poller.ports import Clock, EventQueue

WAIT_IN_SECONDS = 20.0
"""How long a take waits for the first event. It is the longest wait of SQS's ReceiveMessage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventContext:
    """Everything that a run of a function's events needs.

    `definition` has the options for events. `function` does not have them, because it stays open when these options
    change.
    `bytes_in_hand` counts the events of all functions.
    `own_queue` is the daemon's own queue. `sqs_queue` is the function's SQS queue for its events, or None.
    `former_queues` are SQS queues that the settings no longer name for the function.
    """

    mapping: EventMapping
    function: OpenFunction
    definition: Function
    bytes_in_hand: BytesInHand
    own_queue: EventQueue
    sqs_queue: EventQueue | None
    former_queues: FormerQueues
    destinations: Mapping[Delivery, NamedDestination]
    clock: Clock
    randomness: random.Random
    emit: Emit
    stop: Stop

    @property
    def queues(self) -> Mapping[str, EventQueue]:
        """Return the queues of the function, by their names in the status."""
        return {OWN_QUEUE: self.own_queue} | ({} if self.sqs_queue is None else {self.mapping.source: self.sqs_queue})


class EventMappingRunner:
    """Runs the events of one function once, until the stop."""

    def __init__(self, context: EventContext) -> None:
        mapping, clock, emit = context.mapping, context.clock, context.emit
        self.mapping = mapping
        self._context = context
        self._pace = Pace(context.randomness)
        self._permits = EventPermits(
            room=context.function.room,
            pace=self._pace,
            bytes_in_hand=BytesInHand(BYTES_OF_A_RUN, context.bytes_in_hand),
            may_run=context.definition.reserved_concurrency > 0,
        )
        self._depths: dict[str, EventQueueDepth] = {}
        self._is_in_use = context.definition.event_invoke_config != EventInvokeConfig()
        self._health = EventHealth(function=mapping.function_name, source=mapping.source, clock=clock, emit=emit)
        self._function_health = FunctionHealth(
            mapping=mapping.name, function=mapping.function_name, clock=clock, emit=emit
        )
        self._keeper = ClaimKeeper(health=self._health, clock=clock, emit=emit)
        self._attempts = Attempts(
            function=context.function,
            policy=EventPolicy.of(context.definition),
            health=self._function_health,
            pace=self._pace,
            clock=clock,
            randomness=context.randomness,
            emit=emit,
            stop=context.stop,
        )
        self._deliverer = Deliverer(
            function=context.definition,
            destinations=context.destinations,
            health=self._health,
            clock=clock,
            randomness=context.randomness,
            emit=emit,
        )
        self._former = FormerQueueReader(
            context.former_queues,
            function=mapping.function_name,
            health=self._health,
            randomness=context.randomness,
            emit=emit,
        )
        self._settler = Settler(
            own_queue=context.own_queue, keeper=self._keeper, health=self._health, randomness=context.randomness
        )

    def held(self) -> tuple[str, ...]:
        return ()

    async def run(self) -> None:
        """Take events and invoke the function with them, until the stop or an error.

        At the end, return all events in hand to their queues.
        """
        self._permits.enter()
        try:
            async with anyio.create_task_group() as services:
                services.start_soon(self._keeper.run)
                with anyio.CancelScope() as working:
                    await self._work(services, working)
                services.cancel_scope.cancel()
        finally:
            try:
                await self._settler.release(list(self._keeper.claims))
            finally:
                self._permits.leave()

    async def _work(self, services: TaskGroup, working: anyio.CancelScope) -> None:
        async with anyio.create_task_group() as events:
            with anyio.CancelScope() as taking:
                services.start_soon(self._obey_the_stop, taking, working)
                async with anyio.create_task_group() as takers:
                    takers.start_soon(self._guarded, partial(self._former.run, partial(self._take, events)))
                    for name, queue in self._context.queues.items():
                        takers.start_soon(self._guarded, partial(self._watch_depth, queue, name))
                        takers.start_soon(self._guarded, partial(self._take, events, queue, name))

    async def _obey_the_stop(self, taking: anyio.CancelScope, working: anyio.CancelScope) -> None:
        stop = self._context.stop
        await stop.draining.wait()
        taking.cancel()
        self._context.function.gate.send_home()
        await stop.releasing.wait()
        working.cancel()

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        """Await this work. If it raises an unexpected exception, stop the run.

        The tasks of the events in hand may finish.
        """
        try:
            await work()
        except Exception as error:  # a fault of poller must not cancel the events in hand
            self._context.stop.fail(error)

    async def _take(self, events: TaskGroup, queue: EventQueue, name: str) -> None:
        """Take events from one queue until cancelled."""
        pauses, hasty = SourcePauses(self._context.randomness), 0
        while True:
            free = await self._permits.some()
            if (pause := self._pace.pause) > 0:
                await anyio.sleep(pause)
                continue
            asked_at = anyio.current_time()
            wait = 0.0 if self._permits.is_without_unit else WAIT_IN_SECONDS
            try:
                taken = await queue.take(self.mapping.function_name, count=free, wait_in_seconds=wait)
            except ServiceError as error:
                pause = pauses.after_failure(error, asked_at=asked_at)
                self._health.queue_failed("take", error, queue=name, retry_in=pause)
                await anyio.sleep(pause)
                continue
            pauses.succeeded()
            self._health.succeeded("take", queue=name)
            for each in taken:
                self._is_in_use = True
                self._permits.begin(each.event.size_in_bytes)
                events.start_soon(self._see_to, self._keeper.hold(queue, each))
            is_hasty = not taken and anyio.current_time() - asked_at < WAIT_IN_SECONDS / 2
            hasty = hasty + 1 if is_hasty else 0
            if is_hasty:  # the queue answered without waiting for an event
                await anyio.sleep(HASTY.delay(hasty, self._context.randomness))

    async def _see_to(self, claim: Claim) -> None:
        """Invoke the function with the event. Deliver an ended event.

        Then remove the event from its queue, or return it.

        After an unexpected exception, the run stops, but the tasks of the other events in hand may finish.
        """
        size = claim.event.size_in_bytes
        try:
            try:
                if claim.event.ending is None:
                    await self._attempts.attempt(claim)
            finally:
                growth = claim.event.size_in_bytes - size
                self._permits.answered(grown_by=growth)
            if claim.event.ending is not None:
                await self._deliverer.deliver(claim)
            await self._settler.settle(claim)
        except Exception as error:  # a fault of poller must not cancel the other events
            self._context.stop.fail(error)
            await self._settler.release([claim])
        finally:
            self._permits.end(size + growth)

    async def _watch_depth(self, queue: EventQueue, name: str) -> None:
        """Read how many events a queue stores, again and again, until cancelled.

        The reads also show whether the queue works.
        """
        watch = DepthWatch(
            queue,
            name,
            function=self.mapping.function_name,
            health=self._health,
            randomness=self._context.randomness,
        )
        while True:
            found = await watch.next()
            self._health.end_old_deliveries()
            if not isinstance(found, ServiceError):
                self._depths[name] = found
                self._is_in_use |= count(found) > 0

    def status(self) -> MappingStatus:
        health = self._function_health.together_with(self._health.health)
        return MappingStatus(
            mapping=self.mapping.name,
            function=self.mapping.function_name,
            source=self.mapping.source,
            state=health.state,
            reason=health.reason,
            polls_in_flight=0,
            batches_in_flight=self._permits.invoking,
            messages_held=self._permits.in_hand,
            concurrency_limit=self._context.function.gate.capacity,
            since=health.since,
            attempt=health.attempt,
            next_try=health.next_try,
            events=self._events_status(),
        )

    def _events_status(self) -> EventsStatus:
        depth = sum_of([*self._depths.values(), *self._former.depths.values()])
        oldest = depth.oldest_accepted_at
        return EventsStatus(
            waiting=depth.waiting,
            in_flight=depth.in_flight,
            stuck=depth.stuck,
            oldest_age_in_seconds=0.0 if oldest is None else max(0.0, self._context.clock.now() - oldest),
            is_in_use=self._is_in_use or self._former.has_queues,
        )
