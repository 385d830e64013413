"""How do scenarios use a Kinesis or DynamoDB stream? They put records into it, reshard it, and read its history.

A record has a key, a kind for the filters, and a body that no fact and no log line may show.
"""

from __future__ import annotations

from random import Random
from typing import Any, Protocol

import anyio
import orjson

from poller.model.arn import Arn
from tests.fakes.dynamodb_streams import FakeDynamoDbStreams
from tests.fakes.kinesis import FakeKinesis
from tests.fakes.stream import FakeStream
from tests.fakes.stream_service import FakeStreamService

CANARY = "confidential"
KINESIS_FILTER = '{"data": {"kind": ["order"]}}'
DYNAMODB_FILTER = '{"dynamodb": {"NewImage": {"kind": {"S": ["order"]}}}}'


class SimulatedStream(Protocol):
    """One stream. Its service has no other stream."""

    filter: str

    @property
    def service(self) -> FakeStreamService: ...
    @property
    def stream(self) -> FakeStream: ...
    @property
    def arn(self) -> Arn: ...

    def put(self, key: str, *, kind: str = "order", size: int = 10) -> str:
        """Put a record, and return its sequence number. `size` is the size of the body."""

    def reshard(self, randomness: Random) -> None:
        """Split, merge or roll over random shards, as this kind of stream allows."""


class KinesisStream:
    """A Kinesis stream. `settings` are fields of FakeStream."""

    filter = KINESIS_FILTER

    def __init__(self, name: str, *, service: FakeKinesis | None = None, **settings: Any) -> None:
        self.service = service or FakeKinesis()
        self.stream = self.service.create_stream(name, **settings)

    @property
    def arn(self) -> Arn:
        return self.stream.arn

    def put(self, key: str, *, kind: str = "order", size: int = 10) -> str:
        return self.service.put(self.stream, f"{CANARY}-{key}", orjson.dumps(_body(kind, size)))

    def reshard(self, randomness: Random) -> None:
        """Split a shard, or merge two neighbours."""
        now = anyio.current_time()
        shards = sorted((s for s in self.stream.shards(now=now) if s.is_open), key=lambda shard: shard.hash_keys)
        if len(shards) > 1 and (randomness.random() < 0.5 or len(shards) >= 8):
            left = randomness.randrange(len(shards) - 1)
            pair = [shards[left].shard_id, shards[left + 1].shard_id]
            randomness.shuffle(pair)
            self.stream.merge(*pair, now=now)
        elif shards:
            self.stream.split(randomness.choice(shards).shard_id, now=now)


class DynamoDbStream:
    """A table and its stream. `settings` are fields of FakeStream."""

    filter = DYNAMODB_FILTER

    def __init__(self, name: str, *, service: FakeDynamoDbStreams | None = None, **settings: Any) -> None:
        self.service = service or FakeDynamoDbStreams()
        self.table = self.service.create_table(name, **settings)
        self.stream = self.table.stream
        self._puts = 0

    @property
    def arn(self) -> Arn:
        return self.stream.arn

    def put(self, key: str, *, kind: str = "order", size: int = 10) -> str:
        self._puts += 1
        item = {"id": {"S": f"{CANARY}-{key}"}, "kind": {"S": kind}, "body": {"S": "x" * size}}
        number = self.table.put_item(item | {"version": {"N": str(self._puts)}})
        assert number is not None, "each put changes the version"
        return number

    def reshard(self, randomness: Random) -> None:
        """Let one shard or all shards roll over."""
        now = anyio.current_time()
        shards = [shard for shard in self.stream.shards(now=now) if shard.is_open]
        if randomness.random() < 0.3:
            self.table.roll_over(children=randomness.choice([1, 1, 2]) if len(shards) < 5 else 1)
        elif shards:
            children = randomness.choice([1, 1, 2]) if len(shards) < 8 else 1
            self.stream.roll_over(randomness.choice(shards).shard_id, now=now, children=children)


def _body(kind: str, size: int) -> dict[str, str]:
    return {"kind": kind, "secret": CANARY, "body": "x" * size}
