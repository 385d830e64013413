"""Which records does a tumbling window count? Each of its records once, despite failures, splits, stops and crashes.

A name in brackets, such as [S17], is the name of a case that was recorded on AWS.
"""

from __future__ import annotations

import random
from typing import Any

import anyio
import orjson
import pytest

from poller.facts import RecordsDropped
from poller.model.invocation import Answered, FunctionError, Response, Throttled
from poller.model.stream import Checkpoint, ShardEnd, ShardId
from tests.simulation.life import Life
from tests.simulation.one_stream import ERROR, FAILURES, play, play_life
from tests.simulation.steps import crashing_after, stopping_after
from tests.simulation.windows import Call, Windows, WindowTable, WindowWorld, gathered

SEEDS_IN_THE_GATE = 50

LARGE = "x" * 1_048_640
"""A state of a size with which AWS ended a window early."""


def shown(world: Windows) -> list[tuple[int, int, list[str] | str, list[str]]]:
    """Return each call in short form: the window, the records or the kind of last call, and the state's records."""
    words = {False: "final", True: "early"}
    return [
        (call.start, call.end, words[call.is_early] if call.is_final else call.numbers, call.state.get("seen", []))
        for call in world.windows
    ]


def stored(world: Windows) -> list[Checkpoint]:
    (checkpoints,) = world.store.stored.values()
    return list(checkpoints.values())


def assert_each_window_saw_its_records(world: Windows) -> None:
    assert world.seen_in() == world.put_into()


def test_the_state_of_a_window_is_stored_five_times_a_second() -> None:
    """A crash loses the states that the function has returned since then, and delivers these records again."""
    world = WindowWorld(batch_size=1)
    world.duration = 0.1
    positions: set[str] = set()

    async def until(life: Life) -> None:
        for _ in range(100):
            world.put_one()
        for _ in range(100):
            await anyio.sleep(0.1)
            positions.update(str(checkpoint.position) for checkpoint in stored(world))
        life.begin_stop()

    play_life(world, until)
    assert len(positions) >= 40


@pytest.mark.parity("CreateEventSourceMapping.TumblingWindowInSeconds")
def test_windows_of_ten_seconds_begin_at_multiples_of_ten_and_end_with_a_call_without_records() -> None:
    """[S17]"""
    world = WindowWorld(batch_size=2)
    numbers: list[str] = []

    async def until(life: Life) -> None:
        for at in (1.0, 1.1, 5.0, 12.0):
            await anyio.sleep(at - anyio.current_time())
            numbers.append(world.put_one())
        await anyio.sleep(100)
        life.begin_stop()

    play_life(world, until)
    first, second, third, fourth = numbers
    assert [(start, end, what) for start, end, what, _ in shown(world) if what == "final"] == [
        (0, 10, "final"),
        (10, 20, "final"),
    ]
    assert [what for _, _, what, _ in shown(world)][-3:] == ["final", [fourth], "final"]
    assert [state for _, _, what, state in shown(world) if what == "final"] == [[first, second, third], [fourth]]
    assert world.windows[0].state == {}
    last = world.finals()[0]
    assert last.event == {
        "Records": [],
        "shardId": "shardId-000000000000",
        "eventSourceARN": str(world.stream.arn),
        "window": {"start": "2026-01-01T00:00:00Z", "end": "2026-01-01T00:00:10Z"},
        "state": {"seen": [first, second, third]},
        "isFinalInvokeForWindow": True,
        "isWindowTerminatedEarly": False,
    }
    assert 12.0 <= last.at <= 14.0, "a later record closes a window"
    assert 50.0 <= world.finals()[1].at <= 52.0, "an idle one is closed half a minute after its end"


@pytest.mark.parametrize("ahead", [-60.0, 60.0, 3600.0])
def test_a_wrong_clock_of_ours_does_not_close_windows_that_are_open(ahead: float) -> None:
    world = WindowWorld()
    world.clock.ahead = ahead

    async def until(life: Life) -> None:
        for _ in range(12):
            world.put_one()
            await anyio.sleep(2)
        await anyio.sleep(200)
        life.begin_stop()

    play_life(world, until)
    assert_each_window_saw_its_records(world)
    assert [(call.start, call.end) for call in world.finals()] == [(0, 10), (10, 20), (20, 30)]


def test_an_idle_window_is_not_closed_early_if_our_clock_is_ahead() -> None:
    world = WindowWorld()
    world.clock.ahead = 1.5

    async def main() -> None:
        world.put_one()
        await world.live(stopping_after(60))

    play(world, main)
    [final] = world.finals()
    assert 40.0 <= final.at <= 42.5


@pytest.mark.parametrize("rest", [1, 2])
def test_a_state_above_a_megabyte_ends_its_window_early_and_the_next_begins_empty(rest: int) -> None:
    """[S18], also in the middle of a batch: the delivery continues in the same window, with an empty state."""
    world = WindowWorld(report_batch_item_failures=True)
    numbers: list[str] = []

    def answer(call: Call) -> Response | None:
        if numbers[0] in call.numbers:
            failures = [{"itemIdentifier": number} for number in call.numbers[1:]]
            return Answered(orjson.dumps({"state": {"seen": numbers[:1], "pad": LARGE}, "batchItemFailures": failures}))
        return None

    world.answer = answer

    async def main() -> None:
        numbers.extend(world.put_one() for _ in range(1 + rest))
        await world.live(stopping_after(60))

    play(world, main)
    assert shown(world) == [
        (0, 10, numbers, []),
        (0, 10, "early", numbers[:1]),
        (0, 10, numbers[1:], []),
        (0, 10, "final", numbers[1:]),
    ]
    assert world.windows[1].state == {"seen": numbers[:1], "pad": LARGE}
    assert world.windows[2].state == {}


def test_a_restart_before_the_call_for_an_early_end_makes_this_call_first() -> None:
    world = WindowWorld(batch_size=1)
    numbers: list[str] = []
    failing = True

    def answer(call: Call) -> Response | None:
        if call.is_early:
            return ERROR if failing else None
        return Answered(gathered(call, call.numbers)[:-2] + b',"pad":"' + LARGE.encode() + b'"}}')

    world.answer = answer

    async def main() -> None:
        nonlocal failing
        numbers.extend(world.put_one() for _ in range(2))
        await world.live(crashing_after(5))
        before = len(world.windows)
        failing = False
        await world.live(stopping_after(60))
        assert [what for _, _, what, _ in shown(world)][before:] == ["early", [numbers[1]], "early", "final"]

    play(world, main)
    assert_each_window_saw_its_records(world)


def test_the_state_of_a_partly_failed_batch_counts_only_if_a_record_is_done() -> None:
    world = WindowWorld(report_batch_item_failures=True)
    numbers: list[str] = []
    calls = 0

    def answer(call: Call) -> Response | None:
        nonlocal calls
        calls += 1
        if calls == 1:
            return Answered(gathered(call, call.numbers[:2], batchItemFailures=[{"itemIdentifier": numbers[2]}]))
        if calls == 2:  # the first attempt: no record is done, and the returned state does not count
            return Answered(gathered(call, ["?"], batchItemFailures=[{"itemIdentifier": numbers[2]}]))
        return None

    world.answer = answer

    async def main() -> None:
        numbers.extend(world.put_one() for _ in range(4))
        await world.live(stopping_after(60))

    play(world, main)
    assert shown(world) == [
        (0, 10, numbers, []),
        (0, 10, numbers[2:], numbers[:2]),
        (0, 10, numbers[2:], numbers[:2]),
        (0, 10, "final", numbers),
    ]


def test_an_answer_without_state_fails_and_is_tried_again() -> None:
    world = WindowWorld(report_batch_item_failures=True)
    world.answer = lambda call: Answered(b"null") if len(world.windows) == 1 or call.is_final else None

    async def main() -> None:
        world.put_one()
        await world.live(stopping_after(60))

    play(world, main)
    assert [call.is_final for call in world.windows] == [False, False, True], "the last one's answer needs none"
    assert_each_window_saw_its_records(world)


def test_discarded_records_do_not_change_the_state() -> None:
    world = WindowWorld(batch_size=1, maximum_retry_attempts=1, on_failure=FAILURES)
    numbers: list[str] = []
    world.answer = lambda call: ERROR if numbers[1] in call.numbers else None

    async def main() -> None:
        numbers.extend(world.put_one() for _ in range(3))
        await world.live(stopping_after(60))

    play(world, main)
    assert shown(world)[-1] == (0, 10, "final", [numbers[0], numbers[2]])
    (report,) = world.destination.reports
    assert report.window is not None
    assert not report.window["isFinalInvokeForWindow"]
    assert not report.window["isWindowTerminatedEarly"]
    assert report.event["state"] == {"seen": [numbers[0]]}
    assert len(report.event["Records"]) == 1


@pytest.mark.parametrize("retries", [0, 2])
def test_a_failing_last_call_is_retried_then_reported_without_records_and_the_next_window_begins(
    retries: int,
) -> None:
    world = WindowWorld(maximum_retry_attempts=retries, on_failure=FAILURES)
    world.answer = lambda call: ERROR if call.is_final and call.start == 0 else None
    numbers: list[str] = []

    async def main() -> None:
        async def until(life: Life) -> None:
            numbers.append(world.put_one())
            await anyio.sleep(12)
            numbers.append(world.put_one())
            await anyio.sleep(60)
            life.begin_stop()

        await world.live(until)
        assert [checkpoint.window for checkpoint in stored(world)] == [None]

    play(world, main)
    assert shown(world) == [
        (0, 10, numbers[:1], []),
        *[(0, 10, "final", numbers[:1])] * (retries + 1),
        (10, 20, numbers[1:], []),
        (10, 20, "final", numbers[1:]),
    ]
    (report,) = world.destination.reports
    assert (report.condition, report.invoke_count, report.numbers) == ("RetryAttemptsExhausted", retries + 1, [])
    assert report.window is not None
    assert report.window["isFinalInvokeForWindow"]


def test_without_a_limit_a_failing_last_call_blocks_its_shard_until_it_succeeds() -> None:
    world = WindowWorld()
    world.answer = lambda call: ERROR if call.is_final and call.start == 0 and call.at < 100 else None
    reasons: list[str] = []

    async def until(life: Life) -> None:
        world.put_one()
        await anyio.sleep(12)
        world.put_one()
        await anyio.sleep(60)
        stream = life.supervisor.statuses()[0].stream
        assert stream is not None
        reasons.extend(shard.reason for shard in stream.blocked)
        await anyio.sleep(120)
        life.begin_stop()

    play_life(world, until)
    assert reasons == ["ValueError"]
    assert_each_window_saw_its_records(world)
    second = next(call for call in world.windows if call.start == 10)
    assert second.at > 100


def test_the_age_of_a_last_call_counts_from_when_it_became_due() -> None:
    world = WindowWorld(maximum_record_age_in_seconds=60)
    world.answer = lambda call: ERROR if call.is_final else None

    async def main() -> None:
        world.put_one()
        await world.live(stopping_after(200))

    play(world, main)
    finals = world.finals()
    assert finals[-1].at - finals[0].at <= 60
    assert 40 <= finals[0].at <= 42
    dropped = world.facts_of(RecordsDropped)
    assert [(fact.records, fact.condition) for fact in dropped] == [(0, "RecordAgeExceeded")]


def test_records_can_become_too_old_while_their_window_waits() -> None:
    """The last call of one window fails.

    Meanwhile the records of the next window become too old, and the function never gets them.
    """
    world = WindowWorld(maximum_record_age_in_seconds=60, on_failure=FAILURES)
    world.answer = lambda call: ERROR if call.is_final and call.start == 0 else None
    numbers: list[str] = []

    async def until(life: Life) -> None:
        world.put_one()
        await anyio.sleep(12)
        numbers.append(world.put_one())
        await anyio.sleep(200)
        life.begin_stop()

    play_life(world, until)
    assert [report.condition for report in world.destination.reports] == ["RecordAgeExceeded"] * 2
    assert [report.numbers for report in world.destination.reports] == [[], numbers]
    assert all(numbers[0] not in call.numbers for call in world.windows)


@pytest.mark.parametrize("kind", [WindowWorld, WindowTable])
def test_a_window_does_not_outlive_its_shard(kind: type[Windows]) -> None:
    world = kind(length=900)

    async def main() -> None:
        async def until(life: Life) -> None:
            for key in "abcdef":
                world.put_one(key)
            await anyio.sleep(5)
            now = anyio.current_time()
            (shard,) = world.stream.shards(now=now)
            split = world.stream.split if kind is WindowWorld else world.stream.roll_over
            split(shard.shard_id, now=now)
            for key in "abcdef":
                world.put_one(key)
            await anyio.sleep(100)
            life.begin_stop()

        await world.live(until)
        (final,) = world.finals()
        assert final.at < 60, "at the shard's end, long before the window's"
        assert all(call.at >= final.at for call in world.windows if call.shard_id != final.shard_id)
        checkpoints = stored(world)
        assert [c.window for c in checkpoints if isinstance(c.position, ShardEnd)] == [None]
        await world.live(stopping_after(1000))

    play(world, main)
    assert_each_window_saw_its_records(world)


def test_a_crash_during_a_failing_last_call_at_the_shards_end_keeps_the_window_and_the_children_wait() -> None:
    world = WindowWorld(length=900)
    failing = True
    world.answer = lambda call: ERROR if failing and call.is_final else None
    parents: list[str] = []

    async def main() -> None:
        nonlocal failing

        async def until(life: Life) -> None:
            for key in "abcdef":
                world.put_one(key)
            now = anyio.current_time()
            parents.extend(shard.shard_id for shard in world.stream.shards(now=now))
            world.stream.split(parents[0], now=now)
            for key in "abcdef":
                world.put_one(key)
            await anyio.sleep(100)
            life.crash()

        await world.live(until)
        [checkpoints] = world.store.stored.values()
        parent = checkpoints[ShardId(parents[0])]
        assert parent.window is not None
        assert not isinstance(parent.position, ShardEnd)
        assert {call.shard_id for call in world.windows} == set(parents)
        await world.live(stopping_after(50))
        failing = False
        await world.live(stopping_after(2000))

    play(world, main)
    assert_each_window_saw_its_records(world)


@pytest.mark.parametrize("kind", [WindowWorld, WindowTable])
def test_a_stored_window_that_became_due_meanwhile_closes_after_catching_up(
    kind: type[Windows],
) -> None:
    world = kind(batch_size=5)
    second: list[str] = []

    async def main() -> None:
        async def until(life: Life) -> None:
            world.put_one()
            await anyio.sleep(3)
            life.crash()

        await world.live(until)
        second.append(world.put_one())
        await anyio.sleep(500)
        began = anyio.current_time()
        await world.live(stopping_after(60))
        assert [call.numbers for call in world.windows][1:] == [second, []]
        assert world.finals()[0].at < began + 30

    play(world, main)
    assert_each_window_saw_its_records(world)


def test_a_window_is_not_idle_while_its_reader_lags_behind() -> None:
    """All reads except the last ones are empty or short, although there are more records."""
    world = WindowWorld(batch_size=3)

    async def main() -> None:
        async def until(life: Life) -> None:
            world.put_one()
            await anyio.sleep(3)
            life.crash()

        await world.live(until)
        for _ in range(50):
            world.put_one()
        await anyio.sleep(500)
        world.stream.empty_read_rate, world.stream.short_read_rate = 0.8, 1.0
        await world.live(stopping_after(200))

    play(world, main)
    assert_each_window_saw_its_records(world)


def test_a_late_record_counts_in_the_window_that_is_open() -> None:
    """The last record has an arrival time in the first window, but comes after a record of the second one."""
    world = WindowWorld()
    numbers: list[str] = []

    async def until(life: Life) -> None:
        numbers.append(world.put_one())
        await anyio.sleep(12)
        numbers.extend([world.put_one(), world.put_one()])
        (shard,) = world.stream.shards(now=anyio.current_time())
        shard.records[-1] = shard.records[-1]._replace(arrived_at=9.5)
        await anyio.sleep(60)
        life.begin_stop()

    play_life(world, until)
    assert shown(world) == [
        (0, 10, numbers[:1], []),
        (0, 10, "final", numbers[:1]),
        (10, 20, numbers[1:], []),
        (10, 20, "final", numbers[1:]),
    ]


def test_a_crash_between_the_last_call_and_its_checkpoint_repeats_that_call_only() -> None:
    world = WindowWorld()
    world.duration = 2.0

    async def main() -> None:
        world.put_one()
        await world.live(crashing_after(41.5))  # the last call begins at about 40 and is not answered before 42
        assert len(world.finals()) == 1
        await world.live(stopping_after(60))

    play(world, main)
    assert [call.is_final for call in world.windows] == [False, True, True]
    assert_each_window_saw_its_records(world)


def test_a_run_that_waited_for_the_last_call_of_the_old_run_does_not_repeat_it() -> None:
    world = WindowWorld()

    async def until(life: Life) -> None:
        world.put_one()
        await anyio.sleep(39)
        world.duration = 12.0  # the last call begins at about 40 and outlasts the grace of ten seconds
        await anyio.sleep(2)
        assert len(world.finals()) == 1
        await life.supervisor.replace(world.mapping, life.function(world.mapping))
        assert not [call for call in world.ended if call.is_final], "the old run still runs"
        world.duration = 0.01
        await anyio.sleep(60)
        life.begin_stop()

    play_life(world, until)
    assert [call.is_final for call in world.windows] == [False, True]
    assert_each_window_saw_its_records(world)


def test_a_mapping_that_no_longer_has_windows_forgets_the_stored_one() -> None:
    world = WindowWorld(batch_size=1)
    calls: list[Any] = []

    async def main() -> None:
        world.put_one()
        await world.live(crashing_after(5))
        assert all(checkpoint.window is not None for checkpoint in stored(world))
        del world.options["tumbling_window_in_seconds"]
        world.put_one()
        world.invoke = lambda invocation: plain(invocation)  # type: ignore[method-assign]  # the events are plain now
        await world.live(stopping_after(100))
        assert [checkpoint.window for checkpoint in stored(world)] == [None]

    async def plain(invocation: Any) -> Response:
        calls.append(list(orjson.loads(invocation.payload)))
        return Answered(b"")

    play(world, main)
    assert calls == [["Records"]]


def test_a_restart_neither_loses_nor_repeats_a_state(seed: int) -> None:
    """Each window counts its records once, despite crashes, stops, failures, splits and early ends."""
    kind = (WindowWorld, WindowTable)[seed % 2]
    randomness = random.Random(seed)
    world = kind(
        length=randomness.choice([1, 5, 10]),
        batch_size=randomness.choice([1, 3, 100]),
        maximum_batching_window_in_seconds=randomness.choice([0, 0, 2]),
        report_batch_item_failures=True,
        bisect_batch_on_function_error=randomness.random() < 0.5,
    )
    world.duration = randomness.choice([0.01, 0.3, 1.0])
    ends_large = randomness.random() < 0.3
    trouble_ends_at = 90.0

    def answer(call: Call) -> Response | None:
        lot = randomness.random() if call.at < trouble_ends_at else 1.0
        if lot < 0.1:
            return Throttled(reason="TooManyRequests")
        if lot < 0.2:
            return FunctionError(error_type="ValueError", message="by plan")
        if lot < 0.25:
            return Answered(b'{"batchItemFailures":[]}')
        done, failures = len(call.numbers), []
        if lot < 0.5 and call.numbers:
            done = randomness.randrange(len(call.numbers))
            failures = [{"itemIdentifier": call.numbers[done]}]
        state: dict[str, Any] = {"seen": call.state.get("seen", []) + call.numbers[:done]}
        if ends_large and len(state["seen"]) >= 4:
            state["pad"] = LARGE
        return Answered(orjson.dumps({"state": state, "batchItemFailures": failures}))

    world.answer = answer

    async def produce() -> None:
        for _ in range(60):
            await anyio.sleep(randomness.choice([0.0, 0.1, 0.5, 2.0]))
            world.put_one(randomness.choice("abcdef"))
            if randomness.random() < 0.03:
                now = anyio.current_time()
                shard = randomness.choice([shard for shard in world.stream.shards(now=now) if shard.is_open])
                (world.stream.split if kind is WindowWorld else world.stream.roll_over)(shard.shard_id, now=now)

    def is_done() -> bool:
        seen = {number for call in world.ended for number in call.numbers}
        return len(seen) == 60 and not any(checkpoint.window for checkpoint in stored(world))

    async def until_closed(life: Life) -> None:
        with anyio.move_on_after(120):
            while not is_done():  # noqa: ASYNC110
                await anyio.sleep(5)
        await anyio.sleep(20)  # no call may come after the last one of a window
        life.begin_stop()

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(produce)
            while anyio.current_time() < trouble_ends_at:
                ending = randomness.choice([crashing_after, crashing_after, stopping_after])
                await world.live(ending(randomness.uniform(0.1, 12)))
                await anyio.sleep(randomness.choice([0, 0, 3]))
        await world.live(until_closed)
        assert [checkpoint.window for checkpoint in stored(world) if checkpoint.window] == []

    play(world, main, shards=2, seed=seed, empty_read_rate=0.2, short_read_rate=0.2)
    assert_each_window_saw_its_records(world)
