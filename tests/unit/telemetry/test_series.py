"""What does a scrape return? The same as prometheus_client's own metrics would show."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client import Counter as PrometheusCounter

from poller import facts
from poller.facts.batches import RECORDS
from poller.model.ids import FunctionName, MappingName, RequestId
from poller.telemetry.telemetry import Telemetry

ORDERS = MappingName("orders")
STORE = FunctionName("store")

BATCH = facts.BatchInvoked(ORDERS, STORE, RequestId("8f3"), "succeeded", 1, 0, 1, 0.1, 1.0, "", "", "")
SIZES = (1, 2, 3, 10, 10, 9999, 10000, 10001)


def lines_of(registry: CollectorRegistry, name: str) -> list[str]:
    text = generate_latest(registry).decode()
    return [line for line in text.splitlines() if line.split()[2 if line[0] == "#" else 0].startswith(name)]


def test_a_histogram_has_the_buckets_that_prometheus_client_would_show() -> None:
    telemetry, registry = Telemetry(), CollectorRegistry()
    telemetry.begin_mapping(ORDERS, STORE, is_stream=False)
    expected = Histogram(
        "poller_batch_records", "Records in an invocation.", ["mapping"], buckets=RECORDS, registry=registry
    )
    for size in SIZES:
        telemetry.emit(BATCH._replace(records=size))
        expected.labels(ORDERS).observe(size)
    shown = lines_of(registry, "poller_batch_records")
    assert len(shown) > len(RECORDS)
    assert lines_of(telemetry.registry, "poller_batch_records") == [line for line in shown if "_created" not in line]


def test_a_counter_is_shown_as_prometheus_client_would_show_it() -> None:
    telemetry, registry = Telemetry(), CollectorRegistry()
    odd = MappingName('a "quoted"\\ name')
    telemetry.begin_mapping(odd, STORE, is_stream=False)
    meaning = facts.queues.MESSAGES_DELETED.meaning
    expected = PrometheusCounter("poller_messages_deleted_total", meaning, ["mapping"], registry=registry)
    for count in (7, 10):
        telemetry.emit(facts.MessagesDeleted(odd, count))
        expected.labels(odd).inc(count)
    shown = lines_of(registry, "poller_messages_deleted")
    assert lines_of(telemetry.registry, "poller_messages_deleted") == [line for line in shown if "_created" not in line]
    assert shown[2].endswith(" 17.0")
