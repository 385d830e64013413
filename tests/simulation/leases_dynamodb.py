"""Does the worker keep its promises over the store of DynamoDB, too? Each worker has a client of one fake service.

    worker ── DynamoDbLeaseStore ── its own FakeDynamoDb, with faults ──> the items that all workers share

Here a call with many rows may be throttled or lose its answer for some of its rows. `history` has each write of a row.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import anyio

from poller.errors import Rejected
from poller.model.lease import Row, RowKey
from poller.stores.dynamodb_items import KEY, Item, Items
from poller.stores.dynamodb_leases import DynamoDbLeaseStore
from poller.stores.dynamodb_rows import row_of
from tests.fakes.dynamodb import FakeDynamoDb, FakeTable
from tests.fakes.faults import FaultPlan
from tests.fakes.lease_store import Operation, Written

TABLE = "leases"
SCHEMA = {"KeySchema": [{"AttributeName": KEY, "KeyType": "HASH"}], "AttributeDefinitions": []}


class DynamoDbTable:
    """The table, as a world of leases sees it."""

    def __init__(self, *, seed: int) -> None:
        self.history: list[Written] = []
        self.calls: Counter[tuple[str, str]] = Counter()
        self.items = FakeTable(TABLE, SCHEMA, active_at=0)
        self._seed = seed

    @property
    def rows(self) -> dict[RowKey, Row]:
        return {row.key: row for row in map(row_of, self.items.items.values())}

    def store(self, worker: str, faults: FaultPlan, *, patience_in_seconds: float) -> DynamoDbLeaseStore:
        return _Counted(
            self, worker, Items(_Recorded(self, worker, faults), table=TABLE, randomness=Random(self._seed))
        )


class _Counted(DynamoDbLeaseStore):
    """Counts the scans."""

    def __init__(self, table: DynamoDbTable, worker: str, items: Items) -> None:
        super().__init__(items)
        self._table = table
        self._worker = worker

    async def scan(self) -> list[Row]:
        self._table.calls[self._worker, "scan"] += 1
        return await super().scan()


class _Recorded(FakeDynamoDb):
    """Notes each write that reaches the table."""

    def __init__(self, table: DynamoDbTable, worker: str, faults: FaultPlan) -> None:
        super().__init__(faults=faults, items_in_an_answer=7)
        self.tables[TABLE] = table.items
        self._table = table
        self._worker = worker

    def _check(self, request: dict[str, Any], item: Item | None) -> None:
        try:
            super()._check(request, item)
        except Rejected:
            self._note(request, item, is_accepted=False)
            raise
        self._note(request, item, is_accepted=True)

    def _note(self, request: dict[str, Any], item: Item | None, *, is_accepted: bool) -> None:
        """Note a write. The moment of its arrival stands for the moment of its sending, too."""
        before, now = None if item is None else row_of(item), anyio.current_time()
        if "Item" not in request:
            if before is not None:
                self._table.history.append(Written(now, now, self._worker, "delete", before, before, is_accepted))
            return
        is_new = request["ConditionExpression"] == f"attribute_not_exists({KEY})"
        operation: Operation = "create" if is_new else "update"
        row = row_of(request["Item"])
        self._table.history.append(Written(now, now, self._worker, operation, row, before, is_accepted))
