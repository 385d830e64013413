"""Where does the CPU time of a message go? Each layer alone, for a batch of ten messages and its three calls.

    python tests/bench/layers.py

A batch is received, invoked and deleted. Each layer does its part of a batch again and again, ten batches at once.
Each of the first layers uses the layer above it in this list, whose cost is subtracted:

    sockets      asyncio's transports and futures send the three requests and receive the three answers
    HTTP         the daemon's pool and its parser do it
    signing      each request gets its headers and its signature
    clients      the daemon's clients do it: clocks, credentials, JSON

The other layers work without a network:

    source       makes messages of the answer, and the entries of the delete
    filter       tests one key of each body
    envelope     makes the event of the records
    engine       room, visibility, batches, slots and outcomes; the source and the function answer at once
    facts        counts what is counted of a batch; no log line is wanted

The bare loop (`rivals/bare.py`) does the same three calls with the least work that Python can do, one after the other.
The servers answer every request with the same bytes, in processes of their own.
Here each layer has the processor's caches for itself, so the whole daemon costs more than the sum (`sqs.py`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from poller.aws.clock import ServiceClock
from poller.aws.signing import Signer
from poller.core import envelope
from poller.core.filtering import compile_filters
from poller.sources.sqs import SqsSource
from poller.telemetry.logs import configure
from tests.bench.layer_calls import (
    KEYS,
    QUEUE,
    QUEUE_URL,
    REGION,
    Call,
    Signing,
    bare_cost,
    calls_of_a_batch,
    clients_cost,
    loop_cost,
    pool_cost,
)
from tests.bench.layer_cost import MESSAGES, cost
from tests.bench.layer_engine import engine_cost, facts_cost
from tests.bench.machine import described


def main() -> None:
    os.environ |= {"AWS_ACCESS_KEY_ID": KEYS[0], "AWS_SECRET_ACCESS_KEY": KEYS[1], "AWS_CONFIG_FILE": os.devnull}
    configure("json")
    with ExitStack() as stack:
        calls = calls_of_a_batch(stack)
        costs = anyio.run(costs_of_layers, calls, backend_options={"use_uvloop": True})
        bare = bare_cost(calls)
    whole = sum(costs.values())
    table = Table(box=SIMPLE_HEAD)
    table.add_column("layer")
    table.add_column("CPU µs a message", justify="right")
    table.add_column("share", justify="right")
    for name, microseconds in (costs | {"all layers": whole, "bare loop": bare}).items():
        table.add_row(name, f"{microseconds:.1f}", f"{microseconds / whole:.0%}", end_section=name == "facts")
    console = Console()
    console.print(table)
    console.print(described(), highlight=False)


async def costs_of_layers(calls: Sequence[Call]) -> dict[str, float]:
    """Return the CPU time in µs for each message, by layer."""
    heads = [Signing(call, call.route, Signer(service="sqs", region=REGION)) for call in calls]
    requests = [head.message() for head in heads]
    sqs = SqsSource(CannedClient(calls), arn=QUEUE, queue_url=QUEUE_URL, has_batching_window=False)
    received = await sqs.receive(count=MESSAGES, wait_in_seconds=20, visibility_timeout_in_seconds=None)
    filters = compile_filters(['{"body": {"kind": ["order"]}}'], data_key="body")

    async def sign() -> None:
        for head in heads:
            head.message()

    async def parse() -> None:
        messages = await sqs.receive(count=MESSAGES, wait_in_seconds=20, visibility_timeout_in_seconds=None)
        await sqs.delete(messages)

    async def match() -> None:
        for message in received:
            filters.matches(message.record)

    async def encode() -> None:
        envelope.event([envelope.encode(message.record) for message in received])

    sockets, pool = await loop_cost(calls, requests), await pool_cost(calls, requests)
    signing, clients, encoding = await cost(sign), await clients_cost(calls), await cost(encode)
    return {
        "sockets": sockets,
        "HTTP": pool - sockets,
        "signing": signing,
        "clients": clients - pool - signing,
        "source": await cost(parse),
        "filter": await cost(match),
        "envelope": encoding,
        "engine": await engine_cost(received) - encoding,
        "facts": await facts_cost(),
    }


class CannedClient:
    """A client that returns prepared answers."""

    def __init__(self, calls: Sequence[Call]) -> None:
        self.clock = ServiceClock()
        self._answers = {call.operation: call.answer for call in calls}

    async def call(self, operation: str, body: bytes, *, timeout_in_seconds: float) -> Any:
        return self._answers[operation]


if __name__ == "__main__":
    main()
