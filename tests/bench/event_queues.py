"""What does it cost to store an event in an event queue? The queue is in this process, without a daemon.

    accepts       64 senders put events one by one, as fast as they are answered
    whole lives   the same, but each sender waits until one of two takers has removed its event
    naive         64 senders share one connection to SQLite, and each event is inserted and committed by itself

Every put into a file is flushed to the disk before it returns, also the naive ones. The SQS queue is
`servers/canned.py`, in another process. CPU is that of this process, the kernel's share included.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import anyio
from anyio import CapacityLimiter, to_thread

from poller.aws.clients import Aws, AwsSettings
from poller.composition.mappings import WallClock
from poller.core.events.senders import of_sender
from poller.event_queues.embedded import EmbeddedEventQueue
from poller.event_queues.schema import shared
from poller.event_queues.sqs import SqsEventQueue
from poller.model.arn import Arn, queue_url
from poller.model.event import Event
from poller.model.ids import FunctionName, RequestId
from poller.sources.sqs import SqsSource
from tests.bench.processes import CANNED, serving
from tests.bench.rounds import Measured

SENDERS = 64
MAXIMUM_BYTES = 1024 * 1024 * 1024
FUNCTION = FunctionName("resize")
CLOCK = WallClock()
QUEUE = Arn.parse("arn:aws:sqs:us-east-1:000000000000:accepts")

Send = Callable[[Event], Awaitable[None]]


class Case(NamedTuple):
    title: str
    measure: Callable[[Path, int, float], Awaitable[Measured]]
    """Takes a folder on a disk, the size of an event, and for how many seconds to measure."""


def new_event(size: int) -> Event:
    now = CLOCK.now()
    payload = b'"%b"' % (b"x" * (size - 2))
    return Event(
        request_id=RequestId(str(uuid.uuid4())), function=FUNCTION, payload=payload, accepted_at=now, due_at=now
    )


@asynccontextmanager
async def embedded(folder: Path) -> AsyncIterator[tuple[Send, EmbeddedEventQueue]]:
    async with EmbeddedEventQueue(folder / "events.db", clock=CLOCK, maximum_bytes=MAXIMUM_BYTES) as queue:

        async def send(event: Event) -> None:
            await queue.put([event])

        yield send, queue


async def measured(send: Send, size: int, seconds: float) -> Measured:
    """Let the senders send."""
    waits: list[float] = []
    until = time.perf_counter() + seconds

    async def send_on() -> None:
        while (began := time.perf_counter()) < until:
            await send(new_event(size))
            waits.append(time.perf_counter() - began)

    cpu, began = time.process_time(), time.perf_counter()
    async with anyio.create_task_group() as senders:
        for _ in range(SENDERS):
            senders.start_soon(send_on)
    return Measured.of(waits, took=time.perf_counter() - began, cpu=time.process_time() - cpu)


async def accepts(folder: Path, size: int, seconds: float) -> Measured:
    async with embedded(folder) as (send, _):
        return await measured(send, size, seconds)


async def accepts_in_sqs(folder: Path, size: int, seconds: float) -> Measured:
    with serving(CANNED, folder=folder, name="canned") as port:
        settings = AwsSettings(region=QUEUE.region, endpoint_url=f"http://127.0.0.1:{port}")
        async with Aws(settings) as aws:
            client = await aws.json_client("sqs", region=QUEUE.region)
            url = queue_url(client.endpoint_url, QUEUE)
            source = SqsSource(client, arn=QUEUE, queue_url=url, has_batching_window=False)
            queue = SqsEventQueue(client, source, queue_url=url, function=FUNCTION, clock=CLOCK, of_sender=of_sender)
            await queue.describe()

            async def send(event: Event) -> None:
                await queue.put([event])

            return await measured(send, size, seconds)


async def whole_lives(folder: Path, size: int, seconds: float) -> Measured:
    """A sender waits until its event is removed, so that no event is left behind."""
    is_removed: dict[RequestId, anyio.Event] = {}

    async def run(queue: EmbeddedEventQueue) -> None:
        while True:
            taken = await queue.take(FUNCTION, count=SENDERS, wait_in_seconds=20)
            async with anyio.create_task_group() as removes:
                for each in taken:
                    removes.start_soon(queue.remove, each)
            for each in taken:
                is_removed[each.event.request_id].set()

    async with embedded(folder) as (send, queue), anyio.create_task_group() as runners:

        async def send_and_wait(event: Event) -> None:
            removed = is_removed[event.request_id] = anyio.Event()
            await send(event)
            await removed.wait()
            del is_removed[event.request_id]

        for _ in range(2):
            runners.start_soon(run, queue)
        figures = await measured(send_and_wait, size, seconds)
        runners.cancel_scope.cancel()
    return figures


async def naive(folder: Path, size: int, seconds: float) -> Measured:
    limiter = CapacityLimiter(1)
    with shared(folder / "events.db") as file:
        file.execute("CREATE TABLE naive (request_id TEXT, function TEXT, accepted_at REAL, payload BLOB)")

        def insert(event: Event) -> None:
            values = (event.request_id, event.function, event.accepted_at, event.payload)
            file.execute("INSERT INTO naive VALUES (?, ?, ?, ?)", values)  # in autocommit mode: its own transaction

        async def send(event: Event) -> None:
            await to_thread.run_sync(insert, event, limiter=limiter)

        return await measured(send, size, seconds)


CASES = (
    Case("file, accepts", accepts),
    Case("SQS, accepts", accepts_in_sqs),
    Case("file, whole lives", whole_lives),
    Case("file, naive inserts", naive),
)
