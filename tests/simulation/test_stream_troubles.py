"""Which faults in earlier versions of poller did seeds of streams find? Each fault has a scenario here."""

from __future__ import annotations

from itertools import pairwise

import anyio

from poller.model.stream import Latest
from tests.fakes.faults import FaultPlan
from tests.fakes.kinesis import FakeKinesis
from tests.fakes.target import FunctionPlan
from tests.simulation.life import Life
from tests.simulation.streams import KinesisStream
from tests.simulation.world import World, run_seeded


def test_records_in_hand_are_not_overtaken_by_a_grandchild_whose_parents_expired_unread() -> None:
    world = World()
    plan = FunctionPlan(duration_in_seconds=(0.0, 0.0))
    target = world.add_function("function", plan)
    numbers: list[str] = []

    async def main() -> None:
        clicks = KinesisStream("clicks", retention_in_seconds=60.0)
        world.add_stream_mapping("mapping", world.add_stream(clicks), "function")

        async def until(life: Life) -> None:
            numbers.append(clicks.put("key"))
            plan.poison.add(numbers[0])
            await anyio.sleep_until(1)
            left, right = clicks.stream.split("shardId-000000000000", now=1)
            await anyio.sleep_until(2)
            child = clicks.stream.merge(left, right, now=2)
            await anyio.sleep_until(70)
            assert [shard.shard_id for shard in clicks.stream.shards(now=70)] == [child], "the others have expired"
            numbers.append(clicks.put("key"))
            await anyio.sleep_until(100)
            assert {number for call in target.calls for number in call.message_ids} == {numbers[0]}
            plan.poison.clear()
            await anyio.sleep_until(200)
            life.begin_stop()

        await world.live(until)

    run_seeded(1, main)
    assert [number for call in target.calls for number in call.done] == numbers


def test_with_latest_the_stored_time_is_not_rounded_up_to_the_next_millisecond() -> None:
    """Kinesis reports arrivals in whole milliseconds, so a stored time may not be rounded up."""
    world = World()
    target = world.add_function("function", FunctionPlan(duration_in_seconds=(0.0, 0.0)))
    numbers: list[str] = []

    async def main() -> None:
        clicks = KinesisStream("clicks")
        world.add_stream_mapping("mapping", world.add_stream(clicks), "function", starting_position=Latest())

        async def crash(life: Life) -> None:
            await anyio.sleep_until(1.0008)
            assert world.ready_at["mapping"] < 1.0008
            numbers.append(clicks.put("key"))
            life.crash()

        async def stop(life: Life) -> None:
            await anyio.sleep(10)
            life.begin_stop()

        await anyio.sleep_until(1.0006)
        await world.live(crash)
        await world.live(stop)

    run_seeded(1, main)
    assert [number for call in target.calls for number in call.done] == numbers


def test_the_pause_after_a_read_does_not_begin_with_the_request_of_its_iterator() -> None:
    """Otherwise, six reads would come within the first second, and Kinesis allows five."""
    world = World()
    world.add_function("function")

    async def main() -> None:
        kinesis = FakeKinesis(faults=FaultPlan(latency_in_seconds=(0.04, 0.04)))
        clicks = KinesisStream("clicks", service=kinesis, empty_read_rate=1.0)
        world.add_stream_mapping("mapping", world.add_stream(clicks), "function")
        clicks.put("key")

        async def stop(life: Life) -> None:
            await anyio.sleep(5)
            life.begin_stop()

        await world.live(stop)

    run_seeded(1, main)
    began = [read.began_at for read in world.notes.reads]
    assert len(began) > 20
    assert min(after - before for before, after in pairwise(began)) > 0.199


def test_a_stop_ends_a_lane_that_waits_in_line_at_once() -> None:
    world = World()
    plan = FunctionPlan(duration_in_seconds=(20.0, 20.0))
    target = world.add_function("function", plan, timeout_in_seconds=60, concurrency=1)
    reading: list[int] = []

    async def main() -> None:
        for name in ("one", "two"):
            stream = KinesisStream(name)
            world.add_stream_mapping(name, world.add_stream(stream), "function")
            stream.put("key")

        async def stop(life: Life) -> None:
            await anyio.sleep(5)
            life.begin_stop()
            await anyio.sleep(1)
            reading.extend(status.polls_in_flight for status in life.supervisor.statuses())

        await world.live(stop)

    run_seeded(1, main)
    assert sorted(reading) == [0, 1], "only the mapping whose function runs has not ended yet"
    assert len(target.calls) == 1
