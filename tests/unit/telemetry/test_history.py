"""Which numbers of the last 30 minutes does a history have?"""

from __future__ import annotations

from typing import Literal

import anyio
import anyio.lowlevel
import pytest

from poller.facts import BatchInvoked, InvocationPostponed
from poller.model.ids import FunctionName, MappingName, RequestId
from poller.telemetry.history import INTERVAL_IN_SECONDS, INTERVALS, History, totals
from poller.telemetry.telemetry import Telemetry

ORDERS, STORE = MappingName("orders"), FunctionName("store")


def invoked(records: int, failed: int = 0) -> BatchInvoked:
    outcome: Literal["failed", "succeeded"] = "failed" if failed else "succeeded"
    return BatchInvoked(ORDERS, STORE, RequestId("id"), outcome, records, failed, 1, 0.5, 1.0, "", "", "")


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
