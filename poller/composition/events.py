"""Which objects does a run of a function's asynchronous events need? This module makes them for mappings.py.

    a function's events    the daemon's own queue, perhaps an SQS queue ─┐
                           its destinations and its dead-letter queue ───┴─ the function (mappings.py)

event_queues.py opens the queues.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

import anyio
from anyio.abc import TaskGroup

from poller.aws.clients import Aws, AwsSettings
from poller.aws.kept_client import KeptClient
from poller.composition.event_queues import EventQueues, FormerQueuesOf, aws_settings, sqs_queue_of
from poller.destinations.client import DELIVERY_TIMEOUT_IN_SECONDS
from poller.destinations.eventbridge import EventBridgeDestination
from poller.destinations.function import FunctionDestination
from poller.destinations.lambda_function import LambdaDestination
from poller.destinations.s3 import S3Destination
from poller.destinations.sns import SnsDestination
from poller.destinations.sqs import SqsDestination
from poller.engine.events.accepting import Acceptor
from poller.engine.events.bytes_in_hand import BYTES_OF_THE_PROCESS, BytesInHand
from poller.engine.events.delivering import NamedDestination
from poller.engine.events.mapping import EventContext
from poller.engine.events.orphans import OrphanedEvents
from poller.engine.stop import Stop
from poller.errors import Rejected
from poller.facts import Emit
from poller.functions.opened import OpenFunction
from poller.model.arn import Arn, queue_url, unqualified
from poller.model.event import Delivery
from poller.model.function import EventDestination, Function
from poller.model.ids import FunctionName, RequestId
from poller.model.mapping import EventMapping
from poller.ports import Clock, Destination, EventQueue
from poller.settings.values import Settings
from poller.tracing.wrapping import Tracing

NO_QUEUE = '[daemon] event_queue names no file, and state = "memory:" keeps nothing: there are no asynchronous events'


class EventComposition:
    """Opens the queues and destinations for events, with the settings that are in use at that moment."""

    def __init__(
        self,
        settings: Callable[[], Settings],
        *,
        open_aws: Callable[[AwsSettings], AbstractAsyncContextManager[Aws]],
        tasks: TaskGroup,
        is_over: anyio.Event,
        clock: Clock,
        randomness: random.Random,
        new_request_id: Callable[[], RequestId],
        emit: Emit,
        tracing: Tracing,
    ) -> None:
        """Make a composition. `tasks` must outlive all runs. The owner of `tasks` sets `is_over` after the last run."""
        self._settings = settings
        self._open_aws = open_aws
        self._clock = clock
        self._randomness = randomness
        self._new_request_id = new_request_id
        self._emit = emit
        self._tracing = tracing
        self._bytes_in_hand = BytesInHand(BYTES_OF_THE_PROCESS)
        self.queues = EventQueues(settings, open_aws=open_aws, tasks=tasks, is_over=is_over, clock=clock, emit=emit)
        self.acceptor = Acceptor(queue_of=self.queue_of, clock=clock, emit=emit)
        self.orphans = OrphanedEvents(self.queues, known=lambda: settings().functions, clock=clock, emit=emit)

    async def context(
        self, mapping: EventMapping, function: Function, opened: OpenFunction, stop: Stop, stack: AsyncExitStack
    ) -> EventContext:
        """Return the queues, destinations and settings for a run of the function's events.

        Queues and destinations stay open until the stack is closed.
        """
        sqs_queue = None
        if mapping.event_queue_arn is not None:
            sqs_queue = await stack.enter_async_context(
                self.queues.use(sqs_queue_of(function, mapping.event_queue_arn))
            )
        return EventContext(
            mapping=mapping,
            function=opened,
            definition=function,
            bytes_in_hand=self._bytes_in_hand,
            own_queue=self.queues.own,
            sqs_queue=sqs_queue,
            former_queues=FormerQueuesOf(function.name, self.queues, stack),
            destinations=await self._destinations(function, stack),
            clock=self._clock,
            randomness=self._randomness,
            emit=self._emit,
            stop=stop,
        )

    @asynccontextmanager
    async def queue_of(self, name: FunctionName) -> AsyncIterator[EventQueue]:
        """Yield the queue for new events of a function. Raises Rejected if the settings allow no events."""
        settings = self._settings()
        function = settings.functions.get(name)
        if settings.daemon.event_queue is None:
            raise Rejected(NO_QUEUE, code="NoEventQueue")
        if function is None:
            raise Rejected(f"there is no function {name}", code="NoSuchFunction")
        mapping = EventMapping.of(function)
        if mapping.event_queue_arn is None:
            yield self.queues.own
            return
        async with self.queues.use(sqs_queue_of(function, mapping.event_queue_arn)) as queue:
            yield queue

    async def _destinations(self, function: Function, stack: AsyncExitStack) -> dict[Delivery, NamedDestination]:
        config = function.event_invoke_config
        receivers: dict[Delivery, EventDestination | None] = {
            "on_success": config.on_success,
            "on_failure": config.on_failure,
            "dead_letter": config.dead_letter_arn,
        }
        aws = await stack.enter_async_context(self._open_aws(aws_settings(self._settings())))
        destinations: dict[Delivery, NamedDestination] = {}
        for delivery, receiver in receivers.items():
            match receiver:
                case None:
                    continue
                case Arn():
                    opening = open_destination(receiver, aws, region=receiver.region)
                    destination = await stack.enter_async_context(opening)
                case _:
                    destination = FunctionDestination(
                        receiver, put=self.acceptor.put, clock=self._clock, new_request_id=self._new_request_id
                    )
            name = str(receiver)
            destinations[delivery] = NamedDestination(name, self._tracing.destination(destination, name))
        return destinations


@asynccontextmanager
async def open_destination(
    arn: Arn, aws: Aws, *, region: str, role_arn: str | None = None
) -> AsyncIterator[Destination]:
    """Yield the adapter that sends documents to this AWS resource. `region` is used if the ARN has no region."""
    region = arn.region or region
    if arn.service == "lambda":
        _, _, qualifier = arn.resource.removeprefix("function:").partition(":")
        yield LambdaDestination(
            await aws.invoker(
                str(unqualified(arn)),
                qualifier=qualifier or None,
                timeout_in_seconds=DELIVERY_TIMEOUT_IN_SECONDS,
                region=region,
                role_arn=role_arn,
            )
        )
        return
    async with KeptClient(lambda: aws.client(arn.service, region=region, role_arn=role_arn)) as client:
        match arn.service:
            case "sqs":
                endpoint_url = (await aws.json_client("sqs", region=region, role_arn=role_arn)).endpoint_url
                yield SqsDestination(client, queue_url=queue_url(endpoint_url, arn))
            case "sns":
                yield SnsDestination(client, arn=arn)
            case "s3":
                yield S3Destination(client, arn=arn)
            case "events":
                yield EventBridgeDestination(client, arn=arn)
            case service:
                raise AssertionError(f"open_destination has no case for {service}")
