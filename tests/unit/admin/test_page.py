"""How is the daemon doing, for a person's eyes?"""

from __future__ import annotations

import re
from html.parser import HTMLParser

from poller.admin.page import render
from poller.model.ids import FunctionName, MappingName, RequestId
from poller.model.status import MappingStatus
from poller.telemetry.facts import BatchInvoked, MessagesDeleted, RecordsFilteredOut, RecordsPolled
from poller.telemetry.recorder import Recorder

ORDERS = MappingName("orders")
STORE = FunctionName("store")
READY = MappingStatus(ORDERS, STORE, "arn:aws:sqs:eu-west-1:123456789012:q", "ready", None, 2, 3, 34, 8)
DISABLED = READY._replace(mapping=MappingName("old"), state="disabled")

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
            row[self._cell] = f"{row.get(self._cell, '')} {data}".strip()


def recorder() -> Recorder:
    return Recorder(mappings={ORDERS: STORE}, functions=[])


def test_a_row_shows_the_mapping_its_state_its_gauges_and_its_counters() -> None:
    told = recorder()
    told.record(RecordsPolled(ORDERS, 12345))
    told.record(RecordsFilteredOut(ORDERS, 57))
    told.record(BatchInvoked(ORDERS, STORE, RequestId("8f3"), "partly_failed", 10, 4, 1, 0.1, 1.0, "", "", ""))
    told.record(MessagesDeleted(ORDERS, 6))
    reader = Reader(render([READY], told.registry))
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


def test_a_mapping_in_trouble_says_why() -> None:
    troubled = READY._replace(state="troubled", reason="the queue is gone")
    assert Reader(render([troubled], recorder().registry)).rows[1]["state"] == "troubled the queue is gone"


def test_what_comes_from_outside_is_escaped() -> None:
    evil = "</td><script>alert('x')</script>&"
    status = READY._replace(
        mapping=MappingName(evil), function=FunctionName(evil), source=evil, state="troubled", reason=evil
    )
    reader = Reader(render([status], recorder().registry))
    assert "script" not in reader.tags
    assert reader.rows[1]["mapping"] == f"{evil} {evil} → {evil}"
    assert reader.rows[1]["state"] == f"troubled {evil}"


def test_the_title_counts_the_ready_among_the_enabled() -> None:
    page = render([READY, READY._replace(state="starting"), DISABLED], recorder().registry)
    assert "<title>poller: 1 of 2 mappings ready</title>" in page


def test_the_page_loads_itself_again_and_nothing_from_elsewhere() -> None:
    page = render([READY], recorder().registry)
    assert '<meta http-equiv="refresh"' in page
    assert re.findall(r'(?:src|href)="([^"]*)"', page) == ["/metrics", "/readyz", "/healthz"]
    assert "script" not in Reader(page).tags
