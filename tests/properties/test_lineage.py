"""Does the lineage agree with an obvious model, while shards are split, merged and expired, and while it restarts?

Listings leave shards out, and a store may fail to store what they change.
"""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from poller.core.streams.lineage import Lineage, Listing, first_positions
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

MEMORY = 100.0
CAPTURED = AfterSequence(SequenceNumber("1"))


class Resharding(RuleBasedStateMachine):
    """The stream, what a store would hold, and which shards the engine reads."""

    def __init__(self) -> None:
        super().__init__()
        self.shards: dict[ShardId, Shard] = {}
        self.made = 0
        self.stored: dict[ShardId, Position] = {}
        self.running: set[ShardId] = set()
        self.now = 0.0
        self.drained_at: dict[ShardId, float] = {}

    def make(self, *parents: ShardId) -> None:
        self.made += 1
        shard_id = ShardId(f"shard-{self.made}")
        self.shards[shard_id] = Shard(shard_id, parents, True)
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
        self.drained_at = dict.fromkeys(self.passed_over, self.now)
        self.begin_life()

    def begin_life(self) -> None:
        drained_at = {s: at for s, at in self.drained_at.items() if self.stored[s] == ShardEnd()}
        self.lineage = Lineage(self.stored, drained_at, memory_in_seconds=MEMORY)
        self.running.clear()
        self.listings = 0
        self.waits_for: dict[ShardId, set[ShardId]] = {}
        self.list(skipped=[], is_stored=True)

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
        """Remove a shard from the stream; parents are removed before their children."""
        gone = [s for s in self.shards.values() if not s.is_open and not self.shards.keys() & set(s.parent_ids)]
        if gone:
            del self.shards[sorted(gone)[place % len(gone)].shard_id]

    @rule(seconds=st.sampled_from([1.0, 60.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(skipped=st.lists(st.integers(0, 9), max_size=2), is_stored=st.booleans())
    def list(self, skipped: list[int], is_stored: bool) -> None:
        """A listing may leave some shards out, and what it changes may fail to be stored."""
        seen = dict(self.shards)
        for place in skipped:
            young = sorted(s for s in seen if self.now - self.drained_at.get(s, self.now) <= MEMORY)
            if len(seen) > 1 and young:
                del seen[young[place % len(young)]]
        listing = self.lineage.compared(list(seen.values())[::-1], now=self.now)
        assert set(listing.found) == seen.keys() - self.stored.keys(), "found is what was not known"
        assert listing.gone == {
            shard_id
            for shard_id, position in self.stored.items()
            if position == ShardEnd() and shard_id not in seen and self.now - self.drained_at[shard_id] > MEMORY
        }
        if not is_stored:
            return
        self.take_in(listing, place=len(listing.found))
        for shard_id in listing.gone:
            del self.stored[shard_id], self.drained_at[shard_id]
            self.waits_for.pop(shard_id, None)
        self.place(seen.values())
        self.listings += 1
        if self.listings > 1:
            for shard_id in self.stored:
                self.waits_for.setdefault(shard_id, set())

    @rule(place=st.integers(0, 9))
    def list_some(self, place: int) -> None:
        """List only some shards: the children of one."""
        parent = sorted(self.shards)[place % len(self.shards)]
        seen = [shard for shard in self.shards.values() if parent in shard.parent_ids]
        listing = self.lineage.compared(seen, now=self.now, is_complete=False)
        self.take_in(listing, place=place)
        self.place(seen)

    def take_in(self, listing: Listing, *, place: int) -> None:
        """Another worker may have drained a closed shard that this one finds."""
        self.stored |= dict.fromkeys(listing.found, TrimHorizon())
        closed = sorted(shard_id for shard_id in listing.found if not listing.shards[shard_id].is_open)
        elsewhere = dict.fromkeys(closed[: place % 3], self.now)
        self.stored |= dict.fromkeys(elsewhere, ShardEnd())
        self.drained_at |= elsewhere
        self.lineage.take_in(listing, elsewhere)

    def place(self, shards: Iterable[Shard]) -> None:
        """The model: a shard waits for its parents that were ever seen and are not drained.

        A stored one that two listings of this life leave out waits for nobody.
        """
        for shard in shards:
            blockers = set(filter(self.is_undone, shard.parent_ids))
            self.waits_for.setdefault(shard.shard_id, blockers)

    @rule()
    def start(self) -> None:
        for shard_id in self.lineage.startable():
            assert shard_id not in self.running
            assert shard_id not in self.passed_over
            assert self.stored[shard_id] == self.first_position(shard_id)
            self.running.add(shard_id)
        free = {shard_id for shard_id, parents in self.waits_for.items() if not any(map(self.is_undone, parents))}
        assert self.running == {shard_id for shard_id in free if self.is_undone(shard_id)}

    def is_undone(self, shard_id: ShardId) -> bool:
        return self.stored.get(shard_id, ShardEnd()) != ShardEnd()

    def first_position(self, shard_id: ShardId) -> Position:
        if shard_id not in self.before:
            return TrimHorizon()
        return CAPTURED if self.starting == Latest() else self.starting

    @precondition(lambda self: self.running)
    @rule(place=st.integers(0, 9))
    def drain(self, place: int) -> None:
        """An open shard is not drained."""
        ended = sorted(s for s in self.running if not (s in self.shards and self.shards[s].is_open))
        if ended:
            shard_id = ended[place % len(ended)]
            self.lineage.drained(shard_id, now=self.now)
            self.running.remove(shard_id)
            self.stored[shard_id] = ShardEnd()
            self.drained_at[shard_id] = self.now

    @rule()
    def restart(self) -> None:
        self.begin_life()

    @invariant()
    def the_counts_are_right(self) -> None:
        if hasattr(self, "lineage"):
            assert self.lineage.reading == len(self.running)


Resharding.TestCase.settings = settings(stateful_step_count=40)
TestResharding = Resharding.TestCase
