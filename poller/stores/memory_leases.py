"""Where are leases stored if only one process uses them? In a dict, which ends with the process.

`Table` decides by compare and set, as every store does (`core/leases/`, R1).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import orjson
from anyio.lowlevel import checkpoint as turn

from poller.model.lease import Row, RowKey
from poller.stores.notation import rank, refuse_to_move_back


class MemoryLeaseStore:
    """Implements `ports.LeaseStore` in this process's memory."""

    def __init__(self) -> None:
        self._table = Table()

    async def scan(self) -> list[Row]:
        """Return all rows."""
        await turn()
        return list(self._table.rows.values())

    async def read(self, keys: Collection[RowKey]) -> dict[RowKey, Row]:
        """Return those of these rows that exist."""
        await turn()
        return {key: row for key in keys if (row := self._table.rows.get(key)) is not None}

    async def create(self, *groups: Collection[Row]) -> frozenset[RowKey]:
        """Store groups of new rows, up to the first group with keys that already existed. Return these keys."""
        await turn()
        for rows in groups:
            if existing := frozenset(row.key for row in rows if not self._table.create(row)):
                return existing
        return frozenset()

    async def update(self, rows: Collection[Row]) -> frozenset[RowKey]:
        """Replace rows. Return the keys of the rows that do not exist or have another counter.

        Raises CheckpointMovedBack for the first row with such a checkpoint; the rows before it are then stored.
        """
        await turn()
        return frozenset(row.key for row in rows if not self._table.update(row))

    async def delete(self, rows: Collection[Row]) -> frozenset[RowKey]:
        """Delete rows. Return the keys of the rows that have another counter."""
        await turn()
        return frozenset(row.key for row in rows if not self._table.delete(row))

    async def overwrite(self, rows: Collection[Row]) -> frozenset[RowKey]:
        """`lease_by_hand.EditableStore`: replace rows, also if their checkpoints move back."""
        await turn()
        return frozenset(row.key for row in rows if not self._table.overwrite(row))


class Table:
    """Rows in a dict. Each method writes one row, and returns whether the row's counter allowed it."""

    def __init__(self) -> None:
        self.rows: dict[RowKey, Row] = {}

    def create(self, row: Row) -> bool:
        """Add the row. Return False, and change nothing, if there is one with its key."""
        if row.key in self.rows:
            return False
        self._put(row)
        return True

    def update(self, row: Row) -> bool:
        """Replace the row. Return False, and change nothing, if the stored counter is not `row.counter - 1`.

        Raises CheckpointMovedBack, and changes nothing, if its checkpoint would move back or be removed.
        """
        refuse_to_move_back(self.rows.get(row.key), row)
        return self.overwrite(row)

    def overwrite(self, row: Row) -> bool:
        """Replace the row, whatever its checkpoint. Return False, and change nothing, as `update` does."""
        stored = self.rows.get(row.key)
        if stored is None or stored.counter != row.counter - 1:
            return False
        self._put(row)
        return True

    def delete(self, row: Row) -> bool:
        """Delete the row. Return False, and change nothing, if the stored counter is not `row.counter`."""
        stored = self.rows.get(row.key)
        if stored is not None and stored.counter != row.counter:
            return False
        self.rows.pop(row.key, None)
        return True

    def _put(self, row: Row) -> None:
        """Store a copy, so that a later change of the row's details does not change what is stored."""
        if row.checkpoint is not None:
            rank(row.checkpoint.position)  # an assertion: the position is not LATEST
        self.rows[row.key] = replace(row, details=orjson.loads(orjson.dumps(row.details)))
