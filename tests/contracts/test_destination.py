"""What must every destination do?

See ports.Destination. The suite runs over the fake and over all services of an emulator.
"""

from __future__ import annotations

import io
import zipfile
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
from poller.core.document import Attribute, Document
from poller.core.invocation_record import DiscardedBatch, document_of
from poller.destinations.eventbridge import EventBridgeDestination
from poller.destinations.function import FunctionDestination
from poller.destinations.lambda_function import LambdaDestination
from poller.destinations.s3 import S3Destination
from poller.destinations.sns import SnsDestination
from poller.destinations.sqs import SqsDestination
from poller.errors import DocumentTooLarge, NotFound, Unreachable
from poller.model.arn import Arn, queue_url
from poller.model.ids import FunctionName, RequestId
from poller.model.stream import SequenceNumber, ShardId
from poller.ports import Destination
from tests.contracts.conftest import ONLY_ACCOUNT_OF_MOTO
from tests.fakes.clock import VirtualClock
from tests.fakes.destinations import FakeDestination
from tests.fakes.event_queue import FakeEventQueue
from tests.fakes.faults import Fault, FaultPlan
from tests.fakes.http_server import Reply, Request, http_server
from tests.fakes.watch import Watch

pytestmark = pytest.mark.anyio

REGION = "eu-west-1"

Json = dict[str, Any]

EMULATORS = {"events": "moto"}
"""The emulator of a service, if it is not ministack, which takes an event for a bus that does not exist."""


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

TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1;Lineage=c512fbe3:2"


class Place(NamedTuple):
    """A destination, one that does not exist, one without a server, and the documents that have arrived so far.

    `is_bucket` is true if a document that is delivered twice arrives once, and a document may have any size.
    """

    destination: Destination
    absent: Destination
    silent: Destination
    arrived: Callable[[], Awaitable[list[Json]]]
    is_bucket: bool = False


def document(name: str, *, event: bytes = b'{"Records":[]}') -> Document:
    made = document_of(replace(BATCH, request_id=RequestId(name)), event=event, document_id=UUID(int=len(name)))
    return made._replace(
        detail_type="Lambda Function Invocation Result - Failure", function_arn=BATCH.function_arn, trace=TRACE
    )


def parsed(document: Document) -> Json:
    return cast(Json, orjson.loads(document.text))


@pytest.fixture(params=["fake on asyncio", "fake on trio", "fake event queue", "sqs", "sns", "s3", "events", "lambda"])
def implementation(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def anyio_backend(implementation: str) -> Any:
    return ("trio", {"clock": MockClock(autojump_threshold=0)}) if implementation == "fake on trio" else "asyncio"


@pytest.fixture
async def place(implementation: str, request: pytest.FixtureRequest, anyio_backend: Any) -> AsyncIterator[Place]:
    if implementation.startswith("fake"):
        yield function_of_the_file() if implementation == "fake event queue" else fake()
        return
    url: str = request.getfixturevalue(EMULATORS.get(implementation, "ministack"))
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
    assert await place.arrived() == [parsed(again)] * (1 if place.is_bucket else 2)


async def test_a_document_that_is_too_large_is_refused_as_such_unless_it_becomes_an_object(place: Place) -> None:
    one = document("large")
    large = one._replace(text=one.text[:-1] + b',"x":"%b"}' % (b"x" * 2 * 1024 * 1024))
    if place.is_bucket:
        await place.destination.deliver(large)
        assert await place.arrived() == [parsed(large)]
    else:
        with pytest.raises(DocumentTooLarge):
            await place.destination.deliver(large)
        assert await place.arrived() == []


async def test_a_document_with_attributes_arrives(place: Place) -> None:
    attributes = Attribute("RequestID", "String", "e4b46cbf"), Attribute("ErrorCode", "Number", "200")
    letter = document("letter")._replace(attributes=attributes)
    await place.destination.deliver(letter)
    assert await place.arrived() == [parsed(letter)]


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
    destination = FakeDestination(limit_in_bytes=1024 * 1024)

    async def arrived() -> list[Json]:
        return [parsed(each) for each in destination.taken]

    return Place(destination, FakeDestination(faults=absent), FakeDestination(faults=silent), arrived)


def function_of_the_file() -> Place:
    """A function of the same settings file: its events are in a queue, which fails in the places that do."""
    absent, silent, clock = FaultPlan(), FaultPlan(), VirtualClock()
    absent.script("put", Fault.NOT_FOUND, Fault.NOT_FOUND)
    silent.script("put", Fault.UNREACHABLE)
    queues = [FakeEventQueue(clock, faults=plan) for plan in (FaultPlan(), absent, silent)]
    destination, without_function, without_answer = (
        FunctionDestination(FunctionName("audit"), put=queue.put, clock=clock, new_request_id=new_request_id)
        for queue in queues
    )

    async def arrived() -> list[Json]:
        assert all(event.trace == TRACE for event in queues[0].events)
        return [orjson.loads(event.payload) for event in queues[0].events]

    return Place(destination, without_function, without_answer, arrived)


def new_request_id() -> RequestId:
    return RequestId(str(uuid4()))


@asynccontextmanager
async def service(kind: str, url: str, account: str) -> AsyncIterator[Place]:
    """Yield a new queue, a new topic with a subscribed queue, or a new bucket."""
    async with (
        Aws(AwsSettings(region=REGION, endpoint_url=url)) as aws,
        Aws(AwsSettings(region=REGION, endpoint_url="http://127.0.0.1:1")) as nobody,
        KeptClient(lambda: aws.client(kind)) as client,
        KeptClient(lambda: nobody.client(kind)) as silent,
    ):
        if kind == "lambda":
            async with a_function(aws, nobody, account) as place:
                yield place
            return
        make, open_place = {
            "sqs": (sqs, a_queue),
            "sns": (sns, a_topic),
            "s3": (s3, a_bucket),
            "events": (events, a_bus),
        }[kind]
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


def events(client: KeptClient, arn: Arn, url: str) -> Destination:
    return EventBridgeDestination(client, arn=arn)


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
async def a_bus(aws: Aws, url: str, account: str) -> AsyncIterator[Opened]:
    """What arrives is what a rule of the bus hands on to a queue."""
    async with (
        a_queue(aws, url, ONLY_ACCOUNT_OF_MOTO) as (queue, _),
        aws.client("events") as client,
        aws.client("sqs") as reader,
    ):
        bus = Arn.parse((await client.create_event_bus(Name=queue.resource))["EventBusArn"])
        rule = {"Name": queue.resource, "EventBusName": queue.resource}
        await client.put_rule(**rule, EventPattern='{"source": ["lambda"]}')
        await client.put_targets(
            Rule=queue.resource, EventBusName=queue.resource, Targets=[{"Id": "1", "Arn": str(queue)}]
        )

        async def arrived() -> list[Json]:
            found = [orjson.loads(body) for body in await bodies(reader, queue_url(url, queue))]
            for each in found:
                assert each["detail-type"] == "Lambda Function Invocation Result - Failure"
                assert each["resources"] == [str(bus), BATCH.function_arn]
            return [each["detail"] for each in found]

        yield bus, arrived


HANDLER = """
import json, os, urllib.request
def handle(event, context):
    urllib.request.urlopen(os.environ["RECEIVER"], json.dumps(event).encode(), timeout=30).read()
"""
"""A function that posts each event to the test's own server."""


@asynccontextmanager
async def a_function(aws: Aws, nobody: Aws, account: str) -> AsyncIterator[Place]:
    watch, received, accepted = Watch(), list[Json](), list[Document]()

    async def receive(request: Request) -> Reply:
        received.append(orjson.loads(request.body))
        watch.ring()
        return Reply()

    class Counting(LambdaDestination):
        async def deliver(self, document: Document) -> None:
            await super().deliver(document)
            accepted.append(document)

    async def arrived() -> list[Json]:
        """The function runs later, so this waits for as many events as were accepted."""
        await watch.until(lambda: len(received) >= len(accepted))
        return received

    async with http_server(receive) as server, aws.client("lambda") as client:
        await client.create_function(
            FunctionName="receiver",
            Runtime="python3.11",
            Handler="index.handle",
            Timeout=30,
            Role=f"arn:aws:iam::{account}:role/any",
            Code={"ZipFile": zipped("index.py", HANDLER)},
            Environment={"Variables": {"RECEIVER": server.url}},
        )
        yield Place(
            Counting(await aws.invoker("receiver", timeout_in_seconds=10)),
            LambdaDestination(await aws.invoker("absent", timeout_in_seconds=10)),
            LambdaDestination(await nobody.invoker("receiver", timeout_in_seconds=10)),
            arrived,
        )


def zipped(name: str, text: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, text)
    return file.getvalue()


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
