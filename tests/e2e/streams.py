"""How does a test of the daemon write into a stream? In the same way to Kinesis and to a table; each record has a kind:

    plain      one for the function
    skipped    one that FILTERS keep out
    poison     one that the function fails with, whenever it comes (stream_functions.py)

A record is identified by its sequence number, which is unique in the stream.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from base64 import b64encode
from itertools import pairwise
from random import Random
from typing import Any, Literal

import anyio
import orjson

from tests.fakes.aws_over_http import AwsOverHttp
from tests.fakes.stream import FakeShard, FakeStream
from tests.fakes.target import Call, FakeTarget, FunctionPlan

Kind = Literal["plain", "skipped", "poison"]


class Source(ABC):
    """A new stream. `kinds` has every record that was put; `wanted` counts those for the function."""

    filters: str
    """The setting that filters out the records of the kind `skipped`."""

    stream: FakeStream

    def __init__(self) -> None:
        self.kinds: dict[str, Kind] = {}
        self.wanted = 0

    @property
    def arn(self) -> str:
        return str(self.stream.arn)

    @property
    def shards(self) -> list[FakeShard]:
        return self.stream.shards(now=anyio.current_time())

    @property
    def puts(self) -> list[tuple[str, str, str]]:
        """Return shard, sequence number and key of every record, in order."""
        history = self.stream.history
        return [(entry.shard_id, entry.sequence_numbers[0], entry.detail) for entry in history if entry.kind == "put"]

    def put(self, key: str = "k", kind: Kind = "plain") -> str:
        """Returns the sequence number."""
        number = self._put(key, {"kind": kind, "number": str(len(self.kinds))})
        self.kinds[number] = kind
        self.wanted += kind != "skipped"
        return number

    def put_all(self, *keys: str) -> list[str]:
        return [self.put(key) for key in keys]

    def shard_of(self, number: str) -> str:
        return next(shard_id for shard_id, each, _ in self.puts if each == number)

    @abstractmethod
    def _put(self, key: str, content: dict[str, str]) -> str: ...

    @abstractmethod
    def split(self, shard_id: str) -> list[str]:
        """Split an open shard. Return the ids of its children."""

    @abstractmethod
    def join(self, randomness: Random) -> None:
        """Merge two open shards; in a table's stream, let one roll over into another."""


class Clicks(Source):
    """A Kinesis stream."""

    filters = '[{ pattern = { data = { kind = ["plain", "poison"] } } }]'

    def __init__(self, aws: AwsOverHttp, name: str, **settings: Any) -> None:
        super().__init__()
        self.stream = aws.create_stream(name, **settings)
        self._aws = aws

    def put_at(self, arrived_at: float) -> None:
        """Put a plain record with this arrival time, on anyio's clock, into the first shard."""
        content = {"Data": b64encode(b'{"kind": "plain"}').decode(), "PartitionKey": "k"}
        number = self.stream.put(content, key="k", hash_key=0, size=1, now=arrived_at)[1]
        self.kinds[number] = "plain"

    def split(self, shard_id: str) -> list[str]:
        return self.stream.split(shard_id, now=anyio.current_time())

    def join(self, randomness: Random) -> None:
        by_keys = sorted((shard for shard in self.shards if shard.is_open), key=lambda shard: shard.hash_keys)
        left, right = randomness.choice(list(pairwise(by_keys)))
        self.stream.merge(left.shard_id, right.shard_id, now=anyio.current_time())

    def _put(self, key: str, content: dict[str, str]) -> str:
        return self._aws.kinesis.put(self.stream, key, orjson.dumps(content))


class Users(Source):
    """A DynamoDB table's stream."""

    filters = '[{ pattern = { dynamodb = { NewImage = { kind = { S = ["plain", "poison"] } } } } }]'

    def __init__(self, aws: AwsOverHttp, name: str, **settings: Any) -> None:
        super().__init__()
        self.table = aws.create_table(name, **settings)
        self.stream = self.table.stream

    def split(self, shard_id: str) -> list[str]:
        return self.stream.roll_over(shard_id, now=anyio.current_time(), children=2)

    def join(self, randomness: Random) -> None:
        shard = randomness.choice([shard for shard in self.shards if shard.is_open])
        self.stream.roll_over(shard.shard_id, now=anyio.current_time())

    def _put(self, key: str, content: dict[str, str]) -> str:
        number = self.table.put_item({"id": {"S": key}} | {name: {"S": text} for name, text in content.items()})
        assert number is not None, "every put is a change"
        return number


def mapping(name: str, source: Source | str, function: str, *options: str) -> str:
    """Return a mapping of the settings file, which begins at the oldest record unless `options` say otherwise."""
    lines = [f"[mappings.{name}]", f'event_source_arn = "{source if isinstance(source, str) else source.arn}"']
    lines += [f'function_name = "{function}"', *options]
    if not any(option.startswith("starting_position") for option in options):
        lines.append('starting_position = "TRIM_HORIZON"')
    return "\n".join(["", *lines, ""])


def instant(**plan: Any) -> FakeTarget:
    """A function that takes no time."""
    return FakeTarget(FunctionPlan(duration_in_seconds=(0, 0), **plan))


def calls_of(function: FakeTarget, name: str) -> list[Call]:
    return [call for call in function.calls if call.mapping == name]
