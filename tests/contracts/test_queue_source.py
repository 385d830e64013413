"""What must every queue source do? The suite runs over the fake and, through the real AWS clients, over emulators."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import orjson
import pytest

from poller.core.envelope import md5_of_attributes
from poller.errors import NotFound
from poller.model.backlog import QueueDepth
from poller.model.ids import ReceiptHandle
from poller.model.message import Message, QueueAttributes
from poller.sources.sqs import SqsSource
from tests.contracts.conftest import Broker, Needs, Queue

pytestmark = pytest.mark.anyio

ATTRIBUTES = {
    "Kind": {"DataType": "String.own", "StringValue": "signup – ñ"},
    "Weeks": {"DataType": "Number", "StringValue": "6"},
    "Blob": {"DataType": "Binary", "BinaryValue": "AAF/gP8="},
}


@pytest.fixture
async def standard(broker: Broker) -> Queue:
    return await broker.create_queue()


@pytest.fixture
async def fifo(broker: Broker) -> Queue:
    return await broker.create_queue(suffix=".fifo", ContentBasedDeduplication="true")


async def receive(
    source: SqsSource, count: int = 10, wait_in_seconds: int = 0, visibility: int | None = None
) -> list[Message]:
    return await source.receive(count=count, wait_in_seconds=wait_in_seconds, visibility_timeout_in_seconds=visibility)


async def receive_one(source: SqsSource, wait_in_seconds: int = 10, visibility: int | None = None) -> Message:
    [message] = await receive(source, 1, wait_in_seconds, visibility)
    return message


def bodies(messages: Sequence[Message]) -> list[str]:
    return [message.record["body"] for message in messages]


async def test_a_message_has_the_form_of_the_event(standard: Queue) -> None:
    message_id = await standard.send('{"kind": "signup"}')
    message = await receive_one(standard.source())
    attributes = message.record["attributes"]
    assert message.record == {
        "messageId": message_id,
        "receiptHandle": message.receipt_handle,
        "body": '{"kind": "signup"}',
        "attributes": attributes,
        "messageAttributes": {},
        "md5OfBody": "9390cb440aa7d4f37af4b75fca1cf840",
        "eventSource": "aws:sqs",
        "eventSourceARN": str(standard.arn),
        "awsRegion": "eu-west-1",
    }
    assert set(attributes) >= {
        "ApproximateReceiveCount", "SentTimestamp", "SenderId", "ApproximateFirstReceiveTimestamp"
    }  # fmt: skip
    assert attributes["ApproximateReceiveCount"] == "1"
    assert all(isinstance(value, str) for value in attributes.values())
    assert message.message_id == message_id
    assert message.sent_at == int(attributes["SentTimestamp"]) / 1000
    assert message.message_group_id is None


async def test_attributes_of_every_type_arrive_with_the_digest_of_aws(standard: Queue) -> None:
    await standard.send("body", MessageAttributes=ATTRIBUTES)
    message = await receive_one(standard.source())
    nothing: dict[str, list[str]] = {"stringListValues": [], "binaryListValues": []}
    assert message.record["messageAttributes"] == {
        "Kind": {"stringValue": "signup – ñ", "dataType": "String.own"} | nothing,
        "Weeks": {"stringValue": "6", "dataType": "Number"} | nothing,
        "Blob": {"binaryValue": "AAF/gP8=", "dataType": "Binary"} | nothing,
    }
    assert message.record["md5OfMessageAttributes"] == md5_of_attributes(ATTRIBUTES)


async def test_the_trace_header_is_passed_on(standard: Queue) -> None:
    header = {"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1-5759e988-bd862e3fe1be46a994272793"}}
    await standard.send("traced", MessageSystemAttributes=header)
    message = await receive_one(standard.source())
    assert message.record["attributes"]["AWSTraceHeader"] == "Root=1-5759e988-bd862e3fe1be46a994272793"


@pytest.mark.parametrize(("has_batching_window", "expected"), [(False, "absent"), (True, None)])
async def test_without_attributes_their_digest_is_absent_or_null(
    standard: Queue, has_batching_window: bool, expected: str | None
) -> None:
    await standard.send("plain")
    message = await receive_one(standard.source(has_batching_window=has_batching_window))
    assert message.record.get("md5OfMessageAttributes", "absent") == expected


async def test_the_visibility_timeout_is_described(broker: Broker) -> None:
    queue = await broker.create_queue(VisibilityTimeout="77")
    assert await queue.source().describe() == QueueAttributes(visibility_timeout_in_seconds=77)


async def test_the_messages_that_are_visible_in_flight_and_delayed_are_counted(standard: Queue) -> None:
    for _ in range(3):
        await standard.send("message")
    for _ in range(4):
        await standard.send("later", DelaySeconds=60)
    await receive_one(standard.source(), visibility=60)
    assert await standard.source().depth() == QueueDepth(visible=2, in_flight=1, delayed=4)


async def test_a_queue_that_does_not_exist_is_not_found(broker: Broker, standard: Queue) -> None:
    await standard.send("message")
    message = await receive_one(standard.source())
    missing = broker.queue("nobody-made-this").source()
    with pytest.raises(NotFound):
        await missing.describe()
    with pytest.raises(NotFound):
        await missing.depth()
    with pytest.raises(NotFound):
        await receive(missing)
    with pytest.raises(NotFound):
        await missing.delete([message])
    with pytest.raises(NotFound):
        await missing.change_visibility([message], timeout_in_seconds=0)


async def test_a_receive_from_an_empty_queue_returns_no_message(standard: Queue) -> None:
    assert await receive(standard.source()) == []


async def test_a_long_poll_on_an_empty_queue_returns_no_message(standard: Queue) -> None:
    assert await receive(standard.source(), wait_in_seconds=1) == []


async def test_a_receive_returns_at_most_the_requested_number_of_messages(standard: Queue) -> None:
    for number in range(5):
        await standard.send(str(number))
    assert 1 <= len(await receive(standard.source(), 3, wait_in_seconds=5)) <= 3


async def test_ten_messages_are_received_and_deleted_in_one_call_each(standard: Queue) -> None:
    source = standard.source()
    for number in range(10):
        await standard.send(str(number))
    messages = await receive(source, 10, wait_in_seconds=5, visibility=1)
    assert sorted(bodies(messages)) == [str(number) for number in range(10)]
    assert await source.delete(messages) == []
    assert await receive(source, wait_in_seconds=2) == []


async def test_a_call_without_messages_does_nothing(broker: Broker) -> None:
    source = broker.queue("nobody-made-this").source()
    assert await source.delete([]) == []
    assert await source.change_visibility([], timeout_in_seconds=0) == []


async def test_a_message_in_flight_is_not_received_again(standard: Queue) -> None:
    source = standard.source()
    await standard.send("once")
    await receive_one(source)
    assert await receive(source, wait_in_seconds=1) == []


async def test_a_message_is_received_again_with_a_new_receipt_after_its_visibility_timeout(
    standard: Queue,
) -> None:
    source = standard.source()
    await standard.send("again")
    first = await receive_one(source, visibility=1)
    second = await receive_one(source)
    assert second.message_id == first.message_id
    assert second.receipt_handle != first.receipt_handle
    assert second.record["attributes"]["ApproximateReceiveCount"] == "2"


async def test_a_visibility_of_zero_shows_a_message_at_once(standard: Queue) -> None:
    source = standard.source()
    await standard.send("released")
    message = await receive_one(source)
    assert await source.change_visibility([message], timeout_in_seconds=0) == []
    assert bodies(await receive(source)) == ["released"]


async def test_an_extended_message_stays_hidden(standard: Queue) -> None:
    source = standard.source()
    await standard.send("held")
    message = await receive_one(source, visibility=1)
    assert await source.change_visibility([message], timeout_in_seconds=30) == []
    assert await receive(source, wait_in_seconds=2) == []


async def test_a_long_poll_returns_as_soon_as_a_message_becomes_visible(standard: Queue) -> None:
    await standard.send("late", DelaySeconds=1)
    with anyio.fail_after(15):
        assert bodies(await receive(standard.source(), wait_in_seconds=20)) == ["late"]


@pytest.mark.needs(Needs.FORGIVING_DELETES)
async def test_a_second_delete_is_not_an_error(standard: Queue) -> None:
    source = standard.source()
    await standard.send("gone")
    message = await receive_one(source)
    assert await source.delete([message]) == []
    assert await source.delete([message]) == []


async def test_an_unknown_receipt_is_a_final_error_of_its_own_entry_only(standard: Queue) -> None:
    source = standard.source()
    await standard.send("known")
    known = await receive_one(source)
    unknown = known._replace(receipt_handle=ReceiptHandle("AQEBnobodygavethis"))
    for rejected in (
        await source.change_visibility([unknown, known], timeout_in_seconds=60),
        await source.delete([unknown, known]),
    ):
        assert [(entry.message, entry.is_final) for entry in rejected] == [(unknown, True)]


@pytest.mark.needs(Needs.ERRORS_WHEN_NOT_IN_FLIGHT)
async def test_a_message_that_is_no_longer_in_flight_cannot_be_hidden(standard: Queue) -> None:
    source = standard.source()
    await standard.send("let go")
    message = await receive_one(source)
    await source.change_visibility([message], timeout_in_seconds=0)
    [entry] = await source.change_visibility([message], timeout_in_seconds=60)
    assert entry.is_final


async def test_a_message_group_is_received_in_order_and_is_locked_while_in_flight(fifo: Queue) -> None:
    source = fifo.source()
    for body in ("a1", "a2", "a3", "b1"):
        await fifo.send(body, MessageGroupId=body[0])
    first = await receive_one(source)
    group = first.message_group_id
    assert group is not None
    rest = await receive(source, wait_in_seconds=1)
    assert {message.message_group_id for message in rest} == {"a", "b"} - {group}
    assert bodies([first, *rest]) in (["a1", "b1"], ["b1", "a1", "a2", "a3"])


async def test_a_receive_takes_as_many_of_a_message_group_as_it_can_in_order(fifo: Queue) -> None:
    for number in range(7):
        await fifo.send(str(number), MessageGroupId="g")
    assert bodies(await receive(fifo.source(), 5, wait_in_seconds=5)) == ["0", "1", "2", "3", "4"]


async def test_a_message_group_goes_on_after_its_messages_were_deleted(fifo: Queue) -> None:
    source = fifo.source()
    for body in ("1", "2"):
        await fifo.send(body, MessageGroupId="g")
    first = await receive_one(source)
    assert await source.delete([first]) == []
    assert bodies(await receive(source, wait_in_seconds=5)) == ["2"]


async def test_a_released_message_group_begins_with_its_oldest_message(fifo: Queue) -> None:
    source = fifo.source()
    for body in ("1", "2", "3"):
        await fifo.send(body, MessageGroupId="g")
    messages = await receive(source, 2, wait_in_seconds=5)
    assert await source.change_visibility(messages, timeout_in_seconds=0) == []
    assert bodies(await receive(source, 3, wait_in_seconds=5)) == ["1", "2", "3"]


async def test_fifo_attributes_are_in_the_record(fifo: Queue) -> None:
    await fifo.send("message", MessageGroupId="g", MessageDeduplicationId="d")
    attributes = (await receive_one(fifo.source())).record["attributes"]
    assert (attributes["MessageGroupId"], attributes["MessageDeduplicationId"]) == ("g", "d")
    assert attributes["SequenceNumber"].isdecimal()


async def test_two_messages_with_one_deduplication_id_are_one_message(fifo: Queue) -> None:
    source = fifo.source()
    for body in ("first", "second"):
        await fifo.send(body, MessageGroupId="g", MessageDeduplicationId="same")
    assert bodies(await receive(source, wait_in_seconds=5)) == ["first"]


@pytest.mark.needs(Needs.EXPIRING_RECEIPTS)
async def test_a_delete_with_an_expired_receipt_is_a_final_error_on_a_fifo_queue(fifo: Queue) -> None:
    source = fifo.source()
    await fifo.send("slow", MessageGroupId="g")
    expired = await receive_one(source, visibility=1)
    current = await receive_one(source)
    assert [entry.is_final for entry in await source.delete([expired])] == [True]
    assert await source.delete([current]) == []


@pytest.mark.parametrize("suffix", ["", ".fifo"])
async def test_a_receive_too_many_moves_a_message_to_the_dead_letter_queue(broker: Broker, suffix: str) -> None:
    dead_letters = await broker.create_queue(suffix=suffix)
    policy = {"deadLetterTargetArn": str(dead_letters.arn), "maxReceiveCount": "2"}
    queue = await broker.create_queue(suffix=suffix, RedrivePolicy=orjson.dumps(policy).decode())
    fifo_parameters = {"MessageGroupId": "g", "MessageDeduplicationId": "d"} if suffix else {}
    message_id = await queue.send("poison", **fifo_parameters)
    source = queue.source()
    for count in ("1", "2"):
        message = await receive_one(source)
        assert message.record["attributes"]["ApproximateReceiveCount"] == count
        assert await source.change_visibility([message], timeout_in_seconds=0) == []
    assert await receive(source) == []
    assert (await receive_one(dead_letters.source())).message_id == message_id
