"""Which fake replaces the state? A table of leases (lease_store.py). Checkers of streams see its checkpoints here.

    a process ── create, update, delete ──(faults, latency)──> the table, which notes each write ──> stored, history

The table compares and sets, as every store does. A call that is cancelled, or whose answer is lost, may have an effect.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from typing import NamedTuple

from poller.model.ids import MappingName
from poller.model.lease import Row, RowKey, shard_of
from poller.model.stream import Checkpoint, ShardId, StateKey
from tests.fakes.faults import FaultPlan
from tests.fakes.lease_store import FakeLeaseStore, FakeLeaseTable


class Saved(NamedTuple):
    """A checkpoint that was stored at `at`. The process number `life` sent it at `asked_at`."""

    asked_at: float
    at: float
    life: int
    key: StateKey
    shard_id: ShardId
    checkpoint: Checkpoint


class Forgotten(NamedTuple):
    """The row of a shard that was deleted."""

    at: float
    key: StateKey
    shard_id: ShardId


class FakeStore:
    """The state of a world. Each method is one of `ports.LeaseStore`, called by the process number `life`.

    The fault plan's operations are these methods. A test may override a method.
    """

    def __init__(self, *, faults: FaultPlan | None = None) -> None:
        self.faults = faults or FaultPlan()
        self.table = FakeLeaseTable(seed=self.faults.seed)
        self._stores: dict[int, FakeLeaseStore] = {}

    @property
    def stored(self) -> defaultdict[StateKey, dict[ShardId, Checkpoint]]:
        """Return the stored checkpoint of each shard."""
        stored: defaultdict[StateKey, dict[ShardId, Checkpoint]] = defaultdict(dict)
        for row in self.table.rows.values():
            if row.checkpoint is not None:
                stored[state_of(row.key)][shard_of(row.key)] = row.checkpoint
        return stored

    @property
    def history(self) -> Iterator[Saved | Forgotten]:
        """Yield each checkpoint that was stored, and each row of a shard that was deleted, in order."""
        for write in self.table.history:
            row, before = write.row, write.before
            if not write.is_accepted or row.checkpoint is None:
                continue
            key, shard_id = state_of(row.key), shard_of(row.key)
            if write.operation == "delete":
                if before is not None:
                    yield Forgotten(write.at, key, shard_id)
            elif before is None or before.checkpoint != row.checkpoint:
                yield Saved(write.sent_at, write.at, int(write.worker), key, shard_id, row.checkpoint)

    def opened_alone(self) -> None:
        """Free all leases, as a process does that opens the file while no other process has it open."""
        self.table.free_all()

    async def scan(self, *, life: int = 0) -> list[Row]:
        return await self._of(life).scan()

    async def read(self, keys: Collection[RowKey], *, life: int = 0) -> dict[RowKey, Row]:
        return await self._of(life).read(keys)

    async def create(self, *groups: Collection[Row], life: int = 0) -> frozenset[RowKey]:
        return await self._of(life).create(*groups)

    async def update(self, rows: Collection[Row], *, life: int = 0) -> frozenset[RowKey]:
        return await self._of(life).update(rows)

    async def delete(self, rows: Collection[Row], *, life: int = 0) -> frozenset[RowKey]:
        return await self._of(life).delete(rows)

    def _of(self, life: int) -> FakeLeaseStore:
        if life not in self._stores:
            self._stores[life] = self.table.store(str(life), self.faults)
        return self._stores[life]


def state_of(key: RowKey) -> StateKey:
    """Return the mapping and the stream of a shard's lease."""
    mapping, _, rest = key.partition("/")
    return StateKey(MappingName(mapping), rest.rpartition("/")[0])
