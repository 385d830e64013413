"""What does a queue mapping do in each recorded case? The real engine and SQS source run on a virtual clock.

A name in brackets, such as [Q1], is the name of a case that was recorded on AWS.
"""

from __future__ import annotations

from typing import Any

import anyio
import orjson
import pytest

from poller.facts import (
    BatchInvoked,
    BatchItemFailuresIgnored,
    DeleteFailed,
    InvocationPostponed,
    MappingCrashed,
    MappingReady,
    MessagesDeleted,
    MessagesReceived,
    RecordsFilteredOut,
    SourceFailed,
    SourceRecovered,
    VisibilityExtended,
)
from poller.model.invocation import Invocation, LostAnswer, Response
from tests.fakes.faults import Fault, FaultPlan, Outage
from tests.fakes.queue import FakeQueue
from tests.fakes.target import FunctionPlan, ids_of
from tests.simulation import checker
from tests.simulation.life import Life
from tests.simulation.steps import live, sending, stopping_at
from tests.simulation.world import World, run_seeded


def receives(world: World, queue: FakeQueue) -> int:
    return len(world.facts_of(MessagesReceived))


def receive_counts(queue: FakeQueue) -> list[int]:
    last = {entry.message_id: entry.receive_count for entry in queue.history}
    return sorted(last.values())


def bodies(count: int) -> list[str]:
    return [f"m{number:04}" for number in range(count)]


def test_a_failed_batch_is_received_again_after_its_visibility_timeout_until_the_dead_letter_queue_gets_it() -> None:
    """[Q1]"""
    world = World()
    dead = world.add_queue("dead")
    queue = world.add_queue("q", visibility_timeout_in_seconds=4, dead_letter_queue=dead, maximum_receive_count=2)
    target = world.add_function("f", FunctionPlan(failure_rate=1.0), timeout_in_seconds=3)
    world.add_mapping("m", queue, "f")
    live(world, sending(world, queue, "poison", stop_at=60))
    first, second = target.calls
    assert second.began_at - first.began_at >= 4
    assert second.attempt == 1, "a new receive is a new batch"
    assert len(dead.message_ids) == 1
    assert not queue.message_ids


def test_a_response_with_an_invalid_item_fails_the_whole_batch() -> None:
    """[Q2]"""
    world = World()
    queue = world.add_queue("q", visibility_timeout_in_seconds=30)
    target = world.add_function("f", FunctionPlan(answer=b'{"batchItemFailures":[{"foo":"notvalid"}]}'))
    world.add_mapping("m", queue, "f", report_batch_item_failures=True)
    live(world, sending(world, queue, *bodies(4), stop_at=40))
    assert [len(call.message_ids) for call in target.calls] == [4, 4]
    assert target.calls[1].began_at - target.calls[0].began_at >= 30
    assert len(queue.message_ids) == 4


def test_under_strict_response_an_answer_without_item_failures_fails_the_whole_batch() -> None:
    world = World()
    queue = world.add_queue("q", visibility_timeout_in_seconds=30)
    target = world.add_function("f", FunctionPlan(answer=b'{"BatchItemFailures":[]}'))
    world.add_mapping("m", queue, "f", report_batch_item_failures=True, strict_response=True)
    live(world, sending(world, queue, *bodies(4), stop_at=40))
    assert [len(call.message_ids) for call in target.calls] == [4, 4]
    assert len(queue.message_ids) == 4


@pytest.mark.parametrize("answer", [b"{}", b"null", b""])
def test_an_empty_response_deletes_the_whole_batch(answer: bytes) -> None:
    """[Q3]"""
    world = World()
    queue = world.add_queue("q")
    world.add_function("f", FunctionPlan(answer=answer))
    world.add_mapping("m", queue, "f", report_batch_item_failures=True)
    live(world, sending(world, queue, *bodies(4), stop_at=10))
    assert not queue.message_ids


def test_without_the_option_reported_failures_have_no_effect_and_are_logged() -> None:
    world = World()
    queue = world.add_queue("q")
    world.add_function("f", FunctionPlan(item_failure_rate=1.0, names_failures=True))
    world.add_mapping("m", queue, "f")
    live(world, sending(world, queue, *bodies(4), stop_at=10))
    assert not queue.message_ids
    [fact] = world.facts_of(BatchItemFailuresIgnored)
    assert (fact.mapping, fact.function) == ("m", "f")
    assert "function_response_types" in fact.advice


@pytest.mark.parity("CreateEventSourceMapping.FunctionResponseTypes")
def test_reported_failures_of_a_group_are_received_again_together() -> None:
    """[Q4]"""
    world = World()
    dead = world.add_queue("dead.fifo")
    queue = world.add_queue("q.fifo", visibility_timeout_in_seconds=10, dead_letter_queue=dead, maximum_receive_count=2)
    plan = FunctionPlan(names_failures=True)
    target = world.add_function("f", plan, timeout_in_seconds=5)
    world.add_mapping("m", queue, "f", report_batch_item_failures=True)

    async def until(life: Life) -> None:
        ids = [world.sqs.send(queue, body, group="g", deduplication_id=body) for body in bodies(4)]
        plan.poison.add(ids[1])
        await anyio.sleep(100)
        life.begin_stop()
        assert [call.message_ids for call in target.calls][:2] == [ids, ids[1:]]
        assert ids_of(target.calls)[-1] == ids[3]
        assert dead.message_ids[0] == ids[1]

    live(world, until)


def test_one_group_with_a_batch_size_of_one_is_invoked_one_message_at_a_time() -> None:
    """[Q5]"""
    world = World()
    queue = world.add_queue("q.fifo")
    target = world.add_function("f", FunctionPlan(duration_in_seconds=(0.1, 1.0)))
    world.add_mapping("m", queue, "f", batch_size=1)
    live(world, sending(world, queue, *bodies(20), stop_at=60))
    assert target.most_running == 1
    assert [len(call.message_ids) for call in target.calls] == [1] * 20
    assert ids_of(target.calls) == [entry.message_id for entry in queue.history if entry.kind == "sent"]


def test_different_groups_are_invoked_at_the_same_time() -> None:
    world = World()
    queue = world.add_queue("q.fifo")
    target = world.add_function("f", FunctionPlan(duration_in_seconds=(5.0, 5.0)))
    world.add_mapping("m", queue, "f", batch_size=1)

    async def until(life: Life) -> None:
        for group in "abcd":
            world.sqs.send(queue, group, group=group, deduplication_id=group)
        await stopping_at(30)(life)

    live(world, until)
    assert target.most_running == 4


@pytest.mark.parity("CreateEventSourceMapping.FilterCriteria.Filters")
def test_filtered_out_messages_are_deleted_and_not_invoked() -> None:
    """[Q6]"""
    world = World()
    queue = world.add_queue("q")
    target = world.add_function("f")
    world.add_mapping("m", queue, "f", filters=('{"body": {"kind": ["order"]}}',))
    live(world, sending(world, queue, '{"kind": "other"}', "plain text", '{"kind": "order"}', stop_at=5))
    assert len(ids_of(target.calls)) == 1
    assert not queue.message_ids
    assert sum(fact.records for fact in world.facts_of(RecordsFilteredOut)) == 2
    assert sum(fact.records for fact in world.facts_of(MessagesDeleted)) == 3


@pytest.mark.parametrize("batch_size", [15, 100, 1000, 10000])
@pytest.mark.parity("CreateEventSourceMapping.BatchSize")
def test_a_batch_of_more_than_ten_messages_is_gathered_by_several_receives(batch_size: int) -> None:
    """[Q7]"""
    world = World()
    queue = world.add_queue("q", visibility_timeout_in_seconds=120)
    target = world.add_function("f")
    world.add_mapping("m", queue, "f", batch_size=batch_size, maximum_batching_window_in_seconds=10)
    live(world, sending(world, queue, *bodies(batch_size), stop_at=30))
    assert sorted(ids_of(target.calls)) == sorted(entry.message_id for entry in queue.history if entry.kind == "sent")
    assert max(len(call.message_ids) for call in target.calls) > 10


def test_thirty_messages_make_two_batches_of_up_to_twenty() -> None:
    """[Q8]"""
    world = World()
    queue = world.add_queue("q")
    target = world.add_function("f")
    world.add_mapping("m", queue, "f", batch_size=20, maximum_batching_window_in_seconds=1, maximum_concurrency=2)
    live(world, sending(world, queue, *bodies(30), stop_at=20))
    assert len(target.calls) == 2


@pytest.mark.parity("CreateEventSourceMapping.MaximumBatchingWindowInSeconds")
def test_the_window_begins_with_the_first_message() -> None:
    world = World()
    queue = world.add_queue("q")
    target = world.add_function("f")
    world.add_mapping("m", queue, "f", maximum_batching_window_in_seconds=5)

    async def until(life: Life) -> None:
        for at in (12.0, 14.0, 16.0):
            await anyio.sleep_until(at)
            world.sqs.send(queue, str(at))
        await stopping_at(40)(life)

    live(world, until)
    assert [len(call.message_ids) for call in target.calls] == [3]
    assert target.calls[0].began_at == pytest.approx(17.0, abs=0.6)


def test_no_batch_is_longer_than_six_megabytes() -> None:
    world = World()
    queue = world.add_queue("q")
    target = world.add_function("f")
    world.add_mapping("m", queue, "f")
    live(world, sending(world, queue, *["x" * 1_000_000 + str(number) for number in range(10)], stop_at=10))
    assert sorted(len(call.message_ids) for call in target.calls) == [4, 6]
    assert not queue.message_ids


def test_the_rest_of_a_receive_does_not_overtake_a_failed_fifo_batch() -> None:
    world = World()
    queue = world.add_queue("q.fifo", visibility_timeout_in_seconds=20)
    plan = FunctionPlan(failure_rate=1.0, ends_at=10.0)
    target = world.add_function("f", plan, timeout_in_seconds=2)
    world.add_mapping("m", queue, "f")
    live(world, sending(world, queue, *["x" * 1_000_000 + str(n) for n in range(10)], stop_at=90))
    checker.check_order(queue, target.calls, lambda _: True)
    assert [len(call.message_ids) for call in target.calls][:2] == [6, 6], "the same six came again before the four"
    assert not queue.message_ids


def test_an_idle_queue_costs_three_receives_a_minute() -> None:
    world = World()
    queue = world.add_queue("q")
    world.add_function("f")
    world.add_mapping("m", queue, "f")
    live(world, stopping_at(600))
    assert receives(world, queue) == pytest.approx(30, abs=1)


def test_a_queue_without_long_polls_is_not_polled_too_often(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    queue = world.add_queue("q")
    world.add_function("f")
    world.add_mapping("m", queue, "f")
    call = world.sqs.call

    async def without_waiting(operation: str, body: bytes, *, timeout_in_seconds: float) -> Any:
        request = orjson.loads(body) | {"WaitTimeSeconds": 0}
        return await call(operation, orjson.dumps(request), timeout_in_seconds=timeout_in_seconds)

    monkeypatch.setattr(world.sqs, "call", without_waiting)
    live(world, stopping_at(60))
    assert receives(world, queue) < 150


def test_polls_grow_with_a_backlog_and_fall_back_to_one() -> None:
    world = World(faults=FaultPlan(latency_in_seconds=(0.05, 0.05)))
    queue = world.add_queue("q")
    target = world.add_function("f", FunctionPlan(duration_in_seconds=(1.0, 1.0)), concurrency=50)
    world.add_mapping("m", queue, "f")
    polls = []

    async def until(life: Life) -> None:
        for body in bodies(2000):
            world.sqs.send(queue, body)
        for _ in range(120):
            await anyio.sleep(0.5)
            (status,) = life.supervisor.statuses()
            polls.append(status.polls_in_flight)
        life.begin_stop()

    live(world, until)
    assert target.most_running > 20
    assert not queue.message_ids
    assert polls[-1] == 1


def test_a_slow_function_does_not_keep_the_next_message_waiting() -> None:
    world = World()
    queue = world.add_queue("q")
    target = world.add_function("f", FunctionPlan(duration_in_seconds=(9.0, 9.0)))
    world.add_mapping("m", queue, "f")

    async def until(life: Life) -> None:
        for number in range(4):
            world.sqs.send(queue, str(number))
            await anyio.sleep(1)
        await stopping_at(30)(life)

    live(world, until)
    assert [round(call.began_at) for call in target.calls] == [0, 1, 2, 3]


@pytest.mark.parametrize("shared", [1, 2])
def test_a_reserved_concurrency_of_one_works_without_raising_receive_counts(shared: int) -> None:
    world = World()
    plan = FunctionPlan(duration_in_seconds=(20.0, 20.0))
    target = world.add_function("f", plan, timeout_in_seconds=25, concurrency=1)
    dead = world.add_queue("dead")
    queues = []
    for number in range(shared):
        queue = world.add_queue(
            f"q{number}", visibility_timeout_in_seconds=30, dead_letter_queue=dead, maximum_receive_count=1
        )
        queues.append(queue)
        world.add_mapping(f"m{number}", queue, "f", batch_size=1)

    async def until(life: Life) -> None:
        for queue in queues:
            for body in bodies(20):
                world.sqs.send(queue, body)
        await stopping_at(1500)(life)

    live(world, until)
    assert target.most_running == 1
    assert not dead.message_ids
    for queue in queues:
        assert not queue.message_ids
        assert receive_counts(queue) == [1] * 20


def test_an_idle_mapping_does_not_use_the_concurrency_of_another() -> None:
    world = World()
    target = world.add_function("f", FunctionPlan(duration_in_seconds=(0.5, 0.5)), concurrency=1)
    idle, busy = world.add_queue("idle"), world.add_queue("busy")
    world.add_mapping("idle", idle, "f")
    world.add_mapping("busy", busy, "f", batch_size=1)
    live(world, sending(world, busy, *bodies(30), stop_at=20))
    assert not busy.message_ids
    assert len(target.calls) == 30


@pytest.mark.parity("throttled batch")
def test_throttles_keep_the_batch_in_hand_and_the_receive_count_at_one() -> None:
    """poller's own limits and throttles of the function must never move a message to the dead-letter queue."""
    world = World()
    dead = world.add_queue("dead")
    queue = world.add_queue("q", visibility_timeout_in_seconds=5, dead_letter_queue=dead, maximum_receive_count=1)
    target = world.add_function("f", FunctionPlan(throttle_rate=1.0, ends_at=600.0), timeout_in_seconds=2)
    world.add_mapping("m", queue, "f")
    live(world, sending(world, queue, *bodies(25), stop_at=700))
    assert not queue.message_ids
    assert not dead.message_ids
    assert receive_counts(queue) == [1] * 25
    assert world.facts_of(InvocationPostponed)
    assert world.facts_of(VisibilityExtended)
    assert len({call.request_id for call in target.calls}) == len(target.calls)


@pytest.mark.parity("timeout above visibility")
def test_messages_stay_hidden_while_the_function_runs() -> None:
    world = World()
    dead = world.add_queue("dead")
    queue = world.add_queue("q", visibility_timeout_in_seconds=30, dead_letter_queue=dead, maximum_receive_count=1)
    target = world.add_function("f", FunctionPlan(duration_in_seconds=(800.0, 800.0)), timeout_in_seconds=900)
    world.add_mapping("m", queue, "f")
    live(world, sending(world, queue, "slow", stop_at=1000))
    assert len(target.calls) == 1
    assert not dead.message_ids
    assert not queue.message_ids


def test_the_function_gets_no_message_that_may_be_visible_again() -> None:
    world = World(faults=FaultPlan(outages=[Outage(1.0, 200.0, Fault.UNREACHABLE)]))
    queue = world.add_queue("q", visibility_timeout_in_seconds=10)
    target = world.add_function("f", FunctionPlan(throttle_rate=1.0, ends_at=300.0), timeout_in_seconds=2)
    world.add_mapping("m", queue, "f")
    live(world, sending(world, queue, *bodies(5), stop_at=500))
    checker.check_no_expired_receipt_is_invoked(queue, target.calls)
    assert not queue.message_ids


def test_failures_lower_the_concurrency_and_success_restores_it() -> None:
    world = World()
    queue = world.add_queue("q", visibility_timeout_in_seconds=30)
    world.add_function("f", FunctionPlan(duration_in_seconds=(0.5, 0.5), failure_rate=1.0, ends_at=20.0), concurrency=8)
    world.add_mapping("m", queue, "f", batch_size=1)
    limits = []

    async def until(life: Life) -> None:
        for body in bodies(400):
            world.sqs.send(queue, body)
        for _ in range(150):
            await anyio.sleep(1)
            limits.append(life.supervisor.statuses()[0].concurrency_limit)
        life.begin_stop()

    live(world, until)
    assert min(limits) == 1
    assert limits[-1] == 8
    assert not queue.message_ids


def test_the_status_has_the_age_of_the_oldest_message_in_hand() -> None:
    world = World()
    queue = world.add_queue("q", visibility_timeout_in_seconds=60)
    world.add_function("f", FunctionPlan(duration_in_seconds=(20.0, 20.0)), timeout_in_seconds=30)
    world.add_mapping("m", queue, "f")
    ages = []

    async def until(life: Life) -> None:
        for moment in (5, 10, 20, 15):
            ages.append(life.supervisor.statuses()[0].queue)
            world.sqs.send(queue, "message")
            await anyio.sleep(moment)
        life.begin_stop()

    live(world, until)
    assert [queue_status and queue_status.oldest_age_in_seconds for queue_status in ages] == [
        None,
        pytest.approx(5, abs=1),
        pytest.approx(15, abs=1),
        pytest.approx(20, abs=1),
    ]


def test_partial_failures_do_not_lower_the_concurrency() -> None:
    world = World()
    queue = world.add_queue("q", visibility_timeout_in_seconds=60)
    world.add_function("f", FunctionPlan(item_failure_rate=0.5, names_failures=True), concurrency=8)
    world.add_mapping("m", queue, "f", report_batch_item_failures=True)

    async def until(life: Life) -> None:
        for body in bodies(100):
            world.sqs.send(queue, body)
        await anyio.sleep(30)
        assert life.supervisor.statuses()[0].concurrency_limit == 8
        life.begin_stop()

    live(world, until)


def test_a_broken_mapping_does_not_harm_others_and_recovers() -> None:
    world = World()
    good, bad = world.add_queue("good"), world.add_queue("bad")
    world.add_function("f")
    world.add_mapping("good", good, "f")
    world.add_mapping("bad", bad, "f")

    async def until(life: Life) -> None:
        await anyio.sleep(1)
        world.sqs.delete_queue(bad)
        await anyio.sleep(30)
        states = {str(status.mapping): status for status in life.supervisor.statuses()}
        assert states["bad"].state == "troubled"
        assert "QueueDoesNotExist" in (states["bad"].reason or "")
        assert states["good"].state == "ready"
        world.sqs.send(good, "hello")
        await anyio.sleep(1)
        assert not good.message_ids
        again = world.add_queue("bad")
        world.sqs.send(again, "hello")
        await anyio.sleep(90)
        assert not again.message_ids
        life.begin_stop()

    live(world, until)
    assert world.facts_of(SourceFailed)
    assert world.facts_of(SourceRecovered)


def test_a_mapping_whose_queue_is_missing_starts_when_the_queue_exists() -> None:
    world = World(faults=FaultPlan(outages=[Outage(0.0, 100.0, Fault.NOT_FOUND)]))
    queue = world.add_queue("q")
    world.add_function("f")
    world.add_mapping("m", queue, "f")

    async def until(life: Life) -> None:
        await anyio.sleep(50)
        (status,) = life.supervisor.statuses()
        assert status.state == "starting"
        assert status.reason is not None
        world.sqs.send(queue, "hello")
        await anyio.sleep(150)
        assert not queue.message_ids
        life.begin_stop()

    live(world, until)
    assert len(world.facts_of(MappingReady)) == 1


def test_a_crash_of_one_mapping_is_reported_and_it_runs_again(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    queue = world.add_queue("q", visibility_timeout_in_seconds=30)
    target = world.add_function("f")
    world.add_mapping("m", queue, "f")
    invoke = target.invoke

    async def fails_once(invocation: Any) -> Any:
        monkeypatch.undo()
        raise ZeroDivisionError

    monkeypatch.setattr(target, "invoke", fails_once)
    live(world, sending(world, queue, "hello", stop_at=60))
    assert target.invoke == invoke
    assert len(world.facts_of(MappingCrashed)) == 1
    assert not queue.message_ids


def test_a_failed_delete_is_tried_again_and_counted() -> None:
    faults = FaultPlan()
    faults.script("DeleteMessageBatch", Fault.THROTTLED, Fault.UNREACHABLE, Fault.ANSWER_LOST)
    world = World(faults=faults)
    queue = world.add_queue("q")
    target = world.add_function("f")
    world.add_mapping("m", queue, "f")
    live(world, sending(world, queue, "hello", stop_at=29))
    assert len(target.calls) == 1
    assert not queue.message_ids
    assert [fact.is_given_up for fact in world.facts_of(DeleteFailed)] == [False] * 3
    assert sum(fact.records for fact in world.facts_of(MessagesDeleted)) == 1


def test_a_stop_lets_running_invocations_finish_and_releases_the_rest() -> None:
    world = World(grace_in_seconds=30)
    queue = world.add_queue("q", visibility_timeout_in_seconds=300)
    target = world.add_function("f", FunctionPlan(duration_in_seconds=(8.0, 8.0)), concurrency=1)
    world.add_function("g", FunctionPlan(throttle_rate=1.0))
    other = world.add_queue("other", visibility_timeout_in_seconds=300)
    world.add_mapping("m", queue, "f")
    world.add_mapping("n", other, "g")

    async def until(life: Life) -> None:
        world.sqs.send(queue, "runs")
        world.sqs.send(other, "waits")
        await stopping_at(5)(life)

    async def main() -> float | None:
        life = await world.live(until)
        checker.check_given_back(other, [], anyio.current_time())
        return life.ended_at

    assert run_seeded(1, main) == pytest.approx(8.0, abs=0.1)
    assert [call.ending for call in target.calls] == ["succeeded"]
    assert not queue.message_ids
    assert not checker.in_flight(other)


def test_an_invocation_that_outlasts_the_grace_is_cancelled_and_its_messages_are_visible_at_once() -> None:
    world = World(grace_in_seconds=3)
    queue = world.add_queue("q", visibility_timeout_in_seconds=300)
    target = world.add_function("f", FunctionPlan(duration_in_seconds=(60.0, 60.0)), timeout_in_seconds=100)
    world.add_mapping("m", queue, "f")

    async def main() -> float | None:
        life = await world.live(sending(world, queue, "slow", stop_at=5))
        return life.ended_at

    assert run_seeded(1, main) == pytest.approx(8.0, abs=0.1)
    assert [call.ending for call in target.calls] == ["cut"]
    assert not checker.in_flight(queue)


def test_a_group_of_a_cancelled_invocation_stays_hidden_while_its_function_may_still_run() -> None:
    world = World(grace_in_seconds=3)
    queue = world.add_queue("q.fifo", visibility_timeout_in_seconds=300)
    target = world.add_function("f", FunctionPlan(duration_in_seconds=(60.0, 60.0)), timeout_in_seconds=100)
    world.add_mapping("m", queue, "f")

    async def main() -> None:
        await world.live(sending(world, queue, "slow", stop_at=5))
        await world.live(stopping_at(500))

    run_seeded(1, main)
    checker.check_one_batch_at_a_time(target.calls)
    assert not queue.message_ids


@pytest.mark.parametrize("is_cut", [True, False], ids=["cut by a stop", "its answer is lost"])
def test_a_call_that_waited_for_an_emulator_keeps_its_group_hidden_for_the_whole_timeout_of_the_function(
    is_cut: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(grace_in_seconds=3)
    queue = world.add_queue("q.fifo", visibility_timeout_in_seconds=30)
    target = world.add_function("f", FunctionPlan(duration_in_seconds=(60.0, 60.0)), timeout_in_seconds=100)
    world.add_mapping("m", queue, "f")
    invoke = target.invoke

    async def invoke_once_an_emulator_is_free(invocation: Invocation) -> Response:
        if target.calls:
            return await invoke(invocation)
        await anyio.sleep(50)
        with anyio.move_on_after(1000 if is_cut else 5):
            return await invoke(invocation)
        return LostAnswer(reason="ConnectionLost")

    monkeypatch.setattr(target, "invoke", invoke_once_an_emulator_is_free)

    async def main() -> None:
        if is_cut:
            await world.live(sending(world, queue, "slow", stop_at=60))
            await world.live(stopping_at(500))
        else:
            await world.live(sending(world, queue, "slow", stop_at=500))

    run_seeded(1, main)
    assert len(target.calls) == 2
    assert target.calls[1].began_at >= target.calls[0].began_at + 100
    checker.check_one_batch_at_a_time(target.calls)
    assert not queue.message_ids


def test_a_second_signal_ends_the_grace_at_once() -> None:
    world = World(grace_in_seconds=1000)
    queue = world.add_queue("q")
    world.add_function("f", FunctionPlan(duration_in_seconds=(60.0, 60.0)), timeout_in_seconds=100)
    world.add_mapping("m", queue, "f")

    async def until(life: Life) -> None:
        world.sqs.send(queue, "slow")
        await stopping_at(2)(life)
        await anyio.sleep(1)
        life.stop.hurry()

    async def main() -> float | None:
        return (await world.live(until)).ended_at

    assert run_seeded(1, main) == pytest.approx(3.0, abs=0.1)
    assert not checker.in_flight(queue)


def test_a_stop_cancels_the_long_poll_at_once() -> None:
    world = World()
    queue = world.add_queue("q")
    world.add_function("f")
    world.add_mapping("m", queue, "f")

    async def main() -> float | None:
        return (await world.live(stopping_at(7))).ended_at

    assert run_seeded(1, main) == pytest.approx(7.0, abs=0.01)


def test_a_kill_in_the_middle_of_many_messages_loses_none() -> None:
    world = World(faults=FaultPlan(latency_in_seconds=(0.0, 0.01)))
    queue = world.add_queue("q", visibility_timeout_in_seconds=30)
    target = world.add_function("f", FunctionPlan(duration_in_seconds=(0.0, 0.2)))
    world.add_mapping("m", queue, "f")

    async def main() -> None:
        async def kill(life: Life) -> None:
            for body in bodies(2000):
                world.sqs.send(queue, body)
            await anyio.sleep(1.0)
            assert 0 < len(queue.message_ids) < 2000
            life.crash()

        await world.live(kill)
        await world.live(stopping_at(200))

    run_seeded(1, main)
    checker.check_nothing_is_lost(queue, target.calls, lambda _: True)


def test_a_batch_is_invoked_with_lambdas_event() -> None:
    world = World()
    queue = world.add_queue("q")
    target = world.add_function("f")
    world.add_mapping("m", queue, "f")
    payloads = []
    invoke = target.invoke

    async def listening(invocation: Any) -> Any:
        payloads.append(orjson.loads(invocation.payload))
        return await invoke(invocation)

    target.invoke = listening  # type: ignore[method-assign]
    live(world, sending(world, queue, "hello", stop_at=3))
    (record,) = payloads[0]["Records"]
    assert record["body"] == "hello"
    assert record["eventSource"] == "aws:sqs"
    assert record["eventSourceARN"] == str(queue.arn)


def test_every_invocation_is_reported() -> None:
    world = World()
    queue = world.add_queue("q")
    world.add_function("f", FunctionPlan(failure_rate=1.0, ends_at=5.0))
    world.add_mapping("m", queue, "f")
    live(world, sending(world, queue, "hello", stop_at=50))
    fact = world.facts_of(BatchInvoked)
    assert [(fact.outcome, fact.records, fact.failed, fact.reason) for fact in fact] == [
        ("failed", 1, 1, "ValueError"),
        ("succeeded", 1, 0, ""),
    ]
    assert fact[1].oldest_record_age_seconds == pytest.approx(30, abs=1)
