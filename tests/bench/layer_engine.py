"""What does the engine cost alone? A mapping's whole run, with a source, a function and telemetry that cost nothing."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence

from poller.aws.clock import ServiceClock
from poller.engine.queues.groups import GroupTurns
from poller.engine.queues.mapping import QueueContext, QueueMappingRunner
from poller.engine.queues.permits import MappingRoom
from poller.engine.stop import Stop
from poller.facts import BatchInvoked, Fact, MessagesDeleted, MessagesReceived
from poller.functions.opened import OpenFunction
from poller.model.arn import Arn
from poller.model.function import Function, LambdaApi
from poller.model.ids import FunctionName, MappingName, RequestId
from poller.model.invocation import Answered, Invocation, Response
from poller.model.mapping import QueueMapping
from poller.model.message import Message, QueueAttributes, RejectedEntry
from poller.telemetry.telemetry import Telemetry
from tests.bench.layer_calls import QUEUE, REGION
from tests.bench.layer_cost import BATCHES, MESSAGES, ROUNDS, SIDE_BY_SIDE, cost

MAPPING = QueueMapping(
    name=MappingName("m"),
    event_source_arn=QUEUE,
    function_name=FunctionName("f"),
    region=REGION,
    report_batch_item_failures=True,
    maximum_concurrency=SIDE_BY_SIDE,
)
FUNCTION = Function(
    name=MAPPING.function_name,
    arn=Arn.parse(f"arn:aws:lambda:{REGION}:000000000000:function:f"),
    kind=LambdaApi(name="f", qualifier=None, region=REGION),
    timeout_in_seconds=30.0,
    reserved_concurrency=SIDE_BY_SIDE,
)


async def engine_cost(received: Sequence[Message]) -> float:
    """Return the cost of a mapping's whole run, with a source, a function and telemetry that cost nothing."""
    best = float("inf")
    for _ in range(ROUNDS):
        source = InstantSource(received)
        runner = QueueMappingRunner(
            QueueContext(
                mapping=MAPPING,
                function=OpenFunction(FUNCTION, InstantTarget()),
                room=MappingRoom(),
                groups=GroupTurns(),
                source=source,
                filters=None,
                clock=source.clock,
                randomness=random.Random(1),
                new_request_id=lambda: RequestId("r"),
                emit=_ignore,
                stop=source.stop,
            )
        )
        began = time.process_time()
        await runner.run()
        best = min(best, time.process_time() - began)
    return best / BATCHES / MESSAGES * 1e6


class InstantSource:
    """A queue that gives the same messages again and again. After the last batch it begins the stop."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self.clock = ServiceClock()
        self.stop = Stop()
        self._messages = list(messages)
        self._batches = 0

    async def describe(self) -> QueueAttributes:
        return QueueAttributes(visibility_timeout_in_seconds=30)

    async def receive(
        self, *, count: int, wait_in_seconds: int, visibility_timeout_in_seconds: int | None
    ) -> list[Message]:
        await asyncio.sleep(0)
        return self._messages

    async def delete(self, messages: Sequence[Message]) -> list[RejectedEntry]:
        self._batches += 1
        if self._batches == BATCHES:
            self.stop.begin()
        return []

    async def change_visibility(self, messages: Sequence[Message], *, timeout_in_seconds: int) -> list[RejectedEntry]:
        return []


class InstantTarget:
    async def invoke(self, invocation: Invocation) -> Response:
        await asyncio.sleep(0)
        return Answered(b'{"batchItemFailures":[]}')


def _ignore(_: Fact) -> None:
    """Count nothing."""


async def facts_cost() -> float:
    telemetry = Telemetry()
    telemetry.begin_mapping(MAPPING.name, MAPPING.function_name, is_stream=False)
    name = MAPPING.name

    async def emit() -> None:
        telemetry.emit(MessagesReceived(name, MESSAGES))
        invoked = BatchInvoked(name, FUNCTION.name, RequestId("r"), "succeeded", MESSAGES, 0, 1, 0.01, 0.1, "", "", "")
        telemetry.emit(invoked)
        telemetry.emit(MessagesDeleted(name, MESSAGES))

    return await cost(emit)
