"""Which run may take a message group while an old run still has a batch of it?"""

from __future__ import annotations

import anyio
import pytest

from poller.engine.queues.groups import GroupTurns
from poller.engine.stop import Stop
from poller.model.ids import MessageGroupId

pytestmark = pytest.mark.anyio

A, B, C = (frozenset([MessageGroupId(name)]) for name in "abc")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_a_batch_waits_until_all_its_groups_are_free() -> None:
    turns, stop, got = GroupTurns(), Stop(), []

    async def take() -> None:
        got.append(await turns.take(A | B, stop=stop))

    assert await turns.take(A, stop=stop)
    assert await turns.take(B, stop=stop)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(take)
        await anyio.wait_all_tasks_blocked()
        turns.free(A)
        await anyio.wait_all_tasks_blocked()
        assert not got
        assert await turns.take(C, stop=stop), "other groups do not wait"
        turns.free(B)
    assert got == [True]


async def test_a_stop_ends_the_wait_and_takes_no_group() -> None:
    turns, stop, got = GroupTurns(), Stop(), []

    async def take() -> None:
        got.append(await turns.take(A | B, stop=stop))

    assert await turns.take(A, stop=Stop())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(take)
        await anyio.wait_all_tasks_blocked()
        stop.begin()
    assert got == [False]
    assert await turns.take(B, stop=Stop())
