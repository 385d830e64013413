"""How does a mapping use the table of an application of the Kinesis Client Library (KCL) for its shards?

    kcl_table = "NAME"  ── the table exists, the mapping's positions are not elsewhere, and no KCL application runs
                        │       ──> the worker finds the mapping's shards there
                        └─ otherwise, or if the table fails later
                                ──> this run of the mapping ends, and the next one tries again after a pause

The run itself finds out whether an application runs, because this may take a minute. All other mappings work meanwhile.
The table is reached in the mapping's region and with its role.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

import anyio

from poller.aws.clients import Aws
from poller.composition.state import named_faults
from poller.errors import CannotStore, PollerError, ServiceError, SettingsError
from poller.facts import Emit, KclTableWatched
from poller.model.ids import MappingName
from poller.model.lease import Row, RowKey, begun_key, kcl_key, prefix_of
from poller.model.mapping import StreamMapping
from poller.model.stream import AtTimestamp, StateKey
from poller.ports import Clock, LeaseStore
from poller.stores.dynamodb_items import Items
from poller.stores.dynamodb_table import described, fault_of_key
from poller.stores.guarded_leases import GuardedLeaseStore
from poller.stores.kcl_leases import WATCHED_IN_SECONDS, KclLeaseStore, refuse_while_kcl_runs
from poller.stores.kcl_rows import Meaning
from poller.stores.lease_by_hand import EditableStore
from poller.stores.routed_leases import RoutedEditableStore, RoutedLeaseStore

Failed = Callable[[PollerError], None]
"""Ends the run of a mapping whose table fails."""


class KclTables:
    """The tables of KCL that contain shards of mappings. `store` is the store of the worker.

    `open_clients` returns AWS clients that stay open as long as the worker.
    """

    def __init__(
        self,
        store: RoutedLeaseStore,
        open_clients: Callable[[], Awaitable[Aws]],
        clock: Clock,
        randomness: random.Random,
        emit: Emit,
    ) -> None:
        self._store = store
        self._emit = emit
        self._open_clients = open_clients
        self._clock = clock
        self._randomness = randomness
        self._aws: Aws | None = None
        self._opening_clients = anyio.Lock()
        self._tables: dict[MappingName, str | None] = {}
        self._guards: dict[StateKey, GuardedLeaseStore] = {}

    async def use(
        self, mapping: StreamMapping, *, failed: Failed, waits: Callable[[str], None] = lambda _: None
    ) -> None:
        """Let the worker find the shards of the mapping in the mapping's table, if the mapping has one.

        This may take up to a minute (`refuse_while_kcl_runs`). Before such a wait, `waits` gets a text that says what
        the mapping waits for.
        Raises the errors of `take_over`. If the table cannot be used later, calls `failed`, so that the worker goes on
        with all other mappings.
        """
        is_same = self._tables.get(mapping.name, mapping.kcl_table) == mapping.kcl_table
        assert is_same, f"{option_of(mapping)} has changed: a reload refuses this (settings/changes.py)"
        if mapping.kcl_table is not None:

            def watches(leases: int) -> None:
                self._emit(KclTableWatched(mapping.name, str(mapping.kcl_table), leases, WATCHED_IN_SECONDS))
                waits(
                    f"a KCL application owns {leases} of the leases in the table {mapping.kcl_table}, and may run; the "
                    f"mapping begins if none of them is renewed for {WATCHED_IN_SECONDS:g} s"
                )

            aws, now = await self._clients(), self._clock.now()
            store = await take_over(mapping, self._store, aws, now=now, randomness=self._randomness, watches=watches)
            self._guard(mapping, store, lambda error: failed(_cannot_use(mapping, error)))
        self._tables[mapping.name] = mapping.kcl_table

    async def editable(self, mapping: StreamMapping, state: EditableStore) -> EditableStore:
        """Return the state with the mapping's table, for a person who changes positions.

        Raises SettingsError if the table does not exist or is another one, and CannotStore if it cannot be used now.
        """
        aws, store = await self._clients(), RoutedEditableStore(state)
        with named_faults(option_of(mapping), str(mapping.kcl_table)):
            table = await store_of(mapping, aws, now=self._clock.now(), randomness=self._randomness)
        store.route(prefix_of(mapping.state_key), table)
        return store

    async def _clients(self) -> Aws:
        async with self._opening_clients:
            if self._aws is None:
                self._aws = await self._open_clients()
            return self._aws

    def _guard(self, mapping: StreamMapping, store: LeaseStore, failed: Callable[[ServiceError], None]) -> None:
        guard = self._guards.get(mapping.state_key)
        if guard is None:
            guard = self._guards[mapping.state_key] = GuardedLeaseStore(store, failed=failed)
            self._store.route(prefix_of(mapping.state_key), guard)
        else:
            guard.use_again(failed=failed)


def _cannot_use(mapping: StreamMapping, error: ServiceError) -> CannotStore:
    return CannotStore(f"mappings.{mapping.name}.kcl_table: the table {mapping.kcl_table} cannot be used now: {error}")


async def take_over(
    mapping: StreamMapping,
    state: LeaseStore,
    aws: Aws,
    *,
    now: float,
    randomness: random.Random,
    watches: Callable[[int], None],
) -> LeaseStore:
    """Return the store of the shards of a mapping that has a table of KCL. `now` is in epoch seconds.

    If the table has leases, the mapping counts as begun, so its new shards begin at their oldest records.
    The state notes which table has the positions, so that the mapping does not use older ones of the state later.
    Raises SettingsError if the table does not exist or is another one, or if the positions of the mapping are
    elsewhere. Raises InUse while a KCL application uses the table.
    """
    marks = await state.read([begun_key(mapping.state_key), kcl_key(mapping.state_key)])
    with named_faults(option_of(mapping), str(mapping.kcl_table)):
        store = await store_of(mapping, aws, now=now, randomness=randomness)
        leases = await store.scan()
        if (why := why_positions_are_elsewhere(mapping, marks, has_leases=bool(leases))) is not None:
            raise SettingsError([f"{option_of(mapping)}: {why}"])
        await refuse_while_kcl_runs(store, leases, option=option_of(mapping), watches=watches)
    await _note_table(mapping, state)
    if leases:
        await state.create([Row(key=begun_key(mapping.state_key))])
    return store


def option_of(mapping: StreamMapping) -> str:
    """Return the setting that names the table."""
    return f"mappings.{mapping.name}.kcl_table"


async def store_of(mapping: StreamMapping, aws: Aws, *, now: float, randomness: random.Random) -> KclLeaseStore:
    """Return the store in the mapping's table. Raises SettingsError if the table does not exist or is another one."""
    table = mapping.kcl_table
    assert table is not None, f"{mapping.name} has no table of KCL"
    begin = mapping.starting_position
    at_timestamp = begin.timestamp if isinstance(begin, AtTimestamp) else None
    client = await aws.json_client("dynamodb", region=mapping.region, role_arn=mapping.role_arn)
    description = await described(client, table)
    if description is None:
        raise SettingsError([f"{option_of(mapping)}: there is no table {table}"])
    if (fault := fault_of_key(description)) is not None:
        raise SettingsError([f"{option_of(mapping)}: the table {table} cannot be used: {fault}"])
    meaning = Meaning(mapping.state_key, latest=now, at_timestamp=at_timestamp)
    return KclLeaseStore(Items(client, table=table, randomness=randomness), meaning)


def why_positions_are_elsewhere(mapping: StreamMapping, marks: Mapping[RowKey, Row], *, has_leases: bool) -> str | None:
    """Return where the positions of a mapping are, and how to copy them, or None if they may be in its table of KCL.

    `marks` are rows of the state, and `has_leases` is about the table. From a table without leases, the mapping would
    begin each shard at its oldest record; and the leases of a table may be older than the positions of the state.
    """
    name, table = mapping.name, mapping.kcl_table
    if begun_key(mapping.state_key) not in marks:
        return None
    if (mark := marks.get(kcl_key(mapping.state_key))) is None:
        why = f"daemon.state has positions of {name}: copy them with `poller state copy daemon.state --mapping {name}`"
        choice = f"; or, to use those in the table {table}, run `poller state copy kcl://{table} --mapping {name}`"
        return f"{why}{choice if has_leases else ''}"
    before = mark.details.get("table")
    if before == table or has_leases:
        return None
    return (
        f"the table {table} has no leases, and the table {before} has the positions of {name}: set kcl_table to "
        f"{before} again; or remove it, run `poller state copy kcl://{before} --mapping {name}`, set it to {table}, "
        f"and run `poller state copy daemon.state --mapping {name}`"
    )


async def _note_table(mapping: StreamMapping, state: LeaseStore) -> None:
    """Note in the state which table of KCL has the positions of the mapping."""
    key, details = kcl_key(mapping.state_key), {"table": mapping.kcl_table}
    if await state.create([Row(key=key, details=details)]):
        found = (await state.read([key])).get(key)
        if found is not None and found.details != details:
            await state.update([replace(found, counter=found.counter + 1, details=details)])
