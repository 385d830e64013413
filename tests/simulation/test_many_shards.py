"""How does a mapping start if the budget of the process has no room for the largest answers of all its shards?"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import anyio
import pytest

from poller.engine.streams.budget import BYTES_OF_THE_PROCESS, LARGEST_ANSWER, LEAST
from tests.fakes.faults import FaultPlan
from tests.simulation.life import Life
from tests.simulation.one_stream import KinesisWorld, play
from tests.simulation.steps import stopping_after

MEBIBYTE = 2**20


class ManyShards(KinesisWorld):
    """A stream whose shards have all their records at the start.

    The name of a record is `shard/number`, followed by `padding`.
    """

    def __init__(self, *, shards: int, latency: float = 0.05, **options: Any) -> None:
        super().__init__(faults=FaultPlan(latency_in_seconds=(latency / 2, latency)), **options)
        self.shards = shards

    def fill(self, records: int, *, shards: range | None = None, padding: int = 0) -> None:
        width = 2**128 // self.shards
        for shard in shards or range(self.shards):
            for number in range(records):
                self.put_at(width * shard + width // 2, f"{shard}/{number} " + "x" * padding)

    def first_batches(self) -> dict[str, int]:
        """Return the number of records in the first batch of each shard."""
        batches: defaultdict[str, list[int]] = defaultdict(list)
        for call in self.calls:
            batches[call[0].partition("/")[0]].append(len(call))
        return {shard: sizes[0] for shard, sizes in batches.items()}


@pytest.mark.parametrize("shards", [36, 100, 300])
def test_shards_beyond_the_budget_do_not_begin_with_single_records(shards: int) -> None:
    assert BYTES_OF_THE_PROCESS < 37 * LARGEST_ANSWER
    world = ManyShards(shards=shards, batch_size=100)

    async def main() -> None:
        world.fill(20)
        await world.live(stopping_after(20))

    play(world, main, shards=shards)
    assert world.first_batches() == {str(shard): 20 for shard in range(shards)}


def test_the_first_reads_do_not_wait_for_a_shard_whose_records_arrive_late() -> None:
    """Only the last of a hundred shards have records. Reads of the other shards are empty."""
    world = ManyShards(shards=100, batch_size=100)
    first_at: list[float] = []

    async def until(life: Life) -> None:
        while not world.calls:  # noqa: ASYNC110
            await anyio.sleep(0.01)
        first_at.append(anyio.current_time())
        await anyio.sleep(20)
        life.begin_stop()

    async def main() -> None:
        world.fill(20, shards=range(90, 100))
        await world.live(until)

    play(world, main, shards=100)
    assert first_at[0] < 4
    assert len(world.succeeded) == 200


@pytest.mark.parametrize("padding", [20_000, 300_000])
def test_the_first_reads_of_many_shards_stay_within_the_bound(padding: int) -> None:
    """The budget has room for one of the largest answers, and a little for each shard. No record is ever done."""
    world = ManyShards(shards=20, batch_size=1)
    world.budget_in_bytes = LARGEST_ANSWER
    world.duration = 1_000.0
    in_hand: list[int] = []

    async def until(life: Life) -> None:
        for _ in range(20):
            await anyio.sleep(0.5)
            [status] = life.supervisor.statuses()
            assert status.stream is not None
            in_hand.append(status.stream.bytes_buffered)
        life.stop.hurry()
        life.crash()

    async def main() -> None:
        world.fill(4 * MEBIBYTE // padding, padding=padding)
        await world.live(until)

    play(world, main, shards=20)
    assert max(in_hand) <= LARGEST_ANSWER + 20 * LEAST
    assert max(in_hand) > LARGEST_ANSWER / 2
