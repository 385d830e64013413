"""What can a person do on the page, and who may do it? A real server answers real forms."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from aiohttp import ClientSession, CookieJar

from poller.admin.acting import NOT_OURS
from poller.admin.guard import Access
from poller.admin.recent import CHANGES_KEPT, RecentChanges
from poller.admin.server import Pages, serve
from poller.admin.viewing import PageSources
from poller.errors import CannotChange
from poller.facts import ChangeMade
from poller.model.order import ShardOrder
from poller.model.status import MappingStatus, ShownSettings, StreamStatus
from poller.telemetry.telemetry import Telemetry
from tests.fakes.changes import FakeChanges
from tests.unit.admin.test_page import BLOCKED, QUEUE, STREAM, Reader

pytestmark = pytest.mark.anyio

TOKEN = "s3cret-t0ken"
WORDS = ("'email'", "user-1")
DISCARD = ShardOrder("discard", BLOCKED.shard_id, *BLOCKED.ends)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def no_pause_after_a_wrong_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("poller.admin.acting.PAUSE_AFTER_WRONG_TOKEN_IN_SECONDS", 0.0)


@pytest.fixture(autouse=True)
def no_wait_for_an_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    """The statuses of these tests do not change."""
    monkeypatch.setattr("poller.admin.asking.LONGEST_WAIT_IN_SECONDS", 0.0)


class Browser:
    """A browser at one server. It keeps cookies, and follows the address that an answer names only if it is asked to.

    `tokens` has the admin token of the server, which a test may change. `looks` has the statuses of the mappings: each
    look at them takes the next ones, and the last ones stay.
    """

    def __init__(
        self,
        client: ClientSession,
        changes: FakeChanges,
        tokens: list[str | None],
        looks: list[Sequence[MappingStatus]],
    ) -> None:
        self.client = client
        self.changes = changes
        self.tokens = tokens
        self.looks = looks

    async def page(self, path: str = "/") -> tuple[int, str]:
        async with self.client.get(path) as answer:
            return answer.status, await answer.text()

    async def forms(self, path: str = "/") -> list[dict[str, str]]:
        return Reader((await self.page(path))[1]).forms

    async def send(self, path: str, fields: dict[str, str], **options: Any) -> tuple[int, str, str]:
        """Send a form. Return the status, the address to which the answer leads, and its text."""
        sent = {name: value for name, value in fields.items() if name not in ("button", "to")}
        async with self.client.post(path, data=sent, allow_redirects=False, **options) as answer:
            return answer.status, answer.headers.get("Location", ""), await answer.text()

    async def log_in(self, token: str = TOKEN) -> tuple[int, str, str]:
        return await self.send("/login", {"token": token})


@asynccontextmanager
async def browsing(
    *statuses: MappingStatus,
    token: str | None = None,
    host: str = "127.0.0.1",
    settings: Callable[[], ShownSettings] | None = lambda: ShownSettings("region = 'eu<west>'", ("the file changed",)),
) -> AsyncIterator[Browser]:
    changes, tokens, looks = FakeChanges(), [token], list[Sequence[MappingStatus]]([statuses or (QUEUE, STREAM)])
    changes.report = {"was_paused": False, "reason": "KeyError", "blocked_since": "2026-01-31T12:00:00Z", "records": 3}
    recent = RecentChanges(changes.facts.append)
    pages = Pages(
        Telemetry().registry,
        lambda: looks.pop(0) if len(looks) > 1 else looks[0],
        page=PageSources(changes=recent.changes, settings=settings),
    )
    async with (
        serve((host, 0), pages, access=lambda: Access(admin_token=tokens[-1]), changes=changes, emit=recent.emit) as (
            _,
            port,
        ),
        ClientSession(f"http://127.0.0.1:{port}", cookie_jar=CookieJar(unsafe=True)) as client,
    ):
        yield Browser(client, changes, tokens, looks)


async def test_a_mapping_is_paused_by_its_button_and_the_page_says_who_did_it() -> None:
    async with browsing() as browser:
        form = next(form for form in await browser.forms("/?q=orders") if form.get("call") == "pause")
        assert await browser.send("/change", form) == (303, "/?q=orders", "")
        assert "pause orders loopback, from 127.0.0.1 not paused" in " ".join(
            " ".join(Reader((await browser.page())[1]).rows).split()
        )
    assert browser.changes.asked == [("pause orders", None)]
    [fact] = browser.changes.facts
    assert isinstance(fact, ChangeMade)


async def test_the_page_after_a_change_is_not_one_from_before() -> None:
    async with browsing() as browser:
        form = next(form for form in await browser.forms() if form.get("call") == "pause")
        await browser.send("/change", form)
        assert "loopback, from 127.0.0.1" in Reader((await browser.page())[1]).text


async def test_a_browser_names_the_origin_of_our_own_forms() -> None:
    """With the policy no-referrer, Chromium sends `Origin: null`, which the guard refuses."""
    async with browsing() as browser, browser.client.get("/") as answer:
        assert answer.headers["Referrer-Policy"] == "same-origin"


@pytest.mark.parametrize("action", ["retry", "bisect"])
async def test_a_blocked_batch_is_retried_or_bisected_by_one_form(action: str) -> None:
    async with browsing() as browser:
        form = next(form for form in await browser.forms() if form.get("action") == action)
        assert (await browser.send("/change", form))[:2] == (303, "/")
    assert [order.action for order in browser.changes.orders] == [action]
    assert browser.changes.orders[0].ends == BLOCKED.ends


@pytest.mark.slow
async def test_the_page_after_an_order_shows_the_effect_of_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("poller.admin.asking.LONGEST_WAIT_IN_SECONDS", 60.0)
    async with browsing() as browser:
        form = next(form for form in await browser.forms() if form.get("action") == "bisect")
        bisected = BLOCKED._replace(records=2)
        after = STREAM._replace(stream=StreamStatus(shards_blocked=1, blocked=(bisected,)))
        browser.looks += [[STREAM], [STREAM], [STREAM], [after]]
        assert (await browser.send("/change", form))[0] == 303
        assert "2 records" in Reader((await browser.page())[1]).cards[0]


async def test_a_pause_does_not_wait_for_an_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("poller.admin.asking.LONGEST_WAIT_IN_SECONDS", 3600.0)
    async with browsing() as browser:
        form = next(form for form in await browser.forms() if form.get("call") == "pause")
        with anyio.fail_after(20):
            assert (await browser.send("/change", form))[0] == 303


async def test_a_discard_asks_first_and_shows_the_batch_and_its_destination() -> None:
    async with browsing() as browser:
        form = next(form for form in await browser.forms() if form.get("action") == "discard")
        status, _, question = await browser.send("/change", form)
        assert (status, browser.changes.orders) == (200, [])
        reader = Reader(question)
        for words in ("Discard 3 records?", "4959", "4961", "user-1, user-2", str(STREAM.destination)):
            assert words in reader.text
        [sure] = reader.forms
        assert (await browser.send("/change", sure))[0] == 303
    assert browser.changes.orders == [DISCARD]


async def test_the_question_about_one_record_names_it_once() -> None:
    alone = BLOCKED._replace(records=1, end_sequence_number=BLOCKED.start_sequence_number)
    async with browsing(STREAM._replace(stream=StreamStatus(shards_blocked=1, blocked=(alone,)))) as browser:
        form = next(form for form in await browser.forms() if form.get("action") == "discard")
        question = Reader((await browser.send("/change", form))[2])
    assert question.text.count("4959") == 1
    assert "and never try it again." in question.text
    assert "Keep it" in question.links


async def test_a_discard_without_a_destination_says_that_nothing_reports_the_records() -> None:
    async with browsing(STREAM._replace(destination=None)) as browser:
        form = next(form for form in await browser.forms() if form.get("action") == "discard")
        _, _, question = await browser.send("/change", form)
    assert "The mapping has no destination, so nothing will report 3 records" in Reader(question).text


async def test_a_discard_of_a_shard_that_is_not_blocked_any_more_is_not_asked_for() -> None:
    async with browsing() as browser:
        form = next(form for form in await browser.forms() if form.get("action") == "discard")
        status, _, answer = await browser.send("/change", form | {"shard": "another"})
    assert (status, browser.changes.orders) == (409, [])
    assert "This batch no longer blocks the shard." in Reader(answer).text
    reported = BLOCKED._replace(actions=("retry",))  # its records are discarded already
    async with browsing(STREAM._replace(stream=StreamStatus(shards_blocked=1, blocked=(reported,)))) as browser:
        form |= {"proof": (await browser.forms())[0]["proof"]}
        assert (await browser.send("/change", form))[0] == 409


async def test_a_change_that_the_daemon_refuses_says_why_and_leads_back() -> None:
    async with browsing() as browser:
        browser.changes.error = CannotChange("other <records> block the shard")
        form = next(form for form in await browser.forms("/?state=blocked") if form.get("action") == "retry")
        status, _, answer = await browser.send("/change", form)
    assert status == 409
    reader = Reader(answer)
    assert "other <records> block the shard" in reader.text
    assert "The change has failed" in reader.text
    assert reader.links["Back"] == "/?state=blocked"


@pytest.mark.parametrize("proof", [{}, {"proof": ""}, {"proof": "0" * 64}, {"proof": "é"}])
async def test_a_form_without_the_proof_of_our_page_changes_nothing(proof: dict[str, str]) -> None:
    async with browsing() as browser:
        form = next(form for form in await browser.forms() if form.get("call") == "pause")
        del form["proof"]
        status, _, answer = await browser.send("/change", form | proof)
        assert (status, NOT_OURS in Reader(answer).text) == (403, True)
        assert (await browser.send("/logout", proof))[0] == 403
    assert browser.changes.asked == []


async def test_a_form_of_another_site_changes_nothing_even_with_the_proof() -> None:
    async with browsing() as browser:
        form = next(form for form in await browser.forms() if form.get("call") == "pause")
        for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            assert (await browser.send("/change", form, headers=headers))[0] == 403
    assert browser.changes.asked == []


@pytest.mark.parametrize("call", ["", "status", "shards", "../pause"])
async def test_a_form_with_another_call_changes_nothing(call: str) -> None:
    async with browsing() as browser:
        form = next(form for form in await browser.forms() if form.get("call") == "pause")
        assert (await browser.send("/change", form | {"call": call}))[0] == 400
    assert browser.changes.asked == []


@pytest.mark.parametrize("body", [b"\xff", b"&".join(b"a%d=1" % n for n in range(100)), b"{}"])
async def test_a_body_that_is_no_form_changes_nothing(body: bytes) -> None:
    async with browsing() as browser, browser.client.post("/change", data=body) as answer:
        assert answer.status == 403
    assert browser.changes.asked == []


async def test_a_form_whose_body_is_encoded_or_comes_in_chunks_is_refused() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"call=pause"

    async with browsing() as browser:
        async with browser.client.post("/change", headers={"Content-Encoding": "gzip"}, compress=False) as answer:
            assert answer.status == 415
        async with browser.client.post("/change", data=chunks()) as answer:
            assert answer.status == 411


@pytest.mark.parametrize(
    "back", ["http://evil.example/", "//evil.example", "/\r\nX: y", "javascript:alert(1)", "", "http://["]
)
async def test_an_answer_leads_only_to_our_page(back: str) -> None:
    async with browsing() as browser:
        form = next(form for form in await browser.forms() if form.get("call") == "pause")
        assert (await browser.send("/change", form | {"back": back}))[:2] == (303, "/")


async def test_beyond_loopback_a_reader_without_a_login_sees_no_words_and_can_change_nothing() -> None:
    async with browsing(token=TOKEN, host="0.0.0.0") as browser:
        for path in ("/", "/readyz", "/api/status", "/api/shards?mapping=clicks"):
            status, text = await browser.page(path)
            assert status == 200
            assert not any(word in text for word in WORDS), path
        assert (await browser.page("/settings"))[0] == 401
        assert [form for form in await browser.forms() if form.get("call")] == []
        status, _, answer = await browser.send("/change", {"call": "pause", "mapping": "orders"})
        assert (status, Reader(answer).forms[0]["to"]) == (401, "/login")
    assert browser.changes.asked == []


async def test_beyond_loopback_a_reader_with_the_token_sees_the_words() -> None:
    async with browsing(token=TOKEN, host="0.0.0.0") as browser:
        browser.client.headers["Authorization"] = f"Bearer {TOKEN}"
        for path in ("/readyz", "/api/status", "/api/shards?mapping=clicks"):
            text = (await browser.page(path))[1]
            assert "'email'" in text, path
            assert ("user-1" in text) == path.startswith("/api/shards")


async def test_on_loopback_a_reader_without_a_login_sees_the_words_and_the_settings() -> None:
    async with browsing(token=TOKEN) as browser:
        for path in ("/readyz", "/api/status", "/api/shards?mapping=clicks"):
            text = (await browser.page(path))[1]
            assert "'email'" in text, path
            assert ("user-1" in text) == path.startswith("/api/shards")
        assert "'email'" in Reader((await browser.page())[1]).text
        assert (await browser.page("/settings"))[0] == 200


async def test_without_a_token_in_the_settings_nobody_can_log_in_beyond_loopback() -> None:
    async with browsing(host="0.0.0.0") as browser:
        assert (await browser.log_in(""))[0] == 401
        page = (await browser.page())[1]
    assert "set [daemon] admin_token" in Reader(page).text


async def test_a_login_gives_a_session_with_a_cookie_that_scripts_and_other_sites_do_not_get() -> None:
    async with browsing(token=TOKEN, host="0.0.0.0") as browser:
        status, _, answer = await browser.log_in("wrong")
        assert (status, "This is not the admin token." in Reader(answer).text) == (401, True)
        async with browser.client.post("/login", data={"token": TOKEN}, allow_redirects=False) as reply:
            assert (reply.status, reply.headers["Location"]) == (303, "/")
            cookie = reply.headers["Set-Cookie"]
        assert {"HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"} <= set(cookie.split("; "))
        assert TOKEN not in cookie
        page = (await browser.page())[1]
        assert "'email'" in Reader(page).text
        assert TOKEN not in page
        form = next(form for form in Reader(page).forms if form.get("call") == "pause")
        assert (await browser.send("/change", form))[0] == 303
    [fact] = browser.changes.facts
    assert isinstance(fact, ChangeMade)
    assert fact.by == "token, from 127.0.0.1"


async def test_a_session_gives_no_right_to_the_calls_of_programs() -> None:
    async with browsing(token=TOKEN) as browser:
        await browser.log_in()
        async with browser.client.post("/api/pause", json={"mapping": "orders"}) as answer:
            assert answer.status == 401
    assert browser.changes.asked == []


async def test_the_proof_of_a_reader_without_a_session_is_not_that_of_a_session() -> None:
    async with browsing(token=TOKEN) as browser:
        await browser.log_in()
        form = next(form for form in await browser.forms() if form.get("call") == "pause")
        browser.client.cookie_jar.clear()
        await browser.log_in()
        assert (await browser.send("/change", form))[0] == 403
    assert browser.changes.asked == []


async def test_a_logout_and_a_changed_token_end_the_session() -> None:
    async with browsing(token=TOKEN) as browser:
        await browser.log_in()
        logout = next(form for form in await browser.forms() if form.get("button") == "Log out")
        assert (await browser.send("/logout", logout))[:2] == (303, "/")
        assert [form for form in await browser.forms() if form.get("call")] == []
        await browser.log_in()
        assert [form for form in await browser.forms() if form.get("call")]
        browser.tokens.append("another")
        assert [form for form in await browser.forms() if form.get("call")] == []


async def test_a_session_that_was_ended_is_not_valid_though_a_browser_keeps_its_cookie() -> None:
    async with browsing(token=TOKEN) as browser:
        await browser.log_in()
        [cookie] = list(browser.client.cookie_jar)
        logout = next(form for form in await browser.forms() if form.get("button") == "Log out")
        await browser.send("/logout", logout)
        async with browser.client.get("/", headers={"Cookie": f"poller_session={cookie.value}"}) as answer:
            assert [form for form in Reader(await answer.text()).forms if form.get("call")] == []


async def test_the_settings_are_shown_as_text() -> None:
    async with browsing() as browser:
        status, page = await browser.page("/settings")
        assert (status, "region = 'eu<west>'" in Reader(page).text) == (200, True)
        assert "The daemon uses these settings." in Reader(page).text
        assert "the file changed" in Reader(page).text
    async with browsing(settings=None) as browser:
        assert (await browser.page("/settings"))[0] == 404


async def test_the_settings_are_shown_also_if_a_path_in_them_is_not_utf_8() -> None:
    in_use = ShownSettings("state = '{}.db'".format(os.fsdecode(b"/caf\xe9")), ())
    async with browsing(settings=lambda: in_use) as browser:
        status, page = await browser.page("/settings")
    assert status == 200
    assert "/caf?.db" in page


@pytest.mark.parametrize("path", ["/", "/login", "/settings", "/page.css", "/page.js"])
async def test_a_page_loads_nothing_from_elsewhere_and_cannot_be_framed(path: str) -> None:
    async with browsing() as browser, browser.client.get(path) as answer:
        assert answer.status == 200
        policy = answer.headers["Content-Security-Policy"].split("; ")
        text = await answer.text()
    assert {"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "form-action 'self'"} <= set(policy)
    assert "unsafe" not in " ".join(policy)
    assert " style=" not in text, "the policy forbids styles in elements"
    assert "://" not in text.replace("http://127.0.0.1", "")


async def test_readers_with_different_rights_and_searches_get_different_pages() -> None:
    async with browsing(token=TOKEN) as browser:
        before = (await browser.page())[1]
        narrowed = (await browser.page("/?q=orders"))[1]
        await browser.log_in()
        after = (await browser.page())[1]
    assert "clicks" in Reader(before).text
    assert "clicks" not in Reader(narrowed).text
    assert [form for form in Reader(before).forms if form.get("call")] == []
    assert [form for form in Reader(after).forms if form.get("call")]


def test_only_the_last_changes_are_kept_and_other_facts_are_passed_on() -> None:
    facts: list[Any] = []
    recent = RecentChanges(facts.append)
    made = [ChangeMade("pause", "uid 1, pid 2", str(number)) for number in range(CHANGES_KEPT + 1)]
    for fact in made:
        recent.emit(fact)
    assert [kept.change for kept in recent.changes()] == made[1:]
    assert facts == made
