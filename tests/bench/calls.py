"""What does a call through Lambda's API cost, and when does the function begin with an event?

    calls      each client waits for the answer of a warm function
    accepts    the clients store events; the function is busy, so that only the storing is measured
    begins     events come evenly; a wait lasts from the arrival of the 202 until the function began

CPU is that of the server and its children (`api_servers.py`).
"""

from __future__ import annotations

import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import anyio
from anyio import to_thread

from tests.bench.api_servers import (
    BEGAN,
    Client,
    Server,
    connected,
    create_function,
    ministack,
    plain_aiohttp,
    poller,
    request_id_of,
)
from tests.bench.processes import Child
from tests.bench.rounds import Measured

EVENTS_PER_SECOND = 100
WARMING_CALLS = 20

Measure = Callable[[Path, Child, Sequence[Client], float], Awaitable[Measured]]


async def throughput(_folder: Path, child: Child, clients: Sequence[Client], seconds: float) -> Measured:
    """Let each client make one call after the other."""
    waits: list[float] = []
    cpu, began = child.cpu_seconds(), time.perf_counter()

    async def call_on(client: Client) -> None:
        while (start := time.perf_counter()) < began + seconds:
            await client.call()
            waits.append(time.perf_counter() - start)

    async with anyio.create_task_group() as tasks:
        for client in clients:
            tasks.start_soon(call_on, client)
    return Measured.of(waits, took=time.perf_counter() - began, cpu=child.cpu_seconds() - cpu)


async def begins(folder: Path, child: Child, clients: Sequence[Client], seconds: float) -> Measured:
    """Let the clients store events evenly. The function and this process read the same clock."""
    await _begun(folder / BEGAN, WARMING_CALLS * len(clients))
    count, answered_at = round(seconds * EVENTS_PER_SECOND), dict[str, float]()
    cpu, start = child.cpu_seconds(), time.monotonic()

    async def send(client: Client, numbers: range) -> None:
        for number in numbers:
            await anyio.sleep(max(0.0, start + number / EVENTS_PER_SECOND - time.monotonic()))
            request_id = request_id_of(await client.call())
            answered_at[request_id] = time.monotonic()

    async with anyio.create_task_group() as tasks:
        for index, client in enumerate(clients):
            tasks.start_soon(send, client, range(index, count, len(clients)))
    took = time.monotonic() - start
    began_at = await _begun(folder / BEGAN, WARMING_CALLS * len(clients) + count)
    waits = [max(0.0, began_at[each] - at) for each, at in answered_at.items()]
    return Measured.of(waits, took=took, cpu=child.cpu_seconds() - cpu)


async def _begun(file: Path, count: int) -> dict[str, float]:
    """Wait until the function has begun this often. Return the time of each request id."""
    with anyio.fail_after(60):
        while True:
            lines = await to_thread.run_sync(lambda: file.read_text().splitlines() if file.exists() else [])
            if len(lines) >= count:
                return {request_id: float(at) for request_id, at in map(str.split, lines)}
            await anyio.sleep(0.05)


class Case(NamedTuple):
    title: str
    clients: int
    measure: Measure = throughput
    function: str = "echo"
    is_event: bool = False
    server: Server = poller


EVENTS = (
    Case("API, file, accepts", 64, function="busy", is_event=True),
    Case("API, SQS, accepts", 64, function="busy_with_sqs", is_event=True),
    Case("API, file, begins", 4, begins, function="note", is_event=True),
    Case("API, SQS, begins", 4, begins, function="note_with_sqs", is_event=True),
)
CALLS = (
    Case("calls, one client", 1),
    Case("calls, 16 clients", 16),
    Case("calls, one client, plain aiohttp", 1, server=plain_aiohttp),
    Case("calls, 16 clients, plain aiohttp", 16, server=plain_aiohttp),
    Case("calls, one client, ministack", 1, server=ministack),
    Case("calls, 16 clients, ministack", 16, server=ministack),
)


async def measured(case: Case, folder: Path, size: int, seconds: float) -> Measured:
    """Start the server, call it with payloads of this size for some seconds, and end it."""
    payload = b'"%b"' % (b"x" * (size - 2))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with case.server(folder, port) as child:
        if case.server is ministack:
            await create_function(port, child)
        clients = [
            Client(await connected(port, child), port, function=case.function, payload=payload, is_event=case.is_event)
            for _ in range(case.clients)
        ]
        for _ in range(WARMING_CALLS):  # so that the server has as many warm workers as clients
            async with anyio.create_task_group() as tasks:
                for client in clients:
                    tasks.start_soon(client.call)
        return await case.measure(folder, child, clients, seconds)
