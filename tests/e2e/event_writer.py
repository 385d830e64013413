"""A program that puts, retries and removes events until it is killed, and prints each step: `… FILE NAME`.

    put ID                              the put has returned
    putting back ID N, put back ID N    before and after the event is put back after N attempts
    removing ID, removed ID             before and after the event is removed

Several of them may share a file. The ids of a process begin with its name.
"""

from __future__ import annotations

import sys
import time
import zlib
from dataclasses import replace
from itertools import count
from pathlib import Path

import anyio

from poller.event_queues.embedded import EmbeddedEventQueue
from poller.model.event import TakenEvent
from poller.model.ids import RequestId
from tests.fakes.events import RESIZE, event

ATTEMPTS = 3


class WallClock:
    """The clock of the composition, without the modules that the composition imports."""

    def now(self) -> float:
        return time.time()


def payload_of(request_id: str) -> bytes:
    """Return JSON whose length depends on the id, so that a test sees if two events were mixed."""
    return b'"%s %s"' % (request_id.encode(), b"x" * (zlib.crc32(request_id.encode()) % 6000))


def say(what: str) -> None:
    print(what, flush=True)


async def put(queue: EmbeddedEventQueue, numbers: count[int], name: str) -> None:
    while True:
        ids = [RequestId(f"{name}-{next(numbers)}") for _ in range(2)]
        await queue.put([event(time.time(), request_id=each, payload=payload_of(each)) for each in ids])
        for each in ids:
            say(f"put {each}")


async def work(queue: EmbeddedEventQueue) -> None:
    while True:
        for taken in await queue.take(RESIZE, count=5, wait_in_seconds=10):
            await finish(queue, taken)


async def finish(queue: EmbeddedEventQueue, taken: TakenEvent) -> None:
    request_id, attempts = taken.event.request_id, taken.event.attempts + 1
    assert taken.event.payload == payload_of(request_id)
    if attempts < ATTEMPTS:
        say(f"putting back {request_id} {attempts}")
        await queue.put_back(taken, replace(taken.event, attempts=attempts))
        say(f"put back {request_id} {attempts}")
    else:
        say(f"removing {request_id}")
        await queue.remove(taken)
        say(f"removed {request_id}")


async def main(path: Path, name: str) -> None:
    say("opening")
    queue = EmbeddedEventQueue(path, clock=WallClock(), maximum_bytes=100_000_000)
    async with queue, anyio.create_task_group() as tasks:
        numbers = count()
        for _ in range(2):
            tasks.start_soon(put, queue, numbers, name)
        for _ in range(4):
            tasks.start_soon(work, queue)


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]), sys.argv[2])
