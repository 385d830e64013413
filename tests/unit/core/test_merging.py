"""What does the page show of a mapping that several workers run?"""

from __future__ import annotations

from typing import get_args

import pytest

from poller.core.merging import WORST_FIRST, merged, merged_functions, merged_sharing, with_older_runs
from poller.model.function_status import (
    CHILDREN_SHOWN,
    LINES_KEPT,
    ChildStatus,
    FunctionStatus,
    LoggedLine,
)
from poller.model.ids import FunctionName, MappingName
from poller.model.lease import Owner
from poller.model.sharing import SeenWorker, SharingStatus
from poller.model.status import (
    BlockedShard,
    EventsStatus,
    LastError,
    MappingState,
    MappingStatus,
    QueueStatus,
    ShardStatus,
    StreamStatus,
)
from poller.model.stream import ShardId

STORE = FunctionName("store")
READY = MappingStatus(
    MappingName("orders"), FunctionName("store"), "arn", "ready", None, 2, 3, 34, 8, since=50.0, was_found=True
)
INVOICES = READY._replace(mapping=MappingName("invoices"))
TROUBLED = READY._replace(state="troubled", reason="gone", since=70.0, attempt=4, next_try=90.0)


def blocked(number: int) -> BlockedShard:
    return BlockedShard(ShardId(f"shard-{number}"), "KeyError", float(number))


def test_the_status_of_one_worker_is_unchanged() -> None:
    stream = StreamStatus(1.5, 0.5, 2.5, 1, 2, 3, 1, 5, (blocked(1),))
    events = EventsStatus(waiting=1, in_flight=2, stuck=3, oldest_age_in_seconds=4.0, is_in_use=False)
    statuses = [TROUBLED._replace(stream=stream), INVOICES._replace(events=events)]
    assert merged([statuses]) == statuses


def test_the_shards_of_all_workers_are_shown_those_in_trouble_first() -> None:
    shards = [ShardStatus(ShardId(f"s{age}"), Owner(f"w/{age}"), 1.0, "TRIM_HORIZON", age) for age in (5.0, 9.0, 7.0)]
    (status,) = merged([[READY._replace(stream=StreamStatus(shards=(shard,)))] for shard in shards])
    assert status.stream is not None
    assert [shard.age_in_seconds for shard in status.stream.shards] == [9.0, 7.0, 5.0]


def function(running: int, *, at: float, busy: bool, age: float) -> FunctionStatus:
    child = ChildStatus(4000 + running, busy, age)
    line = LoggedLine(at, child.pid, "hello")
    return FunctionStatus(STORE, running, 2, 5, 3, 1, (child,), (line,))


def test_the_numbers_of_a_function_are_added_and_its_newest_lines_of_all_workers_are_shown() -> None:
    workers = [function(1, at=9.0, busy=False, age=5.0), function(2, at=7.0, busy=True, age=1.0)]
    other = FunctionStatus(FunctionName("send"), 0, 0, 4)
    assert merged_functions([[workers[0]], [workers[1], other]]) == [
        FunctionStatus(
            STORE,
            running=3,
            waiting=4,
            limit=10,
            children=6,
            busy=2,
            first_children=(ChildStatus(4002, True, 1.0), ChildStatus(4001, False, 5.0)),
            log=(LoggedLine(7.0, 4002, "hello"), LoggedLine(9.0, 4001, "hello")),
        ),
        other,
    ]


def test_of_many_children_and_lines_only_some_are_shown() -> None:
    children = tuple(ChildStatus(number, number % 2 == 0, float(number)) for number in range(CHILDREN_SHOWN))
    lines = tuple(LoggedLine(float(number), None, "") for number in range(LINES_KEPT))
    [shown] = merged_functions([[FunctionStatus(STORE, 0, 0, 0, 20, 10, children, lines)]] * 2)
    assert {child.is_busy for child in shown.first_children} == {True}
    assert [child.age_in_seconds for child in shown.first_children[:3]] == [18.0, 18.0, 16.0]
    assert len(shown.first_children) == CHILDREN_SHOWN
    assert [line.at for line in shown.log] == sorted([*range(LINES_KEPT // 2, LINES_KEPT)] * 2)


def test_the_oldest_message_in_hand_of_all_workers_is_the_oldest() -> None:
    ages = (3.5, None, 8.25)
    (status,) = merged([[READY._replace(queue=QueueStatus(age))] for age in ages])
    assert status.queue == QueueStatus(8.25)
    (status,) = merged([[READY._replace(queue=QueueStatus())]] * 2)
    assert status.queue == QueueStatus(None)


def test_a_stream_is_as_far_behind_as_the_worst_worker_that_reads_it_and_unknown_if_none_does() -> None:
    ages = (3.5, None, 8.25)
    (status,) = merged([[READY._replace(stream=StreamStatus(age))] for age in ages])
    assert status.stream is not None
    assert status.stream.iterator_age_in_seconds == 8.25
    (status,) = merged([[READY._replace(stream=StreamStatus())]] * 2)
    assert status.stream == StreamStatus()
    assert status.stream.iterator_age_in_seconds is None


def test_without_a_worker_there_is_no_status() -> None:
    assert merged([]) == []


def test_the_mappings_keep_their_order_and_a_mapping_of_one_worker_is_shown_too() -> None:
    assert merged([[READY], [INVOICES, READY]]) == [
        READY._replace(polls_in_flight=4, batches_in_flight=6, messages_held=68, concurrency_limit=16),
        INVOICES,
    ]


def test_the_worst_state_is_shown_with_its_reason() -> None:
    (status,) = merged([[READY], [TROUBLED], [READY]])
    assert (status.state, status.reason, status.since, status.attempt, status.next_try) == (
        "troubled",
        "gone",
        70.0,
        4,
        90.0,
    )


def test_the_longest_of_equal_states_is_shown() -> None:
    later, unknown = TROUBLED._replace(reason="later", since=71.0), TROUBLED._replace(reason="unknown", since=None)
    (status,) = merged([[unknown], [later], [TROUBLED]])
    assert status.reason == "gone"


def test_of_ready_workers_the_one_that_waits_for_older_runs_is_shown() -> None:
    waits = READY._replace(reason="waits in lane 3", since=90.0)
    (status,) = merged([[READY], [waits], [READY]])
    assert (status.state, status.reason, status.since) == ("ready", "waits in lane 3", 90.0)


def test_every_state_has_a_rank() -> None:
    assert sorted(WORST_FIRST) == sorted(get_args(MappingState))


@pytest.mark.parametrize(("of_workers", "expected"), [((True, True), True), ((True, False), False)])
def test_a_source_counts_as_found_if_every_worker_has_found_it(of_workers: tuple[bool, bool], expected: bool) -> None:
    (status,) = merged([[READY._replace(was_found=was_found)] for was_found in of_workers])
    assert status.was_found is expected


def test_the_newest_error_of_all_workers_is_shown() -> None:
    old, new = LastError(10.0, "KeyError", "'email'"), LastError(20.0, "ValueError")
    (status,) = merged([[READY._replace(last_error=old)], [READY], [READY._replace(last_error=new)]])
    assert status.last_error == new
    (status,) = merged([[READY], [READY]])
    assert status.last_error is None


def test_the_work_of_streams_is_added_up_and_the_highest_age_is_shown() -> None:
    first = StreamStatus(1.0, 0.5, 20.0, 3, 1, 6, 1, 100, (blocked(7),))
    second = StreamStatus(9.0, 0.7, 2.0, 4, 2, 5, 1, 50, (blocked(3),))
    (status,) = merged([[READY._replace(stream=first)], [READY._replace(stream=second)]])
    assert status.stream == StreamStatus(9.0, 0.7, 20.0, 7, 2, 6, 2, 150, (blocked(3), blocked(7)))


def test_a_status_has_what_the_older_runs_of_the_mapping_have_in_hand() -> None:
    new, old = StreamStatus(1.0, shards_reading=3), StreamStatus(9.0, 0.0, 0.0, 1, 0, 0, 1, 50, (blocked(3),))
    older = TROUBLED._replace(stream=old._replace(blocked=(blocked(3)._replace(actions=("retry",)),)))
    status = with_older_runs(READY._replace(stream=new), [older])
    assert status.stream == StreamStatus(9.0, 0.0, 0.0, 4, 0, 0, 1, 50, (blocked(3),)), "no order reaches an older run"
    assert (status.batches_in_flight, status.messages_held) == (6, 68)
    assert (status.state, status.polls_in_flight, status.reason) == ("ready", 2, None)
    queues = [READY._replace(queue=QueueStatus(age)) for age in (None, 8.25)]
    assert with_older_runs(queues[0], queues[1:]).queue == QueueStatus(8.25)


def test_the_events_of_a_shared_queue_are_counted_once() -> None:
    first = EventsStatus(waiting=5, in_flight=0, stuck=1, oldest_age_in_seconds=3.0, is_in_use=False)
    second = EventsStatus(waiting=4, in_flight=2, stuck=0, oldest_age_in_seconds=9.0, is_in_use=True)
    (status,) = merged([[READY._replace(events=first)], [READY._replace(events=second)]])
    assert status.events == EventsStatus(waiting=5, in_flight=2, stuck=1, oldest_age_in_seconds=9.0, is_in_use=True)


def test_the_shared_leases_of_a_host_are_counted_once_and_the_longest_times_count() -> None:
    both = (SeenWorker(Owner("a/1"), 4, 0.0, is_stopping=False), SeenWorker(Owner("b/2"), 3, 0.0, is_stopping=False))
    first = SharingStatus(Owner("a/1"), 4, 1, both[:1], 9.0, 12.0, 0.0)
    second = SharingStatus(Owner("b/2"), 3, 2, both, 0.5, 1.5, 2.5)
    assert merged_sharing([first, second]) == SharingStatus(Owner("b/2"), 7, 3, both, 9.0, 12.0, 2.5)
    assert merged_sharing([]) is None
