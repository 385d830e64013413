"""What must every stream source do? The suite runs over the fakes and, through the real AWS clients, over emulators."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from poller.aws.clients import Aws, AwsSettings
from poller.errors import NotFound, Trimmed
from poller.model.arn import Arn
from poller.model.stream import (
    AfterSequence,
    AtSequence,
    AtTimestamp,
    Latest,
    Position,
    Read,
    ShardId,
    ShardIterator,
    StreamRecord,
    TrimHorizon,
)
from poller.ports import StreamSource
from tests.contracts.streams import (
    DYNAMODB,
    FAKES,
    KINESIS,
    LACKS,
    REGION,
    ROLE_ARN,
    Broker,
    FakeTables,
    KinesisBroker,
    KinesisStream,
    MinistackTables,
    Needs,
    Stream,
    TableStream,
)
from tests.fakes.kinesis import FakeKinesis

pytestmark = pytest.mark.anyio

on_kinesis = pytest.mark.parametrize("implementation", KINESIS, indirect=True)
on_the_fakes = pytest.mark.parametrize("implementation", FAKES, indirect=True)
on_dynamodb = pytest.mark.parametrize("implementation", DYNAMODB, indirect=True)

MANY_READS = 20
"""After this number of reads an emulator, and a fake without randomness, must have returned all records."""


@pytest.fixture(params=list(LACKS))
def implementation(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    for marker in request.node.iter_markers("needs"):
        if reason := LACKS[name].get(marker.args[0]):
            request.applymarker(pytest.mark.xfail(reason=f"{name}: {reason}", strict=True))
    return name


@pytest.fixture
def anyio_backend(implementation: str) -> Any:
    """The fake under trio waits in virtual time: each test has a clock of its own that jumps when nothing runs."""
    is_virtual = implementation.endswith("fake on trio")
    return ("trio", {"clock": MockClock(autojump_threshold=0)}) if is_virtual else "asyncio"


@pytest.fixture
async def broker(implementation: str, request: pytest.FixtureRequest, anyio_backend: Any) -> AsyncIterator[Broker]:
    kind, _, name = implementation.partition(": ")
    if name.startswith("fake"):
        yield KinesisBroker(FakeKinesis(has_limits=False), "123456789012") if kind == "kinesis" else FakeTables()
        return
    endpoint_url: str = request.getfixturevalue(name.replace("-", "_"))
    account: str = request.getfixturevalue("account")
    async with Aws(AwsSettings(region=REGION, endpoint_url=endpoint_url)) as aws:
        if kind == "kinesis":
            yield KinesisBroker(await aws.json_client("kinesis"), account)
        else:
            yield MinistackTables(await aws.json_client("dynamodb"), await aws.json_client("dynamodbstreams"), account)


@pytest.fixture
async def stream(broker: Broker) -> Stream:
    return await broker.create()


@pytest.fixture
async def kinesis(stream: Stream) -> KinesisStream:
    assert isinstance(stream, KinesisStream)
    return stream


@pytest.fixture
async def table(stream: Stream) -> TableStream:
    assert isinstance(stream, TableStream)
    return stream


async def only_shard(source: StreamSource) -> ShardId:
    [shard] = await source.shards()
    return shard.shard_id


async def start(source: StreamSource, position: Position | None = None) -> ShardIterator:
    """Return an iterator of the only shard, at its beginning."""
    return await source.iterator(await only_shard(source), position or TrimHorizon())


async def read_on(source: StreamSource, iterator: ShardIterator, *, count: int | None = None) -> list[StreamRecord]:
    """Read until `count` records have been read, or to the end of the shard."""
    records: list[StreamRecord] = []
    following: ShardIterator | None = iterator
    for _ in range(MANY_READS):
        assert following is not None
        read = await source.read(following, limit=1000)
        records += read.records
        following = read.next_iterator
        if following is None or len(records) == count:
            assert following is None or count is not None
            return records
    raise AssertionError(f"only {len(records)} records, and no end, after {MANY_READS} reads")


async def first_record(stream: Stream) -> StreamRecord:
    source = stream.source()
    [record] = await read_on(source, await start(source), count=1)
    return record


def texts(stream: Stream, records: list[StreamRecord]) -> list[str]:
    return [stream.text(record.record) for record in records]


async def test_a_new_stream_has_an_open_shard_without_parents(stream: Stream) -> None:
    [shard] = await stream.source().shards()
    assert shard.is_open
    assert shard.parent_ids == ()
    assert shard.shard_id.startswith("shardId-")


async def test_a_stream_that_does_not_exist_is_not_found(broker: Broker) -> None:
    source = broker.missing()
    with pytest.raises(NotFound):
        await source.shards()
    with pytest.raises(NotFound):
        await source.iterator(ShardId("shardId-000000000000"), TrimHorizon())


async def test_a_shard_that_does_not_exist_is_not_found(stream: Stream) -> None:
    with pytest.raises(NotFound):
        await stream.source().iterator(ShardId("shardId-00000000099999999999-0badcafe"), TrimHorizon())


async def test_a_read_of_an_empty_shard_has_no_records_and_a_next_iterator(stream: Stream) -> None:
    source = stream.source()
    read = await source.read(await start(source), limit=100)
    assert read.records == []
    assert read.next_iterator is not None


async def test_records_are_read_in_the_order_in_which_they_were_put(stream: Stream) -> None:
    source = stream.source()
    for number in range(20):
        await stream.put(str(number))
    records = await read_on(source, await start(source), count=20)
    assert texts(stream, records) == [str(number) for number in range(20)]
    numbers = [int(record.sequence_number) for record in records]
    assert numbers == sorted(set(numbers))
    assert {record.lane_key for record in records} == {records[0].lane_key}


async def test_a_read_returns_at_most_the_requested_records_and_the_next_read_continues(stream: Stream) -> None:
    source = stream.source()
    for number in range(5):
        await stream.put(str(number))
    read = await source.read(await start(source), limit=3)
    assert texts(stream, read.records) == ["0", "1", "2"]
    assert read.next_iterator is not None
    assert texts(stream, await read_on(source, read.next_iterator, count=2)) == ["3", "4"]


async def test_a_limit_above_what_the_service_allows_is_lowered(stream: Stream) -> None:
    source = stream.source()
    await stream.put("only")
    read = await source.read(await start(source), limit=20_000)
    assert texts(stream, read.records) == ["only"]


async def test_an_iterator_can_be_used_twice_with_the_same_records(stream: Stream) -> None:
    source = stream.source()
    await stream.put("twice")
    iterator = await start(source)
    first = await source.read(iterator, limit=10)
    await stream.put("later")
    second = await source.read(iterator, limit=1)
    assert first.records == second.records
    assert texts(stream, first.records) == ["twice"]


async def test_latest_is_between_the_records_before_it_was_taken_and_those_after(stream: Stream) -> None:
    source = stream.source()
    await stream.put("before")
    iterator = await start(source, Latest())
    await stream.put("after")
    assert texts(stream, await read_on(source, iterator, count=1)) == ["after"]


async def test_reading_can_begin_at_and_after_a_sequence_number(stream: Stream) -> None:
    source = stream.source()
    for number in range(3):
        await stream.put(str(number))
    middle = (await read_on(source, await start(source), count=3))[1].sequence_number
    at = await start(source, AtSequence(middle))
    assert texts(stream, await read_on(source, at, count=2)) == ["1", "2"]
    after = await start(source, AfterSequence(middle))
    assert texts(stream, await read_on(source, after, count=1)) == ["2"]


async def test_a_record_to_read_after_is_not_read_again_at_any_restart(stream: Stream) -> None:
    source = stream.source()
    position: Position = TrimHorizon()
    for number in range(5):
        await stream.put(str(number))
        [record] = await read_on(source, await start(source, position), count=1)
        assert stream.text(record.record) == str(number)
        position = AfterSequence(record.sequence_number)


@on_the_fakes
async def test_an_expired_record_to_read_after_is_reported(stream: Stream) -> None:
    source = stream.source()
    await stream.put("gone")
    [gone] = await read_on(source, await start(source), count=1)
    stream.age_out()
    await stream.put("kept")
    with pytest.raises(Trimmed):
        await read_on(source, await start(source, AfterSequence(gone.sequence_number)), count=1)
    assert texts(stream, await read_on(source, await start(source), count=1)) == ["kept"]


async def test_after_the_last_record_a_read_is_empty_until_another_is_put(stream: Stream) -> None:
    source = stream.source()
    await stream.put("last")
    [last] = await read_on(source, await start(source), count=1)
    iterator = await start(source, AfterSequence(last.sequence_number))
    read = await source.read(iterator, limit=10)
    assert read.records == []
    await stream.put("another")
    assert read.next_iterator is not None
    assert texts(stream, await read_on(source, read.next_iterator, count=1)) == ["another"]


@on_kinesis
async def test_a_kinesis_record_has_the_form_of_the_event(kinesis: KinesisStream) -> None:
    shard_id, sequence_number = await kinesis.put_data(bytes(range(256)), key="schlüssel")
    record = await first_record(kinesis)
    assert record.record == {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": "schlüssel",
            "sequenceNumber": sequence_number,
            "data": (
                "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+P0BBQkNERUZHSElKS0xN"
                "Tk9QUVJTVFVWV1hZWltcXV5fYGFiY2RlZmdoaWprbG1ub3BxcnN0dXZ3eHl6e3x9fn+AgYKDhIWGh4iJiouMjY6PkJGSk5SVlpeYmZqb"
                "nJ2en6ChoqOkpaanqKmqq6ytrq+wsbKztLW2t7i5uru8vb6/wMHCw8TFxsfIycrLzM3Oz9DR0tPU1dbX2Nna29zd3t/g4eLj5OXm5+jp"
                "6uvs7e7v8PHy8/T19vf4+fr7/P3+/w=="
            ),
            "approximateArrivalTimestamp": record.arrived_at,
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"{shard_id}:{sequence_number}",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": ROLE_ARN,
        "awsRegion": REGION,
        "eventSourceARN": str(kinesis.arn),
    }
    assert (record.sequence_number, record.lane_key) == (sequence_number, "schlüssel")


@on_kinesis
@pytest.mark.parity("consumers by polling")
async def test_a_consumer_reads_the_stream_and_events_have_its_arn(kinesis: KinesisStream) -> None:
    await kinesis.put("x")
    consumer = Arn.parse(f"{kinesis.arn}/consumer/mapping:1767225600")
    source = kinesis.source(arn=consumer)
    [record] = await read_on(source, await start(source), count=1)
    assert record.record["eventSourceARN"] == str(consumer)


@on_kinesis
async def test_reading_can_begin_at_a_time(kinesis: KinesisStream) -> None:
    source = kinesis.source()
    await kinesis.put("early")
    await anyio.sleep(0.02)  # arrival times are whole milliseconds
    await kinesis.put("late")
    early, late = await read_on(source, await start(source), count=2)
    assert early.arrived_at < late.arrived_at
    at_late = await start(source, AtTimestamp(late.arrived_at))
    assert texts(kinesis, await read_on(source, at_late, count=1)) == ["late"]
    long_before = await start(source, AtTimestamp(early.arrived_at - 3600))
    assert texts(kinesis, await read_on(source, long_before, count=2)) == ["early", "late"]


@on_dynamodb
async def test_reading_at_a_time_begins_at_its_full_second(table: TableStream) -> None:
    source = table.source()
    await table.put("early")
    await anyio.sleep(1.05)  # records tell whole seconds
    await table.put("late")
    early, late = await read_on(source, await start(source), count=2)
    at_late = await start(source, AtTimestamp(late.arrived_at + 0.9))
    assert texts(table, await read_on(source, at_late, count=1)) == ["late"]
    at_early = await start(source, AtTimestamp(early.arrived_at))
    assert texts(table, await read_on(source, at_early, count=2)) == ["early", "late"]
    passed_over = await source.read(await start(source, AtTimestamp(late.arrived_at + 1)), limit=10)
    assert (passed_over.records, passed_over.behind_in_seconds) == ([], 1)


@on_kinesis
async def test_a_read_reports_whether_it_is_behind_the_tip(kinesis: KinesisStream) -> None:
    source = kinesis.source()
    await kinesis.put("1")
    await kinesis.put("2")
    await anyio.sleep(0.02)  # the distance is told in whole milliseconds
    first: Read = await source.read(await start(source), limit=1)
    assert first.behind_in_seconds is not None
    assert 0 < first.behind_in_seconds < 60
    assert first.next_iterator is not None
    second = await source.read(first.next_iterator, limit=1)
    assert second.behind_in_seconds == 0


@on_kinesis
async def test_records_are_spread_over_shards_by_their_hash_keys(broker: KinesisBroker) -> None:
    stream = await broker.create_with_shards(2)
    source = stream.source()
    low, _ = await stream.put_data(b"low", key="k", hash_key=0)
    high, _ = await stream.put_data(b"high", key="k", hash_key=2**128 - 1)
    assert {shard.shard_id for shard in await source.shards()} == {low, high}
    for shard_id, text in ((low, "low"), (high, "high")):
        iterator = await source.iterator(ShardId(shard_id), TrimHorizon())
        assert texts(stream, await read_on(source, iterator, count=1)) == [text]


@on_kinesis
@pytest.mark.needs(Needs.PAGES)
async def test_a_listing_of_several_pages_is_complete(broker: KinesisBroker) -> None:
    stream = await broker.create_with_shards(7)
    shards = await stream.source(shards_in_a_page=3).shards()
    assert sorted(shards) == sorted(await stream.source().shards())
    assert len(shards) == 7


@on_kinesis
@pytest.mark.needs(Needs.RESHARDING)
async def test_a_split_shard_can_be_read_to_its_end_and_has_two_children(kinesis: KinesisStream) -> None:
    source = kinesis.source()
    await kinesis.put("before")
    parent = await only_shard(source)
    iterator = await start(source)
    await kinesis.split(parent)
    await kinesis.put_data(b"after", key="k", hash_key=0)
    shards = {shard.shard_id: shard for shard in await source.shards()}
    closed = shards.pop(parent)
    assert not closed.is_open
    assert [(shard.parent_ids, shard.is_open) for shard in shards.values()] == [((parent,), True)] * 2
    assert texts(kinesis, await read_on(source, iterator)) == ["before"]
    assert texts(kinesis, await read_on(source, await source.iterator(parent, TrimHorizon()))) == ["before"]
    of_children = [
        text
        for child in shards
        for text in texts(kinesis, (await source.read(await source.iterator(child, TrimHorizon()), limit=10)).records)
    ]
    assert of_children == ["after"]


@on_kinesis
@pytest.mark.needs(Needs.RESHARDING)
async def test_the_children_of_a_shard_are_returned_once_it_was_read_to_its_end(
    kinesis: KinesisStream,
) -> None:
    source = kinesis.source()
    parent = await only_shard(source)
    iterator = await start(source)
    await kinesis.split(parent)
    await read_on(source, iterator)
    children = {shard.shard_id for shard in await source.children(parent) if parent in shard.parent_ids}
    assert children == {shard.shard_id for shard in await source.shards()} - {parent}
    assert len(children) == 2


@on_kinesis
@pytest.mark.needs(Needs.RESHARDING)
async def test_reading_after_the_last_record_of_a_closed_shard_finds_its_end(kinesis: KinesisStream) -> None:
    source = kinesis.source()
    await kinesis.put("last")
    [last] = await read_on(source, await start(source), count=1)
    parent = await only_shard(source)
    await kinesis.split(parent)
    after_last = await source.iterator(parent, AfterSequence(last.sequence_number))
    assert await read_on(source, after_last) == []
    latest = await source.iterator(parent, Latest())
    assert await read_on(source, latest) == []


@on_kinesis
@pytest.mark.needs(Needs.RESHARDING)
async def test_a_merged_shard_has_two_parents(broker: KinesisBroker) -> None:
    stream = await broker.create_with_shards(2)
    source = stream.source()
    left, right = sorted(shard.shard_id for shard in await source.shards())
    await stream.put_data(b"left", key="k", hash_key=0)
    await stream.merge(left, right)
    await stream.put_data(b"merged", key="k", hash_key=0)
    shards = {shard.shard_id: shard for shard in await source.shards()}
    assert not shards.pop(left).is_open
    assert not shards.pop(right).is_open
    [child] = shards.values()
    assert (set(child.parent_ids), child.is_open) == ({left, right}, True)
    for shard_id, expected in ((left, ["left"]), (right, [])):
        iterator = await source.iterator(shard_id, TrimHorizon())
        assert texts(stream, await read_on(source, iterator)) == expected
    iterator = await source.iterator(child.shard_id, TrimHorizon())
    assert texts(stream, await read_on(source, iterator, count=1)) == ["merged"]


@on_dynamodb
async def test_a_dynamodb_record_has_the_form_of_the_event(table: TableStream) -> None:
    item = {
        "id": {"S": "a"},
        "n": {"N": "42"},
        "b": {"B": "AAEqQQ=="},
        "deep": {"M": {"l": {"L": [{"B": "/w=="}, {"NULL": True}, {"BOOL": False}]}}},
        "set": {"BS": ["AA==", "AQ=="]},
    }
    await table.put_item(item)
    record = await first_record(table)
    change = record.record["dynamodb"]
    assert record.record == {
        "eventID": record.record["eventID"],
        "eventName": "INSERT",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": REGION,
        "dynamodb": {
            "ApproximateCreationDateTime": record.arrived_at,
            "Keys": {"id": {"S": "a"}},
            "NewImage": item,
            "SequenceNumber": record.sequence_number,
            "SizeBytes": change["SizeBytes"],
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        },
        "eventSourceARN": str(table.arn),
    }
    assert isinstance(change["ApproximateCreationDateTime"], float)
    assert isinstance(change["SizeBytes"], int)
    assert record.lane_key == '{"id":{"S":"a"}}'


@on_dynamodb
async def test_each_change_has_its_images_and_a_write_without_a_change_has_no_record(table: TableStream) -> None:
    one, two = ({"id": {"S": "a"}, "n": {"N": number}} for number in ("1", "2"))
    for item in (one, one, two):
        await table.put_item(item)
    await table.delete_item({"id": {"S": "a"}})
    source = table.source()
    changes = [
        (record.record["eventName"], change.get("OldImage"), change.get("NewImage"))
        for record in await read_on(source, await start(source), count=3)
        for change in [record.record["dynamodb"]]
    ]
    assert changes == [("INSERT", None, one), ("MODIFY", one, two), ("REMOVE", two, None)]


@on_dynamodb
async def test_a_disabled_stream_is_closed_and_can_be_read_to_its_end(table: TableStream) -> None:
    source = table.source()
    await table.put("last")
    await table.disable()
    [shard] = await source.shards()
    assert not shard.is_open
    assert texts(table, await read_on(source, await start(source))) == ["last"]


@on_dynamodb
async def test_dynamodb_does_not_report_how_far_behind_a_read_is(table: TableStream) -> None:
    source = table.source()
    read = await source.read(await start(source), limit=10)
    assert read.behind_in_seconds is None
