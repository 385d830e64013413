"""Which leases does the worker take, and when?

    a user begins to wait        look the lease up; take it if it is free and the worker has room for it
    another worker offers it     take it at once
    each scan (`scanning.py`)    take the free leases whose place is here (`moving.py`)
    a lease expires              take it: its owner has not renewed it for the lease duration

A lease is taken only if a user waits for it, and if its shard need not wait for a parent (R9).

After a write without an answer, the worker takes nothing, and asks for nothing, until the table answers a write (R6).
So it writes its own row at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from math import inf

import anyio

from poller.core.leases.expiry import Observed, is_drained
from poller.core.leases.holding import Held
from poller.core.leases.lost_rows import rows_to_create, still_lost
from poller.core.leases.parents import is_readable, parents_of
from poller.core.leases.units import is_unit
from poller.engine.leases.hands import Hands
from poller.engine.leases.messages import MESSAGES_AT_ONCE
from poller.engine.leases.moving import Moving
from poller.engine.leases.scanning import Scanning
from poller.engine.leases.table import Table
from poller.errors import ServiceError
from poller.facts import Emit, LeasesTaken, LostLeaseRowsCreated
from poller.facts.leases import NAMED
from poller.model.lease import Row, RowKey

TRIES = 3
"""How many times the worker writes a take whose result stays in doubt. Then the lease waits for the next scan."""

LOOK_AGAIN_IN_SECONDS = 0.25
"""After this time, a worker that takes nothing looks again whether the table answers its writes."""


class Taking:
    """Takes leases for the users that wait for them, and puts them into the worker's hands."""

    def __init__(
        self,
        hands: Hands,
        *,
        observed: Observed,
        table: Table,
        scanning: Scanning,
        moving: Moving,
        beat: Callable[[], None],
        emit: Emit,
    ) -> None:
        self._hands = hands
        self._observed = observed
        self._table = table
        self._clock = table.clock
        self._scanning = scanning
        self._moving = moving
        self._beat = beat
        self._emit = emit
        self._looked_at = -inf
        """When the worker last looked for leases to take."""
        self._offered: dict[RowKey, None] = {}
        """The leases that other workers have offered, and that this worker has not looked up yet."""

    async def run(self) -> None:
        """Scan and take again and again, until cancelled."""
        while True:
            self._hands.is_wanting = anyio.Event()
            try:
                await self.run_once()
            except ServiceError as error:
                await self._table.pause("take leases", error)
                continue
            self._table.health.succeeded("take leases")
            expiry = self._observed.next_expiry(self._hands.wanted, now=self._looked_at) or inf
            look_again = inf if self._table.answers_writes else self._clock.now() + LOOK_AGAIN_IN_SECONDS
            await self._table.wait_for(self._hands.is_wanting, until=min(self._scanning.next_at, expiry, look_again))

    async def run_once(self) -> None:
        """Take the leases that are offered; scan, if it is time to; take the free leases that users wait for."""
        await self._take_offered()
        await self._scanning.scan_if_due()
        self._looked_at = self._clock.now()
        wanted = self._hands.wanted
        await self.look_up([key for key in wanted if self._observed.get(key) is None])
        await self._create_units([key for key in wanted if is_unit(key) and self._observed.get(key) is None])
        await self._create_lost(wanted)
        rows = [row for key in wanted if (row := self._observed.get(key)) is not None]
        self._hands.is_drained([row.key for row in rows if is_drained(row)])
        if not self._hands.is_stopping and self._table.answers_writes:
            await self._take(await self._readable(self._moving.to_take()))
            self._moving.ask_for_new()

    def offered(self, keys: Collection[RowKey]) -> None:
        """Note that another worker has given these leases away, and that this worker should take them."""
        if self._hands.is_stopping:
            self._moving.offer(keys)
            return
        self._offered |= dict.fromkeys(keys)
        self._moving.offered(keys)
        if len(keys) >= MESSAGES_AT_ONCE:
            self._scanning.scan_soon()
        self._hands.is_wanting.set()

    async def look_up(self, keys: Collection[RowKey]) -> None:
        """Read these rows, so that the worker knows how they are now."""
        if not keys:
            return
        rows = await self._table.read(keys)
        now = self._clock.now()
        for key in keys:
            if (row := rows.get(key)) is None:
                self._observed.missed(key)
            else:
                self._observed.saw(row, now=now)

    async def _create_units(self, keys: Collection[RowKey]) -> None:
        """Create units that are missing: a worker with a smaller limit has deleted them while they had no owner."""
        if keys:
            await self._table.create([Row(key=key) for key in keys])
            await self.look_up(keys)

    async def _create_lost(self, wanted: Collection[RowKey]) -> None:
        """Create rows again that the table has lost, although users need them (R3)."""
        if not self._observed.lost:
            return
        created: list[RowKey] = []
        paused = self._hands.paused
        run_since = {mapping: since for mapping, since in self._hands.run_since.items() if mapping not in paused}
        for rows in rows_to_create(self._observed, wanted=wanted, run_since=run_since):
            rejected = await self._table.create(rows)  # another worker may have been faster
            created += [row.key for row in rows if row.key not in rejected]
            await self.look_up([row.key for row in rows])
        self._observed.forget_lost(but=still_lost(self._observed, run_since=run_since))
        if created:
            self._emit(LostLeaseRowsCreated(len(created), tuple(created[:NAMED])))

    async def _take_offered(self) -> None:
        if not (self._table.answers_writes or self._hands.is_stopping):
            return
        offered, self._offered = self._offered, {}
        if self._hands.is_stopping:
            self._moving.offer(offered)
            return
        waiting = self._hands.wanted
        wanted = [key for key in offered if key in waiting]
        if not wanted:
            return
        try:
            await self.look_up(wanted)
            now = self._clock.now()
            free = [key for key in wanted if self._observed.may_take(key, now=now, held=self._hands.in_hand)]
            await self._take(await self._readable([row for key in free if (row := self._observed.get(key))]))
        except ServiceError:
            self._offered |= dict.fromkeys(wanted)
            raise

    async def _take(self, rows: Iterable[Row]) -> None:
        observed = self._observed
        taking = [Held(row, observed.owner, lease_duration=observed.lease_duration) for row in rows]
        for _ in range(TRIES):
            if not taking:
                break
            taking, failure = await self._try_to_take(taking)
            if failure is not None:
                raise failure

    async def _try_to_take(self, taking: list[Held]) -> tuple[list[Held], ServiceError | None]:
        """Write the takes. Return those that are worth another write, and the error of the write if it failed."""
        now = self._clock.now()
        rows = [held.take(now) for held in taking]
        failure: ServiceError | None = None
        rejected: Collection[RowKey]
        try:
            rejected = await self._table.update(rows)
        except ServiceError as error:
            failure, rejected = error, {held.key for held in taking}
            if not self._table.answers_writes:
                self._beat()  # the answer shows whether this worker can hold the leases if it takes them again
        now = self._clock.now()
        in_doubt = [held for held in taking if held.key in rejected]
        accepted = [held for held in taking if held.key not in rejected]
        for held in accepted:
            held.accepted(now)
            self._observed.saw(held.row, now=now)
        taken = [held for held in accepted if held.end(now) is None]
        for held in taken:
            self._hands.took(held)
        if taken:
            self._emit(LeasesTaken(len(taken), tuple(held.key for held in taken[:NAMED])))
        for held in taken:
            self._moving.received(held.key, now)
        if not in_doubt:
            return [], None
        found = await self._table.read([held.key for held in in_doubt])
        now = self._clock.now()
        for held in in_doubt:
            held.found(row := found.get(held.key), now)
            if row is None:
                self._observed.missed(held.key)
            else:
                self._observed.saw(row, now=now)
        return [held for held in in_doubt if held.end(now) is None], failure

    async def _readable(self, rows: list[Row]) -> list[Row]:
        """Return the leases that a user can use now (R9). A scan may have missed a parent, so its row is read."""
        parents = dict.fromkeys(each for row in rows for each in parents_of(row))
        await self.look_up([each for each in parents if self._observed.get(each) is None])
        return [row for row in rows if is_readable(row, self._observed)]
