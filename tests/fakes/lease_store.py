"""What stands in for a table of leases that several workers share? A table in memory, on a clock that may be virtual.

    worker ──> its own FakeLeaseStore ──(faults, latency)──> FakeLeaseTable ──(faults, latency)──> worker

Each worker has a handle with a `FaultPlan` of its own, so one worker can be cut off while the others go on.
A call without an answer is the dangerous case: its fault is ANSWER_LOST, or its task was cancelled on the way there.
Each row of such a call is then written at once, written some seconds later, or never. A throttled call may have written
some of its rows, because a real table decides for each row alone.
A scan returns each row as it was at a moment of its own, up to `staleness_in_seconds` ago. A read is up to date.

`history` has every write that reached the table, with its sender, in the order of arrival. Rows that arrive late are
applied at the next call, but in the order and with the times of their arrival.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import replace
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Literal, NamedTuple

import anyio

from poller.errors import Throttled
from poller.model.lease import Owner, Row, RowKey
from poller.stores.memory_leases import Table
from tests.fakes.faults import Fault, FaultPlan

Operation = Literal["create", "update", "delete", "overwrite"]
"""A method of `ports.LeaseStore`, or `overwrite` of a person."""


class Written(NamedTuple):
    """One write of a row that reached the table at `at`, in seconds on anyio's clock. It was sent at `sent_at`.

    `row` is what the worker sent, and `before` the row that it replaced or deleted. If the write is not accepted,
    `before` is the row that stays.
    """

    sent_at: float
    at: float
    worker: str
    operation: Operation
    row: Row
    before: Row | None
    is_accepted: bool


class Version(NamedTuple):
    """What the table had for a key from `since` on; None if it had no row."""

    since: float
    row: Row | None


class FakeLeaseTable:
    """The table. `store` makes the handle of one worker.

    `late_in_seconds` is the range of the time after which an unanswered write arrives, if it arrives late.
    `calls` counts the calls of each worker and method.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        staleness_in_seconds: float = 0.0,
        late_in_seconds: tuple[float, float] = (0.0, 15.0),
    ) -> None:
        self.history: list[Written] = []
        self.calls: Counter[tuple[str, str]] = Counter()
        self.staleness_in_seconds = staleness_in_seconds
        self._late_in_seconds = late_in_seconds
        self._rng = Random(seed)
        self._table = Table()
        self._versions: defaultdict[RowKey, list[Version]] = defaultdict(list)
        self._late: list[tuple[float, int, float, str, Operation, Row]] = []
        self._order = count()

    @property
    def rows(self) -> dict[RowKey, Row]:
        """The rows as they are now."""
        self._let_late_rows_arrive()
        return dict(self._table.rows)

    def store(
        self, worker: str, faults: FaultPlan | None = None, *, patience_in_seconds: float = 0.0
    ) -> FakeLeaseStore:
        """Return the handle of a worker. It waits up to `patience_in_seconds` for an answer that got lost."""
        return FakeLeaseStore(self, worker, faults or FaultPlan(), patience_in_seconds)

    def free_all(self) -> None:
        """Free all leases and forget all workers. Unanswered writes never arrive, because their processes are dead."""
        self._late.clear()
        for row in list(self._table.rows.values()):
            if row.key.startswith(":worker/"):
                self._table.delete(row)
            elif row.owner is not None:
                self._table.update(replace(row, counter=row.counter + 1, owner=None))

    def take_by_force(self, key: RowKey, owner: Owner) -> None:
        """Let another worker take a lease, even if it has an owner."""
        row = self._table.rows[key]
        self._table.update(replace(row, counter=row.counter + 1, owner=owner, token=row.counter + 1))

    def renew(self, key: RowKey) -> None:
        """Let the owner of a lease renew it."""
        row = self._table.rows[key]
        self._table.update(replace(row, counter=row.counter + 1))

    def write(self, worker: str, operation: Operation, row: Row, *, sent_at: float) -> bool:
        """Write a row now. Return whether it was accepted."""
        self._let_late_rows_arrive()
        return self._write(worker, operation, row, sent_at=sent_at, at=anyio.current_time())

    def write_unanswered(self, worker: str, operation: Operation, row: Row, *, sent_at: float) -> None:
        """Write a row now, later or never."""
        match self._rng.randrange(3):
            case 0:
                self.write(worker, operation, row, sent_at=sent_at)
            case 1:
                at = anyio.current_time() + self._rng.uniform(*self._late_in_seconds)
                heappush(self._late, (at, next(self._order), sent_at, worker, operation, row))

    def write_some(self, worker: str, operation: Operation, rows: Collection[Row], *, sent_at: float) -> None:
        """Write each of several rows with a chance of one half."""
        for row in rows:
            if len(rows) > 1 and self._rng.random() < 0.5:
                self.write(worker, operation, row, sent_at=sent_at)

    def stale_rows(self) -> list[Row]:
        """Return each row as it was at a moment of its own that is not longer ago than the staleness."""
        if not self.staleness_in_seconds:
            return list(self.rows.values())
        self._let_late_rows_arrive()
        now = anyio.current_time()
        seen = (self._seen_at(key, now - self._rng.uniform(0, self.staleness_in_seconds)) for key in self._versions)
        return [row for row in seen if row is not None]

    def _seen_at(self, key: RowKey, moment: float) -> Row | None:
        return next((version.row for version in reversed(self._versions[key]) if version.since <= moment), None)

    def _let_late_rows_arrive(self) -> None:
        while self._late and self._late[0][0] <= anyio.current_time():
            at, _, sent_at, worker, operation, row = heappop(self._late)
            self._write(worker, operation, row, sent_at=sent_at, at=at)

    def _write(self, worker: str, operation: Operation, row: Row, *, sent_at: float, at: float) -> bool:
        before = self._table.rows.get(row.key)
        is_accepted: bool = getattr(self._table, operation)(row)
        self.history.append(Written(sent_at, at, worker, operation, row, before, is_accepted))
        if is_accepted and self.staleness_in_seconds:
            versions = self._versions[row.key]
            while len(versions) > 1 and versions[1].since < at - self.staleness_in_seconds:
                versions.pop(0)
            versions.append(Version(at, self._table.rows.get(row.key)))
        return is_accepted


class FakeLeaseStore:
    """`ports.LeaseStore` of one worker; the plan's operations are its methods."""

    def __init__(self, table: FakeLeaseTable, worker: str, faults: FaultPlan, patience_in_seconds: float) -> None:
        self.faults = faults
        self._table = table
        self._worker = worker
        self._patience_in_seconds = patience_in_seconds
        self._rng = Random(faults.seed)

    async def scan(self) -> list[Row]:
        fault = self._begin("scan")
        await self.faults.way_there(fault)
        rows = self._table.stale_rows()
        await self._way_back(fault)
        return rows

    async def read(self, keys: Collection[RowKey]) -> dict[RowKey, Row]:
        fault = self._begin("read")
        await self.faults.way_there(fault)
        rows = self._table.rows
        await self._way_back(fault)
        return {key: rows[key] for key in keys if key in rows}

    async def create(self, *groups: Collection[Row]) -> frozenset[RowKey]:
        """Send a request for each group, as DynamoDB needs it: each of them may fail."""
        for rows in groups:
            if existing := await self._write("create", rows):
                return existing
        return frozenset()

    async def update(self, rows: Collection[Row]) -> frozenset[RowKey]:
        return await self._write("update", rows)

    async def delete(self, rows: Collection[Row]) -> frozenset[RowKey]:
        return await self._write("delete", rows)

    async def _write(self, operation: Operation, rows: Collection[Row]) -> frozenset[RowKey]:
        fault, sent_at = self._begin(operation), anyio.current_time()
        try:
            await self.faults.way_there(fault)
        except Throttled:
            self._table.write_some(self._worker, operation, rows, sent_at=sent_at)
            raise
        except anyio.get_cancelled_exc_class():
            self._leave_unanswered(operation, rows, sent_at)
            raise
        rejected: set[RowKey] = set()
        if fault is Fault.ANSWER_LOST:
            self._leave_unanswered(operation, rows, sent_at)
        else:
            written = [self._table.write(self._worker, operation, row, sent_at=sent_at) for row in rows]
            rejected = {row.key for row, is_accepted in zip(rows, written, strict=True) if not is_accepted}
        await self._way_back(fault)
        return frozenset(rejected)

    def _leave_unanswered(self, operation: Operation, rows: Collection[Row], sent_at: float) -> None:
        for row in rows:
            self._table.write_unanswered(self._worker, operation, row, sent_at=sent_at)

    async def _way_back(self, fault: Fault) -> None:
        if fault is Fault.ANSWER_LOST:
            await anyio.sleep(self._rng.uniform(0, self._patience_in_seconds))
        await self.faults.way_back(fault)

    def _begin(self, operation: str) -> Fault:
        self._table.calls[self._worker, operation] += 1
        return self.faults.draw(operation, anyio.current_time())
