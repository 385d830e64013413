"""What does the page show a person, and what does it keep from a reader without the token?"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.admin.page.attention import CARDS_SHOWN, HIDDEN_WORDS, NAMES_SHOWN
from poller.admin.page.document import render
from poller.admin.page.functions import LOGS_SHOWN, ROWS_SHOWN
from poller.admin.page.mappings import MAPPINGS_A_PART
from poller.admin.page.shards import SHARDS_LISTED
from poller.admin.page.view import FILTERS, Grouping, Query, RecentChange, View, Viewer
from poller.facts import ChangeMade
from poller.model.arn import Arn
from poller.model.backlog import QueueDepth, UnknownBacklog
from poller.model.function import ChildProcess, EventInvokeConfig, Function, FunctionKind, HttpService, LambdaApi
from poller.model.function_status import ChildStatus, FunctionStatus, LoggedLine
from poller.model.ids import FunctionName, MappingName
from poller.model.lease import Owner, RowKey
from poller.model.sharing import SeenLease, SeenWorker, SharingStatus
from poller.model.status import (
    BlockedShard,
    EventsStatus,
    LaneStatus,
    LastError,
    MappingState,
    MappingStatus,
    QueueStatus,
    ShardStatus,
    StreamStatus,
    WorkerStatus,
)
from poller.model.stream import SequenceNumber, ShardId
from poller.telemetry.history import BOUNDS_IN_SECONDS, INTERVALS, MappingHistory

NOW = 1_769_860_800.0
STORE = FunctionName("store")
QUEUE = MappingStatus(
    MappingName("orders"), STORE, "arn:aws:sqs:eu-west-1:123456789012:orders-queue", "ready", None, 2, 3, 34, 8
)
BLOCKED = BlockedShard(
    ShardId("shardId-000000000003"),
    "KeyError",
    NOW - 400,
    3,
    SequenceNumber("4959"),
    SequenceNumber("4961"),
    "'email'",
    keys=("user-1", "user-2"),
    oldest_arrived_at=NOW - 86_400 + 7200,
    attempt=17,
    next_try=NOW + 20,
    actions=("retry", "bisect", "discard"),
)
NUMBER = "49590338271490256608559692538361571095921575989136588898"
LANES = (
    LaneStatus(1, 3, False, "KeyError", 17, NOW + 20),
    LaneStatus(4, 12, True),
)
SHARD = ShardStatus(
    BLOCKED.shard_id,
    Owner(f"blue-1/{'8f3a' * 8}"),
    NOW - 3600,
    f"AFTER_SEQUENCE_NUMBER {NUMBER}",
    5400.0,
    records=15,
    blocked_since=BLOCKED.since,
    lanes=LANES,
)
STREAM = QUEUE._replace(
    mapping=MappingName("clicks"),
    source="arn:aws:kinesis:eu-west-1:123456789012:stream/clicks",
    destination="arn:aws:sqs:eu-west-1:123456789012:failures",
    stream=StreamStatus(
        iterator_age_in_seconds=5400.0, shards_reading=4, shards_waiting=2, shards_blocked=1, blocked=(BLOCKED,)
    ),
)
READING = STREAM._replace(stream=StreamStatus(5400.0, shards_reading=4, shards_blocked=1, shards=(SHARD,)))
OWNER = Viewer(sees_words=True, may_change=True, proof="the-proof")
_VOID = {"meta", "link", "input"}


class Reader(HTMLParser):
    """Reads a page strictly, and fails where tags do not match.

    `cards` are the texts of what needs attention, `rows` those of the rows of all tables, `forms` the fields of each
    form, with its button and the address to which it is sent. `links` maps texts to addresses.
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.cards: list[str] = []
        self.rows: list[str] = []
        self.forms: list[dict[str, str]] = []
        self.links: dict[str, str] = {}
        self.text = ""
        self.ids: list[str] = []
        self._open: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.tags.append(tag)
        self.ids += [attributes["id"]] if attributes.get("id") else []  # type: ignore[list-item]
        if tag not in _VOID:
            self._open.append((tag, attributes))
        if tag == "li" and "card" in (attributes.get("class") or ""):
            self.cards.append("")
        if tag == "tr":
            self.rows.append("")
        if tag == "form":
            self.forms.append({"to": attributes["action"] or ""})
        if tag == "input":
            self.forms[-1][attributes["name"] or ""] = attributes.get("value") or ""

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        tags = [tag for tag, _ in self._open]
        if "style" in tags or not data.strip():
            return
        self.text += data
        if any(tag == "li" and "card" in (attributes.get("class") or "") for tag, attributes in self._open):
            self.cards[-1] += f"{data.strip()} "
        if "tr" in tags:
            self.rows[-1] += f"{data.strip()} "
        if tags[-1] == "button":
            self.forms[-1]["button"] = data
        if tags[-1] == "a":
            self.links[data] = str(self._open[-1][1]["href"])


def view(*statuses: MappingStatus, viewer: Viewer = OWNER, **values: Any) -> View:
    plain = View(
        now=NOW,
        started_at=NOW - 7200,
        statuses=statuses,
        histories={},
        functions=(),
        function_statuses={},
        failed_children={},
        depths={},
        sharing=None,
        changes=(),
        workers=(),
        viewer=viewer,
        query=Query(),
    )
    return replace(plain, **values)


def read(*statuses: MappingStatus, viewer: Viewer = OWNER, **values: Any) -> Reader:
    return Reader(render(view(*statuses, viewer=viewer, **values)))


def many(number: int, **values: Any) -> list[MappingStatus]:
    return [QUEUE._replace(mapping=MappingName(f"m{index:04d}"), **values) for index in range(number)]


def test_without_scripts_a_reader_can_end_the_reloads_which_fold_all_lists() -> None:
    refresh, query = '<meta http-equiv="refresh"', Query("orders", "ready", page=2)
    page = render(view(QUEUE, query=query))
    assert refresh in page
    still = Reader(page).links["Stop reloading this page every 10 seconds"]
    assert Query.of(dict(parse_qsl(urlsplit(still).query))) == query._replace(is_still=True)
    query = query._replace(has_exact_times=True)
    page = render(view(QUEUE, query=query._replace(is_still=True)))
    assert refresh not in page
    assert Reader(page).forms[0]["still"] == "yes", "a search keeps it"
    assert Reader(page).forms[0]["times"] == "exact"
    assert Reader(page).links["Reload this page every 10 seconds"] == query.url


def test_a_number_above_a_lowered_limit_is_not_a_part_of_it() -> None:
    page = read(QUEUE._replace(batches_in_flight=9, concurrency_limit=2)).text
    assert "9, limit 2" in page
    assert "9 of 2" not in page


def test_a_blocked_shard_is_shown_with_its_batch_its_cause_its_time_left_and_its_destination() -> None:
    [card] = read(QUEUE, STREAM).cards
    for words in (
        "clicks is blocked at shardId-000000000003",
        "blocked for 6.7 min",
        "KeyError 'email'",
        "3 records from 4959 to 4961",
        "failed tries 17",
        "next try in 20 s",
        "the first record is kept for at least 2.0 h",
        "destination arn:aws:sqs:eu-west-1:123456789012:failures",
    ):
        assert words in card


def test_a_blocked_shard_has_a_form_for_each_order_that_is_possible_and_names_its_batch() -> None:
    forms = [form for form in read(STREAM).forms if form.get("call") == "shard"]
    assert [(form["button"], form["action"]) for form in forms] == [
        ("Retry now", "retry"),
        ("Bisect now", "bisect"),
        ("Discard…", "discard"),
    ]
    assert forms[2] == {
        "to": "/change",
        "button": "Discard…",
        "call": "shard",
        "proof": "the-proof",
        "back": "/",
        "mapping": "clicks",
        "shard": "shardId-000000000003",
        "action": "discard",
        "start_sequence_number": "4959",
        "end_sequence_number": "4961",
    }
    waits = STREAM._replace(stream=StreamStatus(shards_blocked=1, blocked=(BLOCKED._replace(actions=("retry",)),)))
    assert [form["action"] for form in read(waits).forms if form.get("call") == "shard"] == ["retry"]


def test_the_last_invocation_of_a_window_has_no_records_and_no_numbers_in_its_form() -> None:
    shard = BLOCKED._replace(records=0, start_sequence_number=None, end_sequence_number=None, keys=())
    reader = read(STREAM._replace(stream=StreamStatus(shards_blocked=1, blocked=(shard,))))
    assert "this is the last invocation of a tumbling window" in reader.cards[0]
    assert "start_sequence_number" not in next(form for form in reader.forms if form.get("call") == "shard")


def test_a_reader_without_the_token_sees_no_words_of_a_function_no_keys_and_no_forms() -> None:
    waiting = QUEUE._replace(state="waiting", reason="function store cannot start: ImportError: No module 'secret'")
    erring = QUEUE._replace(mapping=MappingName("b"), last_error=LastError(NOW - 60, "No_such_key", "'email'"))
    both = waiting._replace(mapping=MappingName("c"), state="troubled", reason=f"AccessDenied: no; {waiting.reason}")
    shard = BLOCKED._replace(reason="No such key", is_function_error=True)
    lane = SHARD._replace(lanes=(LANES[0]._replace(reason="No such key", is_function_error=True),))
    failing = STREAM._replace(stream=StreamStatus(shards_blocked=1, blocked=(shard,), shards=(lane,)))
    statuses = (failing, waiting, erring, both)
    changes = [RecentChange(NOW, ChangeMade("retry", "uid 1", "blocked by No such key", shard="shard"))]
    page = render(view(*statuses, viewer=Viewer(can_log_in=True), changes=changes))
    reader = Reader(page)
    hidden = ("'email'", "&#x27;email", "user-1", "No module", "ImportError", "No such key", "No_such_key")
    assert not any(words in page for words in hidden)
    assert "function store cannot start" in reader.text
    assert "AccessDenied: no; function store cannot start" in reader.text
    assert page.count("FunctionError") == 3
    assert HIDDEN_WORDS in reader.cards[0]
    assert [form for form in reader.forms if form["to"] != "/"] == []
    assert reader.links["Log in"] == "/login"
    for words in ("'email'", "No module 'secret'", "No such key", "No_such_key"):
        assert words in read(*statuses).text
    assert "user-1" not in read(*statuses).text, "only the question before a discard shows keys"


def test_a_page_says_how_a_reader_gets_the_right_to_change_something() -> None:
    assert "set [daemon] admin_token" in read(QUEUE, viewer=Viewer()).text
    assert "Log out" in read(QUEUE, viewer=OWNER._replace(is_logged_in=True)).text
    assert "Log" not in read(QUEUE).text


def test_mappings_with_one_cause_share_a_card_that_names_the_first_of_them() -> None:
    troubled = many(NAMES_SHOWN + 2, state="troubled", reason="AccessDenied (403)", since=NOW - 60, next_try=NOW + 5)
    alone = QUEUE._replace(state="waiting", reason="function store is throttled", attempt=4, since=NOW - 130)
    reader = read(*troubled, alone)
    first, second = reader.cards
    assert first.startswith(f"{NAMES_SHOWN + 2} mappings are troubled troubled for 1.0 min why AccessDenied (403)")
    assert "m0007 and 2 more" in first
    assert "m0008" not in first
    assert reader.links["m0007"] == "/?q=m0007"
    assert reader.links["and 2 more"] == "/?state=troubled"
    assert second.startswith("orders is waiting waiting for 2.2 min why function store is throttled failed tries 4")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (
            "arn:aws:sqs:eu-west-1:123456789012:q{}",
            "GetQueueUrl: gone (arn:aws:sqs:eu-west-1:123456789012:q{})",
        ),
        ("arn:aws:kinesis:eu-west-1:123456789012:stream/q{}", "ListShards: Stream q{} under account 1 not found"),
        (
            "arn:aws:dynamodb:eu-west-1:123456789012:table/q{}/stream/2026-{}",
            "no table q{} (arn:aws:dynamodb:eu-west-1:123456789012:table/q{}/stream/2026-{})",
        ),
    ],
)
def test_the_name_of_its_own_source_does_not_make_a_cause_another_one(source: str, reason: str) -> None:
    missing = [
        QUEUE._replace(mapping=MappingName(f"m{n}"), source=source.replace("{}", str(n)), state="starting", reason=text)
        for n in range(300)
        if (text := reason.replace("{}", str(n)))
    ]
    [card] = read(*missing).cards
    assert card.startswith("300 mappings are starting why ")
    [card] = read(missing[7]).cards
    assert missing[7].reason is not None
    assert missing[7].reason in card, "a card of one mapping has the whole reason"
    other = missing[8]._replace(reason=f"AccessDenied ({missing[8].source})")
    assert len(read(missing[7], other).cards) == 2


def test_a_search_narrows_the_functions_and_those_in_trouble_come_first() -> None:
    def function(number: int) -> Function:
        name = f"fn{number:04}"
        arn = Arn.parse(f"arn:aws:lambda:eu-west-1:123456789012:function:{name}")
        return Function(
            name=FunctionName(name),
            arn=arn,
            kind=HttpService(urls=("http://a",)),
            timeout_in_seconds=3,
            reserved_concurrency=20,
        )

    functions = [function(number) for number in range(1000)]
    mapping = QUEUE._replace(function=FunctionName("fn0950"))
    names = [row.split()[0] for row in read(mapping, functions=functions).rows if row.startswith("fn")]
    assert names == [function.name for function in functions[:ROWS_SHOWN]]
    waiting = mapping._replace(state="waiting", reason="function fn0950 is throttled")
    reader = read(waiting, functions=functions, failed_children={"fn0940": 1})
    assert [row.split()[0] for row in reader.rows if row.startswith("fn")][:3] == ["fn0940", "fn0950", "fn0000"]
    assert f"Functions: the first {ROWS_SHOWN} of 1,000" in reader.text
    for words in ("FN0950", "orders-queue"):
        rows = read(mapping, functions=functions, query=Query(words)).rows
        assert [row.split()[0] for row in rows if row.startswith("fn")] == ["fn0950"]


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({}, "If a record is at fault, bisect until it is alone, and discard it."),
        ({"records": 1, "actions": ("retry", "discard")}, "If the record is at fault, discard it."),
        (
            {"records": 0, "start_sequence_number": None, "end_sequence_number": None, "actions": ("retry", "discard")},
            "If the window is at fault, discard it.",
        ),
        ({"reason": "destination: AccessDenied", "actions": ("retry",)}, "Mend the destination."),
    ],
)
def test_a_blocked_shard_says_what_helps(changes: dict[str, Any], advice: str) -> None:
    blocked = BLOCKED._replace(**changes)
    reader = read(STREAM._replace(stream=StreamStatus(shards_blocked=1, blocked=(blocked,))))
    assert advice in reader.cards[0]


def test_the_number_of_a_record_that_is_alone_is_shown_once() -> None:
    blocked = BLOCKED._replace(records=1, end_sequence_number=BLOCKED.start_sequence_number)
    reader = read(STREAM._replace(stream=StreamStatus(shards_blocked=1, blocked=(blocked,))))
    assert "1 record 4959 failed tries" in reader.cards[0]


def test_the_cards_are_few_whatever_the_number_of_troubles() -> None:
    streams = [STREAM._replace(mapping=MappingName(f"s{n}")) for n in range(CARDS_SHOWN + 5)]
    troubled = [QUEUE._replace(mapping=MappingName(f"q{n}"), state="troubled", reason=str(n)) for n in range(40)]
    reader = read(*streams, *troubled)
    assert len(reader.cards) == 2 * CARDS_SHOWN
    assert "and 5 blocked shards more" in reader.text
    assert f"and {40 - CARDS_SHOWN} causes more" in reader.text


def test_stuck_events_are_shown_with_a_link_to_what_can_be_done() -> None:
    events = QUEUE._replace(mapping=MappingName("store:events"), events=EventsStatus(1234, 2, 1, 5400.0))
    reader = read(events)
    assert "1 event of store stuck" in reader.cards[0]
    assert reader.links["Stuck events of store…"] == "/events?function=store"
    assert "store ready 1,234 2 1 1.5 h" in reader.rows[-1]


def test_without_trouble_the_page_says_so_and_without_mappings_what_to_do() -> None:
    assert "Nothing: no shard is blocked" in read(QUEUE).text
    assert "Add one to the settings file" in read().text
    assert "Nothing that matches the search" in read(QUEUE, query=Query("nowhere")).text
    assert "No mapping matches the search" in read(QUEUE, query=Query("nowhere")).text


def test_a_row_shows_the_state_the_rate_the_picture_and_the_last_error_of_a_mapping() -> None:
    history = MappingHistory(
        records=[0.0] * (INTERVALS - 1) + [90.0],
        failed=[0.0] * (INTERVALS - 1) + [3.0],
        postponed=[2.0],
    )
    erring = STREAM._replace(last_error=LastError(NOW - 120, "KeyError", "'email'"), since=NOW - 3600)
    page = render(view(erring, histories={erring.mapping: history}))
    row = next(row for row in Reader(page).rows if row.startswith("clicks"))
    assert " ".join(row.split()) == (
        "clicks stream/clicks → store blocked 1 shard for 6.7 min 3.0 3 of 8 34 records in hand 1.5 h behind "
        "4 shards read, 2 waiting KeyError 'email' 2.0 min ago Pause"
    )
    assert 'aria-label="records a second in the last 30 minutes: now 3.0, at most 3.0, with failures"' in page
    assert page.count("<polyline") == 1


def test_a_paused_mapping_shows_since_when_and_that_nobody_knows_how_far_it_is_behind() -> None:
    paused = STREAM._replace(state="paused", since=NOW - 3600, stream=StreamStatus())
    row = next(row for row in read(paused).rows if row.startswith("clicks"))
    assert "paused for 1.0 h" in " ".join(row.split())
    assert "behind: unknown" in row


def test_a_row_shows_the_messages_of_a_queue_and_the_oldest_in_hand_or_why_they_are_unknown() -> None:
    orders = QUEUE._replace(queue=QueueStatus(oldest_age_in_seconds=3.5))
    gone, streams = QUEUE._replace(mapping=MappingName("gone"), queue=QueueStatus()), STREAM
    depths = {
        orders.mapping: QueueDepth(visible=1200, in_flight=8, delayed=2),
        gone.mapping: UnknownBacklog("GetQueueAttributes: <no> such queue"),
    }
    rows = {row.split()[0]: " ".join(row.split()) for row in read(orders, gone, streams, depths=depths).rows if row}
    assert "in hand 1,200 visible 8 in flight, 2 delayed oldest in hand: 3.5 s Pause" in rows["orders"]
    assert "in hand unknown GetQueueAttributes: <no> such queue Pause" in rows["gone"]


def test_a_shard_is_listed_with_its_reader_its_position_and_its_lanes() -> None:
    page = render(view(QUEUE, READING))
    row = next(row for row in Reader(page).rows if "blue-1/8f3a" in row)
    assert " ".join(row.split()) == (
        "clicks shardId-000000000003 blocked blue-1/8f3a for 1.0 h after …36588898 1.5 h 15 records "
        "lane 1: 3 records, KeyError, failed tries: 17, next try in 20 s lane 4: 12 records, the function runs"
    )
    assert f'title="{NUMBER}"' in page


@pytest.mark.parametrize(
    ("position", "shown"),
    [
        ("TRIM_HORIZON", "TRIM_HORIZON"),
        (f"AT_TIMESTAMP {NOW - 60}", "at 1.0 min ago"),
        ("AT_SEQUENCE_NUMBER 4959", "at 4959"),
        ("AFTER_SEQUENCE_NUMBER 4961", "after 4961"),
        ("SHARD_END", "SHARD_END"),
    ],
)
def test_a_position_is_shown_in_a_few_words(position: str, shown: str) -> None:
    stream = StreamStatus(shards_reading=1, shards=(SHARD._replace(position=position, lanes=()),))
    row = next(row for row in read(STREAM._replace(stream=stream)).rows if "blue-1" in row)
    assert f"for 1.0 h {shown} 1.5 h" in " ".join(row.split())


def test_few_of_many_shards_are_listed_folded_and_the_rest_is_counted() -> None:
    mappings = [
        STREAM._replace(
            mapping=MappingName(f"m{number}"),
            stream=StreamStatus(
                shards_reading=1000,
                shards=tuple(
                    SHARD._replace(shard_id=ShardId(f"s{age}"), age_in_seconds=age, blocked_since=None)
                    for age in range(100 * number, 100 * number + 40)
                ),
            ),
        )
        for number in range(10)
    ]
    page = render(view(*mappings))
    rows = [" ".join(row.split()) for row in Reader(page).rows if "blue-1" in row]
    assert len(rows) == SHARDS_LISTED
    assert rows[0].startswith("m9 s939 ")
    assert "10,000 shards read" in Reader(page).text
    assert "and 9,950 shards more" in page
    assert '<details id="shards">' in page
    searched = render(view(*mappings, query=Query("m3")))
    assert '<details id="shards" open="open">' in searched
    assert "and 960 shards more" in searched
    assert not any(row.startswith("m9") for row in Reader(searched).rows if "blue-1" in row)


def test_without_a_shard_that_is_read_there_is_no_list_of_shards() -> None:
    assert "<details" not in render(view(QUEUE, STREAM._replace(stream=StreamStatus())))


def test_a_mapping_without_records_has_no_picture() -> None:
    idle = MappingHistory(*([[0.0] * INTERVALS] * 3))
    assert "<svg" not in render(view(QUEUE, histories={QUEUE.mapping: idle}))


def test_a_paused_mapping_can_be_resumed_and_a_disabled_one_neither() -> None:
    states: Sequence[MappingState] = ("ready", "paused", "disabled", "stopping")
    statuses = [QUEUE._replace(mapping=MappingName(state), state=state) for state in states]
    calls = {form["mapping"]: form["call"] for form in read(*statuses).forms if "mapping" in form}
    assert calls == {"ready": "pause", "paused": "resume"}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (Query("CLICK"), ["clicks"]),
        (Query("orders-queue"), ["orders"]),
        (Query(state="blocked"), ["clicks"]),
        (Query(state="ready"), ["clicks", "orders"]),
        (Query(state="paused"), []),
        (Query(grouping="source"), ["clicks", "orders"]),
    ],
)
def test_a_search_and_a_state_narrow_the_list(query: Query, expected: list[str]) -> None:
    rows = [row.split()[0] for row in read(QUEUE, STREAM, query=query).rows]
    assert [name for name in rows if name in ("clicks", "orders")] == expected


def test_the_states_are_links_with_the_numbers_of_their_mappings() -> None:
    links = read(QUEUE, STREAM, query=Query("o", page=3)).links
    assert (links["all 2"], links["blocked 1"], links["ready 1"]) == (
        "/?q=o",
        "/?q=o&state=blocked",
        "/?q=o&state=ready",
    )


@pytest.mark.parametrize(
    ("grouping", "expected"),
    [
        ("state", ["blocked 1 shown", "paused 1 shown", "ready 1 shown"]),
        ("function", ["function audit 1 shown", "function store 2 shown"]),
        ("source", ["Kinesis streams 1 shown", "SQS queues 2 shown"]),
    ],
)
def test_mappings_are_grouped_by_state_those_in_trouble_first_or_by_function_or_source(
    grouping: Grouping, expected: list[str]
) -> None:
    other = QUEUE._replace(mapping=MappingName("b"), function=FunctionName("audit"), state="paused")
    rows = read(QUEUE, STREAM, other, query=Query(grouping=grouping)).rows
    assert [" ".join(row.split()) for row in rows if row.endswith("shown ")] == expected


def test_a_long_list_is_shown_in_parts() -> None:
    statuses = many(2 * MAPPINGS_A_PART + 1)
    first, last = read(*statuses), read(*statuses, query=Query(page=99))
    assert f"1 to {MAPPINGS_A_PART} of 201 mappings" in first.text
    assert "201 to 201 of 201 mappings" in last.text
    assert (first.links["next →"], last.links["← previous"]) == ("/?page=2", "/?page=2")
    assert "← previous" not in first.links
    assert "next →" not in last.links


def test_functions_destinations_and_changes_have_tables() -> None:
    kinds: dict[str, FunctionKind] = {
        "lambda": LambdaApi(name="store", qualifier=None, region="eu-west-1"),
        "http": HttpService(urls=("http://a", "http://b")),
        "store": ChildProcess(
            command=("a",), handler="signup:store", environment={"PASSWORD": "hunter2"}, directory="/"
        ),
    }
    functions = [
        Function(
            name=FunctionName(name),
            arn=Arn.parse(f"arn:aws:lambda:eu-west-1:123456789012:function:{name}"),
            kind=kind,
            timeout_in_seconds=3,
            reserved_concurrency=20,
        )
        for name, kind in kinds.items()
    ]
    refused = STREAM._replace(
        stream=StreamStatus(shards_blocked=1, blocked=(BLOCKED._replace(reason="destination: AccessDenied"),))
    )
    durations = [9.0 if bound < 1 else 10.0 for bound in BOUNDS_IN_SECONDS]
    history = MappingHistory([1.0], [0.0], [2.0, 3.0], durations)
    children = (ChildStatus(4711, True, 90.0), ChildStatus(4712, False, 5.0))
    page = render(
        view(
            refused,
            functions=functions,
            function_statuses={STORE: FunctionStatus(STORE, 3, 7, 20, 2, 1, children)},
            failed_children={"store": 6},
            histories={refused.mapping: history},
            changes=[
                RecentChange(NOW - 60, ChangeMade("pause", "uid 1, pid 2", "not paused", refused.mapping)),
                RecentChange(NOW - 30, ChangeMade("reload", "uid 1, pid 2")),
            ],
        )
    )
    rows = [row.split() for row in Reader(page).rows]
    assert ["lambda", "0", "mappings", "AWS", "Lambda", "0", "of", "20", "0", "in", "30", "min"] in rows
    assert ["http", "0", "mappings", "HTTP,", "2", "urls", "0", "of", "20", "0", "in", "30", "min"] in rows
    assert [" ".join(row) for row in rows if row[0] == "store"] == [
        "store 1 mapping handler signup:store 3 of 20 7 invocations waiting 2, 1 busy 4711 busy (1.5 min), "
        "4712 idle (5.0 s) 6 failed and replaced 5 in 30 min half within 3 ms 99 % within 1.0 s"
    ]
    assert [
        "arn:aws:sqs:eu-west-1:123456789012:failures",
        "discarded",
        "batches",
        "of",
        "1",
        "mapping",
        "blocks",
        "1",
        "shard",
    ] in rows
    assert [" ".join(row) for row in rows[-2:]] == [
        "30 s ago reload uid 1, pid 2",
        "1.0 min ago pause clicks uid 1, pid 2 not paused",
    ]
    assert "hunter2" not in page


def test_the_durations_and_throttles_of_a_function_are_those_of_its_events_too() -> None:
    store = Function(
        name=STORE,
        arn=Arn.parse("arn:aws:lambda:eu-west-1:123456789012:function:store"),
        kind=HttpService(urls=("http://a",)),
        timeout_in_seconds=3,
        reserved_concurrency=20,
    )
    events = QUEUE._replace(mapping=MappingName("store:events"), events=EventsStatus())
    durations = [10.0 if bound >= 1 else 0.0 for bound in BOUNDS_IN_SECONDS]
    history = MappingHistory([0.0], [0.0], [4.0], durations)
    rows = read(events, functions=(store,), histories={events.mapping: history}).rows
    assert any("4 in 30 min half within 0.8 s 99 % within 1.0 s" in " ".join(row.split()) for row in rows)


def test_the_destinations_of_events_are_listed_with_those_of_batches() -> None:
    failures = Arn.parse("arn:aws:sqs:eu-west-1:123456789012:failures")
    dead = Arn.parse("arn:aws:sns:eu-west-1:123456789012:dead")
    functions = [
        Function(
            name=FunctionName(name),
            arn=Arn.parse(f"arn:aws:lambda:eu-west-1:123456789012:function:{name}"),
            kind=HttpService(urls=("http://a",)),
            timeout_in_seconds=3,
            reserved_concurrency=20,
            event_invoke_config=EventInvokeConfig(
                on_success=FunctionName("store"), on_failure=failures, dead_letter_arn=dead
            ),
        )
        for name in ("a", "b")
    ]
    blocked = BLOCKED._replace(reason="destination: AccessDenied")
    by_function = blocked._replace(is_function_error=True)
    refused = STREAM._replace(stream=StreamStatus(shards_blocked=2, blocked=(blocked, by_function)))
    rows = [" ".join(row.split()) for row in read(QUEUE, refused, functions=functions).rows]
    assert rows[rows.index("destination gets trouble") + 1 :] == [
        f"{failures} discarded batches of 1 mapping, failed events of 2 functions blocks 1 shard",
        f"{dead} dead letters of 2 functions none",
        "store successful events of 2 functions none",
    ]
    events = QUEUE._replace(mapping=MappingName("a:events"), function=FunctionName("a"), events=EventsStatus(stuck=3))
    only_dead = [functions[0], replace(functions[1], event_invoke_config=EventInvokeConfig(dead_letter_arn=dead))]
    rows = [" ".join(row.split()) for row in read(QUEUE, refused, events, functions=only_dead).rows]
    begin = rows.index("destination gets trouble") + 1
    assert rows[begin : begin + 2] == [
        f"{failures} discarded batches of 1 mapping, failed events of 1 function blocks 1 shard; "
        "3 events of its functions stuck",
        f"{dead} dead letters of 2 functions 3 events of its functions stuck",
    ]
    store = EventInvokeConfig(on_success=FunctionName("store"))
    rows = [
        " ".join(row.split())
        for row in read(QUEUE, events, functions=[replace(functions[0], event_invoke_config=store), only_dead[1]]).rows
    ]
    assert rows[rows.index("destination gets trouble") + 1].startswith("store "), "what is in trouble comes first"


def test_only_some_of_many_child_processes_are_listed() -> None:
    handler = ChildProcess(command=("a",), handler="signup:store", environment={}, directory="/")
    arn = Arn.parse("arn:aws:lambda:eu-west-1:123456789012:function:store")
    store = Function(name=STORE, arn=arn, kind=handler, timeout_in_seconds=3, reserved_concurrency=20)
    children = tuple(ChildStatus(4000 + number, False, 60.0) for number in range(20))
    status = FunctionStatus(STORE, 0, 0, 100, children=90, busy=0, first_children=children)
    rows = read(QUEUE, functions=(store,), function_statuses={STORE: status}).rows
    [row] = [" ".join(row.split()) for row in rows if "signup:store" in row]
    assert "90, 0 busy 4000 idle (1.0 min), " in row
    assert "4004 idle (1.0 min), and 85 more" in row


def test_the_last_lines_of_a_function_are_shown_to_readers_who_may_see_its_words() -> None:
    lines = (
        LoggedLine(NOW - 90, 4711, "Traceback <most recent>"),
        LoggedLine(NOW - 60, None, "REPORT RequestId: 6f1d"),
    )
    statuses = {
        STORE: FunctionStatus(STORE, 0, 0, 1, log=lines),
        FunctionName("quiet"): FunctionStatus(FunctionName("quiet"), 0, 0, 1),
    }
    page = render(view(QUEUE, function_statuses=statuses))
    assert "Last lines of store: 2, the newest 1.0 min ago" in " ".join(Reader(page).text.split())
    assert "4711  Traceback &lt;most recent&gt;\nREPORT RequestId: 6f1d</pre>" in page
    assert page.count("Last lines of") == 1
    assert '<details id="log-store">' in page
    hidden = render(view(QUEUE, function_statuses=statuses, viewer=Viewer(can_log_in=True)))
    assert "Traceback" not in hidden
    assert "Last lines" not in hidden


def test_the_lines_of_only_some_functions_are_shown_those_that_have_written_last() -> None:
    statuses = {
        (name := FunctionName(f"f{number}")): FunctionStatus(name, 0, 0, 1, log=(LoggedLine(NOW - number, 1, "x"),))
        for number in range(LOGS_SHOWN + 5)
    }
    page = render(view(QUEUE, function_statuses=statuses))
    assert page.count("Last lines of") == LOGS_SHOWN
    assert page.index("Last lines of f0") < page.index("Last lines of f1")
    assert f"Last lines of f{LOGS_SHOWN}" not in page


def test_several_workers_have_a_table() -> None:
    workers = [
        WorkerStatus(1, "ready", None, 4711, NOW - 7200, 0),
        WorkerStatus(2, "ended", "it was killed", None, NOW - 60, 3),
    ]
    rows = [" ".join(row.split()) for row in read(QUEUE, workers=workers).rows]
    assert "1 ready 2.0 h 4711 0" in rows
    assert "2 ended it was killed 1.0 min 3" in rows
    assert "Workers" not in read(QUEUE).text


def test_text_from_outside_is_escaped() -> None:
    evil = """</td><script>alert('x')</script>"&"""
    shard = BLOCKED._replace(shard_id=ShardId(evil), reason=evil, detail=evil, keys=(evil,))
    status = STREAM._replace(
        mapping=MappingName(evil),
        function=FunctionName(evil),
        source=evil,
        state="troubled",
        reason=evil,
        destination=evil,
        last_error=LastError(NOW, evil, evil),
        stream=StreamStatus(shards_blocked=1, blocked=(shard,)),
    )
    page = render(view(status, query=Query(evil)))
    assert Reader(page).tags.count("script") == 1, "only page.js"
    assert "alert('x')" not in page


def test_no_two_elements_have_the_same_id() -> None:
    ids = read(QUEUE, STREAM).ids
    assert len(ids) == len(set(ids))
    assert {"live", "attention", "mappings", "seen"} <= set(ids)


def test_events_that_are_troubled_are_in_trouble() -> None:
    events = QUEUE._replace(mapping=MappingName("e"), state="troubled", reason="no", events=EventsStatus())
    assert read(events).cards[0].startswith("The events of store are in trouble ")


def test_the_title_says_how_many_mappings_are_ready() -> None:
    paused = QUEUE._replace(mapping=MappingName("p"), state="paused")
    disabled = QUEUE._replace(mapping=MappingName("d"), state="disabled")
    events = QUEUE._replace(mapping=MappingName("e"), events=EventsStatus(stuck=2))
    page = render(view(QUEUE, STREAM, paused, disabled, events))
    assert "<title>1 of 2 mappings ready, 1 paused, 1 blocked at 1 shard, 2 events stuck — poller</title>" in page


def test_a_thousand_mappings_make_a_short_page_in_a_short_time() -> None:
    """The bound is ten times what we measured (0.05 s of CPU time), because machines differ."""
    statuses = [
        (STREAM if n % 50 == 0 else QUEUE)._replace(mapping=MappingName(f"m{n:04d}"), since=NOW - n)
        for n in range(1000)
    ]
    history = MappingHistory(*([[float(n % 7) for n in range(INTERVALS)]] * 3))
    shown = view(*statuses, histories={status.mapping: history for status in statuses})
    began = time.process_time()
    page = render(shown)
    assert time.process_time() - began < 0.5
    assert len(page) < 400_000
    assert Reader(page).links["all 1,000"] == "/"


@given(
    st.dictionaries(
        st.sampled_from(["q", "state", "group", "page", "still", "times", "x"]),
        st.text(max_size=300)
        | st.sampled_from(["blocked", "ready", "function", "source", "0", "7", "1234567", "yes", "exact"]),
    )
)
def test_any_parameters_make_a_query_whose_address_makes_the_same_query(parameters: dict[str, str]) -> None:
    query = Query.of(parameters)
    assert query.state in (None, *FILTERS)
    assert query.page >= 1
    assert Query.of(dict(parse_qsl(urlsplit(query.url).query))) == query
    assert Reader(render(view(QUEUE, query=query))).rows is not None


def test_parameters_that_make_no_sense_are_ignored() -> None:
    assert Query.of({"q": " a ", "state": "broken", "group": "x", "page": "0"}) == Query("a")
    assert Query.of({"page": "²"}) == Query.of({"page": "-1"}) == Query.of({"page": "9" * 20}) == Query()
    assert Query.of({"state": "paused", "group": "source", "page": "7"}) == Query("", "paused", "source", 7)


def test_the_workers_that_share_the_state_and_the_readers_of_shards_are_listed() -> None:
    blue, green = Owner(f"blue/{'8f3a' * 8}"), Owner(f"green/{'02c4' * 8}")
    workers = (SeenWorker(blue, 3, 2048.0, is_stopping=False), SeenWorker(green, 1, 0.0, is_stopping=True))
    leases = (
        SeenLease(RowKey("clicks/arn/shardId-000000000001"), blue, 90.0),
        SeenLease(RowKey("clicks/arn/shardId-000000000002"), None, 5.0),
    )
    sharing = SharingStatus(blue, 3, 0, workers, 0.5, 1.5, 5.0, leases)
    rows = Reader(render(view(STREAM, sharing=sharing))).rows
    assert "blue/8f3a works 3 2.0 KiB " in rows
    assert "green/02c4 stops 1 0 B " in rows
    assert "clicks shardId-000000000001 blue/8f3a 1.5 min " in rows
    assert "clicks shardId-000000000002 nobody 5.0 s " in rows
    alone = Reader(render(view(STREAM, sharing=sharing._replace(workers=workers[:1])))).text
    assert "share the state" not in alone
    assert "Readers of shards" not in alone
