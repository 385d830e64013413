"""Which shards may be read now?

A shard may be read once all of its known parents are drained. So the child of a merge waits for both parents, and the
two children of a split are read at the same time. A parent that was never listed does not block its children.

A listing may omit a shard that the next listing contains again. So a listing adds shards, but never ends one:

    omitted, not drained    the shard is read as before, and its children wait; only the answer to a read ends it
    omitted, drained        the shard is remembered for as long as the stream may list it again, so that it is never
                            read twice; then it is forgotten

The position at which a shard begins is decided once and stored at once:

    at the first start    `first_positions` decides for every listed shard, by the mapping's starting position:
                          TRIM_HORIZON   each shard begins at its oldest record
                          AT_TIMESTAMP   each shard begins at that time, or at its oldest record if that is later
                          LATEST         open shards begin now; closed shards count as drained
    at a later listing    an unknown shard was created after the first start. It begins at its oldest record, whatever
                          the starting position: otherwise the records that arrived before the listing would be lost

The lineage changes only after the store: `compared` changes nothing, then the engine stores its result, and then
`take_in` changes the lineage.

Sources: AWS Lambda Developer Guide, "Using Lambda with Kinesis"; Amazon Kinesis Data Streams Developer Guide,
"Resharding, scaling, and parallel processing" and "Quotas and limits"; Amazon DynamoDB Developer Guide, "Change data
capture for DynamoDB Streams".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from poller.model.stream import AtTimestamp, Latest, Position, Shard, ShardEnd, ShardId, TrimHorizon


class Start(NamedTuple):
    """A shard that may be read from now on, and the position at which its reading begins."""

    shard_id: ShardId
    position: Position


class Listing(NamedTuple):
    """A listing and the changes that it brings. The engine stores `found`, removes `gone`, and then calls `take_in`.

    `found` has the new shards with their positions. `gone` has the drained shards that have left the stream for good.
    `is_complete` is false if the listing contains only some of the stream's shards.
    """

    shards: dict[ShardId, Shard]
    is_complete: bool
    found: dict[ShardId, Position]
    gone: frozenset[ShardId]


def first_positions(shards: Iterable[Shard], starting: TrimHorizon | Latest | AtTimestamp) -> dict[ShardId, Position]:
    """Return the position at which each listed shard begins if nothing is stored for the mapping.

    The engine must replace each Latest by the present time before any shard is read, and store all positions together.
    """
    if isinstance(starting, Latest):
        return {shard.shard_id: starting if shard.is_open else ShardEnd() for shard in shards}
    return {shard.shard_id: starting for shard in shards}


class Lineage:
    """The shards of one mapping. `stored` has the position of every known shard. No stored position is Latest.

    `drained_at` is the time when each drained shard was stored as drained, in epoch seconds.
    A drained shard that is not listed is forgotten after `memory_in_seconds`.
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
        """The position at which each shard begins, or ShardEnd. Reading a shard does not change its position here."""
        self._drained_at = {shard_id: drained_at[shard_id] for shard_id, at in stored.items() if at == ShardEnd()}
        self._memory_in_seconds = memory_in_seconds
        self._listed: set[ShardId] = set()
        self._classified: set[ShardId] = set()
        self._running: set[ShardId] = set()
        self._ready: dict[ShardId, None] = {}
        self._waiting_for: dict[ShardId, set[ShardId]] = {}
        self._children: dict[ShardId, set[ShardId]] = {}

    def compared(self, shards: Iterable[Shard], *, now: float, is_complete: bool = True) -> Listing:
        """Return the changes that a listing would bring, without making them.

        `shards` may be in any order; `now` is in epoch seconds.
        """
        by_id = {shard.shard_id: shard for shard in shards}
        found: dict[ShardId, Position] = {each: TrimHorizon() for each in by_id if each not in self._positions}
        gone: frozenset[ShardId] = frozenset()
        if is_complete and by_id:  # an empty listing removes nothing: without positions, the mapping would seem new
            too_old = now - self._memory_in_seconds
            gone = frozenset(each for each, at in self._drained_at.items() if at < too_old and each not in by_id)
        return Listing(by_id, is_complete, found, gone)

    def knows_parents_of(self, shards: Iterable[Shard]) -> bool:
        """Return whether each parent of the new shards is known or is itself one of the new shards.

        If not, only a complete listing shows whether the missing parent has left the stream.
        """
        by_id = {shard.shard_id: shard for shard in shards}
        known = by_id.keys() | self._positions.keys()
        return all(parent in known for each in by_id.keys() - self._positions for parent in by_id[each].parent_ids)

    def take_in(self, listing: Listing) -> None:
        """Make the changes of a listing. The engine must have stored `found` and removed `gone` before."""
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
        """Return the shards that became readable since the last call. They count as being read from now on."""
        starts = [Start(shard_id, self._positions[shard_id]) for shard_id in self._ready]
        self._running.update(self._ready)
        self._ready.clear()
        return starts

    def drained(self, shard_id: ShardId, *, now: float) -> bool:
        """Allow the shard's children to start, because all its records are done or because it has left the stream.

        Return whether any waiting child is known; if not, only a new listing can show one. `now` is in epoch seconds.
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
        """Return the drained shards that are listed as open: the stream was deleted and created again under its name.

        Shards that were drained at `drained_before` or later are left out: a listing may still show them as open.
        """
        drained_at = self._drained_at
        return [s.shard_id for s in shards if s.is_open and drained_at.get(s.shard_id, drained_before) < drained_before]

    def is_drained(self, *, before: float) -> bool:
        """Return whether there are shards and each one was drained before this time.

        The children of a shard that was drained later may not be listed yet.
        """
        drained_at = self._drained_at
        return bool(self._positions) and all(drained_at.get(each, before) < before for each in self._positions)

    @property
    def reading(self) -> int:
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Return how many shards wait for a parent."""
        return len(self._waiting_for)

    @property
    def finished(self) -> int:
        """Return how many of the listed shards are drained."""
        return len(self._drained_at.keys() & self._listed)

    def _classify(self, shard: Shard) -> None:
        """Mark a shard as ready or as waiting, unless it is drained or was marked before."""
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
        """Make those stored shards readable that no listing has shown. A read then shows whether they still exist.

        Call this from the second complete listing on, because the second listing may still show such a shard and its
        parents.
        """
        for shard_id in sorted(self._positions.keys() - self._classified):
            self._classify(Shard(shard_id, (), is_open=False))
