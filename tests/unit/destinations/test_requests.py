"""Which request does each destination send?"""

from __future__ import annotations

from typing import Any, NamedTuple
from uuid import UUID

import pytest

from poller.core.document import Document
from poller.destinations.s3 import S3Destination
from poller.destinations.sns import SnsDestination
from poller.destinations.sqs import SqsDestination
from poller.errors import NotFound, Rejected
from poller.model.arn import Arn
from poller.ports import Destination

pytestmark = pytest.mark.anyio

DOCUMENT = Document(
    text='{"requestContext":{"functionArn":"ñ"}}'.encode(),
    event=b'{"Records":[]}',
    folder="aws/lambda/2b8d7c3e/shardId-000000000001",
    at=1573691886.021,
    document_id=UUID("f1cb48aa-5a3f-4c62-b0d4-5a8a5ed5e8f1"),
)
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

    def __init__(self, error: NotFound | None = None) -> None:
        self.asked: list[Asked] = []
        self._error = error

    async def call(self, operation: str, *, timeout_in_seconds: float, **parameters: Any) -> Any:
        self.asked.append(Asked(operation, timeout_in_seconds, parameters))
        if self._error:
            raise self._error
        return {}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def asked(client: Transcript, destination: Destination) -> Asked:
    await destination.deliver(DOCUMENT)
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


@pytest.mark.parametrize(("kind", "limit_in_bytes"), [("sqs", 1024 * 1024), ("sns", 256 * 1024)])
async def test_a_document_beyond_the_limit_of_a_message_is_rejected_without_a_call(
    kind: str, limit_in_bytes: int
) -> None:
    client = Transcript()
    destination: Destination = (
        SqsDestination(client, queue_url=QUEUE_URL) if kind == "sqs" else SnsDestination(client, arn=Arn.parse(TOPIC))
    )
    await destination.deliver(of_size(limit_in_bytes))
    with pytest.raises(Rejected, match=f"a message may have {limit_in_bytes}") as caught:
        await destination.deliver(of_size(limit_in_bytes + 1))
    assert caught.value.code == "DocumentTooLarge"
    assert len(client.asked) == 1


async def test_an_object_has_no_limit() -> None:
    client = Transcript()
    await S3Destination(client, arn=BUCKET).deliver(of_size(16 * 1024 * 1024))
    assert len(client.asked) == 1


async def test_an_error_of_the_destination_is_raised() -> None:
    error = NotFound("no such bucket", code="NoSuchBucket")
    destination = S3Destination(Transcript(error), arn=BUCKET)
    with pytest.raises(NotFound):
        await destination.deliver(DOCUMENT)
