"""How does a server read requests and answer them? With as little HTTP as the clients need, so that it costs little.

The Content-Length ends a request. Requests are answered in order, each one before the next one is read.
`dispatch` decides what a request means. While an answer waits (a long poll), the later answers of the connection wait,
too.

    POST /                                           X-Amz-Target: <service>.<call>, or STS, who always knows you
    POST /2015-03-31/functions/<name>/invocations    a Lambda function
    POST /function                                   the same as an HTTP service
    POST /bench/<command>                            the benchmark's own
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from email.utils import formatdate
from typing import Any, cast

import orjson

from tests.bench.servers.ledger import Ledger

TICK_IN_SECONDS = 0.1
PACE_IN_SECONDS = 0.001

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CALL = re.compile(rb"\r\nx-amz-target: *\w+\.(\w+)", re.IGNORECASE)
_CALLER_IDENTITY = (
    b'<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
    b"<Arn>arn:aws:iam::000000000000:role/reader</Arn><UserId>AROA</UserId><Account>000000000000</Account>"
    b"</GetCallerIdentityResult></GetCallerIdentityResponse>"
)
_NO_FAILURES = b'{"batchItemFailures":[]}'

Json = dict[str, Any]


class RefusedError(Exception):
    """Raised if a request cannot be answered. The client gets status 400 with this text."""


class Service(ABC):
    """The state that all connections share. `function_seconds` is the duration of each invocation.

    `began` is the time at which the first record of the last backlog could be received. `ended` is the time at which
    the last record was invoked.
    """

    def __init__(self, ledger: Ledger, *, function_seconds: float = 0.0) -> None:
        self.began = 0.0
        self.ended = 0.0
        self.ledger = ledger
        self.function_seconds = function_seconds
        self.calls: Counter[str] = Counter()
        self.date = formatdate(usegmt=True).encode()
        self._paces: set[asyncio.Task[None]] = set()

    async def tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_IN_SECONDS)
            self.date = formatdate(usegmt=True).encode()
            self.on_tick()

    def on_tick(self) -> None:  # noqa: B027  # most servers do nothing then
        """Do what is due. This is called ten times a second."""

    @abstractmethod
    def send(self, name: str, count: int) -> None:
        """Put `count` records into the queue or stream of this name."""

    def bench(self, command: str, request: Json) -> Json:
        """Answer one of the commands that every server has."""
        match command:
            case "send":
                self.send(request["name"], request["count"])
            case "pace":
                pace = self._pace(request["name"], request["count"], request["per_second"])
                task = asyncio.get_running_loop().create_task(pace)
                self._paces.add(task)
                task.add_done_callback(self._paces.discard)
            case "expect":
                self.ledger.note_sent(request["count"])
            case "mark":
                del self.ledger.latencies[:]
            case "state":
                return {
                    "began": self.began,
                    "ended": self.ended,
                    "now": now(),
                    "sent": len(self.ledger.sent),
                    "invoked": self.ledger.invoked,
                    "deleted": self.ledger.deleted,
                }
            case "report":
                return {
                    "faults": self.ledger.faults(is_deletion_seen=request["is_deletion_seen"])._asdict(),
                    "latency_in_microseconds": self.ledger.percentiles(request["shares"]),
                    "calls": dict(self.calls),
                }
            case _:
                raise RefusedError(f"unknown command {command}")
        return {}

    async def _pace(self, name: str, count: int, per_second: float) -> None:
        """Send records evenly over time, a few in each millisecond."""
        begun = now()
        sent = 0
        while sent < count:
            await asyncio.sleep(PACE_IN_SECONDS)
            due = min(count, int((now() - begun) * per_second))
            if due > sent:
                self.send(name, due - sent)
                sent = due


class Connection(asyncio.Protocol, ABC):
    """The connection of one client. `is_held` is true while a request waits for its answer."""

    is_held = False

    def __init__(self, service: Service) -> None:
        self._service = service
        self._buffer = bytearray()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self.advance()

    @abstractmethod
    def call(self, name: str, body: bytes) -> bytes | None:
        """Make a call of the service. Return the answer, or None if it comes later. Raises RefusedError."""

    def advance(self) -> None:
        """Answer the requests that have come, until one of them has to wait."""
        while not self.is_held:
            end_of_head = self._buffer.find(b"\r\n\r\n")
            if end_of_head < 0:
                return
            head = bytes(self._buffer[: end_of_head + 2])
            length = _LENGTH.search(head)
            end = end_of_head + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[end_of_head + 4 : end])
            del self._buffer[:end]
            self._dispatch(head, body)

    def answer(self, body: bytes, headers: bytes = b"", status: bytes = b"200 OK") -> None:
        self._transport.write(
            b"HTTP/1.1 %b\r\nContent-Type: application/x-amz-json-1.0\r\nDate: %b\r\n"
            b"x-amzn-RequestId: 8f14e45f-ceea-467f-9f3a-000000000000\r\n%bContent-Length: %d\r\n\r\n%b"
            % (status, self._service.date, headers, len(body), body)
        )

    def answer_after(self, seconds: float, body: bytes, headers: bytes = b"") -> None:
        """Answer the present request after some seconds, or at once after none."""
        if not seconds:
            self.answer(body, headers)
            return
        self.is_held = True
        asyncio.get_running_loop().call_later(seconds, self._answer_late, body, headers)

    def _dispatch(self, head: bytes, body: bytes) -> None:
        call = _CALL.search(head)
        path = head.split(b" ", 2)[1].decode()
        try:
            if call:
                self._call(call[1].decode(), body)
            elif path == "/function" or (path.startswith("/2015-03-31/functions/") and path.endswith("/invocations")):
                self._invoke(body)
            elif path == "/" and b"Action=GetCallerIdentity" in body:
                self.answer(_CALLER_IDENTITY)
            elif path.startswith("/bench/"):
                self.answer(orjson.dumps(self._service.bench(path[len("/bench/") :], orjson.loads(body or b"{}"))))
            else:
                raise RefusedError(f"no such path: {path}")
        except RefusedError as refused:
            self._service.calls["refused"] += 1
            error = {"__type": "com.amazonaws.sqs#InvalidAction", "message": str(refused)}
            self.answer(orjson.dumps(error), status=b"400 Bad Request")

    def _call(self, name: str, body: bytes) -> None:
        self._service.calls[name] += 1
        answer = self.call(name, body)
        if answer is not None:
            self.answer(answer)

    def _invoke(self, event: bytes) -> None:
        self._service.calls["Invoke"] += 1
        self._service.ledger.note_invoke(event)
        self._service.ended = now()
        self.answer_after(self._service.function_seconds, _NO_FAILURES, b"X-Amz-Executed-Version: $LATEST\r\n")

    def _answer_late(self, body: bytes, headers: bytes) -> None:
        self.is_held = False
        if not self._transport.is_closing():
            self.answer(body, headers)
            self.advance()


def now() -> float:
    return asyncio.get_running_loop().time()


async def serve(service: Service, connect: Callable[[], Connection]) -> None:
    """Print the port and serve until the input ends."""
    loop = asyncio.get_running_loop()
    ticking = loop.create_task(service.tick())
    server = await loop.create_server(connect, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    ticking.cancel()
    server.close()


def options(description: str | None) -> argparse.ArgumentParser:
    """Return a parser of the command line options that every server has."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--function-seconds", type=float, default=0.0, help="how long the function takes")
    return parser
