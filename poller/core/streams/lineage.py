"""Which shards may be read now?

A shard may be read when none of its parents blocks it.
A parent blocks while its position is known and it is not drained. So a merge child waits for both parents, and split
siblings run side by side. A parent that was never seen, and that a whole listing does not show, blocks nobody.

A listing only adds shards.  It never ends one, because a listing may leave out a shard that the next one shows again:

    left out, not drained   it is read as before, and its children wait.  Only the service's answer to a read ends it.
    left out, drained       it is remembered for as long as the stream may still have it, so that it is never read
                            again; then it is forgotten

Where each shard begins is fixed twice, and stored at once both times:

    at the first start    `first_positions`: every listed shard, by the mapping's starting position
                          TRIM_HORIZON all from their oldest record; AT_TIMESTAMP all from that time, which for a child
                          that is younger is its beginning, and for a time that was trimmed the trim horizon;
                          LATEST the open ones from now on, and the closed ones count as drained
    at every listing      a shard that is not stored was made since, so it is read from its oldest record, whatever the
                          starting position: otherwise the records that arrived before it was found would be lost

Memory never runs ahead of the store: `compared` changes nothing, then the engine stores, and then `take_in` changes the
lineage.

Sources: AWS Lambda Developer Guide, "Using Lambda with Kinesis"; Amazon Kinesis Data Streams Developer Guide,
"Resharding, scaling, and parallel processing" and "Quotas and limits"; Amazon DynamoDB Developer Guide, "Change data
capture for DynamoDB Streams".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from poller.model.stream import AtTimestamp, Latest, Position, Shard, ShardEnd, ShardId, TrimHorizon


class Start(NamedTuple):
    """A shard that may be read from now on, and where."""

    shard_id: ShardId
    position: Position


class Listing(NamedTuple):
    """A listing and what it changes. Store `found` and forget `gone`, then take the listing in.

    `found` are the shards that were not known, and `gone` the drained ones that have left the stream for good.
    `is_complete` is false where only some shards were asked for.
    """

    shards: dict[ShardId, Shard]
    is_complete: bool
    found: dict[ShardId, Position]
    gone: frozenset[ShardId]


def first_positions(shards: Iterable[Shard], starting: TrimHorizon | Latest | AtTimestamp) -> dict[ShardId, Position]:
    """Where every listed shard begins when nothing is stored for the mapping.

    Each Latest is to be made concrete at once, before any shard is read; then all of them are stored together.
    """
    if isinstance(starting, Latest):
        return {shard.shard_id: starting if shard.is_open else ShardEnd() for shard in shards}
    return {shard.shard_id: starting for shard in shards}


class Lineage:
    """The shards of one mapping. `stored` is the position of every shard that was ever seen, none of them Latest.

    `drained_at` tells when each drained shard was stored as such, in epoch seconds; they are remembered for
    `memory_in_seconds`.
    A listing costs one look at each shard; everything else costs as much as changes.
    """

    __slots__ = (
        "_children",
        "_classified",
        "_drained_at",
        "_listed",
        "_memory_in_seconds",
        "_positions",
        "_ready",
        "_running",
        "_waiting_for",
    )

    def __init__(
        self, stored: Mapping[ShardId, Position], drained_at: Mapping[ShardId, float], *, memory_in_seconds: float
    ) -> None:
        self._positions = dict(stored)
        """Of the shards that were not begun; for the others the reader knows better."""
        self._drained_at = {shard_id: drained_at[shard_id] for shard_id, at in stored.items() if at == ShardEnd()}
        self._memory_in_seconds = memory_in_seconds
        self._listed: set[ShardId] = set()
        self._classified: set[ShardId] = set()
        self._running: set[ShardId] = set()
        self._ready: dict[ShardId, None] = {}
        self._waiting_for: dict[ShardId, set[ShardId]] = {}
        self._children: dict[ShardId, set[ShardId]] = {}

    def compared(self, shards: Iterable[Shard], *, now: float, is_complete: bool = True) -> Listing:
        """What a listing, in any order, would change. It changes nothing yet; `now` is in epoch seconds."""
        by_id = {shard.shard_id: shard for shard in shards}
        found: dict[ShardId, Position] = {each: TrimHorizon() for each in by_id if each not in self._positions}
        gone: frozenset[ShardId] = frozenset()
        if is_complete and by_id:  # an empty listing ends nothing: a mapping without positions would pass for a new one
            too_old = now - self._memory_in_seconds
            gone = frozenset(each for each, at in self._drained_at.items() if at < too_old and each not in by_id)
        return Listing(by_id, is_complete, found, gone)

    def knows_parents_of(self, shards: Iterable[Shard]) -> bool:
        """Whether each parent of the new ones is among them, or was seen before.

        Of a parent that was not, only a whole listing tells whether it has left the stream.
        """
        by_id = {shard.shard_id: shard for shard in shards}
        known = by_id.keys() | self._positions.keys()
        return all(parent in known for each in by_id.keys() - self._positions for parent in by_id[each].parent_ids)

    def take_in(self, listing: Listing) -> None:
        """Change what is known. The engine has stored what the listing has found, and removed what is gone."""
        if not listing.shards:
            return
        self._positions |= listing.found
        for shard_id in listing.gone:
            del self._positions[shard_id], self._drained_at[shard_id]
        self._classified -= listing.gone
        for shard in listing.shards.values():
            self._classify(shard)
        if listing.is_complete:
            if self._listed:
                self._classify_unlisted()
            self._listed = set(listing.shards)

    def startable(self) -> list[Start]:
        """The shards that became free since the last call; each is given out once, and counts as being read."""
        starts = [Start(shard_id, self._positions[shard_id]) for shard_id in self._ready]
        self._running.update(self._ready)
        self._ready.clear()
        return starts

    def drained(self, shard_id: ShardId, *, now: float) -> bool:
        """Every record of the shard is done, or the shard has left the stream: its children may be read.

        True if a child is known; otherwise only another listing can show one. `now` is in epoch seconds.
        """
        assert shard_id in self._running, f"{shard_id} was drained and never begun"
        self._running.remove(shard_id)
        self._drained_at[shard_id] = now
        self._positions[shard_id] = ShardEnd()
        children = self._children.pop(shard_id, set())
        for child in sorted(children):
            blockers = self._waiting_for[child]
            blockers.remove(shard_id)
            if not blockers:
                del self._waiting_for[child]
                self._ready[child] = None
        return bool(children)

    def reopened(self, shards: Iterable[Shard], *, drained_before: float) -> list[ShardId]:
        """The drained shards that are listed as open: the stream was deleted and created again with the same name.

        A shard that was drained after `drained_before` does not count: a listing may show it as open for a while.
        """
        drained_at = self._drained_at
        return [s.shard_id for s in shards if s.is_open and drained_at.get(s.shard_id, drained_before) < drained_before]

    def is_drained(self, *, before: float) -> bool:
        """Whether every shard was drained before then. The children of one drained later may not be listed yet."""
        drained_at = self._drained_at
        return bool(self._positions) and all(drained_at.get(each, before) < before for each in self._positions)

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
        return len(self._drained_at.keys() & self._listed)

    def _classify(self, shard: Shard) -> None:
        """Decide once whether a shard is drained, waiting or ready."""
        shard_id = shard.shard_id
        if shard_id in self._classified:
            return
        self._classified.add(shard_id)
        if shard_id in self._drained_at:
            return
        blockers = {parent for parent in shard.parent_ids if self._blocks(parent)}
        if not blockers:
            self._ready[shard_id] = None
            return
        self._waiting_for[shard_id] = blockers
        for parent in blockers:
            self._children.setdefault(parent, set()).add(shard_id)

    def _blocks(self, parent: ShardId) -> bool:
        return parent in self._positions and parent not in self._drained_at

    def _classify_unlisted(self) -> None:
        """Let the stored shards begin that two listings left out: a read tells whether they have left the stream.

        After one listing it is too early: the next may show the shard, and the parents that it has to wait for.
        """
        for shard_id in sorted(self._positions.keys() - self._classified):
            self._classify(Shard(shard_id, (), is_open=False))
