"""Where is each row if the shards of some mappings are in tables of KCL? All other rows are in the state.

    MAPPING/STREAM_ARN/SHARD_ID of a mapping with a table of KCL  ──> that table
    everything else                                               ──> the state

A call uses all stores that it needs at the same time. If one of them fails, the call fails.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from itertools import chain
from typing import Generic, TypeVar

import anyio

from poller.errors import ServiceError
from poller.model.lease import Row, RowKey
from poller.ports import LeaseStore
from poller.stores.lease_by_hand import EditableStore

T = TypeVar("T")
R = TypeVar("R")
Store = TypeVar("Store", bound=LeaseStore)


class Routes(Generic[Store]):
    """Implements `ports.LeaseStore` with several stores: the state, and the tables that `route` has added."""

    def __init__(self, state: Store) -> None:
        self._state = state
        self._tables: dict[str, Store] = {}

    def route(self, prefix: str, table: Store) -> None:
        """From now on, use this table for the rows whose key begins with `prefix`."""
        self._tables[prefix] = table

    async def scan(self) -> list[Row]:
        """Return all rows. Rows of the state that belong into another table are left out."""
        found = await _together({store: store.scan for store in (self._state, *self._tables.values())})
        return [row for store, rows in found.items() for row in rows if self._store_of(row.key) is store]

    async def read(self, keys: Collection[RowKey]) -> dict[RowKey, Row]:
        """Return those of these rows that exist."""
        found = await _together(
            {store: _bound(store.read, some) for store, some in self._by_store(keys, lambda key: key).items()}
        )
        return {key: row for rows in found.values() for key, row in rows.items()}

    async def create(self, *groups: Collection[Row]) -> frozenset[RowKey]:
        """Store groups of new rows, up to the first group with keys that already existed. Return these keys."""
        stores = {self._store_of(row.key) for row in chain(*groups)}
        if len(stores) == 1:
            return await stores.pop().create(*groups)
        for rows in groups:
            if existing := await self._write(rows, lambda store: store.create):
                return existing
        return frozenset()

    async def update(self, rows: Collection[Row]) -> frozenset[RowKey]:
        """Replace rows. Return the keys of the rows that do not exist or have another counter."""
        return await self._write(rows, lambda store: store.update)

    async def delete(self, rows: Collection[Row]) -> frozenset[RowKey]:
        """Delete rows. Return the keys of the rows that have another counter."""
        return await self._write(rows, lambda store: store.delete)

    async def _write(
        self,
        rows: Collection[Row],
        method: Callable[[Store], Callable[[Collection[Row]], Awaitable[frozenset[RowKey]]]],
    ) -> frozenset[RowKey]:
        by_store = self._by_store(rows, lambda row: row.key)
        rejected = await _together({store: _bound(method(store), some) for store, some in by_store.items()})
        return frozenset[RowKey]().union(*rejected.values())

    def _by_store(self, values: Iterable[T], key_of: Callable[[T], RowKey]) -> dict[Store, list[T]]:
        found: dict[Store, list[T]] = {}
        for value in values:
            found.setdefault(self._store_of(key_of(value)), []).append(value)
        return found

    def _store_of(self, key: RowKey) -> Store:
        prefix = f"{key.rpartition('/')[0]}/"
        return self._tables.get(prefix, self._state)


class RoutedLeaseStore(Routes[LeaseStore]):
    """Routes of a worker."""


class RoutedEditableStore(Routes[EditableStore]):
    """Routes of a person who changes positions. Implements `lease_by_hand.EditableStore`."""

    async def overwrite(self, rows: Collection[Row]) -> frozenset[RowKey]:
        """Replace rows, also if their checkpoints move back."""
        return await self._write(rows, lambda store: store.overwrite)


def _bound(method: Callable[[Collection[T]], Awaitable[R]], values: Collection[T]) -> Callable[[], Awaitable[R]]:
    return lambda: method(values)


async def _together(calls: Mapping[Store, Callable[[], Awaitable[T]]]) -> dict[Store, T]:
    """Make the calls at the same time. When all have ended, return their answers, or raise one of their errors."""
    answers: dict[Store, T] = {}
    errors: list[ServiceError] = []

    async def make(store: Store, call: Callable[[], Awaitable[T]]) -> None:
        try:
            answers[store] = await call()
        except ServiceError as error:
            errors.append(error)

    if len(calls) == 1:
        [(store, call)] = calls.items()
        return {store: await call()}
    async with anyio.create_task_group() as tasks:
        for store, call in calls.items():
            tasks.start_soon(make, store, call)
    if errors:
        raise errors[0]
    return answers
