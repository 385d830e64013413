"""Does a mapping warn if it begins anew although its stream has positions under a former name?"""

from __future__ import annotations

from dataclasses import replace

import anyio
import pytest

from poller.facts import MappingBeginsAnew, MappingReady
from poller.model.ids import MappingName
from poller.model.lease import Row, pause_key, shard_key
from poller.model.mapping import StreamMapping
from poller.model.stream import Checkpoint, Latest, ShardId, StateKey, TrimHorizon
from tests.simulation.life import Life
from tests.simulation.one_stream import play
from tests.simulation.stream_workers import WorkersWorld, until


def named(world: WorkersWorld, name: str) -> StreamMapping:
    return replace(world.mapping, name=MappingName(name))


def write(world: WorkersWorld, row: Row) -> None:
    assert world.store.table.write("a person", "create", row, sent_at=anyio.current_time())


async def add(world: WorkersWorld, life: Life, *mappings: StreamMapping) -> None:
    """Add the mappings at the same time, and wait until they are ready."""
    ready = len(world.facts_of(MappingReady)) + len(mappings)
    async with anyio.create_task_group() as tasks:
        for mapping in mappings:
            tasks.start_soon(life.supervisor.add, mapping, life.function(mapping))
    await until(lambda: len(world.facts_of(MappingReady)) == ready, within=60)


@pytest.mark.parametrize("is_paused", [False, True])
@pytest.mark.parametrize("seconds", [0, 60])
def test_two_mappings_that_follow_a_removed_one_warn_of_its_positions(seconds: float, is_paused: bool) -> None:
    world = WorkersWorld(starting_position=Latest())

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            life = await world.start(tasks)
            await until(lambda: bool(world.facts_of(MappingReady)), within=60)
            assert world.facts_of(MappingBeginsAnew) == []
            if is_paused:
                write(world, Row(key=pause_key(world.mapping.name)))
            await life.supervisor.remove(world.mapping.name)
            await anyio.sleep(seconds)
            await add(world, life, named(world, "x1"), named(world, "x2"))
            life.begin_stop()

    play(world, main)
    found = [(fact.mapping, fact.former, fact.former_is_paused) for fact in world.facts_of(MappingBeginsAnew)]
    assert sorted(found) == [("x1", "m", is_paused), ("x2", "m", is_paused)]


def test_a_second_mapping_of_a_stream_and_one_that_comes_back_do_not_warn() -> None:
    world = WorkersWorld(starting_position=Latest())

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            life = await world.start(tasks)
            await until(lambda: bool(world.facts_of(MappingReady)), within=60)
            await add(world, life, named(world, "x1"))
            await life.supervisor.remove(world.mapping.name)
            await add(world, life, world.mapping)
            life.begin_stop()

    play(world, main)
    assert world.facts_of(MappingBeginsAnew) == []


def test_a_daemon_that_starts_with_a_new_name_warns() -> None:
    world = WorkersWorld(starting_position=Latest())

    async def main() -> None:
        key = shard_key(StateKey(MappingName("old"), str(world.stream.arn)), ShardId("1"))
        write(world, Row(key=key, checkpoint=Checkpoint(TrimHorizon())))
        async with anyio.create_task_group() as tasks:
            life = await world.start(tasks)
            await until(lambda: bool(world.facts_of(MappingReady)), within=60)
            life.begin_stop()

    play(world, main)
    advice = "name the mapping old again, and reload"
    assert world.facts_of(MappingBeginsAnew) == [MappingBeginsAnew(MappingName("m"), MappingName("old"), False, advice)]
