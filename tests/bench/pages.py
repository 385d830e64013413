"""For how long do /metrics and the status page stop the event loop? Measured beside the server, with many mappings.

python tests/bench/pages.py [--mappings 1000] [--tabs 5]

A probe asks the event loop for a turn each millisecond. Its longest wait is the longest wait of a batch, too.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter
from typing import Annotated

import anyio
import typer
import uvloop

sys.path.insert(0, str(Path(__file__).parents[2]))

from poller.admin.guard import Access
from poller.admin.server import Pages, serve
from poller.app import SWITCH_INTERVAL_IN_SECONDS
from poller.garbage import THRESHOLDS
from poller.model.ids import FunctionName, MappingName
from poller.model.status import MappingStatus, StreamStatus
from poller.telemetry.telemetry import Telemetry
from tests.fakes.changes import FakeChanges

PROBE_SECONDS = 0.001

READER = """
import sys, urllib.request
input()
for _ in range(int(sys.argv[2])):
    urllib.request.urlopen(sys.argv[1]).read()
"""
"""The program of a process that reads the pages, so that reading does not stop the measured loop.

It begins on a line of input.
"""


def main(
    mappings: Annotated[int, typer.Option(help="Half of them read queues, half streams.")] = 1000,
    tabs: Annotated[int, typer.Option(help="How many read the same page at once.")] = 5,
    rounds: Annotated[int, typer.Option(help="How often each of them reads it.")] = 3,
) -> None:
    uvloop.run(_measure(mappings, tabs, rounds))


async def _measure(mappings: int, tabs: int, rounds: int) -> None:
    names = [MappingName(f"mapping-{number}") for number in range(mappings)]
    statuses = [_status(name, is_stream=number % 2 == 0) for number, name in enumerate(names)]
    telemetry = Telemetry()
    for number, name in enumerate(names):
        telemetry.begin_mapping(name, function := FunctionName(f"function-{name}"), is_stream=number % 2 == 0)
        telemetry.begin_function(function)
    telemetry.watch(lambda: anyio.from_thread.run_sync(lambda: statuses))
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    sys.setswitchinterval(SWITCH_INTERVAL_IN_SECONDS)
    async with serve(
        ("127.0.0.1", 0),
        Pages(telemetry.registry, lambda: statuses),
        access=Access,
        changes=FakeChanges(),
        emit=telemetry.emit,
    ) as (host, port):
        for path in ("/healthz", "/readyz", "/metrics", "/"):
            readers = [await _reader(f"http://{host}:{port}{path}", rounds) for _ in range(tabs)]
            await asyncio.sleep(1)
            began = perf_counter()
            async with _probe() as lags:
                await asyncio.gather(*(reader.communicate(b"\n") for reader in readers))
            lags.sort()
            seconds = perf_counter() - began
            print(
                f"{path:9} {seconds:6.2f} s, the loop waited {lags[-1] * 1000:6.1f} ms at most, "
                f"{lags[int(len(lags) * 0.99)] * 1000:5.1f} ms at p99"
            )


@asynccontextmanager
async def _probe() -> AsyncIterator[list[float]]:
    lags: list[float] = []

    async def probe() -> None:
        while True:
            asked_at = perf_counter()
            await asyncio.sleep(PROBE_SECONDS)
            lags.append(perf_counter() - asked_at - PROBE_SECONDS)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(probe)
        yield lags
        tasks.cancel_scope.cancel()


async def _reader(url: str, rounds: int) -> asyncio.subprocess.Process:
    command = [sys.executable, "-c", READER, url, str(rounds)]
    return await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE)


def _status(name: MappingName, *, is_stream: bool) -> MappingStatus:
    return MappingStatus(
        mapping=name,
        function=FunctionName(f"function-{name}"),
        source=f"arn:aws:sqs:eu-west-1:123456789012:{name}",
        state="ready",
        reason=None,
        polls_in_flight=1,
        batches_in_flight=0,
        messages_held=0,
        concurrency_limit=10,
        stream=StreamStatus(shards_reading=4) if is_stream else None,
    )


if __name__ == "__main__":
    typer.run(main)
