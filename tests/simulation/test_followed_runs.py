"""What happens to an invocation of an old run that outlasts the next run, too?"""

from __future__ import annotations

from dataclasses import replace

import anyio
import orjson
import pytest

from poller.model.invocation import Invocation, Response
from poller.model.status import MappingStatus
from tests.simulation.life import Life
from tests.simulation.one_stream import name_of, play
from tests.simulation.steps import stopping_after
from tests.simulation.stream_workers import WorkersWorld

LONG = 40.0


class LongFirstCall(WorkersWorld):
    """A world whose first invocation with the record `slow` runs for LONG seconds."""

    def __init__(self) -> None:
        super().__init__(batch_size=1, parallelization_factor=4, maximum_retry_attempts=2)
        self.functions["f"] = replace(self.functions["f"], timeout_in_seconds=100)
        self.has_been_slow = False

    async def invoke(self, invocation: Invocation) -> Response:
        is_slow = not self.has_been_slow and "slow" in names_of(invocation)
        self.has_been_slow = self.has_been_slow or is_slow
        self.duration = LONG if is_slow else 0.1
        return await super().invoke(invocation)


def names_of(invocation: Invocation) -> list[str]:
    return [name_of(record) for record in orjson.loads(invocation.payload)["Records"]]


@pytest.mark.parametrize("is_replaced", [False, True])
def test_the_next_worker_counts_an_attempt_that_an_old_run_makes_after_its_follower_has_left(is_replaced: bool) -> None:
    world = LongFirstCall()
    world.poison = {"slow"}

    async def first(life: Life) -> None:
        began = anyio.current_time()
        await anyio.sleep(5)
        world.put("key", "slow")
        await anyio.sleep(5)
        if is_replaced:
            await life.supervisor.replace(world.mapping, life.function(world.mapping))
        await anyio.sleep(began + 37 - anyio.current_time())
        life.begin_stop()  # the invocation fails 8 seconds later, within the grace

    async def main() -> None:
        await world.live(first)
        await world.live(stopping_after(60))

    play(world, main)
    assert [seen.attempt for seen in world.seen] == [1, 2, 3]
    assert len({seen.request_id for seen in world.seen}) == 1


def test_the_records_of_an_old_run_count_in_the_status_after_its_follower_was_paused() -> None:
    def status(*, is_replaced: bool) -> MappingStatus:
        world = LongFirstCall()
        found: list[MappingStatus] = []

        async def main() -> None:
            async with anyio.create_task_group() as tasks:
                life = await world.start(tasks)
                await anyio.sleep(5)
                world.put("key", "slow", "second", "third")
                await anyio.sleep(5)
                if is_replaced:
                    await life.supervisor.replace(world.mapping, life.function(world.mapping))
                    await anyio.sleep(3)
                await life.supervisor.pause(world.mapping.name)
                await anyio.sleep(3)
                found.append(life.supervisor.status(world.mapping.name))
                await anyio.sleep(LONG)
                life.begin_stop()

        play(world, main)
        return found[0]

    replaced, before = status(is_replaced=True), status(is_replaced=False)
    assert (replaced.state, replaced.batches_in_flight, replaced.messages_held) == ("paused", 1, 3)
    assert replaced.stream is not None
    assert before.stream is not None
    assert replaced.stream.shards_reading == before.stream.shards_reading == 1
    assert replaced.stream.bytes_buffered == before.stream.bytes_buffered > 0
    assert replaced.stream.iterator_age_in_seconds is not None
