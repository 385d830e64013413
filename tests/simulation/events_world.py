"""What surrounds the processes that handle a function's events?

Queues, a function and destinations, which outlive them.

    senders ──put──> the event queue ──> one process after another, or two at once ──> function, destinations

Everything waits on a virtual clock, and all faults are drawn from the seed.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, TypeVar

import anyio

from poller.engine.events.bytes_in_hand import BYTES_OF_THE_PROCESS, BytesInHand
from poller.facts import Fact
from poller.model.arn import Arn
from poller.model.event import Delivery, Event
from poller.model.function import EventInvokeConfig, Function, HttpService
from poller.model.ids import FunctionName
from poller.model.mapping import EventMapping
from tests.fakes.clock import VirtualClock
from tests.fakes.destinations import FakeDestination
from tests.fakes.event_queue import FakeEventQueue
from tests.fakes.pauses import FakePauses
from tests.simulation.events_function import EventFunction, EventFunctionPlan
from tests.simulation.events_life import EventsLife
from tests.simulation.process import Killed

F = TypeVar("F")

NAME = FunctionName("process_csv")
PLACE = Arn.parse("arn:aws:sqs:eu-west-1:123456789012:place")


class EventsWorld:
    """The world of one function. `facts` has the facts of all processes, in order."""

    def __init__(
        self,
        *,
        seed: int = 0,
        clock: VirtualClock | None = None,
        plan: EventFunctionPlan | None = None,
        own_queue: FakeEventQueue | None = None,
        sqs_queue: FakeEventQueue | None = None,
        destinations: dict[Delivery, FakeDestination] | None = None,
        concurrency: int = 10,
        timeout_in_seconds: float = 10.0,
        grace_in_seconds: float = 30.0,
        bytes_in_hand: BytesInHand | None = None,
        **config: Any,
    ) -> None:
        """Make a world. `config` are fields of EventInvokeConfig, without the destinations, which are added here."""
        self.seed = seed
        self.clock = clock or VirtualClock()
        self.randomness = Random(seed)
        self.own_queue = own_queue or FakeEventQueue(self.clock)
        self.sqs_queue = sqs_queue
        self.function = EventFunction(plan)
        self.former_queues: dict[Arn, FakeEventQueue] = {}
        self.destinations = destinations or {}
        self.grace_in_seconds = grace_in_seconds
        self.bytes_in_hand = bytes_in_hand or BytesInHand(BYTES_OF_THE_PROCESS)
        self.pauses = FakePauses()
        self.facts: list[Fact] = []
        self.lives: list[EventsLife] = []
        self.has_good_queues = False
        """True if every call to the queues succeeds, so that no claim may be lost."""
        self.has_no_delays = False
        """True if only the work of the function can delay an event."""
        self.lost_in_queues: list[Event] = []
        """The event of each call to a queue that failed or was cancelled."""
        self.definition = Function(
            name=NAME,
            arn=Arn.parse(f"arn:aws:lambda:eu-west-1:123456789012:function:{NAME}"),
            kind=HttpService(urls=("http://function.fake",)),
            timeout_in_seconds=timeout_in_seconds,
            reserved_concurrency=concurrency,
            event_invoke_config=EventInvokeConfig(
                on_success=PLACE if "on_success" in self.destinations else None,
                on_failure=PLACE if "on_failure" in self.destinations else None,
                dead_letter_arn=PLACE if "dead_letter" in self.destinations else None,
                **config,
            ),
        )
        self.mapping = EventMapping(function_name=NAME, event_queue_arn=None if sqs_queue is None else PLACE)

    @property
    def retries(self) -> int:
        stated = self.definition.event_invoke_config.maximum_retry_attempts
        return 2 if stated is None else stated

    @property
    def maximum_age(self) -> int:
        return self.definition.event_invoke_config.maximum_event_age_in_seconds or 21_600

    @property
    def queues(self) -> list[FakeEventQueue]:
        return [self.own_queue] if self.sqs_queue is None else [self.own_queue, self.sqs_queue]

    @property
    def waiting(self) -> list[str]:
        """Return the request ids of all events in the queues that are not stuck."""
        return [event.request_id for queue in self.queues for event in queue.events if not event.stuck]

    def facts_of(self, kind: type[F]) -> list[F]:
        return [fact for fact in self.facts if isinstance(fact, kind)]

    async def live(self, until: Callable[[EventsLife], Coroutine[Any, Any, None]]) -> EventsLife:
        """Run one process from its start to its end.

        `until` runs at the same time, and ends it by `crash` or by its stop.
        """
        life = EventsLife(self)
        self.lives.append(life)
        try:
            with life.scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(until, life)
                    await life.run()
                    group.cancel_scope.cancel()
        except* Killed:
            assert life.process.is_dead
        return life
