"""Which situations could break a mapping of a stream? Reviewers have found these.

They run on a virtual clock, over fakes.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Collection
from dataclasses import replace

import anyio
import orjson
import pytest

from poller.engine.streams.budget import LEAST
from poller.facts import MappingCrashed, PositionTrimmed, RecordsRead, SourceFailed
from poller.model.invocation import Invocation, Response, Throttled
from poller.model.lease import Row, RowKey
from poller.model.mapping import StreamMapping
from poller.model.stream import Read, Shard, ShardIterator, StreamRecord
from poller.ports import StreamSource
from poller.sources.client import Client
from tests.fakes.faults import Fault, FaultPlan, Outage
from tests.fakes.store import FakeStore
from tests.simulation.life import Life
from tests.simulation.one_stream import FAILURES, KinesisWorld, TableWorld, play, play_life
from tests.simulation.steps import crashing_after, stopping_after
from tests.simulation.test_stream_source_troubles import DAY, HOUR, reshard

MEBIBYTE = 2**20
LAST_HASH_KEY = 2**128 - 1


def names(key: str, count: int) -> list[str]:
    return [f"{key}/{number}" for number in range(count)]


class SlowStore(FakeStore):
    """A state whose writes take `save_in_seconds`."""

    def __init__(self, save_in_seconds: float) -> None:
        super().__init__()
        self._save_in_seconds = save_in_seconds

    async def update(self, rows: Collection[Row], *, life: int = 0) -> frozenset[RowKey]:
        await anyio.sleep(self._save_in_seconds)
        return await super().update(rows, life=life)


def test_a_parent_is_not_read_again_after_a_child_has_begun() -> None:
    class Telling(KinesisWorld):
        begun: anyio.Event

        async def invoke(self, invocation: Invocation) -> Response:
            if b"child" in b64decode(orjson.loads(invocation.payload)["Records"][0]["kinesis"]["data"]):
                self.begun.set()
            return await super().invoke(invocation)

    world = Telling(batch_size=1)
    world.store = SlowStore(2.5)

    async def main() -> None:
        world.begun = anyio.Event()
        for name in ("parent/0", "parent/1"):
            world.put_at(0, name)
        world.stream.split("shardId-000000000000", now=anyio.current_time())
        world.put_at(0, "child")

        async def until_the_child_begins(life: Life) -> None:
            await world.begun.wait()
            life.crash()

        await world.live(until_the_child_begins)
        await world.live(stopping_after(30))

    play(world, main, shards=1)
    assert [name for (name,) in world.calls] == ["parent/0", "parent/1", "child", "child"]


def test_children_begin_even_if_other_shards_move_their_checkpoints_all_the_time() -> None:
    world = KinesisWorld(batch_size=1)
    world.store = SlowStore(0.3)
    world.duration = 0.1

    async def feed(_life: Life) -> None:
        parent = "shardId-000000000000"
        for number in range(400):
            if number == 100:
                world.stream.split(parent, now=anyio.current_time())
                world.put_at(0, "child")
            for shard in world.stream.shards(now=anyio.current_time())[1:8]:
                world.put_at(shard.hash_keys[0], str(number))
            await anyio.sleep(0.1)

    play_life(world, stopping_after(35), beside=feed, shards=8)
    assert "child" in world.succeeded


def test_many_shards_that_are_read_at_once_keep_to_the_budget_of_the_process() -> None:
    world = KinesisWorld(faults=FaultPlan(latency_in_seconds=(0.01, 0.02)))
    world.budget_in_bytes = 4 * MEBIBYTE
    world.duration = 5.0
    seen: list[int] = []

    async def main() -> None:
        for shard in world.stream.shards(now=0):
            for _ in range(8):
                world.put_at(shard.hash_keys[0], "x" * 1_000_000)

        async def until(life: Life) -> None:
            for _ in range(200):
                seen.append(life.budget.used)
                await anyio.sleep(0.1)
            life.begin_stop()

        await world.live(until)

    play(world, main, shards=10)
    a_record = 1_340_000
    assert max(seen) <= 4 * MEBIBYTE + 10 * (LEAST + a_record)


def test_hundreds_of_quiet_shards_are_read_at_the_same_time_from_a_slow_service() -> None:
    world = KinesisWorld(faults=FaultPlan(latency_in_seconds=(0.5, 0.5)))

    play_life(world, stopping_after(30), shards=120)
    assert len(world.facts_of(RecordsRead)) > 120 * 25, "one read a second each"


def test_hundreds_of_shards_that_are_read_at_once_keep_their_batching_windows() -> None:
    world = KinesisWorld(
        faults=FaultPlan(latency_in_seconds=(0.01, 0.06)), batch_size=10_000, maximum_batching_window_in_seconds=30
    )

    async def until(life: Life) -> None:
        for _ in range(29):
            for shard in world.stream.shards(now=anyio.current_time()):
                world.put_at(shard.hash_keys[0], "x")
            await anyio.sleep(1)
        await anyio.sleep(10)
        life.begin_stop()

    play_life(world, until, shards=100)
    assert len(world.calls) == 100


def test_a_shard_that_left_the_stream_unfinished_while_the_daemon_was_stopped_is_reported() -> None:
    world = KinesisWorld()

    async def main() -> None:
        world.put("a", "a/0")
        await world.live(crashing_after(5))
        world.put("a", "lost")
        reshard(world, 1)
        await anyio.sleep(DAY + 1)
        world.put("a", "a/1")
        await world.live(crashing_after(30))
        await world.live(stopping_after(30))

    play(world, main)
    assert list(dict.fromkeys(world.succeeded)) == ["a/0", "a/1"]
    trimmed = [fact.shard for fact in world.facts_of(PositionTrimmed)]
    assert trimmed == ["shardId-000000000000"], "the merged ones were never seen"


def test_a_crash_leaks_neither_bytes_nor_slots_of_the_function() -> None:
    class Crashing(KinesisWorld):
        crashes = 12

        async def invoke(self, invocation: Invocation) -> Response:
            response = await super().invoke(invocation)
            if self.crashes:
                self.crashes -= 1
                raise AssertionError("a fault of our own")
            return response

    world = Crashing(parallelization_factor=3, batch_size=2)
    world.duration = 1.0

    async def main() -> None:
        for key in "abcdefgh":
            world.put(key, *names(key, 5))
        await world.live(stopping_after(300))

    play(world, main, shards=4)
    assert world.facts_of(MappingCrashed)
    [life] = world.lives
    assert (life.budget.used, {function.gate.running for function, _ in life.opened}) == (0, {0})
    assert set(world.succeeded) == {name for key in "abcdefgh" for name in names(key, 5)}


def test_a_hundred_lanes_take_turns_at_a_function_with_one_slot() -> None:
    world = KinesisWorld(parallelization_factor=10, batch_size=1)
    world.functions["f"] = replace(world.functions["f"], reserved_concurrency=1)
    world.duration = 1.0

    async def main() -> None:
        for number in range(100):
            world.put(f"k{number}", *names(f"k{number}", 3))
        await world.live(stopping_after(310))

    play(world, main, shards=10)
    assert len(world.succeeded) == 300


@pytest.mark.parity("blocked beyond retention")
def test_a_shard_that_is_blocked_for_hours_with_a_full_buffer_continues_at_its_position() -> None:
    world = KinesisWorld(batch_size=3)
    world.lease_duration = HOUR
    world.budget_in_bytes = 4 * MEBIBYTE
    world.poison = {"a/0"}

    async def main() -> None:
        world.put("a", "a/0", *[f"a/{number}".ljust(300_000) for number in range(1, 60)])

        async def cure(_life: Life) -> None:
            await anyio.sleep(2 * HOUR)
            world.poison.clear()

        await world.live(stopping_after(2.5 * HOUR), beside=cure)

    play(world, main)
    assert [name.strip() for name in world.succeeded] == names("a", 60)
    assert world.facts_of(PositionTrimmed, SourceFailed, MappingCrashed) == []


def test_a_merged_shard_waits_for_a_parent_that_is_blocked_longer_than_it_is_listed() -> None:
    world = KinesisWorld(batch_size=2)
    world.lease_duration = HOUR
    world.poison = {"low/0"}

    def put(hash_key: int, name: str) -> None:
        world.put_at(hash_key, name)

    async def go_on(_life: Life) -> None:
        for name in names("low", 3):
            put(0, name)
        put(LAST_HASH_KEY, "high/0")
        await anyio.sleep(10)
        parents = [shard.shard_id for shard in world.stream.shards(now=anyio.current_time())]
        world.stream.merge(parents[0], parents[1], now=anyio.current_time())
        await anyio.sleep(HOUR + 100)
        assert len(world.stream.shards(now=anyio.current_time())) == 1, "the parents are listed no more"
        put(0, "low/3")
        put(LAST_HASH_KEY, "high/1")
        await anyio.sleep(HOUR - 200)
        world.poison.clear()

    play_life(world, stopping_after(2 * HOUR), beside=go_on, shards=2, retention_in_seconds=HOUR)
    assert world.succeeded == ["high/0", *names("low", 4), "high/1"]
    assert world.facts_of(PositionTrimmed) == []


def test_a_table_whose_shards_roll_over_every_minute_keeps_up_and_keeps_the_order() -> None:
    world = TableWorld(parallelization_factor=2)

    async def main() -> None:
        async def feed(_life: Life) -> None:
            for number in range(700):
                world.put(f"k{number % 7}", f"k{number % 7}/{number // 7}")
                await anyio.sleep(0.5)

        await world.live(stopping_after(390), beside=feed)

    play(
        world,
        main,
        shards=4,
        shard_lifetime_in_seconds=60.0,
        split_at_rollover_rate=0.1,
        retention_in_seconds=300.0,
    )
    for key in range(7):
        assert [name for name in world.succeeded if name.startswith(f"k{key}/")] == names(f"k{key}", 100)
    assert world.facts_of(PositionTrimmed, MappingCrashed) == []


def test_another_number_of_lanes_at_every_start_keeps_the_order() -> None:
    world = KinesisWorld(batch_size=3)
    world.duration = 0.3

    async def main() -> None:
        for key in range(20):
            world.put(f"k{key}", *names(f"k{key}", 30))
        for factor in (10, 1, 7, 2):
            world.options["parallelization_factor"] = factor
            await world.live(crashing_after(2.3))
        await world.live(stopping_after(200))

    play(world, main, shards=2)
    for key in range(20):
        done = [name for name in world.succeeded if name.startswith(f"k{key}/")]
        assert list(dict.fromkeys(done)) == names(f"k{key}", 30)


def test_a_clock_that_is_set_forward_and_back_discards_no_young_record() -> None:
    world = KinesisWorld(
        maximum_batching_window_in_seconds=3, batch_size=5, maximum_record_age_in_seconds=6000, on_failure=FAILURES
    )

    async def main() -> None:
        async def feed() -> None:
            for name in names("a", 100):
                world.put("a", name)
                await anyio.sleep(1)

        async with anyio.create_task_group() as group:
            group.start_soon(feed)
            group.start_soon(world.set_clock, ((10.0, 3600.0), (40.0, -3600.0), (80.0, 0.0)))
            await world.live(stopping_after(110))

    play(world, main)
    assert world.succeeded == names("a", 100)


def test_a_function_that_asks_for_a_pause_of_a_day_is_tried_again_after_five_minutes() -> None:
    class Resting(KinesisWorld):
        is_rested = False

        async def invoke(self, invocation: Invocation) -> Response:
            if not self.is_rested:
                self.is_rested = True
                return Throttled(reason="Rest", retry_after=DAY)
            return await super().invoke(invocation)

    world = Resting()

    async def main() -> None:
        world.put("a", "a/0")
        await world.live(stopping_after(310))

    play(world, main)
    assert world.succeeded == ["a/0"]


def test_the_iterator_age_grows_while_a_shard_cannot_be_read() -> None:
    world = KinesisWorld(faults=FaultPlan(outages=[Outage(5, 200, Fault.ACCESS_DENIED)]))
    ages: list[float] = []

    async def until(life: Life) -> None:
        await life.has_begun.wait()
        for _ in range(3):
            stream = life.supervisor.statuses()[0].stream
            assert stream is not None
            ages.append(stream.iterator_age_in_seconds or 0.0)
            await anyio.sleep(150)
        life.begin_stop()

    play_life(world, until)
    assert ages == [0, pytest.approx(145, abs=5), 0]


def test_a_listing_without_an_answer_does_not_delay_the_stop() -> None:
    class Silent(KinesisWorld):
        def source(self, mapping: StreamMapping, client: Client) -> StreamSource:
            source = super().source(mapping, client)
            listed = source.shards

            async def shards() -> list[Shard]:
                await anyio.sleep(10 if anyio.current_time() > 5 else 0)
                return await listed()

            source.shards = shards  # type: ignore[method-assign]
            return source

    world = Silent()
    ended: list[float] = []

    async def main() -> None:
        await world.live(stopping_after(22))
        ended.append(anyio.current_time())

    play(world, main)
    assert ended[0] < 23


def test_a_long_batching_window_does_not_delay_the_reading_when_the_buffer_is_full() -> None:
    world = KinesisWorld(batch_size=10_000, maximum_batching_window_in_seconds=300, parallelization_factor=10)
    world.budget_in_bytes = 2_000

    async def main() -> None:
        for key in "abcdefghij":
            world.put(key, *names(key, 20))
        await world.live(stopping_after(290))

    play(world, main)
    assert len(world.succeeded) > 180, "only what there was room for at the end waits for its window"


def test_records_that_the_source_repeats_are_not_repeated_to_the_function() -> None:
    class Stuttering(KinesisWorld):
        def source(self, mapping: StreamMapping, client: Client) -> StreamSource:
            source = super().source(mapping, client)
            read_on, before = source.read, list[StreamRecord]()

            async def read(iterator: ShardIterator, *, limit: int) -> Read:
                answer = await read_on(iterator, limit=limit)
                repeated = before[-3:] + answer.records
                before.extend(answer.records)
                return answer._replace(records=repeated)

            source.read = read  # type: ignore[method-assign]
            return source

    world = Stuttering(batch_size=4)

    async def feed() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(world.live, stopping_after(20))
            for number in range(30):
                world.put("a", f"a/{number}")
                await anyio.sleep(0.4)

    play(world, feed)
    assert world.succeeded == names("a", 30)
    assert not world.facts_of(MappingCrashed)
