"""What do the workers of a simulation share? A table, a stream and a function, which outlive each process.

    LeaseWorld ── a FakeLeaseTable, a SharedStream, a RecordingFunction
      └ LeaseLife ── one process: the real worker (engine/leases), and a reader in place of a stream mapping

Everything waits on one virtual clock; each process has a clock of its own besides.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import NamedTuple, Protocol

import anyio
from anyio.abc import TaskGroup

from poller.engine.leases.worker import Worker
from poller.engine.stop import Stop
from poller.facts import Fact
from poller.model.lease import Owner, Row, RowKey
from poller.model.stream import ShardId
from poller.ports import LeaseStore
from tests.fakes.faults import Fault, FaultPlan, Outage
from tests.fakes.lease_store import FakeLeaseTable, Written
from tests.simulation.leases_process import ProcessClock, ProcessLeaseStore, WorkerProcess
from tests.simulation.leases_reader import READ_AGAIN_IN_SECONDS, Reader
from tests.simulation.leases_recorder import RecordingFunction
from tests.simulation.leases_stream import SharedStream
from tests.simulation.process import Killed


class Table(Protocol):
    """The table, as the world sees it. `calls` counts each worker's scans, and `history` has each write of a row."""

    history: list[Written]
    calls: Counter[tuple[str, str]]

    @property
    def rows(self) -> dict[RowKey, Row]:
        """The rows as they are now."""

    def store(self, worker: str, faults: FaultPlan, *, patience_in_seconds: float) -> LeaseStore:
        """Return the store of one worker."""


class Note(NamedTuple):
    """From `at` on, a reader of this owner reads the shard ("got"), or does not read it any more ("left")."""

    at: float
    owner: str
    shard_id: ShardId
    what: str


class LeaseLife:
    """One process, from its start to its end."""

    def __init__(self, world: LeaseWorld, label: str, *, rate: float, offset: float, faults: FaultPlan) -> None:
        self.number = len(world.lives) + 1
        self.owner = Owner(f"{label}/{self.number:032x}")
        self.process = WorkerProcess(self.owner)
        self.clock = ProcessClock(self.process, rate=rate, offset=offset)
        self.faults = faults
        self.stop = Stop()
        self.began_at = anyio.current_time()
        self.stopped_at: float | None = None
        self.ended_at: float | None = None
        store = world.table.store(self.owner, faults, patience_in_seconds=world.patience_in_seconds)
        self.worker = Worker(
            self.owner,
            store=ProcessLeaseStore(self.process, store),
            clock=self.clock,
            randomness=Random(world.seed + self.number),
            emit=world.facts.append,
        )
        self.reader = Reader(
            self.worker,
            process=self.process,
            clock=self.clock,
            stream=world.stream,
            function=world.function,
            stop=self.stop,
            randomness=Random(world.seed + self.number),
            note=lambda shard_id, what: world.notes.append(Note(anyio.current_time(), self.owner, shard_id, what)),
            read_again_in_seconds=world.read_again_in_seconds,
            units=world.units,
        )

    async def run(self) -> None:
        try:
            with self.process.scope:
                async with self.worker.running():
                    await self.reader.run()
        except* Killed:
            assert self.process.died_at is not None
        self.ended_at = anyio.current_time()

    def begin_stop(self) -> None:
        """SIGTERM."""
        self.stopped_at = anyio.current_time()
        self.worker.begin_stop()
        self.stop.begin()

    def crash(self) -> None:
        """kill -9."""
        self.process.crash()

    def cut_off(self, seconds: float) -> None:
        """Let no call of this process reach the table for this time."""
        now = anyio.current_time()
        self.faults.outages.append(Outage(now, now + seconds, Fault.UNREACHABLE))

    def delay_answers(self, seconds: float) -> None:
        """For this time, let each write of this process arrive, but its answer come too late. Reads work."""
        now = anyio.current_time()
        self.faults.outages.append(Outage(now, now + seconds, Fault.ANSWER_SLOW, "update"))

    @property
    def is_running(self) -> bool:
        return self.ended_at is None and self.process.died_at is None


class LeaseWorld:
    """The world. `notes` says who has read which shard, and when.

    `units` is the concurrency of the function that all workers share; None if it has no limit.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        table: Table | None = None,
        function: RecordingFunction | None = None,
        interval_in_seconds: float = 1.0,
        patience_in_seconds: float = 0.0,
        read_again_in_seconds: float = READ_AGAIN_IN_SECONDS,
        units: int | None = None,
    ) -> None:
        self.seed = seed
        self.table: Table = table or FakeLeaseTable(seed=seed)
        self.stream = SharedStream(interval_in_seconds)
        self.function = function or RecordingFunction(Random(seed))
        self.patience_in_seconds = patience_in_seconds
        self.read_again_in_seconds = read_again_in_seconds
        self.units = units
        self.notes: list[Note] = []
        self.facts: list[Fact] = []
        self.lives: list[LeaseLife] = []

    def start(
        self,
        tasks: TaskGroup,
        label: str,
        *,
        rate: float = 1.0,
        offset: float = 0.0,
        faults: FaultPlan | None = None,
    ) -> LeaseLife:
        """Start a process as a task."""
        faults = faults or FaultPlan(seed=self.seed, latency_in_seconds=(0.002, 0.01))
        life = LeaseLife(self, label, rate=rate, offset=offset, faults=faults)
        self.lives.append(life)
        tasks.start_soon(life.run)
        return life

    @property
    def running(self) -> list[LeaseLife]:
        return [life for life in self.lives if life.is_running]
