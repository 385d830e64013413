"""What is a person asked before positions are moved and before stuck events are dropped?"""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import pytest

from poller.errors import CannotChange
from poller.facts import ChangeMade
from poller.model.ids import FunctionName, MappingName
from poller.model.move import MoveOrder
from poller.model.stream import ShardId
from tests.unit.admin.test_acting import TOKEN, Browser, browsing
from tests.unit.admin.test_page import QUEUE, STREAM, Reader

pytestmark = pytest.mark.anyio

PAUSED = STREAM._replace(state="paused")
SHARD = "shardId-000000000003"
POSITIONS: dict[str, Any] = {
    "mapping": "clicks",
    "stream_arn": STREAM.source,
    "set_by_hand": None,
    "shards": [
        {"shard": SHARD, "position": "after 4959", "saved_at": "2026-01-31T12:00:00Z", "reader": None},
        {"shard": "shardId-000000000004", "position": None, "saved_at": None, "reader": "blue-1/0000"},
    ],
    "shards_stored": 2,
    "version": "v1",
}
SHOWN: dict[str, Any] = {
    "mapping": "clicks",
    "shard": SHARD,
    "before": f"{SHARD} after 4959",
    "position": "after 4961",
    "effect": "The records in between are skipped: the function never gets them.",
    "version": "v1",
    "is_made": False,
}
EVENTS: dict[str, Any] = {
    "function": "store",
    "is_known": True,
    "total": 2,
    "events": [
        {
            "request_id": f"5d3a-{number}",
            "accepted_at": "2026-01-31T12:00:00Z",
            "attempts": 3,
            "size_in_bytes": 2048,
            "stuck": "AccessDenied: <no>",
        }
        for number in range(2)
    ],
}
BY = "loopback, from 127.0.0.1"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def reader(browser: Browser, path: str, report: dict[str, Any], *, status: int = 200) -> Reader:
    browser.changes.report = report
    found, page = await browser.page(path)
    assert found == status, page
    return Reader(page)


async def test_the_positions_of_a_paused_mapping_are_shown_with_a_form_that_moves_them() -> None:
    async with browsing(PAUSED) as browser:
        front = Reader((await browser.page())[1])
        assert front.links["Move positions…"] == "/position?mapping=clicks"
        page = await reader(browser, "/position?mapping=clicks", POSITIONS)
    assert page.rows[1].startswith(f"{SHARD} after 4959")
    assert page.rows[2] == "shardId-000000000004 reset by hand blue-1/0000 "
    [form] = page.forms
    assert {"call": "position", "mapping": "clicks", "version": "v1", "back": "/?q=clicks"}.items() <= form.items()
    assert browser.changes.asked == [("positions clicks", None)]


async def test_a_mapping_that_is_not_paused_has_a_button_that_pauses_it_instead_of_the_form() -> None:
    async with browsing(STREAM, QUEUE._replace(state="paused")) as browser:
        assert "Move positions…" not in Reader((await browser.page())[1]).links
        page = await reader(browser, "/position?mapping=clicks", POSITIONS)
        [form] = page.forms
        assert "Only the positions of a paused mapping can be moved." in page.text
        browser.changes.report = {"was_paused": False}
        assert await browser.send("/change", form) == (303, "/position?mapping=clicks", "")
    assert browser.changes.asked[-1] == ("pause clicks", None)


async def test_a_disabled_mapping_has_the_button_and_the_form_because_it_may_be_paused_too() -> None:
    async with browsing(STREAM._replace(state="disabled")) as browser:
        page = await reader(browser, "/position?mapping=clicks", POSITIONS)
    assert [form["call"] for form in page.forms] == ["pause", "position"]


async def test_a_move_is_asked_for_with_its_effect_and_then_made_and_logged() -> None:
    async with browsing(PAUSED) as browser:
        [form] = (await reader(browser, "/position?mapping=clicks", POSITIONS)).forms
        browser.changes.report = SHOWN
        status, _, answer = await browser.send("/change", form | {"shard": SHARD, "position": "4961", "after": "yes"})
        question = Reader(answer)
        assert status == 200
        for words in ("Move clicks?", SHOWN["before"], SHOWN["position"], SHOWN["effect"]):
            assert words in question.text
        assert browser.changes.facts == []
        [sure] = question.forms
        browser.changes.report = SHOWN | {"is_made": True}
        assert await browser.send("/change", sure) == (303, "/?q=clicks", "")
    asked = MoveOrder("4961", ShardId(SHARD), is_after=True, version="v1", only_shows=True)
    assert browser.changes.moves == [asked, asked._replace(only_shows=False)]
    assert browser.changes.facts == [
        ChangeMade("move to after 4961", BY, SHOWN["before"], MappingName("clicks"), SHARD)
    ]


async def test_a_time_before_now_stays_the_time_whose_effect_the_person_has_seen() -> None:
    async with browsing(PAUSED) as browser:
        [form] = (await reader(browser, "/position?mapping=clicks", POSITIONS)).forms
        browser.changes.report = SHOWN
        _, _, answer = await browser.send("/change", form | {"shard": "", "position": "10m", "after": ""})
        [sure] = Reader(answer).forms
        await browser.send("/change", sure)
    [shown, made] = browser.changes.moves
    assert shown.to == made.to
    assert time.time() - datetime.fromisoformat(made.to).timestamp() == pytest.approx(600, abs=60)


async def test_a_move_of_all_shards_names_none() -> None:
    async with browsing(PAUSED) as browser:
        browser.changes.report = POSITIONS
        assert '<option value="">all 2 shards</option>' in (await browser.page("/position?mapping=clicks"))[1]
        [form] = (await reader(browser, "/position?mapping=clicks", POSITIONS)).forms
        browser.changes.report = SHOWN | {"shard": None}
        _, _, answer = await browser.send("/change", form | {"shard": "", "position": "LATEST", "after": ""})
        [sure] = Reader(answer).forms
        await browser.send("/change", sure)
    asked = MoveOrder("LATEST", version="v1")
    assert browser.changes.moves == [asked._replace(only_shows=True), asked]


async def test_a_shard_beyond_the_list_can_be_typed() -> None:
    async with browsing(PAUSED) as browser:
        browser.changes.report = POSITIONS | {"shards_stored": 1200}
        page = (await browser.page("/position?mapping=clicks"))[1]
        assert "or all 1,200 shards if no id is given" in page
        assert "<select" not in page
        assert f'<option value="{SHARD}">' in page
        [form] = Reader(page).forms
        browser.changes.report = SHOWN
        await browser.send("/change", form | {"shard": "shardId-000000001100", "position": "7", "after": ""})
    assert [move.shard_id for move in browser.changes.moves] == ["shardId-000000001100"]


async def test_a_move_that_is_impossible_says_why_and_asks_nothing() -> None:
    async with browsing(PAUSED) as browser:
        [form] = (await reader(browser, "/position?mapping=clicks", POSITIONS)).forms
        browser.changes.error = CannotChange("yesterday is <not> a position")
        status, _, answer = await browser.send("/change", form | {"position": "yesterday"})
        assert (status, "yesterday is <not> a position" in Reader(answer).text) == (409, True)
        assert Reader(answer).links["Back"] == "/position?mapping=clicks"
        status, page = await browser.page("/position?mapping=clicks")
        assert (status, "This cannot be shown" in page, "Nothing was changed" in page) == (409, True, False)


async def test_many_shards_are_listed_in_part() -> None:
    async with browsing(PAUSED) as browser:
        page = await reader(browser, "/position?mapping=clicks", POSITIONS | {"shards_stored": 12_000})
    assert "and 11,998 shards more" in page.text
    assert "all 12,000 shards" in page.text


async def test_stuck_events_are_listed_and_one_or_all_are_retried() -> None:
    async with browsing() as browser:
        page = await reader(browser, "/events?function=store", EVENTS)
        assert "2 events of store stuck" in page.text
        assert page.rows[1].startswith("5d3a-0")
        assert "AccessDenied: <no>" in page.rows[1]
        every = next(form for form in page.forms if form["button"] == "Retry all")
        one = next(form for form in page.forms if form["button"] == "Retry")
        browser.changes.report = {"events": 1}
        assert await browser.send("/change", one) == (303, "/events?function=store", "")
        browser.changes.report = {"events": 2}
        assert (await browser.send("/change", every))[0] == 303
    assert [what for what, _ in browser.changes.asked[1:]] == ["retry store 5d3a-0", "retry store None"]
    change = ChangeMade("retry of stuck events", BY, "stuck", function=FunctionName("store"), request_id="5d3a-0")
    assert browser.changes.facts == [change._replace(events=1), change._replace(request_id=None, events=2)]


@pytest.mark.parametrize(
    ("button", "request_id", "title"),
    [("Drop…", "5d3a-0", "Drop this event?"), ("Drop all…", None, "Drop 2 stuck events?")],
)
async def test_a_drop_of_stuck_events_asks_first(button: str, request_id: str | None, title: str) -> None:
    async with browsing() as browser:
        page = await reader(browser, "/events?function=store", EVENTS)
        status, _, answer = await browser.send("/change", next(form for form in page.forms if form["button"] == button))
        assert (status, title in Reader(answer).text) == (200, True)
        assert browser.changes.facts == []
        [sure] = Reader(answer).forms
        browser.changes.report = {"events": 1}
        assert await browser.send("/change", sure) == (303, "/events?function=store", "")
    assert browser.changes.asked[-1] == (f"drop store {request_id}", None)


async def test_a_drop_of_an_event_that_is_not_stuck_any_more_is_not_asked_for() -> None:
    async with browsing() as browser:
        page = await reader(browser, "/events?function=store", EVENTS)
        drops = [form for form in page.forms if form["button"].startswith("Drop")]
        browser.changes.report = EVENTS | {"total": 0, "events": []}
        for form in drops:
            status, _, answer = await browser.send("/change", form)
            assert (status, "not stuck any more" in Reader(answer).text) == (409, True)
        first, *others = EVENTS["events"]
        browser.changes.report = EVENTS | {"total": len(others), "events": others}
        one = next(form for form in drops if form.get("request_id") == first["request_id"])
        assert (await browser.send("/change", one))[0] == 409
        browser.changes.error = CannotChange("there is no function store")
        assert (await browser.send("/change", drops[0]))[0] == 409


async def test_events_of_a_removed_function_can_only_be_dropped() -> None:
    async with browsing() as browser:
        page = await reader(browser, "/events?function=store", EVENTS | {"is_known": False})
    assert {form["button"] for form in page.forms} == {"Drop…", "Drop all…"}
    assert "The settings no longer have this function" in page.text


async def test_a_function_without_stuck_events_has_no_buttons() -> None:
    async with browsing() as browser:
        page = await reader(browser, "/events?function=store", EVENTS | {"total": 0, "events": []})
        assert ("No event of store is stuck" in page.text, page.forms) == (True, [])
        browser.changes.error = CannotChange("there is no function stare")
        page = await reader(browser, "/events?function=stare", EVENTS, status=409)
    assert "there is no function stare" in page.text


@pytest.mark.parametrize("path", ["/position?mapping=clicks", "/events?function=store"])
async def test_a_reader_without_the_right_to_change_something_sees_a_login(path: str) -> None:
    async with browsing(PAUSED, token=TOKEN) as browser:
        page = await reader(browser, path, {}, status=401)
        assert page.forms[0]["to"] == "/login"
        assert "Move positions…" not in Reader((await browser.page())[1]).links
        assert browser.changes.asked == []
        await browser.log_in()
        await reader(browser, path, POSITIONS if "position" in path else EVENTS)
