"""Which numbers of the last 30 minutes does a history have?"""

from __future__ import annotations

import tracemalloc
from typing import Literal

import anyio
import anyio.lowlevel
import pytest

from poller.facts import BatchInvoked, EventInvoked, EventPostponed, InvocationPostponed
from poller.model.ids import FunctionName, MappingName, RequestId
from poller.model.mapping import EventMapping
from poller.telemetry.history import (
    BOUNDS_IN_SECONDS,
    INTERVAL_IN_SECONDS,
    INTERVALS,
    History,
    LastMinutes,
    Totals,
    last_minutes,
    totals,
)
from poller.telemetry.telemetry import Telemetry

ORDERS, STORE = MappingName("orders"), FunctionName("store")


def invoked(records: int, failed: int = 0, seconds: float = 0.5) -> BatchInvoked:
    outcome: Literal["failed", "succeeded"] = "failed" if failed else "succeeded"
    return BatchInvoked(ORDERS, STORE, RequestId("id"), outcome, records, failed, 1, seconds, 1.0, "", "", "")


def begun() -> Telemetry:
    telemetry = Telemetry()
    telemetry.begin_mapping(ORDERS, STORE, is_stream=True)
    return telemetry


def test_an_interval_has_what_was_counted_since_the_interval_before() -> None:
    telemetry = begun()
    history = History(telemetry.registry)
    telemetry.emit(invoked(1000))
    history.add(totals(telemetry.registry))
    for fact in (invoked(30), invoked(60, failed=60), InvocationPostponed(ORDERS, STORE, 1, 1, "429", 1.0, True, "")):
        telemetry.emit(fact)
    history.add(totals(telemetry.registry))
    seen = history.histories()[ORDERS]
    assert (list(seen.records[-3:]), list(seen.failed[-2:]), list(seen.postponed[-2:])) == (
        [0, 1000, 90],
        [0, 60],
        [0, 1],
    )
    assert seen.records_per_second == 90 / INTERVAL_IN_SECONDS
    assert len(seen.records) == INTERVALS


def test_the_last_minutes_are_those_of_all_histories_together() -> None:
    telemetry = begun()
    history = History(telemetry.registry)
    for seconds in (0.2, 0.2, 0.2, 200.0):
        telemetry.emit(invoked(1, seconds=seconds))
    telemetry.emit(InvocationPostponed(ORDERS, STORE, 1, 1, "429", 1.0, True, ""))
    history.add(totals(telemetry.registry))
    minutes = last_minutes([history.histories()[ORDERS]] * 2)
    assert (minutes.throttles, minutes.invocations) == (2, 8)
    assert 0.1 < (minutes.p50_in_seconds or 0) <= 0.25
    assert 60 < (minutes.p99_in_seconds or 0) <= 300
    assert last_minutes([]) == LastMinutes(0, 0, None, None)


def test_the_asynchronous_events_of_a_function_have_a_history_too() -> None:
    telemetry = begun()
    telemetry.begin_function(STORE)
    history = History(telemetry.registry)
    outcomes: tuple[Literal["succeeded", "failed"], ...] = ("succeeded", "failed")
    for outcome in outcomes:
        telemetry.emit(EventInvoked(STORE, RequestId("id"), outcome, 1, 0.0, 200.0, "", "", "", None))
    postponements: tuple[Literal["throttled", "unreachable"], ...] = ("throttled", "unreachable", "throttled")
    for postponement in postponements:
        telemetry.emit(EventPostponed(STORE, RequestId("id"), postponement, "429", 1.0))
    history.add(totals(telemetry.registry))
    events, batches = (last_minutes([history.histories()[name]]) for name in (EventMapping.named(STORE), ORDERS))
    assert (events.throttles, events.invocations) == (3, 2)
    assert 60 < (events.p50_in_seconds or 0) <= 300
    assert batches == LastMinutes(0, 0, None, None)


def test_durations_are_forgotten_after_the_last_interval() -> None:
    telemetry = begun()
    history = History(telemetry.registry)
    telemetry.emit(invoked(1))
    for _ in range(INTERVALS):
        history.add(totals(telemetry.registry))
    assert last_minutes([history.histories()[ORDERS]]).invocations == 1
    history.add(totals(telemetry.registry))
    assert last_minutes([history.histories()[ORDERS]]).invocations == 0


def test_a_history_has_no_more_than_its_intervals_and_does_not_change_once_it_is_read() -> None:
    history = History(begun().registry)
    for count in range(INTERVALS + 10):
        history.add({ORDERS: Totals([count * (count + 1) / 2, 0, 0])})
    before = history.histories()[ORDERS]
    history.add({ORDERS: Totals([10_000, 0, 0])})
    assert list(before.records) == list(range(10, INTERVALS + 10))


def test_the_history_of_a_busy_mapping_takes_less_than_20_kb() -> None:
    names, bounds = [MappingName(f"orders-{number}") for number in range(10)], range(len(BOUNDS_IN_SECONDS))
    history = History(begun().registry)
    tracemalloc.start()
    try:
        for count in range(INTERVALS + 10):
            history.add({name: Totals([count, 0, 0], [count + bound / 7 for bound in bounds]) for name in names})
        assert tracemalloc.get_traced_memory()[0] / len(names) < 20_000
    finally:
        tracemalloc.stop()


def test_a_counter_that_begins_again_counts_from_zero() -> None:
    history = History(begun().registry)
    rest = [0.0] * (len(BOUNDS_IN_SECONDS) - 2)
    history.add({ORDERS: Totals([100, 0, 0], [5.0, 9.0, *rest])})
    for _ in range(INTERVALS):
        history.add({ORDERS: Totals([7, 0, 0], [2.0, 3.0, *rest])})
    seen = history.histories()[ORDERS]
    assert list(seen.records[:2]) == [7, 0]
    assert seen.durations[:2] == (2.0, 3.0)


def test_a_removed_mapping_loses_its_history_and_has_a_new_one_when_it_comes_back() -> None:
    history = History(begun().registry)
    for count in (0, 50):
        history.add({ORDERS: Totals([count, 0, 0])})
    history.add({})
    assert history.histories() == {}
    history.add({ORDERS: Totals([3, 0, 0])})
    assert sum(history.histories()[ORDERS].records) == 3, "its counters begin at zero again"


@pytest.mark.anyio
async def test_the_counters_are_read_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("poller.telemetry.history.INTERVAL_IN_SECONDS", 0.001)
    telemetry = begun()
    history = History(telemetry.registry)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(history.run)
        with anyio.fail_after(30):
            while ORDERS not in history.histories():
                await anyio.lowlevel.checkpoint()
            telemetry.emit(invoked(5))
            while not sum(history.histories()[ORDERS].records):
                await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
