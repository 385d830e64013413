"""What does the source send, and what does it do about lost answers and failed entries?

Over the fake, in virtual time.
"""

from __future__ import annotations

from typing import Any

import anyio
import orjson
import pytest
from trio.testing import MockClock

from poller.errors import NotFound, Rejected, Unreachable
from poller.model.arn import Arn
from poller.model.message import Message
from poller.sources.receive_attempts import ReceiveAttempts
from poller.sources.sqs import SqsSource, is_final
from tests.fakes.clock import service_clock
from tests.fakes.faults import Fault, FaultPlan
from tests.fakes.sqs import FakeSqs

pytestmark = pytest.mark.anyio

ORDERS = Arn.parse("arn:aws:sqs:eu-west-1:123456789012:orders")


@pytest.fixture
def anyio_backend() -> Any:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


class Transcript:
    """A client that notes the requests, and passes them on to the fake."""

    def __init__(self, sqs: FakeSqs) -> None:
        self.clock = service_clock()
        self._sqs = sqs
        self.requests: list[tuple[str, dict[str, Any], float]] = []

    async def call(self, operation: str, body: bytes, *, timeout_in_seconds: float) -> Any:
        self.requests.append((operation, orjson.loads(body), timeout_in_seconds))
        return await self._sqs.call(operation, body, timeout_in_seconds=timeout_in_seconds)

    @property
    def attempt_ids(self) -> list[str]:
        return [request["ReceiveRequestAttemptId"] for _, request, _ in self.requests]


async def receive(source: SqsSource, *, count: int = 10, wait_in_seconds: int = 0) -> list[Message]:
    return await source.receive(count=count, wait_in_seconds=wait_in_seconds, visibility_timeout_in_seconds=None)


def noted(sqs: FakeSqs, name: str) -> tuple[Transcript, SqsSource]:
    queue = sqs.create_queue(name)
    transcript = Transcript(sqs)
    source = SqsSource(transcript, arn=queue.arn, queue_url=sqs.url(queue), has_batching_window=False)
    return transcript, source


async def test_a_receive_requests_all_attributes_and_has_a_longer_timeout_than_its_wait() -> None:
    transcript, source = noted(FakeSqs(), "orders")
    await source.receive(count=7, wait_in_seconds=20, visibility_timeout_in_seconds=90)
    await source.receive(count=1, wait_in_seconds=0, visibility_timeout_in_seconds=None)
    url = "http://sqs.fake/123456789012/orders"
    names = ("AttributeNames", "MessageSystemAttributeNames", "MessageAttributeNames")
    everything = {"QueueUrl": url} | {name: ["All"] for name in names}
    assert transcript.requests == [
        (
            "ReceiveMessage",
            everything | {"MaxNumberOfMessages": 7, "WaitTimeSeconds": 20, "VisibilityTimeout": 90},
            30.0,
        ),
        ("ReceiveMessage", everything | {"MaxNumberOfMessages": 1, "WaitTimeSeconds": 0}, 10.0),
    ]


async def test_a_visibility_timeout_of_zero_is_sent() -> None:
    transcript, source = noted(FakeSqs(), "orders")
    await source.receive(count=1, wait_in_seconds=0, visibility_timeout_in_seconds=0)
    assert transcript.requests[0][1]["VisibilityTimeout"] == 0


async def test_a_group_on_a_standard_queue_has_no_order() -> None:
    sqs = FakeSqs()
    queue = sqs.create_queue("orders")
    sqs.send(queue, "fair", group="tenant")
    [message] = await receive(sqs.source(queue))
    assert message.message_group_id is None
    assert message.record["attributes"]["MessageGroupId"] == "tenant"


async def test_each_receive_from_a_fifo_queue_is_a_new_attempt() -> None:
    transcript, source = noted(FakeSqs(), "orders.fifo")
    await receive(source)
    await receive(source)
    assert len(set(transcript.attempt_ids)) == 2


async def test_messages_of_a_lost_answer_are_received_by_the_next_receive() -> None:
    sqs = FakeSqs()
    queue = sqs.create_queue("orders.fifo", visibility_timeout_in_seconds=600)
    source = sqs.source(queue)
    sent = [sqs.send(queue, str(number), group="g") for number in range(3)]
    sqs.faults.script("ReceiveMessage", Fault.ANSWER_LOST)
    with pytest.raises(Unreachable):
        await receive(source)
    messages = await receive(source)
    assert [message.message_id for message in messages] == sent
    assert {message.record["attributes"]["ApproximateReceiveCount"] for message in messages} == {"1"}


async def test_a_receive_that_was_not_sent_is_not_repeated() -> None:
    sqs = FakeSqs()
    transcript, source = noted(sqs, "orders.fifo")
    for fault, error in ((Fault.UNREACHABLE, Unreachable), (Fault.NOT_FOUND, NotFound)):
        sqs.faults.script("ReceiveMessage", fault)
        with pytest.raises(error):
            await receive(source)
    await receive(source)
    assert len(set(transcript.attempt_ids)) == 3


async def test_messages_of_a_cancelled_receive_are_received_by_the_next_one() -> None:
    sqs = FakeSqs(faults=FaultPlan(ghost_rate=1.0))
    queue = sqs.create_queue("orders.fifo", visibility_timeout_in_seconds=600)
    source = sqs.source(queue)
    with anyio.move_on_after(5):
        await receive(source, wait_in_seconds=20)
    sent = sqs.send(queue, "taken by nobody", group="g")
    assert [message.message_id for message in await receive(source)] == [sent]
    assert [entry.kind for entry in queue.history] == ["sent", "received", "answer_lost", "repeated"]


async def test_messages_of_a_cancelled_receive_are_received_by_the_first_one_of_the_next_source() -> None:
    """A reload cancels the receives of one run of a mapping; the next run does not wait for the visibility timeout."""
    sqs, attempts = FakeSqs(faults=FaultPlan(ghost_rate=1.0)), ReceiveAttempts()
    queue = sqs.create_queue("orders.fifo", visibility_timeout_in_seconds=600)
    before, after = (
        SqsSource(sqs, arn=queue.arn, queue_url=sqs.url(queue), has_batching_window=False, attempts=attempts)
        for _ in range(2)
    )
    with anyio.move_on_after(5):
        await receive(before, wait_in_seconds=20)
    sent = sqs.send(queue, "taken by nobody", group="g")
    assert [message.message_id for message in await receive(after)] == [sent]


async def test_an_entry_that_failed_at_the_service_may_be_tried_again() -> None:
    sqs = FakeSqs()
    queue = sqs.create_queue("orders")
    for number in range(10):
        sqs.send(queue, str(number))
    source = sqs.source(queue)
    messages = await receive(source)
    sqs.faults.entry_failure_rate = 0.5
    rejected = await source.delete(messages)
    assert 0 < len(rejected) < 10
    assert {(entry.code, entry.is_final) for entry in rejected} == {("InternalError", False)}
    assert {entry.message.message_id for entry in rejected} == set(queue.message_ids)
    sqs.faults.entry_failure_rate = 0.0
    assert await source.delete([entry.message for entry in rejected]) == []
    assert queue.message_ids == []


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("ReceiptHandleIsInvalid", True),
        ("InvalidParameterValue", True),
        ("MessageNotInflight", True),
        ("AWS.SimpleQueueService.MessageNotInflight", True),
        ("InternalError", False),
        ("RequestThrottled", False),
        ("SomethingNew", False),
    ],
)
def test_only_an_error_about_the_receipt_handle_is_final(code: str, expected: bool) -> None:
    assert is_final(code) is expected


class Stranger:
    """A service that answers in JSON, but is not SQS."""

    clock = service_clock()

    def __init__(self, answer: dict[str, Any]) -> None:
        self._answer = answer

    async def call(self, operation: str, body: bytes, *, timeout_in_seconds: float) -> Any:
        return self._answer


@pytest.mark.parametrize("messages", ["text", {"a": 1}, 5])
async def test_an_answer_whose_messages_are_not_a_list_is_refused(messages: object) -> None:
    stranger = Stranger({"Messages": messages})
    source = SqsSource(stranger, arn=ORDERS, queue_url="http://elsewhere/orders", has_batching_window=False)
    with pytest.raises(Rejected, match="no messages"):
        await receive(source)


@pytest.mark.parametrize("message", ["text", None, 5, [], {}, {"Attributes": []}])
async def test_a_malformed_message_has_a_defect(message: object) -> None:
    stranger = Stranger({"Messages": [message]})
    source = SqsSource(stranger, arn=ORDERS, queue_url="http://elsewhere/orders", has_batching_window=False)
    [received] = await receive(source)
    assert received.defect in ("misshapen", "no Body")
    assert received.receipt_handle == ""


@pytest.mark.parametrize(
    "failed", [{"Id": "-1", "Code": "E"}, {"Id": "1", "Code": "E"}, {"Id": 0, "Code": "E"}, {"Id": "0"}, "text"]
)
async def test_a_failed_entry_that_names_no_message_of_the_call_is_refused(failed: object) -> None:
    sqs = FakeSqs()
    queue = sqs.create_queue("orders")
    sqs.send(queue, "hello")
    messages = await receive(sqs.source(queue))
    stranger = Stranger({"Failed": [failed]})
    source = SqsSource(stranger, arn=ORDERS, queue_url="http://elsewhere/orders", has_batching_window=False)
    with pytest.raises(Rejected, match="no results"):
        await source.delete(messages)


async def test_the_code_of_a_failed_entry_is_bounded() -> None:
    sqs = FakeSqs()
    queue = sqs.create_queue("orders")
    sqs.send(queue, "hello")
    messages = await receive(sqs.source(queue))
    stranger = Stranger({"Failed": [{"Id": "0", "Code": "E" * 3_000_000}]})
    source = SqsSource(stranger, arn=ORDERS, queue_url="http://elsewhere/orders", has_batching_window=False)
    [entry] = await source.delete(messages)
    assert len(entry.code) == 64


async def test_an_endpoint_that_is_not_sqs_is_recognised() -> None:
    source = SqsSource(
        Stranger({"status": "ok"}), arn=ORDERS, queue_url="http://elsewhere/orders", has_batching_window=False
    )
    with pytest.raises(Rejected, match="is this SQS"):
        await source.describe()
