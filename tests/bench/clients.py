"""What does a call through the fast client cost, next to aiobotocore's client and to a bare POST?

CPU µs of this process for each call, the best of several rounds, all against one canned server in a process of its own:

    python -m tests.bench.clients [--calls N] [--rounds N]

`bare` is aiohttp alone, with a prepared url and headers. It shows why the fast client has connections of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, cast

import aiohttp
import orjson
import uvloop
from yarl import URL

from poller.aws.clients import Aws, AwsSettings
from poller.aws.signing import Credentials, Signer, resource

Call = Callable[[], Awaitable[Any]]

QUEUE_URL = "http://localhost/123456789012/queue"
RECEIVE = {"QueueUrl": QUEUE_URL, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 20}
MESSAGE = {
    "MessageId": "4c5f3f34-95ea-4ad6-8ae0-2bd5bbab3b42",
    "ReceiptHandle": "A" * 200,
    "MD5OfBody": "0" * 32,
    "Body": '{"name":"somebody"}',
    "Attributes": {"SentTimestamp": "1700000000000", "ApproximateReceiveCount": "1", "SenderId": "AIDA"},
}
ANSWERS = {"an empty answer": {}, "ten messages": {"Messages": [MESSAGE] * 10}}


class Cost(NamedTuple):
    name: str
    microseconds: float


class Canned(asyncio.Protocol):
    """Answers every request with the same bytes."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's do not derive from asyncio's

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, blank, rest = self._received.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        if blank and len(rest) >= length:
            self._received = rest[length:]
            self._transport.write(self._answer)


def serve(ready: Connection, document: object) -> None:
    body = orjson.dumps(document)
    lines = ("Content-Type: application/x-amz-json-1.0", f"Date: {formatdate(usegmt=True)}")
    head = "\r\n".join(("HTTP/1.1 200 OK", *lines, f"Content-Length: {len(body)}", "", ""))

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(lambda: Canned(head.encode() + body), "127.0.0.1", 0)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(run())


@contextmanager
def serving(document: object) -> Iterator[str]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs, document), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        process.terminate()
        process.join()


async def measured(call: Call, *, calls: int, rounds: int) -> float:
    """Return the CPU time of a call in µs, in the best round."""
    best = float("inf")
    for _ in range(rounds):
        began = time.process_time()
        for _number in range(calls):
            await call()
        best = min(best, (time.process_time() - began) / calls * 1e6)
    return best


async def costs(url: str, *, calls: int, rounds: int) -> list[Cost]:
    body = orjson.dumps(RECEIVE)
    where = resource("POST", f"{url}/")
    signer = Signer(service="sqs", region="eu-west-1")
    keys = Credentials("AKIDEXAMPLE", "secret", "token" * 50)
    headers = {"content-type": "application/x-amz-json-1.0", "x-amz-target": "AmazonSQS.ReceiveMessage"}
    signed = signer.sign(where, headers, body, credentials=keys, now=time.time())
    ready = URL(where.url, encoded=True)

    async def sign() -> None:
        signer.sign(where, headers, body, credentials=keys, now=time.time())

    async with (
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
        Aws(AwsSettings(endpoint_url=url, region="eu-west-1")) as aws,
        aws.client("sqs") as client,
    ):
        sqs = await aws.json_client("sqs")
        function = await aws.invoker("f", timeout_in_seconds=30)

        async def bare() -> None:
            response = await session.post(ready, data=body, headers=signed)
            await response.read()

        ways: dict[str, Call] = {
            "signature alone": sign,
            "bare aiohttp POST": bare,
            "fast client": lambda: sqs.call("ReceiveMessage", body, timeout_in_seconds=30),
            "fast client, Invoke": lambda: function.invoke(body, {"content-type": "application/json"}),
            "aiobotocore client": lambda: client.receive_message(**RECEIVE),
        }
        return [Cost(name, await measured(way, calls=calls, rounds=rounds)) for name, way in ways.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_SESSION_TOKEN": "token" * 50,
        "AWS_CONFIG_FILE": os.devnull,
    }
    for title, document in ANSWERS.items():
        with serving(document) as url:
            results = uvloop.run(costs(url, calls=options.calls, rounds=options.rounds))
        wide = results[-1].microseconds
        print(f"\n{title:28} CPU µs a call   aiobotocore's as a multiple")
        for cost in results:
            print(f"{cost.name:28} {cost.microseconds:13.1f} {wide / cost.microseconds:28.1f}")


if __name__ == "__main__":
    main()
