"""Which implementations of streams do the contract tests run against, and how do the tests create and write streams?

`LACKS` names the features that an implementation lacks, with the reason. A test that needs such a feature is expected
to fail there; if it succeeds, the entry must be removed.

    KinesisBroker    over the fake, ministack and kinesis-local, all spoken to in Kinesis's JSON
    FakeTables       } the fake has tables of its own; ministack's are DynamoDB's, spoken to in its JSON
    MinistackTables  }
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from base64 import b64decode, b64encode
from collections.abc import Mapping
from enum import Enum, auto
from typing import Any
from uuid import uuid4

import anyio
import orjson

from poller.errors import Unreachable
from poller.model.arn import Arn
from poller.ports import StreamSource
from poller.sources.client import Client
from poller.sources.dynamodb_streams import DynamoDbStreamsSource
from poller.sources.kinesis import KinesisSource
from tests.fakes.dynamodb_streams import FakeDynamoDbStreams, FakeTable
from tests.fakes.kinesis import always
from tests.fakes.stream_service import FakeStreamService

REGION = "eu-west-1"
ROLE_ARN = "arn:aws:iam::123456789012:role/reader"
TIMEOUT_IN_SECONDS = 20


class Needs(Enum):
    """The features of streams that a test needs and that some emulator lacks."""

    RESHARDING = auto()
    PAGES = auto()


LACKS: Mapping[str, Mapping[Needs, str]] = {
    "kinesis: fake on asyncio": {},
    "kinesis: fake on trio": {},
    "kinesis: ministack": {
        Needs.RESHARDING: "a shard that is split or merged is deleted with its unread records",
        Needs.PAGES: "a listing's token does not say of which stream it is",
    },
    "kinesis: kinesis-local": {},
    "dynamodb: fake on asyncio": {},
    "dynamodb: fake on trio": {},
    "dynamodb: ministack": {},
}

KINESIS = [name for name in LACKS if name.startswith("kinesis:")]
FAKES = [name for name in LACKS if ": fake" in name]
DYNAMODB = [name for name in LACKS if name.startswith("dynamodb:")]


class Stream(ABC):
    """A new stream for one test."""

    client: Client
    arn: Arn

    def age_out(self) -> None:
        """Let all records expire now. Only the fakes can do this."""
        assert isinstance(self.client, FakeStreamService)
        self.client.streams[str(self.arn)].age_out(now=anyio.current_time())

    @abstractmethod
    def source(self, **options: Any) -> StreamSource:
        """Make a source with these options."""

    @abstractmethod
    async def put(self, text: str, *, key: str = "k") -> None:
        """Write a record with this text."""

    @abstractmethod
    def text(self, record: Mapping[str, Any]) -> str:
        """Return the text in the record."""


class Broker(ABC):
    """One implementation of a service."""

    @abstractmethod
    async def create(self) -> Stream:
        """Create a stream of one shard, and return it when it is ready."""

    @abstractmethod
    def missing(self) -> StreamSource:
        """Return the source of a stream that does not exist."""


class KinesisStream(Stream):
    def __init__(self, client: Client, arn: Arn) -> None:
        self.client = client
        self.arn = arn

    def source(self, **options: Any) -> KinesisSource:
        settings: dict[str, Any] = {"arn": self.arn, "reader": always(ROLE_ARN)}
        return KinesisSource(self.client, **settings | options)

    async def put(self, text: str, *, key: str = "k") -> None:
        await self.put_data(text.encode(), key=key)

    def text(self, record: Mapping[str, Any]) -> str:
        return b64decode(record["kinesis"]["data"]).decode()

    async def put_data(self, data: bytes, *, key: str, hash_key: int | None = None) -> tuple[str, str]:
        """Returns the shard's id and the sequence number."""
        request = {"PartitionKey": key, "Data": b64encode(data).decode()}
        if hash_key is not None:
            request["ExplicitHashKey"] = str(hash_key)
        answer = await self.call("PutRecord", **request)
        return answer["ShardId"], answer["SequenceNumber"]

    async def split(self, shard_id: str) -> None:
        """Split the shard in the middle of all hash keys."""
        await self.order("SplitShard", ShardToSplit=shard_id, NewStartingHashKey=str(2**127))
        await self.active()

    async def merge(self, shard_id: str, adjacent_shard_id: str) -> None:
        await self.order("MergeShards", ShardToMerge=shard_id, AdjacentShardToMerge=adjacent_shard_id)
        await self.active()

    async def active(self) -> None:
        """Ask until the stream is active. Each question is a request, so the loop needs no pause."""
        while True:
            answer = await self.call("DescribeStreamSummary")
            if answer["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE":
                return

    async def order(self, operation: str, **request: Any) -> None:
        """Send a request whose answer is empty. On AWS the empty answer is not JSON."""
        try:
            await self.call(operation, **request)
        except Unreachable as error:
            if error.code != "UnusableAnswer":
                raise

    async def call(self, operation: str, **request: Any) -> Any:
        request["StreamName"] = self.arn.resource.removeprefix("stream/")
        return await self.client.call(operation, orjson.dumps(request), timeout_in_seconds=TIMEOUT_IN_SECONDS)


class KinesisBroker(Broker):
    def __init__(self, client: Client, account: str) -> None:
        self.client = client
        self.account = account

    async def create(self) -> KinesisStream:
        return await self.create_with_shards(1)

    async def create_with_shards(self, count: int) -> KinesisStream:
        stream = KinesisStream(self.client, self._arn(f"contract-{uuid4().hex}"))
        await stream.order("CreateStream", ShardCount=count)
        await stream.active()
        return stream

    def missing(self) -> KinesisSource:
        return KinesisStream(self.client, self._arn("nobody-made-this")).source()

    def _arn(self, name: str) -> Arn:
        resource = f"stream/{name}"
        return Arn(partition="aws", service="kinesis", region=REGION, account=self.account, resource=resource)


class TableStream(Stream):
    """A table with the hash key `id` and its texts in the attribute `text`."""

    def __init__(self, client: Client, arn: Arn) -> None:
        self.client = client
        self.arn = arn

    def source(self, **options: Any) -> DynamoDbStreamsSource:
        return DynamoDbStreamsSource(self.client, arn=self.arn, **options)

    async def put(self, text: str, *, key: str = "k") -> None:
        await self.put_item({"id": {"S": key}, "text": {"S": text}})

    def text(self, record: Mapping[str, Any]) -> str:
        return str(record["dynamodb"]["NewImage"]["text"]["S"])

    @abstractmethod
    async def put_item(self, item: dict[str, Any]) -> None: ...

    @abstractmethod
    async def delete_item(self, key: dict[str, Any]) -> None: ...

    @abstractmethod
    async def disable(self) -> None:
        """Switch the stream of the table off."""


class FakeTableStream(TableStream):
    def __init__(self, client: Client, table: FakeTable) -> None:
        super().__init__(client, table.stream.arn)
        self.table = table

    async def put_item(self, item: dict[str, Any]) -> None:
        self.table.put_item(item)

    async def delete_item(self, key: dict[str, Any]) -> None:
        self.table.delete_item(key)

    async def disable(self) -> None:
        self.table.disable()


class FakeTables(Broker):
    def __init__(self) -> None:
        self.service = FakeDynamoDbStreams()

    async def create(self) -> FakeTableStream:
        return FakeTableStream(self.service, self.service.create_table(f"contract-{uuid4().hex}"))

    def missing(self) -> DynamoDbStreamsSource:
        return _missing_table(self.service, "123456789012")


class MinistackTableStream(TableStream):
    def __init__(self, client: Client, arn: Arn, tables: Client) -> None:
        super().__init__(client, arn)
        self.tables = tables

    async def put_item(self, item: dict[str, Any]) -> None:
        await self._call("PutItem", Item=item)

    async def delete_item(self, key: dict[str, Any]) -> None:
        await self._call("DeleteItem", Key=key)

    async def disable(self) -> None:
        await self._call("UpdateTable", StreamSpecification={"StreamEnabled": False})

    async def _call(self, operation: str, **request: Any) -> Any:
        body = orjson.dumps(request | {"TableName": self.arn.resource.split("/")[1]})
        return await self.tables.call(operation, body, timeout_in_seconds=TIMEOUT_IN_SECONDS)


class MinistackTables(Broker):
    """`tables` is a client of DynamoDB, `streams` one of DynamoDB Streams."""

    def __init__(self, tables: Client, streams: Client, account: str) -> None:
        self.tables = tables
        self.streams = streams
        self.account = account

    async def create(self) -> MinistackTableStream:
        request = {
            "TableName": f"contract-{uuid4().hex}",
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
            "BillingMode": "PAY_PER_REQUEST",
            "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        }
        body = orjson.dumps(request)
        answer = await self.tables.call("CreateTable", body, timeout_in_seconds=TIMEOUT_IN_SECONDS)
        arn = Arn.parse(answer["TableDescription"]["LatestStreamArn"])
        return MinistackTableStream(self.streams, arn, self.tables)

    def missing(self) -> DynamoDbStreamsSource:
        return _missing_table(self.streams, self.account)


def _missing_table(client: Client, account: str) -> DynamoDbStreamsSource:
    resource = "table/nobody-made-this/stream/2026-01-01T00:00:00.000"
    arn = Arn(partition="aws", service="dynamodb", region=REGION, account=account, resource=resource)
    return DynamoDbStreamsSource(client, arn=arn)
