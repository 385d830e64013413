"""What does each destination ask its service for?"""

from __future__ import annotations

from typing import Any, NamedTuple
from uuid import UUID

import pytest

from poller.core.invocation_record import DiscardedBatch, InvocationRecord, failure_record, s3_object
from poller.destinations.s3 import S3Destination
from poller.destinations.sns import SnsDestination
from poller.destinations.sqs import SqsDestination
from poller.errors import NotFound
from poller.model.arn import Arn
from poller.model.ids import RequestId
from poller.model.stream import ShardId
from poller.ports import Destination

pytestmark = pytest.mark.anyio

NOTICE = InvocationRecord(
    DiscardedBatch(
        request_id=RequestId("c9b8fa9f-5a7f-xmpl-af9c-0c604cde93a5"),
        function_arn="arn:aws:lambda:us-east-2:123456789012:function:ñ",
        condition="RecordAgeExceeded",
        invoke_count=1,
        response=None,
        at=1573691886.021,
        is_kinesis=True,
        shard_id=ShardId("shardId-000000000001"),
        stream_arn="arn:aws:kinesis:us-east-2:123456789012:stream/mystream",
        records=[],
    ),
    b'{"Records":[]}',
    UUID("f1cb48aa-5a3f-4c62-b0d4-5a8a5ed5e8f1"),
)
TEXT = failure_record(NOTICE.batch).decode()


class Asked(NamedTuple):
    operation: str
    timeout_in_seconds: float
    parameters: dict[str, Any]


class Transcript:
    """A client that notes what it is asked, and answers or refuses."""

    def __init__(self, refusal: NotFound | None = None) -> None:
        self.asked: list[Asked] = []
        self._refusal = refusal

    async def call(self, operation: str, *, timeout_in_seconds: float, **parameters: Any) -> Any:
        self.asked.append(Asked(operation, timeout_in_seconds, parameters))
        if self._refusal:
            raise self._refusal
        return {}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def asked(client: Transcript, destination: Destination) -> Asked:
    await destination.deliver(NOTICE)
    [request] = client.asked
    return request


async def test_a_queue_gets_the_failure_record_as_a_message() -> None:
    client = Transcript()
    url = "http://sqs/123456789012/failures"
    request = await asked(client, SqsDestination(client, queue_url=url))
    assert request == ("send_message", 10, {"QueueUrl": url, "MessageBody": TEXT})


async def test_a_topic_gets_the_failure_record_as_a_message_without_subject() -> None:
    client = Transcript()
    arn = "arn:aws:sns:eu-west-1:123456789012:failures"
    request = await asked(client, SnsDestination(client, arn=Arn.parse(arn)))
    assert request == ("publish", 10, {"TopicArn": arn, "Message": TEXT})


async def test_a_bucket_gets_the_failure_record_and_the_event_as_an_object() -> None:
    client = Transcript()
    bucket = Arn.parse("arn:aws:s3:::failures")
    request = await asked(client, S3Destination(client, arn=bucket, mapping_uuid="2b8d7c3e"))
    key = "2019-11-14T00.38.06-f1cb48aa-5a3f-4c62-b0d4-5a8a5ed5e8f1"
    assert request == (
        "put_object",
        10,
        {
            "Bucket": "failures",
            "Key": f"aws/lambda/2b8d7c3e/shardId-000000000001/2019/11/14/{key}",
            "Body": s3_object(NOTICE.batch, event=NOTICE.event),
            "ContentType": "application/octet-stream",
        },
    )


async def test_a_refusal_is_not_hidden() -> None:
    refusal = NotFound("no such bucket", code="NoSuchBucket")
    destination = S3Destination(Transcript(refusal), arn=Arn.parse("arn:aws:s3:::failures"), mapping_uuid="2b8d7c3e")
    with pytest.raises(NotFound):
        await destination.deliver(NOTICE)
