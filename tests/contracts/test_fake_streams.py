"""Do the fakes of streams do what emulators do not do? Rules of real streams and faults, under virtual time."""

from __future__ import annotations

from collections import Counter
from typing import Any

import anyio
import orjson
import pytest

from poller.errors import (
    AccessDenied,
    ExpiredIterator,
    NotFound,
    Rejected,
    ServiceError,
    Throttled,
    Trimmed,
    Unreachable,
)
from poller.model.stream import (
    AfterSequence,
    AtSequence,
    AtTimestamp,
    Latest,
    Position,
    SequenceNumber,
    ShardId,
    ShardIterator,
    StreamRecord,
    TrimHorizon,
)
from poller.ports import StreamSource
from tests.fakes.clock import EPOCH, VirtualClock
from tests.fakes.dynamodb_streams import FakeDynamoDbStreams, Item
from tests.fakes.faults import Fault, FaultPlan, Outage
from tests.fakes.kinesis import FakeKinesis
from tests.fakes.stream import FakeStream

pytestmark = pytest.mark.anyio

DAY = 86_400


@pytest.fixture
def implementation() -> str:
    return "fake on trio"


def kinds(stream: FakeStream) -> list[str]:
    return [entry.kind for entry in stream.history]


async def start(source: StreamSource, position: Position | None = None) -> ShardIterator:
    """Return an iterator of the oldest shard."""
    shards = await source.shards()
    return await source.iterator(shards[0].shard_id, position or TrimHorizon())


async def read(source: StreamSource, position: Position | None = None, *, limit: int = 1000) -> list[StreamRecord]:
    return (await source.read(await start(source, position), limit=limit)).records


async def read_on_the_wire(
    service: FakeKinesis, stream: FakeStream, kind: str, number: SequenceNumber
) -> list[StreamRecord]:
    """Read as the source would read if it requested this kind of position."""
    request = {
        "StreamARN": str(stream.arn),
        "ShardId": stream.shards(now=anyio.current_time())[0].shard_id,
        "ShardIteratorType": kind,
        "StartingSequenceNumber": number,
    }
    answer = await service.call("GetShardIterator", orjson.dumps(request), timeout_in_seconds=10)
    cursor = ShardIterator(f"{request['ShardId']} {answer['ShardIterator']}")
    return (await service.source(stream).read(cursor, limit=10)).records


def item(text: str, key: str = "a") -> Item:
    return {"id": {"S": key}, "text": {"S": text}}


async def test_records_arrive_at_the_virtual_time_of_day() -> None:
    service = FakeKinesis()
    stream = service.create_stream("clicks")
    await anyio.sleep(2.5)
    service.put(stream, "k")
    [record] = await read(service.source(stream))
    assert record.arrived_at == EPOCH + 2.5 == VirtualClock().now()
    tables = FakeDynamoDbStreams()
    table = tables.create_table("users")
    table.put_item(item("x"))
    [change] = await read(tables.source(table))
    assert change.arrived_at == EPOCH + 2


async def test_sequence_numbers_grow_and_their_length_changes() -> None:
    service = FakeKinesis()
    stream = service.create_stream("clicks")
    numbers = [service.put(stream, "k") for _ in range(100)]
    assert [int(number) for number in numbers] == sorted({int(number) for number in numbers})
    assert {len(number) for number in numbers} == {55, 56}
    assert numbers != sorted(numbers)


async def test_a_childs_sequence_numbers_are_higher_than_its_parents() -> None:
    service = FakeKinesis()
    stream = service.create_stream("clicks")
    last = service.put(stream, "k")
    [parent] = stream.shards(now=0)
    stream.split(parent.shard_id, now=0)
    child_ids = parent.child_ids
    assert parent.starts_at < int(last) < (parent.ends_at or 0)
    assert all(stream.shard(child_id).starts_at > (parent.ends_at or 0) for child_id in child_ids)


@pytest.mark.parametrize(("wait", "is_expired"), [(299.9, False), (300, True)])
async def test_a_kinesis_iterator_expires_after_five_minutes(wait: float, is_expired: bool) -> None:
    service = FakeKinesis()
    source = service.source(service.create_stream("clicks"))
    iterator = await start(source)
    await anyio.sleep(wait)
    if is_expired:
        with pytest.raises(ExpiredIterator):
            await source.read(iterator, limit=10)
    else:
        following = (await source.read(iterator, limit=10)).next_iterator
        assert following is not None
        await anyio.sleep(wait)
        await source.read(following, limit=10)


@pytest.mark.parametrize(("wait", "is_expired"), [(899.9, False), (900, True)])
async def test_a_dynamodb_iterator_expires_after_fifteen_minutes(wait: float, is_expired: bool) -> None:
    service = FakeDynamoDbStreams()
    source = service.source(service.create_table("users"))
    iterator = await start(source)
    await anyio.sleep(wait)
    if is_expired:
        with pytest.raises(ExpiredIterator):
            await source.read(iterator, limit=10)
    else:
        following = (await source.read(iterator, limit=10)).next_iterator
        assert following is not None
        await anyio.sleep(wait)
        await source.read(following, limit=10)


async def test_an_iterator_may_expire_before_its_time() -> None:
    service = FakeKinesis()
    stream = service.create_stream("clicks", early_expiry_rate=1.0)
    with pytest.raises(ExpiredIterator):
        await read(service.source(stream))
    assert stream.history[-1].detail == "ExpiredIteratorException"


async def test_a_shard_is_read_five_times_a_second() -> None:
    service = FakeKinesis()
    stream = service.create_stream("clicks", shard_count=2)
    source = service.source(stream)
    one, other = [await source.iterator(shard.shard_id, TrimHorizon()) for shard in await source.shards()]
    for _ in range(5):
        await source.read(one, limit=10)
    with pytest.raises(Throttled) as raised:
        await source.read(one, limit=10)
    assert raised.value.code == "ProvisionedThroughputExceededException"
    await source.read(other, limit=10)
    await anyio.sleep(1)
    await source.read(one, limit=10)


async def test_iterators_of_a_shard_are_given_five_times_a_second() -> None:
    service = FakeKinesis()
    source = service.source(service.create_stream("clicks"))
    for _ in range(5):
        await start(source)
    with pytest.raises(Throttled):
        await start(source)
    await anyio.sleep(1)
    await start(source)


async def test_after_ten_mebibytes_a_shard_cannot_be_read_for_five_seconds() -> None:
    service = FakeKinesis()
    stream = service.create_stream("clicks")
    source = service.source(stream)
    for _ in range(12):
        service.put(stream, "", bytes(1024 * 1024))
    first = await source.read(await start(source), limit=10_000)
    assert len(first.records) == 10
    assert first.next_iterator is not None
    await anyio.sleep(4.99)
    with pytest.raises(Throttled):
        await source.read(first.next_iterator, limit=10_000)
    await anyio.sleep(0.01)
    assert len((await source.read(first.next_iterator, limit=10_000)).records) == 2


async def test_many_smaller_answers_use_up_the_same_allowance() -> None:
    service = FakeKinesis()
    stream = service.create_stream("clicks")
    source = service.source(stream)
    for _ in range(4):
        service.put(stream, "", bytes(1024 * 1024))
    iterator: ShardIterator | None = await start(source)
    for _ in range(2):
        assert iterator is not None
        iterator = (await source.read(iterator, limit=1)).next_iterator
    assert iterator is not None
    await anyio.sleep(0.99)
    with pytest.raises(Throttled):
        await source.read(iterator, limit=1)
    await anyio.sleep(0.01)
    await source.read(iterator, limit=1)


async def test_a_dynamodb_read_has_at_most_a_megabyte() -> None:
    service = FakeDynamoDbStreams()
    table = service.create_table("users")
    for number in range(4):
        table.put_item(item("x" * 390_000, str(number)))
    assert len(await read(service.source(table))) == 2


async def test_kinesis_continues_a_trimmed_position_at_the_oldest_record() -> None:
    service = FakeKinesis()
    stream = service.create_stream("clicks")
    source = service.source(stream)
    gone = SequenceNumber(service.put(stream, "k"))
    await anyio.sleep(100)
    kept = service.put(stream, "k")
    await anyio.sleep(DAY - 100.5)
    iterator = await start(source)
    await anyio.sleep(0.5)
    assert [shard.oldest for shard in stream.shards(now=anyio.current_time())] == [1]
    assert (stream.history[-1].kind, stream.history[-1].at) == ("trimmed", DAY)
    for records in (
        (await source.read(iterator, limit=10)).records,
        await read(source, AtSequence(gone)),
        await read(source, AtTimestamp(EPOCH - 1)),
        await read_on_the_wire(service, stream, "AFTER_SEQUENCE_NUMBER", gone),
    ):
        assert [record.sequence_number for record in records] == [kept]
    assert [entry.detail for entry in stream.history if entry.kind == "skipped"] == ["1"]


async def test_dynamodb_refuses_a_trimmed_position() -> None:
    service = FakeDynamoDbStreams()
    table = service.create_table("users", shard_lifetime_in_seconds=None)
    source = service.source(table)
    gone = SequenceNumber(table.put_item(item("gone")) or "")
    await anyio.sleep(100)
    kept = table.put_item(item("kept"))
    await anyio.sleep(DAY - 100.5)
    iterator = await start(source)
    await anyio.sleep(0.5)
    with pytest.raises(Trimmed):
        await source.read(iterator, limit=10)
    for position in (AtSequence(gone), AfterSequence(gone)):
        with pytest.raises(Trimmed):
            await start(source, position)
    assert [record.sequence_number for record in await read(source)] == [kept]
    assert [entry.detail for entry in table.stream.history if entry.kind == "put"] == ['{"id":{"S":"a"}}'] * 2


async def test_an_iterator_at_the_tip_is_not_trimmed_by_age() -> None:
    service = FakeDynamoDbStreams()
    table = service.create_table("users", shard_lifetime_in_seconds=None)
    source = service.source(table)
    table.put_item(item("old"))
    iterator = await start(source, Latest())
    await anyio.sleep(800)
    table.stream.retention_in_seconds = 1
    table.put_item(item("new"))
    assert len((await source.read(iterator, limit=10)).records) == 1


async def test_a_sequence_number_of_another_shard_is_refused() -> None:
    service = FakeKinesis()
    stream = service.create_stream("clicks")
    source = service.source(stream)
    number = SequenceNumber(service.put(stream, "k"))
    [parent] = await source.shards()
    [child, _] = stream.split(parent.shard_id, now=anyio.current_time())
    with pytest.raises(Rejected):
        await source.iterator(ShardId(child), AfterSequence(number))


async def test_a_sequence_number_of_a_former_stream_by_the_same_name_is_refused() -> None:
    service = FakeKinesis()
    former = service.create_stream("clicks")
    number = SequenceNumber(service.put(former, "k"))
    service.delete_stream(former)
    stream = service.create_stream("clicks")
    assert stream.arn == former.arn
    assert [shard.shard_id for shard in stream.shards(now=0)] == [shard.shard_id for shard in former.shards(now=0)]
    for position in (AtSequence(number), AfterSequence(number)):
        with pytest.raises(Rejected) as raised:
            await start(service.source(stream), position)
        assert raised.value.code == "InvalidArgumentException"


async def test_a_future_time_is_refused() -> None:
    service = FakeKinesis()
    source = service.source(service.create_stream("clicks"))
    with pytest.raises(Rejected):
        await start(source, AtTimestamp(EPOCH + 1))


async def test_a_closed_parent_can_be_read_until_its_records_expire_and_then_leaves_the_stream() -> None:
    service = FakeKinesis()
    stream = service.create_stream("clicks")
    source = service.source(stream)
    [parent] = await source.shards()
    await anyio.sleep(50)
    service.put(stream, "k")
    children = stream.split(parent.shard_id, now=anyio.current_time())
    await anyio.sleep(DAY - 1)
    assert len(await read(source)) == 1
    iterator = await start(source)
    await anyio.sleep(1)
    shards = await source.shards()
    assert [shard.shard_id for shard in shards] == children
    assert {shard.parent_ids for shard in shards} == {(parent.shard_id,)}
    with pytest.raises(NotFound):
        await source.read(iterator, limit=10)
    with pytest.raises(NotFound):
        await source.iterator(parent.shard_id, TrimHorizon())
    assert kinds(stream) == ["opened", "put", "closed", "opened", "opened", "read", "trimmed", "gone"]


async def test_the_end_of_a_shard_names_its_children() -> None:
    service = FakeKinesis()
    stream = service.create_stream("clicks", shard_count=2)
    left, right = (shard.shard_id for shard in stream.shards(now=0))
    child = stream.merge(left, right, now=0)
    iterator = await service.source(stream).iterator(ShardId(left), TrimHorizon())
    body = b'{"ShardIterator":"%b"}' % iterator.split(" ")[1].encode()
    answer = await service.call("GetRecords", body, timeout_in_seconds=10)
    assert answer == {
        "Records": [],
        "MillisBehindLatest": 0,
        "ChildShards": [
            {
                "ShardId": child,
                "ParentShards": [left, right],
                "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": str(2**128 - 1)},
            }
        ],
    }


async def test_only_neighbours_can_be_merged_and_only_once() -> None:
    stream = FakeKinesis().create_stream("clicks", shard_count=3)
    first, second, third = (shard.shard_id for shard in stream.shards(now=0))
    with pytest.raises(Rejected):
        stream.merge(first, third, now=0)
    stream.merge(second, first, now=0)
    with pytest.raises(Rejected):
        stream.split(first, now=0)


async def test_the_end_of_a_shard_may_be_reported_by_a_separate_read() -> None:
    service = FakeKinesis()
    stream = service.create_stream("clicks", late_end_rate=1.0)
    source = service.source(stream)
    service.put(stream, "k")
    [shard] = stream.shards(now=0)
    stream.split(shard.shard_id, now=0)
    first = await source.read(await start(source), limit=10)
    assert len(first.records) == 1
    assert first.next_iterator is not None
    second = await source.read(first.next_iterator, limit=10)
    assert (second.records, second.next_iterator) == ([], None)


async def test_a_read_may_be_empty_although_there_are_records_and_reports_that_it_is_behind() -> None:
    service = FakeKinesis()
    stream = service.create_stream("clicks", empty_read_rate=1.0)
    source = service.source(stream)
    service.put(stream, "k")
    await anyio.sleep(7)
    first = await source.read(await start(source), limit=10)
    assert (first.records, first.behind_in_seconds) == ([], 7.0)
    assert first.next_iterator is not None
    stream.empty_read_rate = 0.0
    assert len((await source.read(first.next_iterator, limit=10)).records) == 1


async def test_a_shard_of_a_table_rolls_over_every_four_hours() -> None:
    service = FakeDynamoDbStreams()
    table = service.create_table("users")
    source = service.source(table)
    table.put_item(item("before"))
    await anyio.sleep(4 * 3600)
    table.put_item(item("after"))
    parent, child = await source.shards()
    assert (parent.is_open, child.is_open, child.parent_ids) == (False, True, (parent.shard_id,))
    done = await source.read(await source.iterator(parent.shard_id, TrimHorizon()), limit=10)
    assert (len(done.records), done.next_iterator) == (1, None)
    assert len((await source.read(await source.iterator(child.shard_id, TrimHorizon()), limit=10)).records) == 1
    await anyio.sleep(20 * 3600)
    assert len(await source.shards()) == 7
    rollovers = [entry.at / 3600 for entry in table.stream.history if entry.kind == "closed"]
    assert rollovers == [4, 8, 12, 16, 20, 24]


async def test_a_rollover_may_have_several_children_and_an_item_continues_in_one_of_them() -> None:
    service = FakeDynamoDbStreams()
    table = service.create_table("users")
    children = table.roll_over(children=3)
    for number in range(30):
        table.put_item(item("x", str(number)))
        table.put_item(item("y", str(number)))
    per_shard = [
        {record.content["dynamodb"]["Keys"]["id"]["S"] for record in table.stream.shard(child).records}
        for child in children
    ]
    assert all(per_shard)
    assert sum(map(len, per_shard)) == 30


async def test_a_shard_may_have_two_children_when_it_rolls_over_by_itself() -> None:
    service = FakeDynamoDbStreams()
    table = service.create_table("users", split_at_rollover_rate=1.0)
    await anyio.sleep(8 * 3600)
    assert sum(shard.is_open for shard in await service.source(table).shards()) == 4


async def test_a_record_of_an_item_that_dynamodb_deletes_by_age_names_the_service() -> None:
    service = FakeDynamoDbStreams()
    table = service.create_table("sessions")
    table.put_item(item("x"))
    table.delete_item({"id": {"S": "a"}}, is_by_age=True)
    _, removed = await read(service.source(table))
    assert list(removed.record)[4:7] == ["awsRegion", "userIdentity", "dynamodb"]
    assert removed.record["userIdentity"] == {"type": "Service", "principalId": "dynamodb.amazonaws.com"}


@pytest.mark.parametrize(
    ("view_type", "images"),
    [
        ("KEYS_ONLY", set()),
        ("NEW_IMAGE", {"NewImage"}),
        ("OLD_IMAGE", {"OldImage"}),
        ("NEW_AND_OLD_IMAGES", {"NewImage", "OldImage"}),
    ],
)
async def test_a_modification_shows_the_images_of_the_view_type(view_type: Any, images: set[str]) -> None:
    service = FakeDynamoDbStreams()
    table = service.create_table("users", view_type=view_type)
    table.put_item(item("x"))
    table.put_item(item("y"))
    _, modified = await read(service.source(table))
    assert {"NewImage", "OldImage"} & modified.record["dynamodb"].keys() == images


async def test_a_read_whose_answer_was_lost_returns_the_same_records_again() -> None:
    service = FakeKinesis()
    stream = service.create_stream("clicks")
    source = service.source(stream)
    number = service.put(stream, "k")
    iterator = await start(source)
    service.faults.script("GetRecords", Fault.ANSWER_LOST)
    with pytest.raises(Unreachable) as raised:
        await source.read(iterator, limit=10)
    assert raised.value.was_sent
    assert [record.sequence_number for record in (await source.read(iterator, limit=10)).records] == [number]
    assert [(entry.kind, entry.sequence_numbers) for entry in stream.history[-3:]] == [
        ("read", (number,)),
        ("answer_lost", (number,)),
        ("read", (number,)),
    ]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.THROTTLED, Throttled),
        (Fault.UNREACHABLE, Unreachable),
        (Fault.ACCESS_DENIED, AccessDenied),
        (Fault.NOT_FOUND, NotFound),
        (Fault.ANSWER_LOST, Unreachable),
    ],
)
@pytest.mark.parametrize("kind", ["kinesis", "dynamodb"])
async def test_every_call_may_fail_for_a_while(kind: str, fault: Fault, error: type[ServiceError]) -> None:
    faults = FaultPlan(outages=[Outage(10, 20, fault)])
    source: StreamSource
    if kind == "kinesis":
        kinesis = FakeKinesis(faults=faults)
        source = kinesis.source(kinesis.create_stream("clicks"))
    else:
        tables = FakeDynamoDbStreams(faults=faults)
        source = tables.source(tables.create_table("users"))
    iterator = await start(source)
    await anyio.sleep(10)
    with pytest.raises(error):
        await source.shards()
    with pytest.raises(error):
        await start(source)
    with pytest.raises(error):
        await source.read(iterator, limit=10)
    await anyio.sleep(10)
    assert (await source.read(iterator, limit=10)).next_iterator is not None


async def test_a_slow_answer_arrives_too_late() -> None:
    service = FakeKinesis(faults=FaultPlan(slow_answer_rate=1.0, slow_answer_in_seconds=11))
    source = service.source(service.create_stream("clicks"))
    with pytest.raises(Unreachable):
        await source.shards()
    assert anyio.current_time() == 10


async def test_the_token_of_a_listing_expires() -> None:
    service = FakeKinesis(faults=FaultPlan(latency_in_seconds=(150, 150)))
    stream = service.create_stream("clicks", shard_count=5)
    call = {"timeout_in_seconds": 1000.0}
    first = await service.call("ListShards", b'{"StreamName":"clicks","MaxResults":3}', **call)
    body = b'{"NextToken":"%b"}' % first["NextToken"].encode()
    with pytest.raises(Rejected) as raised:
        await service.call("ListShards", body, **call)
    assert raised.value.code == "ExpiredNextTokenException"
    with pytest.raises(Rejected) as raised:
        await service.call("ListShards", body[:-1] + b',"StreamName":"clicks"}', **call)
    assert raised.value.code == "InvalidArgumentException"
    assert len(stream.shards(now=anyio.current_time())) == 5


async def read_everything(source: StreamSource, shard_id: ShardId) -> list[str]:
    """Read all records of a shard. Every kind of failure is handled by another try."""
    numbers: list[str] = []
    iterator: ShardIterator | None = None
    while True:
        try:
            if iterator is None:
                after = AfterSequence(SequenceNumber(numbers[-1])) if numbers else TrimHorizon()
                iterator = await source.iterator(shard_id, after)
            answer = await source.read(iterator, limit=3)
        except ExpiredIterator:
            iterator = None
            continue
        except (Throttled, Unreachable):
            await anyio.sleep(1)
            continue
        numbers += [record.sequence_number for record in answer.records]
        if answer.next_iterator is None:
            return numbers
        iterator = answer.next_iterator
        await anyio.sleep(0.5)


async def a_busy_hour(seed: int) -> tuple[list[Any], dict[str, list[str]]]:
    faults = FaultPlan(
        seed=seed,
        latency_in_seconds=(0.01, 0.3),
        throttle_rate=0.05,
        unreachable_rate=0.05,
        lost_answer_rate=0.05,
        slow_answer_rate=0.05,
    )
    service = FakeKinesis(seed=seed, faults=faults)
    randomness = {"empty_read_rate": 0.3, "short_read_rate": 0.3, "late_end_rate": 0.5, "early_expiry_rate": 0.1}
    stream = service.create_stream("clicks", **randomness)
    source = service.source(stream)
    began_at = anyio.current_time()
    for number in range(200):
        service.put(stream, str(number))
        await anyio.sleep(1)
        if number % 50 == 49:
            open_shards = [shard for shard in stream.shards(now=anyio.current_time()) if shard.is_open]
            stream.split(open_shards[0].shard_id, now=anyio.current_time())
    stream.end(now=anyio.current_time())
    shards = stream.shards(now=anyio.current_time())
    found = {shard.shard_id: await read_everything(source, ShardId(shard.shard_id)) for shard in shards}
    return [entry._replace(at=round(entry.at - began_at, 6)) for entry in stream.history], found


async def test_the_same_seed_gives_the_same_history_and_every_record_is_read_once_and_in_order() -> None:
    history, found = await a_busy_hour(1)
    assert (history, found) == await a_busy_hour(1)
    assert history != (await a_busy_hour(2))[0]
    assert [entry.at for entry in history] == sorted(entry.at for entry in history)
    counts = Counter(entry.kind for entry in history)
    assert (counts["put"], counts["opened"], counts["closed"]) == (200, 9, 9)
    assert counts["answer_lost"] > 0
    assert counts["refused"] > 0
    for shard_id, numbers in found.items():
        put = [entry.sequence_numbers[0] for entry in history if (entry.kind, entry.shard_id) == ("put", shard_id)]
        assert numbers == put


@pytest.mark.parametrize(("filters", "expected"), [("known", 2), ("ignored", 4)])
async def test_the_children_of_a_tables_shard_are_listed_by_a_filter(filters: Any, expected: int) -> None:
    service = FakeDynamoDbStreams(filters=filters)
    table = service.create_table("users", shard_count=2)
    parent, _ = [shard.shard_id for shard in table.stream.shards(now=anyio.current_time())]
    children = table.stream.roll_over(parent, now=anyio.current_time(), children=2)
    shards = await service.source(table).children(ShardId(parent))
    assert [shard.shard_id for shard in shards if parent in shard.parent_ids] == children
    assert len(shards) == expected


async def test_pages_beyond_the_limit_are_throttled_until_a_tenth_of_a_second_has_passed() -> None:
    service = FakeDynamoDbStreams(listings_in_a_second=10)
    source = service.source(service.create_table("users"))
    for _ in range(10):
        await source.shards()
    with pytest.raises(Throttled):
        await source.shards()
    await anyio.sleep(0.11)
    await source.shards()
    assert service.throttled_listings == 1
