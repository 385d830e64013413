"""What does a seed for asynchronous events draw? A world: options, faults, processes, and a load of events."""

from __future__ import annotations

from collections import Counter
from random import Random

import anyio
import orjson

from poller.errors import QueueFull, ServiceError
from poller.model.event import Delivery
from poller.model.ids import RequestId
from tests.fakes.clock import VirtualClock
from tests.fakes.destinations import FakeDestination
from tests.fakes.event_queue import FakeEventQueue
from tests.fakes.faults import Fault, FaultPlan, Outage
from tests.simulation.events_checker import Sent, check
from tests.simulation.events_function import EventFunctionPlan
from tests.simulation.events_life import EventsLife
from tests.simulation.events_world import NAME, EventsWorld

TROUBLE_ENDS_AT = 600.0
LONGEST_RUN = 30_000.0


class EventsScenario:
    """The world of a seed, and what happens in it."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        randomness = self._randomness = Random(seed)
        self.is_calm = randomness.random() < 0.3
        clock = VirtualClock()
        rate = 0.0 if self.is_calm else randomness.choice([0.0, 0.05, 0.2])
        self.events = randomness.choice([3, 20, 60])
        has_sqs = randomness.random() < 0.4
        self.world = EventsWorld(
            seed=seed,
            clock=clock,
            plan=self._plan(),
            own_queue=self._queue(clock, rate, maximum_bytes=randomness.choice([200, 1e9])),
            sqs_queue=self._queue(clock, rate, maximum_bytes=1e9) if has_sqs else None,
            destinations=self._destinations(rate),
            concurrency=randomness.choice([1, 3, 20]),
            timeout_in_seconds=200.0,
            grace_in_seconds=randomness.choice([1.0, 30.0]),
            maximum_retry_attempts=randomness.choice([0, 1, 2, None]),
            maximum_event_age_in_seconds=randomness.choice([60, 200, 21_600, None]),
            retry_waits_in_seconds=randomness.choice([(60, 120), (0, 0), (1.5, 7.0)]),
        )
        self.world.has_good_queues = self.is_calm
        is_free = self.events <= self.world.definition.reserved_concurrency
        self.world.has_no_delays = self.is_calm and is_free and self.world.function.plan.throttle_rate == 0
        self.sent: list[Sent] = []

    def _plan(self) -> EventFunctionPlan:
        randomness = self._randomness
        return EventFunctionPlan(
            seed=self.seed,
            duration_in_seconds=(0.0, randomness.choice([0.1, 3.0, 50.0, 200.0])),
            throttle_rate=randomness.choice([0.0, 0.0, 0.1, 0.6]),
            failure_rate=randomness.choice([0.0, 0.3, 0.7]),
            lost_answer_rate=randomness.choice([0.0, 0.1]),
            ends_at=TROUBLE_ENDS_AT,
            poison={f"e{number}" for number in range(60) if randomness.random() < 0.2},
        )

    def _queue(self, clock: VirtualClock, rate: float, *, maximum_bytes: float) -> FakeEventQueue:
        randomness = self._randomness
        return FakeEventQueue(
            clock,
            faults=self._faults(rate),
            claim_in_seconds=randomness.choice([45.0, 60.0]),
            maximum_bytes=maximum_bytes,
            duplicate_rate=0.0 if self.is_calm else randomness.choice([0.0, 0.02]),
            seed=self.seed,
        )

    def _faults(self, rate: float) -> FaultPlan:
        randomness = self._randomness
        outages = []
        if not self.is_calm and randomness.random() < 0.3:
            begins_at = randomness.uniform(0.0, TROUBLE_ENDS_AT / 2)
            fault = randomness.choice([Fault.UNREACHABLE, Fault.ACCESS_DENIED, Fault.THROTTLED])
            outages = [Outage(begins_at, begins_at + randomness.uniform(5, 250), fault)]
        return FaultPlan(
            seed=randomness.randrange(1 << 30),
            latency_in_seconds=(0.0, randomness.choice([0.0, 0.01, 0.3])),
            throttle_rate=rate / 2,
            unreachable_rate=rate / 2,
            lost_answer_rate=rate / 2,
            slow_answer_rate=rate / 2,
            outages=outages,
            ends_at=TROUBLE_ENDS_AT,
        )

    def _destinations(self, rate: float) -> dict[Delivery, FakeDestination]:
        places: tuple[Delivery, ...] = ("on_success", "on_failure", "dead_letter")
        chosen = [place for place in places if self._randomness.random() < 0.6]
        return {place: FakeDestination(faults=self._faults(rate)) for place in chosen}

    async def run(self) -> Counter[str]:
        """Run the processes, check their history, and return how many events were checked in each way."""
        async with anyio.create_task_group() as processes:
            processes.start_soon(self._live_on_and_on, not self.is_calm)
            if self._randomness.random() < 0.4:
                processes.start_soon(self._live_on_and_on, not self.is_calm)
        return check(self.world, self.sent)

    async def _live_on_and_on(self, may_crash: bool) -> None:
        """Run one process after another.

        Some crash, some are stopped, and the last one runs until all events are done.
        """
        randomness = Random(self._randomness.randrange(1 << 30))
        for _ in range(randomness.choice([0, 1, 3])):
            lasts = randomness.uniform(1.0, TROUBLE_ENDS_AT / 3)
            crashes = may_crash and randomness.random() < 0.6

            async def end(life: EventsLife, lasts: float = lasts, crashes: bool = crashes) -> None:
                async with anyio.create_task_group() as senders:
                    senders.start_soon(self._send, life)
                    await anyio.sleep(lasts)
                    if crashes:
                        life.crash()
                    else:
                        life.stop.begin()

            await self.world.live(end)
        await self.world.live(self._until_done)

    async def _until_done(self, life: EventsLife) -> None:
        await self._send(life)
        with anyio.fail_after(LONGEST_RUN):
            while self.world.waiting or anyio.current_time() < TROUBLE_ENDS_AT:  # noqa: ASYNC110
                await anyio.sleep(5.0)
        life.stop.begin()

    async def _send(self, life: EventsLife) -> None:
        randomness = self._randomness
        await life.has_begun.wait()
        while len(self.sent) < self.events and not life.stop.has_begun:
            await anyio.sleep(randomness.uniform(0.0, 10.0))
            await self._send_one(life)

    async def _send_one(self, life: EventsLife) -> None:
        request_id = RequestId(f"e{len(self.sent)}")
        each = Sent(request_id=request_id, sent_at=anyio.current_time(), payload=orjson.dumps(request_id))
        self.sent.append(each)
        try:
            await life.acceptor.accept(NAME, each.payload, request_id=request_id)
        except QueueFull:
            each.was_accepted = False
        except ServiceError as error:
            each.was_accepted = None if getattr(error, "was_sent", False) else False
        else:
            each.was_accepted = True
