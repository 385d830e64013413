"""A Kinesis or DynamoDB stream and its function, which are fast enough to measure clients (see `connection.py`).

    python -m tests.bench.servers.canned_streams --kind kinesis --shards 8 --records-in-a-read 100

There is one stream, and any name means it. Record n is in shard n % shards. The server keeps only the time of its
sending, and computes everything else. No shard ever ends, no record is trimmed, iterators never expire, and reads are
not throttled: the clients obey the limit of five reads a second by themselves.
"""

from __future__ import annotations

from collections.abc import Callable

import orjson
import uvloop

from tests.bench.servers import connection
from tests.bench.servers.connection import Json, RefusedError, now
from tests.bench.servers.ledger import Ledger
from tests.bench.servers.stream_records import FIND, RENDER, number_of, sequence_number

SHARDS_IN_A_PAGE = 100
"""The most shards in one answer of DescribeStream of DynamoDB Streams."""

BEHIND_IN_MILLISECONDS = 60_000
ITERATOR_TAIL = "AAAAAAAAAAGJxQxhbvqmTlSpvDyGS8yaDn1dHyWTDqhhTWXfGfVTOK8r" * 4
"""Makes iterators as long as real ones, about two hundred characters. Each one is sent once and received once."""


class Service(connection.Service):
    """The stream. `calls` maps each operation to the function that answers a request."""

    def __init__(self, kind: str, *, shards: int, records_in_a_read: int, function_seconds: float = 0.0) -> None:
        super().__init__(Ledger(groups=shards, find=FIND[kind]), function_seconds=function_seconds)
        self._is_kinesis = kind == "kinesis"
        self._render = RENDER[kind]
        self._shards = shards
        self._records_in_a_read = records_in_a_read
        self.read_seconds = 0.0
        """How long a read takes."""
        self.operations: dict[str, Callable[[Json], bytes]] = {
            "ListShards": self.list_shards,
            "DescribeStream": self.describe_stream,
            "GetShardIterator": self.get_shard_iterator,
            "GetRecords": self.get_records,
        }

    def bench(self, command: str, request: Json) -> Json:
        if command != "slow_reads":
            return super().bench(command, request)
        self.read_seconds = request["seconds"]
        return {}

    def send(self, name: str, count: int) -> None:
        self.ledger.add(count)
        self.began = 0.0

    def list_shards(self, request: Json) -> bytes:
        keys = {"StartingHashKey": "0", "EndingHashKey": "340282366920938463463374607431768211455"}
        return orjson.dumps({"Shards": [self._shard(index) | {"HashKeyRange": keys} for index in range(self._shards)]})

    def describe_stream(self, request: Json) -> bytes:
        """Answer DescribeStream of DynamoDB Streams, in pages."""
        last = request.get("ExclusiveStartShardId")
        first = _index(last) + 1 if last else 0
        end = min(self._shards, first + SHARDS_IN_A_PAGE)
        description = {
            "StreamArn": request["StreamArn"],
            "StreamStatus": "ENABLED",
            "StreamViewType": "NEW_IMAGE",
            "Shards": [self._shard(index) for index in range(first, end)],
        } | ({"LastEvaluatedShardId": _shard_id(end - 1)} if end < self._shards else {})
        return orjson.dumps({"StreamDescription": description})

    def get_shard_iterator(self, request: Json) -> bytes:
        shard = _index(request["ShardId"])
        start: str = request.get("StartingSequenceNumber") or request.get("SequenceNumber") or ""
        match request["ShardIteratorType"]:
            case "TRIM_HORIZON":
                number = shard
            case "LATEST":
                number = self._end_of(shard)
            case "AT_SEQUENCE_NUMBER":
                number = number_of(start)
            case "AFTER_SEQUENCE_NUMBER":
                number = number_of(start) + self._shards
            case other:
                raise RefusedError(f"no iterator {other}")
        return b'{"ShardIterator":"%b"}' % _iterator(number)

    def get_records(self, request: Json) -> bytes:
        """Answer GetRecords. An iterator is the number of the next record, which also determines the shard."""
        number = int(request["ShardIterator"].partition("-")[0])
        count = min(request.get("Limit") or 1000, self._records_in_a_read)
        sent, render = self.ledger.sent, self._render
        next_number = min(number + count * self._shards, self._end_of(number))
        records = b",".join([render(each, sent[each]) for each in range(number, next_number, self._shards)])
        if records and not self.began:
            self.began = now()
        behind = BEHIND_IN_MILLISECONDS if next_number < len(sent) else 0
        behind_latest = b',"MillisBehindLatest":%d' % behind if self._is_kinesis else b""
        return b'{"Records":[%b],"NextShardIterator":"%b"%b}' % (records, _iterator(next_number), behind_latest)

    def _end_of(self, number: int) -> int:
        """Return the number of the next record in the shard of this record."""
        count = len(self.ledger.sent)
        return max(number, count + (number - count) % self._shards)

    def _shard(self, index: int) -> Json:
        first = sequence_number(index).decode()
        return {"ShardId": _shard_id(index), "SequenceNumberRange": {"StartingSequenceNumber": first}}


class Connection(connection.Connection):
    """A connection on which only the calls of a slow function, and slow reads, wait."""

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self._stream = service

    def call(self, name: str, body: bytes) -> bytes | None:
        if name not in self._stream.operations:
            raise RefusedError(f"no such call: {name}")
        answer = self._stream.operations[name](orjson.loads(body))
        if name != "GetRecords" or not self._stream.read_seconds:
            return answer
        self.answer_after(self._stream.read_seconds, answer)
        return None


def _shard_id(index: int) -> str:
    """Return a shard id. It has the shortest length that botocore accepts for DynamoDB."""
    return f"shardId-{index:020d}"


def _index(shard_id: str) -> int:
    return int(shard_id.rpartition("-")[2])


def _iterator(number: int) -> bytes:
    return b"%d-%b" % (number, ITERATOR_TAIL.encode())


if __name__ == "__main__":
    parser = connection.options(__doc__)
    parser.add_argument("--kind", choices=sorted(RENDER), required=True)
    parser.add_argument("--shards", type=int, required=True)
    parser.add_argument("--records-in-a-read", type=int, required=True)
    given = parser.parse_args()
    service = Service(
        given.kind,
        shards=given.shards,
        records_in_a_read=given.records_in_a_read,
        function_seconds=given.function_seconds,
    )
    uvloop.run(connection.serve(service, lambda: Connection(service)))
