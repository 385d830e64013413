"""Which rows of the table of leases belong to a mapping? The leases of its shards, and three rows about its start.

    MAPPING/STREAM_ARN/SHARD_ID     the lease of a shard, with its checkpoint; details: parents, unlisted_parents,
                                    saved_at
    :begun/MAPPING/STREAM_ARN       every shard of the mapping's first listing has a row
    :start/MAPPING/STREAM_ARN       the starting position that a person has set
    :kcl/MAPPING/STREAM_ARN         the mapping has used a table of KCL; details: table

Several workers may create the rows at the same time. A row is created only if it does not exist, so the worker that is
first decides where a shard begins. A parent's row is created before those of its children (`core/leases/`, R9).
Each call is repeated until it succeeds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from poller.core.streams.lineage import by_generation
from poller.core.streams.notation import parse_starting_position
from poller.engine.leases.worker import Worker
from poller.errors import Rejected
from poller.model.lease import (
    UNLISTED_PARENTS,
    Detail,
    Row,
    RowKey,
    begun_key,
    kcl_key,
    prefix_of,
    shard_key,
    shard_of,
    start_key,
    time_in,
)
from poller.model.mapping import StreamMapping
from poller.model.stream import Checkpoint, Position, Shard, ShardEnd, ShardId, StartingPosition, StateKey


class Marks(NamedTuple):
    """What the table tells about the start of a mapping: whether it has begun before, and where it should begin.

    `by_hand` is the starting position that a person has set, or None. `kcl_table` is the table of KCL that the mapping
    has used, or None.
    """

    has_begun: bool
    by_hand: StartingPosition | None
    kcl_table: str | None

    def refuse_old_positions(self, mapping: StreamMapping) -> None:
        """Raise Rejected if a table of KCL has the positions, and the mapping does not use this table any more.

        The positions in the state are older, so the mapping would deliver records again.
        """
        if self.kcl_table is not None and mapping.kcl_table is None:
            raise Rejected(
                f"{self.kcl_table}, the table of a KCL application, has the positions: set kcl_table again, or copy "
                f"them with `poller state copy kcl://{self.kcl_table} --mapping {mapping.name}`",
                code="PositionsInKclTable",
            )


class ShardRows:
    """The rows of one mapping in one stream. Errors name the table by its `address`, which is `daemon.state`."""

    def __init__(self, worker: Worker, state: StateKey, *, address: str) -> None:
        self._worker = worker
        self._state = state
        self._address = address

    def key_of(self, shard_id: ShardId) -> RowKey:
        return shard_key(self._state, shard_id)

    async def load(self) -> dict[ShardId, Row]:
        """Scan the table, and return the row of each shard.

        A shard that a person has reset has no checkpoint. It counts as new: its row gets one when it is listed.
        """
        rows = await self._worker.rows(prefix_of(self._state))
        return {shard_of(row.key): row for row in rows if row.checkpoint is not None}

    async def marks(self) -> Marks:
        """Read the three rows about the start of the mapping.

        Raises Rejected if somebody has damaged one of the rows. Then the mapping must not begin anew.
        """
        begun, start, kcl = begun_key(self._state), start_key(self._state), kcl_key(self._state)
        rows = await self._worker.read([begun, start, kcl])
        try:
            by_hand = parse_starting_position(rows[start].details.get("position")) if start in rows else None
        except ValueError as error:
            raise self._damaged(start, str(error)) from error
        if kcl not in rows:
            return Marks(begun in rows, by_hand, None)
        table = rows[kcl].details.get("table")
        if not isinstance(table, str):
            raise self._damaged(kcl, f"{table!r} is not the name of a table")
        return Marks(begun in rows, by_hand, table)

    async def create(
        self, shards: Iterable[Shard], positions: Mapping[ShardId, Position], *, at: float, known: Collection[ShardId]
    ) -> dict[ShardId, Row]:
        """Create the rows that do not exist, and return the row of each shard as it is in the table.

        `at` is the time of day in epoch seconds. `known` are all shards that have a row or were listed.
        """
        return self._by_shard(await self._worker.create(*self._new_rows(shards, positions, at, known)))

    async def begin(
        self, shards: Collection[Shard], positions: Mapping[ShardId, Position], *, at: float
    ) -> dict[ShardId, Row]:
        """Create the rows of the first listing, and then the row `:begun/...`. Return the row of each shard.

        The state file stores all of them by one write. In a table, a crash in between leaves rows of shards, but never
        the row `:begun/...` without them.
        """
        begun, known = Row(key=begun_key(self._state)), {shard.shard_id for shard in shards}
        return self._by_shard(await self._worker.create(*self._new_rows(shards, positions, at, known), [begun]))

    async def delete(self, shard_ids: Collection[ShardId]) -> None:
        """Delete the rows of shards that the stream can never list again."""
        await self._worker.delete([self.key_of(shard_id) for shard_id in shard_ids])

    def _damaged(self, key: RowKey, rule: str) -> Rejected:
        hint = f"to mend it, pause the mapping and use `poller state set {self._state.mapping}`"
        return Rejected(f"{self._address} has a damaged row {key}: {rule}; {hint}", code="DamagedRow")

    def _new_rows(
        self, shards: Iterable[Shard], positions: Mapping[ShardId, Position], at: float, known: Collection[ShardId]
    ) -> Iterator[list[Row]]:
        """Yield the new rows in groups. The rows of a shard's parents are in earlier groups."""
        for generation in by_generation(shards):
            yield [self._new_row(shard, positions[shard.shard_id], at, known) for shard in generation]

    def _by_shard(self, rows: Mapping[RowKey, Row]) -> dict[ShardId, Row]:
        prefix = prefix_of(self._state)
        return {shard_of(key): row for key, row in rows.items() if key.startswith(prefix)}

    def _new_row(self, shard: Shard, position: Position, at: float, known: Collection[ShardId]) -> Row:
        details: dict[str, Detail] = {"parents": list(shard.parent_ids), "saved_at": at}
        if unlisted := [parent for parent in shard.parent_ids if parent not in known]:
            details[UNLISTED_PARENTS] = [*unlisted]
        return Row(key=self.key_of(shard.shard_id), checkpoint=Checkpoint(position), details=details)


def unlisted_parents(rows: Iterable[Row]) -> frozenset[ShardId]:
    """Return the shards that were neither listed nor known when the rows of their children were created.

    A table of KCL has no row of such a shard, although the shard is not drained.
    """
    lists = [found for row in rows if isinstance(found := row.details.get(UNLISTED_PARENTS), list)]
    return frozenset(ShardId(parent) for found in lists for parent in found if isinstance(parent, str))


def drained_at(rows: Mapping[ShardId, Row], *, now: float) -> dict[ShardId, float]:
    """Return when each drained shard was stored as drained, in epoch seconds. If its row has no time, this is `now`."""
    return {
        shard_id: now if (saved_at := time_in(row.details.get("saved_at"))) is None else saved_at
        for shard_id, row in rows.items()
        if row.checkpoint is not None and isinstance(row.checkpoint.position, ShardEnd)
    }
