"""Which request does each destination send?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import UUID

import orjson
import pytest

from poller.aws.wire import Answer
from poller.core.document import Attribute, Document
from poller.destinations.eventbridge import EventBridgeDestination
from poller.destinations.function import FunctionDestination
from poller.destinations.lambda_function import LambdaDestination
from poller.destinations.s3 import S3Destination
from poller.destinations.sns import SnsDestination
from poller.destinations.sqs import SqsDestination
from poller.errors import (
    AccessDenied,
    DocumentTooLarge,
    NotFound,
    QueueFull,
    Rejected,
    ServiceError,
    Throttled,
    Unreachable,
)
from poller.model.arn import Arn
from poller.model.event import Event
from poller.model.ids import FunctionName, RequestId
from poller.ports import Destination
from tests.fakes.clock import VirtualClock
from tests.fakes.event_queue import FakeEventQueue

pytestmark = pytest.mark.anyio

DOCUMENT = Document(
    text='{"requestContext":{"functionArn":"ñ"}}'.encode(),
    event=b'{"Records":[]}',
    folder="aws/lambda/2b8d7c3e/shardId-000000000001",
    at=1573691886.021,
    document_id=UUID("f1cb48aa-5a3f-4c62-b0d4-5a8a5ed5e8f1"),
)
TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1;Lineage=c512fbe3:2"
TRACEPARENT = "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01"
RECORD = DOCUMENT._replace(
    event=None,
    detail_type="Lambda Function Invocation Result - Failure",
    function_arn="arn:aws:lambda:eu-west-1:123456789012:function:f:$LATEST",
    trace=TRACE,
)
DEAD_LETTER = RECORD._replace(
    attributes=(Attribute("RequestID", "String", "e4b46cbf"), Attribute("ErrorCode", "Number", "200"))
)
RECORD = RECORD._replace(traceparent=TRACEPARENT)
MESSAGE_ATTRIBUTES = {
    "RequestID": {"DataType": "String", "StringValue": "e4b46cbf"},
    "ErrorCode": {"DataType": "Number", "StringValue": "200"},
}
TRACE_ATTRIBUTE = {"DataType": "String", "StringValue": TRACE}
TRACEPARENT_ATTRIBUTE = {"DataType": "String", "StringValue": TRACEPARENT}
BUS = "arn:aws:events:eu-west-1:123456789012:event-bus/results"
TEXT = DOCUMENT.text.decode()
QUEUE_URL = "http://sqs/123456789012/failures"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:failures"
BUCKET = Arn.parse("arn:aws:s3:::failures")


class Asked(NamedTuple):
    operation: str
    timeout_in_seconds: float
    parameters: dict[str, Any]


class Transcript:
    """A client that notes its requests, and answers or raises an error."""

    def __init__(self, error: ServiceError | None = None, answer: dict[str, Any] | None = None) -> None:
        self.asked: list[Asked] = []
        self._error = error
        self._answer = answer or {}

    async def call(self, operation: str, *, timeout_in_seconds: float, **parameters: Any) -> Any:
        self.asked.append(Asked(operation, timeout_in_seconds, parameters))
        if self._error:
            raise self._error
        return self._answer


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Lambda:
    """An invoker that notes what it gets, and gives one answer."""

    def __init__(self, answer: Answer) -> None:
        self.asked: list[tuple[bytes, dict[str, str]]] = []
        self._answer = answer

    async def invoke(self, payload: bytes, headers: Mapping[str, str]) -> Answer:
        self.asked.append((payload, dict(headers)))
        return self._answer


ACCEPTED = Answer(202, {}, b"")


async def asked(client: Transcript, destination: Destination, document: Document = DOCUMENT) -> Asked:
    await destination.deliver(document)
    [request] = client.asked
    return request


async def test_a_queue_gets_the_document_as_a_message() -> None:
    client = Transcript()
    request = await asked(client, SqsDestination(client, queue_url=QUEUE_URL))
    assert request == ("send_message", 10, {"QueueUrl": QUEUE_URL, "MessageBody": TEXT})


async def test_a_topic_gets_the_document_as_a_message_without_subject() -> None:
    client = Transcript()
    request = await asked(client, SnsDestination(client, arn=Arn.parse(TOPIC)))
    assert request == ("publish", 10, {"TopicArn": TOPIC, "Message": TEXT})


async def test_a_dead_letter_has_its_attributes_and_its_trace_in_a_queue() -> None:
    client = Transcript()
    request = await asked(client, SqsDestination(client, queue_url=QUEUE_URL), DEAD_LETTER)
    assert request.parameters == {
        "QueueUrl": QUEUE_URL,
        "MessageBody": TEXT,
        "MessageAttributes": MESSAGE_ATTRIBUTES,
        "MessageSystemAttributes": {"AWSTraceHeader": TRACE_ATTRIBUTE},
    }


async def test_a_record_has_its_trace_and_its_w3c_trace_in_a_queue() -> None:
    client = Transcript()
    request = await asked(client, SqsDestination(client, queue_url=QUEUE_URL), RECORD)
    assert request.parameters["MessageAttributes"] == {"traceparent": TRACEPARENT_ATTRIBUTE}
    assert request.parameters["MessageSystemAttributes"] == {"AWSTraceHeader": TRACE_ATTRIBUTE}


async def test_a_record_has_its_trace_and_its_w3c_trace_in_a_topic() -> None:
    client = Transcript()
    request = await asked(client, SnsDestination(client, arn=Arn.parse(TOPIC)), RECORD)
    attributes = {"AWSTraceHeader": TRACE_ATTRIBUTE, "traceparent": TRACEPARENT_ATTRIBUTE}
    assert request.parameters == {"TopicArn": TOPIC, "Message": TEXT, "MessageAttributes": attributes}


async def test_a_dead_letter_that_is_no_text_is_sent_all_the_same() -> None:
    client = Transcript()
    request = await asked(client, SqsDestination(client, queue_url=QUEUE_URL), DEAD_LETTER._replace(text=b"a\xff"))
    assert request.parameters["MessageBody"] == "a\ufffd"


async def test_a_dead_letter_has_its_attributes_and_its_trace_in_a_topic() -> None:
    client = Transcript()
    request = await asked(client, SnsDestination(client, arn=Arn.parse(TOPIC)), DEAD_LETTER)
    attributes = MESSAGE_ATTRIBUTES | {"AWSTraceHeader": TRACE_ATTRIBUTE}
    assert request.parameters == {"TopicArn": TOPIC, "Message": TEXT, "MessageAttributes": attributes}


@pytest.mark.parametrize("kind", ["sqs", "sns"])
async def test_a_dead_letter_has_no_character_that_sqs_refuses(kind: str) -> None:
    client = Transcript()
    message = Attribute("ErrorMessage", "String", "\x1b[31mred\x1b[0m \0 a\tb\n\uffff \U0001f600")
    payload = '{"a": "\ufffe – \uffff"}'
    await destination_of(kind, client).deliver(DEAD_LETTER._replace(text=payload.encode(), attributes=(message,)))
    sent = client.asked[0].parameters
    body = sent["MessageBody" if kind == "sqs" else "Message"]
    assert orjson.loads(body) == orjson.loads(payload)
    assert not {"\ufffe", "\uffff"} & set(body)
    value = sent["MessageAttributes"]["ErrorMessage"]["StringValue"]
    assert value == "\ufffd[31mred\ufffd[0m \ufffd a\tb\n\ufffd \U0001f600"


async def test_a_bus_gets_the_record_as_the_detail_of_an_event() -> None:
    client = Transcript(answer={"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]})
    request = await asked(client, EventBridgeDestination(client, arn=Arn.parse(BUS)), RECORD)
    entry = {
        "Time": 1573691886.021,
        "Source": "lambda",
        "DetailType": "Lambda Function Invocation Result - Failure",
        "Resources": [BUS, "arn:aws:lambda:eu-west-1:123456789012:function:f:$LATEST"],
        "Detail": TEXT,
        "EventBusName": BUS,
        "TraceHeader": TRACE,
    }
    assert request == ("put_events", 10, {"Entries": [entry]})


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("AccessDeniedException", AccessDenied),
        ("NotAuthorizedForSourceException", Rejected),
        ("ResourceNotFoundException", NotFound),
        ("ThrottlingException", Throttled),
        ("InternalFailure", Unreachable),
        ("InternalException", Unreachable),
        ("ServiceUnavailable", Unreachable),
        ("MalformedDetail", Rejected),
    ],
)
async def test_an_entry_that_the_bus_did_not_take_is_an_error(code: str, error: type[ServiceError]) -> None:
    entries = [{"ErrorCode": code, "ErrorMessage": "no"}]
    destination = EventBridgeDestination(
        Transcript(answer={"FailedEntryCount": 1, "Entries": entries}), arn=Arn.parse(BUS)
    )
    with pytest.raises(error) as caught:
        await destination.deliver(RECORD)
    assert caught.value.code == code


async def test_a_lambda_function_gets_the_record_as_an_asynchronous_event() -> None:
    invoker = Lambda(ACCEPTED)
    await LambdaDestination(invoker).deliver(RECORD)
    headers = {"content-type": "application/json", "x-amz-invocation-type": "Event"}
    assert invoker.asked == [(DOCUMENT.text, headers | {"x-amzn-trace-id": TRACE})]
    await LambdaDestination(invoker).deliver(DOCUMENT)
    assert invoker.asked[1] == (DOCUMENT.text, headers)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(404, {"x-amzn-errortype": "ResourceNotFoundException"}, b"{}"), NotFound),
        (Answer(429, {"x-amzn-errortype": "TooManyRequestsException"}, b"{}"), Throttled),
        (Answer(413, {"x-amzn-errortype": "RequestEntityTooLargeException"}, b"{}"), DocumentTooLarge),
        (Answer(500, {}, b""), Unreachable),
    ],
)
async def test_an_event_that_lambda_did_not_take_is_an_error(answer: Answer, error: type[ServiceError]) -> None:
    with pytest.raises(error):
        await LambdaDestination(Lambda(answer)).deliver(RECORD)


async def test_a_function_of_the_file_gets_the_record_as_an_event_of_its_own() -> None:
    clock = VirtualClock(ahead=5)
    queue = FakeEventQueue(clock)
    ids = iter(["r-1", "r-2"])
    destination = FunctionDestination(
        FunctionName("audit"), put=queue.put, clock=clock, new_request_id=lambda: RequestId(next(ids))
    )
    earliest = clock.now()
    await destination.deliver(RECORD)
    await destination.deliver(RECORD)
    first, second = queue.events
    assert first == Event(
        request_id=RequestId("r-1"),
        function=FunctionName("audit"),
        payload=DOCUMENT.text,
        accepted_at=first.accepted_at,
        due_at=first.accepted_at,
        trace=TRACE,
        traceparent=TRACEPARENT,
    )
    assert earliest <= first.accepted_at <= clock.now()
    assert second.request_id == "r-2"


async def test_a_full_queue_of_a_function_is_an_error() -> None:
    clock = VirtualClock()
    queue = FakeEventQueue(clock, maximum_bytes=len(DOCUMENT.text))
    destination = FunctionDestination(
        FunctionName("audit"), put=queue.put, clock=clock, new_request_id=lambda: RequestId("r-1")
    )
    await destination.deliver(RECORD)
    with pytest.raises(QueueFull):
        await destination.deliver(RECORD)


async def test_a_bucket_gets_the_document_and_the_event_as_an_object() -> None:
    client = Transcript()
    request = await asked(client, S3Destination(client, arn=BUCKET))
    key = "2019-11-14T00.38.06-f1cb48aa-5a3f-4c62-b0d4-5a8a5ed5e8f1"
    assert request == (
        "put_object",
        10,
        {
            "Bucket": "failures",
            "Key": f"aws/lambda/2b8d7c3e/shardId-000000000001/2019/11/14/{key}",
            "Body": TEXT.removesuffix("}").encode() + b',"payload":"{\\"Records\\":[]}"}',
            "ContentType": "application/octet-stream",
        },
    )


def of_size(size_in_bytes: int) -> Document:
    """Return a document of this size. Each character has two bytes, because a limit counts bytes."""
    return DOCUMENT._replace(text=b'"' + ("ñ" * (size_in_bytes // 2 - 1) + "x" * (size_in_bytes % 2)).encode() + b'"')


def destination_of(kind: str, client: Transcript) -> Destination:
    match kind:
        case "sqs":
            return SqsDestination(client, queue_url=QUEUE_URL)
        case "sns":
            return SnsDestination(client, arn=Arn.parse(TOPIC))
        case "events":
            return EventBridgeDestination(client, arn=Arn.parse(BUS))
        case "lambda":
            return LambdaDestination(Lambda(ACCEPTED))
        case _:
            clock = VirtualClock()
            return FunctionDestination(
                FunctionName("audit"),
                put=FakeEventQueue(clock).put,
                clock=clock,
                new_request_id=lambda: RequestId("r-1"),
            )


@pytest.mark.parametrize(
    ("kind", "limit_in_bytes"),
    [
        ("sqs", 1024 * 1024),
        ("sns", 256 * 1024),
        ("events", 1024 * 1024 - 14 - len("lambda")),
        ("lambda", 1024 * 1024),
        ("function", 1024 * 1024),
    ],
)
async def test_a_document_beyond_the_limit_of_a_service_is_rejected_without_a_call(
    kind: str, limit_in_bytes: int
) -> None:
    client = Transcript()
    destination = destination_of(kind, client)
    if kind == "events":
        limit_in_bytes -= len(f"{BUS}")
    await destination.deliver(of_size(limit_in_bytes))
    with pytest.raises(DocumentTooLarge, match="the destination accepts") as caught:
        await destination.deliver(of_size(limit_in_bytes + 1))
    assert caught.value.code == "DocumentTooLarge"
    assert len(client.asked) <= 1


@pytest.mark.parametrize(("kind", "limit_in_bytes"), [("sqs", 1024 * 1024), ("sns", 256 * 1024)])
async def test_a_w3c_trace_counts_towards_the_limit_of_a_message(kind: str, limit_in_bytes: int) -> None:
    destination = destination_of(kind, Transcript())
    room = limit_in_bytes - len("traceparent") - len("String") - len(TRACEPARENT)
    await destination.deliver(of_size(room)._replace(traceparent=TRACEPARENT))
    with pytest.raises(DocumentTooLarge):
        await destination.deliver(of_size(room + 1)._replace(traceparent=TRACEPARENT))


@pytest.mark.parametrize(("kind", "limit_in_bytes"), [("sqs", 1024 * 1024), ("sns", 256 * 1024)])
async def test_the_attributes_count_towards_the_limit_of_a_message(kind: str, limit_in_bytes: int) -> None:
    destination = destination_of(kind, Transcript())
    attribute = Attribute("ErrorMessage", "String", "ñ")
    room = limit_in_bytes - len("ErrorMessage") - len("String") - 2
    await destination.deliver(of_size(room)._replace(attributes=(attribute,)))
    with pytest.raises(DocumentTooLarge):
        await destination.deliver(of_size(room + 1)._replace(attributes=(attribute,)))


async def test_a_queue_may_have_a_lower_limit() -> None:
    text = "InvalidParameterValue (400): One or more parameters are invalid. Reason: Message must be shorter than 1024"
    error = Rejected(text, code="InvalidParameterValue")
    with pytest.raises(DocumentTooLarge, match="shorter than 1024"):
        await SqsDestination(Transcript(error), queue_url=QUEUE_URL).deliver(DOCUMENT)
    other = Rejected("InvalidMessageContents (400): no", code="InvalidMessageContents")
    with pytest.raises(Rejected) as caught:
        await SqsDestination(Transcript(other), queue_url=QUEUE_URL).deliver(DOCUMENT)
    assert caught.value is other


async def test_an_object_has_no_limit() -> None:
    client = Transcript()
    await S3Destination(client, arn=BUCKET).deliver(of_size(16 * 1024 * 1024))
    assert len(client.asked) == 1


async def test_an_error_of_the_destination_is_raised() -> None:
    error = NotFound("no such bucket", code="NoSuchBucket")
    destination = S3Destination(Transcript(error), arn=BUCKET)
    with pytest.raises(NotFound):
        await destination.deliver(DOCUMENT)
