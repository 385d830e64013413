"""Are the daemon's own numbers read correctly?"""

from __future__ import annotations

import pytest
from prometheus_client import generate_latest

from poller.demo.clicks import story as clicks
from poller.demo.clicks.accounting import CountedClicks
from poller.demo.metrics import Metrics
from poller.demo.processes import DemoError
from poller.demo.signups import story as signups
from poller.demo.signups.accounting import Counted
from poller.demo.signups.mails import CountedMails
from poller.facts import (
    BatchBisected,
    BatchInvoked,
    BatchRetried,
    Fact,
    InvocationRecordDelivered,
    MessagesDeleted,
    MessagesReceived,
    RecordsDropped,
    RecordsFilteredOut,
    RecordsRead,
)
from poller.model.ids import FunctionName, MappingName, RequestId
from poller.telemetry.telemetry import Telemetry

STREAMS = (signups.WELCOME, clicks.MAPPING)
QUEUES = tuple(queue.mapping for queue in signups.QUEUES)
FIFO = signups.FIFO.mapping
IDLE = {"succeeded": 0, "partly_failed": 0, "failed": 0}


def metrics_after(*facts: Fact) -> Metrics:
    telemetry = Telemetry()
    for mapping in (*QUEUES, *STREAMS):
        telemetry.begin_mapping(mapping, FunctionName("f"), is_stream=mapping in STREAMS)
    for fact in facts:
        telemetry.emit(fact)
    return Metrics(generate_latest(telemetry.registry).decode())


def invoked(mapping: MappingName, *, records: int, failed: int) -> BatchInvoked:
    return BatchInvoked(
        mapping=mapping,
        function=FunctionName("f"),
        request_id=RequestId("r"),
        outcome="partly_failed",
        records=records,
        failed=failed,
        attempt=1,
        duration_seconds=0.1,
        oldest_record_age_seconds=0.1,
        reason="batchItemFailures",
        detail="",
        log_tail="",
    )


def test_each_queue_is_counted_separately() -> None:
    metrics = metrics_after(
        MessagesReceived(FIFO, 7),
        RecordsFilteredOut(FIFO, 2),
        invoked(FIFO, records=5, failed=1),
        MessagesDeleted(FIFO, 6),
    )
    assert Counted.of(metrics, signups.FIFO) == Counted(
        polled=7, filtered_out=2, invoked=5, failed=1, deleted=6, invocations={**IDLE, "partly_failed": 1}
    )
    assert Counted.of(metrics, signups.STANDARD) == Counted(invocations=IDLE)


def test_the_mails_are_counted() -> None:
    welcome = signups.WELCOME
    metrics = metrics_after(
        RecordsRead(welcome, 9), RecordsFilteredOut(welcome, 4), invoked(welcome, records=5, failed=1)
    )
    assert CountedMails.of(metrics) == CountedMails(polled=9, filtered_out=4, invoked=5, failed=1)


def test_the_clicks_are_counted() -> None:
    mapping = clicks.MAPPING
    metrics = metrics_after(
        RecordsRead(mapping, 9),
        invoked(mapping, records=8, failed=3),
        BatchBisected(mapping, "shardId-1", 4, "Unhandled"),
        BatchRetried(mapping, "shardId-1", 4, 1, "Unhandled", 0.1),
        BatchRetried(mapping, "shardId-1", 4, 2, "Unhandled", 0.1),
        InvocationRecordDelivered(mapping, 5, "RetryAttemptsExhausted"),
        RecordsDropped(mapping, 2, "RecordAgeExceeded"),
    )
    assert CountedClicks.of(metrics) == CountedClicks(
        polled=9, invoked=8, failed=3, discarded=7, delivered=5, bisections=1, retries=2
    )


def test_a_number_that_the_daemon_does_not_show_is_not_mistaken_for_zero() -> None:
    with pytest.raises(DemoError, match="have no poller_records_lost_total for the mapping clicks"):
        metrics_after().total("poller_records_lost_total", mapping=clicks.MAPPING)
