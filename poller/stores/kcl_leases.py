"""How are leases shared through the table of a KCL 2.x application? Each write changes only what has changed.

    scan, read ──> the items, which are remembered ──> rows
    update     ──> the remembered item with the row's counter, or the item as it is now ──> UpdateItem of the difference

KCL and other programs may have attributes in an item that we do not know. An UpdateItem of the difference leaves them
alone. The condition on the counter proves that the item is still the one whose difference was made.
Items that are not leases are never touched.

Source: amazon-kinesis-client, `DynamoDBLeaseRefresher`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import anyio

from poller.core.leases.expiry import is_drained
from poller.errors import InUse
from poller.model.lease import Row, RowKey
from poller.ports import LeaseStore
from poller.stores.dynamodb_items import KEY, Item, Items
from poller.stores.dynamodb_leases import create_in_order, creation, removal
from poller.stores.kcl_rows import Meaning, changed_item, is_lease, is_of_kcl, new_item, renewed_by_kcl, row_of
from poller.stores.notation import refuse_to_move_back

LOOK_EVERY_SECONDS = 10.0
"""How often the table is read while it is watched."""

WATCHED_IN_SECONDS = 60.0
"""How long the table is watched for renewals by KCL. KCL renews each lease three times in its `failoverTimeMillis`.

So a running application is noticed if its `failoverTimeMillis` is at most 180,000. The default is 10,000.
"""


class KclLeaseStore:
    """`ports.LeaseStore` for the shards of one mapping and stream, in a table of KCL. It has no other rows."""

    def __init__(self, items: Items, meaning: Meaning) -> None:
        self._items = items
        self._meaning = meaning
        self._known: dict[RowKey, Item] = {}

    async def scan(self) -> list[Row]:
        """Return the rows of all leases; a row may be older than the last write."""
        self._known = {}
        return self._rows(await self._items.scan())

    async def read(self, keys: Collection[RowKey]) -> dict[RowKey, Row]:
        """Return those of these rows that exist."""
        return {row.key: row for row in self._rows(await self._items.read(list(map(self._meaning.shard_id, keys))))}

    async def create(self, *groups: Collection[Row]) -> frozenset[RowKey]:
        """Store groups of new rows, up to the first group with keys that already existed. Return these keys."""
        return await create_in_order(groups, self._create)

    async def update(self, rows: Collection[Row]) -> frozenset[RowKey]:
        """Replace rows. Return the keys of the rows that do not exist or have another counter.

        Raises CheckpointMovedBack if a row has such a checkpoint, and then stores none of them.
        """
        return await self._replace(rows, may_move_back=False)

    async def overwrite(self, rows: Collection[Row]) -> frozenset[RowKey]:
        """`lease_by_hand.EditableStore`: replace rows, also if their checkpoints move back. LATEST is a checkpoint."""
        return await self._replace(rows, may_move_back=True)

    async def _create(self, rows: Collection[Row]) -> frozenset[RowKey]:
        return await self._items.write("PutItem", {row.key: creation(new_item(row, self._meaning)) for row in rows})

    def refuse_unless_storable(self, rows: Iterable[Row]) -> None:
        """Raise Rejected if one of these rows cannot be stored as a new lease."""
        for row in rows:
            new_item(row, self._meaning)

    async def _replace(self, rows: Collection[Row], *, may_move_back: bool) -> frozenset[RowKey]:
        await self.read([row.key for row in rows if not self._is_next(row)])
        before = {row.key: self._known[row.key] for row in rows if self._is_next(row)}
        after: dict[RowKey, Item] = {}
        for row in rows:
            if row.key in before:
                if not may_move_back:
                    refuse_to_move_back(row_of(before[row.key], self._meaning), row)
                after[row.key] = changed_item(before[row.key], row, self._meaning)
        rejected = await self._items.write("UpdateItem", {key: _change(before[key], after[key]) for key in after})
        self._known |= {key: item for key, item in after.items() if key not in rejected}
        return rejected | {row.key for row in rows if row.key not in after}

    async def delete(self, rows: Collection[Row]) -> frozenset[RowKey]:
        """Delete rows. Return the keys of the rows that have another counter."""
        removals = {row.key: removal(self._meaning.shard_id(row.key), row.counter - 1) for row in rows}
        return await self._items.write("DeleteItem", removals)

    def _is_next(self, row: Row) -> bool:
        """Return whether the row is the next version of the remembered item. KCL's counters are one less than ours."""
        item = self._known.get(row.key)
        return item is not None and int(item["leaseCounter"]["N"]) == row.counter - 2

    def _rows(self, items: Collection[Item]) -> list[Row]:
        """Return the rows of the leases among the items, and remember these."""
        leases = [(row_of(item, self._meaning), item) for item in items if is_lease(item)]
        self._known |= {row.key: item for row, item in leases}
        return [row for row, _ in leases]


async def refuse_while_kcl_runs(
    store: LeaseStore, before: Collection[Row], *, option: str, watches: Callable[[int], None]
) -> None:
    """Return if no KCL application renews a lease of the table for WATCHED_IN_SECONDS. Otherwise raise InUse.

    KCL and poller cannot share a table at the same time. `before` has the rows of the table, and `option` is the
    setting that names it.
    If KCL owns only leases of drained shards, or none, the function returns at once.
    Otherwise `watches` gets the number of leases that KCL owns. A KCL worker that has stopped is mostly still the owner
    in its rows, so the first take-over of a table has to wait. Later, workers of poller own the leases.
    """
    held = held_by_kcl(before)
    if not held:
        return
    watches(len(held))
    for _ in range(round(WATCHED_IN_SECONDS / LOOK_EVERY_SECONDS)):
        await anyio.sleep(LOOK_EVERY_SECONDS)
        if renewed := renewed_by_kcl(before, await store.scan()):
            which = f"{len(renewed)} of its leases, such as {renewed[0]}"
            raise InUse(f"{option}: a KCL application still renews {which}; stop it first")


def held_by_kcl(rows: Iterable[Row]) -> list[Row]:
    """Return the leases that a worker of KCL owns, without those of drained shards, which nobody takes."""
    return [row for row in rows if is_of_kcl(row) and not is_drained(row)]


def _change(before: Item, after: Item) -> Mapping[str, Any]:
    """Return the parameters of an UpdateItem that changes an item if its counter is still the same."""
    changed = sorted(name for name, value in after.items() if before.get(name) != value)
    removed = sorted(before.keys() - after.keys())
    sets = [f"#s{number} = :s{number}" for number in range(len(changed))]
    removes = [f"#r{number}" for number in range(len(removed))]
    return {
        "Key": {KEY: before[KEY]},
        "UpdateExpression": f"SET {', '.join(sets)}" + (f" REMOVE {', '.join(removes)}" if removes else ""),
        "ConditionExpression": "leaseCounter = :before",
        "ExpressionAttributeNames": {
            **{f"#s{number}": name for number, name in enumerate(changed)},
            **{f"#r{number}": name for number, name in enumerate(removed)},
        },
        "ExpressionAttributeValues": {
            ":before": before["leaseCounter"],
            **{f":s{number}": after[name] for number, name in enumerate(changed)},
        },
    }
