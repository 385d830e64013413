"""What does the source send, and how does it read the answers?

Over the fake, and over answers that the fake never gives.
"""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from trio.testing import MockClock

from poller.errors import ExpiredIterator, NotFound, Rejected, ServiceError, Throttled, Trimmed, Unreachable
from poller.model.arn import Arn
from poller.model.stream import (
    AfterSequence,
    AtSequence,
    AtTimestamp,
    Latest,
    Position,
    Read,
    SequenceNumber,
    Shard,
    ShardEnd,
    ShardId,
    ShardIterator,
    TrimHorizon,
)
from poller.sources.client import Client
from poller.sources.dynamodb_streams import DynamoDbStreamsSource
from tests.fakes.clock import service_clock
from tests.fakes.dynamodb_streams import FakeDynamoDbStreams

pytestmark = pytest.mark.anyio

USERS = "arn:aws:dynamodb:eu-west-1:123456789012:table/users/stream/2026-01-01T00:00:00.000"
SHARD = ShardId("shardId-00000001767225600000-0badcafe")


@pytest.fixture
def anyio_backend() -> Any:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


class Scripted:
    """A client that returns its answers one after another, or raises an error among them, and notes the requests."""

    def __init__(self, *answers: Any) -> None:
        self.clock = service_clock()
        self._answers = list(answers)
        self.requests: list[tuple[str, dict[str, Any], float]] = []

    async def call(self, operation: str, body: bytes, *, timeout_in_seconds: float) -> Any:
        self.requests.append((operation, orjson.loads(body), timeout_in_seconds))
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def source_of(client: Client) -> DynamoDbStreamsSource:
    return DynamoDbStreamsSource(client, arn=Arn.parse(USERS))


def described(*shards: Any, **more: Any) -> Any:
    return {"StreamDescription": {"StreamStatus": "ENABLED", "Shards": list(shards)} | more}


async def test_each_page_of_a_listing_begins_after_the_last_shard_of_the_page_before() -> None:
    open_shard = {"ShardId": "b", "SequenceNumberRange": {"StartingSequenceNumber": "2"}, "ParentShardId": "a"}
    closed = {"ShardId": "a", "SequenceNumberRange": {"StartingSequenceNumber": "1", "EndingSequenceNumber": "2"}}
    client = Scripted(described(closed, LastEvaluatedShardId="a"), described(open_shard))
    assert await source_of(client).shards() == [
        Shard(ShardId("a"), (), False),
        Shard(ShardId("b"), (ShardId("a"),), True),
    ]
    assert client.requests == [
        ("DescribeStream", {"StreamArn": USERS, "Limit": 100}, 10.0),
        ("DescribeStream", {"StreamArn": USERS, "Limit": 100, "ExclusiveStartShardId": "a"}, 10.0),
    ]


def child(name: str, parent: str) -> dict[str, Any]:
    return {"ShardId": name, "SequenceNumberRange": {"StartingSequenceNumber": "2"}, "ParentShardId": parent}


async def test_the_children_of_a_shard_are_requested_by_a_filter_on_every_page() -> None:
    client = Scripted(described(child("b", SHARD), LastEvaluatedShardId="b"), described(child("c", SHARD)))
    children = await source_of(client).children(SHARD)
    assert children == [Shard(ShardId("b"), (SHARD,), True), Shard(ShardId("c"), (SHARD,), True)]
    asked = {"StreamArn": USERS, "Limit": 100, "ShardFilter": {"Type": "CHILD_SHARDS", "ShardId": SHARD}}
    assert [request for _, request, _ in client.requests] == [asked, asked | {"ExclusiveStartShardId": "b"}]


async def test_a_service_that_rejects_the_filter_is_asked_for_all_shards_from_then_on() -> None:
    error = Rejected("Unknown parameter in input: ShardFilter", code="ValidationException")
    whole = described(child("b", SHARD), child("z", "other"))
    client = Scripted(error, whole, whole)
    source = source_of(client)
    for _ in range(2):
        assert [shard.shard_id for shard in await source.children(SHARD)] == ["b", "z"]
    assert ["ShardFilter" in request for _, request, _ in client.requests] == [True, False, False]


async def test_a_failure_to_list_children_does_not_turn_off_the_filter() -> None:
    client = Scripted(NotFound("no such shard", code="ResourceNotFoundException"), described(child("b", SHARD)))
    source = source_of(client)
    with pytest.raises(NotFound):
        await source.children(SHARD)
    await source.children(SHARD)
    assert ["ShardFilter" in request for _, request, _ in client.requests] == [True, True]


async def test_the_status_of_the_stream_is_that_of_the_last_listing() -> None:
    source = source_of(Scripted(described(), described(StreamStatus="DISABLED")))
    assert source.status is None
    await source.shards()
    assert source.status == "ENABLED"
    await source.shards()
    assert source.status == "DISABLED"


async def test_a_stream_that_is_just_being_enabled_has_no_shards_yet() -> None:
    source = source_of(Scripted({"StreamDescription": {"StreamStatus": "ENABLING"}}))
    assert await source.shards() == []


async def test_an_endless_listing_is_an_error() -> None:
    class Endless:
        clock = service_clock()

        async def call(self, operation: str, body: bytes, *, timeout_in_seconds: float) -> Any:
            return described(LastEvaluatedShardId="again")

    with pytest.raises(Rejected, match="does not end"):
        await source_of(Endless()).shards()


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        (TrimHorizon(), {"ShardIteratorType": "TRIM_HORIZON"}),
        (Latest(), {"ShardIteratorType": "LATEST"}),
        (AtTimestamp(1.5), {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": 1}),
        (AtSequence(SequenceNumber("12")), {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "SequenceNumber": "12"}),
        (AfterSequence(SequenceNumber("12")), {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": "12"}),
    ],
)
async def test_every_position_is_requested_in_the_terms_of_dynamodb(
    position: Position, expected: dict[str, Any]
) -> None:
    client = Scripted({"ShardIterator": "i"})
    assert (await source_of(client).iterator(SHARD, position)).split(" ")[0] == "i"
    assert client.requests == [("GetShardIterator", {"StreamArn": USERS, "ShardId": SHARD} | expected, 10.0)]


async def test_reading_at_the_end_of_a_shard_is_a_fault_of_poller() -> None:
    with pytest.raises(AssertionError):
        await source_of(Scripted()).iterator(SHARD, ShardEnd())


async def test_a_service_that_rejects_times_is_asked_for_the_oldest_record_from_then_on() -> None:
    error = Rejected("ShardIteratorType is not valid", code="ValidationException")
    client = Scripted(error, {"ShardIterator": "i"}, {"ShardIterator": "j"})
    source = source_of(client)
    assert await source.iterator(SHARD, AtTimestamp(7.5)) == "i 7"
    assert await source.iterator(SHARD, AtTimestamp(9.5)) == "j 9"
    kinds = [request["ShardIteratorType"] for _, request, _ in client.requests]
    assert kinds == ["AT_TIMESTAMP", "TRIM_HORIZON", "TRIM_HORIZON"]


async def test_a_service_that_fails_for_a_time_is_asked_for_the_oldest_record_only_once() -> None:
    failure = Unreachable("internal error", code="InternalFailure", was_sent=True)
    client = Scripted(failure, {"ShardIterator": "i"}, {"ShardIterator": "j"})
    source = source_of(client)
    assert await source.iterator(SHARD, AtTimestamp(7.5)) == "i 7"
    assert await source.iterator(SHARD, AtTimestamp(9.5)) == "j 9"
    kinds = [request["ShardIteratorType"] for _, request, _ in client.requests]
    assert kinds == ["AT_TIMESTAMP", "TRIM_HORIZON", "AT_TIMESTAMP"]


@pytest.mark.parametrize("error", [Throttled("slowly", code="T"), NotFound("no shard", code="N")])
async def test_any_other_error_does_not_turn_off_times(error: ServiceError) -> None:
    client = Scripted(error, {"ShardIterator": "i"})
    source = source_of(client)
    with pytest.raises(type(error)):
        await source.iterator(SHARD, AtTimestamp(7.5))
    await source.iterator(SHARD, AtTimestamp(7.5))
    assert [request["ShardIteratorType"] for _, request, _ in client.requests] == ["AT_TIMESTAMP"] * 2


def changes(*seconds: float) -> list[dict[str, Any]]:
    """Return records with these times, numbered from 1."""
    return [
        {
            "eventID": "e",
            "eventName": "INSERT",
            "dynamodb": {
                "ApproximateCreationDateTime": at,
                "Keys": {"id": {"S": "a"}},
                "SequenceNumber": str(number),
            },
        }
        for number, at in enumerate(seconds, 1)
    ]


def numbers(read: Read) -> list[str]:
    return [record.sequence_number for record in read.records]


async def read_from(time: float, *answers: Any) -> list[Read]:
    """Return what the reads from a time return, one list for each answer."""
    source = source_of(Scripted({"ShardIterator": "i"}, *answers))
    iterator: ShardIterator | None = await source.iterator(SHARD, AtTimestamp(time))
    reads = []
    for _ in answers:
        assert iterator is not None
        reads.append(await source.read(iterator, limit=10))
        iterator = reads[-1].next_iterator
    return reads


async def test_reading_from_a_time_skips_records_older_than_its_second() -> None:
    [read] = await read_from(1000.7, {"Records": changes(998, 999, 1000, 1001), "NextShardIterator": "j"})
    assert (numbers(read), read.next_iterator, read.behind_in_seconds) == (["3", "4"], "j", None)


async def test_a_read_that_skipped_every_record_is_behind_and_the_next_one_skips_too() -> None:
    passed_over, read, after = await read_from(
        1000.7,
        {"Records": changes(900, 990), "NextShardIterator": "j"},
        {"Records": changes(999, 1000), "NextShardIterator": "k"},
        {"Records": changes(999), "NextShardIterator": "l"},
    )
    assert (numbers(passed_over), passed_over.behind_in_seconds) == ([], 10.0)
    assert numbers(read) == ["2"]
    assert numbers(after) == ["1"], "once a record of the time was met, nothing is passed over"


async def test_an_empty_read_before_the_time_is_not_behind_and_older_records_may_still_come() -> None:
    empty, passed_over = await read_from(
        1000.7, {"Records": [], "NextShardIterator": "j"}, {"Records": changes(999), "NextShardIterator": "k"}
    )
    assert (empty.records, empty.behind_in_seconds) == ([], None)
    assert passed_over.records == []


async def test_a_shard_that_ended_before_the_time_has_no_records() -> None:
    [read] = await read_from(1000.7, {"Records": changes(999)})
    assert (read.records, read.next_iterator) == ([], None)


async def test_records_that_expire_while_they_are_skipped_are_not_a_loss() -> None:
    gone = Trimmed("trimmed", code="TrimmedDataAccessException")
    with pytest.raises(ExpiredIterator):
        await read_from(1000.7, gone)
    with pytest.raises(Trimmed):
        await source_of(Scripted(gone)).read(ShardIterator("i"), limit=10)


async def test_at_most_a_thousand_records_are_requested() -> None:
    client = Scripted({"Records": []})
    read = await source_of(client).read(ShardIterator("i"), limit=10_000)
    assert read.next_iterator is None
    assert client.requests == [("GetRecords", {"ShardIterator": "i", "Limit": 1000}, 10.0)]


async def test_an_item_has_the_same_lane_in_any_spelling_of_its_key() -> None:
    def change(keys: dict[str, Any]) -> dict[str, Any]:
        seen = {"ApproximateCreationDateTime": 1480642020, "Keys": keys, "SequenceNumber": "1"}
        return {"eventID": "e", "eventName": "INSERT", "dynamodb": seen}

    one = {"id": {"S": "a"}, "at": {"N": "1"}}
    other = {"at": {"N": "1"}, "id": {"S": "a"}}
    client = Scripted({"Records": [change(one), change(other)]})
    first, second = (await source_of(client).read(ShardIterator("i"), limit=10)).records
    assert first.lane_key == second.lane_key == '{"at":{"N":"1"},"id":{"S":"a"}}'


@pytest.mark.parametrize("answer", [{"status": "ok"}, [], {"StreamDescription": [], "Records": [{}]}])
async def test_an_endpoint_that_is_not_dynamodb_is_recognised(answer: Any) -> None:
    source = source_of(Scripted(answer, answer, answer))
    with pytest.raises(Rejected, match="is this DynamoDB Streams"):
        await source.shards()
    with pytest.raises(Rejected, match="is this DynamoDB Streams"):
        await source.iterator(SHARD, TrimHorizon())
    with pytest.raises(Rejected, match="is this DynamoDB Streams"):
        await source.read(ShardIterator("i"), limit=10)


async def test_the_pages_of_a_listing_become_one_list() -> None:
    service = FakeDynamoDbStreams()
    table = service.create_table("users", shard_count=10)
    for _ in range(25):
        table.roll_over()
    shards = await service.source(table).shards()
    assert len({shard.shard_id for shard in shards}) == 260
    assert sum(shard.is_open for shard in shards) == 10
