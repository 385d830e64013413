"""Is the benchmark's own server correct?

Its queues must lock groups and hide messages, and its ledger must be right.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from functools import wraps
from typing import Any

import pytest

from tests.bench.servers.canned import Connection, Service
from tests.bench.servers.ledger import Faults, Ledger
from tests.bench.servers.messages import find, number_of
from tests.bench.servers.queues import Poll, Queue

NO_FAULTS = Faults(0, 0, 0, 0, 0, 0)


class Client:
    """A client that receives from a queue at any given moment."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue

    def poll(self, *, limit: int = 10, visibility: float = 30, now: float = 0.0) -> list[dict[str, object]]:
        """Return the messages that come at once, as parsed JSON."""
        taken: list[str] = []
        poll = Poll(taken.extend, limit, visibility)
        if not self.queue.receive(poll, now=now):
            self.queue.give_up(poll)
        return [json.loads(message) for message in taken]


def payload(*messages: dict[str, object]) -> bytes:
    return json.dumps({"Records": [{"body": message["Body"]} for message in messages]}).encode()


def receipts(messages: list[dict[str, object]]) -> list[int]:
    return [number_of(str(message["ReceiptHandle"])) for message in messages]


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(groups=2, find=find)


def test_a_received_message_is_hidden_until_its_deadline(ledger: Ledger) -> None:
    queue = Queue("orders", ledger)
    client = Client(queue)
    queue.send_canned(3, now=0)
    assert receipts(client.poll(visibility=30)) == [0, 1, 2]
    assert client.poll(now=29.9) == []
    assert receipts(client.poll(now=30)) == [0, 1, 2]


def test_a_changed_visibility_replaces_the_first_deadline(ledger: Ledger) -> None:
    queue = Queue("orders", ledger)
    client = Client(queue)
    queue.send_canned(2, now=0)
    client.poll(visibility=30)
    assert queue.change_visibility(1, 100, now=0)
    assert receipts(client.poll(now=30)) == [0]
    assert queue.change_visibility(1, 0, now=31)
    assert receipts(client.poll(now=31)) == [1]


def test_a_deleted_message_is_not_received_again(ledger: Ledger) -> None:
    queue = Queue("orders", ledger)
    client = Client(queue)
    queue.send_canned(1, now=0)
    client.poll(visibility=30)
    queue.delete(0)
    assert client.poll(now=31) == []
    assert queue.in_flight == 0


def test_a_group_in_flight_is_locked_and_the_others_are_not(ledger: Ledger) -> None:
    queue = Queue("orders.fifo", ledger)
    client = Client(queue)
    queue.send_canned(6, now=0)
    assert receipts(client.poll(limit=2)) == [0, 2]
    assert receipts(client.poll()) == [1, 3, 5]
    assert client.poll() == []
    queue.delete(0)
    assert client.poll() == []
    queue.delete(2)
    assert receipts(client.poll()) == [4]


def test_expired_messages_of_a_group_are_received_again_in_order(ledger: Ledger) -> None:
    queue = Queue("orders.fifo", ledger)
    client = Client(queue)
    queue.send_canned(8, now=0)
    first = client.poll(limit=3, visibility=30)
    assert receipts(first) == [0, 2, 4]
    assert receipts(client.poll(limit=3, visibility=50)) == [1, 3, 5]
    assert receipts(client.poll(now=30)) == [0, 2, 4, 6]


def test_a_message_that_returns_late_is_put_before_its_successors(ledger: Ledger) -> None:
    queue = Queue("orders.fifo", ledger)
    client = Client(queue)
    queue.send_canned(8, now=0)
    assert receipts(client.poll(limit=3, visibility=30)) == [0, 2, 4]
    queue.change_visibility(4, 50, now=0)
    assert receipts(client.poll(now=30)) == [1, 3, 5, 7]
    assert receipts(client.poll(now=50)) == [0, 2, 4, 6]


def test_a_waiting_poll_is_served_by_the_next_message(ledger: Ledger) -> None:
    queue = Queue("orders", ledger)
    served: list[list[str]] = []
    assert not queue.receive(Poll(served.append, 10, 30), now=0)
    assert not queue.receive(Poll(served.append, 10, 30), now=0)
    queue.send_canned(1, now=1)
    queue.send_canned(1, now=2)
    assert [len(messages) for messages in served] == [1, 1]


def test_the_ledger_finds_messages_and_times_in_a_payload(ledger: Ledger) -> None:
    queue = Queue("orders", ledger)
    queue.send_canned(2, now=0)
    ledger.note_invoke(payload(*Client(queue).poll()))
    queue.delete(0)
    queue.delete(1)
    assert ledger.faults() == NO_FAULTS
    assert len(ledger.latencies) == 2
    assert all(0 <= latency < 10_000_000 for latency in ledger.latencies)


def test_the_ledger_reports_what_went_wrong() -> None:
    ledger = Ledger(groups=0, find=find)
    queue = Queue("orders", ledger)
    queue.send_canned(4, now=0)
    messages = Client(queue).poll()
    ledger.note_invoke(payload(*messages[:2]))
    ledger.note_invoke(payload(messages[1]))
    for number in (0, 0, 2):
        queue.delete(number)
    wrong = NO_FAULTS._replace(lost=2, not_deleted=2, invoked_again=1, deleted_again=1, deleted_uninvoked=1)
    assert ledger.faults() == wrong


def test_the_ledger_reports_a_group_that_was_overtaken(ledger: Ledger) -> None:
    queue = Queue("orders.fifo", ledger)
    queue.send_canned(4, now=0)
    by_number = dict(enumerate(sorted(Client(queue).poll(), key=lambda message: str(message["MessageId"]))))
    ledger.note_invoke(payload(by_number[1], by_number[2]))
    ledger.note_invoke(payload(by_number[3], by_number[0]))
    assert ledger.out_of_order == 1


def request(call: str, **parameters: object) -> bytes:
    body = json.dumps({"QueueUrl": "http://127.0.0.1/000000000000/orders", **parameters}).encode()
    head = f"POST / HTTP/1.1\r\nX-Amz-Target: AmazonSQS.{call}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Wire(asyncio.Transport):
    """A connection to the server without a network. It has the requests and the answers."""

    def __init__(self, service: Service) -> None:
        super().__init__()
        self._answers = b""
        self.connection = Connection(service)
        self.connection.connection_made(self)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._answers += bytes(data)

    def answers(self) -> list[dict[str, Any]]:
        """Return the answers since the last call."""
        bodies = [json.loads(body) for body in re.findall(rb"\r\n\r\n(\{.*?\})(?=HTTP/1.1|$)", self._answers)]
        self._answers = b""
        return bodies


def in_a_loop(test: Callable[[], None]) -> Callable[[], None]:
    """Run the test in an event loop, from which the server takes the time. No such test waits for anything."""

    async def run() -> None:
        test()

    @wraps(test)
    def wrapper() -> None:
        asyncio.run(run())

    return wrapper


@in_a_loop
def test_requests_in_any_pieces_are_answered_in_order() -> None:
    wire = Wire(Service(groups=0))
    both = request("GetQueueUrl", QueueName="orders") + request("DeleteMessageBatch", Entries=[])
    for byte in both:
        wire.connection.data_received(bytes([byte]))
    first, second = wire.answers()
    assert first["QueueUrl"].endswith("/orders")
    assert second == {"Successful": [], "Failed": []}


@in_a_loop
def test_a_long_poll_is_answered_by_a_later_send_and_holds_back_what_follows_it() -> None:
    service = Service(groups=0)
    wire = Wire(service)
    wire.connection.data_received(request("ReceiveMessage", WaitTimeSeconds=20))
    wire.connection.data_received(request("GetQueueUrl", QueueName="orders"))
    assert wire.answers() == []
    service.bench("send", {"name": "orders", "count": 2})
    received, url = wire.answers()
    assert len(received["Messages"]) == 1
    assert "QueueUrl" in url


@in_a_loop
def test_a_sent_message_is_received_with_its_own_body_checksum_and_attributes() -> None:
    wire = Wire(Service(groups=0))
    attributes = {"n": {"DataType": "Number", "StringValue": "1"}}
    sent_message = request("SendMessage", MessageBody='say "hi"\n', MessageAttributes=attributes)
    wire.connection.data_received(sent_message + request("ReceiveMessage"))
    sent, received = wire.answers()
    (message,) = received["Messages"]
    assert message["Body"] == 'say "hi"\n'
    assert message["MD5OfBody"] == sent["MD5OfMessageBody"]
    assert message["MessageAttributes"] == attributes


@in_a_loop
def test_a_poll_whose_connection_is_gone_takes_no_messages() -> None:
    service = Service(groups=0)
    wire = Wire(service)
    wire.connection.data_received(request("ReceiveMessage", WaitTimeSeconds=20))
    wire.connection.connection_lost(None)
    service.bench("send", {"name": "orders", "count": 1})
    assert service.queue("orders").waiting == 1


@in_a_loop
def test_an_unknown_call_is_refused() -> None:
    wire = Wire(Service(groups=0))
    wire.connection.data_received(request("PurgeQueue"))
    (answer,) = wire.answers()
    assert answer["message"] == "no such call: PurgeQueue"
