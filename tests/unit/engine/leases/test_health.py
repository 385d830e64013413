"""What does a worker report about its table of leases, and how does it repeat a failed call?"""

from __future__ import annotations

import random
from collections.abc import Collection
from contextlib import suppress

import anyio
import anyio.lowlevel
import pytest

from poller.engine.leases.table import Table
from poller.errors import Rejected, ServiceError, Throttled, Unreachable
from poller.facts import Fact, LeaseTableFailed, LeaseTableRecovered
from poller.model.lease import Row, RowKey
from poller.model.status import Health
from poller.stores.memory_leases import MemoryLeaseStore
from tests.fakes.clock import EPOCH, SteadyClock
from tests.simulation.world import run_seeded

READY = Health("ready", since=EPOCH - 10)
STARTING = Health("starting", "the source has not been looked up yet", since=EPOCH - 10)
LOCKED = Unreachable("/var/poller.db: database is locked", code="SQLITE_BUSY", was_sent=False)
GONE = Rejected("/var/poller.db was removed", code="FileGone")


class Watched:
    """A table, and calls that fail as the test says."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []
        self.tries: list[float] = []
        self.table = Table(MemoryLeaseStore(), clock=SteadyClock(), randomness=random.Random(1), emit=self.facts.append)

    async def call(self, *errors: ServiceError) -> str:
        """Make a call that fails with each of the errors, and then succeeds."""
        left = list(errors)

        async def once() -> str:
            await anyio.lowlevel.checkpoint()
            self.tries.append(anyio.current_time())
            if left:
                raise left.pop(0)
            return "done"

        return await self.table.until_done("renew leases", once)

    def with_source(self, source: Health) -> Health:
        return self.table.health.together_with(source, now=EPOCH + anyio.current_time())

    @property
    def pauses(self) -> list[float]:
        return [after - before for before, after in zip(self.tries, self.tries[1:], strict=False)]


def test_a_call_is_repeated_until_it_succeeds_with_growing_pauses() -> None:
    async def main() -> None:
        watched = Watched()
        assert await watched.call(*[LOCKED] * 9) == "done"
        assert all(0.125 <= pause <= 0.25 for pause in watched.pauses[:1])
        assert all(1 <= pause <= 2 for pause in watched.pauses[4:]), "a lease that is not renewed is lost after seconds"
        failed = [fact for fact in watched.facts if isinstance(fact, LeaseTableFailed)]
        assert [fact.retry_in_seconds for fact in failed] == pytest.approx(watched.pauses), "the reported pause is made"
        assert {(fact.code, fact.detail, fact.needs_action) for fact in failed} == {
            ("SQLITE_BUSY", "/var/poller.db: database is locked", False)
        }
        assert watched.facts[9:] == [LeaseTableRecovered()]

    run_seeded(1, main)


def test_a_ready_mapping_with_a_failing_table_is_troubled_and_shows_the_begin_and_the_next_try() -> None:
    async def main() -> None:
        watched = Watched()
        await anyio.sleep(100)
        now = EPOCH + 100
        assert watched.with_source(READY) == READY
        async with anyio.create_task_group() as group:
            group.start_soon(watched.call, LOCKED, LOCKED)
            await anyio.wait_all_tasks_blocked()
            reason = "the state fails: renew leases: SQLITE_BUSY: /var/poller.db: database is locked"
            health = watched.with_source(READY)
            assert health[:4] == ("troubled", reason, now, 1)
            assert 0.125 <= (health.next_try or 0) - now <= 0.25
            assert watched.with_source(STARTING)[:2] == ("starting", reason)
            of_source = Health("troubled", "ListShards: denied", now - 5, 3, now + 0.1)
            both = watched.with_source(of_source)
            assert both == Health("troubled", f"ListShards: denied; {reason}", now - 5, 3, now + 0.1)
            await anyio.sleep(0.3)
            assert watched.with_source(READY).since == pytest.approx(now)
            assert watched.with_source(READY).attempt == 2
        await anyio.sleep(50)
        recovered = watched.with_source(READY)
        assert recovered.state == "ready"
        assert recovered.since == pytest.approx(EPOCH + watched.tries[-1])

    run_seeded(1, main)


def test_the_table_has_recovered_when_the_last_kind_of_work_succeeds() -> None:
    """On a full disk, the worker can still read."""

    async def main() -> None:
        watched = Watched()

        async def read() -> None:
            await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as group:
            group.start_soon(watched.call, GONE)
            await anyio.wait_all_tasks_blocked()
            await watched.table.until_done("read leases", read)
            assert watched.with_source(READY).state == "troubled"
            assert LeaseTableRecovered() not in watched.facts
        [failed] = [fact for fact in watched.facts if isinstance(fact, LeaseTableFailed)]
        assert failed.needs_action
        assert watched.facts[-1] == LeaseTableRecovered()
        assert watched.with_source(READY).state == "ready"

    run_seeded(1, main)


def test_a_call_that_fails_because_of_a_fault_of_poller_is_not_repeated() -> None:
    async def main() -> None:
        async def moved_back() -> None:
            raise AssertionError("the checkpoint would move back")

        with pytest.raises(AssertionError, match="move back"):
            await Watched().table.until_done("create leases", moved_back)

    run_seeded(1, main)


def test_only_an_update_that_was_sent_and_has_no_answer_shows_that_a_table_does_not_answer() -> None:
    class Failing(MemoryLeaseStore):
        error: ServiceError | None = None

        async def update(self, rows: Collection[Row]) -> frozenset[RowKey]:
            await anyio.lowlevel.checkpoint()
            if self.error is not None:
                raise self.error
            return await super().update(rows)

    async def main() -> None:
        store = Failing()
        table = Table(store, clock=SteadyClock(), randomness=random.Random(1), emit=print)

        async def answers(error: ServiceError | None) -> bool:
            store.error = error
            with suppress(ServiceError):
                await table.update([])
            return table.answers_writes

        busy = Throttled("the table is busy", code="ThrottlingException")
        lost = Unreachable("no answer", code="NoAnswer", was_sent=True)
        assert [await answers(error) for error in (busy, GONE, LOCKED)] == [True, True, True]
        assert [await answers(error) for error in (lost, busy, LOCKED)] == [False, False, False]
        assert await answers(None)
        assert not await answers(lost)
        store.error, missing = None, Row(key=RowKey(":worker/gone"), counter=2)
        assert await table.update([missing]) == {missing.key}
        assert table.answers_writes, "a rejection is an answer"

    run_seeded(1, main)
