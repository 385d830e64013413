"""Which shards may be read now?

A shard may be read once all of its known parents are drained. So the child of a merge waits for both parents, and the
two children of a split are read at the same time. A parent that was never listed does not block its children.

A listing may omit a shard that the next listing contains again. So a listing adds shards, but never ends one:

    omitted, not drained    the shard is read as before, and its children wait; only the answer to a read ends it
    omitted, drained        the shard is remembered for as long as the stream may list it again, so that it is never
                            read twice; then it is forgotten

The position at which a shard begins is decided once, when its row of the table of leases is created:

    at the first start    `first_positions` decides for every listed shard, by the mapping's starting position:
                          TRIM_HORIZON   each shard begins at its oldest record
                          AT_TIMESTAMP   each shard begins at that time, or at its oldest record if that is later
                          LATEST         open shards begin now; closed shards count as drained
    at a later listing    an unknown shard was created after the first start. It begins at its oldest record, whatever
                          the starting position: otherwise the records that arrived before the listing would be lost
    in a table of KCL     KCL has deleted the rows of drained shards. `drained_ancestors` finds these shards, also when
                          positions are copied from the table into the state

The lineage changes only after the table: `compared` changes nothing, then the engine creates and deletes rows, and then
`take_in` changes the lineage. Another worker may have created a row before, and drained its shard.

Sources: AWS Lambda Developer Guide, "Using Lambda with Kinesis"; Amazon Kinesis Data Streams Developer Guide,
"Resharding, scaling, and parallel processing" and "Quotas and limits"; Amazon DynamoDB Developer Guide, "Change data
capture for DynamoDB Streams".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from poller.model.stream import AtTimestamp, Latest, Position, Shard, ShardEnd, ShardId, TrimHorizon


class Listing(NamedTuple):
    """A listing and the changes that it brings.

    The engine creates rows for `found`, deletes the rows of `gone`, and then calls `take_in`.
    `found` has the new shards. `gone` has the drained shards that have left the stream for good.
    `is_complete` is false if the listing contains only some of the stream's shards.
    """

    shards: dict[ShardId, Shard]
    is_complete: bool
    found: frozenset[ShardId]
    gone: frozenset[ShardId]


def first_positions(shards: Iterable[Shard], starting: TrimHorizon | Latest | AtTimestamp) -> dict[ShardId, Position]:
    """Return the position at which each listed shard begins if nothing is stored for the mapping.

    The engine must replace each Latest by the present time before any shard is read.
    """
    if isinstance(starting, Latest):
        return {shard.shard_id: starting if shard.is_open else ShardEnd() for shard in shards}
    return {shard.shard_id: starting for shard in shards}


def by_generation(shards: Iterable[Shard]) -> Iterator[list[Shard]]:
    """Yield the shards in groups. If a shard's parent is among these shards, the parent is in an earlier group.

    The row of a parent is created before those of its children (`core/leases/`, R9).
    """
    left = {shard.shard_id: shard for shard in shards}
    parents = {shard_id: left.keys() & set(shard.parent_ids) for shard_id, shard in left.items()}
    children: defaultdict[ShardId, list[ShardId]] = defaultdict(list)
    for shard_id, listed in parents.items():
        for parent in listed:
            children[parent].append(shard_id)
    generation = [shard_id for shard_id, listed in parents.items() if not listed]
    while left:
        generation = generation or list(left)  # a fault of the service: shards that are their own ancestors
        yield [left.pop(shard_id) for shard_id in generation]
        born = []
        for parent in generation:
            for child in children[parent]:
                parents[child].remove(parent)
                if not parents[child]:
                    born.append(child)
        generation = born


def drained_ancestors(
    shards: Iterable[Shard], known: Collection[ShardId], *, unlisted: Collection[ShardId]
) -> frozenset[ShardId]:
    """Return the closed shards that have no row, but a descendant with a row.

    In a table of KCL they are drained: KCL deletes the row of a drained shard once the children are being read.
    `known` are the shards that have a row of KCL. `unlisted` are shards that have no row because a listing has lacked
    them, so neither they nor their ancestors are drained. Source: amazon-kinesis-client, lease cleanup.
    """
    by_id = {shard.shard_id: shard for shard in shards}
    drained: set[ShardId] = set()
    descendants = [shard for shard in by_id.values() if shard.shard_id in known]
    while descendants:
        for parent_id in descendants.pop().parent_ids:
            parent = by_id.get(parent_id)
            if parent is None or parent.is_open or parent_id in {*known, *drained, *unlisted}:
                continue
            drained.add(parent_id)
            descendants.append(parent)
    return frozenset(drained)


class Lineage:
    """The shards of one mapping. `known` has every shard with a row.

    `drained_at` has the time when each drained shard was stored as drained, in epoch seconds.
    A drained shard that is not listed is forgotten after `memory_in_seconds`.
    """

    __slots__ = (
        "_children",
        "_classified",
        "_drained_at",
        "_known",
        "_listed",
        "_memory_in_seconds",
        "_ready",
        "_running",
        "_waiting_for",
    )

    def __init__(
        self, known: Collection[ShardId], drained_at: Mapping[ShardId, float], *, memory_in_seconds: float
    ) -> None:
        assert drained_at.keys() <= set(known), "a drained shard has a row"
        self._known = set(known)
        self._drained_at = dict(drained_at)
        self._memory_in_seconds = memory_in_seconds
        self._listed: set[ShardId] = set()
        self._classified: set[ShardId] = set()
        self._running: set[ShardId] = set()
        self._ready: dict[ShardId, None] = {}
        self._waiting_for: dict[ShardId, set[ShardId]] = {}
        self._children: dict[ShardId, set[ShardId]] = {}

    @property
    def known(self) -> frozenset[ShardId]:
        """Return the shards that have a row."""
        return frozenset(self._known)

    def compared(self, shards: Iterable[Shard], *, now: float, is_complete: bool = True) -> Listing:
        """Return the changes that a listing would bring, without making them.

        `shards` may be in any order; `now` is in epoch seconds.
        """
        by_id = {shard.shard_id: shard for shard in shards}
        found = frozenset(each for each in by_id if each not in self._known)
        gone: frozenset[ShardId] = frozenset()
        if is_complete and by_id:  # an empty listing removes nothing, because it may be a mistake of the service
            too_old = now - self._memory_in_seconds
            gone = frozenset(each for each, at in self._drained_at.items() if at < too_old and each not in by_id)
        return Listing(by_id, is_complete, found, gone)

    def knows_parents_of(self, shards: Iterable[Shard]) -> bool:
        """Return whether each parent of the new shards is known or is itself one of the new shards.

        If not, only a complete listing shows whether the missing parent has left the stream.
        """
        by_id = {shard.shard_id: shard for shard in shards}
        known = by_id.keys() | self._known
        return all(parent in known for each in by_id.keys() - self._known for parent in by_id[each].parent_ids)

    def take_in(self, listing: Listing, drained_at: Mapping[ShardId, float]) -> None:
        """Make the changes of a listing. The engine must first create and delete the rows.

        `drained_at` has those of the new shards that another worker has drained already.
        """
        if not listing.shards:
            return
        assert drained_at.keys() <= listing.found, "only a new shard can have been drained by another worker"
        self._known |= listing.found
        self._drained_at |= drained_at
        for shard_id in listing.gone:
            self._known.remove(shard_id)
            del self._drained_at[shard_id]
        self._classified -= listing.gone
        for shard in listing.shards.values():
            self._classify(shard)
        if listing.is_complete:
            if self._listed:
                self._classify_unlisted()
            self._listed = set(listing.shards)

    def startable(self) -> list[ShardId]:
        """Return the shards that became readable since the last call. They count as being read from now on."""
        ready = list(self._ready)
        self._running.update(ready)
        self._ready.clear()
        return ready

    def drained(self, shard_id: ShardId, *, now: float) -> bool:
        """Allow the shard's children to start, because all its records are done or because it has left the stream.

        Return whether the lineage knows a child that waits for this shard. If it knows none, only a new listing can
        show a child. `now` is in epoch seconds.
        """
        assert shard_id in self._running, f"{shard_id} was drained and never begun"
        self._running.remove(shard_id)
        self._drained_at[shard_id] = now
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
        return bool(self._known) and all(drained_at.get(each, before) < before for each in self._known)

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
        return parent in self._known and parent not in self._drained_at

    def _classify_unlisted(self) -> None:
        """Make those known shards readable that no listing has shown. A read then shows whether they still exist.

        Call this from the second complete listing on, because the second listing may still show such a shard and its
        parents.
        """
        for shard_id in sorted(self._known - self._classified):
            self._classify(Shard(shard_id, (), is_open=False))
