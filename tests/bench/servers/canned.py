"""A loopback server fast enough to measure clients by: SQS's JSON protocol, Lambda's Invoke, and a plain HTTP function.

    python -m tests.bench.servers.canned [--groups 100]        prints its port, lives until its input ends

    POST /                                           X-Amz-Target: AmazonSQS.<call>
    POST /2015-03-31/functions/<name>/invocations    a Lambda function that takes no time and never fails
    POST /function                                   the same as an HTTP service
    POST /bench/<command>                            the benchmark's own: send, pace, expect, mark, state, report

It parses no more of HTTP than its clients use (Content-Length, keep-alive) and does no work that can be left undone:
queues come into being when first named, signatures and attribute names are not looked at, answers are not kept.
A receive with nothing to give is held until a message comes or its wait is over; requests that follow it on the same
connection wait behind it.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
from collections import Counter
from collections.abc import Callable
from email.utils import formatdate
from typing import Any, cast

import orjson
import uvloop

from tests.bench.servers.messages import Ledger, number_of, own_body
from tests.bench.servers.queues import VISIBILITY_TIMEOUT_IN_SECONDS, Poll, Queue

TICK_IN_SECONDS = 0.1
PACE_IN_SECONDS = 0.001

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CALL = re.compile(rb"\r\nx-amz-target: *AmazonSQS\.(\w+)", re.IGNORECASE)
_NO_FAILURES = b'{"batchItemFailures":[]}'

Json = dict[str, Any]
Reply = Callable[[bytes], None]


class RefusedError(Exception):
    """The request cannot be answered: the client gets a 400 with this text."""


class Service:
    """The state behind all connections, and what each call does to it.

    An SQS call answers with its body, or with None when it will be answered later.
    """

    def __init__(self, *, groups: int) -> None:
        self.ledger = Ledger(groups=groups)
        self.queues: dict[str, Queue] = {}
        self.calls: Counter[str] = Counter()
        self.date = formatdate(usegmt=True)
        self._paces: set[asyncio.Task[None]] = set()

    def queue(self, name: str) -> Queue:
        if name not in self.queues:
            self.queues[name] = Queue(name, self.ledger)
        return self.queues[name]

    def queue_at(self, request: Json) -> Queue:
        return self.queue(request["QueueUrl"].rsplit("/", 1)[1])

    async def tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_IN_SECONDS)
            self.date = formatdate(usegmt=True)
            for queue in self.queues.values():
                queue.tick(_now())

    # SQS

    def receive_message(self, request: Json, connection: Connection) -> bytes | None:
        queue = self.queue_at(request)
        poll = Poll(
            connection.hand_over,
            request.get("MaxNumberOfMessages") or 1,
            request.get("VisibilityTimeout") or VISIBILITY_TIMEOUT_IN_SECONDS,
        )
        if not queue.receive(poll, now=_now()):
            connection.hold(queue, poll, request.get("WaitTimeSeconds") or 0)
        return None

    def delete_message(self, request: Json) -> bytes:
        self.queue_at(request).delete(number_of(request["ReceiptHandle"]))
        return b"{}"

    def delete_message_batch(self, request: Json) -> bytes:
        queue = self.queue_at(request)
        for entry in request["Entries"]:
            queue.delete(number_of(entry["ReceiptHandle"]))
        return _all_successful(request)

    def change_message_visibility_batch(self, request: Json) -> bytes:
        queue = self.queue_at(request)
        now = _now()
        for entry in request["Entries"]:
            queue.change_visibility(number_of(entry["ReceiptHandle"]), entry["VisibilityTimeout"], now=now)
        return _all_successful(request)

    def change_message_visibility(self, request: Json) -> bytes:
        number = number_of(request["ReceiptHandle"])
        self.queue_at(request).change_visibility(number, request["VisibilityTimeout"], now=_now())
        return b"{}"

    def send_message(self, request: Json) -> bytes:
        return orjson.dumps(_send(self.queue_at(request), request))

    def send_message_batch(self, request: Json) -> bytes:
        queue = self.queue_at(request)
        successful = [{"Id": entry["Id"]} | _send(queue, entry) for entry in request["Entries"]]
        return orjson.dumps({"Successful": successful, "Failed": []})

    def get_queue_attributes(self, request: Json) -> bytes:
        queue = self.queue_at(request)
        attributes = {
            "QueueArn": f"arn:aws:sqs:us-east-1:000000000000:{queue.name}",
            "VisibilityTimeout": str(VISIBILITY_TIMEOUT_IN_SECONDS),
            "ApproximateNumberOfMessages": str(queue.waiting),
            "ApproximateNumberOfMessagesNotVisible": str(queue.in_flight),
        } | ({"FifoQueue": "true"} if queue.is_fifo else {})
        return orjson.dumps({"Attributes": attributes})

    def get_queue_url(self, request: Json) -> bytes:
        return orjson.dumps({"QueueUrl": f"http://127.0.0.1/000000000000/{self.queue(request['QueueName']).name}"})

    # The benchmark's own commands

    def bench(self, command: str, request: Json) -> Json:
        match command:
            case "send":
                self.queue(request["queue"]).send_canned(request["count"], now=_now())
            case "pace":
                pace = self._pace(self.queue(request["queue"]), request["count"], request["per_second"])
                task = asyncio.get_running_loop().create_task(pace)
                self._paces.add(task)
                task.add_done_callback(self._paces.discard)
            case "expect":
                self.ledger.note_sent(request["count"])
            case "mark":
                del self.ledger.latencies[:]
            case "state":
                return {
                    "now": _now(),
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

    async def _pace(self, queue: Queue, count: int, per_second: float) -> None:
        """Send messages evenly over time, a few in each millisecond."""
        begun = _now()
        sent = 0
        while sent < count:
            await asyncio.sleep(PACE_IN_SECONDS)
            due = min(count, int((_now() - begun) * per_second))
            if due > sent:
                queue.send_canned(due - sent, now=_now())
                sent = due


class Connection(asyncio.Protocol):
    """One client's connection: cuts requests out of the bytes, and answers each before it looks at the next."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._buffer = bytearray()
        self._transport: asyncio.Transport
        self._held: tuple[Queue, Poll, asyncio.TimerHandle] | None = None
        self._sqs_calls: dict[str, Callable[[Json], bytes | None]] = {
            "ReceiveMessage": lambda request: service.receive_message(request, self),
            "DeleteMessage": service.delete_message,
            "DeleteMessageBatch": service.delete_message_batch,
            "ChangeMessageVisibility": service.change_message_visibility,
            "ChangeMessageVisibilityBatch": service.change_message_visibility_batch,
            "SendMessage": service.send_message,
            "SendMessageBatch": service.send_message_batch,
            "GetQueueAttributes": service.get_queue_attributes,
            "GetQueueUrl": service.get_queue_url,
        }

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._let_go()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._advance()

    def hold(self, queue: Queue, poll: Poll, seconds: float) -> None:
        """Keep the request until the queue hands messages over, or the wait is over."""
        timer = asyncio.get_running_loop().call_later(seconds, self.hand_over, [])
        self._held = (queue, poll, timer)

    def hand_over(self, messages: list[str]) -> None:
        """Answer a ReceiveMessage, at once or later."""
        was_held = self._held is not None
        self._let_go()
        self._answer(('{"Messages":[' + ",".join(messages) + "]}").encode() if messages else b"{}")
        if was_held:
            self._advance()

    def _let_go(self) -> None:
        if self._held:
            queue, poll, timer = self._held
            timer.cancel()
            queue.give_up(poll)
            self._held = None

    def _advance(self) -> None:
        while self._held is None:
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

    def _dispatch(self, head: bytes, body: bytes) -> None:
        call = _CALL.search(head)
        path = head.split(b" ", 2)[1].decode()
        try:
            if call:
                self._call_sqs(call[1].decode(), orjson.loads(body))
            elif path == "/function" or (path.startswith("/2015-03-31/functions/") and path.endswith("/invocations")):
                self._service.calls["Invoke"] += 1
                self._service.ledger.note_invoke(body)
                self._answer(_NO_FAILURES, b"X-Amz-Executed-Version: $LATEST\r\n")
            elif path.startswith("/bench/"):
                self._answer(orjson.dumps(self._service.bench(path[len("/bench/") :], orjson.loads(body or b"{}"))))
            else:
                raise RefusedError(f"no such path: {path}")
        except RefusedError as refusal:
            self._service.calls["refused"] += 1
            error = {"__type": "com.amazonaws.sqs#InvalidAction", "message": str(refusal)}
            self._answer(orjson.dumps(error), status=b"400 Bad Request")

    def _call_sqs(self, name: str, request: Json) -> None:
        self._service.calls[name] += 1
        call = self._sqs_calls.get(name)
        if call is None:
            raise RefusedError(f"no such call: {name}")
        answer = call(request)
        if answer is not None:
            self._answer(answer)

    def _answer(self, body: bytes, headers: bytes = b"", status: bytes = b"200 OK") -> None:
        self._transport.write(
            b"HTTP/1.1 %b\r\nContent-Type: application/x-amz-json-1.0\r\nDate: %b\r\n"
            b"x-amzn-RequestId: 8f14e45f-ceea-467f-9f3a-000000000000\r\n%bContent-Length: %d\r\n\r\n%b"
            % (status, self._service.date.encode(), headers, len(body), body)
        )


def _send(queue: Queue, entry: Json) -> Json:
    body = entry["MessageBody"]
    own = own_body(body, orjson.dumps(body).decode()[1:-1])
    number = queue.send_own(own, entry.get("MessageGroupId"), now=_now())
    return {"MessageId": f"00000000-0000-4000-8000-{number:012d}", "MD5OfMessageBody": own.md5_of_body}


def _all_successful(request: Json) -> bytes:
    return orjson.dumps({"Successful": [{"Id": entry["Id"]} for entry in request["Entries"]], "Failed": []})


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _serve(groups: int) -> None:
    service = Service(groups=groups)
    loop = asyncio.get_running_loop()
    ticking = loop.create_task(service.tick())
    server = await loop.create_server(lambda: Connection(service), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    ticking.cancel()
    server.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", type=int, default=0, help="message groups of canned messages in FIFO queues")
    uvloop.run(_serve(parser.parse_args().groups))
