"""What does an asynchronous event cost? Run by hand: `python tests/bench/events.py [FOLDER]`; the folder is on a disk.

    accepts         64 senders put events one by one into the embedded queue, as fast as they are answered
    whole lives     the same, but each sender waits until one of two takers has removed its event
    naive           64 senders share one connection, and each event is inserted and committed by itself

Every put is flushed to the disk before it returns, also the naive ones. CPU is that of the whole process, the kernel's
share included; the disk decides about the latency.
"""

from __future__ import annotations

import os
import sqlite3
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import anyio
from anyio import CapacityLimiter, to_thread

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from poller.composition import WallClock
from poller.event_queues.embedded import EmbeddedEventQueue
from poller.event_queues.schema import shared
from poller.model.event import Event
from poller.model.ids import FunctionName, RequestId
from tests.bench.machine import described

SENDERS = 64
SECONDS = 3.0
ROUNDS = 3
SIZES = (200, 10_000)
MAXIMUM_BYTES = 1024 * 1024 * 1024
FUNCTION = FunctionName("resize")
CLOCK = WallClock()

Send = Callable[[Event], Awaitable[None]]


class Measured(NamedTuple):
    """Figures of one round. `p50` and `p99` are the seconds that a sender waited."""

    events_per_second: float
    cpu_per_event: float
    p50: float
    p99: float


def new_event(payload: bytes) -> Event:
    now = CLOCK.now()
    return Event(
        request_id=RequestId(str(uuid.uuid4())), function=FUNCTION, payload=payload, accepted_at=now, due_at=now
    )


@asynccontextmanager
async def embedded(folder: Path) -> AsyncIterator[tuple[Send, EmbeddedEventQueue]]:
    async with EmbeddedEventQueue(folder / "events.db", clock=CLOCK, maximum_bytes=MAXIMUM_BYTES) as queue:

        async def send(event: Event) -> None:
            await queue.put([event])

        yield send, queue


async def measured(send: Send, size: int) -> Measured:
    """Let the senders send for some seconds."""
    payload = b'"%b"' % (b"x" * (size - 2))
    waits: list[float] = []
    until = time.perf_counter() + SECONDS

    async def send_on() -> None:
        while (began := time.perf_counter()) < until:
            await send(new_event(payload))
            waits.append(time.perf_counter() - began)

    cpu, began = time.process_time(), time.perf_counter()
    async with anyio.create_task_group() as senders:
        for _ in range(SENDERS):
            senders.start_soon(send_on)
    cpu, took = time.process_time() - cpu, time.perf_counter() - began
    cuts = statistics.quantiles(waits, n=100)
    return Measured(len(waits) / took, cpu / len(waits), cuts[49], cuts[98])


async def accepts(folder: Path, size: int) -> Measured:
    async with embedded(folder) as (send, _):
        return await measured(send, size)


async def whole_lives(folder: Path, size: int) -> Measured:
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
        figures = await measured(send_and_wait, size)
        runners.cancel_scope.cancel()
    return figures


async def naive(folder: Path, size: int) -> Measured:
    limiter = CapacityLimiter(1)
    with shared(folder / "events.db") as file:
        file.execute("CREATE TABLE naive (request_id TEXT, function TEXT, accepted_at REAL, payload BLOB)")

        def insert(event: Event) -> None:
            values = (event.request_id, event.function, event.accepted_at, event.payload)
            file.execute("INSERT INTO naive VALUES (?, ?, ?, ?)", values)  # in autocommit mode: its own transaction

        async def send(event: Event) -> None:
            await to_thread.run_sync(insert, event, limiter=limiter)

        return await measured(send, size)


CASES: dict[str, Callable[[Path, int], Awaitable[Measured]]] = {
    "accepts": accepts,
    "whole lives": whole_lives,
    "naive": naive,
}


async def main() -> None:
    folder = sys.argv[1] if len(sys.argv) > 1 else None
    for size in SIZES:
        for name, case in CASES.items():
            rounds: list[Measured] = []
            for _ in range(ROUNDS):
                with tempfile.TemporaryDirectory(dir=folder) as temporary:
                    rounds.append(await case(Path(temporary), size))
            print(line(f"{name}, {size:,} bytes", rounds))
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    print(f"{described(f'SQLite {sqlite3.sqlite_version}')}\nThe machine's load: {load}.")


def line(name: str, rounds: list[Measured]) -> str:
    """The median round, and the least and the most of all rounds."""
    rates = sorted(each.events_per_second for each in rounds)
    costs = sorted(each.cpu_per_event * 1e6 for each in rounds)
    middle = sorted(rounds)[len(rounds) // 2]
    return (
        f"{name:28} {middle.events_per_second:8,.0f} events/s ({rates[0]:,.0f}–{rates[-1]:,.0f})"
        f" {middle.cpu_per_event * 1e6:6.0f} CPU µs ({costs[0]:.0f}–{costs[-1]:.0f})"
        f"   p50 {middle.p50 * 1e3:5.1f} ms   p99 {middle.p99 * 1e3:5.1f} ms"
    )


if __name__ == "__main__":
    anyio.run(main, backend_options={"use_uvloop": True})
