"""Which event queues are open, and how is each one opened? This module opens them for events.py.

    the daemon's own queue     a file, which stays open until the daemon ends
    an SQS queue               open while runs or senders use it
    a former SQS queue         the same; the settings no longer name it as the event queue of its function

Each queue is opened at its first call (`event_queues/on_demand.py`).
When an SQS queue is opened, the file remembers it. So the daemon still knows the queue when the settings no longer name
it, also after a restart.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup, TaskStatus
from anyio.lowlevel import checkpoint

from poller.aws.clients import Aws, AwsSettings
from poller.core.events.senders import of_sender
from poller.engine.sharing import Shared
from poller.errors import EventQueueRefused, ServiceError, SettingsError
from poller.event_queues.embedded import EmbeddedEventQueue
from poller.event_queues.on_demand import OnDemandEventQueue, unusable
from poller.event_queues.schema import EVENTS
from poller.event_queues.sqs import SqsEventQueue
from poller.facts import Emit, EventFileMigrated, FormerEventQueueForgotten
from poller.model.arn import Arn, queue_url
from poller.model.event import EventQueueDepth, RememberedQueue
from poller.model.function import Function
from poller.model.ids import FunctionName
from poller.ports import Clock, EventQueue
from poller.settings.values import Settings
from poller.sources.sqs import SqsSource

LONGEST_CHECK_IN_SECONDS = 5.0
"""How long the start of the daemon waits for the answers about its SQS queues. We chose it far above SQS's latency."""


class SqsKey(NamedTuple):
    """The values with which an SQS event queue is opened. Two runs with the same key share one open queue."""

    queue: RememberedQueue
    aws: AwsSettings
    is_former: bool


class EventQueues:
    """The event queues of the daemon."""

    def __init__(
        self,
        settings: Callable[[], Settings],
        *,
        open_aws: Callable[[AwsSettings], AbstractAsyncContextManager[Aws]],
        tasks: TaskGroup,
        is_over: anyio.Event,
        clock: Clock,
        emit: Emit,
    ) -> None:
        """`tasks` must outlive all runs. The owner of `tasks` sets `is_over` after the last run."""
        self.own = OnDemandEventQueue(exists=self._file_exists, open_queue=self._open_file)
        self._settings = settings
        self._open_aws = open_aws
        self._tasks = tasks
        self._is_over = is_over
        self._clock = clock
        self._emit = emit
        self._file: EmbeddedEventQueue | None = None
        self._sqs_queues = Shared(self._open_sqs_queue, tasks=tasks)

    def use(self, queue: RememberedQueue, *, is_former: bool = False) -> AbstractAsyncContextManager[EventQueue]:
        """Yield this SQS queue. It stays open while the block lasts."""
        return self._sqs_queues.use(SqsKey(queue, aws_settings(self._settings()), is_former))

    async def check(self) -> None:
        """Raise SettingsError if waiting events could be lost in an SQS queue of the settings.

        If SQS returns another error, or no answer soon, nothing is raised. The runs of the events report that
        error.
        """
        faults: list[str] = []
        with anyio.move_on_after(LONGEST_CHECK_IN_SECONDS):
            async with anyio.create_task_group() as tasks:
                for function in self._settings().functions.values():
                    if function.event_invoke_config.event_queue_arn is not None:
                        tasks.start_soon(self._check, function, function.event_invoke_config.event_queue_arn, faults)
        if faults:
            raise SettingsError(sorted(faults))

    async def _check(self, function: Function, arn: Arn, faults: list[str]) -> None:
        try:
            async with self.use(sqs_queue_of(function, arn)) as queue:
                await queue.depth(function.name)
        except EventQueueRefused as error:
            faults.append(f"functions.{function.name}.event_invoke_config.event_queue_arn: {error}")
        except ServiceError:
            return

    async def in_the_file(self) -> dict[FunctionName, EventQueueDepth]:
        """Return, for each function with events in the file, the number of these events."""
        if not await self._file_exists():
            return {}
        file = await self._opened_file()
        return {name: await file.depth(name) for name in await file.functions()}

    async def former(self) -> list[RememberedQueue]:
        """Return the SQS queues that the settings no longer name as the event queues of their functions.

        Forget the queues that the settings now use for something else, because their messages are no longer
        events.
        """
        if not await self._file_exists():
            return []
        every = await (await self._opened_file()).remembered()
        settings = self._settings()
        queues = [queue for queue in every if not settings.is_event_queue(queue)]
        used = set(_other_uses(settings)) if queues else set()
        for queue in queues:
            if queue.arn in used and await self.forget(queue):
                self._emit(FormerEventQueueForgotten(queue.function, str(queue.arn), "used for something else"))
        return [queue for queue in queues if queue.arn not in used]

    async def depth(self, queue: RememberedQueue) -> EventQueueDepth:
        """Return how many events this former queue has."""
        async with self.use(queue, is_former=True) as opened:
            return await opened.depth(queue.function)

    async def forget(self, queue: RememberedQueue) -> bool:
        """Forget this queue durably. Return False, and remember the queue, if the settings name it again."""
        file = await self._opened_file()
        if self._settings().is_event_queue(queue):  # a reload may have changed this since `former`
            return False
        await file.forget(queue)
        return True

    async def _opened_file(self) -> EmbeddedEventQueue:
        """Return the open file. Raises ServiceError if it cannot be opened."""
        await self.own.opened()
        assert self._file is not None, "it is open now"
        return self._file

    async def _file_exists(self) -> bool:
        """Return whether there is a file of events. Raises Rejected if its path cannot be examined."""
        address = self._settings().daemon.event_queue
        if address is None:
            return False
        try:
            return await anyio.to_thread.run_sync(EVENTS.exists, _path(address))
        except SettingsError as error:
            raise unusable(error) from error

    async def _open_file(self) -> EventQueue:
        self._file = await self._tasks.start(self._keep_file)
        return self._file

    async def _keep_file(self, *, task_status: TaskStatus[EmbeddedEventQueue]) -> None:
        daemon = self._settings().daemon
        assert daemon.event_queue is not None, "without a file no events run"
        queue = EmbeddedEventQueue(
            _path(daemon.event_queue), clock=self._clock, maximum_bytes=daemon.event_queue_maximum_bytes
        )
        async with queue:
            if queue.kept_copy is not None:
                self._emit(EventFileMigrated(event_queue=daemon.event_queue, kept_copy=str(queue.kept_copy)))
            task_status.started(queue)
            await self._is_over.wait()

    @asynccontextmanager
    async def _open_sqs_queue(self, key: SqsKey) -> AsyncIterator[EventQueue]:
        arn, function = key.queue
        async with self._open_aws(key.aws) as aws:

            async def open_queue() -> EventQueue:
                client = await aws.json_client("sqs", region=arn.region)
                url = queue_url(client.endpoint_url, arn)
                source = SqsSource(client, arn=arn, queue_url=url, has_batching_window=False)
                queue = SqsEventQueue(
                    client, source, queue_url=url, function=function, clock=self._clock, of_sender=of_sender
                )
                await queue.describe()
                if not key.is_former:
                    await (await self._opened_file()).remember(key.queue)
                return queue

            yield OnDemandEventQueue(exists=_always, open_queue=open_queue)


class FormerQueuesOf:
    """Implements `engine.events.former.FormerQueues` for one function. `stack` closes the queues."""

    def __init__(self, function: FunctionName, queues: EventQueues, stack: AsyncExitStack) -> None:
        self._function = function
        self._queues = queues
        self._stack = stack
        self._former: dict[Arn, RememberedQueue] = {}

    async def remembered(self) -> Collection[Arn]:
        found = {queue.arn: queue for queue in await self._queues.former() if queue.function == self._function}
        self._former |= found
        return found.keys()

    async def open(self, arn: Arn) -> EventQueue:
        return await self._stack.enter_async_context(self._queues.use(self._former[arn], is_former=True))

    async def forget(self, arn: Arn) -> bool:
        return await self._queues.forget(self._former[arn])


def sqs_queue_of(function: Function, arn: Arn) -> RememberedQueue:
    return RememberedQueue(arn, function.name)


def _other_uses(settings: Settings) -> Iterator[object]:
    """Yield the queues and other resources that the settings name, also the event queues of functions."""
    for queue in settings.queue_mappings:
        yield queue.event_source_arn
    for stream in settings.stream_mappings:
        if stream.on_failure is not None:
            yield stream.on_failure.destination_arn
    for function in settings.functions.values():
        config = function.event_invoke_config
        yield from (config.event_queue_arn, config.on_success, config.on_failure, config.dead_letter_arn)


def aws_settings(settings: Settings) -> AwsSettings:
    daemon = settings.daemon
    return AwsSettings(region=daemon.region, endpoint_url=daemon.endpoint_url, endpoints=daemon.endpoints)


def _path(address: str) -> Path:
    return Path(address.removeprefix("sqlite://"))


async def _always() -> bool:
    await checkpoint()
    return True
