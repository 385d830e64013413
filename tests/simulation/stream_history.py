"""What is known about the records of one stream mapping from outside the engine?

The history of the stream says which records were put, trimmed and resharded. The function knows its calls and answers,
the destination its documents, and the client of the stream the reads. For a process, a record is done at the moment
when one of these things is true:

    it is out of scope       it arrived before the starting position
    it is filtered out       it does not match the filter
    it has succeeded         a call with it succeeded, and the client got the answer
    it is reported           the destination has accepted its invocation record
    it may be dropped        its retries are used up or it is too old, and the mapping does not wait for a destination
    it was trimmed           before this process had read it
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from math import floor, inf
from typing import NamedTuple

from poller.model.mapping import StreamMapping
from poller.model.stream import (
    AfterSequence,
    AtSequence,
    AtTimestamp,
    Checkpoint,
    Latest,
    Position,
    ShardEnd,
    ShardId,
    TrimHorizon,
)
from tests.fakes.clock import EPOCH
from tests.fakes.destinations import Report
from tests.fakes.store import Saved
from tests.fakes.target import Call
from tests.simulation.life import Life
from tests.simulation.process import ReadNote, Sight
from tests.simulation.world import World

EPSILON = 1e-6

EARLY_BY_A_WRONG_CLOCK = 2.0
LATE_BY_A_WRONG_CLOCK = 15.0
"""The largest error of a source's clock if our own clock is wrong.

A Date has whole seconds, and an answer may be slow.
"""


class Put(NamedTuple):
    """A record that was put. `arrived_at` is the arrival time that the mapping gets."""

    number: str
    place: int
    shard_id: str
    key: str
    put_at: float
    arrived_at: float


class History:
    """The records, calls, invocation records, reads and saves of one mapping. Times are on anyio's clock."""

    def __init__(self, world: World, mapping: StreamMapping, matches: Callable[[str], bool]) -> None:
        self.world = world
        self.mapping = mapping
        self.stream = world.streams[mapping.event_source_arn].stream
        self.matches = matches if mapping.filters else lambda _: True
        self.calls: list[Call] = world.calls_of(mapping)
        self.reads: list[ReadNote] = [read for read in world.notes.reads if read.mapping == mapping.name]
        self.saves = [s for s in world.store.history if isinstance(s, Saved) and s.key == mapping.state_key]
        destination = world.destinations.get(mapping.name)
        self.reports: list[tuple[float, Report]] = (
            list(zip(destination.taken_at, destination.reports, strict=True)) if destination else []
        )
        self.answered_reports = [Report.of(document) for document in destination.answered] if destination else []
        self.puts: dict[str, Put] = {}
        self.shards: dict[str, list[Put]] = {}
        self.parents: dict[str, tuple[str, ...]] = {}
        self.opened_at: dict[str, float] = {}
        self.closed_at: dict[str, float] = {}
        self.gone_at: dict[str, float] = {}
        self.trimmed_at: dict[str, float] = {}
        self._read_the_stream()
        self.seen: defaultdict[int, dict[str, float]] = defaultdict(dict)
        self.sights: list[Sight] = [sight for sight in world.notes.sights if sight.mapping == mapping.name]
        for sight in self.sights:
            self.seen[sight.life] |= dict.fromkeys(sight.numbers, sight.at)
        self._scope_begins_at = self._when_scope_begins()
        self.given_up_at = self._may_be_dropped()
        self.done_at = self._done()

    @property
    def lives(self) -> list[Life]:
        return self.world.lives

    def is_in_scope(self, put: Put) -> bool:
        """Return whether the mapping must deliver a record.

        With LATEST, this is true for every record that was put after the mapping was ready for the first time.
        """
        if self.mapping.starting_position == Latest():
            return put.put_at > self._scope_begins_at
        return put.arrived_at >= self._scope_begins_at

    def may_be_invoked(self, put: Put) -> bool:
        if self.mapping.starting_position == Latest():
            return put.put_at >= floor(self.lives[0].began_at)
        return put.arrived_at >= self._scope_begins_at

    def is_done(self, put: Put, now: float, life: int) -> bool:
        if self.done_at[put.number] <= now + EPSILON:
            return True
        return self.trimmed_at.get(put.number, inf) <= now and put.number not in self.seen[life]

    def may_be_given_up(self, number: str) -> bool:
        return self.given_up_at[number] < inf

    def calls_of(self, life: int) -> list[Call]:
        return [call for call in self.calls if life_of(call) == life]

    def seen_by_last_run(self, life: int, shard_id: str) -> dict[str, float]:
        """Return when each record of a shard was read by the last run of this process that has read the shard.

        Only one run at a time reads a shard.
        """
        sights = [each for each in self.sights if each.life == life and self.puts[each.numbers[0]].shard_id == shard_id]
        return {number: each.at for each in sights if each.run == sights[-1].run for number in each.numbers}

    def shard_of(self, call: Call) -> str:
        """Return the shard of a call. The last invocation of a tumbling window has no records, but names its shard."""
        if call.message_ids:
            return self.puts[call.message_ids[0]].shard_id
        assert call.window is not None
        return str(call.window["shardId"])

    def lane_of(self, put: Put) -> tuple[str, str]:
        """Return the lane of a record: its shard or, with several lanes, its shard and key."""
        return put.shard_id, put.key if self.mapping.parallelization_factor > 1 else ""

    def too_old_from(self, put: Put) -> float:
        """Return the earliest time at which the record may be discarded because of its age."""
        early = EARLY_BY_A_WRONG_CLOCK if self.world.clock_was_wrong else 0.0
        return self._age_limit_of(put) - early

    def too_old_by(self, put: Put) -> float:
        """Return the latest time at which the record must be discarded because of its age, if it is not delivered."""
        late = LATE_BY_A_WRONG_CLOCK if self.world.clock_was_wrong else 0.0
        return self._age_limit_of(put) + late

    def _age_limit_of(self, put: Put) -> float:
        limit = self.mapping.maximum_record_age_in_seconds
        return inf if limit is None else put.arrived_at + limit

    def _read_the_stream(self) -> None:
        for entry in self.stream.history:
            match entry.kind:
                case "opened":
                    self.shards[entry.shard_id] = []
                    self.parents[entry.shard_id] = tuple(entry.detail.split(",")) if entry.detail else ()
                    self.opened_at[entry.shard_id] = entry.at
                case "closed":
                    self.closed_at[entry.shard_id] = entry.at
                case "gone":
                    self.gone_at[entry.shard_id] = entry.at
                case "put":
                    (number,) = entry.sequence_numbers
                    arrived_at = floor(entry.at * 1000) / 1000 if self.mapping.is_kinesis else float(floor(entry.at))
                    put = Put(number, int(number), entry.shard_id, entry.detail, entry.at, arrived_at)
                    self.puts[number] = put
                    self.shards[entry.shard_id].append(put)
                case "trimmed":
                    self.trimmed_at |= dict.fromkeys(entry.sequence_numbers, entry.at)

    def _when_scope_begins(self) -> float:
        match self.mapping.starting_position:
            case Latest():
                return self.world.ready_at.get(self.mapping.name, inf)
            case AtTimestamp(timestamp):
                return floor(timestamp * 1000) / 1000 - EPOCH - EPSILON
            case TrimHorizon():
                return -inf

    def _done(self) -> dict[str, float]:
        done = dict.fromkeys(self.puts, inf)
        for put in self.puts.values():
            if not self.is_in_scope(put) or not self.matches(put.number):
                done[put.number] = -inf
        for call in self.calls:
            for number in call.done:
                done[number] = min(done[number], call.ended_at)
        for taken_at, report in self.reports:
            for number in report.numbers:
                done[number] = min(done[number], taken_at)
        on_failure = self.mapping.on_failure
        if on_failure is None or on_failure.if_unreachable == "drop":
            for number, at in self.given_up_at.items():
                done[number] = min(done[number], at)
        return done

    def _may_be_dropped(self) -> dict[str, float]:
        """Return the time from which each record may be discarded: it is too old, or its attempts are used up."""
        dropped = {put.number: self.too_old_from(put) for put in self.puts.values()}
        retries = self.mapping.maximum_retry_attempts
        if retries is None:
            return dropped
        for calls in by_request(self.calls).values():
            failed = [call for call in calls if call.ending in ("failed", "answer_lost", "partly_failed")]
            if len(failed) <= retries:
                continue
            last = failed[retries]  # more follow only at a worker whose row of the shard does not have all attempts
            numbers = [] if last.done else last.message_ids
            if len(numbers) > 1 and self.mapping.bisect_batch_on_function_error:
                continue
            dropped |= {number: min(dropped[number], last.ended_at) for number in numbers}
        return dropped


def life_of(call: Call) -> int:
    """Return the number of the process that made the call."""
    return call.life


def by_beginning(calls: list[Call]) -> list[Call]:
    return sorted(calls, key=lambda call: call.began_at)


def by_request(calls: list[Call]) -> dict[str, list[Call]]:
    """Return the calls of each request id, in order."""
    grouped: defaultdict[str, list[Call]] = defaultdict(list)
    for call in calls:
        grouped[call.request_id].append(call)
    return grouped


def reached(checkpoints: dict[ShardId, Checkpoint], shard_id: str) -> float:
    """Return the number of the last record before the shard's checkpoint: -1 if there is none, infinity at the end."""
    checkpoint = checkpoints.get(ShardId(shard_id))
    return -1 if checkpoint is None else passed(checkpoint.position)


def passed(position: Position) -> float:
    """Return the position as an integer if it has a sequence number, because a float is not exact enough for one."""
    match position:
        case AfterSequence(number):
            return int(number)
        case AtSequence(number):
            return int(number) - 1
        case ShardEnd():
            return inf
    return -1
