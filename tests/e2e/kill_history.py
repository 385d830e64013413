"""Did a daemon that was killed repeatedly lose, disorder or needlessly repeat any record?

The check passes once over the history of one mapping, in order of time:

    Began      a function was handed these records          Stored     a daemon has died; the positions in its file
    Ended      it has succeeded with them                   Reported   the destination has accepted a record's report

A record is done when it succeeded or was reported. A record that is filtered out needs nothing.

    handed over     no function gets a record that is filtered out, or that the position stored before the life has
                    passed
    in order        in each life, a function gets a record only if the record before it in its shard and lane was done
                    in that life, was stored before that life, or is in the same batch. For the first records of a
                    shard, the records before are the last ones of its parents
    stored          a position never moves back, and never passes a record that is not done
    at the end      everything is done

Only the record directly before is checked, because the records before that one were checked with it. An invocation that
a killed daemon leaves behind belongs to that daemon's life, even if it arrives later.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, assert_never

from poller.model.stream import AfterSequence, Position, ShardEnd, ShardId
from tests.e2e.streams import Source


class Began(NamedTuple):
    at: float
    life: int
    numbers: Sequence[str]


class Ended(NamedTuple):
    at: float
    life: int
    numbers: Sequence[str]


class Reported(NamedTuple):
    at: float
    number: str


class Stored(NamedTuple):
    """`life` is the one that has ended."""

    at: float
    life: int
    positions: Mapping[ShardId, Position]


Event = Began | Ended | Reported | Stored

PAST_ALL = 10**100
"""The position of a drained shard."""


@dataclass
class Summary:
    """Counts of a history.

    `lives` counts the lives that invoked a function, and `records` the records for the function. `repeated` counts
    those that were handed over in more than one life.
    """

    lives: int = 0
    records: int = 0
    invocations: int = 0
    succeeded: int = 0
    reported: int = 0
    repeated: int = 0
    shards: int = 0


@dataclass
class Life:
    """One life of the daemon.

    `start` has the positions that were stored before it began, `done` the records done in it.
    """

    start: Mapping[ShardId, int] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    begun: set[str] = field(default_factory=set)


class KillHistory:
    """The check of one mapping's history. `is_by_key` is true if keys have lanes; else a shard is one lane."""

    def __init__(self, source: Source, *, is_by_key: bool) -> None:
        self._source = source
        self._shard_of: dict[str, ShardId] = {}
        self._wanted: dict[ShardId, list[str]] = defaultdict(list)
        self._before: dict[str, list[str]] = {}
        self._lives: dict[int, Life] = defaultdict(Life)
        self._done: set[str] = set()
        self._reported: set[str] = set()
        self._checked: dict[ShardId, int] = defaultdict(int)
        self._invocations = 0
        self._draw_lanes(is_by_key)

    def check(self, events: Iterable[Event]) -> Summary:
        """Raise AssertionError if the history breaks a rule."""
        for event in sorted(events, key=lambda each: each.at):
            match event:
                case Began():
                    self._check_handed_over(event)
                case Ended(life=life, numbers=numbers):
                    self._lives[life].done.update(numbers)
                    self._done.update(numbers)
                case Reported(number=number):
                    self._reported.add(number)
                case Stored():
                    self._check_stored(event)
                case _:
                    assert_never(event)
        lost = self._before.keys() - self._done - self._reported
        assert not lost, f"{len(lost)} records of {len(self._before)} are lost: {sorted(lost)[:5]}"
        return self._summary()

    def _draw_lanes(self, is_by_key: bool) -> None:
        """For every record that is for the function, find the ones directly before it."""
        last: dict[str, dict[str, str]] = {}
        parents = {shard.shard_id: shard.parent_ids for shard in self._source.shards}
        for shard_id, number, key in self._source.puts:
            self._shard_of[number] = ShardId(shard_id)
            if self._source.kinds[number] == "skipped":
                continue
            lanes = last.setdefault(shard_id, {})
            lane = key if is_by_key else ""
            self._before[number] = [lanes[lane]] if lane in lanes else _ends(parents[shard_id], parents, last)
            lanes[lane] = number
            self._wanted[ShardId(shard_id)].append(number)

    def _check_handed_over(self, event: Began) -> None:
        self._invocations += 1
        life = self._lives[event.life]
        assert len({self._shard_of[number] for number in event.numbers}) == 1, f"a batch of two shards: {event}"
        assert sorted(event.numbers, key=int) == event.numbers, f"out of order: {event}"
        before_in_batch: set[str] = set()
        for number in event.numbers:
            assert number in self._before, f"{number} is filtered out, and was handed over: {event}"
            assert not self._is_stored(life, number), f"{number} was stored as done before this life: {event}"
            for before in self._before[number]:
                is_done = before in life.done or before in self._reported or before in before_in_batch
                assert is_done or self._is_stored(life, before), f"{number} came before {before} was done: {event}"
            before_in_batch.add(number)
        life.begun.update(event.numbers)

    def _is_stored(self, life: Life, number: str) -> bool:
        return int(number) <= life.start.get(self._shard_of[number], 0)

    def _check_stored(self, event: Stored) -> None:
        places = {shard_id: place for shard_id, position in event.positions.items() if (place := _number(position))}
        previous = self._lives[event.life].start
        for shard_id, place in previous.items():
            assert places.get(shard_id, 0) >= place, f"the checkpoint of {shard_id} moved back in life {event.life}"
        for shard_id, place in places.items():
            wanted, checked = self._wanted[shard_id], self._checked[shard_id]
            while checked < len(wanted) and int(wanted[checked]) <= place:
                number = wanted[checked]
                is_done = number in self._done or number in self._reported
                assert is_done, f"{number} is not done, and was stored as done in life {event.life}"
                checked += 1
            self._checked[shard_id] = checked
        self._lives[event.life + 1].start = places

    def _summary(self) -> Summary:
        counts: dict[str, int] = defaultdict(int)
        for life in self._lives.values():
            for number in life.begun:
                counts[number] += 1
        return Summary(
            lives=sum(1 for life in self._lives.values() if life.begun),
            records=len(self._before),
            invocations=self._invocations,
            succeeded=len(self._done),
            reported=len(self._reported),
            repeated=sum(1 for count in counts.values() if count > 1),
            shards=len(self._source.shards),
        )


def _ends(
    parent_ids: Iterable[str], parents: Mapping[str, Sequence[str]], last: dict[str, dict[str, str]]
) -> list[str]:
    """Return the last records of the lanes of these shards; for an empty shard those of its parents."""
    ends: list[str] = []
    for parent_id in parent_ids:
        own = list(last.get(parent_id, {}).values())
        ends += own or _ends(parents.get(parent_id, ()), parents, last)
    return ends


def _number(position: Position) -> int | None:
    match position:
        case AfterSequence(sequence_number=number):
            return int(number)
        case ShardEnd():
            return PAST_ALL
    return None
