"""What do the three calls of a batch cost in each layer that a request goes through?

A batch of ten messages is received, invoked and deleted. Each call has a server that always gives the same answer.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from contextlib import ExitStack, aclosing
from typing import Any, NamedTuple, cast

import orjson

from poller.aws.clients import Aws, AwsSettings
from poller.aws.signing import Credentials, Signer, resource
from poller.aws.wire import Route
from poller.http.http1 import request
from poller.http.pool import Limits, Origin, Pool, trusting_the_system
from poller.model.arn import Arn
from tests.bench.clients import serving
from tests.bench.layer_cost import MESSAGES, SIDE_BY_SIDE, blocking_cost, cost
from tests.bench.rivals.bare import record
from tests.bench.rivals.blocking import Blocking
from tests.bench.servers.ledger import Ledger
from tests.bench.servers.messages import find, render

REGION = "us-east-1"
QUEUE = Arn.parse(f"arn:aws:sqs:{REGION}:000000000000:orders")
QUEUE_URL = "http://127.0.0.1/000000000000/orders"
INVOKE_PATH = "/2015-03-31/functions/f/invocations"
KEYS = Credentials("000000000000", "bench", None)

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Call(NamedTuple):
    """One call of a batch, and the answer of its server. `operation` is None for the invoke."""

    url: str
    operation: str | None
    body: bytes
    answer: dict[str, Any]

    @property
    def headers(self) -> dict[str, str]:
        if self.operation is None:
            return {"content-type": "application/json", "x-amz-client-context": "e30=" * 40, "x-amz-log-type": "Tail"}
        return {"content-type": "application/x-amz-json-1.0", "x-amz-target": f"AmazonSQS.{self.operation}"}

    @property
    def route(self) -> Route:
        return Route.to(resource("POST", self.url), proxy=None)


class Signing(NamedTuple):
    """Makes the request of a call."""

    call: Call
    route: Route
    signer: Signer

    def message(self) -> bytes:
        signed = self.signer.sign(
            self.route.resource, self.call.headers, self.call.body, credentials=KEYS, now=time.time()
        )
        return request(self.route.start, signed, self.call.body)


def calls_of_a_batch(stack: ExitStack) -> list[Call]:
    """Start a server for each call, and return the calls in their order: receive, invoke, delete."""
    ledger = Ledger(groups=0, find=find)
    texts = [render(number, ledger=ledger, group=None, own=None) for number in ledger.add(MESSAGES)]
    received = orjson.loads(f'{{"Messages":[{",".join(texts)}]}}')
    receive = {"QueueUrl": QUEUE_URL, "MaxNumberOfMessages": MESSAGES, "WaitTimeSeconds": 20, "AttributeNames": ["All"]}
    event = {"Records": [record(message, str(QUEUE)) for message in received["Messages"]]}
    receipts = [message["ReceiptHandle"] for message in received["Messages"]]
    entries = [{"Id": str(index), "ReceiptHandle": receipt} for index, receipt in enumerate(receipts)]
    delete = {"QueueUrl": QUEUE_URL, "Entries": entries}
    deleted = {"Successful": [{"Id": entry["Id"]} for entry in entries]}

    def call(operation: str | None, body: object, answer: dict[str, Any]) -> Call:
        path = "/" if operation else INVOKE_PATH
        return Call(stack.enter_context(serving(answer)) + path, operation, orjson.dumps(body), answer)

    return [
        call("ReceiveMessage", receive, received),
        call(None, event, {"batchItemFailures": []}),
        call("DeleteMessageBatch", delete, deleted),
    ]


class Exchange(asyncio.Protocol):
    """A connection with as little HTTP as possible: only the Content-Length ends an answer."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports do not derive from asyncio's
        self._received = b""

    def ask(self, message: bytes) -> asyncio.Future[bytes]:
        self._answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._transport.write(message)
        return self._answer

    def data_received(self, data: bytes) -> None:
        received = self._received = self._received + data if self._received else data
        end = received.find(b"\r\n\r\n") + 4
        length = _LENGTH.search(received, 0, end)
        assert length
        if len(received) >= end + int(length[1]):
            self._received = b""
            self._answer.set_result(received[end:])


async def loop_cost(calls: Sequence[Call], requests: Sequence[bytes]) -> float:
    loop = asyncio.get_running_loop()
    resting: list[list[Exchange]] = []
    for call in calls:
        host, port, _ = Origin.of(call.url)
        resting.append([(await loop.create_connection(Exchange, host, port))[1] for _ in range(SIDE_BY_SIDE)])

    async def exchange() -> None:
        for connections, message in zip(resting, requests, strict=True):
            connection = connections.pop()
            await connection.ask(message)
            connections.append(connection)

    return await cost(exchange)


async def pool_cost(calls: Sequence[Call], requests: Sequence[bytes]) -> float:
    origins = [Origin.of(call.url) for call in calls]
    async with aclosing(Pool(trusting_the_system(), Limits())) as pool:

        async def exchange() -> None:
            for origin, message in zip(origins, requests, strict=True):
                await pool.send(origin, message, timeout_in_seconds=30)

        return await cost(exchange)


async def clients_cost(calls: Sequence[Call]) -> float:
    receive, invoke, delete = calls
    endpoint = invoke.url.removesuffix(INVOKE_PATH)
    settings = AwsSettings(region=REGION, endpoints={"sqs": receive.url, "lambda": endpoint})
    async with Aws(settings) as aws, Aws(AwsSettings(region=REGION, endpoint_url=delete.url)) as other:
        receiver, deleter = await aws.json_client("sqs"), await other.json_client("sqs")
        function = await aws.invoker("f", timeout_in_seconds=30)

        async def exchange() -> None:
            await receiver.call("ReceiveMessage", receive.body, timeout_in_seconds=30)
            await function.invoke(invoke.body, invoke.headers)
            await deleter.call("DeleteMessageBatch", delete.body, timeout_in_seconds=30)

        return await cost(exchange)


def bare_cost(calls: Sequence[Call]) -> float:
    """Return the cost of a batch in the bare loop, as `rivals/bare.py` handles it."""
    queue, function, queue_again = [Blocking(call.url, service="sqs") for call in calls]
    receive = calls[0]

    def batch() -> None:
        messages = queue.call("AmazonSQS", "ReceiveMessage", orjson.loads(receive.body))["Messages"]
        event = orjson.dumps({"Records": [record(message, str(QUEUE)) for message in messages]})
        orjson.loads(function.post({"content-type": "application/json"}, event))
        entries = [{"Id": str(index), "ReceiptHandle": each["ReceiptHandle"]} for index, each in enumerate(messages)]
        queue_again.call("AmazonSQS", "DeleteMessageBatch", {"QueueUrl": QUEUE_URL, "Entries": entries})

    return blocking_cost(batch)
