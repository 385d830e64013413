"""Lineage beside an obvious model, over a stream that reshards, expires shards and is restarted at any time."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from poller.core.lineage import Lineage, first_positions
from poller.model.stream import (
    AfterSequence,
    AtTimestamp,
    Latest,
    Position,
    SequenceNumber,
    Shard,
    ShardEnd,
    ShardId,
    TrimHorizon,
)

CAPTURED = AfterSequence(SequenceNumber("1"))


class Resharding(RuleBasedStateMachine):
    """The stream, what a store would hold, and which shards the engine reads."""

    def __init__(self) -> None:
        super().__init__()
        self.shards: dict[ShardId, Shard] = {}
        self.parents: dict[ShardId, tuple[ShardId, ...]] = {}
        self.made = 0
        self.stored: dict[ShardId, Position] = {}
        self.running: set[ShardId] = set()
        self.begun_from: dict[ShardId, Position] = {}
        self.listed: set[ShardId] = set()

    def make(self, *parents: ShardId) -> None:
        self.made += 1
        shard_id = ShardId(f"shard-{self.made}")
        self.shards[shard_id] = Shard(shard_id, parents, True)
        self.parents[shard_id] = parents
        for parent in parents:
            self.shards[parent] = self.shards[parent]._replace(is_open=False)

    def open(self) -> list[ShardId]:
        return sorted(shard.shard_id for shard in self.shards.values() if shard.is_open)

    @initialize(
        size=st.integers(1, 4),
        history=st.lists(st.integers(0, 9), max_size=4),
        starting=st.sampled_from([TrimHorizon(), Latest(), AtTimestamp(5.0)]),
    )
    def begin(self, size: int, history: list[int], starting: TrimHorizon | Latest | AtTimestamp) -> None:
        for _ in range(size):
            self.make()
        for place in history:
            self.split(place)
        self.starting = starting
        first = first_positions(self.shards.values(), starting)
        self.before = set(first)
        self.passed_over = {s for s, position in first.items() if position == ShardEnd()}
        self.stored = {s: CAPTURED if position == Latest() else position for s, position in first.items()}
        self.lineage = Lineage(self.stored)
        self.known: set[ShardId] = set()
        self.list()

    @rule(place=st.integers(0, 9))
    def split(self, place: int) -> None:
        parent = self.open()[place % len(self.open())]
        self.make(parent)
        self.make(parent)

    @precondition(lambda self: len(self.open()) > 1)
    @rule(place=st.integers(0, 9))
    def merge(self, place: int) -> None:
        parents = self.open()
        place %= len(parents) - 1
        self.make(parents[place], parents[place + 1])

    @rule(place=st.integers(0, 9))
    def expire(self, place: int) -> None:
        """Parents go before their children."""
        gone = [s for s in self.shards.values() if not s.is_open and not self.shards.keys() & set(s.parent_ids)]
        if gone:
            del self.shards[sorted(gone)[place % len(gone)].shard_id]

    @rule()
    def list(self) -> None:
        listed = self.lineage.listed(list(self.shards.values())[::-1])
        self.listed = set(self.shards)
        self.known |= self.listed
        assert set(listed.found) == self.shards.keys() - self.stored.keys(), "found is what was not known"
        assert set(listed.found.values()) <= {TrimHorizon()}
        self.stored |= listed.found
        assert listed.gone == self.stored.keys() - self.shards.keys() - self.running
        assert listed.lost == {shard_id for shard_id in listed.gone if self.stored[shard_id] != ShardEnd()}
        for shard_id in listed.gone:
            del self.stored[shard_id]

    @rule()
    def start(self) -> None:
        for shard_id, position in self.lineage.startable():
            assert shard_id not in self.running
            assert self.stored[shard_id] == position
            assert shard_id not in self.passed_over
            expected = self.begun_from.get(shard_id, self.first_position(shard_id))
            assert position == expected
            self.begun_from[shard_id] = position
            self.running.add(shard_id)
        should_run = {shard_id for shard_id in self.listed if self.may_be_read(shard_id)}
        assert self.running >= should_run, "nothing that may be read is held up"
        assert self.running - should_run <= self.running - self.listed, "nothing else is read but what has expired"

    def first_position(self, shard_id: ShardId) -> Position:
        if shard_id not in self.before:
            return TrimHorizon()
        return CAPTURED if self.starting == Latest() else self.starting

    def may_be_read(self, shard_id: ShardId) -> bool:
        """The model: no parent that is listed or read, and not drained; nor a parent of one that has expired.

        Whose child a shard was that came and went between two listings, nobody knows.
        """
        return self.stored[shard_id] != ShardEnd() and not self.is_held_up(shard_id)

    def is_held_up(self, shard_id: ShardId) -> bool:
        live = self.listed | self.running
        return any(
            self.stored[parent] != ShardEnd() if parent in live else parent in self.known and self.is_held_up(parent)
            for parent in self.parents[shard_id]
        )

    @precondition(lambda self: self.running)
    @rule(place=st.integers(0, 9))
    def drain(self, place: int) -> None:
        """An open shard is not drained."""
        ended = sorted(s for s in self.running if not (s in self.shards and self.shards[s].is_open))
        if ended:
            shard_id = ended[place % len(ended)]
            self.lineage.drained(shard_id)
            self.running.remove(shard_id)
            self.stored[shard_id] = ShardEnd()

    @rule()
    def restart(self) -> None:
        self.lineage = Lineage(self.stored)
        self.running.clear()
        self.listed = set()
        self.known = set()
        self.list()

    @invariant()
    def the_counts_are_right(self) -> None:
        if hasattr(self, "lineage"):
            assert self.lineage.reading == len(self.running)


Resharding.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestResharding = Resharding.TestCase
