"""Do the sources see what aiobotocore sees? The real sources and our real clients, beside aiobotocore's clients."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from random import Random
from typing import Any
from uuid import uuid4

import pytest

from poller.aws.clients import Aws, AwsSettings
from poller.aws.signing import Credentials
from poller.core.envelope import encode, event
from poller.errors import ExpiredIterator, NotFound
from poller.model.arn import Arn
from poller.model.stream import ShardIterator, StreamRecord, TrimHorizon
from poller.ports import StreamSource
from poller.sources.dynamodb_streams import DynamoDbStreamsSource
from poller.sources.kinesis import KinesisSource
from poller.sources.pacing import Pace, PacedClient
from tests.conftest import REGION
from tests.fakes.aws_over_http import aws_over_http
from tests.fakes.kinesis import always
from tests.fakes.stream_service import EveryNth
from tests.fakes.watch import Watch

pytestmark = pytest.mark.anyio

ROLE_ARN = "arn:aws:iam::123456789012:role/reader"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def aws(ministack: str, account: str) -> AsyncIterator[Aws]:
    async with Aws(AwsSettings(region=REGION, endpoint_url=ministack)) as aws:
        yield aws


async def new_stream(aws: Aws, client: Any) -> tuple[str, KinesisSource]:
    """A stream of one shard: its name and its source."""
    name = f"source-{uuid4().hex}"
    await client.create_stream(StreamName=name, ShardCount=1)
    arn = Arn.parse((await client.describe_stream_summary(StreamName=name))["StreamDescriptionSummary"]["StreamARN"])
    return name, KinesisSource(await aws.json_client("kinesis"), arn=arn, reader=always(ROLE_ARN))


async def first_records(source: StreamSource) -> list[StreamRecord]:
    [shard] = await source.shards()
    return (await source.read(await source.iterator(shard.shard_id, TrimHorizon()), limit=1000)).records


def events(records: list[StreamRecord]) -> list[dict[str, Any]]:
    as_json: list[dict[str, Any]] = json.loads(event([encode(record.record) for record in records]))["Records"]
    return as_json


def as_wire(value: Any) -> Any:
    """aiobotocore decodes binary attribute values; on the wire they are base64."""
    match value:
        case bytes():
            return b64encode(value).decode()
        case dict():
            return {name: as_wire(each) for name, each in value.items()}
        case list():
            return [as_wire(each) for each in value]
    return value


async def test_kinesis_records_have_the_values_that_aiobotocore_reads(aws: Aws) -> None:
    async with aws.client("kinesis") as client:
        name, source = await new_stream(aws, client)
        for data in (b"", bytes(range(256)), b'{"json": true}', b"x" * 100_000):
            await client.put_record(StreamName=name, Data=data, PartitionKey=f"ñ{len(data)}")
        ours = events(await first_records(source))
        [shard] = (await client.list_shards(StreamName=name))["Shards"]
        iterator = await client.get_shard_iterator(
            StreamName=name, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )
        theirs = (await client.get_records(ShardIterator=iterator["ShardIterator"]))["Records"]
    assert len(ours) == 4
    assert [
        (b64decode(record["kinesis"]["data"]), record["kinesis"]["partitionKey"], record["kinesis"]["sequenceNumber"])
        for record in ours
    ] == [(record["Data"], record["PartitionKey"], record["SequenceNumber"]) for record in theirs]
    for our, their in zip(ours, theirs, strict=True):
        arrived_at = their["ApproximateArrivalTimestamp"].timestamp()
        assert our["kinesis"]["approximateArrivalTimestamp"] == pytest.approx(arrived_at, abs=0.001)


async def test_dynamodb_records_have_the_values_that_aiobotocore_reads(aws: Aws) -> None:
    name = f"source-{uuid4().hex}"
    async with aws.client("dynamodb") as tables, aws.client("dynamodbstreams") as streams:
        created = await tables.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}, {"AttributeName": "at", "KeyType": "RANGE"}],
            AttributeDefinitions=[
                {"AttributeName": "id", "AttributeType": "B"},
                {"AttributeName": "at", "AttributeType": "N"},
            ],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )
        key = {"id": {"B": b"\x00\xff"}, "at": {"N": "17"}}
        deep = {"M": {"list": {"L": [{"B": b"\x01"}, {"NULL": True}]}, "set": {"BS": [b"\x02", b"\x03"]}}}
        await tables.put_item(TableName=name, Item=key | {"deep": deep})
        await tables.put_item(TableName=name, Item=key | {"text": {"S": "ñ 😀"}})
        await tables.delete_item(TableName=name, Key=key)
        arn = created["TableDescription"]["LatestStreamArn"]
        source = DynamoDbStreamsSource(await aws.json_client("dynamodbstreams"), arn=Arn.parse(arn))
        records = await first_records(source)
        [shard] = await source.shards()
        iterator = await streams.get_shard_iterator(
            StreamArn=arn, ShardId=shard.shard_id, ShardIteratorType="TRIM_HORIZON"
        )
        theirs = (await streams.get_records(ShardIterator=iterator["ShardIterator"]))["Records"]
    ours = events(records)
    for record in theirs:
        record["dynamodb"]["ApproximateCreationDateTime"] = record["dynamodb"][
            "ApproximateCreationDateTime"
        ].timestamp()
        record["eventSourceARN"] = arn
    assert ours == as_wire(theirs)
    assert [record["eventName"] for record in ours] == ["INSERT", "MODIFY", "REMOVE"]
    assert {record.lane_key for record in records} == {'{"at":{"N":"17"},"id":{"B":"AP8="}}'}


async def test_an_unknown_iterator_counts_as_expired(aws: Aws) -> None:
    async with aws.client("kinesis") as client:
        _, source = await new_stream(aws, client)
    [shard] = await source.shards()
    with pytest.raises(ExpiredIterator):
        await source.read(ShardIterator(f"{shard.shard_id} AAAAnobodygavethis"), limit=10)


async def test_a_deleted_stream_is_not_found(aws: Aws) -> None:
    async with aws.client("kinesis") as client:
        name, source = await new_stream(aws, client)
        await source.shards()
        await client.delete_stream(StreamName=name)
    with pytest.raises(NotFound):
        await source.shards()


async def test_ten_thousand_shards_are_listed_over_http_and_only_a_throttled_page_is_repeated(
    account: str,
) -> None:
    """The service allows twenty times DynamoDB's rate, so the test is short, and throttles every twentieth page."""
    watch = Watch()
    async with aws_over_http(watch, Credentials(account, "test", None)) as service:
        table = service.create_table("orders", shard_count=100, shard_lifetime_in_seconds=None)
        for _ in range(99):
            table.roll_over()
        service.tables.listings = EveryNth(20)
        async with Aws(AwsSettings(region=REGION, endpoint_url=service.url)) as aws:
            pace = Pace("DescribeStream", Random(1), calls_in_a_second=200)
            client = PacedClient(await aws.json_client("dynamodbstreams"), pace)
            source = DynamoDbStreamsSource(client, arn=table.stream.arn)
            shards = await source.shards()
            parent = next(shard.shard_id for shard in shards if not shard.is_open)
            children = await source.children(parent)
    assert len({shard.shard_id for shard in shards}) == 10_000
    assert sum(shard.is_open for shard in shards) == 100
    assert [child.parent_ids for child in children] == [(parent,)]
    assert service.tables.throttled_listings == 5
    assert len(service.signatures.accepted) == 100 + 1 + 5
