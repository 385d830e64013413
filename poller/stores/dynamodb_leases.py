"""How do workers on several hosts share leases? In a table of DynamoDB, which decides by conditions on the counter.

DynamoDB bills a write by the size of the whole item, however little of it changes, so an update replaces the item.

Source: Amazon DynamoDB API Reference, "PutItem", "DeleteItem".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any

from poller.model.lease import Row, RowKey
from poller.stores.dynamodb_items import KEY, Items
from poller.stores.dynamodb_rows import item_of, row_of
from poller.stores.notation import rank, refuse_to_move_back


class DynamoDbLeaseStore:
    """Implements `ports.LeaseStore` with a DynamoDB table that only poller uses."""

    def __init__(self, items: Items) -> None:
        self._items = items

    async def scan(self) -> list[Row]:
        """Return all rows; a row may be older than the last write."""
        return list(map(row_of, await self._items.scan()))

    async def read(self, keys: Collection[RowKey]) -> dict[RowKey, Row]:
        """Return those of these rows that exist."""
        return {row.key: row for row in map(row_of, await self._items.read(keys))}

    async def create(self, *groups: Collection[Row]) -> frozenset[RowKey]:
        """Store groups of new rows, up to the first group with keys that already existed. Return these keys."""
        return await create_in_order(groups, self._create)

    async def update(self, rows: Collection[Row]) -> frozenset[RowKey]:
        """Replace rows. Return the keys of the rows that do not exist or have another counter.

        Raises CheckpointMovedBack if a row has such a checkpoint. Some of the other rows may be stored even so.
        """
        rejected = await self._items.write("PutItem", {row.key: _replacement(row) for row in rows})
        stored = await self.read(rejected)
        for row in rows:
            refuse_to_move_back(stored.get(row.key), row)
        # a person has changed the checkpoint without its rank, or the rank alone
        misjudged = [row for row in rows if (found := stored.get(row.key)) and found.counter == row.counter - 1]
        return rejected - {row.key for row in misjudged} | await self._overwrite(misjudged)

    async def overwrite(self, rows: Collection[Row]) -> frozenset[RowKey]:
        """Replace rows, even if their checkpoints move back. For `lease_by_hand.EditableStore`."""
        return await self._overwrite(rows)

    async def _overwrite(self, rows: Collection[Row]) -> frozenset[RowKey]:
        return await self._items.write("PutItem", {row.key: _replacement(row, may_move_back=True) for row in rows})

    async def _create(self, rows: Collection[Row]) -> frozenset[RowKey]:
        return await self._items.write("PutItem", {row.key: creation(item_of(row)) for row in rows})

    async def delete(self, rows: Collection[Row]) -> frozenset[RowKey]:
        """Delete rows. Return the keys of the rows that have another counter."""
        return await self._items.write("DeleteItem", {row.key: removal(row.key, row.counter) for row in rows})


async def create_in_order(
    groups: Sequence[Collection[Row]], create: Callable[[Collection[Row]], Awaitable[frozenset[RowKey]]]
) -> frozenset[RowKey]:
    """Create groups of new rows, up to the first group with keys that already existed. Return these keys."""
    for rows in groups:
        if existing := await create(rows):
            return existing
    return frozenset()


def creation(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the parameters of a PutItem that adds the item if no item with its key exists."""
    return {"Item": item, "ConditionExpression": f"attribute_not_exists({KEY})"}


def removal(key: str, counter: int) -> Mapping[str, Any]:
    """Return the parameters of a DeleteItem that deletes the item if its counter is `counter`."""
    return {
        "Key": {KEY: {"S": key}},
        "ConditionExpression": f"attribute_not_exists({KEY}) OR leaseCounter = :counter",
        "ExpressionAttributeValues": {":counter": {"N": str(counter)}},
    }


def _replacement(row: Row, *, may_move_back: bool = False) -> Mapping[str, Any]:
    """Return the parameters of a PutItem that replaces the row whose stored counter is `row.counter - 1`.

    The condition on the rank is a second guard: only a person moves a checkpoint back, or removes it.
    """
    values, condition = {":before": {"N": str(row.counter - 1)}}, "leaseCounter = :before"
    if not may_move_back:
        never_back = "attribute_not_exists(checkpointRank)"
        if row.checkpoint is not None:
            values[":rank"] = {"S": rank(row.checkpoint.position)}
            never_back = f"({never_back} OR checkpointRank <= :rank)"
        condition = f"{condition} AND {never_back}"
    return {"Item": item_of(row), "ConditionExpression": condition, "ExpressionAttributeValues": values}
