"""What does a worker tell its parent about itself?"""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from poller import facts
from poller.model.function_status import ChildStatus, FunctionStatus, LoggedLine
from poller.model.ids import FunctionName, MappingName
from poller.model.lease import Owner
from poller.model.sharing import SeenWorker, SharingStatus
from poller.model.status import (
    BlockedShard,
    EventsStatus,
    LaneStatus,
    MappingStatus,
    QueueStatus,
    ShardStatus,
    StreamStatus,
)
from poller.model.stream import SequenceNumber, ShardId
from poller.telemetry.telemetry import Telemetry
from poller.workers.report import Report, decoded, encoded

ORDERS = MappingStatus(MappingName("orders"), FunctionName("store"), "arn", "ready", None, 2, 3, 34, 8, since=1.5)
ENDS = (SequenceNumber("1"), SequenceNumber("9"))
SHARING = SharingStatus(Owner("a/1"), 4, 2, (SeenWorker(Owner("a/1"), 4, 0.5, is_stopping=True),), 0.5, 1.5, 2.5)
BLOCKED = BlockedShard(ShardId("shard-1"), "KeyError", 2.5, 3, *ENDS, "'email' ü", ("k",), 1.5, 2, 3.5, ("retry",))

LANE = LaneStatus(2, 3, True, "KeyError", 4, 5.5)
SHARD = ShardStatus(ShardId("s"), Owner("a/1"), 1.5, "AFTER_SEQUENCE_NUMBER 4", 2.5, 3, 4.5, (LANE,))


def test_the_parent_reads_what_the_worker_has_written() -> None:
    telemetry = Telemetry()
    telemetry.begin_mapping(ORDERS.mapping, ORDERS.function, is_stream=False)
    telemetry.emit(facts.MessagesReceived(ORDERS.mapping, 3))
    statuses = [
        ORDERS,
        ORDERS._replace(stream=StreamStatus(0.5, 0.25, 1.5, 1, 2, 3, 4, 5, (BLOCKED,), (SHARD,))),
        ORDERS._replace(queue=QueueStatus(3.5)),
        ORDERS._replace(events=EventsStatus(1, 2, 3, 4.5, is_in_use=False), was_found=True, attempt=3, next_try=9.5),
    ]
    child, line = ChildStatus(4711, True, 2.5), LoggedLine(1.5, None, "to stdout")
    functions = (FunctionStatus(ORDERS.function, 1, 2, 3, 4, 5, (child,), (line,)),)
    usage = {"process_open_fds": 12.0}
    report = Report(7, statuses, telemetry.numbers(), usage, Owner("blue-1/aa"), SHARING, functions)
    assert decoded(encoded(report)) == report


def test_a_text_that_is_not_unicode_does_not_stop_the_reports() -> None:
    found = decoded(encoded(Report(0, [ORDERS._replace(reason="\ud83d!")], [], {})))
    assert found.statuses[0].reason == "?!"


def test_a_message_that_is_no_report_is_an_error() -> None:
    with pytest.raises(ValidationError):
        decoded(b'[1, [["orders"]], [], {}]')
