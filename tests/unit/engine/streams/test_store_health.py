"""What does a mapping report about its store of positions, and how does it repeat a failed call?"""

from __future__ import annotations

import random

import anyio
import anyio.lowlevel
import pytest

from poller.engine.streams.store_health import StoreHealth
from poller.errors import Rejected, ServiceError, Throttled, Unreachable
from poller.facts import Fact, StoreFailed, StoreRecovered
from poller.model.ids import MappingName
from poller.model.status import Health
from tests.fakes.clock import EPOCH, VirtualClock
from tests.simulation.world import run_seeded

M = MappingName("m")
READY = Health("ready", since=EPOCH - 10)
STARTING = Health("starting", "the source has not been looked up yet", since=EPOCH - 10)
LOCKED = Unreachable("/var/poller.db: database is locked", code="SQLITE_BUSY", was_sent=False)
GONE = Rejected("/var/poller.db was removed", code="FileGone")


class Watched:
    """A store's health, and calls that fail as the test says."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []
        self.tries: list[float] = []
        self.of_store = StoreHealth(
            mapping=M, clock=VirtualClock(), emit=self.facts.append, randomness=random.Random(1)
        )

    async def call(self, *errors: ServiceError) -> str:
        """Return a call that fails with each of the errors, and then succeeds."""
        left = list(errors)

        async def once() -> str:
            self.tries.append(anyio.current_time())
            if left:
                raise left.pop(0)
            return "done"

        return await self.of_store.until_done("save", once)

    @property
    def pauses(self) -> list[float]:
        return [after - before for before, after in zip(self.tries, self.tries[1:], strict=False)]


def test_a_call_is_repeated_until_it_succeeds_with_growing_pauses() -> None:
    async def main() -> None:
        watched = Watched()
        assert await watched.call(*[LOCKED] * 9) == "done"
        assert all(0.5 <= pause <= 1 for pause in watched.pauses[:1])
        assert all(30 <= pause <= 60 for pause in watched.pauses[6:])
        failed = [fact for fact in watched.facts if isinstance(fact, StoreFailed)]
        assert [fact.retry_in_seconds for fact in failed] == pytest.approx(watched.pauses), "the reported pause is made"
        assert {(fact.operation, fact.code, fact.detail, fact.needs_action) for fact in failed} == {
            ("save", "SQLITE_BUSY", "/var/poller.db: database is locked", False)
        }
        assert watched.facts[9:] == [StoreRecovered(M)]

    run_seeded(1, main)


def test_a_store_that_asks_for_a_longer_pause_gets_it() -> None:
    async def main() -> None:
        watched = Watched()
        await watched.call(Throttled("slow down", code="ThrottlingException", retry_after=20.0))
        assert watched.pauses == [20.0]

    run_seeded(1, main)


def test_a_ready_mapping_with_a_failing_store_is_troubled_and_shows_the_begin_and_the_next_try() -> None:
    async def main() -> None:
        watched = Watched()
        assert watched.of_store.together_with(READY) == READY
        async with anyio.create_task_group() as group:
            group.start_soon(watched.call, LOCKED, LOCKED)
            await anyio.wait_all_tasks_blocked()
            reason = "the position store fails: save: /var/poller.db: database is locked"
            health = watched.of_store.together_with(READY)
            assert health[:4] == ("troubled", reason, EPOCH, 1)
            assert 0.5 <= (health.next_try or 0) - EPOCH <= 1
            assert watched.of_store.together_with(STARTING)[:2] == ("starting", reason)
            of_source = Health("troubled", "ListShards: denied", EPOCH - 5, 3, EPOCH + 0.1)
            both = watched.of_store.together_with(of_source)
            assert both == Health("troubled", f"ListShards: denied; {reason}", EPOCH - 5, 3, EPOCH + 0.1)
            await anyio.sleep(1.2)
            assert watched.of_store.together_with(READY)[2:4] == (EPOCH, 2)
        assert watched.of_store.together_with(READY) == Health("ready", since=EPOCH + watched.tries[-1])

    run_seeded(1, main)


def test_each_kind_of_call_has_its_own_trouble() -> None:
    async def main() -> None:
        watched = Watched()

        async def load() -> None:
            await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as group:
            group.start_soon(watched.call, GONE)
            await anyio.wait_all_tasks_blocked()
            await watched.of_store.until_done("load", load)
            assert watched.of_store.together_with(READY).state == "troubled"
            assert StoreRecovered(M) not in watched.facts
        [failed] = [fact for fact in watched.facts if isinstance(fact, StoreFailed)]
        assert failed.needs_action
        assert watched.of_store.together_with(READY).state == "ready"

    run_seeded(1, main)


def test_a_store_has_recovered_when_its_last_trouble_is_over() -> None:
    async def main() -> None:
        watched = Watched()
        failing = [LOCKED] * 3

        async def forget() -> None:
            if failing:
                raise failing.pop()

        async with anyio.create_task_group() as group:
            group.start_soon(watched.call, LOCKED)
            group.start_soon(watched.of_store.until_done, "forget", forget)
        assert [fact for fact in watched.facts if isinstance(fact, StoreRecovered)] == [StoreRecovered(M)]
        assert watched.facts[-1] == StoreRecovered(M)

    run_seeded(1, main)


def test_a_call_that_fails_by_a_fault_of_ours_is_not_repeated() -> None:
    async def main() -> None:
        async def moved_back() -> None:
            raise AssertionError("the checkpoint would move back")

        with pytest.raises(AssertionError, match="move back"):
            await Watched().of_store.until_done("save", moved_back)

    run_seeded(1, main)
