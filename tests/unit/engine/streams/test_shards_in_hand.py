"""Which run may read a shard while an old run still has it?"""

from __future__ import annotations

import anyio
import pytest

from poller.engine.streams.shards_in_hand import ShardsInHand
from poller.model.stream import ShardId

pytestmark = pytest.mark.anyio

SHARD, OTHER = ShardId("a"), ShardId("b")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_a_shard_has_one_holder_until_it_is_freed() -> None:
    shards = ShardsInHand()
    assert shards.take(SHARD)
    assert shards.take(OTHER)
    assert not shards.take(SHARD)
    assert shards.held == {SHARD, OTHER}
    shards.free(SHARD)
    assert shards.held == {OTHER}
    assert shards.take(SHARD)


async def test_waiting_runs_get_the_shard_one_after_another() -> None:
    shards = ShardsInHand()
    got: list[int] = []

    async def wait(number: int) -> None:
        await shards.wait_for(SHARD)
        got.append(number)

    shards.take(SHARD)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait, 1)
        tasks.start_soon(wait, 2)
        await anyio.wait_all_tasks_blocked()
        assert not got
        shards.free(SHARD)
        await anyio.wait_all_tasks_blocked()
        assert len(got) == 1
        shards.free(SHARD)
    assert sorted(got) == [1, 2]
