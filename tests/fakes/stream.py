"""How does a stream behave? As a state machine of its shards that never waits: `now` is an argument.

    open ──split, merge, rollover──> closed ──(retention)──> gone
      └── its children are opened in the same moment, and take the records from then on

A record goes to the open shard whose hash range contains the hash of its key. Sequence numbers grow over the whole
stream by random steps, and soon reach a power of ten, so that their length varies. The range of a shard begins before
its first record. Once the shard is closed, the range ends after its last record. Records expire exactly at the end of
the retention period, and a closed shard leaves the stream together with its last possible record. A cursor is the
number of records before it, including trimmed ones.

Rates say how often these things happen at random: a read is empty although there are records (`empty_read_rate`), or
has fewer records than possible (`short_read_rate`). After the last records of a closed shard, an additional empty read
shows its end (`late_end_rate`). An iterator expires too early (`early_expiry_rate`). A rollover makes two children
(`split_at_rollover_rate`).

If a cursor is before the oldest record, DynamoDB refuses it (`refuses_trimmed`), and Kinesis moves it to the oldest
record.
A sequence number outside of a shard's range is refused, for example a number of an earlier stream with the same name.

Simpler than AWS: arrival times never go backwards, resharding takes no time, and trimming is never late. We inferred
what Kinesis does with a trimmed sequence number, because its documentation describes only times. The Kinesis Client
Library relies on this behaviour when it continues after a long stop.

Sources: Amazon Kinesis Data Streams API Reference, "GetRecords", "GetShardIterator"; Amazon Kinesis Data Streams
Developer Guide, "Resharding a stream"; Amazon DynamoDB Streams API Reference, "GetRecords"; Amazon DynamoDB Developer
Guide, "Change data capture for DynamoDB Streams".
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush
from itertools import pairwise
from math import floor
from random import Random
from typing import Any, Literal, NamedTuple

from poller.errors import NotFound, Rejected, Trimmed
from poller.model.arn import Arn

HASH_KEYS = 2**128
"""The number of hash keys. A hash key is the MD5 of the partition key, so it has 128 bits."""

LONGEST_STEP = 2**20
FARTHEST_FROM_THE_POWER = 2**24

Kind = Literal[
    "opened",  # the detail has the ids of the parents, with commas
    "closed",  # the detail is the cause: split, merge, rollover or the stream's end
    "gone",  # all records of a closed shard have expired, and it is listed no more
    "put",  # the detail is the key whose records stay in order
    "read",  # an answer with these records, perhaps none
    "answer_lost",  # the client never got the answer of an earlier read
    "trimmed",
    "skipped",  # a cursor was moved to the oldest record; the detail is the number of skipped records
    "refused",  # an iterator or a read was refused; the detail is the code
]

PositionKind = Literal["TRIM_HORIZON", "LATEST", "AT_TIMESTAMP", "AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"]


class Entry(NamedTuple):
    """One fact of a stream's history. `at` is on anyio's clock."""

    at: float
    kind: Kind
    shard_id: str
    sequence_numbers: tuple[str, ...] = ()
    detail: str = ""


class Stored(NamedTuple):
    """A record. `content` has the service's own values. `arrived_at` is on anyio's clock, in whole milliseconds."""

    sequence_number: int
    arrived_at: float
    content: Any
    size: int


class Page(NamedTuple):
    """The answer to a read. `next_place` is None at the end of the shard."""

    records: list[Stored]
    next_place: int | None
    behind_in_seconds: float


@dataclass(eq=False, kw_only=True)
class FakeShard:
    """A shard. `hash_keys` is its first and its last hash key.

    `oldest` is the place of the oldest record that is not trimmed.
    """

    shard_id: str
    parent_ids: tuple[str, ...]
    hash_keys: tuple[int, int]
    starts_at: int
    ends_at: int | None = None
    child_ids: tuple[str, ...] = ()
    records: list[Stored] = field(default_factory=list)
    oldest: int = 0

    @property
    def is_open(self) -> bool:
        return self.ends_at is None


@dataclass(eq=False, kw_only=True)
class FakeStream:
    """One stream. `new_shard_id` makes a shard id from a serial number, the time and randomness.

    `length_of_numbers` is the number of digits of the first sequence number.
    `numbers_after` is the last sequence number of an earlier stream with the same name, if there was one.
    With `shard_lifetime_in_seconds`, each shard rolls over by itself at this age.
    """

    arn: Arn
    new_shard_id: Callable[[int, float, Random], str]
    length_of_numbers: int
    retention_in_seconds: float = 86_400.0
    refuses_trimmed: bool = False
    shard_lifetime_in_seconds: float | None = None
    shard_count: int = 1
    created_at: float = 0.0
    numbers_after: int | None = None
    seed: int = 0
    empty_read_rate: float = 0.0
    short_read_rate: float = 0.0
    late_end_rate: float = 0.0
    early_expiry_rate: float = 0.0
    split_at_rollover_rate: float = 0.0
    history: list[Entry] = field(default_factory=list)
    """All facts in the order of their times.

    A fact that only the passing of time has caused has its own time (see `settle`).
    """

    def __post_init__(self) -> None:
        self.randomness = Random(self.seed)
        self._shards: dict[str, FakeShard] = {}
        self._serial = 0
        near_the_power = 10**self.length_of_numbers - self.randomness.randrange(1, FARTHEST_FROM_THE_POWER)
        self._number: int = near_the_power if self.numbers_after is None else self.numbers_after
        self._alarms: list[tuple[float, int, Callable[[float], None]]] = []
        self._alarms_set = 0
        for hash_keys in _shares(0, HASH_KEYS - 1, self.shard_count):
            self._open((), hash_keys, self.created_at)

    @property
    def last_number(self) -> int:
        """Return the highest sequence number so far."""
        return self._number

    def shards(self, *, now: float) -> list[FakeShard]:
        """Return the listed shards, the oldest first."""
        self.settle(now)
        return list(self._shards.values())

    def shard(self, shard_id: str) -> FakeShard:
        if shard_id not in self._shards:
            raise NotFound(f"Shard {shard_id} does not exist", code="ResourceNotFoundException")
        return self._shards[shard_id]

    def put(self, content: Any, *, key: str, hash_key: int, size: int, now: float) -> tuple[str, str]:
        """Put a record, and return its shard's id and its sequence number.

        The history keeps `key`, so that a checker can check the order.
        """
        self.settle(now)
        shard = next(
            shard
            for shard in self._shards.values()
            if shard.is_open and shard.hash_keys[0] <= hash_key <= shard.hash_keys[1]
        )
        record = Stored(self._next_number(), floor(now * 1000) / 1000, content, size)
        shard.records.append(record)
        self._alarm(record.arrived_at + self.retention_in_seconds, partial(self._trim, shard))
        self._note(now, "put", shard, [record], key)
        return shard.shard_id, str(record.sequence_number)

    def split(self, shard_id: str, *, now: float, hash_key: int | None = None) -> list[str]:
        """Split a shard in the middle, or at `hash_key`, where the second child then begins.

        Return the ids of the children.
        """
        self.settle(now)
        first, last = self.shard(shard_id).hash_keys
        second = (first + last + 1) // 2 if hash_key is None else hash_key
        if not first < second <= last:
            raise Rejected("NewStartingHashKey is not inside the shard's range", code="InvalidArgumentException")
        return self._replace([shard_id], [(first, second - 1), (second, last)], "split", now)

    def merge(self, shard_id: str, adjacent_shard_id: str, *, now: float) -> str:
        """Merge two adjacent shards, and return the id of the child.

        The order of its parents is the order of the arguments.
        """
        self.settle(now)
        ranges = sorted(self.shard(each).hash_keys for each in (shard_id, adjacent_shard_id))
        if ranges[0][1] + 1 != ranges[1][0]:
            raise Rejected("the shards are not adjacent", code="InvalidArgumentException")
        return self._replace([shard_id, adjacent_shard_id], [(ranges[0][0], ranges[1][1])], "merge", now)[0]

    def roll_over(self, shard_id: str, *, now: float, children: int = 1) -> list[str]:
        """Close a shard of a table's stream and open its children. Return their ids."""
        first, last = self.shard(shard_id).hash_keys
        return self._replace([shard_id], _shares(first, last, children), "rollover", now)

    def end(self, *, now: float) -> None:
        """Close every shard and open no children, as when a person switches a table's stream off."""
        self.settle(now)
        for shard in [shard for shard in self._shards.values() if shard.is_open]:
            self._replace([shard.shard_id], [], "end", now)

    def place(
        self,
        shard_id: str,
        kind: PositionKind,
        *,
        now: float,
        sequence_number: int | None = None,
        arrived_at: float | None = None,
    ) -> int:
        """Return the place of a position: the number of records before it.

        Raise NotFound, Rejected or, if the stream refuses trimmed positions, Trimmed.
        """
        self.settle(now)
        shard = self.shard(shard_id)
        match kind:
            case "TRIM_HORIZON":
                return shard.oldest
            case "LATEST":
                return len(shard.records)
            case "AT_TIMESTAMP":
                assert arrived_at is not None
                if arrived_at > now:
                    raise Rejected("the timestamp lies in the future", code="InvalidArgumentException")
                return max(shard.oldest, bisect_left(shard.records, arrived_at, key=lambda record: record.arrived_at))
        assert sequence_number is not None
        return self._place_of_number(shard, kind, sequence_number, now)

    def read(self, shard_id: str, place: int, *, limit: int, maximum_bytes: int, now: float) -> Page:
        """Read now, and return the records, perhaps none.

        Raise NotFound or, if the stream refuses trimmed positions, Trimmed.
        """
        self.settle(now)
        shard = self.shard(shard_id)
        if place < shard.oldest:
            if self.refuses_trimmed:
                raise self._trimmed(shard, now)
            self._note(now, "skipped", shard, detail=str(shard.oldest - place))
            place = shard.oldest
        records = _within(shard.records[place : place + self._limit(limit)], maximum_bytes)
        self._note(now, "read", shard, records)
        place += len(records)
        if place < len(shard.records):
            return Page(records, place, max(0.001, now - shard.records[place].arrived_at))
        is_end = not shard.is_open and not (records and self.randomness.random() < self.late_end_rate)
        return Page(records, None if is_end else place, 0.0)

    def age_out(self, *, now: float) -> None:
        """End the retention period of all present records now."""
        self.settle(now)
        for shard in self._shards.values():
            trimmed, shard.oldest = shard.records[shard.oldest :], len(shard.records)
            self._note(now, "trimmed", shard, trimmed)

    def refused(self, shard_id: str, code: str, *, now: float) -> None:
        """Add to the history that the service refused a call."""
        self.history.append(Entry(now, "refused", shard_id, (), code))

    def answer_lost(self, shard_id: str, sequence_numbers: Sequence[str], *, now: float) -> None:
        """Add to the history that the client never got these records."""
        self.history.append(Entry(now, "answer_lost", shard_id, tuple(sequence_numbers)))

    def settle(self, now: float) -> None:
        """Apply all changes that happen only because time has passed, each with its own time."""
        while self._alarms and self._alarms[0][0] <= now:
            at, _, ring = heappop(self._alarms)
            ring(at)

    def _limit(self, limit: int) -> int:
        if self.randomness.random() < self.empty_read_rate:
            return 0
        return self.randomness.randint(1, limit) if self.randomness.random() < self.short_read_rate else limit

    def _place_of_number(self, shard: FakeShard, kind: PositionKind, number: int, now: float) -> int:
        if not shard.starts_at <= number <= (shard.ends_at or self._number):
            raise Rejected(f"{number} did not come from shard {shard.shard_id}", code=self._code_of_wrong_argument)
        find = bisect_left if kind == "AT_SEQUENCE_NUMBER" else bisect_right
        place = find(shard.records, number, key=lambda record: record.sequence_number)
        is_trimmed = shard.oldest > 0 and number <= shard.records[shard.oldest - 1].sequence_number
        if is_trimmed and self.refuses_trimmed:
            raise self._trimmed(shard, now)
        return max(place, shard.oldest)

    @property
    def _code_of_wrong_argument(self) -> str:
        return "ValidationException" if self.refuses_trimmed else "InvalidArgumentException"

    def _trimmed(self, shard: FakeShard, now: float) -> Trimmed:
        code = "TrimmedDataAccessException"
        self.refused(shard.shard_id, code, now=now)
        return Trimmed("The data you are trying to access has been trimmed.", code=code)

    def _replace(self, parent_ids: list[str], ranges: list[tuple[int, int]], why: str, now: float) -> list[str]:
        parents = [self.shard(parent_id) for parent_id in parent_ids]
        if not all(parent.is_open for parent in parents):
            raise Rejected(f"{', '.join(parent_ids)}: not all open", code="InvalidArgumentException")
        for parent in parents:
            parent.ends_at = self._next_number()
            self._alarm(now + self.retention_in_seconds, partial(self._remove, parent))
            self._note(now, "closed", parent, detail=why)
        child_ids = tuple(self._open(tuple(parent_ids), each, now) for each in ranges)
        for parent in parents:
            parent.child_ids = child_ids
        return list(child_ids)

    def _open(self, parent_ids: tuple[str, ...], hash_keys: tuple[int, int], now: float) -> str:
        shard_id = self.new_shard_id(self._serial, now, self.randomness)
        self._serial += 1
        shard = FakeShard(shard_id=shard_id, parent_ids=parent_ids, hash_keys=hash_keys, starts_at=self._next_number())
        self._shards[shard_id] = shard
        self._note(now, "opened", shard, detail=",".join(parent_ids))
        if self.shard_lifetime_in_seconds is not None:
            self._alarm(now + self.shard_lifetime_in_seconds, partial(self._age, shard))
        return shard_id

    def _age(self, shard: FakeShard, now: float) -> None:
        if shard.is_open:
            children = 2 if self.randomness.random() < self.split_at_rollover_rate else 1
            self.roll_over(shard.shard_id, now=now, children=children)

    def _trim(self, shard: FakeShard, now: float) -> None:
        until = bisect_right(
            shard.records, now, lo=shard.oldest, key=lambda record: record.arrived_at + self.retention_in_seconds
        )
        if until > shard.oldest:
            trimmed, shard.oldest = shard.records[shard.oldest : until], until
            self._note(now, "trimmed", shard, trimmed)

    def _remove(self, shard: FakeShard, now: float) -> None:
        assert shard.oldest == len(shard.records), "no record can be younger than its shard's end"
        del self._shards[shard.shard_id]
        self._note(now, "gone", shard)

    def _next_number(self) -> int:
        self._number = self._number + self.randomness.randrange(1, LONGEST_STEP)
        return self._number

    def _alarm(self, at: float, ring: Callable[[float], None]) -> None:
        self._alarms_set += 1
        heappush(self._alarms, (at, self._alarms_set, ring))

    def _note(self, at: float, kind: Kind, shard: FakeShard, records: Sequence[Stored] = (), detail: str = "") -> None:
        numbers = tuple(str(record.sequence_number) for record in records)
        self.history.append(Entry(at, kind, shard.shard_id, numbers, detail))


def _shares(first: int, last: int, count: int) -> list[tuple[int, int]]:
    """Divide a range of hash keys into `count` parts."""
    bounds = [first + (last + 1 - first) * number // count for number in range(count + 1)]
    return [(begin, after - 1) for begin, after in pairwise(bounds)]


def _within(records: list[Stored], maximum_bytes: int) -> list[Stored]:
    """Return as many records as fit, but at least one."""
    total = 0
    for count, record in enumerate(records):
        total += record.size
        if count and total > maximum_bytes:
            return records[:count]
    return records
