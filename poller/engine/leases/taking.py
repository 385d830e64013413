"""Which leases does the worker take, and when?

    a user begins to wait        look the lease up; take it if it is free and the worker has room for it
    another worker offers it     take it at once
    users want further leases    ask the workers for leases that have much more than this one
    each lease duration          scan the table; take free leases, ask other workers for leases, delete dead workers and
                                 units that no worker needs
    a silent lease expires       take it

Only leases that users wait for are taken. How many these are is decided in core/leases/balancing.py.

After a write without an answer, the worker takes nothing, and asks for nothing, until the table answers a write (R6).
So it writes its own row at once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from math import inf

import anyio

from poller.core.leases.expiry import Observed, is_drained
from poller.core.leases.holding import Held
from poller.core.leases.parents import is_readable, parents_of
from poller.core.leases.placement import prefix_of
from poller.core.leases.units import LimitName, beyond_limits, is_unit
from poller.engine.leases.hands import Hands
from poller.engine.leases.messages import MESSAGES_AT_ONCE, is_stopping
from poller.engine.leases.plan import Plan
from poller.engine.leases.table import Table
from poller.errors import ServiceError
from poller.facts import Emit, LeaseReceived, LeasesRequested, LeasesTaken, LostLeasesFound
from poller.facts.leases import NAMED
from poller.model.ids import FunctionName, MappingName
from poller.model.lease import Owner, Row, RowKey, paused_in
from poller.model.sharing import mapping_of

LOOK_AT_LEAVERS_EVERY_SECONDS = 1.0
"""How often a new worker scans while a worker stops that does not know it."""

TRIES = 3
"""How often the worker writes a take whose result is in doubt. Then it leaves the lease to the next scan."""

LOOK_AGAIN_IN_SECONDS = 0.25
"""How often a worker that takes nothing looks whether the table answers its writes again."""


class Taking:
    """Takes leases for the users that wait for them, and puts them into the worker's hands."""

    def __init__(
        self,
        owner: Owner,
        *,
        hands: Hands,
        observed: Observed,
        table: Table,
        lease_duration: float,
        functions: Mapping[MappingName, FunctionName],
        limits: Mapping[LimitName, int],
        request: Callable[[Owner, str], None],
        offer: Callable[[Owner, RowKey], None],
        beat: Callable[[], None],
        announce_stop: Callable[[Collection[Owner]], None],
        scanned: Callable[[Collection[Row]], None],
        emit: Emit,
    ) -> None:
        self._owner = owner
        self._hands = hands
        self._observed = observed
        self._table = table
        self._clock = table.clock
        self._emit = emit
        self._lease_duration = lease_duration
        self._functions = functions
        self._limits = limits
        self._request = request
        self._offer = offer
        self._beat = beat
        self._announce_stop = announce_stop
        self._tell_rows = scanned
        self._scan_at = self._looked_at = -inf
        self._offered: dict[RowKey, None] = {}
        self._offered_at: dict[RowKey, float] = {}
        """When this worker saw the offers of leases that it has not taken yet."""
        self._unused: set[RowKey] = set()
        """The leases that this worker has given away because nobody used them here. No other worker has them yet."""
        self._not_before: dict[RowKey, float] = {}
        """When this worker may take again the leases that it has given away."""
        self._asked: set[str] = set()
        """The prefixes of the leases that users have wanted when this worker last asked others for leases."""
        self._requests: set[tuple[str, Owner]] = set()
        """Requests of workers that this worker does not know yet."""
        self._stop_is_told = False
        self._leavers: frozenset[Owner] | None = None
        """The workers that were stopping at the first scan. They may not know this worker, and offer it nothing."""
        self._scans_begun = self._scans_done = 0
        self._scanned = anyio.Event()
        self._make_plan()

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
            await self._table.wait_for(self._hands.is_wanting, until=min(self._scan_at, expiry, look_again))

    async def run_once(self) -> None:
        """Take the leases that are offered; scan, if it is time to; take the free leases that users wait for."""
        await self._take_offered()
        if self._clock.now() >= self._scan_at:
            is_last = self._stop_is_told
            try:
                await self._scan()
            finally:
                if is_last:
                    self._hands.give_away()
        self._looked_at = self._clock.now()
        wanted = self._hands.wanted
        await self.look_up([key for key in wanted if self._observed.get(key) is None])
        await self._create_units([key for key in wanted if is_unit(key) and self._observed.get(key) is None])
        rows = [row for key in wanted if (row := self._observed.get(key)) is not None]
        self._hands.is_drained([row.key for row in rows if is_drained(row)])
        if not self._hands.is_stopping and self._table.answers_writes:
            await self._take(await self._readable(self._chosen()))
            if not self._asked.issuperset(map(prefix_of, self._hands.wanted)):
                self._ask()

    def offered(self, keys: Collection[RowKey]) -> None:
        """Note that another worker has given these leases away, and that this worker should take them."""
        if self._hands.is_stopping:
            self.offer(keys)
            return
        self._offered |= dict.fromkeys(keys)
        self._offered_at |= dict.fromkeys(keys, self._clock.now())
        if len(keys) >= MESSAGES_AT_ONCE:
            self._scan_at = -inf
        self._hands.is_wanting.set()

    def requested(self, prefix: str, asker: Owner) -> None:
        """Note that another worker asks for leases with this prefix.

        Let the users of the leases that should move finish.
        """
        if not self._plan.knows(asker):  # it has begun since the last scan
            self._requests.add((prefix, asker))
            self.scan_soon()
            return
        for key in self._plan.to_grant(prefix, asker):
            if key in self._hands.in_hand:
                self._hands.want_back(key, promised_to=asker)

    def offer(self, keys: Collection[RowKey]) -> None:
        """Offer leases without an owner to the workers where they belong."""
        if keys:
            self._make_plan()
        for key in keys:
            receiver = self._plan.place(key)
            if receiver is not None and receiver != self._owner:
                self._offer(receiver, key)

    def given_away(self, row: Row, promised_to: Owner | None) -> None:
        """Note that this worker has given a lease away, and offer it to the worker where it belongs.

        Then this worker leaves the lease to others for a while. A lease that nobody uses here gets a place at another
        worker, because its mapping may have been removed here. If it is used again soon, it comes back.
        The lease of a paused mapping is not offered: another worker may learn of the pause only by its next scan.
        """
        if is_drained(row):
            return
        receiver = promised_to or self._plan.place(row.key)
        if receiver in (None, self._owner):
            is_unused = row.key not in self._hands.wanted and mapping_of(row.key) not in self._hands.paused
            if is_unused and (receiver := self._plan.place_elsewhere(row.key)) is not None:
                self._unused.add(row.key)
                self._offer(receiver, row.key)
            return
        self._not_before[row.key] = self._clock.now() + self._lease_duration
        self._offer(receiver, row.key)
        if is_unit(row.key) and not self._hands.is_stopping:
            self._follow_units(receiver)

    def stop_is_told(self) -> None:
        """Note that the other workers have been told that this worker stops.

        After one more scan, it gives its leases away.
        """
        self._stop_is_told = True
        self.scan_soon()

    def scan_soon(self) -> None:
        """Let the worker scan the table at once."""
        self._scan_at = -inf
        self._hands.is_wanting.set()

    async def scan(self) -> None:
        """Let the worker scan the table, and wait until it has succeeded."""
        begun = self._scans_begun
        self.scan_soon()
        while self._scans_done <= begun:
            await self._scanned.wait()

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

    async def _scan(self) -> None:
        self._scans_begun += 1
        number, began = self._scans_begun, self._clock.now()
        self._scan_at = began + self._lease_duration  # somebody may ask for another scan meanwhile
        try:
            rows = await self._table.scan()
        except ServiceError:
            self._scan_at = -inf
            raise
        now = self._clock.now()
        self._observed.scanned(rows, now=now)
        self._hands.paused = paused_in(row.key for row in rows)
        self._tell_rows(rows)
        self._not_before = {key: at for key, at in self._not_before.items() if at > now}
        self._scans_done = number
        self._scanned.set()
        self._scanned = anyio.Event()
        self._make_plan()
        self._look_at_leavers(began)
        self._hands.drained_here &= {row.key for row in rows}
        self._find_lost()
        self._offered_at = {key: at for key, at in self._offered_at.items() if now - at < self._lease_duration}
        self._unused = {key for key in self._unused if (row := self._observed.get(key)) is not None and not row.owner}
        if not self._hands.is_stopping:
            if self._table.answers_writes:
                self._ask()
            self._follow_units()
        elif self._stop_is_told:
            self._announce_stop(self._plan.workers)
        self._answer_requests()
        if unneeded := [*self._observed.dead_workers(), *beyond_limits(self._observed.leases(), self._limits)]:
            await self._table.delete(unneeded)

    def _ask(self) -> None:
        """Ask other workers for leases that should move here (R8)."""
        self._asked = {prefix_of(key) for key in self._hands.wanted}
        moves = self._plan.to_request(self._asked)
        for giver, prefix in sorted({(move.giver, prefix_of(move.key)) for move in moves}):
            self._request(giver, prefix)
        if moves:
            self._emit(LeasesRequested(len(moves)))

    def _follow_units(self, receiver: Owner | None = None) -> None:
        """Give away the shards whose function has no unit here (R10), to the receiver of the last unit."""
        for key in self._plan.without_unit(self._hands.in_hand):
            self._hands.want_back(key, promised_to=receiver or self._plan.place(key))

    def _answer_requests(self) -> None:
        """Answer the requests of workers that this worker did not know before the scan."""
        requests, self._requests = self._requests, set()
        for prefix, asker in sorted(requests):
            if self._plan.knows(asker):
                self.requested(prefix, asker)

    def _look_at_leavers(self, began: float) -> None:
        """Scan soon again while a worker stops that may not know this worker."""
        live = self._observed.live_workers()
        if self._leavers is None:
            self._leavers = frozenset(owner for owner, row in live.items() if is_stopping(row))
        if not self._leavers.isdisjoint(live):
            self._scan_at = min(self._scan_at, began + LOOK_AT_LEAVERS_EVERY_SECONDS)

    def _find_lost(self) -> None:
        """Report which workers have the leases that this worker has lost."""
        found: defaultdict[Owner, list[RowKey]] = defaultdict(list)
        for key in sorted(self._hands.lost):
            row = self._observed.get(key)
            if row is None:
                self._hands.lost.discard(key)
            elif row.owner is not None and row.owner != self._owner:
                found[row.owner].append(key)
        for owner, keys in found.items():
            self._hands.lost.difference_update(keys)
            self._emit(LostLeasesFound(owner, len(keys), tuple(keys[:NAMED])))

    async def _take_offered(self) -> None:
        if not self._table.answers_writes:
            return
        offered, self._offered = self._offered, {}
        waiting = self._hands.wanted
        wanted = [key for key in offered if key in waiting]
        if not wanted or self._hands.is_stopping:
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
        taking = [Held(row, self._owner, lease_duration=self._lease_duration) for row in rows]
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
            if (offered_at := self._offered_at.pop(held.key, None)) is not None:
                self._emit(LeaseReceived(held.key, now - offered_at))
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

    def _chosen(self) -> list[Row]:
        """Return the free leases that this worker should take."""
        now, held = self._clock.now(), self._hands.in_hand
        wanted = {key: since for key, since in self._hands.wanted.items() if self._not_before.get(key, now) <= now}
        rows = [row for key in wanted if (row := self._observed.get(key)) is not None]
        free = [row for row in rows if self._observed.may_take(row.key, now=now, held=held)]
        unplaced = [row for row in free if self._plan.place(row.key) in (None, row.owner)]
        if unplaced and not self._plan.add(unplaced):
            self._make_plan()  # for example, the owner of a lease has died since the last plan
        own_children = {row.key for row in free if self._hands.drained_here.intersection(parents_of(row))}
        unused = {row.key for row in free if row.key in self._unused}
        chosen = own_children.union(unused, self._plan.to_take(wanted, now=now, held=held))
        return [row for row in rows if row.key in chosen]

    async def _readable(self, rows: list[Row]) -> list[Row]:
        """Return the leases that a user can use now (R9). A scan may have missed a parent, so its row is read."""
        parents = dict.fromkeys(each for row in rows for each in parents_of(row))
        await self.look_up([each for each in parents if self._observed.get(each) is None])
        return [row for row in rows if is_readable(row, self._observed)]

    def _make_plan(self) -> None:
        hands = self._hands
        self._plan = Plan(self._observed, functions=self._functions, moving=hands.moving, is_stopping=hands.is_stopping)
