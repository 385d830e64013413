"""What waits if an invocation runs longer than the grace of a replacement? Only its message group or its lane."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import anyio
import pytest

from poller.core.streams.lanes import lane_of
from poller.errors import AccessDenied
from poller.facts import MappingCrashed
from poller.model.invocation import FunctionError, Invocation, Response
from poller.model.mapping import StreamMapping
from tests.fakes.target import Call, FakeTarget
from tests.simulation.checker import check_one_batch_at_a_time, check_order
from tests.simulation.life import Life
from tests.simulation.process import OurFault
from tests.simulation.steps import Call as SqsCall
from tests.simulation.steps import around_calls, live
from tests.simulation.streams import CANARY, KinesisStream
from tests.simulation.world import World, run_seeded

LONG = 100.0
GRACE = 5.0
TIMEOUT = 200.0
LANES = 4


def running_long(monkeypatch: pytest.MonkeyPatch, target: FakeTarget, is_long: Callable[[str], bool]) -> None:
    """Let the first invocation whose event matches run for LONG seconds."""
    invoke, plan, waiting = target.invoke, target.plan, [True]

    async def invoke_long(invocation: Invocation) -> Response:
        is_first = bool(waiting) and is_long(invocation.payload.decode())
        if is_first:
            waiting.clear()
        plan.duration_in_seconds = (LONG, LONG) if is_first else (0.1, 0.1)
        return await invoke(invocation)

    monkeypatch.setattr(target, "invoke", invoke_long)


@pytest.mark.parametrize("change", ["replace", "pause and resume", "remove and add"])
def test_only_the_group_of_an_invocation_that_outlasts_the_grace_waits(
    change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(grace_in_seconds=GRACE)
    queue = world.add_queue("q.fifo", visibility_timeout_in_seconds=30)
    target = world.add_function("f", timeout_in_seconds=TIMEOUT)
    mapping = world.add_mapping("m", queue, "f", batch_size=1)
    running_long(monkeypatch, target, lambda event: "slow-0" in event)

    async def until(life: Life) -> None:
        world.sqs.send(queue, "slow-0", group="slow", deduplication_id="s0")
        await anyio.sleep(10)
        await make(life, change, mapping)
        for number in range(3):
            world.sqs.send(queue, f"slow-{number + 1}", group="slow", deduplication_id=f"s{number + 1}")
            world.sqs.send(queue, f"fast-{number}", group="fast", deduplication_id=f"f{number}")
        await anyio.sleep(30)
        place = "the message groups of 1 batch"
        status = life.supervisor.status(mapping.name)
        assert status.reason == f"waits in {place} until the invocations of its last run have ended"
        assert status.queue is not None
        assert status.queue.oldest_age_in_seconds is not None
        assert status.queue.oldest_age_in_seconds >= 40
        await anyio.sleep(170)
        assert life.supervisor.status(mapping.name).reason is None
        life.begin_stop()

    live(world, until)
    slow = [call for call in target.calls if call.groups == ["slow"]]
    fast = [call for call in target.calls if call.groups == ["fast"]]
    assert len(slow) == 4, "the long invocation was not repeated"
    assert all(call.began_at >= slow[0].ended_at for call in slow[1:])
    assert max(call.ended_at for call in fast) < 30, "the other group did not wait"
    check_order(queue, target.calls, lambda _: True)
    check_one_batch_at_a_time(target.calls)
    assert not queue.message_ids


@pytest.mark.parametrize("change", ["replace", "pause and resume", "remove and add"])
def test_a_group_waits_for_the_invocation_of_the_old_run_even_if_its_message_becomes_visible_meanwhile(
    change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message waits long for a slot of its function, and the daemon has no permission to hide it for longer."""
    world = World(grace_in_seconds=GRACE)
    other, queue = world.add_queue("other"), world.add_queue("q.fifo", visibility_timeout_in_seconds=30)
    target = world.add_function("f", timeout_in_seconds=TIMEOUT, concurrency=2)
    world.add_mapping("other", other, "f", batch_size=1)
    mapping = world.add_mapping("m", queue, "f", batch_size=1)
    invoke = target.invoke

    async def invoke_long(invocation: Invocation) -> Response:
        seconds = 0.1 if len(target.calls) > 2 else 150.0
        target.plan.duration_in_seconds = (seconds, seconds)
        return await invoke(invocation)

    monkeypatch.setattr(target, "invoke", invoke_long)

    async def denied(call: SqsCall, operation: str, request: dict[str, Any]) -> Any:
        if operation == "ChangeMessageVisibilityBatch":
            raise AccessDenied("not authorized", code="AccessDenied")
        return await call(request)

    around_calls(monkeypatch, denied)

    async def until(life: Life) -> None:
        world.sqs.send(other, "busy-1")
        world.sqs.send(other, "busy-2")
        await anyio.sleep(1)
        world.sqs.send(queue, "slow", group="slow", deduplication_id="slow")
        await anyio.sleep(170)
        await make(life, change, mapping)
        await anyio.sleep(600)
        life.begin_stop()

    live(world, until)
    *_, long = target.calls[:3]
    received = [entry.at for entry in queue.history if entry.kind == "received"]
    assert received[1] < long.ended_at, "the new run has received the message again"
    check_one_batch_at_a_time(target.calls)
    assert not queue.message_ids


def test_a_batch_that_fails_after_a_replacement_does_not_stop_the_polls_until_the_old_invocation_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(grace_in_seconds=GRACE)
    queue = world.add_queue("q.fifo", visibility_timeout_in_seconds=30)
    target = world.add_function("f", timeout_in_seconds=TIMEOUT)
    mapping = world.add_mapping("m", queue, "f", batch_size=1)
    running_long(monkeypatch, target, lambda event: "slow" in event)
    invoke, failures = target.invoke, list[FunctionError]()

    async def fail_once(invocation: Invocation) -> Response:
        if b"broken" not in invocation.payload or failures:
            return await invoke(invocation)
        failures.append(FunctionError(error_type="KeyError", message="by plan"))
        return failures[0]

    monkeypatch.setattr(target, "invoke", fail_once)

    async def until(life: Life) -> None:
        world.sqs.send(queue, "slow", group="slow", deduplication_id="slow")
        await anyio.sleep(10)
        await make(life, "replace", mapping)
        world.sqs.send(queue, "broken", group="broken", deduplication_id="broken")
        await anyio.sleep(5)
        world.sqs.send(queue, "fast", group="fast", deduplication_id="fast")
        await anyio.sleep(200)
        life.begin_stop()

    live(world, until)
    assert failures
    assert [call.groups for call in target.calls] == [["slow"], ["fast"], ["broken"]]
    assert target.calls[1].ended_at < 30
    assert not queue.message_ids


@pytest.mark.parametrize("change", ["replace", "pause and resume", "remove and add"])
def test_only_the_shard_of_an_invocation_that_outlasts_the_grace_waits_and_nothing_is_repeated(
    change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        world, stream, target, mapping = world_of_two_shards()
        first = stream.put("k1")
        running_long(monkeypatch, target, lambda event: first in event)

        async def until(life: Life) -> None:
            await anyio.sleep(8.9)  # a shard that is caught up is read once a second
            put_in_both(stream)
            await anyio.sleep(1.1)  # some of the records are done, and their checkpoint is not stored yet
            await make(life, change, mapping)
            put_in_both(stream)
            await anyio.sleep(200)
            life.begin_stop()

        await world.live(until)
        long, *later = target.calls
        slow = [call for call in later if shard_of(stream, call) == shard_of(stream, long)]
        fast = [call for call in later if call not in slow]
        assert slow
        assert all(call.began_at >= long.ended_at for call in slow)
        assert max(call.ended_at for call in fast) < 30, "the other shard did not wait"
        handed_over = [number for call in target.calls for number in call.message_ids]
        assert len(handed_over) == len(set(handed_over)) == 41

    run_seeded(1, main)


@pytest.mark.parametrize("change", ["replace", "pause and resume", "remove and add"])
def test_only_the_lane_of_an_invocation_that_outlasts_the_grace_waits_and_nothing_is_repeated(
    change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        world, stream, target, mapping = world_of_lanes()
        first = stream.put("k1")
        running_long(monkeypatch, target, lambda event: first in event)

        async def until(life: Life) -> None:
            await anyio.sleep(8.9)  # a shard that is caught up is read once a second
            put_in_both(stream)
            await anyio.sleep(1.1)
            await make(life, change, replace(mapping, batch_size=2))
            put_in_both(stream)
            await anyio.sleep(200)
            assert life.budget.used == 0
            life.begin_stop()

        await world.live(until)
        long, *later = target.calls
        slow = [call for call in later if lane(stream, call) == lane(stream, long)]
        fast = [call for call in later if call not in slow]
        assert slow
        assert all(call.began_at >= long.ended_at for call in slow)
        assert max(call.ended_at for call in fast) < 30, "the other lanes did not wait"
        handed_over = [number for call in target.calls for number in call.message_ids]
        assert len(handed_over) == len(set(handed_over)) == 41

    run_seeded(1, main)


def test_a_lane_whose_old_invocation_fails_is_tried_again_with_the_next_attempt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        world, stream, target, mapping = world_of_lanes(batch_size=3)
        slow = [stream.put("k1") for _ in range(5)]
        invoke, waiting = target.invoke, [True]

        async def fail_late(invocation: Invocation) -> Response:
            if waiting:
                waiting.clear()
                target.plan.duration_in_seconds, target.plan.poison = (LONG, LONG), {slow[1]}
                try:
                    return await invoke(invocation)
                finally:
                    target.plan.duration_in_seconds, target.plan.poison = (0.1, 0.1), set()
            target.plan.duration_in_seconds = (0.1, 0.1)
            return await invoke(invocation)

        monkeypatch.setattr(target, "invoke", fail_late)

        async def until(life: Life) -> None:
            await anyio.sleep(10)
            await make(life, "replace", mapping)
            put_in_both(stream)
            await anyio.sleep(200)
            life.begin_stop()

        await world.live(until)
        long, *later = target.calls
        assert long.ending == "failed"
        again, *rest = [call for call in later if lane(stream, call) == lane(stream, long)]
        assert again.began_at >= long.ended_at
        assert (again.message_ids, again.attempt) == (long.message_ids, 2)
        assert again.request_id == long.request_id
        assert rest[0].message_ids[:2] == slow[3:]
        assert min(call.began_at for call in later) < 30, "the other lanes did not wait"

    run_seeded(1, main)


def test_with_another_number_of_lanes_a_batch_of_other_records_begins_with_its_first_attempt() -> None:
    async def main() -> None:
        world, stream, target, mapping = world_of_lanes(batch_size=2)
        one, other = two_lanes()
        first, between, last = stream.put(one), stream.put(other), stream.put(one)
        target.plan.poison = {first}

        async def until(life: Life) -> None:
            await anyio.sleep(5)
            await life.supervisor.replace(replace(mapping, parallelization_factor=1), life.function(mapping))
            await anyio.sleep(20)
            life.begin_stop()

        await world.live(until)
        before = [call for call in target.calls if call.message_ids == [first, last]]
        after = [call for call in target.calls if call.message_ids == [first, between]]
        assert len(before) > 1
        assert [call.attempt for call in after][:2] == [1, 2]
        assert {call.request_id for call in before}.isdisjoint(call.request_id for call in after)

    run_seeded(1, main)


def test_a_lane_continues_after_the_records_that_the_old_invocation_has_done(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        world, stream, target, mapping = world_of_lanes(batch_size=3, report_batch_item_failures=True)
        slow = [stream.put("k1") for _ in range(5)]
        target.plan.names_failures, target.plan.poison = True, {slow[1]}
        running_long(monkeypatch, target, lambda event: slow[0] in event)

        async def until(life: Life) -> None:
            await anyio.sleep(10)
            await make(life, "replace", mapping)
            put_in_both(stream)
            await anyio.sleep(100)
            target.plan.poison = set()
            await anyio.sleep(100)
            assert life.budget.used == 0
            life.begin_stop()

        await world.live(until)
        long, *later = target.calls
        assert (long.message_ids, long.done) == (slow[:3], frozenset({slow[0]}))
        again, *_ = [call for call in later if lane(stream, call) == lane(stream, long)]
        assert again.began_at >= long.ended_at
        assert again.message_ids == slow[1:4]
        done = [number for call in target.calls for number in call.done]
        assert len(done) == len(set(done)) == 25

    run_seeded(1, main)


def test_a_lane_waits_for_the_same_invocation_through_many_replacements(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        world, stream, target, mapping = world_of_lanes()
        first = stream.put("k1")
        running_long(monkeypatch, target, lambda event: first in event)
        handed_over: list[int] = []

        async def until(life: Life) -> None:
            await anyio.sleep(5)
            for size in range(1, 6):
                await life.supervisor.replace(replace(mapping, batch_size=size), life.function(mapping))
                put_in_both(stream)
                await anyio.sleep(5)
                handed_over.append(sum(len(call.message_ids) for call in target.calls))
            assert len(life.supervisor._mappings[mapping.name].runs) == 2, "the runs between have ended"
            status = life.supervisor.status(mapping.name)
            assert status.reason is not None
            assert status.reason.startswith("waits in lane ")
            assert status.batches_in_flight == 1
            assert status.stream is not None
            assert status.stream.iterator_age_in_seconds == pytest.approx(anyio.current_time(), abs=0.1)
            assert status.stream.shards_reading == 1
            (slow_lane,) = status.stream.shards[0].lanes
            assert slow_lane.is_invoking
            await life.supervisor.pause(mapping.name)
            await anyio.sleep(10)
            await life.supervisor.resume(mapping.name)
            put_in_both(stream)
            await anyio.sleep(200)
            assert life.budget.used == 0
            life.process.is_cut_off = True
            put_in_both(stream)
            await anyio.sleep(5)
            status = life.supervisor.status(mapping.name)
            assert status.stream is not None
            assert status.stream.checkpoint_age_in_seconds > 3, "the checkpoints are those of the newest run"
            life.process.is_cut_off = False
            await anyio.sleep(5)
            life.begin_stop()

        await world.live(until)
        assert handed_over == sorted(set(handed_over)), "the other lanes go on after each replacement"
        long, *later = target.calls
        slow = [call for call in later if lane(stream, call) == lane(stream, long)]
        assert all(call.began_at >= long.ended_at for call in slow)
        numbers = [number for call in target.calls for number in call.message_ids]
        assert len(numbers) == len(set(numbers)) == 141

    run_seeded(1, main)


def test_with_another_number_of_lanes_the_shard_waits_for_the_old_invocation(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        world, stream, target, mapping = world_of_lanes()
        first = stream.put("k1")
        running_long(monkeypatch, target, lambda event: first in event)

        async def until(life: Life) -> None:
            await anyio.sleep(5)
            await make(life, "replace", replace(mapping, parallelization_factor=LANES + 1))
            put_in_both(stream)
            await anyio.sleep(20)
            status = life.supervisor.status(mapping.name)
            (shard,) = stream.stream.shards(now=anyio.current_time())
            assert status.reason == f"waits in shard {shard.shard_id} until the invocations of its last run have ended"
            assert (status.state, status.messages_held, status.batches_in_flight) == ("ready", 1, 1)
            assert status.stream is not None
            assert status.stream.iterator_age_in_seconds == pytest.approx(30, abs=0.1)
            assert [one.lanes[0].is_invoking for one in status.stream.shards] == [True]
            await anyio.sleep(180)
            assert life.supervisor.status(mapping.name).reason is None
            life.begin_stop()

        await world.live(until)
        long, *later = target.calls
        assert min(call.began_at for call in later) >= long.ended_at
        assert sum(len(call.message_ids) for call in later) == 20

    run_seeded(1, main)


def test_new_filters_hold_for_the_records_that_the_old_run_has_read(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        world, stream, target, mapping = world_of_lanes()
        first = stream.put("k1")
        running_long(monkeypatch, target, lambda event: first in event)

        async def until(life: Life) -> None:
            await anyio.sleep(5)
            unwanted = [stream.put("k1", kind="note") for _ in range(3)]
            wanted = stream.put("k1")
            await anyio.sleep(2)
            await make(life, "replace", replace(mapping, filters=(stream.filter,)))
            await anyio.sleep(200)
            handed_over = [number for call in target.calls for number in call.message_ids]
            assert handed_over == [first, wanted]
            assert not set(unwanted) & set(handed_over)
            assert life.supervisor.status(mapping.name).messages_held == 0
            assert life.budget.used == 0
            life.begin_stop()

        await world.live(until)

    run_seeded(1, main)


@pytest.mark.parametrize("end", ["stop", "lost", "removed", "crash"])
def test_no_record_is_lost_if_the_lease_ends_while_an_old_invocation_runs(
    end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        world, stream, target, mapping = world_of_lanes()
        first = stream.put("k1")
        running_long(monkeypatch, target, lambda event: first in event)

        async def until(life: Life) -> None:
            await anyio.sleep(5)
            await make(life, "replace", mapping)
            put_in_both(stream)
            await anyio.sleep(5)
            match end:
                case "stop":
                    life.begin_stop()
                case "lost":
                    life.process.is_cut_off = True
                    await anyio.sleep(60)
                    life.process.is_cut_off = False
                    await anyio.sleep(300)
                    life.begin_stop()
                case "removed":
                    await life.supervisor.remove(mapping.name)
                    put_in_both(stream)
                    await anyio.sleep(20)
                    await life.supervisor.add(mapping, life.function(mapping))
                    await anyio.sleep(300)
                    life.begin_stop()
                case _:
                    life.crash()

        async def stopping(life: Life) -> None:
            await anyio.sleep(300)
            life.begin_stop()

        await world.live(until)
        assert world.lives[-1].budget.used == 0 or end == "crash"
        stored = world.store.stored[mapping.state_key]
        if end in ("stop", "crash"):
            assert first not in str(stored), "the checkpoint has not passed the record that is not done"
        await world.live(stopping)
        done = set[str]().union(*(call.done for call in target.calls))
        assert len(done) == (41 if end == "removed" else 21)

    run_seeded(1, main)


def test_a_shard_that_ends_is_drained_after_the_old_invocation_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        world, stream, target, mapping = world_of_lanes()
        first = stream.put("k1")
        running_long(monkeypatch, target, lambda event: first in event)

        async def until(life: Life) -> None:
            await anyio.sleep(5)
            put_in_both(stream)
            (parent,) = stream.stream.shards(now=anyio.current_time())
            stream.stream.split(parent.shard_id, now=anyio.current_time())
            put_in_both(stream)
            await anyio.sleep(5)  # the old run has read to the end
            await make(life, "replace", mapping)
            await anyio.sleep(300)
            status = life.supervisor.status(mapping.name).stream
            assert status is not None
            assert (status.shards_drained, status.shards_reading) == (1, 2)
            life.begin_stop()

        await world.live(until)
        long, *later = target.calls
        children = [call for call in later if shard_of(stream, call) != shard_of(stream, long)]
        assert min(call.began_at for call in children) >= long.ended_at
        numbers = [number for call in target.calls for number in call.message_ids]
        assert len(numbers) == len(set(numbers)) == 41

    run_seeded(1, main)


def test_a_window_continues_with_the_state_that_the_old_invocation_has_returned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        world, stream, target, mapping = world_of_lanes(parallelization_factor=1, tumbling_window_in_seconds=900)
        first = stream.put("k1")
        running_long(monkeypatch, target, lambda event: first in event)

        async def until(life: Life) -> None:
            await anyio.sleep(10)
            second = stream.put("k2")
            await make(life, "replace", mapping)
            await anyio.sleep(200)
            assert [call.message_ids for call in target.calls] == [[first], [second]]
            assert target.calls[1].window is not None
            assert target.calls[1].window["state"] == {"seen": [first]}
            life.begin_stop()

        await world.live(until)

    run_seeded(1, main)


def test_a_lane_waits_for_the_timeout_if_its_old_invocation_is_cancelled_by_a_crash_after_the_replacement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        world, stream, target, mapping = world_of_lanes()
        cut, faulty = [stream.put(key) for key in two_lanes()]
        invoke, began = target.invoke, list[str]()

        async def fail_late(invocation: Invocation) -> Response:
            event = invocation.payload.decode()
            number = next((each for each in (cut, faulty) if each in event and each not in began), None)
            target.plan.duration_in_seconds = (0.1, 0.1)
            if number is None:
                return await invoke(invocation)
            began.append(number)
            if number == faulty:
                await anyio.sleep(30)
                raise OurFault
            target.plan.duration_in_seconds = (LONG, LONG)
            return await invoke(invocation)

        monkeypatch.setattr(target, "invoke", fail_late)

        async def until(life: Life) -> None:
            await anyio.sleep(10)
            await make(life, "replace", mapping)
            put_in_both(stream)
            await anyio.sleep(100)
            reason = life.supervisor.status(mapping.name).reason
            assert reason is not None
            assert f"lane {lane(stream, target.calls[0]) + 1} of shard " in reason
            await anyio.sleep(300)
            assert life.budget.used == 0
            life.begin_stop()

        await world.live(until)
        assert len(world.facts_of(MappingCrashed)) == 1
        long, *later = target.calls
        assert (long.message_ids, long.ending) == ([cut], "cut")
        again, *_ = [call for call in later if lane(stream, call) == lane(stream, long)]
        assert again.message_ids == [cut]
        assert again.began_at >= 30 + TIMEOUT
        (retried,) = [call for call in later if call.message_ids == [faulty]]
        assert retried.began_at < 50 + TIMEOUT
        assert min(call.began_at for call in later) < 20, "the other lanes did not wait"

    run_seeded(1, main)


def test_after_a_crash_a_shard_with_a_cancelled_invocation_waits_for_its_timeout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        world, stream, target, _ = world_of_two_shards()
        first = stream.put("k1")
        invoke, is_first = target.invoke, [True]

        async def fails_beside_the_function(invocation: Invocation) -> Response:
            if is_first:
                is_first.clear()
                target.plan.duration_in_seconds = (LONG, LONG)
                await anyio.sleep(50)  # the call waits until an emulator is free
                with anyio.move_on_after(1.0):  # the function runs to its end
                    await invoke(invocation)
                target.plan.duration_in_seconds = (0.1, 0.1)
                raise OurFault
            return await invoke(invocation)

        monkeypatch.setattr(target, "invoke", fails_beside_the_function)

        async def until(life: Life) -> None:
            await anyio.sleep(60)
            put_in_both(stream)
            await anyio.sleep(400)
            life.begin_stop()

        await world.live(until)
        assert len(world.facts_of(MappingCrashed)) == 1
        cut, *later = target.calls
        slow = [call for call in later if shard_of(stream, call) == shard_of(stream, cut)]
        fast = [call for call in later if call not in slow]
        assert slow[0].message_ids == [first]
        assert slow[0].began_at >= cut.began_at + TIMEOUT
        assert max(call.ended_at for call in fast) < 80, "the other shard did not wait"

    run_seeded(1, main)


async def make(life: Life, change: str, mapping: Any) -> None:
    supervisor, function = life.supervisor, life.function(mapping)
    match change:
        case "replace":
            began = anyio.current_time()
            await supervisor.replace(mapping, function)
            assert anyio.current_time() - began == pytest.approx(GRACE)
        case "pause and resume":
            await supervisor.pause(mapping.name)
            await supervisor.resume(mapping.name)
        case _:
            await supervisor.remove(mapping.name)
            await supervisor.add(mapping, function)


def world_of_two_shards() -> tuple[World, KinesisStream, FakeTarget, StreamMapping]:
    world = World(grace_in_seconds=GRACE)
    stream = KinesisStream("clicks", shard_count=2)
    world.add_stream(stream)
    target = world.add_function("f", timeout_in_seconds=TIMEOUT)
    target.plan.duration_in_seconds = (0.1, 0.1)
    return world, stream, target, world.add_stream_mapping("m", stream, "f", batch_size=1)


def world_of_lanes(**options: Any) -> tuple[World, KinesisStream, FakeTarget, StreamMapping]:
    """Return a world with one shard, which has four lanes."""
    world = World(grace_in_seconds=GRACE)
    stream = KinesisStream("clicks", shard_count=1)
    world.add_stream(stream)
    target = world.add_function("f", timeout_in_seconds=TIMEOUT)
    target.plan.duration_in_seconds = (0.1, 0.1)
    options = {"batch_size": 1, "parallelization_factor": LANES} | options
    return world, stream, target, world.add_stream_mapping("m", stream, "f", **options)


def two_lanes() -> tuple[str, str]:
    """Return two keys whose records go to different lanes."""
    keys = [f"k{number}" for number in range(50)]
    first = lane_of(f"{CANARY}-{keys[0]}", LANES)
    return keys[0], next(key for key in keys if lane_of(f"{CANARY}-{key}", LANES) != first)


def lane(stream: KinesisStream, call: Call) -> int:
    """Return the lane of the records of a call."""
    puts = [entry for entry in stream.stream.history if entry.kind == "put"]
    return next(lane_of(entry.detail, LANES) for entry in puts if call.message_ids[0] in entry.sequence_numbers)


def put_in_both(stream: KinesisStream) -> None:
    randomness = Random(1)
    for _ in range(20):
        stream.put(f"k{randomness.randrange(50)}")


def shard_of(stream: KinesisStream, call: Call) -> str:
    return next(entry.shard_id for entry in stream.stream.history if call.message_ids[0] in entry.sequence_numbers)
