"""Which numbers of the last 30 minutes does a history have?"""

from __future__ import annotations

from typing import Literal

import anyio
import anyio.lowlevel
import pytest

from poller.facts import BatchInvoked, InvocationPostponed
from poller.model.ids import FunctionName, MappingName, RequestId
from poller.telemetry.history import INTERVAL_IN_SECONDS, INTERVALS, History, durations_of, totals
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
    assert (list(seen.records[-2:]), list(seen.failed[-2:]), list(seen.postponed[-2:])) == ([0, 90], [0, 60], [0, 1])
    assert seen.records_per_second == 90 / INTERVAL_IN_SECONDS
    assert seen.mean_duration_in_seconds == 0.5
    assert len(seen.records) == INTERVALS


def test_the_durations_are_those_of_the_last_intervals() -> None:
    telemetry = begun()
    history = History(telemetry.registry)
    telemetry.emit(invoked(1, seconds=40_000.0))  # before the history begins
    history.add(totals(telemetry.registry))
    for seconds in (0.2, 0.2, 0.2, 200.0):
        telemetry.emit(invoked(1, seconds=seconds))
    history.add(totals(telemetry.registry))
    seen = history.histories()[ORDERS]
    assert seen.durations[-1] == 4
    assert 0.1 < (seen.duration_in_seconds(0.5) or 0) <= 0.25
    assert 60 < (seen.duration_in_seconds(0.99) or 0) <= 300
    assert durations_of([seen, seen])[-1] == 8
    assert list(durations_of([])) == []
    for _ in range(INTERVALS - 1):
        history.add(totals(telemetry.registry))
    assert history.histories()[ORDERS].durations[-1] == 4
    history.add(totals(telemetry.registry))
    assert history.histories()[ORDERS].duration_in_seconds(0.5) is None, "they are older than 30 minutes"


def test_the_durations_of_a_new_function_begin_at_zero() -> None:
    history = History(begun().registry)
    for totals_of_buckets in ([1.0, 1.0], [5.0, 9.0], [2.0, 3.0], [2.0, 4.0]):
        history.add({ORDERS: [0.0] * 5 + totals_of_buckets})
    assert history.histories()[ORDERS].durations == (2.0, 4.0)


def test_a_history_has_no_more_than_its_intervals_and_does_not_change_once_it_is_read() -> None:
    history = History(begun().registry)
    for count in range(INTERVALS + 10):
        history.add({ORDERS: [count * (count + 1) / 2, 0, 0, 0, 0]})
    before = history.histories()[ORDERS]
    history.add({ORDERS: [10_000, 0, 0, 0, 0]})
    assert list(before.records) == list(range(10, INTERVALS + 10))
    assert before.mean_duration_in_seconds is None


def test_a_counter_that_begins_again_counts_from_zero() -> None:
    history = History(begun().registry)
    for count in (100, 7):
        history.add({ORDERS: [count, 0, 0, 0, 0]})
    assert history.histories()[ORDERS].records[-1] == 7


def test_a_removed_mapping_loses_its_history_and_has_a_new_one_when_it_comes_back() -> None:
    history = History(begun().registry)
    for count in (0, 50):
        history.add({ORDERS: [count, 0, 0, 0, 0]})
    history.add({})
    assert history.histories() == {}
    history.add({ORDERS: [900, 0, 0, 0, 0]})
    assert sum(history.histories()[ORDERS].records) == 0


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
