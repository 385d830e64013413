"""Which leases are in the worker's hands, and who uses them?

    a user waits ── the worker takes the lease ──> the user has it ── the user leaves ──┬─> the next user has it
                                                          │                             └─> nobody comes: given away
                                                          └── the lease is lost ──> the user's scope is cancelled

A lease has one user at a time. Several users may wait for it, because two runs of one mapping may follow each other.
During a reload, both runs are open. When the old run leaves a lease, the worker keeps it for KEPT_IN_SECONDS, so that
the new run can get it.
While invocations of a user that leaves still run, the next user of this process may have the lease, too, if it divides
the shard into the same number of lanes. Then both use what the first one has left. The lease is given away only after
both have left. If it is lost, both are cancelled.
A lease that another worker wants is given away at once, and not to the next user of this process. The same holds for
all leases at a stop.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from math import inf

import anyio

from poller.core.leases.holding import Held
from poller.engine.leases.lease import Block, Lease, Left
from poller.engine.leases.rate import Rate
from poller.facts.leases import NAMED
from poller.model.ids import MappingName
from poller.model.lease import Owner, RowKey
from poller.model.sharing import mapping_of
from poller.model.stream import SequenceNumber
from poller.ports import MonotonicClock

KEPT_IN_SECONDS = 1.0
"""How long a worker keeps a lease for the next run of its mapping. This run first has to list the shards."""


class Waiter:
    """A user that waits for a lease, and then has it. `lease` is None if another worker has drained the shard."""

    def __init__(self, key: RowKey, lanes: int, since: float) -> None:
        self.key = key
        self.lanes = lanes
        self.since = since
        self.came = anyio.Event()
        self.lease: Lease | None = None


@dataclass(eq=False, slots=True)
class InHand:
    """A lease that the worker holds. Without a user it is given away at `goes_at`, or earlier at a stop.

    `is_leaving` is true if no other user of this process may get it. `promised_to` is the worker that has asked for it.
    """

    held: Held
    rate: Rate
    lease: Lease | None = None
    finishing: list[Lease] = field(default_factory=list)
    """The users whose invocations still run, although a later user has or had the lease."""
    left: Left | None = None
    """The records in hand of the last user. The next user may have them only while invocations of the lease run."""
    is_leaving: bool = False
    promised_to: Owner | None = None
    goes_at: float = inf
    blocks: dict[SequenceNumber | None, Block] | None = None
    """The blocks that the last user has left, which the row may not have yet."""
    is_hurried: bool = False
    """Whether the lease should be written at once."""

    @property
    def users(self) -> list[Lease]:
        return self.finishing if self.lease is None else [*self.finishing, self.lease]

    def tell_users(self) -> None:
        """Tell each user whether a later user has the lease, too."""
        for lease in self.users:
            lease.has_later_user = lease is not self.users[-1]

    @property
    def is_used(self) -> bool:
        return self.lease is not None or bool(self.finishing)

    def may_be_given_to(self, waiter: Waiter) -> bool:
        """Return whether nobody uses the lease, or the waiter can share it with those whose invocations still run."""
        return not self.is_used or (self.left is not None and self.left.lane_count == waiter.lanes)


class Hands:
    """The leases of one worker, and the users that wait for leases."""

    def __init__(self, clock: MonotonicClock) -> None:
        self.is_stopping = False
        self.may_give_away = True
        """False at a stop, until this worker has seen which other workers live now."""
        self.paused: frozenset[MappingName] = frozenset()
        """The paused mappings that this worker knows. Other workers may not know the pauses yet.

        So this worker does not offer the leases of these mappings."""
        self.in_hand: dict[RowKey, InHand] = {}
        self.is_wanting = anyio.Event()
        """Set when a user wants a lease that is not in hand, and at each other reason to look for leases.

        The task that waits for this event replaces it with a new one."""
        self.is_urgent = anyio.Event()
        """Set when a lease should be written at once. The task that waits for this event replaces it with a new one."""
        self.is_empty = anyio.Event()
        """Set while no lease is in hand."""
        self.is_empty.set()
        self.lost: set[RowKey] = set()
        """The leases that this worker has lost. It does not know yet which worker has them now."""
        self.drained_here: set[RowKey] = set()
        """The shards that this worker has drained. It takes their children at once, before other workers know them."""
        self.open_runs: Counter[str] = Counter()
        """How many runs of each mapping are open."""
        self.run_since: dict[str, float] = {}
        """Since when at least one run of each mapping has been open, for the mappings that have one."""
        self._clock = clock
        self._waiting: dict[RowKey, deque[Waiter]] = {}

    @property
    def wanted(self) -> dict[RowKey, float]:
        """Return the leases that users wait for and that are not in hand, with the time since which they wait."""
        return {key: waiting[0].since for key, waiting in self._waiting.items() if key not in self.in_hand}

    @property
    def moving(self) -> dict[RowKey, Owner]:
        """Return the leases in hand that other workers will get, with these workers."""
        return {key: one.promised_to for key, one in self.in_hand.items() if one.promised_to is not None}

    def wait_for(self, key: RowKey, *, lanes: int = 1) -> Waiter:
        """Let a user wait for the lease. The user divides the shard into `lanes`, and must call `leave` in the end."""
        waiter = Waiter(key, lanes, self._clock.now())
        self._waiting.setdefault(key, deque()).append(waiter)
        if (one := self.in_hand.get(key)) is None:
            self.is_wanting.set()
        else:
            self._pass_on(one)
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """Note that the user has left, with or without the lease."""
        waiting = self._waiting.get(waiter.key, deque())
        if waiter in waiting:
            waiting.remove(waiter)
            if not waiting:
                del self._waiting[waiter.key]
        one = self.in_hand.get(waiter.key)
        if one is None or waiter.lease is None:
            return
        if one.lease is waiter.lease:
            one.held.note(waiter.lease.details)
            one.lease, one.blocks = None, waiter.lease.blocks
        elif waiter.lease in one.finishing:
            one.finishing.remove(waiter.lease)
            one.held.note({"blocked": waiter.lease.details["blocked"]})  # its last invocation may have failed just now
        else:
            return  # the lease was lost, and this worker has taken it again
        one.tell_users()
        self._pass_on(one)

    def took(self, held: Held) -> None:
        """Put a lease into the hands, and give it to the first user that waits for it."""
        assert held.key not in self.in_hand, f"{held.key} is in hand already"
        one = self.in_hand[held.key] = InHand(held, Rate(held.row, self._clock.now()))
        self.is_empty = anyio.Event()
        self.lost.discard(held.key)
        self._pass_on(one)

    def drop(self, one: InHand) -> None:
        """Take a lease out of the hands, because it is lost or was given away."""
        del self.in_hand[one.held.key]
        if not self.in_hand:
            self.is_empty.set()
        for lease in one.users:
            lease.lose()
        if one.held.key in self._waiting:
            self.is_wanting.set()

    def lose(self, one: InHand) -> None:
        """Take a lease out of the hands, because it is lost."""
        self.lost.add(one.held.key)
        self.drop(one)

    def is_drained(self, keys: Iterable[RowKey]) -> None:
        """End the wait of all users of these shards, because other workers have drained the shards."""
        for key in keys:
            for waiter in self._waiting.pop(key, ()):
                waiter.came.set()

    def want_back(self, key: RowKey, *, promised_to: Owner | None) -> None:
        """Let the user of a lease finish what is in hand, because another worker wants the lease.

        Without a user, let the lease go.
        """
        one = self.in_hand[key]
        one.promised_to = promised_to
        one.is_leaving = True
        if one.lease is not None:
            one.lease.is_wanted_back.set()
        self._pass_on(one)

    def may_go(self, one: InHand, now: float) -> bool:
        """Return whether the lease may be given away now."""
        return not one.is_used and self.may_give_away and (self.is_stopping or one.goes_at <= now)

    def begin_stop(self) -> None:
        """Give no lease to another user. Also give no lease away before `give_away` is called."""
        self.is_stopping = True
        self.may_give_away = False

    def give_away(self) -> None:
        """Let the leases without a user be given away now: this worker knows which other workers live."""
        if not self.may_give_away:
            self.may_give_away = True
            self.is_urgent.set()

    def _pass_on(self, one: InHand) -> None:
        """Give a lease to the next run that waits for its shard, if no other user has it or the two can share it.

        If nobody uses the lease after that, let it go. If another run of the mapping is open, keep it for
        `KEPT_IN_SECONDS` first, but not at a stop, and not if another worker wants it.
        """
        waiting, now = self._waiting.get(one.held.key), self._clock.now()
        stays = not (one.held.is_given or self.is_stopping or one.is_leaving)
        stays = stays and one.held.end(now) is None  # the host may have slept (deadlines.py)
        if waiting and stays and one.may_be_given_to(waiting[0]):
            self._give(one, waiting)
        elif not one.is_used:
            is_followed = self.open_runs[mapping_of(one.held.key)] > 1
            one.goes_at = now + KEPT_IN_SECONDS if stays and is_followed else now
            one.is_hurried = one.is_hurried or not one.held.is_stored
            self.is_urgent.set()

    def _give(self, one: InHand, waiting: deque[Waiter]) -> None:
        """Give a lease to the first user that waits, with what is known about the batches that block its lanes."""
        waiter = waiting.popleft()
        if not waiting:
            del self._waiting[waiter.key]
        found = one.left if one.is_used else None
        if one.lease is not None:
            one.lease.is_passed_on = True
            one.finishing.append(one.lease)
            one.held.note(one.lease.details)
            one.blocks = one.lease.blocks
        lease = Lease(
            one.held,
            rate=one.rate,
            clock=self._clock,
            hurry=lambda: self._hurry(one),
            pass_on=lambda left: self._leave_behind(one, left),
            found=found,
        )
        if one.blocks is not None:
            lease.blocks = one.blocks
        one.lease, one.left = lease, None
        one.tell_users()
        waiter.lease = lease
        waiter.came.set()

    def _leave_behind(self, one: InHand, left: Left) -> None:
        one.left = left
        self._pass_on(one)

    def _hurry(self, one: InHand) -> None:
        one.is_hurried = True
        self.is_urgent.set()


def named(ended: Iterable[InHand]) -> tuple[RowKey, ...]:
    """Return the keys of the first leases, for a fact."""
    return tuple(one.held.key for one in islice(ended, NAMED))
