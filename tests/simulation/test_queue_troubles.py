"""What does a queue mapping do if something fails?

In each of these cases, an earlier version of poller did something wrong.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from itertools import groupby, pairwise
from typing import Any

import anyio
import pytest

from poller import errors
from poller.core import envelope
from poller.core.queues.delivery import Delivery
from poller.engine.stop import Stop
from poller.errors import AccessDenied
from poller.facts import (
    DeleteFailed,
    MappingCrashed,
    MappingWaitEnded,
    MappingWaiting,
    ReceiptsExpired,
    SourceFailed,
)
from poller.model.ids import FunctionName, MappingName
from poller.model.invocation import Answered, FunctionError, Invocation, Response, Throttled, Unreachable
from poller.targets.endpoints import Endpoint, Endpoints
from tests.fakes.clock import EPOCH
from tests.fakes.faults import Fault, FaultPlan, Outage
from tests.fakes.queue import FakeQueue
from tests.fakes.target import FakeTarget, FunctionPlan, ids_of
from tests.simulation import checker
from tests.simulation.life import Life
from tests.simulation.steps import Call, around_calls, live, sending, stopping_at
from tests.simulation.world import Beside, World, run_seeded


def test_a_crashed_mapping_is_not_ready_while_it_waits_to_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    queue = world.add_queue("q")
    target = world.add_function("f")
    world.add_mapping("m", queue, "f")

    async def breaks(invocation: Any) -> Any:
        raise ZeroDivisionError("a record's body")

    monkeypatch.setattr(target, "invoke", breaks)
    states: list[str] = []
    reasons: set[str | None] = set()

    async def until(life: Life) -> None:
        world.sqs.send(queue, "hello")
        for _ in range(300):
            await anyio.sleep(1.0)
            if world.facts_of(MappingCrashed):
                status = life.supervisor.statuses()[0]
                states.append(status.state)
                reasons.update([status.reason] if status.state == "troubled" else [])
        life.begin_stop()

    live(world, until)
    crashes = world.facts_of(MappingCrashed)
    assert len(crashes) >= 3
    assert reasons == {"the mapping crashed and restarts: ZeroDivisionError"}, "a foreign error's text may be a secret"
    assert "troubled" in states, f"after {len(crashes)} crashes in 300 s /readyz only ever said {set(states)}"


def test_a_mapping_that_crashed_polls_again_soon_while_its_other_batches_end(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    queue = world.add_queue("q")
    target = world.add_function("f", timeout_in_seconds=30)
    world.add_mapping("m", queue, "f", batch_size=1)
    began, statuses = [], []

    async def breaks_beside_another(invocation: Invocation) -> Response:
        began.append(anyio.current_time())
        if len(began) == 2:
            raise ZeroDivisionError("a record's body")
        await anyio.sleep(25)
        return Answered(b"")

    monkeypatch.setattr(target, "invoke", breaks_beside_another)

    async def until(life: Life) -> None:
        for _ in range(2):
            world.sqs.send(queue, "hello")
        await anyio.sleep(10)
        world.sqs.send(queue, "hello")
        for _ in range(10):
            await anyio.sleep(1.0)
            statuses.append(life.supervisor.status(MappingName("m")))
        await anyio.sleep(100)
        life.begin_stop()

    live(world, until)
    assert began[0] < 1, "the batch beside the crash"
    assert began[2] < 5, f"the message of the batch that crashed comes again, and waits for nobody: {began}"
    assert 10 <= began[3] <= 12, f"the message that came after the crash: {began}"
    assert {status.state for status in statuses} == {"ready"}
    assert statuses[-1].batches_in_flight == 3, "the old run's batch is still with its function"
    assert not queue.message_ids
    assert [type(fact.error) for fact in world.facts_of(MappingCrashed)] == [ZeroDivisionError]


@pytest.mark.parametrize(
    ("answer", "reason", "tells_the_next_try"),
    [
        (Throttled(reason="TooManyRequests"), "function f is throttled: TooManyRequests", True),
        (
            Throttled(reason="TooManyRequests", detail="bill: Rate Exceeded"),
            "function f is throttled: bill: Rate Exceeded",
            True,
        ),
        (Unreachable(reason="no route"), "function f cannot be invoked: no route", True),
        (
            FunctionError(error_type="Runtime.ImportModuleError", message="No module named 'x'"),
            "function f cannot start: Runtime.ImportModuleError: No module named 'x'",
            False,
        ),
    ],
    ids=["throttled", "throttled, in words", "unreachable", "cannot start"],
)
def test_a_mapping_waits_while_its_function_is_throttled_unreachable_or_cannot_start(
    answer: Response, reason: str, tells_the_next_try: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    queue = world.add_queue("q", visibility_timeout_in_seconds=12)
    target = world.add_function("f", FunctionPlan(duration_in_seconds=(0.1, 0.1)), timeout_in_seconds=5)
    world.add_mapping("m", queue, "f")
    invoke, statuses = target.invoke, []

    async def fails_for_a_while(invocation: Invocation) -> Response:
        return answer if anyio.current_time() < 60 else await invoke(invocation)

    monkeypatch.setattr(target, "invoke", fails_for_a_while)

    async def until(life: Life) -> None:
        await anyio.sleep(10)
        world.sqs.send(queue, "hello")
        for _ in range(150):
            statuses.append(life.supervisor.statuses()[0])
            await anyio.sleep(1)
        life.begin_stop()

    live(world, until)
    states = [status.state for status in statuses]
    assert [state for state, _ in groupby(states)] == ["ready", "waiting", "ready"]
    assert not queue.message_ids
    waiting = [status for status in statuses if status.state == "waiting"]
    assert {status.reason for status in waiting} == {reason}
    assert [*{status.since for status in waiting}] == [pytest.approx(EPOCH + 10, abs=1)]
    assert [status.attempt for status in waiting] == sorted(status.attempt or 0 for status in waiting)
    assert (waiting[-1].attempt or 0) >= 3
    assert all((status.next_try is not None) == tells_the_next_try for status in waiting)
    assert (statuses[-1].since or 0.0) >= EPOCH + 60, "ready since the function ran again"
    assert (statuses[-1].attempt, statuses[-1].next_try) == (None, None)
    assert len(world.facts_of(MappingWaiting)) == len(world.facts_of(MappingWaitEnded)) == 1


def test_a_mapping_that_crashes_before_it_found_its_source_is_still_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.add_function("f")
    world.add_mapping("m", world.add_queue("q"), "f")

    async def breaks(_call: Call, _operation: str, _request: dict[str, Any]) -> Any:
        raise ZeroDivisionError

    around_calls(monkeypatch, breaks)
    statuses = []

    async def until(life: Life) -> None:
        for _ in range(20):
            await anyio.sleep(1.0)
            statuses.append(life.supervisor.statuses()[0])
        life.begin_stop()

    live(world, until)
    assert {status.state for status in statuses} == {"starting"}
    waiting = statuses[-1]
    assert (waiting.reason or "").startswith("the mapping crashed and restarts: ")
    assert waiting.attempt == len(world.facts_of(MappingCrashed))
    assert (waiting.since or 0.0) <= EPOCH + 20 <= (waiting.next_try or 0.0)


def test_one_short_failure_of_many_polls_does_not_delay_the_mapping_for_half_a_minute() -> None:
    world = World(faults=FaultPlan(latency_in_seconds=(0.05, 0.05), outages=[Outage(1.5, 1.7, Fault.UNREACHABLE)]))
    queue = world.add_queue("q", visibility_timeout_in_seconds=300)
    target = world.add_function("f", FunctionPlan(duration_in_seconds=(0.01, 0.01)), concurrency=50)
    world.add_mapping("m", queue, "f")
    live(world, sending(world, queue, *[f"m{n}" for n in range(9_000)], stop_at=90))
    began = sorted(call.began_at for call in target.calls)
    longest_gap = max(after - before for before, after in pairwise(began))
    counted = len(world.facts_of(SourceFailed))
    assert longest_gap < 5.0, f"nothing was invoked for {longest_gap:.1f} s after 0.2 s of outage, {counted} failures"


def test_after_one_failed_visibility_call_a_message_that_is_still_hidden_is_invoked() -> None:
    faults = FaultPlan()
    faults.script("ChangeMessageVisibilityBatch", Fault.UNREACHABLE)
    world = World(faults=faults)
    dead = world.add_queue("dead")
    queue = world.add_queue("q", visibility_timeout_in_seconds=12, dead_letter_queue=dead, maximum_receive_count=1)
    target = world.add_function("f", FunctionPlan(duration_in_seconds=(0.1, 0.1)), timeout_in_seconds=5)
    world.add_mapping("m", queue, "f")
    live(world, sending(world, queue, "hello", at=15.0, stop_at=100))
    assert not dead.message_ids, "a message that no function ever saw is in the dead-letter queue"
    assert len(target.calls) == 1


@pytest.mark.parametrize(("name", "timeout"), [("q", 12), ("q.fifo", 30)])
def test_without_permission_to_change_visibility_no_message_is_dead_lettered_without_an_invocation(
    name: str, timeout: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS needs ReceiveMessage, DeleteMessage and GetQueueAttributes only (AWSLambdaSQSQueueExecutionRole)."""
    world = World()
    group = "g" if name.endswith(".fifo") else None
    dead = world.add_queue(f"dead{name[1:]}")
    queue = world.add_queue(
        name, visibility_timeout_in_seconds=timeout, dead_letter_queue=dead, maximum_receive_count=5
    )
    target = world.add_function("f", FunctionPlan(duration_in_seconds=(0.1, 0.1)), timeout_in_seconds=timeout - 4)
    world.add_mapping("m", queue, "f")

    async def denied(call: Call, operation: str, request: dict[str, Any]) -> Any:
        if operation == "ChangeMessageVisibilityBatch":
            raise AccessDenied("not authorized", code="AccessDenied")
        return await call(request)

    around_calls(monkeypatch, denied)
    states = set()

    async def until(life: Life) -> None:
        await anyio.sleep(15.0)
        world.sqs.send(queue, "hello", group=group, deduplication_id="hello")
        for _ in range(300):
            await anyio.sleep(1.0)
            states.add(life.supervisor.statuses()[0].state)
        life.begin_stop()

    live(world, until)
    assert not dead.message_ids, f"dead-lettered after {len(target.calls)} invocations; /readyz said {states}"
    assert len(target.calls) == 1


def test_a_queue_that_does_not_answer_does_not_use_the_concurrency_of_another_mapping(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    target = world.add_function(
        "f", FunctionPlan(duration_in_seconds=(100.0, 100.0)), timeout_in_seconds=590, concurrency=1
    )
    broken = world.add_queue("broken.fifo", visibility_timeout_in_seconds=600)
    good = world.add_queue("good", visibility_timeout_in_seconds=600)
    world.add_mapping("broken", broken, "f", batch_size=1)
    world.add_mapping("good", good, "f", batch_size=1)

    async def fails(call: Call, operation: str, request: dict[str, Any]) -> Any:
        if operation == "ChangeMessageVisibilityBatch" and request["QueueUrl"].endswith("broken.fifo"):
            raise errors.Unreachable("connection refused", code="ConnectionRefused", was_sent=False)
        return await call(request)

    around_calls(monkeypatch, fails)

    async def until(life: Life) -> None:
        for number in range(5):
            world.sqs.send(good, str(number))
        await anyio.sleep(1)
        world.sqs.send(broken, "x", group="g", deduplication_id="x")
        await stopping_at(1000)(life)

    live(world, until)
    began = [call.began_at for call in target.calls if call.mapping == "good"]
    longest_gap = max(after - before for before, after in pairwise(began))
    assert longest_gap < 250, f"calls of 100 s, and `good` waited {longest_gap:.0f} s from one to the next"


def test_no_invocation_begins_once_the_stop_has_begun() -> None:
    world = World(grace_in_seconds=30)
    target = world.add_function(
        "f", FunctionPlan(duration_in_seconds=(20.0, 20.0)), timeout_in_seconds=60, concurrency=1
    )
    queues = [world.add_queue(f"q{number}", visibility_timeout_in_seconds=300) for number in range(2)]
    for number, queue in enumerate(queues):
        world.add_mapping(f"m{number}", queue, "f")

    async def until(life: Life) -> None:
        for queue in queues:
            world.sqs.send(queue, "hello")
        await stopping_at(5)(life)

    life = live(world, until)
    began = [(call.began_at, call.ending) for call in target.calls]
    assert all(at <= 5.0 for at, _ in began), f"began (and ended): {began}; the daemon ended at {life.ended_at}"


def test_a_stop_releases_a_batch_that_waits_in_line_at_once() -> None:
    """The function may run for hours. Another consumer of the queue must not wait for its end."""
    world = World(grace_in_seconds=30)
    world.add_function("f", FunctionPlan(duration_in_seconds=(20.0, 20.0)), timeout_in_seconds=60, concurrency=1)
    queues = [world.add_queue(f"q{number}", visibility_timeout_in_seconds=300) for number in range(2)]
    for number, queue in enumerate(queues):
        world.add_mapping(f"m{number}", queue, "f")
    still_hidden: list[FakeQueue] = []

    async def until(life: Life) -> None:
        for queue in queues:
            world.sqs.send(queue, "hello")
        await stopping_at(5)(life)
        await anyio.sleep(1)
        still_hidden.extend(queue for queue in queues if checker.in_flight(queue))

    live(world, until)
    assert len(still_hidden) == 1, "only the message of the running invocation is still in hand"


def test_the_rest_of_a_receive_does_not_begin_after_the_stop() -> None:
    world = World(grace_in_seconds=30)
    target = world.add_function("f", FunctionPlan(duration_in_seconds=(20.0, 20.0)), timeout_in_seconds=60)
    queue = world.add_queue("q", visibility_timeout_in_seconds=300)
    world.add_mapping("m", queue, "f")
    live(world, sending(world, queue, *["x" * 1_000_000 + str(n) for n in range(10)], stop_at=5))
    assert [call.began_at for call in target.calls if call.began_at > 5.0] == []


def test_a_stop_releases_a_large_batch_within_the_grace() -> None:
    """10,000 messages need 1,000 calls, ten at once.

    A call takes 60 ms, so all calls take 6 s, and the grace is 30 s.
    """
    world = World(faults=FaultPlan(latency_in_seconds=(0.03, 0.03)), grace_in_seconds=30)
    queue = world.add_queue("q", visibility_timeout_in_seconds=30)
    target = world.add_function("f", timeout_in_seconds=60)
    world.add_mapping("m", queue, "f", batch_size=10_000, maximum_batching_window_in_seconds=300)

    async def main() -> None:
        life = await world.live(sending(world, queue, *[f"m{n}" for n in range(9_990)], stop_at=100))
        hidden = len(checker.in_flight(queue))
        assert hidden == 0, f"{hidden} of 9990 stay hidden for 390 s; the stop took {life.ended_at or 0 - 100:.1f}"

    run_seeded(1, main)
    assert not target.calls


def test_a_mapping_without_permission_to_delete_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    queue = world.add_queue("q", visibility_timeout_in_seconds=30)
    target = world.add_function("f", FunctionPlan(duration_in_seconds=(0.1, 0.1)))
    world.add_mapping("m", queue, "f")

    async def denied(call: Call, operation: str, request: dict[str, Any]) -> Any:
        if operation == "DeleteMessageBatch":
            raise AccessDenied("not authorized", code="AccessDenied")
        return await call(request)

    around_calls(monkeypatch, denied)
    states = []

    async def until(life: Life) -> None:
        world.sqs.send(queue, "hello")
        for _ in range(600):
            await anyio.sleep(1.0)
            states.append(life.supervisor.statuses()[0].state)
        life.begin_stop()

    live(world, until)
    said = states.count("troubled") / len(states)
    assert said > 0.5, f"one message was invoked {len(target.calls)} times in 600 s, and the mapping was {set(states)}"


def test_one_failure_on_a_quiet_queue_does_not_take_the_concurrency_down_to_one() -> None:
    world = World()
    plan = FunctionPlan(duration_in_seconds=(1.0, 1.0))
    target = world.add_function("f", plan, concurrency=100)
    queue = world.add_queue("q", visibility_timeout_in_seconds=600)
    world.add_mapping("m", queue, "f", batch_size=1)
    drained_at = []

    async def until(life: Life) -> None:
        plan.poison.add(world.sqs.send(queue, "poison"))
        await anyio.sleep(30)
        for number in range(1000):
            world.sqs.send(queue, str(number))
        while len(queue.message_ids) > 1:  # noqa: ASYNC110  # the time is virtual
            await anyio.sleep(0.5)
        drained_at.append(anyio.current_time() - 30)
        life.begin_stop()

    live(world, until)
    assert drained_at[0] < 25, f"1,000 messages of 1 s at a concurrency of 100 took {drained_at[0]:.0f} s, not about 10"
    assert target.calls


def test_one_poison_message_does_not_delay_a_steady_load() -> None:
    world = World()
    plan = FunctionPlan(duration_in_seconds=(5.0, 5.0))
    world.add_function("f", plan, concurrency=100)
    queue = world.add_queue("q", visibility_timeout_in_seconds=30)
    world.add_mapping("m", queue, "f", batch_size=1)
    limits: list[int] = []

    async def until(life: Life) -> None:
        plan.poison.add(world.sqs.send(queue, "poison"))
        for _ in range(600):
            for _ in range(6):
                world.sqs.send(queue, "hello")
            await anyio.sleep(1.0)
            limits.append(life.supervisor.statuses()[0].concurrency_limit)
        assert len(queue.message_ids) < 100, (
            f"{len(queue.message_ids)} messages behind after 600 s (without the one that fails: 30); 6 a second need "
            f"30 invocations at once, allowed are 100, the limit stood at {sum(limits[60:]) // len(limits[60:])}"
        )
        life.begin_stop()

    live(world, until)


def test_after_a_kill_a_group_does_not_run_twice_at_once() -> None:
    """Even after a crash, two invocations never have the same message group at once (invoking.py)."""
    faults = FaultPlan(slow_answer_in_seconds=6.0)
    faults.script("ReceiveMessage", Fault.ANSWER_SLOW)
    world = World(faults=faults)
    queue = world.add_queue("q.fifo", visibility_timeout_in_seconds=65)
    target = world.add_function("f", FunctionPlan(duration_in_seconds=(60.0, 60.0)), timeout_in_seconds=60)
    world.add_mapping("m", queue, "f")

    async def kill(life: Life) -> None:
        world.sqs.send(queue, "x", group="g", deduplication_id="x")
        await anyio.sleep_until(20)
        life.crash()

    async def main() -> None:
        await world.live(kill)
        await world.live(stopping_at(200))

    run_seeded(1, main)
    checker.check_one_batch_at_a_time(target.calls)


@pytest.mark.parametrize("visibility_timeout", [300, 292])
def test_after_a_kill_a_group_whose_function_began_late_does_not_run_twice_at_once(
    visibility_timeout: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = FaultPlan(slow_answer_in_seconds=6.0)
    faults.script("ReceiveMessage", Fault.ANSWER_SLOW)
    world = World(faults=faults)
    queue = world.add_queue("q.fifo", visibility_timeout_in_seconds=visibility_timeout)
    target = world.add_function("f", FunctionPlan(duration_in_seconds=(291.0, 291.0)), timeout_in_seconds=292)
    world.add_mapping("m", queue, "f")
    invoke = target.invoke

    async def invoke_once_connected(invocation: Invocation) -> Response:
        await anyio.sleep(0 if target.calls else 5)
        return await invoke(invocation)

    monkeypatch.setattr(target, "invoke", invoke_once_connected)

    async def kill(life: Life) -> None:
        world.sqs.send(queue, "x", group="g", deduplication_id="x")
        await anyio.sleep_until(20)
        life.crash()

    async def main() -> None:
        await world.live(kill)
        await world.live(stopping_at(1000))

    run_seeded(1, main)
    assert len(target.calls) == 2
    checker.check_one_batch_at_a_time(target.calls)


def test_after_a_kill_a_group_whose_call_waited_for_an_emulator_does_not_run_twice_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    queue = world.add_queue("q.fifo", visibility_timeout_in_seconds=300)
    plan = FunctionPlan(duration_in_seconds=(280.0, 280.0))
    target = world.add_function("f", plan, timeout_in_seconds=290, concurrency=2)
    world.add_mapping("m", queue, "f", batch_size=1)
    path = "/2015-03-31/functions/function/invocations"
    endpoints = Endpoints([f"http://one{path}", f"http://two{path}"], function=FunctionName("f"), emit=lambda _: None)
    invoke, second_call = target.invoke, anyio.Event()

    async def invoke_on_an_emulator(invocation: Invocation) -> Response:
        refused: set[Endpoint] = set()
        while True:
            async with endpoints.turn(but=refused) as endpoint:
                if endpoint is None:
                    return Throttled(reason="EmulatorBusy")
                if endpoint.url.host == "one":
                    if target.calls:
                        second_call.set()
                    return await invoke(invocation)
                endpoints.failed(endpoint, "it is down")
                refused.add(endpoint)

    monkeypatch.setattr(target, "invoke", invoke_on_an_emulator)

    async def kill(life: Life) -> None:
        world.sqs.send(queue, "x", group="x", deduplication_id="x")
        world.sqs.send(queue, "y", group="y", deduplication_id="y")
        await second_call.wait()
        life.crash()

    async def main() -> None:
        await world.live(kill)
        await world.live(stopping_at(2000))

    run_seeded(1, main)
    assert len(target.calls) == 3
    checker.check_one_batch_at_a_time(target.calls)


def test_a_throttled_batch_with_a_long_visibility_timeout_does_not_expire_at_half_of_it() -> None:
    """SQS hides a message for 12 hours in all, so it rejects a second timeout that would end later."""
    world = World()
    dead = world.add_queue("dead")
    queue = world.add_queue("q", visibility_timeout_in_seconds=36_000, dead_letter_queue=dead, maximum_receive_count=1)
    target = world.add_function("f", FunctionPlan(throttle_rate=1.0, ends_at=20_000.0), timeout_in_seconds=2)
    world.add_mapping("m", queue, "f")
    live(world, sending(world, queue, "hello", stop_at=80_000))
    assert not dead.message_ids, "hidden until 36,000 s, the function was back at 20,000 s, and it was not invoked"
    assert len(target.calls) == 1


def test_a_pause_that_a_service_asks_for_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    queue = world.add_queue("q")
    target = world.add_function("f")
    world.add_mapping("m", queue, "f")
    asked: list[int] = []

    async def asks_for_a_day(call: Call, operation: str, request: dict[str, Any]) -> Any:
        if operation == "ReceiveMessage" and not asked:
            asked.append(1)
            raise errors.Throttled("Rate exceeded", code="RequestThrottled", retry_after=86_400.0)
        return await call(request)

    around_calls(monkeypatch, asks_for_a_day)
    live(world, sending(world, queue, "hello", stop_at=7200))
    assert target.calls, "one answer with Retry-After: 86400 stopped the mapping for a day"


def test_a_batch_in_hand_does_not_wait_for_the_delete_of_filtered_out_messages() -> None:
    world = World(faults=FaultPlan())
    queue = world.add_queue("q", visibility_timeout_in_seconds=300)
    target = world.add_function("f")
    world.add_mapping("m", queue, "f", filters=('{"body": {"kind": ["order"]}}',))
    world.sqs.faults.script("DeleteMessageBatch", *[Fault.THROTTLED] * 10)
    live(world, sending(world, queue, '{"kind": "other"}', '{"kind": "order"}', stop_at=120))
    assert target.calls[0].began_at < 5, f"invoked {target.calls[0].began_at:.0f} s after it came"


def test_a_crash_does_not_move_messages_of_other_batches_towards_the_dead_letter_queue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    dead = world.add_queue("dead")
    queue = world.add_queue("q", visibility_timeout_in_seconds=300, dead_letter_queue=dead, maximum_receive_count=5)
    target = world.add_function("f", FunctionPlan(duration_in_seconds=(40.0, 40.0)), timeout_in_seconds=50)
    world.add_mapping("m", queue, "f", batch_size=1)
    invoke = target.invoke

    async def breaks(invocation: Any) -> Any:
        if b"breaks" in invocation.payload:
            await anyio.sleep(0.1)
            raise ZeroDivisionError
        return await invoke(invocation)

    monkeypatch.setattr(target, "invoke", breaks)
    live(world, sending(world, queue, "breaks", *[f"good {n}" for n in range(9)], stop_at=600))
    assert len(dead.message_ids) <= 1, (
        f"{len(dead.message_ids) - 1} of 9 good messages were dead-lettered, by {len(world.facts_of(MappingCrashed))} "
        "crashes over another one"
    )


@pytest.mark.parametrize(("owner", "step"), [(envelope, "encode"), (Delivery, "put")])
def test_messages_become_visible_at_once_if_gathering_them_crashed_even_while_another_batch_runs(
    owner: Any, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    queue = world.add_queue("q", visibility_timeout_in_seconds=30)
    target = world.add_function("f", FunctionPlan(duration_in_seconds=(700.0, 700.0)), timeout_in_seconds=800)
    world.add_mapping("m", queue, "f", batch_size=1)
    errors_to_raise = [ZeroDivisionError()]
    original = getattr(owner, step)

    def breaks_once(*args: Any, **options: Any) -> Any:
        result = original(*args, **options)
        if anyio.current_time() > 5 and errors_to_raise:
            raise errors_to_raise.pop()
        return result

    monkeypatch.setattr(owner, step, breaks_once)

    async def until(life: Life) -> None:
        world.sqs.send(queue, "runs for long")
        await anyio.sleep(10)
        world.sqs.send(queue, "crashes")
        await anyio.sleep(100)
        life.begin_stop()

    live(world, until)
    assert len(world.facts_of(MappingCrashed)) == 1
    assert [call.began_at for call in target.calls] == pytest.approx([0.0, 10.0], abs=5.0)


def test_a_gathered_batch_does_not_wait_for_the_pause_of_its_source(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    queue = world.add_queue("q")
    target = world.add_function("f")
    world.add_mapping("m", queue, "f", maximum_batching_window_in_seconds=5)
    calls: list[int] = []

    async def throttles_the_second(call: Call, operation: str, request: dict[str, Any]) -> Any:
        if operation == "ReceiveMessage":
            calls.append(1)
            if len(calls) == 2:
                raise errors.Throttled("Rate exceeded", code="RequestThrottled", retry_after=60.0)
        return await call(request)

    around_calls(monkeypatch, throttles_the_second)
    live(world, sending(world, queue, "hello", stop_at=100))
    assert target.calls[0].began_at < 6, f"window 5 s, invoked after {target.calls[0].began_at:.0f} s"


def test_a_stop_does_not_wait_for_deletes_of_filtered_out_messages() -> None:
    world = World(faults=FaultPlan(), grace_in_seconds=30)
    queue = world.add_queue("q", visibility_timeout_in_seconds=300)
    world.add_function("f")
    world.add_mapping("m", queue, "f", filters=('{"body": {"kind": ["order"]}}',))
    world.sqs.faults.script("DeleteMessageBatch", *[Fault.THROTTLED] * 100)
    life = live(world, sending(world, queue, '{"kind": "other"}', stop_at=5))
    assert life.ended_at is not None
    assert life.ended_at < 7, f"nothing ran; the stop took {life.ended_at - 5:.0f} s"


@pytest.mark.parametrize("bodies", [['{"kind": "other"}'], ['{"kind": "other"}', '{"kind": "order"}']])
@pytest.mark.parametrize("seconds_after_receive", [0.5, 0.75, 1.25])
@pytest.mark.parametrize("stop", [Stop.begin, Stop.hurry])
def test_a_stop_while_filtered_out_messages_are_deleted_frees_their_group(
    bodies: list[str], seconds_after_receive: float, stop: Callable[[Stop], None]
) -> None:
    """The answer of the receive, the delete, and the answer of the delete take half a second each."""
    world = World(faults=FaultPlan(latency_in_seconds=(0.5, 0.5)))
    queue = world.add_queue("q.fifo", visibility_timeout_in_seconds=3600)
    world.add_function("f")
    world.add_mapping("m", queue, "f", filters=('{"body": {"kind": ["order"]}}',))

    async def until(life: Life) -> None:
        for body in bodies:
            world.sqs.send(queue, body, group="g", deduplication_id=body)
        while not any(entry.kind == "received" for entry in queue.history):  # noqa: ASYNC110  # the time is virtual
            await anyio.sleep(0.05)
        await anyio.sleep(seconds_after_receive)
        stop(life.stop)

    life = live(world, until)
    assert not checker.in_flight(queue), "the group stays hidden for an hour"
    assert life.ended_at is not None
    assert life.ended_at < 10


def test_a_delete_without_an_answer_does_not_delay_a_release(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(grace_in_seconds=2)
    queue = world.add_queue("q", visibility_timeout_in_seconds=300)
    target = world.add_function("f", FunctionPlan(duration_in_seconds=(0.1, 0.1)))
    world.add_mapping("m", queue, "f", batch_size=1)
    invoke = target.invoke

    async def hangs_on_one(invocation: Any) -> Any:
        if b"slow" in invocation.payload:
            await anyio.sleep_forever()
        return await invoke(invocation)

    async def stalls(call: Call, operation: str, request: dict[str, Any]) -> Any:
        if operation == "DeleteMessageBatch":
            await anyio.sleep(10.0)
        return await call(request)

    monkeypatch.setattr(target, "invoke", hangs_on_one)
    around_calls(monkeypatch, stalls)
    live(world, sending(world, queue, "fast", "slow", stop_at=5))
    hidden = {entry.message_id for entry in checker.in_flight(queue)}
    assert len(hidden) <= 1, "the slow one was not shown, as the delete of the other used up the time for both"


def with_a_batch_that_waits_for_its_function(*, stop_at: float) -> tuple[World, FakeQueue, FakeTarget, Beside]:
    """Return a world and its script. The function is busy for 26 s, while a batch of a FIFO queue waits for it.

    Messages are hidden for 58 s, and must be hidden for 34 s at the start of an invocation. So the batch has to be
    hidden again when the function is free.
    """
    world = World(grace_in_seconds=30)
    queue = world.add_queue("q.fifo", visibility_timeout_in_seconds=30)
    other = world.add_queue("other", visibility_timeout_in_seconds=300)
    busy = FunctionPlan(duration_in_seconds=(26.0, 26.0))
    target = world.add_function("f", busy, timeout_in_seconds=28, concurrency=1)
    world.add_mapping("m", queue, "f")
    world.add_mapping("fills", other, "f")

    async def until(life: Life) -> None:
        world.sqs.send(other, "long")
        await sending(world, queue, "hello", at=2.0, stop_at=stop_at)(life)

    return world, queue, target, until


def test_a_stop_does_not_wait_for_a_batch_that_may_not_be_invoked_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    world, _, target, until = with_a_batch_that_waits_for_its_function(stop_at=28.0)

    async def hides_nothing(call: Call, operation: str, request: dict[str, Any]) -> Any:
        if operation == "ChangeMessageVisibilityBatch" and request["Entries"][0]["VisibilityTimeout"]:
            raise errors.Unreachable("connection refused", code="ConnectionRefused", was_sent=False)
        return await call(request)

    around_calls(monkeypatch, hides_nothing)
    life = live(world, until)
    assert [call.mapping for call in target.calls] == ["fills"]
    assert life.ended_at is not None
    assert life.ended_at < 30, f"nothing ran; the stop took {life.ended_at - 28:.0f} s"


def test_no_invocation_begins_if_the_stop_begins_while_its_messages_are_hidden_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, queue, target, until = with_a_batch_that_waits_for_its_function(stop_at=100.0)
    hidden_at: list[float] = []

    async def stops(call: Call, operation: str, request: dict[str, Any]) -> Any:
        if operation == "ChangeMessageVisibilityBatch" and request["Entries"][0]["VisibilityTimeout"]:
            hidden_at.append(anyio.current_time())
            world.lives[0].stop.begin()
        return await call(request)

    around_calls(monkeypatch, stops)
    life = live(world, until)
    assert hidden_at, "the message was received long before, so it has to be hidden again"
    assert [call.mapping for call in target.calls] == ["fills"]
    assert not checker.in_flight(queue)
    assert life.ended_at is not None
    assert life.ended_at < hidden_at[0] + 2


def test_a_batch_that_loses_its_messages_while_it_waits_lowers_the_concurrency(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If fewer batches are in hand, each batch waits for a shorter time."""
    world = World()
    world.add_function("f", FunctionPlan(duration_in_seconds=(60.0, 60.0)), timeout_in_seconds=10, concurrency=2)
    other, queue = world.add_queue("other", visibility_timeout_in_seconds=300), world.add_queue("q")
    world.add_mapping("fills", other, "f", batch_size=1)
    world.add_mapping("waits", queue, "f")
    limits: list[int] = []

    async def forbidden(call: Call, operation: str, request: dict[str, Any]) -> Any:
        if operation == "ChangeMessageVisibilityBatch":
            raise AccessDenied("no", code="AccessDenied")
        return await call(request)

    async def until(life: Life) -> None:
        for body in "12":
            world.sqs.send(other, body)
        await anyio.sleep(5)
        world.sqs.send(queue, "late")
        for at in (50, 70):
            await anyio.sleep_until(at)
            limits.extend(
                status.concurrency_limit for status in life.supervisor.statuses() if status.mapping == "waits"
            )
        life.begin_stop()

    around_calls(monkeypatch, forbidden)
    live(world, until)
    [expired] = world.facts_of(ReceiptsExpired)
    assert (expired.mapping, expired.function, expired.records) == ("waits", "f", 1)
    assert expired.waited_seconds == pytest.approx(60.0, abs=2.0), "the function was busy for so long"
    assert limits == [2, 1]


def test_an_answer_that_is_not_an_object_is_a_service_error_and_not_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    queue = world.add_queue("q")
    world.add_function("f")
    world.add_mapping("m", queue, "f")

    async def answers_a_list(call: Call, operation: str, request: dict[str, Any]) -> Any:
        return [] if operation == "ReceiveMessage" else await call(request)

    around_calls(monkeypatch, answers_a_list)
    live(world, stopping_at(20))
    assert not world.facts_of(MappingCrashed)
    assert world.facts_of(SourceFailed)


def test_the_visibility_timeout_of_a_message_counts_from_the_request_and_not_from_the_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    queue = world.add_queue("q", visibility_timeout_in_seconds=12)
    target = world.add_function("f", FunctionPlan(throttle_rate=1.0, ends_at=300.0), timeout_in_seconds=8)
    world.add_mapping("m", queue, "f")

    async def answers_late(call: Call, operation: str, request: dict[str, Any]) -> Any:
        answer = await call(request)
        if operation == "ChangeMessageVisibilityBatch":
            await anyio.sleep(9.0)
        return answer

    around_calls(monkeypatch, answers_late)
    live(world, sending(world, queue, "hello", stop_at=400))
    checker.check_no_expired_receipt_is_invoked(queue, target.calls)
    assert not [entry for entry in queue.history if entry.kind == "expired"], "hidden again too late"
    assert len(target.calls) == 1


def test_no_message_counts_as_expired_when_it_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that comes at the end of a long poll may have been hidden since the beginning of the poll.

    If the daemon has no permission to hide it again, a long poll of the whole visibility timeout would lose the
    message.
    """
    world = World(faults=FaultPlan(latency_in_seconds=(0.1, 0.2)))
    queue = world.add_queue("q", visibility_timeout_in_seconds=12)
    target = world.add_function("f", FunctionPlan(duration_in_seconds=(0.1, 0.1)), timeout_in_seconds=8)
    world.add_mapping("m", queue, "f")

    async def denied(call: Call, operation: str, request: dict[str, Any]) -> Any:
        if operation == "ChangeMessageVisibilityBatch":
            raise AccessDenied("not authorized", code="AccessDenied")
        return await call(request)

    async def until(life: Life) -> None:
        for number in range(130):
            await anyio.sleep(number / 10)
            world.sqs.send(queue, str(number))
        await stopping_at(1000)(life)

    around_calls(monkeypatch, denied)
    live(world, until)
    assert not queue.message_ids
    assert len(ids_of(target.calls)) == 130
    assert not world.facts_of(ReceiptsExpired)


def test_a_batch_keeps_its_request_id_over_throttles_and_counts_its_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    queue = world.add_queue("q")
    target = world.add_function("f", FunctionPlan(throttle_rate=1.0, ends_at=60.0))
    world.add_mapping("m", queue, "f")
    invocations: list[Invocation] = []
    invoke = target.invoke

    async def listening(invocation: Invocation) -> Response:
        invocations.append(invocation)
        return await invoke(invocation)

    monkeypatch.setattr(target, "invoke", listening)
    live(world, sending(world, queue, "hello", stop_at=100))
    assert len(invocations) > 3
    assert {invocation.request_id for invocation in invocations} == {invocations[0].request_id}
    assert [invocation.attempt for invocation in invocations] == list(range(1, len(invocations) + 1))


def test_messages_that_are_gathered_at_a_stop_become_visible_at_once() -> None:
    """The messages do not wait for the end of another batch."""
    world = World(grace_in_seconds=60)
    queue = world.add_queue("q", visibility_timeout_in_seconds=600)
    target = world.add_function("f", FunctionPlan(duration_in_seconds=(40.0, 40.0)), timeout_in_seconds=60)
    world.add_mapping("m", queue, "f", batch_size=2, maximum_batching_window_in_seconds=100)

    async def until(life: Life) -> None:
        for body in "123":
            world.sqs.send(queue, body)
        await anyio.sleep_until(5)
        assert [len(call.message_ids) for call in target.calls] == [2]
        assert len(checker.in_flight(queue)) == 3
        life.begin_stop()
        await anyio.sleep(1)
        assert len(checker.in_flight(queue)) == 2, "the one that nobody invoked"

    live(world, until)


def test_a_delete_is_not_tried_again_when_the_message_may_be_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another client may have the message then. The fact says that the delete is given up."""
    world = World()
    queue = world.add_queue("q", visibility_timeout_in_seconds=12)
    world.add_function("f", FunctionPlan(duration_in_seconds=(0.1, 0.1)), timeout_in_seconds=8)
    world.add_mapping("m", queue, "f")
    deletes: list[float] = []

    async def refuses(call: Call, operation: str, request: dict[str, Any]) -> Any:
        if operation == "DeleteMessageBatch":
            deletes.append(anyio.current_time())
        is_refused = operation == "DeleteMessageBatch" and anyio.current_time() < 12
        if is_refused or operation == "ChangeMessageVisibilityBatch":
            raise errors.Unreachable("connection refused", code="ConnectionRefused", was_sent=False)
        return await call(request)

    around_calls(monkeypatch, refuses)
    live(world, sending(world, queue, "hello", at=1.0, stop_at=60))
    assert len(deletes) > 3
    ends = [entry.kind for entry in queue.history if entry.kind in ("expired", "deleted", "delete_ignored")]
    assert ends == ["expired", "deleted"], "deleted under its new receipt alone"
    given_up = [fact for fact in world.facts_of(DeleteFailed) if fact.is_given_up]
    assert [(fact.code, fact.records) for fact in given_up] == [("ReceiptExpired", 1)]


def test_after_a_receive_that_succeeds_the_next_failure_has_the_shortest_pause_again() -> None:
    faults = FaultPlan(outages=[Outage(10.0, 200.0, Fault.UNREACHABLE)])
    world = World(faults=faults)
    queue = world.add_queue("q")
    world.add_function("f")
    world.add_mapping("m", queue, "f")

    async def until(life: Life) -> None:
        await anyio.sleep(400)
        faults.script("ReceiveMessage", Fault.UNREACHABLE)
        await anyio.sleep(60)
        life.begin_stop()

    live(world, until)
    pauses = [fact.retry_in_seconds for fact in world.facts_of(SourceFailed)]
    assert pauses[-2] > 10
    assert pauses[-1] <= 1


def test_a_stop_releases_a_postponed_batch_at_once_even_while_another_one_of_the_mapping_runs() -> None:
    world = World(grace_in_seconds=30)
    plan = FunctionPlan(duration_in_seconds=(20.0, 20.0))
    world.add_function("f", plan, timeout_in_seconds=60)
    queue = world.add_queue("q", visibility_timeout_in_seconds=300)
    world.add_mapping("m", queue, "f", batch_size=1)
    still_hidden: list[int] = []

    async def until(life: Life) -> None:
        world.sqs.send(queue, "runs")
        await anyio.sleep(2)
        plan.throttle_rate = 1.0
        world.sqs.send(queue, "waits")
        await stopping_at(5)(life)
        await anyio.sleep(1)
        still_hidden.append(len(checker.in_flight(queue)))

    live(world, until)
    assert still_hidden == [1]


def test_finished_deliveries_are_not_kept_in_memory() -> None:
    world = World()
    world.add_function("f", FunctionPlan(duration_in_seconds=(0.0, 0.0)))
    queue = world.add_queue("q")
    world.add_mapping("m", queue, "f", batch_size=1, filters=('{"body": ["wanted"]}',))
    kept: list[int] = []

    def count() -> int:
        gc.collect()
        return sum(isinstance(each, Delivery) for each in gc.get_objects())

    async def until(life: Life) -> None:
        before = count()
        for number in range(40):
            world.sqs.send(queue, "wanted" if number % 2 else "unwanted")
        await anyio.sleep(60)
        assert not queue.message_ids
        kept.append(count() - before)
        life.begin_stop()

    live(world, until)
    assert kept[0] <= 3, "those of the polls that wait for messages"
