"""What does a worker tell its parent about itself?"""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from poller import facts
from poller.model.ids import FunctionName, MappingName
from poller.model.lease import Owner
from poller.model.sharing import SeenWorker, SharingStatus
from poller.model.status import BlockedShard, EventsStatus, MappingStatus, StreamStatus
from poller.model.stream import SequenceNumber, ShardId
from poller.telemetry.telemetry import Telemetry
from poller.workers.report import Report, decoded, encoded

ORDERS = MappingStatus(MappingName("orders"), FunctionName("store"), "arn", "ready", None, 2, 3, 34, 8, since=1.5)
ENDS = (SequenceNumber("1"), SequenceNumber("9"))
SHARING = SharingStatus(Owner("a/1"), 4, 2, (SeenWorker(Owner("a/1"), 4, 0.5, is_stopping=True),), 0.5, 1.5, 2.5)
BLOCKED = BlockedShard(ShardId("shard-1"), "KeyError", 2.5, 3, *ENDS, "'email' ü", ("k",), 1.5, 2, 3.5, ("retry",))


def test_the_parent_reads_what_the_worker_has_written() -> None:
    telemetry = Telemetry()
    telemetry.begin_mapping(ORDERS.mapping, ORDERS.function, is_stream=False)
    telemetry.emit(facts.MessagesReceived(ORDERS.mapping, 3))
    statuses = [
        ORDERS,
        ORDERS._replace(stream=StreamStatus(0.5, 0.25, 1.5, 1, 2, 3, 4, 5, (BLOCKED,))),
        ORDERS._replace(events=EventsStatus(1, 2, 3, 4.5, is_in_use=False), was_found=True, attempt=3, next_try=9.5),
    ]
    report = Report(7, statuses, telemetry.numbers(), {"process_open_fds": 12.0}, Owner("blue-1/aa"), SHARING)
    assert decoded(encoded(report)) == report


def test_a_text_that_is_not_unicode_does_not_stop_the_reports() -> None:
    found = decoded(encoded(Report(0, [ORDERS._replace(reason="\ud83d!")], [], {})))
    assert found.statuses[0].reason == "?!"


def test_a_message_that_is_no_report_is_an_error() -> None:
    with pytest.raises(ValidationError):
        decoded(b'[1, [["orders"]], [], {}]')
