"""What does the status page show a person?"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import get_args

import pytest

from poller.admin.page import render
from poller.facts import (
    BatchInvoked,
    EventDelivered,
    EventEnded,
    EventInvoked,
    EventPostponed,
    EventsStored,
    InvocationRecordDelivered,
    MessagesDeleted,
    MessagesReceived,
    RecordsDropped,
    RecordsFilteredOut,
    RecordsRead,
)
from poller.model.ids import FunctionName, MappingName, RequestId
from poller.model.status import BlockedShard, EventsStatus, MappingState, MappingStatus, StreamStatus
from poller.model.stream import SequenceNumber, ShardId
from poller.telemetry.telemetry import Telemetry

ORDERS = MappingName("orders")
STORE = FunctionName("store")
READY = MappingStatus(ORDERS, STORE, "arn:aws:sqs:eu-west-1:123456789012:q", "ready", None, 2, 3, 34, 8)
DISABLED = READY._replace(mapping=MappingName("old"), state="disabled")
CLICKS = MappingName("clicks")
BLOCKED = BlockedShard(
    ShardId("shardId-000000000003"), "KeyError", 1_769_860_800.0, 3, SequenceNumber("4959"), SequenceNumber("4961")
)
STREAM = READY._replace(
    mapping=CLICKS,
    source="arn:aws:kinesis:eu-west-1:123456789012:stream/clicks",
    stream=StreamStatus(
        iterator_age_in_seconds=5400.0,
        checkpoint_age_in_seconds=0.25,
        shards_reading=4,
        shards_waiting=2,
        shards_drained=1,
        shards_blocked=12,
        bytes_buffered=3 * 2**19,
        blocked=(BLOCKED,),
    ),
)

EVENTS = READY._replace(
    mapping=MappingName("store:events"),
    source="the event queue of the daemon",
    events=EventsStatus(waiting=1234, in_flight=2, stuck=1, oldest_age_in_seconds=5400.0),
)

_VOID = {"meta", "br", "link"}


class Reader(HTMLParser):
    """Reads a page strictly: collects its tags and each row's cells, and fails where tags do not match."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.rows: list[dict[str, str]] = []
        self._open: list[str] = []
        self._cell: str | None = None
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in _VOID:
            self._open.append(tag)
        if tag == "tr":
            self.rows.append({})
        if tag == "td":
            self._cell = dict(attrs)["data-label"]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        if tag == "td":
            self._cell = None

    def handle_data(self, data: str) -> None:
        if self._cell is not None:
            row = self.rows[-1]
            row[self._cell] = f"{row.get(self._cell, '')} {data}".strip().replace(" ,", ",")


def begun_telemetry() -> Telemetry:
    telemetry = Telemetry()
    telemetry.begin_mapping(ORDERS, STORE, is_stream=False)
    telemetry.begin_mapping(CLICKS, STORE, is_stream=True)
    return telemetry


def test_a_row_shows_the_mapping_its_state_its_gauges_and_its_counters() -> None:
    telemetry = begun_telemetry()
    telemetry.emit(MessagesReceived(ORDERS, 12345))
    telemetry.emit(RecordsFilteredOut(ORDERS, 57))
    telemetry.emit(BatchInvoked(ORDERS, STORE, RequestId("8f3"), "partly_failed", 10, 4, 1, 0.1, 1.0, "", "", ""))
    telemetry.emit(MessagesDeleted(ORDERS, 6))
    reader = Reader(render([READY], telemetry.registry))
    assert reader.rows[1:] == [
        {
            "mapping": "orders arn:aws:sqs:eu-west-1:123456789012:q → store",
            "state": "ready",
            "polls": "2",
            "batches": "3",
            "held": "34",
            "limit": "8",
            "polled": "12,345",
            "filtered out": "57",
            "invoked": "10",
            "failed": "4",
            "deleted": "6",
        }
    ]


def test_streams_have_a_table_of_their_own_with_their_shards_and_discards() -> None:
    telemetry = begun_telemetry()
    telemetry.emit(RecordsRead(CLICKS, 100))
    telemetry.emit(InvocationRecordDelivered(CLICKS, 3, "RetryAttemptsExhausted"))
    telemetry.emit(RecordsDropped(CLICKS, 4, "RecordAgeExceeded"))
    page = render([READY, STREAM], telemetry.registry)
    reader = Reader(page)
    assert [row.get("mapping") for row in reader.rows if row][:2] == [
        "orders arn:aws:sqs:eu-west-1:123456789012:q → store",
        "clicks arn:aws:kinesis:eu-west-1:123456789012:stream/clicks → store",
    ]
    assert reader.tags.count("table") == 3
    assert reader.rows[3] == {
        "mapping": "clicks arn:aws:kinesis:eu-west-1:123456789012:stream/clicks → store",
        "state": "ready 12 shards blocked",
        "iterator age": "1.5 h",
        "checkpoint age": "0.2 s",
        "shards": "4 reading 2 waiting 1 drained",
        "batches": "3",
        "held": "34 1.5 MiB",
        "polled": "100",
        "filtered out": "0",
        "invoked": "0",
        "failed": "0",
        "discarded": "7",
    }
    assert "<title>poller: 2 of 2 mappings ready, 12 shards blocked</title>" in page


def test_the_events_of_a_function_have_a_table_of_their_own() -> None:
    telemetry = begun_telemetry()
    telemetry.begin_function(STORE)
    request_id = RequestId("8f3")
    telemetry.emit(EventsStored(STORE, 4))
    telemetry.emit(EventInvoked(STORE, request_id, "failed", 1, 0.5, 0.1, "ValueError", "", ""))
    telemetry.emit(EventPostponed(STORE, request_id, "throttled", "429"))
    telemetry.emit(EventEnded(STORE, request_id, "RetriesExhausted", 3, ("on_failure", "dead_letter")))
    telemetry.emit(EventDelivered(STORE, request_id, "dead_letter", "arn"))
    page = render([READY, EVENTS], telemetry.registry)
    assert "<title>poller: 1 of 1 mappings ready, 1 event stuck</title>" in page
    assert Reader(page).rows[3] == {
        "function": "store the event queue of the daemon",
        "state": "ready",
        "waiting": "1,234",
        "taken": "2",
        "stuck": "1",
        "oldest": "1.5 h",
        "accepted": "4",
        "attempts": "2",
        "ended": "1",
        "delivered": "1",
    }


def test_the_table_of_blocked_shards_says_how_many_shards_it_leaves_out() -> None:
    page = render([READY, STREAM], begun_telemetry().registry)
    assert Reader(page).rows[-2:] == [
        {
            "mapping": "clicks",
            "shard": "shardId-000000000003 3 records, from 4959 to 4961",
            "reason": "KeyError",
            "since": "2026-01-31T12:00:00Z",
        },
        {"mapping": "clicks", "shard": "and 11 more"},
    ]


def test_a_table_without_rows_is_not_shown() -> None:
    idle = STREAM._replace(stream=StreamStatus())
    assert Reader(render([READY], begun_telemetry().registry)).tags.count("table") == 1
    assert Reader(render([idle], begun_telemetry().registry)).tags.count("table") == 1
    assert Reader(render([READY, idle], begun_telemetry().registry)).tags.count("table") == 2


def test_a_troubled_mapping_is_shown_with_its_reason() -> None:
    troubled = READY._replace(state="troubled", reason="the queue is gone")
    assert Reader(render([troubled], begun_telemetry().registry)).rows[1]["state"] == "troubled the queue is gone"


def test_a_waiting_mapping_is_shown_with_its_begin_its_tries_and_its_next_try() -> None:
    since = 1_769_860_800.0
    waiting = READY._replace(state="waiting", reason="throttled", since=since, attempt=1234, next_try=since + 20)
    text = "since 2026-01-31T12:00:00Z, attempt 1,234 failed, next try at 2026-01-31T12:00:20Z"
    assert Reader(render([waiting], begun_telemetry().registry)).rows[1]["state"] == f"waiting throttled {text}"
    unknown = waiting._replace(attempt=None, next_try=None)
    assert "<time>2026-01-31T12:00:20Z</time>" in render([waiting], begun_telemetry().registry), "kept in one line"
    assert Reader(render([unknown], begun_telemetry().registry)).rows[1]["state"] == (
        "waiting throttled since 2026-01-31T12:00:00Z"
    )


def test_text_from_outside_is_escaped() -> None:
    evil = "</td><script>alert('x')</script>&"
    status = READY._replace(
        mapping=MappingName(evil),
        function=FunctionName(evil),
        source=evil,
        state="troubled",
        reason=evil,
        stream=StreamStatus(shards_blocked=1, blocked=(BlockedShard(ShardId(evil), evil, 0.0, detail=evil),)),
    )
    reader = Reader(render([status], begun_telemetry().registry))
    assert "script" not in reader.tags
    assert reader.rows[1]["mapping"] == f"{evil} {evil} → {evil}"
    assert reader.rows[1]["state"] == f"troubled {evil} 1 shard blocked"
    assert reader.rows[-1] == {
        "mapping": evil,
        "shard": evil,
        "reason": f"{evil} {evil}",
        "since": "1970-01-01T00:00:00Z",
    }


def test_the_title_counts_ready_mappings_among_the_enabled_ones() -> None:
    page = render([READY, READY._replace(state="starting"), DISABLED], begun_telemetry().registry)
    assert "<title>poller: 1 of 2 mappings ready</title>" in page


def test_the_title_counts_paused_mappings_separately() -> None:
    paused = READY._replace(state="paused")
    page = render([READY, paused, DISABLED], begun_telemetry().registry)
    assert "<title>poller: 1 of 1 mappings ready, 1 paused</title>" in page
    page = render([paused, STREAM, paused], begun_telemetry().registry)
    assert "<title>poller: 1 of 1 mappings ready, 2 paused, 12 shards blocked</title>" in page


@pytest.mark.parametrize("state", get_args(MappingState))
def test_each_state_has_a_colour_for_light_mode_and_for_dark_mode(state: MappingState) -> None:
    page = render([READY._replace(state=state)], begun_telemetry().registry)
    (colour,) = re.findall(rf"[.]{state}\b[^{{]*{{ color: var[(](--\w+)[)]", page)
    assert len(re.findall(rf"{colour}: #", page)) == 2


def test_the_page_explains_each_number_that_is_not_a_counter() -> None:
    counters = {"polled", "filtered out", "invoked", "failed", "deleted", "discarded"}
    counters |= {"accepted", "attempts", "ended", "delivered"}
    for status in (READY, STREAM, EVENTS):
        page = render([status], begun_telemetry().registry)
        numbers = Reader(page).rows[1].keys() - {"mapping", "function", "state"} - counters
        explained = re.findall(r"<b>(.+)</b>: .+<br>", page.partition("<footer>")[2])
        assert numbers <= set(explained)


def test_the_page_reloads_itself_and_loads_nothing_from_other_servers() -> None:
    page = render([READY], begun_telemetry().registry)
    assert '<meta http-equiv="refresh"' in page
    assert re.findall(r'(?:src|href)="([^"]*)"', page) == ["/metrics", "/readyz", "/healthz"]
    assert "script" not in Reader(page).tags
