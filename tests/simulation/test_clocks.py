"""What happens if the daemon's own clock is wrong?

Nothing: the times of a service are compared with the service's clock.
"""

from __future__ import annotations

from typing import TypeVar

import anyio
import pytest

from poller.facts import BatchInvoked, Fact, RecordsDropped
from tests.simulation.life import Life
from tests.simulation.one_stream import KinesisWorld, play, play_life
from tests.simulation.steps import live, sending, stopping_after
from tests.simulation.world import World

F = TypeVar("F")

wrong_clocks = pytest.mark.parametrize("ahead", [-7200.0, -120.0, 120.0, 7200.0])


def facts_of(facts: list[Fact], kind: type[F]) -> list[F]:
    return [fact for fact in facts if isinstance(fact, kind)]


@wrong_clocks
@pytest.mark.parametrize("window", [0, 5])
def test_records_are_discarded_at_their_maximum_age_and_no_younger_one_is(ahead: float, window: int) -> None:
    """`poison` always fails, so only its age ends its retries.

    A batching window also depends on the ages of records.
    """
    world = KinesisWorld(
        maximum_record_age_in_seconds=60, batch_size=1 if window == 0 else 10, maximum_batching_window_in_seconds=window
    )
    world.clock.ahead = ahead
    world.poison = {"poison"}
    dropped: list[list[RecordsDropped]] = []

    async def until(life: Life) -> None:
        for number in range(10):
            world.put("a", f"fresh/{number}")
            await anyio.sleep(1)
        await anyio.sleep(10)
        world.put("a", "poison")
        for seconds in (58, 7):
            await anyio.sleep(seconds)
            dropped.append(world.facts_of(RecordsDropped))
        life.begin_stop()

    play_life(world, until)
    assert world.succeeded == [f"fresh/{number}" for number in range(10)]
    if window:
        assert len(world.calls[0]) >= 4, "a batching window is not cut short by an age that is none"
    assert [[fact.condition for fact in facts] for facts in dropped] == [[], ["RecordAgeExceeded"]]


@wrong_clocks
def test_the_iterator_age_is_measured_by_the_clock_that_dates_the_records(ahead: float) -> None:
    world = KinesisWorld()
    world.clock.ahead = ahead
    world.duration = 8.0
    ages: list[float] = []

    async def until(life: Life) -> None:
        world.put("a", "slow")
        for _ in range(5):
            await anyio.sleep(1)
            [status] = life.supervisor.statuses()
            assert status.stream is not None
            ages.append(status.stream.iterator_age_in_seconds or 0.0)
        life.begin_stop()

    play_life(world, until)
    assert ages == pytest.approx([1, 2, 3, 4, 5], abs=2)


@wrong_clocks
def test_the_age_of_a_batch_is_measured_by_the_clock_that_dates_the_records(ahead: float) -> None:
    world = KinesisWorld(batch_size=1)
    world.clock.ahead = ahead

    async def main() -> None:
        world.put("a", "old")
        await anyio.sleep(50)
        world.put("a", "new")
        await world.live(stopping_after(5))

    play(world, main)
    assert [fact.oldest_record_age_seconds for fact in world.facts_of(BatchInvoked)] == pytest.approx([50, 0], abs=2)
    assert all(fact.oldest_record_age_seconds >= 0 for fact in world.facts_of(BatchInvoked))


@wrong_clocks
def test_the_age_of_a_message_is_measured_by_the_clock_that_dates_the_messages(ahead: float) -> None:
    world = World()
    queue = world.add_queue("q")
    world.add_function("f")
    world.add_mapping("m", queue, "f", batch_size=1)
    world.clock.ahead = ahead
    live(world, sending(world, queue, "hello", stop_at=5))
    [fact] = world.facts_of(BatchInvoked)
    assert 0 <= fact.oldest_record_age_seconds < 2


def test_an_age_does_not_become_negative_when_our_clock_goes_back() -> None:
    world = World()
    queue = world.add_queue("q")
    world.add_function("f")
    world.add_mapping("m", queue, "f", batch_size=1)

    async def until(life: Life) -> None:
        world.sqs.send(queue, "before")
        await anyio.sleep(5)
        world.clock.ahead = -7200
        world.sqs.send(queue, "after")
        await anyio.sleep(5)
        life.begin_stop()

    live(world, until)
    assert [fact.oldest_record_age_seconds for fact in world.facts_of(BatchInvoked)] == pytest.approx([0, 0], abs=2)
    assert all(fact.oldest_record_age_seconds >= 0 for fact in world.facts_of(BatchInvoked))
