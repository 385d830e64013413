"""What waits if an invocation runs longer than the grace of a replacement? Only its message group or its shard."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import anyio
import pytest

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
from tests.simulation.streams import KinesisStream
from tests.simulation.world import World, run_seeded

LONG = 100.0
GRACE = 5.0
TIMEOUT = 200.0


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
        await anyio.sleep(200)
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
def test_a_group_waits_for_the_invocation_of_the_old_run_even_if_sqs_shows_its_message_meanwhile(
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


def put_in_both(stream: KinesisStream) -> None:
    randomness = Random(1)
    for _ in range(20):
        stream.put(f"k{randomness.randrange(50)}")


def shard_of(stream: KinesisStream, call: Call) -> str:
    return next(entry.shard_id for entry in stream.stream.history if call.message_ids[0] in entry.sequence_numbers)
