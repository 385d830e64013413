"""What may a person do to the state? Read it at any time, and change what no worker reads.

    stored(path), grouped(rows)   the positions of each mapping, and who reads its shards
    Hand                          moves positions, and gives them to a mapping's new name

A person's change obeys the rules of the workers (`core/leases/`). It writes a row only if the row's counter is the one
that was read, and it never restarts a counter. A lease with an owner is not changed until the lease has expired.
A person may move a stored position back, which `LeaseStore.update` refuses. So a store that a person may change has one
more method, `overwrite`.

The rows of a mapping change one after the other. If a change ends in the middle, the same command completes it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Protocol

from poller.core.leases.expiry import is_drained, is_worker, sign_of_life
from poller.core.leases.parents import by_generation
from poller.core.streams.notation import format_position, parse_starting_position
from poller.errors import InUse
from poller.model.ids import MappingName
from poller.model.lease import (
    PAUSE,
    UNLISTED_PARENTS,
    Detail,
    Row,
    RowKey,
    begun_key,
    kcl_key,
    paused_in,
    prefix_of,
    shard_key,
    start_key,
    time_in,
)
from poller.model.stream import Checkpoint, Latest, Position, ShardId, StartingPosition, StateKey
from poller.ports import LeaseStore
from poller.stores.lease_file import shown
from poller.stores.notation import rank
from poller.stores.owners import label, living_owner

START, BEGUN, KCL = ":start/", ":begun/", ":kcl/"


class EditableStore(LeaseStore, Protocol):
    """A store that a person may change."""

    async def overwrite(self, rows: Collection[Row]) -> frozenset[RowKey]:
        """Replace each row whose stored counter is `row.counter - 1`. A checkpoint may move back or be removed.

        Return the keys of the rows that did not change.
        """


class Stored(NamedTuple):
    """What the table of leases has for one mapping and its stream: the row of each shard.

    If a person has reset the shards, their rows have no checkpoint, and reading begins at `starting_position`. Else
    `starting_position` is None. It is also None if its row is damaged; then `fault` says so, and the mapping waits.
    """

    starting_position: StartingPosition | None
    rows: dict[ShardId, Row]
    fault: str | None = None

    @property
    def checkpoints(self) -> dict[ShardId, Checkpoint]:
        return {shard_id: row.checkpoint for shard_id, row in self.rows.items() if row.checkpoint is not None}


NOTHING = Stored(None, {})
"""What is stored for a mapping that has never begun in its stream."""


class Copied(NamedTuple):
    """The result of `Hand.rename` and `Hand.adopt`: how many rows were copied, and whether one of them is a pause.

    `positions` counts checkpoints of shards, and `starting_positions` those that a person has set.
    """

    positions: int
    starting_positions: int
    is_paused: bool


def stored(path: Path) -> dict[StateKey, Stored]:
    """Return the positions in a file, sorted by mapping and stream. A daemon may run meanwhile."""
    return grouped(shown(path) or [])


def grouped(rows: Iterable[Row]) -> dict[StateKey, Stored]:
    """Return the positions in these rows, sorted by mapping and stream."""
    found: dict[StateKey, Stored] = {}
    for row in sorted(rows, key=lambda row: row.key):
        if row.key.startswith(START):
            state = StateKey(*_halves(row.key.removeprefix(START)))
            found[state] = _with_start(found.get(state, Stored(None, {})), row)
        elif not row.key.startswith(":"):
            prefix, _, shard_id = row.key.rpartition("/")
            found.setdefault(StateKey(*_halves(prefix)), Stored(None, {})).rows[ShardId(shard_id)] = row
    return dict(sorted(found.items()))


def paused(rows: Iterable[Row]) -> frozenset[MappingName]:
    return paused_in(row.key for row in rows)


def saved_at(row: Row) -> int | None:
    """Return when the checkpoint was saved, in epoch seconds, or None if the row does not tell."""
    at = time_in(row.details.get("saved_at"))
    return None if at is None or row.checkpoint is None else int(at)


class Hand:
    """Changes the state for a person. `rows` is the state as the person sees it.

    `tell` gets a sentence for the person before a long wait. `now` returns the time of day in epoch seconds.
    """

    def __init__(
        self,
        store: EditableStore,
        rows: list[Row],
        *,
        tell: Callable[[str], None],
        now: Callable[[], float] = time.time,
    ) -> None:
        self.rows = rows
        self._store = store
        self._tell = tell
        self._now = now

    async def refuse_while_read(self, *mappings: MappingName) -> None:
        """Raise InUse if a worker reads one of these mappings, or may begin to read one.

        A paused mapping counts as read while a worker that is alive owns one of its leases. Any other mapping counts
        as read while any worker is alive.
        The check may take a lease duration.
        """
        are_paused = paused(self.rows).issuperset(mappings)
        owned = [row for row in self.rows if row.owner is not None and mapping_of(row.key) in mappings]
        if not are_paused:
            owned += [row for row in self.rows if is_worker(row)]
        if not owned:
            return
        living = await living_owner(owned, self.rows, store=self._store, tell=self._tell)
        if living is not None:
            raise InUse(_in_use(label(living), mappings, are_paused=are_paused))
        self.rows = await self._store.scan()

    async def start_over(self, state: StateKey, position: StartingPosition, *, kcl_table: str | None = None) -> None:
        """Reset all shards of a mapping in one stream, and store a starting position.

        From now on the mapping uses that position in this stream instead of the one in its settings.
        `kcl_table` is the mapping's table of KCL, or None. With a table, positions in the state do not count any more.
        """
        details: dict[str, Detail] = {"position": format_position(position)}
        rows = {row.key: row for row in await self._unchanged(state.mapping)}
        start = rows.get(start_key(state))
        if start is None:
            self._require(await self._store.create([Row(key=start_key(state), details=details)]))
        else:
            self._require(await self._store.overwrite([replace(start, counter=start.counter + 1, details=details)]))
        if kcl_table is not None and kcl_key(state) not in rows:
            await self.use_table(state, table=kcl_table)
        keys = (begun_key(state), kcl_key(state)) if kcl_table is None else (begun_key(state),)
        marks = [row for key in keys if (row := rows.get(key)) is not None]
        if marks:
            self._require(await self._store.delete(marks))
        shards = [row for row in rows.values() if row.key.startswith(prefix_of(state))]
        self._require(await self._store.overwrite([_reset(row) for row in shards]))

    async def move_all(self, state: StateKey, position: StartingPosition) -> None:
        """Set the checkpoint of each shard that has a lease in a table of KCL, where each lease has a checkpoint.

        With LATEST, the shards that are done do not move.
        """
        rows = [row for row in await self._unchanged(state.mapping) if row.key.startswith(prefix_of(state))]
        moving = [row for row in rows if not (isinstance(position, Latest) and is_drained(row))]
        self._require(await self._store.overwrite([self._moved(row, position) for row in moving]))

    async def move_shard(self, state: StateKey, shard_id: ShardId, position: Position) -> None:
        """Set the checkpoint of one shard to the position, and delete the shard's window state.

        Raises KeyError if the shard has no row.
        """
        rank(position)  # an assertion: the position is not LATEST
        row = {row.key: row for row in await self._unchanged(state.mapping)}[shard_key(state, shard_id)]
        self._require(await self._store.overwrite([self._moved(row, position)]))

    def _moved(self, row: Row, position: Position) -> Row:
        details = {**_reset(row).details, "saved_at": int(self._now())}
        return replace(_reset(row), checkpoint=Checkpoint(position), details=details)

    async def rename(self, old: MappingName, new: MappingName) -> Copied:
        """Give all rows of the mapping `old` to the name `new`, which must have no rows of its own.

        The copies are stored first, and then the old rows are deleted. After a crash in between, the same call
        completes the rename: each copy that exists already is equal to its old row.
        """
        assert not self.is_mixed(old, new), f"positions of {new} would be mixed with others"
        rows = await self._unchanged(old, new)
        before = {row.key: row for row in rows if mapping_of(row.key) == old}
        copies = [_renamed(row, new) for row in before.values()]
        existing = {row.key for row in rows}
        self._require(await self._store.create([row for row in copies if row.key not in existing]))
        self._require(await self._store.delete(before.values()))
        return _counted(copies)

    async def adopt(self, rows: Iterable[Row]) -> Copied:
        """Copy the rows of mappings from another state into this one. This state may have no other rows of mappings.

        If a crash interrupts the copy, the same call completes it.
        """
        copies = [_freed(row) for row in rows if mapping_of(row.key) is not None]
        existing = {row.key for row in self.rows}
        self._require(await self._store.create([row for row in copies if row.key not in existing]))
        return _counted(copies)

    async def take_back(self, state: StateKey, rows: Iterable[Row], *, table: str) -> int:
        """Replace the rows of a mapping's shards by these ones, which a table of KCL has. Return their number.

        Until the last write, the mapping does not begin. After a crash, the same call completes the change.
        """
        assert not self.goes_on(state), f"positions of {state.mapping} would move back"
        new = list(rows)
        before = {row.key: row for row in await self._unchanged(state.mapping)}
        if kcl_key(state) not in before:
            before[kcl_key(state)] = mark = Row(key=kcl_key(state), details={"table": table})
            self._require(await self._store.create([mark]))
        await self._replace(self._store, [row for key, row in before.items() if key.startswith(prefix_of(state))], new)
        if begun_key(state) not in before:
            self._require(await self._store.create([Row(key=begun_key(state))]))
        self._require(await self._store.delete([before[kcl_key(state)]]))
        return len(new)

    async def copy_into(self, table: EditableStore, state: StateKey) -> int:
        """Replace all leases in a table of KCL by the positions of the mapping. Return the number of its shards.

        A shard that a person has reset has no position, and is left out. After a crash, the same call completes the
        copy. Until `use_table` has noted that the table has the positions, the mapping does not begin.
        """
        assert self.has_begun(state), f"{state.mapping} has no positions to copy"
        await self._unchanged(state.mapping)
        positions = self.positions(state)
        await self._replace(table, await table.scan(), positions)
        return len(positions)

    async def use_table(self, state: StateKey, *, table: str) -> None:
        """Note that a table of KCL has the positions of the mapping, so that those of this state do not count."""
        self._require(await self._store.create([Row(key=kcl_key(state), details={"table": table})]))

    async def _replace(self, store: EditableStore, before: Iterable[Row], by: Iterable[Row]) -> None:
        """Replace the rows of a store. After a crash, the same call completes the change.

        Each counter goes on from the larger one, so that the next token is larger than all tokens before. Parents are
        stored before their children: otherwise, after a crash, a parent without a row would count as drained.
        """
        new = {row.key: _freed(row) for row in by}
        going_on = {row.key: row for row in before if row.key in new and row.counter >= new[row.key].counter}
        self._require(await store.delete([row for row in before if row.key not in going_on]))
        self._require(await store.create(*by_generation(row for key, row in new.items() if key not in going_on)))
        replaced = [replace(new[key], counter=row.counter + 1) for key, row in going_on.items()]
        self._require(await store.overwrite(replaced))

    def positions(self, state: StateKey) -> list[Row]:
        """Return the rows of the mapping's shards that have a position."""
        return [row for row in self.rows if row.key.startswith(prefix_of(state)) and row.checkpoint is not None]

    def has_begun(self, state: StateKey) -> bool:
        """Return whether the mapping has begun, and its positions are in this state and not in a table of KCL."""
        return has_begun(self.rows, state)

    def goes_on(self, state: StateKey) -> bool:
        """Return whether the mapping has positions here that are not older than those in its table of KCL."""
        keys = {row.key for row in self.rows if row.checkpoint is not None or row.key == kcl_key(state)}
        return kcl_key(state) not in keys and any(key.startswith(prefix_of(state)) for key in keys)

    def has_others(self, rows: Iterable[Row]) -> bool:
        """Return whether this state has a row of a mapping that is not among these rows of another state."""
        copies = {row.key: _freed(row) for row in rows}
        return any(mapping_of(row.key) is not None and copies.get(row.key) != row for row in self.rows)

    def is_mixed(self, old: MappingName, new: MappingName) -> bool:
        """Return whether the name `new` has positions that are not copies from an unfinished rename."""
        theirs = {row.key: row for row in self.rows if mapping_of(row.key) == new and not row.key.startswith(PAUSE)}
        rows = [row for row in self.rows if mapping_of(row.key) == old and not row.key.startswith(PAUSE)]
        copies = {copy.key: copy for copy in (_renamed(row, new) for row in rows)}
        are_equal = all(theirs[key] == copies[key] for key in theirs.keys() & copies.keys())
        return old == new or not (are_equal and (theirs.keys() <= copies.keys() or theirs.keys() >= copies.keys()))

    async def _unchanged(self, *mappings: MappingName) -> list[Row]:
        """Return the rows as they are now. Raises InUse if they have changed since the person saw them."""
        rows = await self._store.scan()
        if _signs(rows, mappings) != _signs(self.rows, mappings):
            raise InUse("nothing was changed: a worker has changed the state meanwhile, so try again")
        return rows

    def _require(self, rejected: Collection[RowKey]) -> None:
        if rejected:
            raise InUse(f"not everything was changed: a worker has written {min(rejected)} meanwhile, so try again")


def has_begun(rows: Iterable[Row], state: StateKey) -> bool:
    """Return whether the mapping has begun, and its positions are in these rows of a state, not in a table of KCL."""
    keys = {row.key for row in rows}
    return begun_key(state) in keys and kcl_key(state) not in keys


def _counted(copies: Collection[Row]) -> Copied:
    return Copied(
        positions=sum(row.checkpoint is not None for row in copies),
        starting_positions=sum(row.key.startswith(START) for row in copies),
        is_paused=any(row.key.startswith(PAUSE) for row in copies),
    )


def _signs(rows: list[Row], mappings: Collection[MappingName]) -> dict[RowKey, object]:
    """Return values of the rows. They change if a worker writes a row of these mappings, or if a worker runs."""
    are_paused = paused(rows).issuperset(mappings)
    watched = (row for row in rows if mapping_of(row.key) in mappings or (is_worker(row) and not are_paused))
    return {row.key: sign_of_life(row) for row in watched}


def _in_use(worker: str, mappings: Collection[MappingName], *, are_paused: bool) -> str:
    names = " and ".join(mappings)
    if are_paused:
        return f"the worker {worker} still finishes what it has in hand of {names}: try again soon"
    or_pause = ", or pause the mapping with `poller pause`" if len(mappings) == 1 else ""
    return f"the worker {worker} runs, and may read {names}: stop all workers{or_pause}"


def mapping_of(key: RowKey) -> str | None:
    """Return the mapping to which a row belongs, or None."""
    kind, _, rest = key.partition("/")
    if not kind.startswith(":"):
        return kind
    return rest.partition("/")[0] if f"{kind}/" in (START, BEGUN, PAUSE, KCL) else None


def _renamed(row: Row, new: MappingName) -> Row:
    """Return the same row under another name, without an owner. Its counter goes on, and so do its tokens."""
    kind, slash, rest = row.key.partition("/")
    if kind.startswith(":"):
        _, slash_of_stream, stream_arn = rest.partition("/")
        key = f"{kind}/{new}{slash_of_stream}{stream_arn}"
    else:
        key = f"{new}{slash}{rest}"
    return replace(_freed(row), key=RowKey(key))


def _freed(row: Row) -> Row:
    """Return the same row without an owner."""
    return replace(row, counter=row.counter + (row.owner is not None), owner=None)


def _reset(row: Row) -> Row:
    """Return the row of a shard without its checkpoint, its window and its owner."""
    kept = ("parents", UNLISTED_PARENTS, "bytes_per_second")
    details = {name: value for name, value in row.details.items() if name in kept}
    return replace(row, counter=row.counter + 1, owner=None, checkpoint=None, details=details)


def _halves(text: str) -> tuple[MappingName, str]:
    mapping, _, stream_arn = text.partition("/")
    return MappingName(mapping), stream_arn


def _with_start(stored: Stored, start: Row) -> Stored:
    try:
        return stored._replace(starting_position=parse_starting_position(start.details.get("position")))
    except ValueError as error:
        return stored._replace(fault=f"the row {start.key} is damaged: {error}")
