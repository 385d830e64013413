"""What must every destination do?

See ports.Destination. The suite runs over the fake and over all services of an emulator.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, NamedTuple, cast
from uuid import UUID, uuid4

import anyio
import orjson
import pytest
from aiobotocore.session import get_session
from trio.testing import MockClock

from poller.aws.clients import Aws, AwsSettings
from poller.aws.kept_client import KeptClient
from poller.core.document import Document
from poller.core.invocation_record import DiscardedBatch, document_of
from poller.destinations.s3 import S3Destination
from poller.destinations.sns import SnsDestination
from poller.destinations.sqs import SqsDestination
from poller.errors import NotFound, Unreachable
from poller.model.arn import Arn, queue_url
from poller.model.ids import RequestId
from poller.model.stream import SequenceNumber, ShardId
from poller.ports import Destination
from tests.fakes.destinations import FakeDestination
from tests.fakes.faults import Fault, FaultPlan

pytestmark = pytest.mark.anyio

REGION = "eu-west-1"

Json = dict[str, Any]


class Held(NamedTuple):
    sequence_number: SequenceNumber = SequenceNumber("49601189658422359378836298521827638475320189012309704722")
    arrived_at: float = 1573691884.835
    encoded: bytes = b"{}"


BATCH = DiscardedBatch(
    request_id=RequestId("c9b8fa9f-5a7f-xmpl-af9c-0c604cde93a5"),
    function_arn="arn:aws:lambda:us-east-2:123456789012:function:myfunction",
    condition="RetryAttemptsExhausted",
    invoke_count=2,
    response=None,
    at=1573691886.021,
    mapping_uuid="2b8d7c3e",
    shard_id=ShardId("shardId-000000000001"),
    stream_arn=Arn.parse("arn:aws:kinesis:us-east-2:123456789012:stream/mystream"),
    records=[Held()],
)


class Place(NamedTuple):
    """A destination, one that does not exist, one without a server, and the documents that have arrived so far.

    `is_idempotent` is true if a document that is delivered twice arrives once.
    """

    destination: Destination
    absent: Destination
    silent: Destination
    arrived: Callable[[], Awaitable[list[Json]]]
    is_idempotent: bool = False


def document(name: str, *, event: bytes = b'{"Records":[]}') -> Document:
    return document_of(replace(BATCH, request_id=RequestId(name)), event=event, document_id=UUID(int=len(name)))


def parsed(document: Document) -> Json:
    return cast(Json, orjson.loads(document.text))


@pytest.fixture(params=["fake on asyncio", "fake on trio", "sqs", "sns", "s3"])
def implementation(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def anyio_backend(implementation: str) -> Any:
    return ("trio", {"clock": MockClock(autojump_threshold=0)}) if implementation == "fake on trio" else "asyncio"


@pytest.fixture
async def place(implementation: str, request: pytest.FixtureRequest, anyio_backend: Any) -> AsyncIterator[Place]:
    if implementation.startswith("fake"):
        yield fake()
        return
    url: str = request.getfixturevalue("ministack")
    account: str = request.getfixturevalue("account")
    async with service(implementation, url, account) as place:
        yield place


async def test_a_document_arrives(place: Place) -> None:
    one = document("one – ñ")
    await place.destination.deliver(one)
    assert await place.arrived() == [parsed(one)]


async def test_every_document_arrives_even_if_they_are_sent_at_the_same_time(place: Place) -> None:
    documents = [document("n" * length) for length in range(1, 8)]
    async with anyio.create_task_group() as group:
        for each in documents:
            group.start_soon(place.destination.deliver, each)
    assert Counter(map(orjson.dumps, await place.arrived())) == Counter(
        orjson.dumps(parsed(each)) for each in documents
    )


async def test_the_largest_possible_batch_is_reported(place: Place) -> None:
    large = document("large", event=b'{"Records":["%b"]}' % (b'\\"' * 3 * 1024 * 1024))
    await place.destination.deliver(large)
    assert await place.arrived() == [parsed(large)]


async def test_a_document_can_be_delivered_twice(place: Place) -> None:
    again = document("again")
    await place.destination.deliver(again)
    await place.destination.deliver(again)
    assert await place.arrived() == [parsed(again)] * (1 if place.is_idempotent else 2)


async def test_a_destination_that_does_not_exist_is_not_found(place: Place) -> None:
    for _ in range(2):
        with pytest.raises(NotFound):
            await place.absent.deliver(document("lost"))


async def test_a_destination_without_an_answer_is_unreachable(place: Place) -> None:
    with pytest.raises(Unreachable) as caught:
        await place.silent.deliver(document("lost"))
    assert not caught.value.was_sent


def fake() -> Place:
    absent, silent = FaultPlan(), FaultPlan()
    absent.script("deliver", Fault.NOT_FOUND, Fault.NOT_FOUND)
    silent.script("deliver", Fault.UNREACHABLE)
    destination = FakeDestination()

    async def arrived() -> list[Json]:
        return [parsed(each) for each in destination.taken]

    return Place(destination, FakeDestination(faults=absent), FakeDestination(faults=silent), arrived)


@asynccontextmanager
async def service(kind: str, url: str, account: str) -> AsyncIterator[Place]:
    """Yield a new queue, a new topic with a subscribed queue, or a new bucket."""
    async with (
        Aws(AwsSettings(region=REGION, endpoint_url=url)) as aws,
        Aws(AwsSettings(region=REGION, endpoint_url="http://127.0.0.1:1")) as nobody,
        KeptClient(lambda: aws.client(kind)) as client,
        KeptClient(lambda: nobody.client(kind)) as silent,
    ):
        make, open_place = {"sqs": (sqs, a_queue), "sns": (sns, a_topic), "s3": (s3, a_bucket)}[kind]
        async with open_place(aws, url, account) as (arn, arrived):
            absent = replace(arn, resource=f"{arn.resource}-absent")
            yield Place(
                make(client, arn, url), make(client, absent, url), make(silent, arn, url), arrived, kind == "s3"
            )


def sqs(client: KeptClient, arn: Arn, url: str) -> Destination:
    return SqsDestination(client, queue_url=queue_url(url, arn))


def sns(client: KeptClient, arn: Arn, url: str) -> Destination:
    return SnsDestination(client, arn=arn)


def s3(client: KeptClient, arn: Arn, url: str) -> Destination:
    return S3Destination(client, arn=arn)


Opened = tuple[Arn, Callable[[], Awaitable[list[Json]]]]


@asynccontextmanager
async def a_queue(aws: Aws, url: str, account: str) -> AsyncIterator[Opened]:
    arn = Arn(partition="aws", service="sqs", region=REGION, account=account, resource=f"failures-{uuid4().hex}")
    async with aws.client("sqs") as client:
        await client.create_queue(QueueName=arn.resource)

        async def arrived() -> list[Json]:
            return [orjson.loads(body) for body in await bodies(client, queue_url(url, arn))]

        yield arn, arrived


@asynccontextmanager
async def a_topic(aws: Aws, url: str, account: str) -> AsyncIterator[Opened]:
    """The queue that is subscribed to the topic receives the documents."""
    async with a_queue(aws, url, account) as (queue, _), aws.client("sns") as client, aws.client("sqs") as reader:
        topic = (await client.create_topic(Name=queue.resource))["TopicArn"]
        await client.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=str(queue))

        async def arrived() -> list[Json]:
            envelopes = [orjson.loads(body) for body in await bodies(reader, queue_url(url, queue))]
            assert all(not envelope.get("Subject") for envelope in envelopes)
            return [orjson.loads(envelope["Message"]) for envelope in envelopes]

        yield Arn.parse(topic), arrived


@asynccontextmanager
async def a_bucket(aws: Aws, url: str, account: str) -> AsyncIterator[Opened]:
    """The documents are the objects without their payload, which must be an event's text.

    They are read with aiobotocore itself, because our general client reads no streamed body.
    """
    arn = Arn.parse(f"arn:aws:s3:::failures-{uuid4().hex}")
    async with get_session().create_client("s3", region_name=REGION, endpoint_url=url) as client:
        location = {"LocationConstraint": REGION}
        await client.create_bucket(Bucket=arn.resource, CreateBucketConfiguration=location)

        async def one(key: str) -> Json:
            answer = await client.get_object(Bucket=arn.resource, Key=key)
            assert answer["ContentType"] == "application/octet-stream"
            assert key.startswith("aws/lambda/2b8d7c3e/shardId-000000000001/2019/11/14/2019-11-14T00.38.06-")
            stored: Json = orjson.loads(await answer["Body"].read())
            assert "Records" in orjson.loads(stored.pop("payload"))
            return stored

        async def arrived() -> list[Json]:
            listing = await client.list_objects_v2(Bucket=arn.resource)
            return [await one(each["Key"]) for each in listing.get("Contents", [])]

        yield arn, arrived


async def bodies(client: Any, url: str) -> list[str]:
    """Return the bodies of all messages of a queue that gets no more messages."""
    found: list[str] = []
    while messages := (await client.receive_message(QueueUrl=url, MaxNumberOfMessages=10)).get("Messages"):
        found += [message["Body"] for message in messages]
    return found
