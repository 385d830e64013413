"""Is the benchmark's own stream correct? A client must get every record once, in the order of its shard."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

import pytest

from tests.bench.servers.canned_streams import Service
from tests.bench.servers.connection import RefusedError
from tests.bench.servers.stream_records import BYTES_IN_A_RECORD

STREAM = "arn:aws:dynamodb:us-east-1:000000000000:table/orders/stream/2026-01-01T00:00:00.000"


class Client:
    """A client that reads the shards of a stream, each from an iterator."""

    def __init__(self, kind: str, *, shards: int = 3, records_in_a_read: int = 4) -> None:
        self.kind = kind
        self.service = Service(kind, shards=shards, records_in_a_read=records_in_a_read)

    def send(self, count: int) -> None:
        """Put `count` records into the stream. There is no event loop here, so the time of the backlog is set."""
        self.service.send("", count)
        self.service.began = 1.0

    def iterator(self, shard: int, type_: str = "TRIM_HORIZON", **more: str) -> str:
        request = {"ShardId": f"shardId-{shard:020d}", "ShardIteratorType": type_} | more
        return str(json.loads(self.service.get_shard_iterator(request))["ShardIterator"])

    def read(self, iterator: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.service.get_records({"ShardIterator": iterator, "Limit": 1000}))
        return answer

    def numbers(self, iterator: str) -> list[int]:
        return [self.number(record) for record in self.read(iterator)["Records"]]

    def number(self, record: dict[str, Any]) -> int:
        if self.kind == "kinesis":
            return int(json.loads(b64decode(record["Data"]))["number"])
        return int(record["dynamodb"]["NewImage"]["number"]["N"])

    def event(self, records: list[dict[str, Any]]) -> bytes:
        if self.kind == "kinesis":
            records = [{"kinesis": {"data": record["Data"]}} for record in records]
        return json.dumps({"Records": records}).encode()


@pytest.fixture(params=["kinesis", "dynamodb"])
def client(request: pytest.FixtureRequest) -> Client:
    return Client(request.param)


def test_a_shard_is_read_to_its_tip_in_pieces(client: Client) -> None:
    client.send(17)
    first = client.read(client.iterator(1))
    assert [client.number(record) for record in first["Records"]] == [1, 4, 7, 10]
    second = client.read(first["NextShardIterator"])
    assert [client.number(record) for record in second["Records"]] == [13, 16]
    client.send(3)
    assert client.numbers(second["NextShardIterator"]) == [19]


def test_a_shard_is_behind_until_its_last_record_was_read() -> None:
    client = Client("kinesis")
    client.send(17)
    first = client.read(client.iterator(1))
    assert first["MillisBehindLatest"] > 0
    assert client.read(first["NextShardIterator"])["MillisBehindLatest"] == 0


def test_an_empty_shard_returns_later_records(client: Client) -> None:
    empty = client.read(client.iterator(2))
    assert empty["Records"] == []
    client.send(6)
    assert client.numbers(empty["NextShardIterator"]) == [2, 5]


def test_positions_in_a_shard_are_found(client: Client) -> None:
    client.send(9)
    second = client.read(client.iterator(0))["Records"][1]
    sequence = second["SequenceNumber"] if client.kind == "kinesis" else second["dynamodb"]["SequenceNumber"]
    key = "StartingSequenceNumber" if client.kind == "kinesis" else "SequenceNumber"
    assert client.numbers(client.iterator(0, "AT_SEQUENCE_NUMBER", **{key: sequence})) == [3, 6]
    assert client.numbers(client.iterator(0, "AFTER_SEQUENCE_NUMBER", **{key: sequence})) == [6]
    latest = client.iterator(0, "LATEST")
    client.send(3)
    assert client.numbers(latest) == [9]


def test_an_unknown_type_of_iterator_is_refused(client: Client) -> None:
    with pytest.raises(RefusedError, match="AT_TIMESTAMP"):
        client.iterator(0, "AT_TIMESTAMP", Timestamp="1")


def test_the_ledger_finds_every_record_of_an_event(client: Client) -> None:
    client.send(7)
    for shard in range(3):
        client.service.ledger.note_invoke(client.event(client.read(client.iterator(shard))["Records"]))
    faults = client.service.ledger.faults(is_deletion_seen=False)
    assert not any(faults)
    assert all(0 <= latency < 10_000_000 for latency in client.service.ledger.latencies)


def test_the_ledger_reports_what_went_wrong_in_a_shard(client: Client) -> None:
    client.send(9)
    records = client.read(client.iterator(0))["Records"]
    for some in (records[1:2], records[:1], records[1:2]):
        client.service.ledger.note_invoke(client.event(some))
    faults = client.service.ledger.faults(is_deletion_seen=False)
    assert (faults.lost, faults.invoked_again, faults.out_of_order) == (7, 1, 1)


def test_shards_are_described_in_pages() -> None:
    service = Service("dynamodb", shards=150, records_in_a_read=4)
    first = json.loads(service.describe_stream({"StreamArn": STREAM}))["StreamDescription"]
    request = {"StreamArn": STREAM, "ExclusiveStartShardId": first["LastEvaluatedShardId"]}
    second = json.loads(service.describe_stream(request))["StreamDescription"]
    assert "LastEvaluatedShardId" not in second
    ids = [shard["ShardId"] for shard in first["Shards"] + second["Shards"]]
    assert len(set(ids)) == 150


def test_a_kinesis_record_has_a_kilobyte() -> None:
    client = Client("kinesis")
    client.send(1)
    (record,) = client.read(client.iterator(0))["Records"]
    assert len(b64decode(record["Data"])) == BYTES_IN_A_RECORD
    assert len(record["SequenceNumber"]) == 56
