"""What does the worker see if a table fails, and only one mapping uses this table? It sees no rows and no failure.

One worker reads the shards of all mappings. If the table of one mapping fails, only this mapping may suffer. So the
calls of this store do not fail: the table is closed, and the run of the mapping must stop.

    open ── a call fails ──> closed ── the mapping runs again ──> found ── the worker has scanned the table ──> open

A closed table shows no rows and accepts no writes, so the worker loses the leases that it holds there.
A found table shows its rows, but accepts no updates before the worker has seen all of them. A worker that misses the
row of a parent shard could take the lease of its child too early (`core/leases/`, R9).

A busy table may reject updates for a moment. So updates close the table only if none was accepted for some seconds.
Until then the worker reads the rows and writes them again, as after each update whose result it does not know (R6).
It also takes leases there again and again, because it does not see that a take got no answer. But the pauses between
the runs of the mapping soon last longer than a lease, so another worker can take it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from itertools import chain
from typing import Literal, TypeVar

import anyio

from poller.errors import ServiceError, Throttled, Unreachable
from poller.model.lease import Row, RowKey
from poller.ports import LeaseStore

CALL_LIMIT_IN_SECONDS = 2.0
"""How long a call may take. We chose it: the renewals of all other mappings wait for the call.

A call that creates several groups of rows may take as long for each group."""

SCAN_LIMIT_IN_SECONDS = 5.0
"""How long a scan may take."""

UPDATES_MAY_FAIL_FOR_SECONDS = 5.0
"""How long updates may fail before the table is closed. We chose it: a lease lets its worker deliver for 8 seconds."""

PAUSE_IN_SECONDS = 0.2
"""The pause after an update that failed or was not made, because the worker writes again at once."""

Failed = Callable[[ServiceError], None]

T = TypeVar("T")


class GuardedLeaseStore:
    """`ports.LeaseStore` over a store that may fail. `failed` is called when the table is closed."""

    def __init__(self, store: LeaseStore, *, failed: Failed) -> None:
        self._store = store
        self._failed = failed
        self._state: Literal["open", "closed", "found"] = "found"
        self._failing_since: float | None = None
        """When the first update failed after the last one that was accepted, on anyio's clock."""

    def use_again(self, *, failed: Failed) -> None:
        """Mark a closed table as found, because it has answered. `failed` is called when the table is closed again."""
        self._failed = failed
        if self._is_closed:
            self._state, self._failing_since = "found", None

    async def scan(self) -> list[Row]:
        """Return all rows, or none if the table is closed."""
        rows = await self._answer(self._store.scan, limit=SCAN_LIMIT_IN_SECONDS)
        if rows is None or self._is_closed:  # another call may have closed the table meanwhile
            return []
        self._state = "open"
        return rows

    async def read(self, keys: Collection[RowKey]) -> dict[RowKey, Row]:
        """Return those of these rows that exist, or none if the table is closed."""
        return await self._answer(lambda: self._store.read(keys)) or {}

    async def create(self, *groups: Collection[Row]) -> frozenset[RowKey]:
        """Store groups of new rows, up to the first group with keys that already existed. Return these keys.

        If the table is closed, the call does not return: its answer would tell the mapping's run that the rows exist.
        The stop of the run cancels the call. But a call that creates lost rows again returns, because it is made by the
        worker, which has other tables, too.
        """
        existing = await self._answer(lambda: self._store.create(*groups), limit=CALL_LIMIT_IN_SECONDS * len(groups))
        if existing is None:
            rows = list(chain(*groups))
            if all(row.counter > 1 for row in rows):
                return frozenset(row.key for row in rows)
            await anyio.sleep_forever()
            raise AssertionError("sleep_forever has ended")
        return existing

    async def update(self, rows: Collection[Row]) -> frozenset[RowKey]:
        """Replace rows. Return the keys of the rows that were not replaced, or whose update may have been lost."""
        unwritten = frozenset(row.key for row in rows)
        if self._state != "open":
            if not self._is_closed:  # a worker that still holds leases here writes again at once
                await anyio.sleep(PAUSE_IN_SECONDS)
            return unwritten
        try:
            rejected = await _bounded(self._store.update(rows), CALL_LIMIT_IN_SECONDS)
        except (Throttled, Unreachable) as error:
            await self._bear(error)
            return unwritten
        except ServiceError as error:
            self._close(error)
            return unwritten
        self._failing_since = None
        return rejected

    async def delete(self, rows: Collection[Row]) -> frozenset[RowKey]:
        """Delete rows. Return the keys of the rows that have another counter, or of all if the table is closed."""
        rejected = await self._answer(lambda: self._store.delete(rows))
        return frozenset(row.key for row in rows) if rejected is None else rejected

    @property
    def _is_closed(self) -> bool:
        return self._state == "closed"

    async def _answer(self, call: Callable[[], Awaitable[T]], *, limit: float = CALL_LIMIT_IN_SECONDS) -> T | None:
        """Return the table's answer, or None if the table is closed. If the call fails, close the table."""
        if self._is_closed:
            return None
        try:
            return await _bounded(call(), limit)
        except ServiceError as error:
            self._close(error)
            return None

    async def _bear(self, error: ServiceError) -> None:
        """Pause after an update that may succeed soon. If updates have failed for too long, close the table."""
        now = anyio.current_time()
        self._failing_since = now if self._failing_since is None else self._failing_since
        if now - self._failing_since >= UPDATES_MAY_FAIL_FOR_SECONDS:
            self._close(error)
        else:
            await anyio.sleep(PAUSE_IN_SECONDS)

    def _close(self, error: ServiceError) -> None:
        if not self._is_closed:
            self._state = "closed"
            self._failed(error)


async def _bounded(call: Awaitable[T], limit: float) -> T:
    with anyio.move_on_after(limit):
        return await call
    raise Unreachable(f"the table has not answered for {limit:g} s", code="NoAnswer", was_sent=True)
