"""What do several workers count together?"""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, generate_latest

from poller import facts
from poller.model.ids import FunctionName, MappingName, RequestId
from poller.telemetry.numbers import Numbers, Totals, summed
from poller.telemetry.series import TotalsCollector
from poller.telemetry.telemetry import Telemetry

ORDERS = MappingName("orders")
CLICKS = MappingName("clicks")
STORE = FunctionName("store")
BILL = FunctionName("bill")
INVOKED = 'poller_invocations_total{function="store",mapping="orders",outcome="succeeded"}'
BATCH = facts.BatchInvoked(ORDERS, STORE, RequestId("8f3"), "succeeded", 10, 0, 1, 0.1, 1.0, "", "", "")


def worker(*emitted: facts.Fact, mapping: MappingName = ORDERS, function: FunctionName = STORE) -> Telemetry:
    """Return the telemetry of a worker with one mapping."""
    telemetry = Telemetry()
    telemetry.begin_mapping(mapping, function, is_stream=False)
    telemetry.begin_function(function)
    for fact in emitted:
        telemetry.emit(fact)
    return telemetry


def text_of(numbers: Sequence[Numbers]) -> dict[str, str]:
    """Return the series of poller that a scrape shows, each with its value."""
    registry = CollectorRegistry()
    registry.register(TotalsCollector(lambda: numbers))
    lines = generate_latest(registry).decode().splitlines()
    return dict(line.rsplit(" ", 1) for line in lines if line.startswith("poller_"))


def own_text_of(telemetry: Telemetry) -> dict[str, str]:
    lines = generate_latest(telemetry.registry).decode().splitlines()
    return dict(
        line.rsplit(" ", 1) for line in lines if line.startswith("poller_") and not line.startswith("poller_build")
    )


def polled(totals: Totals, mapping: MappingName = ORDERS) -> str | None:
    return text_of(totals.numbers()).get(f'poller_records_polled_total{{mapping="{mapping}"}}')


def test_one_worker_shows_the_same_series_as_a_daemon_without_workers() -> None:
    telemetry = worker(
        facts.MessagesReceived(ORDERS, 3),
        BATCH,
        BATCH._replace(outcome="failed", failed=10, reason="KeyError"),
        facts.ControlSocketFailed("no"),
        facts.ApiRequestRejected("AccessDeniedException", "no"),
    )
    totals = Totals()
    totals.report("1", telemetry.numbers())
    assert len(telemetry.numbers()) == 3
    assert text_of(totals.numbers()) == own_text_of(telemetry)


def test_the_numbers_of_all_workers_are_added_up() -> None:
    totals = Totals()
    totals.report("1", worker(facts.MessagesReceived(ORDERS, 3), BATCH).numbers())
    totals.report("2", worker(facts.MessagesReceived(ORDERS, 4), BATCH._replace(records=1)).numbers())
    found = text_of(totals.numbers())
    assert found['poller_records_polled_total{mapping="orders"}'] == "7.0"
    assert found[INVOKED] == "2.0"
    assert found['poller_batch_records_sum{mapping="orders"}'] == "11.0"
    assert found['poller_batch_records_bucket{le="1.0",mapping="orders"}'] == "1.0"
    assert found['poller_batch_records_bucket{le="+Inf",mapping="orders"}'] == "2.0"


def test_a_report_replaces_the_report_before_it() -> None:
    totals = Totals()
    totals.report("1", worker(facts.MessagesReceived(ORDERS, 3)).numbers())
    totals.report("1", worker(facts.MessagesReceived(ORDERS, 5)).numbers())
    assert polled(totals) == "5.0"


def test_a_counter_does_not_go_down_when_a_worker_ends_and_begins_again() -> None:
    totals = Totals()
    totals.report("1", worker(facts.MessagesReceived(ORDERS, 3), BATCH).numbers())
    totals.report("2", worker(facts.MessagesReceived(ORDERS, 4)).numbers())
    totals.keep("1")
    assert polled(totals) == "7.0"
    totals.report("1", worker(facts.MessagesReceived(ORDERS, 1), BATCH).numbers())
    totals.keep("1")
    totals.keep("1")
    assert polled(totals) == "8.0"
    found = text_of(totals.numbers())
    assert found['poller_batch_records_bucket{le="+Inf",mapping="orders"}'] == "2.0"
    assert found[INVOKED] == "2.0"


def test_the_numbers_of_ended_workers_stay_while_no_worker_runs() -> None:
    totals = Totals()
    totals.report("1", worker(facts.MessagesReceived(ORDERS, 3)).numbers())
    totals.keep("1")
    assert polled(totals) == "3.0"
    totals.report("1", worker().numbers())
    assert polled(totals) == "3.0"


def test_a_removed_mapping_is_forgotten_when_the_last_worker_shows_it_no_more() -> None:
    totals = Totals()
    totals.report("1", worker(facts.MessagesReceived(ORDERS, 3)).numbers())
    totals.report("2", worker(facts.MessagesReceived(ORDERS, 4)).numbers())
    totals.keep("1")
    totals.report("1", worker(mapping=CLICKS).numbers())
    assert polled(totals) == "7.0"
    totals.report("2", worker(mapping=CLICKS).numbers())
    assert polled(totals) is None
    totals.report("1", worker().numbers())
    assert polled(totals) == "0.0"


def test_a_mapping_with_another_function_begins_at_zero_when_the_first_worker_has_it() -> None:
    totals = Totals()
    totals.report("1", worker(facts.MessagesReceived(ORDERS, 3)).numbers())
    totals.report("2", worker(facts.MessagesReceived(ORDERS, 4), function=BILL).numbers())
    assert polled(totals) == "3.0"
    totals.report("1", worker(facts.MessagesReceived(ORDERS, 1), function=BILL).numbers())
    assert polled(totals) == "5.0"


def test_a_mapping_and_a_function_may_have_the_same_name() -> None:
    both = Telemetry()
    both.begin_mapping(MappingName("store"), STORE, is_stream=True)
    both.begin_function(STORE)
    assert {subject.kind for subject in summed(both.numbers())} == {"daemon", "stream", "function"}
