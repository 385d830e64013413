from __future__ import annotations

import random
from collections.abc import Mapping

import anyio
import pytest

from poller.engine.streams.checkpoints import LAST_SAVE_IN_SECONDS, Checkpoints
from poller.engine.streams.positions import StoredPositions
from poller.engine.streams.store_health import StoreHealth
from poller.errors import Rejected
from poller.model.ids import MappingName
from poller.model.stream import AfterSequence, Checkpoint, Claim, SequenceNumber, ShardId, StateKey, WriterId
from poller.stores.memory import MemoryStore
from tests.fakes.clock import VirtualClock
from tests.fakes.saving import load
from tests.simulation.world import run_seeded

M = MappingName("m")
KEY = StateKey(M, "arn:aws:kinesis:eu-west-1:123456789012:stream/s")
ONE, TWO = ShardId("shard-1"), ShardId("shard-2")


def at(number: int) -> Checkpoint:
    return Checkpoint(AfterSequence(SequenceNumber(str(number))))


class SlowStore(MemoryStore):
    """A store whose saves take a second, and fail as often as the test says."""

    def __init__(self, *, failures: int = 0, seconds: float = 1.0) -> None:
        super().__init__()
        self._seconds = seconds
        self.saves: list[dict[ShardId, Checkpoint]] = []
        self._failures = failures

    async def save(self, key: StateKey, checkpoints: Mapping[ShardId, Checkpoint], claim: Claim) -> frozenset[ShardId]:
        await anyio.sleep(self._seconds)
        if self._failures:
            self._failures -= 1
            raise Rejected("the disk is full", code="SQLITE_FULL")
        self.saves.append(dict(checkpoints))
        return await super().save(key, checkpoints, claim)


def checkpoints_over(store: SlowStore, *, has_windows: bool = False) -> Checkpoints:
    health = StoreHealth(mapping=M, clock=VirtualClock(), emit=lambda _: None, randomness=random.Random(1))
    positions = StoredPositions(
        store, key=KEY, writer=WriterId("w"), health=health, emit=lambda _: None, on_loss=lambda _: None
    )
    return Checkpoints(positions, health=health, has_windows=has_windows)


def test_checkpoints_that_move_during_a_save_are_saved_together_by_the_next_one() -> None:
    async def main() -> None:
        store = SlowStore()
        checkpoints = checkpoints_over(store)
        async with anyio.create_task_group() as group:
            group.start_soon(checkpoints.run)
            checkpoints.move(ONE, at(1))
            await anyio.sleep(0.5)
            for number in (2, 3):
                checkpoints.move(ONE, at(number))
            checkpoints.move(TWO, at(7))
            await anyio.sleep(2)
            assert store.saves == [{ONE: at(1)}, {ONE: at(3), TWO: at(7)}]
            group.cancel_scope.cancel()

    run_seeded(1, main)


@pytest.mark.parametrize(("has_windows", "seconds"), [(False, 1.0), (True, 0.2)])
def test_a_fast_store_gets_one_save_a_second_and_five_with_windows(has_windows: bool, seconds: float) -> None:
    async def main() -> None:
        store = SlowStore(seconds=0.01)
        checkpoints = checkpoints_over(store, has_windows=has_windows)
        async with anyio.create_task_group() as group:
            group.start_soon(checkpoints.run)
            for number in range(10):
                checkpoints.move(ONE, at(number))
                await anyio.sleep(0.35 * seconds)
            await anyio.sleep(1)
            assert [saved[ONE] for saved in store.saves] == [at(0), at(2), at(5), at(8), at(9)]
            await anyio.sleep(10)
            checkpoints.move(ONE, at(30))
            await anyio.sleep(0.05)
            assert store.saves[-1] == {ONE: at(30)}, "the first move after a while is stored at once"
            group.cancel_scope.cancel()

    run_seeded(1, main)


@pytest.mark.parametrize("failures", [1, 3])
def test_a_failed_save_is_repeated_with_the_latest_checkpoints(failures: int) -> None:
    async def main() -> None:
        store = SlowStore(failures=failures)
        checkpoints = checkpoints_over(store)
        async with anyio.create_task_group() as group:
            group.start_soon(checkpoints.run)
            checkpoints.move(ONE, at(1))
            await anyio.sleep(0.5)
            checkpoints.move(ONE, at(2))
            await anyio.sleep(60)
            assert store.saves == [{ONE: at(2)}]
            group.cancel_scope.cancel()

    run_seeded(1, main)


def test_save_returns_when_all_checkpoints_are_stored_and_the_last_save_is_shielded() -> None:
    async def main() -> None:
        store = SlowStore()
        checkpoints = checkpoints_over(store)
        checkpoints.move(ONE, at(1))
        await checkpoints.save()
        assert await load(store, KEY) == {ONE: at(1)}
        with anyio.CancelScope() as scope:
            scope.cancel()
            checkpoints.move(ONE, at(2))
            await checkpoints.save_last()
        assert await load(store, KEY) == {ONE: at(2)}

    run_seeded(1, main)


def test_checkpoints_that_move_during_a_save_do_not_delay_its_return() -> None:
    async def main() -> None:
        store = SlowStore(failures=1)
        checkpoints = checkpoints_over(store)

        async def move_on() -> None:
            for number in range(1_000):
                checkpoints.move(TWO, at(number))
                await anyio.sleep(0.1)

        async with anyio.create_task_group() as group:
            group.start_soon(checkpoints.run)
            group.start_soon(move_on)
            await anyio.sleep(10)
            checkpoints.move(ONE, at(1))
            with anyio.fail_after(5):
                await checkpoints.save()
            assert (await load(store, KEY))[ONE] == at(1)
            group.cancel_scope.cancel()

    run_seeded(1, main)


def test_the_checkpoint_age_is_that_of_the_oldest_move_that_is_not_stored() -> None:
    async def main() -> None:
        checkpoints = checkpoints_over(SlowStore())
        assert checkpoints.age_in_seconds == 0
        async with anyio.create_task_group() as group:
            group.start_soon(checkpoints.run)
            checkpoints.move(ONE, at(1))
            await anyio.sleep(0.5)
            checkpoints.move(TWO, at(7))
            assert checkpoints.age_in_seconds == pytest.approx(0.5)
            await anyio.sleep(0.75)
            assert checkpoints.age_in_seconds == pytest.approx(0.75), "the first is stored, the second on its way"
            await anyio.sleep(1)
            assert checkpoints.age_in_seconds == 0
            group.cancel_scope.cancel()

    run_seeded(1, main)


def test_the_checkpoint_age_grows_while_the_store_fails() -> None:
    async def main() -> None:
        checkpoints = checkpoints_over(SlowStore(failures=1000))
        async with anyio.create_task_group() as group:
            group.start_soon(checkpoints.run)
            for _ in range(10):
                checkpoints.move(ONE, at(1))
                await anyio.sleep(30)
            assert checkpoints.age_in_seconds == pytest.approx(300)
            group.cancel_scope.cancel()

    run_seeded(1, main)


@pytest.mark.parametrize(("failures", "lost"), [(1, 0), (1000, 2)])
def test_the_last_checkpoints_are_tried_for_a_while_and_lost_ones_are_counted(failures: int, lost: int) -> None:
    async def main() -> None:
        checkpoints = checkpoints_over(SlowStore(failures=failures))
        checkpoints.move(ONE, at(1))
        checkpoints.move(TWO, at(7))
        assert await checkpoints.save_last() == lost
        assert anyio.current_time() <= LAST_SAVE_IN_SECONDS

    run_seeded(1, main)
