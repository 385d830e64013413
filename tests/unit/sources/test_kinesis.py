"""What does the source send, and how does it read the answers?

Over the fake, and over answers that the fake never gives.
"""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from trio.testing import MockClock

from poller.errors import NotFound, Rejected, Trimmed, Unreachable
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
from poller.sources.kinesis import KinesisSource
from tests.fakes.clock import service_clock
from tests.fakes.kinesis import FakeKinesis, always

pytestmark = pytest.mark.anyio

CLICKS = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"
SHARD = ShardId("shardId-000000000000")


@pytest.fixture
def anyio_backend() -> Any:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


class Scripted:
    """A client that returns its answers one after another, or raises an error among them, and notes the requests."""

    def __init__(self, *answers: Any) -> None:
        self.clock = service_clock()
        self._answers = list(answers)
        self.requests: list[tuple[str, dict[str, Any], float]] = []

    @property
    def has_more(self) -> bool:
        return bool(self._answers)

    async def call(self, operation: str, body: bytes, *, timeout_in_seconds: float) -> Any:
        self.requests.append((operation, orjson.loads(body), timeout_in_seconds))
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def source_of(client: Client, arn: str = CLICKS, **options: Any) -> KinesisSource:
    return KinesisSource(client, arn=Arn.parse(arn), reader=always("arn:aws:iam::123456789012:role/r"), **options)


def wire_shard(number: int, **more: Any) -> dict[str, Any]:
    numbers = {"StartingSequenceNumber": "1"}
    return {"ShardId": f"shardId-{number:012d}", "SequenceNumberRange": numbers} | more


def expired_token() -> Rejected:
    return Rejected("too old", code="ExpiredNextTokenException")


@pytest.mark.parametrize("arn", [CLICKS, f"{CLICKS}/consumer/mapping:1767225600"])
async def test_every_call_that_can_name_the_stream_names_its_arn(arn: str) -> None:
    empty: dict[str, Any] = {"Records": []}
    client = Scripted({"Shards": [], "NextToken": "t"}, {"Shards": []}, {"ShardIterator": "AAA="}, empty)
    source = source_of(client, arn)
    await source.shards()
    await source.read(await source.iterator(SHARD, Latest()), limit=100)
    assert client.requests == [
        ("ListShards", {"StreamARN": CLICKS, "MaxResults": 1000}, 10.0),
        ("ListShards", {"NextToken": "t"}, 10.0),
        ("GetShardIterator", {"StreamARN": CLICKS, "ShardId": SHARD, "ShardIteratorType": "LATEST"}, 10.0),
        ("GetRecords", {"StreamARN": CLICKS, "ShardIterator": "AAA=", "Limit": 100}, 30.0),
    ]


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        (TrimHorizon(), {"ShardIteratorType": "TRIM_HORIZON"}),
        (Latest(), {"ShardIteratorType": "LATEST"}),
        (AtTimestamp(1459799926.4801), {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": 1459799926.48}),
        (AtTimestamp(1459799926.4809), {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": 1459799926.48}),
        (AtTimestamp(1459799926.48), {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": 1459799926.48}),
        (
            AtSequence(SequenceNumber("12")),
            {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": "12"},
        ),
        (
            AfterSequence(SequenceNumber("12")),
            {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": "12"},
        ),
    ],
)
async def test_every_position_is_requested_in_the_terms_of_kinesis(
    position: Position, expected: dict[str, Any]
) -> None:
    client = Scripted({"ShardIterator": "AAA="})
    await source_of(client).iterator(SHARD, position)
    assert client.requests[0][1] == {"StreamARN": CLICKS, "ShardId": SHARD} | expected


def answer(*numbers: str, following: str | None = "BBB=", behind: int = 0) -> dict[str, Any]:
    records = [
        {"SequenceNumber": each, "ApproximateArrivalTimestamp": 1.0, "Data": "", "PartitionKey": "k"}
        for each in numbers
    ]
    return {"Records": records, "NextShardIterator": following, "MillisBehindLatest": behind}


async def reads_after(number: str, *answers: Any) -> tuple[list[list[SequenceNumber]], Scripted]:
    """Return the numbers that the reads after a record return, one list for each answer, and the client."""
    client = Scripted({"ShardIterator": "AAA="}, *answers)
    source = source_of(client)
    iterator: ShardIterator | None = await source.iterator(SHARD, AfterSequence(SequenceNumber(number)))
    given = []
    while iterator is not None and client.has_more:
        read = await source.read(iterator, limit=100)
        given.append([record.sequence_number for record in read.records])
        iterator = read.next_iterator
    return given, client


async def test_reading_after_a_record_begins_at_this_record_and_leaves_it_out() -> None:
    given, _ = await reads_after("9", answer(), answer("9", "10"), answer("11", "12"))
    assert given == [[], ["10"], ["11", "12"]]
    alone, _ = await reads_after("9", answer("9"), answer("10"))
    assert alone == [[], ["10"]]


async def test_the_record_to_read_after_is_left_out_at_the_end_of_a_shard_too() -> None:
    given, _ = await reads_after("9", answer("9", following=None))
    assert given == [[]]


@pytest.mark.parametrize(
    "answers",
    [(answer("10"),), (answer(), answer("10")), (answer(following=None),), (answer("10", following=None),)],
    ids=["another comes first", "later", "the end comes first", "another comes at the end"],
)
async def test_a_missing_record_to_read_after_is_reported(answers: tuple[Any, ...]) -> None:
    with pytest.raises(Trimmed, match="9 is not in the shard"):
        await reads_after("9", *answers)


async def test_a_search_without_progress_continues_at_the_oldest_record_and_leaves_out_older_ones() -> None:
    still = [answer(behind=86_400_000)] * 25
    oldest = {"ShardIterator": "OLD="}
    given, client = await reads_after("9", *still, oldest, *still, answer("7", "8"), answer("8", "9", "10"))
    assert given == [[]] * 51 + [["10"]]
    asked = [request for operation, request, _ in client.requests if operation == "GetShardIterator"]
    assert [each["ShardIteratorType"] for each in asked] == ["AT_SEQUENCE_NUMBER", "TRIM_HORIZON"]
    assert [request["ShardIterator"] for operation, request, _ in client.requests if operation == "GetRecords"][
        24:27
    ] == [
        "BBB=",
        "OLD=",
        "BBB=",
    ]


async def test_a_search_at_the_tip_continues_there() -> None:
    given, _ = await reads_after("9", *[answer()] * 60, answer("9", "10"))
    assert given == [[]] * 60 + [["10"]]


async def test_reading_at_the_end_of_a_shard_is_a_fault_of_poller() -> None:
    with pytest.raises(AssertionError):
        await source_of(Scripted()).iterator(SHARD, ShardEnd())


async def test_a_listed_shard_has_its_parents_and_whether_it_is_open() -> None:
    closed = {"SequenceNumberRange": {"StartingSequenceNumber": "1", "EndingSequenceNumber": "2"}}
    parents = {"ParentShardId": "shardId-000000000000", "AdjacentParentShardId": "shardId-000000000001"}
    client = Scripted({"Shards": [wire_shard(1) | closed, wire_shard(2, **parents)]})
    assert await source_of(client).shards() == [
        Shard(ShardId("shardId-000000000001"), (), False),
        Shard(ShardId("shardId-000000000002"), (SHARD, ShardId("shardId-000000000001")), True),
    ]


async def test_a_listing_whose_token_expired_begins_again() -> None:
    first = {"Shards": [wire_shard(0), wire_shard(1)], "NextToken": "t"}
    client = Scripted(first, expired_token(), first, {"Shards": [wire_shard(1), wire_shard(2)]})
    assert [shard.shard_id[-1] for shard in await source_of(client).shards()] == ["0", "1", "2"]


async def test_a_listing_whose_tokens_always_expire_is_given_up() -> None:
    first = {"Shards": [], "NextToken": "t"}
    with pytest.raises(Unreachable):
        await source_of(Scripted(*[first, expired_token()] * 3)).shards()


async def test_any_other_error_of_a_listing_is_raised_unchanged() -> None:
    for error in (Rejected("no", code="InvalidArgumentException"), NotFound("no", code="ResourceNotFoundException")):
        with pytest.raises(type(error)):
            await source_of(Scripted(error)).shards()


async def test_an_endless_listing_is_an_error() -> None:
    class Endless:
        clock = service_clock()

        async def call(self, operation: str, body: bytes, *, timeout_in_seconds: float) -> Any:
            return {"Shards": [], "NextToken": "again"}

    with pytest.raises(Rejected, match="does not end"):
        await source_of(Endless()).shards()


async def test_the_error_of_a_sequence_number_of_another_stream_says_what_to_do() -> None:
    refused = Rejected("it did not come from this stream", code="InvalidArgumentException")
    for position in (AtSequence(SequenceNumber("1")), AfterSequence(SequenceNumber("1"))):
        with pytest.raises(Rejected, match=r"did not come from this stream.*`poller state set`"):
            await source_of(Scripted(refused)).iterator(SHARD, position)
    with pytest.raises(Rejected, match=r"^it did not come from this stream$"):
        await source_of(Scripted(refused)).iterator(SHARD, AtTimestamp(1.0))


async def test_at_most_ten_thousand_records_are_requested() -> None:
    client = Scripted({"ShardIterator": "AAA="}, {"Records": []})
    await first_read(client, limit=10_001)
    assert client.requests[1][1]["Limit"] == 10_000


async def first_read(client: Scripted, *, limit: int = 10) -> Read:
    source = source_of(client)
    return await source.read(await source.iterator(SHARD, TrimHorizon()), limit=limit)


async def test_data_is_passed_on_without_decoding() -> None:
    wire = {
        "SequenceNumber": "49590338271490256608559692538361571095921575989136588898",
        "ApproximateArrivalTimestamp": 1545084650.987,
        "Data": "this is no base64",
        "PartitionKey": "1",
        "EncryptionType": "NONE",
    }
    client = Scripted(
        {"ShardIterator": "AAA="}, {"Records": [wire], "NextShardIterator": "BBB=", "MillisBehindLatest": 1500}
    )
    read = await first_read(client)
    [record] = read.records
    assert record.record["kinesis"]["data"] == "this is no base64"
    assert record.record["eventID"] == f"{SHARD}:{wire['SequenceNumber']}"
    assert (record.sequence_number, record.lane_key, record.arrived_at) == (wire["SequenceNumber"], "1", 1545084650.987)
    assert (read.next_iterator, read.behind_in_seconds) == (f"{SHARD} BBB=", 1.5)


async def test_the_reading_client_is_opened_once_and_only_if_there_is_something_to_read() -> None:
    asked = []

    async def reader() -> str:
        asked.append(1)
        return "arn:aws:iam::123456789012:role/r"

    client = Scripted({"Shards": []}, {"ShardIterator": "AAA="}, {"Records": []}, {"Records": []})
    source = KinesisSource(client, arn=Arn.parse(CLICKS), reader=reader)
    await source.shards()
    iterator = await source.iterator(SHARD, TrimHorizon())
    assert not asked
    for _ in range(2):
        await source.read(iterator, limit=10)
    assert asked == [1]


async def test_an_absent_or_null_next_iterator_is_the_shards_end() -> None:
    answers: list[dict[str, Any]] = [{"Records": []}, {"Records": [], "NextShardIterator": None}]
    for answer in answers:
        read = await first_read(Scripted({"ShardIterator": "AAA="}, answer))
        assert (read.next_iterator, read.behind_in_seconds) == (None, None)


async def test_the_answer_that_ends_a_shard_names_its_children() -> None:
    named = [
        {"ShardId": "shardId-000000000002", "ParentShards": [SHARD, "shardId-000000000001"], "HashKeyRange": {}},
    ]
    client = Scripted({"ShardIterator": "AAA="}, {"Records": [], "ChildShards": named})
    source = source_of(client)
    await source.read(await source.iterator(SHARD, TrimHorizon()), limit=10)
    assert await source.children(SHARD) == [
        Shard(ShardId("shardId-000000000002"), (SHARD, ShardId("shardId-000000000001")), True)
    ]
    assert not client.has_more
    assert len(client.requests) == 2, "nothing was listed"


async def test_named_children_are_returned_once() -> None:
    """The source keeps them only until the shard is done."""
    named = [{"ShardId": "shardId-000000000002", "ParentShards": [SHARD]}]
    client = Scripted({"ShardIterator": "AAA="}, {"Records": [], "ChildShards": named}, {"Shards": [wire_shard(1)]})
    source = source_of(client)
    await source.read(await source.iterator(SHARD, TrimHorizon()), limit=10)
    assert [shard.shard_id for shard in await source.children(SHARD)] == ["shardId-000000000002"]
    assert [shard.shard_id for shard in await source.children(SHARD)] == ["shardId-000000000001"]


@pytest.mark.parametrize(("listed", "asks"), [(0, False), (1, True)])
async def test_named_children_are_kept_as_long_as_their_parent_is_listed(listed: int, asks: bool) -> None:
    """A mapping that found them in a listing never asks for them, so without this rule they fill the memory."""
    named = [{"ShardId": "shardId-000000000002", "ParentShards": [SHARD]}]
    listings = [{"Shards": [wire_shard(listed)]}, {"Shards": [wire_shard(1)]}]
    client = Scripted({"ShardIterator": "AAA="}, {"Records": [], "ChildShards": named}, *listings)
    source = source_of(client)
    await source.read(await source.iterator(SHARD, TrimHorizon()), limit=10)
    await source.shards()
    await source.children(SHARD)
    assert client.has_more is not asks


@pytest.mark.parametrize("named", [{}, {"ChildShards": None}, {"ChildShards": []}])
async def test_all_shards_are_listed_if_the_answer_names_no_children(named: Any) -> None:
    client = Scripted({"ShardIterator": "AAA="}, {"Records": []} | named, {"Shards": [wire_shard(1)]})
    source = source_of(client)
    await source.read(await source.iterator(SHARD, TrimHorizon()), limit=10)
    assert [shard.shard_id for shard in await source.children(SHARD)] == ["shardId-000000000001"]


async def test_an_answer_with_children_without_parents_is_refused() -> None:
    client = Scripted({"ShardIterator": "AAA="}, {"Records": [], "ChildShards": [{"ShardId": "b"}]})
    source = source_of(client)
    with pytest.raises(Rejected, match="is this Kinesis"):
        await source.read(await source.iterator(SHARD, TrimHorizon()), limit=10)


@pytest.mark.parametrize("answer", [{"status": "ok"}, [], {"Shards": 1, "Records": [{}]}])
async def test_an_endpoint_that_is_not_kinesis_is_recognised(answer: Any) -> None:
    source = source_of(Scripted(answer, answer, answer))
    with pytest.raises(Rejected, match="is this Kinesis"):
        await source.shards()
    with pytest.raises(Rejected, match="is this Kinesis"):
        await source.iterator(SHARD, TrimHorizon())
    with pytest.raises(Rejected, match="is this Kinesis"):
        await source.read(ShardIterator(f"{SHARD} AAA="), limit=10)


async def test_the_pages_of_a_listing_become_one_list() -> None:
    service = FakeKinesis()
    stream = service.create_stream("clicks", shard_count=2500)
    shards = await service.source(stream).shards()
    assert len({shard.shard_id for shard in shards}) == 2500
