"""What does a mapping make of listings that are late, leave shards out or cannot be stored? On a virtual clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from poller.engine.stop import Stop
from poller.engine.streams.mapping import StreamParts
from poller.errors import Unreachable
from poller.model.ids import MappingName
from poller.model.stream import Shard, ShardEnd, StateKey
from poller.ports import StreamSource
from poller.telemetry.facts import PositionTrimmed, SourceFailed, StoreFailed
from tests.simulation.one_stream import Process, World, crashing_after, play, stopping_after
from tests.simulation.test_stream_source_troubles import TableWorld, facts_of

PARENT = "shardId-000000000000"
HOUR = 3600.0


class FailingStore(World):
    """The first call of one operation of the store that names a shard other than the first one fails."""

    def __init__(self, operation: str, **options: Any) -> None:
        super().__init__(**options)
        self.failures = 0
        self._operation = operation

    def _parts(self, stop: Stop, process: Process) -> StreamParts:
        call = getattr(process, self._operation)

        async def fail_once(key: StateKey, shards: Any) -> None:
            if not self.failures and any(shard_id != PARENT for shard_id in shards):
                self.failures += 1
                raise Unreachable("the disk is full", code="SQLITE_FULL", was_sent=True)
            await call(key, shards)

        setattr(process, self._operation, fail_once)
        return super()._parts(stop, process)


class Flickering(World):
    """Listings leave out the shards of `left_out` for a while. Records go to the first or the last hash key."""

    def __init__(self, *, since: float, until: float, left_out: Callable[[Shard], bool], **options: Any) -> None:
        super().__init__(batch_size=1, **options)
        self._since, self._until, self._left_out = since, until, left_out

    def source(self, process: Process) -> StreamSource:
        source = super().source(process)
        listed = source.shards

        async def shards() -> list[Shard]:
            found = await listed()
            if self._since <= anyio.current_time() < self._until:
                found = [shard for shard in found if not self._left_out(shard)]
            return found

        source.shards = shards  # type: ignore[method-assign]  # the same source, in a bad time
        return source

    def put_low(self, *names: str) -> None:
        for name in names:
            self.service.put(self.stream, "", name.encode(), hash_key=0)


def key_of(world: World) -> StateKey:
    return StateKey(MappingName("m"), str(world.stream.arn))


@pytest.mark.parametrize("ending", [stopping_after, crashing_after])
def test_a_found_child_whose_save_failed_is_stored_by_the_next_listing(ending: Any) -> None:
    """Else nothing would be stored once its parent has aged out, and the next start would begin at LATEST."""
    world = FailingStore("save", starting_position="LATEST")

    async def main() -> None:
        async def go_on() -> None:
            await anyio.sleep(10)
            world.put("a", "a/0")
            await anyio.sleep(10)
            world.stream.split(PARENT, now=anyio.current_time())

        async with anyio.create_task_group() as group:
            group.start_soon(go_on)
            await world.live(ending(HOUR + 200))
        assert len(await world.store.load(key_of(world))) == 3
        world.put("a", "written while down")
        await world.live(stopping_after(60))

    play(world, main, retention_in_seconds=HOUR)
    assert world.failures == 1
    assert world.succeeded == ["a/0", "written while down"]


def test_a_save_that_fails_at_a_listing_is_the_stores_trouble_and_ends_with_the_next_try() -> None:
    world = FailingStore("save")

    async def main() -> None:
        async def go_on() -> None:
            await anyio.sleep(10)
            world.stream.split(PARENT, now=anyio.current_time())
            await anyio.sleep(60)
            [status] = daemons[0].statuses()
            assert status.state == "ready"

        daemons: list[Any] = []

        async def until(_stop: Stop, daemon: Any) -> bool:
            daemons.append(daemon)
            await anyio.sleep(100)
            return False

        async with anyio.create_task_group() as group:
            group.start_soon(go_on)
            await world.live(until)

    play(world, main)
    assert [fact.operation for fact in facts_of(world, StoreFailed)] == ["save"]
    assert facts_of(world, SourceFailed) == []


def test_a_drained_shard_that_listings_leave_out_for_a_while_is_not_read_again() -> None:
    world = Flickering(since=60, until=85, left_out=lambda shard: shard.shard_id == PARENT)

    async def main() -> None:
        world.put_low("parent/0", "parent/1")

        async def go_on() -> None:
            await anyio.sleep(10)
            world.stream.split(PARENT, now=anyio.current_time())
            for number in range(100):
                world.put_low(f"child/{number}")
                await anyio.sleep(1)

        async with anyio.create_task_group() as group:
            group.start_soon(go_on)
            await world.live(stopping_after(130))

    play(world, main)
    assert world.succeeded == ["parent/0", "parent/1", *[f"child/{number}" for number in range(100)]]


def test_nor_is_it_read_again_when_the_daemon_starts_in_that_while() -> None:
    world = Flickering(since=60, until=85, left_out=lambda shard: shard.shard_id == PARENT)

    async def main() -> None:
        world.put_low("parent/0")
        await world.live(stopping_after(10))
        world.stream.split(PARENT, now=anyio.current_time())
        await world.live(stopping_after(30))
        await anyio.sleep(25)
        world.put_low("child/0")
        await world.live(stopping_after(60))

    play(world, main)
    assert world.succeeded == ["parent/0", "child/0"]


def test_a_waiting_child_that_listings_leave_out_for_a_while_still_waits_for_its_parent() -> None:
    world = Flickering(since=30, until=55, left_out=lambda shard: PARENT in shard.parent_ids)
    world.poison = {"parent/0"}

    async def main() -> None:
        world.put_low("parent/0")

        async def go_on() -> None:
            await anyio.sleep(5)
            world.stream.split(PARENT, now=anyio.current_time())
            world.put_low("child/0")
            await anyio.sleep(95)
            world.poison.clear()

        async with anyio.create_task_group() as group:
            group.start_soon(go_on)
            await world.live(crashing_after(35))
            await world.live(stopping_after(125))

    play(world, main)
    assert world.succeeded == ["parent/0", "child/0"]
    assert facts_of(world, PositionTrimmed) == []


def test_a_waiting_parent_that_listings_leave_out_for_a_while_is_not_overtaken_by_its_child() -> None:
    """The grandparent blocks; the parent, split off it, is merged into the child while no listing has it."""
    world = Flickering(since=30, until=70, left_out=lambda shard: shard.parent_ids == (PARENT,))
    world.poison = {"grandparent"}

    async def main() -> None:
        world.put_low("grandparent")

        async def go_on() -> None:
            await anyio.sleep(5)
            left, right = world.stream.split(PARENT, now=anyio.current_time())
            world.put_low("parent")
            await anyio.sleep(35)
            world.stream.merge(left, right, now=anyio.current_time())
            world.put_low("child")
            await anyio.sleep(80)
            world.poison.clear()

        async with anyio.create_task_group() as group:
            group.start_soon(go_on)
            await world.live(stopping_after(200))

    play(world, main)
    assert world.succeeded == ["grandparent", "parent", "child"]


def test_a_waiting_shard_that_has_left_the_stream_unread_is_told_and_its_children_go_on() -> None:
    world = World(batch_size=1)
    world.poison = {"grandparent"}

    async def main() -> None:
        world.service.put(world.stream, "", b"grandparent", hash_key=0)

        async def go_on() -> None:
            await anyio.sleep(5)
            left, right = world.stream.split(PARENT, now=anyio.current_time())
            world.service.put(world.stream, "", b"lost", hash_key=0)
            await anyio.sleep(30)
            world.stream.merge(left, right, now=anyio.current_time())
            await anyio.sleep(HOUR + 60)
            world.service.put(world.stream, "", b"child", hash_key=0)
            world.poison.clear()

        async with anyio.create_task_group() as group:
            group.start_soon(go_on)
            await world.live(stopping_after(HOUR + 400))

    play(world, main, retention_in_seconds=HOUR)
    assert world.succeeded == ["grandparent", "child"]
    assert len(facts_of(world, PositionTrimmed)) == 2, "one for each half"


def test_what_is_stored_of_a_tables_drained_shards_is_forgotten_after_a_day() -> None:
    world = TableWorld()

    async def main() -> None:
        for number in range(15):
            world.put("a", f"a/{number}")
            await world.live(stopping_after(25))
            await anyio.sleep(4 * HOUR)
        positions = [checkpoint.position for checkpoint in (await world.store.load(key_of(world))).values()]
        drained = [position for position in positions if isinstance(position, ShardEnd)]
        assert (len(drained), len(positions)) == (7, 8), "those of 25 hours; one rolls over every four"

    play(world, main)
    assert world.succeeded == [f"a/{number}" for number in range(15)]
