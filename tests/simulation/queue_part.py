"""What does a seed for queues draw? A world: queues, functions, options, faults, crashes and a load of messages.

Each seed draws one shape. A violation prints the shape, so that a person can read it before a replay.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import anyio
import orjson

from poller.facts import BatchInvoked
from poller.model.mapping import QueueMapping, RedeliveryBackoff
from tests.fakes.faults import Fault, FaultPlan, Outage
from tests.fakes.queue import FakeQueue
from tests.fakes.target import FunctionPlan
from tests.simulation import checker
from tests.simulation.life import Life
from tests.simulation.scenario import Load, Shape
from tests.simulation.streams import CANARY
from tests.simulation.world import World, draw_clock

FILTER = '{"body": {"kind": ["order"]}}'
TROUBLE_ENDS_AT = 400.0
REDELIVERY_SLACK_IN_SECONDS = 3.0
"""How late a message may become visible: a timeout has whole seconds, and two calls before it take 0.2 s each."""


@dataclass(frozen=True, kw_only=True)
class QueueShape(Shape):
    """The shape of a seed. With `is_calm`, SQS answers every call and nothing crashes.

    Only the function and poller's limits cause trouble.
    """

    is_calm: bool
    messages: int
    mappings: int
    concurrency: int


def draw(seed: int) -> QueueShape:
    randomness = Random(seed)
    is_calm = randomness.random() < 0.35
    moments = sorted(randomness.uniform(1.0, TROUBLE_ENDS_AT) for _ in range(randomness.choice([0, 1, 2, 3])))
    return QueueShape(
        seed=seed,
        is_calm=is_calm,
        ends=tuple((at, "crash" if not is_calm and randomness.random() < 0.6 else "stop") for at in moments),
        messages=randomness.choice([5, 40, 120, 300]),
        mappings=randomness.choice([1, 1, 2, 3]),
        concurrency=randomness.choice([1, 2, 5, 20]),
        clock=draw_clock(Random(seed + 2), TROUBLE_ENDS_AT),
    )


class Queues:
    """The queues of a shape in a world of their own, with one function for all mappings."""

    def __init__(self, shape: QueueShape) -> None:
        self.shape = shape
        self.load: Load = []
        self._matching: dict[str, bool] = {}
        randomness = Random(shape.seed + 1)
        self.world = World(
            seed=shape.seed, faults=self._faults(randomness), grace_in_seconds=randomness.choice([0.5, 5.0, 60.0])
        )
        plan = self._function_plan(randomness)
        self.timeout = randomness.choice([2.0, 10.0, 60.0])
        plan.duration_in_seconds = (0.0, randomness.choice([0.05, 1.0, self.timeout]))
        self.plan = plan
        self.target = self.world.add_function(
            "function", plan, timeout_in_seconds=self.timeout, concurrency=shape.concurrency
        )
        for number in range(shape.mappings):
            self._add_mapping(number, randomness)
        if not shape.is_calm:  # on a FIFO queue, a half that fails keeps the function from getting later messages
            plan.largest_event = Random(shape.seed + 2).choice([None, None, 1_500, 4_000])

    def _faults(self, randomness: Random) -> FaultPlan:
        if self.shape.is_calm:
            return FaultPlan(seed=self.shape.seed, latency_in_seconds=(0.0, randomness.choice([0.0, 0.01, 0.1])))
        rate = randomness.choice([0.0, 0.02, 0.1, 0.3])
        outages = []
        if randomness.random() < 0.3:
            begins_at = randomness.uniform(0, TROUBLE_ENDS_AT / 2)
            fault = randomness.choice([Fault.UNREACHABLE, Fault.ACCESS_DENIED, Fault.THROTTLED, Fault.NOT_FOUND])
            outages = [Outage(begins_at, begins_at + randomness.uniform(5, 150), fault)]
        return FaultPlan(
            seed=self.shape.seed,
            latency_in_seconds=(0.0, randomness.choice([0.0, 0.01, 0.3])),
            throttle_rate=rate / 2,
            unreachable_rate=rate / 2,
            lost_answer_rate=rate / 2,
            slow_answer_rate=rate / 2,
            slow_answer_in_seconds=randomness.choice([1.0, 5.0, 12.0]),
            entry_failure_rate=rate / 2,
            ghost_rate=randomness.choice([0.0, 0.5]),
            outages=outages,
            ends_at=TROUBLE_ENDS_AT,
        )

    def _function_plan(self, randomness: Random) -> FunctionPlan:
        trouble = randomness.choice([0.0, 0.05, 0.3])
        return FunctionPlan(
            seed=self.shape.seed,
            throttle_rate=randomness.choice([0.0, 0.1, 0.6]),
            failure_rate=trouble / 2,
            lost_answer_rate=trouble / 4,
            item_failure_rate=trouble / 2,
            names_failures=randomness.random() < 0.6,
            ends_at=TROUBLE_ENDS_AT,
        )

    def _add_mapping(self, number: int, randomness: Random) -> None:
        is_fifo = randomness.random() < 0.55
        ending = ".fifo" if is_fifo else ""
        has_poison = randomness.random() < 0.3
        settings: dict[str, Any] = {
            "visibility_timeout_in_seconds": randomness.choice([0, 5, 12, 30, 65, 120])
            if not self.shape.is_calm
            else 30,
            "short_receive_rate": randomness.choice([0.0, 0.5]),
        }
        if not self.shape.is_calm:
            settings |= {
                "duplicate_rate": randomness.choice([0.0, 0.05]),
                "undeleted_rate": randomness.choice([0.0, 0.05]),
            }
        if has_poison or randomness.random() < 0.3:
            settings["dead_letter_queue"] = self.world.add_queue(f"dead-{number}{ending}")
            settings["maximum_receive_count"] = randomness.choice([2, 3, 5])
        queue = self.world.add_queue(f"queue-{number}{ending}", **settings)
        has_window = not is_fifo and randomness.random() < 0.4
        self.world.add_mapping(
            f"mapping-{number}",
            queue,
            "function",
            batch_size=randomness.choice([11, 50, 1000])
            if has_window and randomness.random() < 0.5
            else randomness.choice([1, 3, 10]),
            maximum_batching_window_in_seconds=randomness.choice([1, 5, 40]) if has_window else 0,
            filters=(FILTER,) if randomness.random() < 0.4 else (),
            report_batch_item_failures=self.plan.names_failures,
            maximum_concurrency=randomness.choice([None, None, 1, 3]),
            redelivery_backoff=Random(self.shape.seed + 3 + number).choice(
                [None, None, RedeliveryBackoff(initial_in_seconds=2, maximum_in_seconds=60)]
            ),
        )
        groups = randomness.choice([1, 3, 20])
        for _ in range(self.shape.messages):
            at = randomness.choice([0.0, randomness.uniform(0, 30), randomness.uniform(0, TROUBLE_ENDS_AT)])
            group = f"g{randomness.randrange(groups)}" if is_fifo else None
            is_poison = has_poison and randomness.random() < 0.05
            is_order = randomness.random() < 0.7
            self.load.append((at, self._sending(queue, group=group, is_order=is_order, is_poison=is_poison)))

    def _sending(self, queue: FakeQueue, *, group: str | None, is_order: bool, is_poison: bool) -> Callable[[], None]:
        def send() -> None:
            body = orjson.dumps({"kind": "order" if is_order else "other", "secret": CANARY}).decode()
            deduplication_id = str(len(self._matching)) if group is not None else None
            message_id = self.world.sqs.send(queue, body, group=group, deduplication_id=deduplication_id)
            self._matching[message_id] = is_order
            if is_poison:
                self.plan.poison.add(message_id)

        return send

    def is_quiet(self) -> bool:
        return not any(self.world.queue_of(mapping).message_ids for mapping in self.world.mappings)

    def check_life(self, life: Life) -> None:
        if life.has_crashed or not self.shape.is_calm:
            return
        for mapping in self.world.mappings:
            checker.check_given_back(self.world.queue_of(mapping), self.world.calls_of(mapping), anyio.current_time())

    def check(self) -> None:
        for mapping in self.world.mappings:
            queue, matches = self.world.queue_of(mapping), self._matches(mapping)
            calls = self.world.calls_of(mapping)
            checker.check_queue(queue, calls, matches)
            if self.shape.is_calm:
                checker.check_every_receive_is_invoked(queue, calls, matches)
                if mapping.redelivery_backoff is None:
                    checker.check_failed_messages_come_again_in_time(
                        queue, calls, timeout_in_seconds=self.timeout, slack_in_seconds=REDELIVERY_SLACK_IN_SECONDS
                    )
                else:
                    checker.check_failed_messages_come_again_by_backoff(
                        queue,
                        calls,
                        mapping.redelivery_backoff,
                        timeout_in_seconds=self.timeout,
                        slack_in_seconds=REDELIVERY_SLACK_IN_SECONDS,
                    )
                if queue.is_fifo:
                    checker.check_groups_are_shown_in_order(queue, calls, matches)
            most = min(self.shape.concurrency, mapping.maximum_concurrency or self.shape.concurrency)
            assert self.target.most_running_of.get(mapping.name, 0) <= most, "the mapping's maximum concurrency"
        checker.check_ages(self.world.facts_of(BatchInvoked), anyio.current_time())

    def _matches(self, mapping: QueueMapping) -> Callable[[str], bool]:
        return self._matching.__getitem__ if mapping.filters else lambda _: True
