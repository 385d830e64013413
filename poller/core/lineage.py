"""Which shards may be read now?

A shard may be read when none of its parents blocks it.
A parent blocks while it is listed, or still being read, and not drained; so a merge child waits for both parents,
split siblings run side by side, and a parent that has expired out of the listing holds nobody up: what it waited for
itself still does, while that is being read.

Where each shard begins is fixed twice, and stored at once both times:

    at the first start    `first_positions`: every listed shard, by the mapping's starting position
                          TRIM_HORIZON all from their oldest record; AT_TIMESTAMP all from that time, which for a child
                          that is younger is its beginning, and for a time that was trimmed the trim horizon;
                          LATEST the open ones from now on, and the closed ones count as drained
    at every listing      a shard that is not stored was made since, so it is read from its oldest record, whatever the
                          starting position: otherwise what came between its making and its finding would be lost

Sources: AWS Lambda Developer Guide, "Using Lambda with Kinesis"; Amazon Kinesis Data Streams Developer Guide,
"Resharding, scaling, and parallel processing"; Amazon DynamoDB Developer Guide, "Change data capture for DynamoDB
Streams".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from poller.model.stream import AtTimestamp, Latest, Position, Shard, ShardEnd, ShardId, TrimHorizon


class Start(NamedTuple):
    """A shard that may be read from now on, and where."""

    shard_id: ShardId
    position: Position


class Listed(NamedTuple):
    """What a listing changed. Store `found` first, then forget `gone`: a crash between them does no harm.

    `lost` are those of the gone that were not drained: what was left of them is gone too.
    """

    found: dict[ShardId, Position]
    gone: frozenset[ShardId]
    lost: frozenset[ShardId] = frozenset()


def first_positions(shards: Iterable[Shard], starting: TrimHorizon | Latest | AtTimestamp) -> dict[ShardId, Position]:
    """Where every listed shard begins when nothing is stored for the mapping.

    Each Latest is to be made concrete at once, before any shard is read; then all of them are stored together.
    """
    if isinstance(starting, Latest):
        return {shard.shard_id: starting if shard.is_open else ShardEnd() for shard in shards}
    return {shard.shard_id: starting for shard in shards}


class Lineage:
    """The shards of one mapping. `stored` is the position of every shard that was ever seen, none of them Latest.

    A listing costs one look at each shard; everything else costs as much as changes.
    """

    __slots__ = ("_children", "_drained", "_listed", "_positions", "_ready", "_running", "_waiting_for")

    def __init__(self, stored: Mapping[ShardId, Position]) -> None:
        self._positions = dict(stored)
        """Of the shards that were not begun; for the others the reader knows better."""
        self._drained = {shard_id for shard_id, position in stored.items() if isinstance(position, ShardEnd)}
        self._listed: set[ShardId] = set()
        self._running: set[ShardId] = set()
        self._ready: dict[ShardId, None] = {}
        self._waiting_for: dict[ShardId, set[ShardId]] = {}
        self._children: dict[ShardId, set[ShardId]] = {}

    def listed(self, shards: Iterable[Shard]) -> Listed:
        """Take in a complete listing, in any order."""
        by_id = {shard.shard_id: shard for shard in shards}
        new = [shard for shard_id, shard in by_id.items() if shard_id not in self._listed]
        expired = self._listed - by_id.keys()
        self._listed = set(by_id)
        found: dict[ShardId, Position] = {s.shard_id: TrimHorizon() for s in new if s.shard_id not in self._positions}
        self._positions.update(found)
        for shard in new:
            self._place(shard)
        for shard_id in sorted(expired - self._running):
            self._expire(shard_id)
        gone = self._gone()
        lost = gone - self._drained
        self._forget(gone)
        return Listed(found, gone, lost)

    def startable(self) -> list[Start]:
        """The shards that became free since the last call; each is given out once, and counts as being read."""
        starts = [Start(shard_id, self._positions[shard_id]) for shard_id in self._ready]
        self._running.update(self._ready)
        self._ready.clear()
        return starts

    def drained(self, shard_id: ShardId) -> bool:
        """All of the shard is done, or what was left of it is gone from the stream: its children may go on.

        True when a child of it is known; else only another listing tells of them.
        """
        assert shard_id in self._running, f"{shard_id} was drained and never begun"
        self._running.remove(shard_id)
        self._drained.add(shard_id)
        self._positions[shard_id] = ShardEnd()
        has_children = bool(self._children.get(shard_id))
        self._unblock(shard_id)
        return has_children

    def reopened(self, shards: Iterable[Shard]) -> list[ShardId]:
        """Those that are open, and are drained for us: they are of another stream, made anew under the name of ours."""
        return [shard.shard_id for shard in shards if shard.is_open and shard.shard_id in self._drained]

    @property
    def reading(self) -> int:
        return len(self._running)

    @property
    def waiting(self) -> int:
        """How many shards wait for a parent."""
        return len(self._waiting_for)

    @property
    def finished(self) -> int:
        """How many of the listed shards are drained."""
        return len(self._drained)

    def _place(self, shard: Shard) -> None:
        """Give a newly listed shard its place: drained, being read, waiting or ready.

        A parent that has expired with this very listing leaves it to wait for what it waited for.
        """
        shard_id = shard.shard_id
        if shard_id in self._drained or shard_id in self._running:
            return
        blockers: set[ShardId] = set()
        for parent in shard.parent_ids:
            blockers |= {parent} if self._blocks(parent) else self._waiting_for.get(parent, set())
        if not blockers:
            self._ready[shard_id] = None
            return
        self._waiting_for[shard_id] = blockers
        for parent in blockers:
            self._children.setdefault(parent, set()).add(shard_id)

    def _blocks(self, parent: ShardId) -> bool:
        return parent not in self._drained and (parent in self._listed or parent in self._running)

    def _expire(self, shard_id: ShardId) -> None:
        """It can be read no more; what it waited for may still be in hand, and its children wait for that."""
        blockers = self._waiting_for.get(shard_id, set())
        for child in self._children.get(shard_id, ()):
            self._waiting_for[child] |= blockers
            for blocker in blockers:
                self._children[blocker].add(child)
        self._unblock(shard_id)

    def _unblock(self, parent: ShardId) -> None:
        """Free the children that waited for this parent only."""
        self._ready.pop(parent, None)
        for blocker in self._waiting_for.pop(parent, ()):
            self._children[blocker].discard(parent)
        for child in sorted(self._children.pop(parent, ())):
            blockers = self._waiting_for[child]
            blockers.remove(parent)
            if not blockers:
                del self._waiting_for[child]
                self._ready[child] = None

    def _gone(self) -> frozenset[ShardId]:
        """What is stored of a shard that is not listed serves nobody: it blocks no child and cannot be read.

        Nothing is gone on an empty listing, lest a mapping without stored shards pass for a new one.
        """
        return frozenset(self._positions.keys() - self._listed - self._running) if self._listed else frozenset()

    def _forget(self, shard_ids: frozenset[ShardId]) -> None:
        for shard_id in shard_ids:
            del self._positions[shard_id]
            self._drained.discard(shard_id)
