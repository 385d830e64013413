"""Does the daemon read real streams?

The daemon runs as a process over kinesis-local, which can reshard, and over ministack. The function is in memory
(tests/e2e/harness.py), and its calls say which records it got and when.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest
from aiobotocore.session import get_session

from poller.aws.clients import Aws, AwsSettings
from poller.aws.signing import Credentials
from tests.e2e import harness
from tests.e2e.harness import World, environment
from tests.e2e.streams import mapping
from tests.fakes.target import FakeTarget, FunctionPlan, ids_of

pytestmark = pytest.mark.anyio

REGION = "eu-west-1"
BILL = f"arn:aws:lambda:{REGION}:123456789012:function:bill"
MIDDLE = 2**127
QUARTER = 2**126


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def world(anyio_backend: str, tmp_path: Path, account: str) -> AsyncIterator[World]:
    """The daemon's credentials name the test's own account."""
    keys = Credentials(account, "test", None)
    async with harness.world(tmp_path) as world:
        world.aws.signatures.knows(keys)
        world.environment = environment(None, AWS_ACCESS_KEY_ID=account, AWS_SECRET_ACCESS_KEY="test")
        world.state = "sqlite://poller.db"
        yield world


@pytest.fixture
def bill(world: World) -> FakeTarget:
    function = world.aws.functions[BILL] = FakeTarget(FunctionPlan(duration_in_seconds=(0, 0.01)))
    return function


def endpoints(url: str, *services: str) -> str:
    return "[daemon.endpoints]\n" + "".join(f'{service} = "{url}"\n' for service in services)


class Resharded:
    """A Kinesis stream that gets records while its shards change. `puts` has the shard of each sequence number."""

    def __init__(self, client: Any) -> None:
        self.name = f"resharded-{uuid4().hex}"
        self.puts: dict[str, str] = {}
        self._client = client

    async def create(self) -> str:
        """Create the stream with two shards, and return its ARN."""
        await self._client.create_stream(StreamName=self.name, ShardCount=2)
        return str((await self._active())["StreamARN"])

    async def put(self) -> None:
        """Put two records into each quarter of the hash keys."""
        for number in range(8):
            answer = await self._client.put_record(
                StreamName=self.name, Data=b"{}", PartitionKey="k", ExplicitHashKey=str(number % 4 * QUARTER)
            )
            self.puts[answer["SequenceNumber"]] = answer["ShardId"]

    async def split(self, shard_id: str, at: int) -> None:
        await self._client.split_shard(StreamName=self.name, ShardToSplit=shard_id, NewStartingHashKey=str(at))
        await self._active()

    async def merge(self, left: str, right: str) -> None:
        await self._client.merge_shards(StreamName=self.name, ShardToMerge=left, AdjacentShardToMerge=right)
        await self._active()

    async def parents(self) -> dict[str, set[str]]:
        shards = (await self._client.list_shards(StreamName=self.name))["Shards"]
        names = ("ParentShardId", "AdjacentParentShardId")
        return {shard["ShardId"]: {shard[name] for name in names if shard.get(name)} for shard in shards}

    async def open_shards(self) -> list[str]:
        """Return the open shards in the order of their hash keys."""
        shards = (await self._client.list_shards(StreamName=self.name))["Shards"]
        still_open = [shard for shard in shards if "EndingSequenceNumber" not in shard["SequenceNumberRange"]]
        return [
            shard["ShardId"]
            for shard in sorted(still_open, key=lambda each: int(each["HashKeyRange"]["StartingHashKey"]))
        ]

    async def _active(self) -> Mapping[str, Any]:
        """Ask until the stream is active. Each question is a request, so the loop needs no pause."""
        while True:
            answer = await self._client.describe_stream_summary(StreamName=self.name)
            summary: Mapping[str, Any] = answer["StreamDescriptionSummary"]
            if summary["StreamStatus"] == "ACTIVE":
                return summary


async def test_parents_are_read_before_children_while_a_stream_is_split_and_merged(
    world: World, bill: FakeTarget, kinesis_local: str
) -> None:
    """The stream changes before the start, while the daemon runs, and while it is stopped."""
    async with (
        Aws(AwsSettings(region=REGION, endpoint_url=kinesis_local)) as aws,
        aws.client("kinesis") as client,
    ):
        stream = Resharded(client)
        text = endpoints(kinesis_local, "kinesis") + mapping("resharded", await stream.create(), BILL, "batch_size = 3")
        await stream.put()
        await stream.split((await stream.open_shards())[0], QUARTER)
        await stream.put()
        async with world.daemon(text) as daemon:
            await daemon.until_logged("mapping_ready")
            await stream.merge(*(await stream.open_shards())[1:])
            await stream.put()
            await world.watch.until(lambda: len(ids_of(bill.calls)) == len(stream.puts))
            await stream.merge(*await stream.open_shards())
            await stream.put()
            assert await daemon.stop() == 0
        [merged] = await stream.open_shards()
        await stream.split(merged, MIDDLE)
        await stream.put()
        async with world.daemon(text) as daemon:
            await world.watch.until(lambda: len(ids_of(bill.calls)) >= len(stream.puts))
            assert await daemon.stop() == 0
        parents = await stream.parents()
    came = ids_of(bill.calls)
    assert sorted(came) == sorted(stream.puts), "each once"
    shards = [stream.puts[number] for number in came]
    for shard_id in set(shards):
        assert [n for n in came if stream.puts[n] == shard_id] == [n for n in stream.puts if stream.puts[n] == shard_id]
        for parent in parents[shard_id] & set(shards):
            last_of_parent = len(shards) - 1 - shards[::-1].index(parent)
            assert last_of_parent < shards.index(shard_id), f"{shard_id} came before its parent {parent} had ended"
    assert len(parents) == 8, "two, two of one, two merged twice, and two again"


class Reports:
    """A queue, a topic that a queue listens to, and a bucket, on ministack."""

    def __init__(self, account: str, clients: Mapping[str, Any]) -> None:
        self.name = f"failures-{uuid4().hex}"
        self.arns = {
            "to_queue": f"arn:aws:sqs:{REGION}:{account}:{self.name}",
            "to_topic": f"arn:aws:sns:{REGION}:{account}:{self.name}",
            "to_bucket": f"arn:aws:s3:::{self.name}",
        }
        self._clients = clients
        self._listener = f"listener-{self.name}"

    async def create(self) -> None:
        sqs, sns, s3 = (self._clients[service] for service in ("sqs", "sns", "s3"))
        for queue in (self.name, self._listener):
            await sqs.create_queue(QueueName=queue)
        await sns.create_topic(Name=self.name)
        listener = self.arns["to_queue"].replace(self.name, self._listener)
        await sns.subscribe(TopicArn=self.arns["to_topic"], Protocol="sqs", Endpoint=listener)
        await s3.create_bucket(Bucket=self.name, CreateBucketConfiguration={"LocationConstraint": REGION})

    async def arrived(self) -> dict[str, dict[str, Any]]:
        """Return the one invocation record of each destination. The topic puts it into an envelope."""
        return {
            "to_queue": await self._received(self.name),
            "to_topic": orjson.loads((await self._received(self._listener))["Message"]),
            "to_bucket": await self._stored(),
        }

    async def _received(self, queue: str) -> dict[str, Any]:
        sqs = self._clients["sqs"]
        url = (await sqs.get_queue_url(QueueName=queue))["QueueUrl"]
        [message] = (await sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10))["Messages"]
        body: dict[str, Any] = orjson.loads(message["Body"])
        return body

    async def _stored(self) -> dict[str, Any]:
        s3 = self._clients["s3"]
        [found] = (await s3.list_objects_v2(Bucket=self.name))["Contents"]
        answer = await s3.get_object(Bucket=self.name, Key=found["Key"])
        body: dict[str, Any] = orjson.loads(await answer["Body"].read())
        return body


async def kinesis_with_five(client: Any) -> tuple[str, list[str]]:
    """Return the ARN of a stream with five records, and their sequence numbers."""
    name = f"stream-{uuid4().hex}"
    await client.create_stream(StreamName=name, ShardCount=1)
    arn = (await client.describe_stream_summary(StreamName=name))["StreamDescriptionSummary"]["StreamARN"]
    puts = [await client.put_record(StreamName=name, Data=b"{}", PartitionKey="k") for _ in range(5)]
    return arn, [put["SequenceNumber"] for put in puts]


async def table_with_five(tables: Any, streams: Any) -> tuple[str, list[str]]:
    """Return the ARN of a table's stream with five records, and their sequence numbers."""
    created = await tables.create_table(
        TableName=f"table-{uuid4().hex}",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    table = created["TableDescription"]
    for number in range(5):
        await tables.put_item(TableName=table["TableName"], Item={"id": {"S": str(number)}})
    arn = table["LatestStreamArn"]
    [shard] = (await streams.describe_stream(StreamArn=arn))["StreamDescription"]["Shards"]
    iterator = await streams.get_shard_iterator(
        StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )
    records = (await streams.get_records(ShardIterator=iterator["ShardIterator"]))["Records"]
    return arn, [record["dynamodb"]["SequenceNumber"] for record in records]


async def test_streams_are_read_and_poison_records_are_reported_to_a_queue_a_topic_and_a_bucket(
    world: World, bill: FakeTarget, ministack: str, account: str
) -> None:
    services = ("kinesis", "dynamodb", "dynamodbstreams", "sqs", "sns", "s3", "sts")
    async with AsyncExitStack() as stack:
        session = get_session()  # aiobotocore itself: the daemon's own clients read no streamed body
        clients = {
            service: await stack.enter_async_context(
                session.create_client(service, region_name=REGION, endpoint_url=ministack)
            )
            for service in services
        }
        reports = Reports(account, clients)
        await reports.create()
        sources: dict[str, tuple[str, Sequence[str]]] = {
            "to_queue": await kinesis_with_five(clients["kinesis"]),
            "to_topic": await table_with_five(clients["dynamodb"], clients["dynamodbstreams"]),
            "to_bucket": await kinesis_with_five(clients["kinesis"]),
        }
        bill.plan.poison.update(numbers[2] for _, numbers in sources.values())
        options = ("maximum_retry_attempts = 0", "bisect_batch_on_function_error = true")
        text = endpoints(ministack, *services) + "".join(
            mapping(
                name, arn, BILL, *options, f'destination_config.on_failure.destination_arn = "{reports.arns[name]}"'
            )
            for name, (arn, _) in sources.items()
        )
        async with world.daemon(text) as daemon:
            for name, (_, numbers) in sources.items():
                await daemon.until_logged("invocation_record_delivered", mapping=name)
                await world.watch.until(
                    lambda last=numbers[4], name=name: any(  # type: ignore[misc]  # it is called in this turn
                        call.done and last in call.message_ids for call in bill.calls if call.mapping == name
                    )
                )
            assert await daemon.stop() == 0
        arrived = await reports.arrived()
    for name, (arn, numbers) in sources.items():
        done = [number for call in bill.calls if call.mapping == name and call.done for number in call.message_ids]
        assert done == [number for number in numbers if number != numbers[2]], "in order, each once"
        document = arrived[name]
        [info] = [document[key] for key in ("KinesisBatchInfo", "DDBStreamBatchInfo") if key in document]
        assert (info["startSequenceNumber"], info["endSequenceNumber"]) == (numbers[2], numbers[2])
        assert (info["streamArn"], info["batchSize"]) == (arn, 1)
        assert document["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert len(orjson.loads(arrived["to_bucket"]["payload"])["Records"]) == 1
