"""When does the worker scan the table, and what does it do with the rows?

    each lease duration        to see which workers live, and which leases are free
    each second                while a worker lives that began to stop before this worker's first scan: it may not know
                               this worker, and would offer it nothing
    at once                    for example when a new worker asks for leases, when many are offered, and at a stop

After each scan, the worker makes a new plan, and follows it (`moving.py`). It also reports which workers have the
leases that it has lost, and deletes the rows of dead workers and of units that no worker needs.
A worker that stops scans once more, and then announces its stop to the workers that live now.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from math import inf

import anyio

from poller.core.leases.expiry import Observed
from poller.core.leases.units import LimitName, beyond_limits
from poller.engine.leases.hands import Hands
from poller.engine.leases.messages import is_stopping
from poller.engine.leases.moving import Moving
from poller.engine.leases.table import Table
from poller.errors import ServiceError
from poller.facts import Emit, LostLeasesFound
from poller.facts.leases import NAMED
from poller.model.lease import Owner, Row, RowKey, paused_in

LOOK_AT_LEAVERS_EVERY_SECONDS = 1.0
"""How often a new worker scans while an older worker stops, because the older one may not know the new one."""


class Scanning:
    """Scans the table. `scanned` gets the rows of each scan, and `announce_stop` tells other workers of the stop."""

    def __init__(
        self,
        hands: Hands,
        *,
        observed: Observed,
        table: Table,
        moving: Moving,
        limits: Mapping[LimitName, int],
        announce_stop: Callable[[Collection[Owner]], None],
        scanned: Callable[[Collection[Row]], None],
        emit: Emit,
    ) -> None:
        self._hands = hands
        self._observed = observed
        self._table = table
        self._clock = table.clock
        self._moving = moving
        self._limits = limits
        self._announce_stop = announce_stop
        self._tell_rows = scanned
        self._emit = emit
        self.next_at = -inf
        """When the next scan is due."""
        self._stop_is_told = False
        self._leavers: frozenset[Owner] | None = None
        """The workers that were stopping at the first scan. They may not know this worker, and offer it nothing."""
        self._scans_begun = self._scans_done = 0
        self._scanned = anyio.Event()

    async def scan_if_due(self) -> None:
        """Scan the table, if it is time to."""
        if self._clock.now() < self.next_at:
            return
        is_last = self._stop_is_told
        try:
            await self._scan()
        finally:
            if is_last:
                self._hands.give_away()

    async def scan(self) -> None:
        """Let the worker scan the table, and wait until it has succeeded."""
        begun = self._scans_begun
        self.scan_soon()
        while self._scans_done <= begun:
            await self._scanned.wait()

    def scan_soon(self) -> None:
        """Let the worker scan the table at once."""
        self.next_at = -inf
        self._hands.is_wanting.set()

    def stop_is_told(self) -> None:
        """Note that the other workers have been told that this worker stops.

        After one more scan, it gives its leases away.
        """
        self._stop_is_told = True
        self.scan_soon()

    async def _scan(self) -> None:
        self._scans_begun += 1
        number, began = self._scans_begun, self._clock.now()
        self.next_at = began + self._observed.lease_duration  # somebody may ask for another scan meanwhile
        try:
            rows = await self._table.scan()
        except ServiceError:
            self.next_at = -inf
            raise
        now = self._clock.now()
        self._observed.scanned(rows, now=now)
        self._hands.paused = paused_in(row.key for row in rows)
        self._tell_rows(rows)
        self._scans_done = number
        self._scanned.set()
        self._scanned = anyio.Event()
        self._moving.scanned(now)
        self._look_at_leavers(began)
        self._hands.drained_here &= {row.key for row in rows}
        self._find_lost()
        if self._hands.is_stopping and self._stop_is_told:
            self._announce_stop(self._moving.receivers)
        self._moving.follow_plan(may_ask=self._table.answers_writes)
        if unneeded := [*self._observed.dead_workers(), *beyond_limits(self._observed.leases(), self._limits)]:
            await self._table.delete(unneeded)

    def _look_at_leavers(self, began: float) -> None:
        """Scan soon again while a worker lives that was stopping at the first scan: it may not know this worker."""
        live = self._observed.live_workers()
        if self._leavers is None:
            self._leavers = frozenset(owner for owner, row in live.items() if is_stopping(row))
        if not self._leavers.isdisjoint(live):
            self.next_at = min(self.next_at, began + LOOK_AT_LEAVERS_EVERY_SECONDS)

    def _find_lost(self) -> None:
        """Report which workers have the leases that this worker has lost."""
        found: defaultdict[Owner, list[RowKey]] = defaultdict(list)
        for key in sorted(self._hands.lost):
            row = self._observed.get(key)
            if row is None:
                self._hands.lost.discard(key)
            elif row.owner is not None and row.owner != self._observed.owner:
                found[row.owner].append(key)
        for owner, keys in found.items():
            self._hands.lost.difference_update(keys)
            self._emit(LostLeasesFound(owner, len(keys), tuple(keys[:NAMED])))
