"""How does one process reach the world? Through these clients, which raise Killed after the process has died.

    ProcessClient, StreamClient   call a service; StreamClient also records every read and every page of a listing
    WatchedSource                 records which records the engine got from a source
    ProcessStore                  calls the position store
    ProcessDestination            calls a destination
    ProcessTarget                 calls a function

Calls that the process has made before its death continue: a function runs to its end, and a save may still happen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

import anyio
import orjson

from poller.core.document import Document
from poller.errors import Unreachable
from poller.model.invocation import Invocation, Response
from poller.model.lease import Row, RowKey
from poller.model.stream import Position, Read, Shard, ShardId, ShardIterator, StreamLimits
from poller.ports import Destination, SourceClock, StreamSource
from poller.sources.pacing import CALLS_IN_A_SECOND
from tests.fakes.clock import VirtualClock, service_clock
from tests.fakes.sqs import FakeSqs
from tests.fakes.store import FakeStore
from tests.fakes.stream_service import Cursor, FakeStreamService
from tests.fakes.target import LIFE, FakeTarget

CRASH_AFTER_IN_SECONDS = 0.01
"""How long a function may run at most until the planned crash of the engine."""


class Killed(BaseException):
    """Raised if a dead process tries to reach the world. It ends the process's task, even in a shielded scope."""


@dataclass(eq=False)
class Process:
    """One process. `number` counts the processes of the world from 1.

    The runs of all mappings of a process count from 1, too.
    While the process `is_cut_off`, it reaches everything but the store. While it `is_cut_off_from_streams`, it reaches
    everything but the services of streams.
    """

    number: int
    is_dead: bool = False
    is_cut_off: bool = False
    is_cut_off_from_streams: bool = False

    def check(self) -> None:
        if self.is_dead:
            raise Killed


@dataclass(eq=False, kw_only=True)
class ReadNote:
    """One GetRecords call of a run. `ended_at` is None until the call has ended."""

    life: int
    run: int
    mapping: str
    shard_id: str
    began_at: float
    ended_at: float | None = None


class ListingNote(NamedTuple):
    """A request for one page of a listing of shards."""

    life: int
    operation: str
    at: float


class Sight(NamedTuple):
    """The records that a run of the engine got from one read."""

    life: int
    run: int
    mapping: str
    at: float
    numbers: tuple[str, ...]


class Notes:
    """The requests of all processes of a world to the services of streams, and the records that their engines got."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        """The number of calls of each operation."""
        self.reads: list[ReadNote] = []
        self.listings: list[ListingNote] = []
        self.sights: list[Sight] = []


class ProcessClient:
    """The client of a service."""

    def __init__(self, process: Process, service: FakeSqs, *, ours: VirtualClock) -> None:
        self.clock = service_clock(ours)
        self._process = process
        self._service = service

    async def call(self, operation: str, body: bytes, *, timeout_in_seconds: float) -> Any:
        self._process.check()
        asked_at = anyio.current_time()
        answer = await self._service.call(operation, body, timeout_in_seconds=timeout_in_seconds)
        self.clock.correct(self._service.date, asked_at=asked_at)
        return answer


class StreamClient:
    """The client of a stream's service for one mapping."""

    def __init__(
        self,
        process: Process,
        service: FakeStreamService,
        *,
        run: int,
        mapping: str,
        notes: Notes,
        ours: VirtualClock,
    ) -> None:
        self.clock = service_clock(ours)
        self._process = process
        self._service = service
        self._run = run
        self._mapping = mapping
        self._notes = notes

    async def call(self, operation: str, body: bytes, *, timeout_in_seconds: float) -> Any:
        asked_at = anyio.current_time()
        answer = await self._call(operation, body, timeout_in_seconds)
        self.clock.correct(self._service.date, asked_at=asked_at)
        return answer

    async def _call(self, operation: str, body: bytes, timeout_in_seconds: float) -> Any:
        self._process.check()
        if self._process.is_cut_off_from_streams:
            raise Unreachable("connection refused", code="ConnectionRefused", was_sent=False)
        self._notes.calls[operation] += 1
        if operation in CALLS_IN_A_SECOND:
            self._notes.listings.append(ListingNote(self._process.number, operation, anyio.current_time()))
        if operation != "GetRecords":
            return await self._service.call(operation, body, timeout_in_seconds=timeout_in_seconds)
        note = ReadNote(
            life=self._process.number,
            run=self._run,
            mapping=self._mapping,
            shard_id=_shard_of(body),
            began_at=anyio.current_time(),
        )
        self._notes.reads.append(note)
        try:
            return await self._service.call(operation, body, timeout_in_seconds=timeout_in_seconds)
        finally:
            note.ended_at = anyio.current_time()


class WatchedSource:
    """`ports.StreamSource`. It adds the records that it returns to `notes`."""

    def __init__(self, process: Process, source: StreamSource, *, run: int, mapping: str, notes: Notes) -> None:
        self._process = process
        self._source = source
        self._run = run
        self._mapping = mapping
        self._notes = notes

    @property
    def limits(self) -> StreamLimits:
        return self._source.limits

    @property
    def clock(self) -> SourceClock:
        return self._source.clock

    @property
    def status(self) -> str | None:
        return self._source.status

    async def shards(self) -> list[Shard]:
        return await self._source.shards()

    async def children(self, shard_id: ShardId) -> list[Shard]:
        return await self._source.children(shard_id)

    async def iterator(self, shard_id: ShardId, position: Position) -> ShardIterator:
        return await self._source.iterator(shard_id, position)

    async def read(self, iterator: ShardIterator, *, limit: int) -> Read:
        read = await self._source.read(iterator, limit=limit)
        if read.records:
            numbers = tuple(record.sequence_number for record in read.records)
            sight = Sight(self._process.number, self._run, self._mapping, anyio.current_time(), numbers)
            self._notes.sights.append(sight)
        return read


class ProcessStore:
    """`ports.LeaseStore` of the process. A write that was sent before the process died may have an effect or not."""

    def __init__(self, process: Process, store: FakeStore) -> None:
        self._process = process
        self._store = store

    async def scan(self) -> list[Row]:
        self._check()
        return await self._store.scan(life=self._process.number)

    async def read(self, keys: Collection[RowKey]) -> dict[RowKey, Row]:
        self._check()
        return await self._store.read(keys, life=self._process.number)

    async def create(self, *groups: Collection[Row]) -> frozenset[RowKey]:
        self._check()
        return await self._store.create(*groups, life=self._process.number)

    async def update(self, rows: Collection[Row]) -> frozenset[RowKey]:
        self._check()
        return await self._store.update(rows, life=self._process.number)

    async def delete(self, rows: Collection[Row]) -> frozenset[RowKey]:
        self._check()
        return await self._store.delete(rows, life=self._process.number)

    def _check(self) -> None:
        self._process.check()
        if self._process.is_cut_off:
            raise Unreachable("connection refused", code="ConnectionRefused", was_sent=False)


class ProcessDestination:
    """The client of a destination."""

    def __init__(self, process: Process, destination: Destination) -> None:
        self._process = process
        self._destination = destination

    async def deliver(self, document: Document) -> None:
        self._process.check()
        await self._destination.deliver(document)


class OurFault(Exception):
    """A fault in poller itself, during a batch."""


class ProcessTarget:
    """The client of a function.

    `crashes` says for each invocation whether the engine crashes before it, during it, or not at all.
    """

    def __init__(self, process: Process, target: FakeTarget, *, crashes: Callable[[], bool] = lambda: False) -> None:
        self.most_running = 0
        self._process = process
        self._target = target
        self._crashes = crashes
        self._running = 0

    async def invoke(self, invocation: Invocation) -> Response:
        self._process.check()
        LIFE.set(self._process.number)
        self._running += 1
        self.most_running = max(self.most_running, self._running)
        try:
            return await self._invoke(invocation)
        finally:
            self._running -= 1

    async def _invoke(self, invocation: Invocation) -> Response:
        if self._crashes():
            with anyio.move_on_after(CRASH_AFTER_IN_SECONDS):
                await self._target.invoke(invocation)
                self._target.lose_answer(invocation)
            raise OurFault
        return await self._target.invoke(invocation)


def _shard_of(body: bytes) -> str:
    return Cursor.of(orjson.loads(body)["ShardIterator"]).shard_id
