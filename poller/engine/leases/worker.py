"""How does this process share the leases with other workers? Its worker runs four loops, and users wait for leases.

    taking      scans the table, and takes leases that users wait for ──┐
    writing     renews, stores checkpoints, gives away               <──┴─ hands ──> the users
    deadlines   loses the leases that could not be renewed           <──┘
    messages    offers and requests, between the workers

If the worker cannot reach the table, its users go on until the deadlines of the leases. Then they wait for the table.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from itertools import chain

import anyio

from poller.core.leases.expiry import LEASE_DURATION_IN_SECONDS, Observed
from poller.core.leases.units import LimitName
from poller.engine.leases.deadlines import end_at_deadlines
from poller.engine.leases.hands import Hands, InHand, named
from poller.engine.leases.lease import Lease
from poller.engine.leases.messages import LONGEST_ANNOUNCEMENT, Messages
from poller.engine.leases.moving import Moving
from poller.engine.leases.scanning import Scanning
from poller.engine.leases.table import Table
from poller.engine.leases.taking import Taking
from poller.engine.leases.watching import sharing_status
from poller.engine.leases.writing import Writing
from poller.facts import CheckpointsLost, Emit
from poller.model.ids import FunctionName, MappingName
from poller.model.lease import Detail, Owner, Row, RowKey
from poller.model.sharing import SharingStatus
from poller.model.status import Health
from poller.ports import LeaseStore, MonotonicClock

SAVE_EVERY_SECONDS = 1.0
"""How long a new checkpoint waits until it is stored. After a crash, the records of this time are delivered again."""

SAVE_WINDOWS_EVERY_SECONDS = 0.2
"""How long a checkpoint waits if its mapping has tumbling windows: the pause between two reads of a Kinesis shard."""

LAST_WRITES_IN_SECONDS = 5.0
"""How long a worker that ends waits for the table. The leases that it still has then expire, and others take them."""


class Worker:
    """The worker of this process. `owner` is new at each start of the process. `scanned` gets the rows of each scan."""

    def __init__(
        self,
        owner: Owner,
        *,
        store: LeaseStore,
        clock: MonotonicClock,
        randomness: random.Random,
        emit: Emit,
        lease_duration: float = LEASE_DURATION_IN_SECONDS,
        save_every_seconds: float = SAVE_EVERY_SECONDS,
        save_windows_every_seconds: float = SAVE_WINDOWS_EVERY_SECONDS,
        scanned: Callable[[Collection[Row]], None] = lambda _: None,
    ) -> None:
        self.owner = owner
        self.functions: dict[MappingName, FunctionName] = {}
        """The function of each mapping whose function has a limit that all workers share."""
        self.limits: dict[LimitName, int] = {}
        """The number of units of each limit that this process uses. The worker deletes the units beyond it."""
        self.missing: dict[LimitName, Callable[[], bool]] = {}
        """Whether an invocation waits here for a unit of the limit, and no other worker can run it."""
        self._missing_since: dict[LimitName, float] = {}
        self.save_windows_every_seconds = save_windows_every_seconds
        self.is_unclean = False
        """Whether the worker has ended without storing all checkpoints."""
        self._begun_at = clock.now()
        self._clock = clock
        self._lease_duration = lease_duration
        self._emit = emit
        self._table = Table(store, clock=clock, randomness=randomness, emit=emit)
        self._hands = Hands(clock)
        self._observed = Observed(owner, lease_duration=lease_duration)
        self._messages = Messages(
            owner,
            observed=self._observed,
            table=self._table,
            lease_duration=lease_duration,
            status=self._status,
            offered=lambda keys: self._taking.offered(keys),
            requested=lambda prefix, asker: self._moving.requested(prefix, asker),
            unoffered=lambda keys: self._moving.offer(keys),
        )
        self._moving = Moving(
            self._hands,
            observed=self._observed,
            clock=clock,
            functions=self.functions,
            request=self._messages.request,
            offer=self._messages.offer,
            scan_soon=lambda: self._scanning.scan_soon(),
            emit=emit,
        )
        self._scanning = Scanning(
            self._hands,
            observed=self._observed,
            table=self._table,
            moving=self._moving,
            limits=self.limits,
            announce_stop=self._messages.announce_stop,
            scanned=scanned,
            emit=emit,
        )
        self._taking = Taking(
            self._hands,
            observed=self._observed,
            table=self._table,
            scanning=self._scanning,
            moving=self._moving,
            beat=self._messages.beat,
            emit=emit,
        )
        self._writing = Writing(
            self._hands,
            observed=self._observed,
            table=self._table,
            lease_duration=lease_duration,
            save_every_seconds=save_every_seconds,
            details=self._details,
            given=self._given,
            emit=emit,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the worker. All users must have left when the block ends; then their leases are given away."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._messages.run)
            tasks.start_soon(self._take)
            tasks.start_soon(self._writing.run)
            tasks.start_soon(end_at_deadlines, self._hands, self._clock, self._emit)
            yield
            self.begin_stop()
            last = list(self._hands.in_hand.values())
            with anyio.move_on_after(LAST_WRITES_IN_SECONDS):
                await self._hands.is_empty.wait()
                await self._messages.close()
            if lost := [one for one in last if not one.held.is_stored]:
                self.is_unclean = True
                self._emit(CheckpointsLost(len(lost), named(lost)))
            tasks.cancel_scope.cancel()

    @asynccontextmanager
    async def lease(self, key: RowKey, *, lanes: int = 1) -> AsyncIterator[Lease | None]:
        """Wait until this worker has the lease, and yield it. Yield None if another worker has drained the shard.

        While invocations of an earlier user run, only a user with the same number of lanes gets the lease.
        """
        waiter = self._hands.wait_for(key, lanes=lanes)
        try:
            await waiter.came.wait()
            yield waiter.lease
        finally:
            self._hands.leave(waiter)

    @contextmanager
    def open_run(self, mapping: MappingName) -> Iterator[None]:
        """Note that a run of the mapping is open. During a reload, two of them are open."""
        runs = self._hands.open_runs
        runs[mapping] += 1
        self._hands.run_since.setdefault(mapping, self._clock.now())
        try:
            yield
        finally:
            runs[mapping] -= 1
            if not runs[mapping]:
                del runs[mapping], self._hands.run_since[mapping]

    async def rows(self, prefix: str) -> list[Row]:
        """Scan the table, and return the leases whose key begins with `prefix`."""
        await self._scanning.scan()
        return [row for row in self._observed.leases() if row.key.startswith(prefix)]

    async def read(self, keys: Collection[RowKey]) -> dict[RowKey, Row]:
        """Return these rows of any kind as they are now, without those that do not exist."""
        return await self._table.until_done("read leases", lambda: self._table.read(keys))

    async def create(self, *groups: Collection[Row]) -> dict[RowKey, Row]:
        """Create those of these rows that do not exist, and return all of them as they are in the table.

        The groups are created in order: a row is created only after all rows of the earlier groups exist and have their
        checkpoints. A row that a person has reset (`model/lease.py`) gets the checkpoint of the new row.
        The result lacks a row if it was deleted meanwhile.
        """
        found: dict[RowKey, Row] = {}
        left: Sequence[Collection[Row]] = groups
        while left:
            rows, left = await self._table.until_done("create leases", partial(self._create_some, left))
            found |= rows
        return found

    async def delete(self, keys: Collection[RowKey]) -> None:
        """Delete these rows, if nobody has changed them since this worker saw them."""
        rows = [row for key in keys if (row := self._observed.get(key)) is not None]
        if not rows:
            return
        await self._table.until_done("delete leases", lambda: self._delete_once(rows))

    def health_with(self, source: Health, *, now: float) -> Health:
        """Return one health for a source and the table of leases. `now` is in epoch seconds."""
        return self._table.health.together_with(source, now=now)

    def shards_seen(self, stream_arn: str) -> list[Row]:
        """Return the rows of a stream's shards as this worker has seen them last, under the names of all mappings."""
        return self._observed.shards(stream_arn)

    def is_paused(self, mapping: MappingName) -> bool:
        """Return whether the last scan has found a pause of a mapping with this name."""
        return mapping in self._hands.paused

    def has_paused(self, mapping: MappingName) -> None:
        """Note the pause of a mapping before its run stops, and before a scan shows it."""
        self._hands.paused |= {mapping}

    def died(self, owner: Owner) -> None:
        """Take over from another worker whose process has ended, without waiting for the end of its leases.

        Call it again a second later: by then, all workers have seen the same rows, and agree who takes which lease.
        """
        self._observed.died(owner)
        self._scanning.scan_soon()

    @property
    def status(self) -> SharingStatus:
        return sharing_status(
            self._hands, self._observed, own=self._status(), begun_at=self._begun_at, now=self._clock.now()
        )

    def begin_stop(self) -> None:
        """Take no more leases, and scan once more, so that the leases go to the workers that live now."""
        if not self._hands.is_stopping:
            self._hands.begin_stop()
            self._messages.beat()

    async def stop_announced(self) -> None:
        """Wait until the other workers know that this worker stops. This takes up to two seconds.

        Returns soon if there is no other worker, and at once if this worker does not stop.
        """
        if self._hands.is_stopping:
            with anyio.move_on_after(LONGEST_ANNOUNCEMENT * self._lease_duration):
                await self._messages.has_announced_stop.wait()

    async def _create_some(
        self, groups: Sequence[Collection[Row]]
    ) -> tuple[dict[RowKey, Row], Sequence[Collection[Row]]]:
        """Create the rows of all groups, or up to the first group with a row that already exists.

        Return the rows of these groups as they are in the table, and the groups that are left.
        """
        rejected = await self._table.create(*groups)
        now = self._clock.now()
        with_rejected = (number for number, group in enumerate(groups, 1) if any(row.key in rejected for row in group))
        done = next(with_rejected, len(groups))
        rows = list(chain(*groups[:done]))
        created = {row.key: row for row in rows if row.key not in rejected}
        for row in created.values():
            self._observed.saw(row, now=now)
        existing = [row for row in rows if row.key in rejected]
        await self._taking.look_up([row.key for row in existing])
        await self._place_reset(existing)
        found = {row.key: found for row in existing if (found := self._observed.get(row.key)) is not None}
        return created | found, groups[done:]

    async def _place_reset(self, rows: Iterable[Row]) -> None:
        """Store the checkpoints of these rows where the table has a row without one."""
        found = [(row, stored) for row in rows if (stored := self._observed.get(row.key)) is not None]
        new = [
            replace(stored, counter=stored.counter + 1, checkpoint=row.checkpoint)
            for row, stored in found
            if stored.checkpoint is None and row.checkpoint is not None
        ]
        if new:
            await self._table.update(new)
            await self._taking.look_up([row.key for row in new])  # another worker may have been faster

    async def _delete_once(self, rows: Collection[Row]) -> None:
        rejected = await self._table.delete(rows)
        for row in rows:
            if row.key not in rejected:
                self._observed.deleted(row.key)
        await self._taking.look_up([row.key for row in rows if row.key in rejected])

    async def _take(self) -> None:
        """Take leases, as soon as this worker has written its own row.

        A worker that stops also writes its own row before it scans. So if one worker begins while another one stops, at
        least one of the two sees the other in its scan, and no lease waits for the next scan.
        """
        await self._messages.has_row.wait()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._taking.run)
            await self._messages.has_told_stop.wait()
            self._scanning.stop_is_told()

    def _status(self) -> dict[str, Detail]:
        in_hand = self._hands.in_hand.values()
        return {
            "label": self.owner.rpartition("/")[0],
            "leases": len(in_hand),
            "bytes_per_second": sum(one.rate.bytes_per_second for one in in_hand),
            "is_stopping": self._hands.is_stopping,
            "missing": self._missing(),
        }

    def _missing(self) -> dict[str, Detail]:
        """Return, for each limit without a unit here, for how many seconds an invocation has waited for a unit."""
        now, missing = self._clock.now(), [limit for limit, is_missing in self.missing.items() if is_missing()]
        self._missing_since = {limit: self._missing_since.get(limit, now) for limit in missing}
        return {limit: now - since for limit, since in self._missing_since.items()}

    def _details(self, one: InHand, now: float) -> dict[str, Detail]:
        details: dict[str, Detail] = {"bytes_per_second": one.rate.measure(now)}
        return details if one.lease is None else {**details, **one.lease.details}

    def _given(self, one: InHand) -> None:
        self._moving.given_away(one.held.row, one.promised_to)
