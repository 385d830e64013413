"""Do workers that follow the rules share a lease safely, whatever happens to their clocks and to their writes?

The model is a table with one row, a network that loses answers and delays writes, and two workers whose clocks have
rates of their own.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from poller.core.leases.expiry import Observed
from poller.core.leases.holding import Held
from poller.core.positions import Rank, rank
from poller.model.lease import Owner, Row, RowKey
from poller.model.stream import AfterSequence, Checkpoint, SequenceNumber

KEY = RowKey("orders/arn:stream/shard-1")
DURATION = 10.0
WORKERS = st.integers(0, 1)

FATES = st.sampled_from(["answered", "answered", "answered", "not answered", "late"])
"""What happens to a write. A late one leaves its sender without an answer, and may arrive at any later time."""


def after(number: int) -> Checkpoint:
    return Checkpoint(AfterSequence(SequenceNumber(str(number))))


@dataclass
class Worker:
    owner: Owner
    rate: float
    observed: Observed
    held: Held | None = None


class SharedLease(RuleBasedStateMachine):
    @initialize(rates=st.tuples(*[st.sampled_from([0.9, 1.1])] * 2))
    def begin(self, rates: tuple[float, ...]) -> None:
        self.time = 0.0
        self.runs = 0
        self.row = Row(key=KEY, checkpoint=after(0))
        self.late: list[Row] = []
        self.workers = [self.worker(rate) for rate in rates]
        self.last_holder = (0, Owner(""))

    def worker(self, rate: float) -> Worker:
        self.runs += 1
        owner = Owner(f"worker/{self.runs}")
        return Worker(owner, rate, Observed(owner, lease_duration=DURATION))

    def now(self, worker: Worker) -> float:
        return worker.rate * self.time

    @rule(seconds=st.sampled_from([0.1, 2.0, 3.0, 6.0]))
    def pass_time(self, seconds: float) -> None:
        self.time += seconds

    @rule(which=WORKERS)
    def crash(self, which: int) -> None:
        self.workers[which] = self.worker(self.workers[which].rate)

    @rule(which=WORKERS, is_scan=st.booleans(), fate=FATES)
    def look(self, which: int, is_scan: bool, fate: str) -> None:
        worker = self.workers[which]
        if is_scan:
            worker.observed.scanned([self.row], now=self.now(worker))
        else:
            worker.observed.saw(self.row, now=self.now(worker))
        self.take(worker, fate)

    @rule(which=WORKERS, fate=FATES)
    def watch_and_take(self, which: int, fate: str) -> None:
        """Watch the lease, and take it at the moment when it expires."""
        worker = self.workers[which]
        for seconds in (DURATION / 2, 0.0):
            worker.observed.saw(self.row, now=self.now(worker))
            self.time += seconds / worker.rate
        expiry = worker.observed.next_expiry([self.row.key], now=self.now(worker))
        if expiry is not None:
            self.time = expiry / worker.rate + 1e-6
        self.take(worker, fate)

    @rule(which=WORKERS, fate=FATES, records=st.integers(0, 2))
    def renew(self, which: int, fate: str, records: int) -> None:
        worker, held = self.workers[which], self.workers[which].held
        if held is None or held.is_given or held.end(self.now(worker)) is not None:
            return
        if held.may_begin(self.now(worker)):
            assert held.checkpoint is not None
            held.move(after(int(rank(held.checkpoint.position)[1]) + records))
        self.send(worker, held, held.renewal(self.now(worker)), fate)

    @rule(which=WORKERS, fate=FATES)
    def give_away(self, which: int, fate: str) -> None:
        worker, held = self.workers[which], self.workers[which].held
        if held is not None and held.end(self.now(worker)) is None:
            self.send(worker, held, held.give_away(self.now(worker)), fate)

    @rule(index=st.integers(0, 5))
    def arrive_late(self, index: int) -> None:
        if self.late:
            self.write(self.late.pop(index % len(self.late)))

    def take(self, worker: Worker, fate: str) -> None:
        now = self.now(worker)
        is_held = worker.held is not None and worker.held.end(now) is None
        if not is_held and worker.observed.may_take(KEY, now=now, held=()):
            row = worker.observed.get(KEY)
            assert row is not None
            worker.held = Held(row, worker.owner, lease_duration=DURATION)
            self.send(worker, worker.held, worker.held.take(now), fate)

    def send(self, worker: Worker, held: Held, row: Row, fate: str) -> None:
        if fate == "late":
            self.late.append(row)
        is_accepted = fate != "late" and self.write(row)
        self.time += 0.1
        if is_accepted and fate == "answered":
            held.accepted(self.now(worker))
        else:
            held.found(self.row, self.now(worker))
            worker.observed.saw(self.row, now=self.now(worker))

    def write(self, row: Row) -> bool:
        """Store the row if its counter is the next one."""
        if self.row.counter != row.counter - 1:
            return False
        assert rank_of(self.row) <= rank_of(row), "a checkpoint never moves back"
        self.row = row
        return True

    @invariant()
    def one_worker_delivers(self) -> None:
        helds = [(worker, worker.held) for worker in self.workers if worker.held is not None]
        delivering = [(worker, held) for worker, held in helds if held.may_begin(self.now(worker))]
        assert len(delivering) <= 1
        for worker, held in delivering:
            assert (self.row.owner, self.row.token) == (worker.owner, held.token)
            token, owner = self.last_holder
            assert held.token > token or (held.token, worker.owner) == (token, owner), "tokens grow"
            self.last_holder = (held.token, worker.owner)

    def teardown(self) -> None:
        """Check that a new worker gets the lease after all others have died."""
        worker = self.worker(1.0)
        for _ in range(3):
            worker.observed.scanned([self.row], now=self.now(worker))
            self.take(worker, "answered")
            self.time += DURATION / 2
        assert worker.held is not None, "no shard is without a reader for ever"


def rank_of(row: Row) -> Rank:
    assert row.checkpoint is not None
    return rank(row.checkpoint.position)


TestSharedLease = SharedLease.TestCase
TestSharedLease.settings = settings(max_examples=3 * settings().max_examples // 2, stateful_step_count=30)
