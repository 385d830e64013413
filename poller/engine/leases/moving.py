"""Which leases should come to this worker, and which should go to others? It does what its plan says (`plan.py`).

after each scan              make a new plan; ask the workers that have much more than this one for leases (R8), and
                             give away the shards whose function has no unit here (R10)
a user begins to wait        ask for leases of its stream, unless this worker has done so since the last scan
another worker asks          let the users of the leases that should move finish (R8)
a lease was given away       offer it to the worker where it has its place (R7)
an offer cannot arrive       make a new plan, and offer the lease to another worker
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from poller.core.leases.expiry import Observed, is_drained
from poller.core.leases.parents import parents_of
from poller.core.leases.placement import prefix_of
from poller.core.leases.units import is_unit
from poller.engine.leases.hands import Hands
from poller.engine.leases.plan import Plan
from poller.facts import Emit, LeaseReceived, LeasesRequested
from poller.model.ids import FunctionName, MappingName
from poller.model.lease import Owner, Row, RowKey
from poller.model.sharing import mapping_of
from poller.ports import MonotonicClock


class Moving:
    """Moves leases between this worker and the others. `request` and `offer` send messages to other workers."""

    def __init__(
        self,
        hands: Hands,
        *,
        observed: Observed,
        clock: MonotonicClock,
        functions: Mapping[MappingName, FunctionName],
        request: Callable[[Owner, str], None],
        offer: Callable[[Owner, RowKey], None],
        scan_soon: Callable[[], None],
        emit: Emit,
    ) -> None:
        self._hands = hands
        self._observed = observed
        self._clock = clock
        self._functions = functions
        self._request = request
        self._offer = offer
        self._scan_soon = scan_soon
        self._emit = emit
        self._asked: set[str] = set()
        """The prefixes of the leases that users wanted when this worker last asked others for leases."""
        self._requests: set[tuple[str, Owner]] = set()
        """Requests of workers that this worker does not know yet."""
        self._offered_at: dict[RowKey, float] = {}
        """When this worker saw the offers of leases that it has not taken yet."""
        self._unused: set[RowKey] = set()
        """The leases that this worker has given away because nobody used them here. No other worker has them yet."""
        self._not_before: dict[RowKey, float] = {}
        """When this worker may take again the leases that it has given away."""
        self._make_plan()

    @property
    def receivers(self) -> tuple[Owner, ...]:
        """Return the workers that may get leases: they were live when the plan was made, and do not stop."""
        return self._plan.workers

    def scanned(self, now: float) -> None:
        """Make a new plan, and forget the notes that do not hold any more."""
        duration = self._observed.lease_duration
        self._not_before = {key: at for key, at in self._not_before.items() if at > now}
        self._offered_at = {key: at for key, at in self._offered_at.items() if now - at < duration}
        self._unused = {key for key in self._unused if (row := self._observed.get(key)) is not None and not row.owner}
        self._make_plan()

    def follow_plan(self, *, may_ask: bool) -> None:
        """Ask for leases, give leases away, and answer requests, as the new plan says."""
        if not self._hands.is_stopping:
            if may_ask:
                self._ask()
            self._follow_units()
        self._answer_requests()

    def to_take(self) -> list[Row]:
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

    def ask_for_new(self) -> None:
        """Ask for leases if users want some of a stream or limit for which this worker has not asked yet."""
        if not self._asked.issuperset(map(prefix_of, self._hands.wanted)):
            self._ask()

    def requested(self, prefix: str, asker: Owner) -> None:
        """Note that another worker asks for leases with this prefix.

        Let the users of the leases that should move finish.
        """
        if not self._plan.knows(asker):  # the asker has begun since the last scan
            self._requests.add((prefix, asker))
            self._scan_soon()
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
            if receiver is not None and receiver != self._observed.owner:
                self._offer(receiver, key)

    def given_away(self, row: Row, promised_to: Owner | None) -> None:
        """Note that this worker has given a lease away, and offer it to the worker where it belongs.

        If it belongs to another worker, this worker does not take it again for a lease duration.
        If it belongs here, but no user wants it, the mapping may have been removed here. Then the lease gets a place at
        another worker. If a user wants it before that worker has taken it, this worker takes it again.
        If its mapping is paused, it is not offered then: another worker may learn of the pause only by its next scan.
        """
        if is_drained(row):
            return
        receiver = promised_to or self._plan.place(row.key)
        if receiver in (None, self._observed.owner):
            is_unused = row.key not in self._hands.wanted and mapping_of(row.key) not in self._hands.paused
            if is_unused and (receiver := self._plan.place_elsewhere(row.key)) is not None:
                self._unused.add(row.key)
                self._offer(receiver, row.key)
            return
        self._not_before[row.key] = self._clock.now() + self._observed.lease_duration
        self._offer(receiver, row.key)
        if is_unit(row.key) and not self._hands.is_stopping:
            self._follow_units(receiver)

    def offered(self, keys: Collection[RowKey]) -> None:
        """Note when other workers have offered these leases to this worker."""
        self._offered_at |= dict.fromkeys(keys, self._clock.now())

    def received(self, key: RowKey, now: float) -> None:
        """Note that this worker has taken a lease. If it was offered, report how long the take has lasted."""
        if (offered_at := self._offered_at.pop(key, None)) is not None:
            self._emit(LeaseReceived(key, now - offered_at))

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

    def _make_plan(self) -> None:
        hands = self._hands
        self._plan = Plan(self._observed, functions=self._functions, moving=hands.moving, is_stopping=hands.is_stopping)
