"""When does the worker write its leases? All together at each renewal. Between renewals, it writes new checkpoints.

    every third of the lease duration    renew each lease that was not written lately
    every `save_every_seconds`           store the checkpoints that have moved; this also renews these leases
    at once                              give away a lease that nobody uses any more, and store a checkpoint that a user
                                         waits for

One call writes many leases, and only one call is under way.
If the table rejects a write or does not answer, the worker reads the rows, and writes again those that are its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf

import anyio

from poller.core.leases.expiry import RENEWALS_PER_DURATION, Observed, is_drained
from poller.engine.leases.hands import Hands, InHand, named
from poller.engine.leases.table import Table
from poller.errors import ServiceError
from poller.facts import Emit, LeasesGivenAway, LeasesLost, LeasesRenewedLate
from poller.model.lease import Detail

ROWS_A_CALL = 1_000
"""How many rows one call writes at most."""


class Writing:
    """Writes the leases in hand.

    `details` returns what the row of a lease should tell; `given` is called for each lease that was given away.
    """

    def __init__(
        self,
        hands: Hands,
        *,
        observed: Observed,
        table: Table,
        lease_duration: float,
        save_every_seconds: float,
        details: Callable[[InHand, float], dict[str, Detail]],
        given: Callable[[InHand], None],
        emit: Emit,
    ) -> None:
        self._hands = hands
        self._observed = observed
        self._table = table
        self._clock = table.clock
        self._emit = emit
        self._renewal_interval = lease_duration / RENEWALS_PER_DURATION
        self._save_every_seconds = save_every_seconds
        self._details = details
        self._given = given
        self._renew_at = self._save_at = -inf
        self._give_at = inf
        """When the next lease that nobody uses should be given away."""
        self._in_doubt: list[InHand] = []
        """The leases whose last write was rejected, or has no answer."""
        self._own_again: set[InHand] = set()
        """The leases whose rows were read after such a write. They are written again at once."""

    async def run(self) -> None:
        """Write the leases in hand again and again, until cancelled."""
        while True:
            self._hands.is_urgent = anyio.Event()
            try:
                await self.run_once()
            except ServiceError as error:
                self._renew_at = self._save_at = -inf
                await self._table.pause("renew leases", error)
                continue
            if not self._hands.in_hand:  # nothing can be renewed; other work shows whether the table fails
                self._table.health.succeeded("renew leases")
            if not (self._in_doubt or self._own_again):
                until = min(self._renew_at, self._save_at, self._give_at)
                await self._table.wait_for(self._hands.is_urgent, until=until)

    async def run_once(self) -> None:
        """Read the rows of the leases whose last write has no known result; then write all leases that are due."""
        await self._read_those_in_doubt()
        due = self._due(self._clock.now())
        for start in range(0, len(due), ROWS_A_CALL):
            await self._write(due[start : start + ROWS_A_CALL])

    async def _read_those_in_doubt(self) -> None:
        if not self._in_doubt:
            return
        rows = await self._table.read([one.held.key for one in self._in_doubt])
        now, in_doubt = self._clock.now(), self._in_doubt
        self._in_doubt = []
        for one in in_doubt:
            row = rows.get(one.held.key)
            one.held.found(row, now)
            if row is None:
                self._observed.missed(one.held.key)
            else:
                self._observed.saw(row, now=now)
            self._own_again.add(one)
        self._settle(in_doubt, now)

    def _due(self, now: float) -> list[InHand]:
        horizon = -inf
        if now >= self._renew_at:  # leases that are due soon are renewed with these
            self._renew_at, horizon = now + self._renewal_interval, now + self._renewal_interval / 2
        saves = now >= self._save_at
        if saves:
            self._save_at = now + self._save_every_seconds
        in_hand = self._hands.in_hand.values()
        due = [one for one in in_hand if self._is_due(one, now, horizon, saves=saves)]
        self._give_at = min((one.goes_at for one in in_hand if one.lease is None and one.goes_at > now), default=inf)
        self._own_again.clear()
        return due

    def _is_due(self, one: InHand, now: float, horizon: float, *, saves: bool) -> bool:
        if one.held.is_writing:
            return False
        if one.is_hurried or one in self._own_again or self._hands.may_go(one, now):
            return True
        return one.held.renew_at <= horizon or (saves and not one.held.is_stored)

    def _goes(self, one: InHand, now: float) -> bool:
        """Return whether the lease should be given away now.

        After the first try, the lease cannot be renewed any more.
        """
        return one.held.is_given or self._hands.may_go(one, now)

    async def _write(self, due: Sequence[InHand]) -> None:
        now = self._clock.now()
        holding = [one for one in due if one.held.end(now) is None]
        self._settle([one for one in due if one.held.end(now) is not None], now)
        for one in holding:
            one.held.note(self._details(one, now))
            one.is_hurried = False
        rows = [one.held.give_away(now) if self._goes(one, now) else one.held.renewal(now) for one in holding]
        self._in_doubt += holding
        if not rows:
            return
        rejected = await self._table.update(rows)
        self._table.health.succeeded("renew leases")
        now = self._clock.now()
        accepted = [one for one in holding if one.held.key not in rejected]
        known = set(accepted)
        self._in_doubt = [one for one in self._in_doubt if one not in known]
        late = [one.held.deadline - now for one in accepted if one.held.deadline is not None and one.held.is_late(now)]
        if late:
            self._emit(LeasesRenewedLate(len(late), max(0.0, min(late))))
        for one in accepted:
            one.held.accepted(now)
            self._observed.saw(one.held.row, now=now)
            if is_drained(one.held.row):
                self._hands.drained_here.add(one.held.key)
        self._settle(accepted, now)

    def _settle(self, written: Sequence[InHand], now: float) -> None:
        """Handle the result of a write: tell the users, or take the leases out of the hands."""
        given, lost = list[InHand](), list[InHand]()
        for one in written:
            end = one.held.end(now)
            if self._hands.in_hand.get(one.held.key) is not one:
                continue  # its deadline has passed meanwhile (deadlines.py)
            if end is None:
                for lease in one.users:
                    lease.written()
                continue
            if end == "given away":
                self._hands.drop(one)
                given.append(one)
                self._given(one)
            else:
                self._hands.lose(one)
                lost.append(one)
        if given:
            self._emit(LeasesGivenAway(len(given), named(given)))
        if lost:
            self._emit(LeasesLost(len(lost), named(lost)))
