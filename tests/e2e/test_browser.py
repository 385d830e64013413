"""Can a person with a browser alone find what is wrong, and mend it? A headless Chromium opens the real page.

Each page also fits into 390 and 1440 pixels, its scripts raise no error, and axe-core has no serious finding.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from poller.event_queues.rows import put
from poller.event_queues.schema import shared
from poller.model.event import Ending, LastAttempt
from poller.model.ids import FunctionName
from poller.model.invocation import Invocation, Response, Throttled
from tests.e2e.harness import World
from tests.e2e.streams import Clicks, Source, instant, mapping
from tests.fakes.events import event
from tests.fakes.target import ids_of
from tests.installing import unavailable
from tests.node import installed

playwright_api = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
pytestmark = pytest.mark.anyio

BILL = "arn:aws:lambda:eu-west-1:123456789012:function:bill"
AXE = ("axe-core", "4.14.1")
WIDTHS = (390, 1440)
SERIOUS = ("serious", "critical")


@asynccontextmanager
async def page_of(address: str, **options: Any) -> AsyncIterator[Any]:
    """Yield the page in a browser. Its scripts must raise no error, and its policy must forbid nothing."""
    program = shutil.which("chromium") or unavailable("chromium is not installed")
    complaints: list[str] = []
    async with playwright_api.async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        context = await browser.new_context(**options)
        page = await context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
        await page.goto(f"http://{address}/")
        yield page
        await browser.close()
    assert complaints == []


async def looks_good(page: Any) -> None:
    """Check that the page fits into each width, and that axe-core finds nothing serious. It needs `bypass_csp`."""
    axe = installed(*AXE) / "axe.min.js"
    await page.wait_for_load_state()  # of the style too: after a click or a key, the browser shows a page without it
    for width in WIDTHS:
        await page.set_viewport_size({"width": width, "height": 900})
        assert await page.evaluate("document.documentElement.scrollWidth") <= width, (page.url, width)
        await page.add_script_tag(path=str(axe))
        found = (await page.evaluate("axe.run()"))["violations"]
        serious = [
            (one["id"], one["help"], [node["html"] for node in one["nodes"]])
            for one in found
            if one["impact"] in SERIOUS
        ]
        assert serious == [], (page.url, width)


def poisoned(world: World, *good: str) -> tuple[Source, str, Any]:
    """Return a stream of one shard whose second record always fails, and the function."""
    source = Clicks(world.aws, "clicks", shard_count=1)
    source.put()
    poison = source.put()
    source.put()
    world.aws.functions[BILL] = function = instant(poison={poison})
    return source, poison, function


async def test_a_person_gets_past_a_poison_record_with_the_page_alone(world: World) -> None:
    """Somebody who had only the screenshots of the demo needed eight clicks, and about five seconds from the first
    screen until the shard moved again: six bisects, the discard, and its confirmation. The batch here has three
    records, so it needs two bisects.
    """
    source, poison, function = poisoned(world)
    async with world.daemon(mapping("clicks", source, BILL)) as daemon:
        await daemon.until_logged("shard_blocked")
        address = (await daemon.until_logged("daemon_started"))["http"]
        async with page_of(address) as page:
            card = page.locator(".card.blocked")
            await card.get_by_text("clicks is blocked").wait_for()
            assert "PoisonError" in await card.inner_text()
            await page.get_by_role("button", name="Bisect now").click()
            await card.get_by_text("2 records").wait_for()
            await page.get_by_role("button", name="Bisect now").click()
            await card.get_by_text("1 record").wait_for()
            await page.get_by_role("button", name="Discard").click()
            assert poison in await page.locator("dl").inner_text()
            await page.get_by_role("button", name="Discard 1 record").click()
            await page.get_by_text("Nothing: no shard is blocked").wait_for()
            assert "discard" in await page.get_by_role("table", name="Changes by people").inner_text()
        dropped = await daemon.until_logged("records_dropped")
        assert await daemon.stop() == 0
    assert (dropped["condition"], dropped["start_sequence_number"]) == ("DiscardedByRequest", poison)
    assert set(ids_of(function.calls)) == set(source.kinds)


async def test_the_page_works_without_scripts(world: World) -> None:
    source, _, _ = poisoned(world)
    async with world.daemon(mapping("clicks", source, BILL)) as daemon:
        await daemon.until_logged("shard_blocked")
        address = (await daemon.until_logged("daemon_started"))["http"]
        async with page_of(address, java_script_enabled=False) as page:
            await page.get_by_role("searchbox", name="Search").fill("clicks")
            await page.get_by_role("button", name="Show").click()
            await page.get_by_role("button", name="Pause: clicks").click()
            await page.get_by_role("button", name="Resume: clicks").wait_for()
            assert page.url.endswith("/?q=clicks")
        await daemon.until_logged("mapping_paused_by_request", mapping="clicks")
        assert await daemon.stop() == 0


async def test_the_page_shows_a_change_by_itself(world: World) -> None:
    source, _, function = poisoned(world)
    async with world.daemon(mapping("clicks", source, BILL)) as daemon:
        await daemon.until_logged("shard_blocked")
        address = (await daemon.until_logged("daemon_started"))["http"]
        async with page_of(address) as page:
            await page.get_by_text("clicks is blocked").wait_for()
            function.plan.poison.clear()
            await page.get_by_text("Nothing: no shard is blocked").wait_for(timeout=60_000)
            assert "1 of 1 mappings ready" in await page.title()
        assert await daemon.stop() == 0


async def test_the_page_shows_a_change_also_while_a_person_types_a_search(world: World) -> None:
    source, _, function = poisoned(world)
    async with world.daemon(mapping("clicks", source, BILL)) as daemon:
        await daemon.until_logged("shard_blocked")
        address = (await daemon.until_logged("daemon_started"))["http"]
        async with page_of(address) as page:
            await page.get_by_text("clicks is blocked").wait_for()
            search = page.get_by_role("searchbox", name="Search")
            await search.press_sequentially("cli")
            function.plan.poison.clear()
            await page.get_by_text("Nothing: no shard is blocked").wait_for(timeout=60_000)
            await page.locator(".mappings .badge.ready").wait_for(timeout=60_000)
            await page.keyboard.type("cks")
            assert await search.input_value() == "clicks"
            assert await search.evaluate("search => search === document.activeElement")
            ids = await page.evaluate("[...document.querySelectorAll('[id]')].map(each => each.id)")
            assert len(ids) == len(set(ids)), "nothing is there twice"
            assert {"attention", "mappings", "q"} <= set(ids)
        assert await daemon.stop() == 0


async def test_a_screen_reader_hears_only_when_the_page_becomes_old_and_when_it_is_up_to_date_again(
    world: World,
) -> None:
    async with world.daemon("") as daemon:
        address = (await daemon.until_logged("daemon_started"))["http"]
        async with page_of(address) as page:
            await page.evaluate(
                """() => {
                    window.heard = [];
                    const note = (each) => window.heard.push(each[0].target.textContent);
                    for (const each of document.querySelectorAll("[role=status], [role=alert], [aria-live]"))
                        new MutationObserver(note).observe(each, { childList: true, subtree: true });
                }"""
            )
            for _ in range(2):
                async with page.expect_response(f"http://{address}/"):
                    pass
            await page.route("**/", lambda route: route.fulfill(body="<p>no page</p>", content_type="text/html"))
            await page.get_by_text("s ago: the daemon does not answer").wait_for()
            async with page.expect_response(f"http://{address}/"):
                pass
            await page.unroute_all()
            await page.get_by_text("just now").wait_for()
            await page.wait_for_function("() => window.heard.length >= 2")
            said = await page.evaluate("() => window.heard")
        assert await daemon.stop() == 0
    assert said == ["The daemon does not answer; the page is old.", "The page is up to date again."]


async def test_exact_times_are_shown_to_a_person_who_has_no_mouse(world: World) -> None:
    """A link that the keyboard reaches shows them, and the pages behind the first one always do."""
    exact = "() => [...document.querySelectorAll('time')].map(each => getComputedStyle(each, '::after').content)"
    source, _, _ = poisoned(world)
    async with world.daemon(mapping("clicks", source, BILL)) as daemon:
        await daemon.until_logged("shard_blocked")
        address = (await daemon.until_logged("daemon_started"))["http"]
        async with page_of(address, bypass_csp=True) as page:
            await page.locator(".card.blocked").wait_for()
            assert set(await page.evaluate(exact)) == {"none"}
            await page.get_by_role("link", name="show exact times").focus()
            await page.keyboard.press("Enter")
            await page.get_by_role("link", name="hide exact times").wait_for()
            await page.wait_for_load_state()  # the style may arrive after the link
            assert all("20" in text and "Z" in text for text in await page.evaluate(exact))
            await looks_good(page)
        assert await daemon.stop() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_page_fits_and_has_no_serious_finding_of_axe(world: World, scheme: str) -> None:
    source, _, _ = poisoned(world)
    async with world.daemon(mapping("clicks", source, BILL)) as daemon:
        await daemon.until_logged("shard_blocked")
        address = (await daemon.until_logged("daemon_started"))["http"]
        async with page_of(address, color_scheme=scheme, bypass_csp=True) as page:
            for path in ("/", "/?q=nowhere", "/login", "/settings"):
                await page.goto(f"http://{address}{path}")
                await looks_good(page)
        assert await daemon.stop() == 0


class Throttling:
    """A function that is throttled in every invocation."""

    async def invoke(self, invocation: Invocation) -> Response:
        return Throttled(reason="throttled")


async def test_a_person_sees_why_one_of_a_thousand_mappings_does_not_work(world: World) -> None:
    """One function is throttled, the queue of another mapping was deleted, and all other mappings are disabled."""
    orders, bills = world.queue("orders"), world.queue("bills")
    world.aws.sqs.delete_queue(bills)
    world.aws.functions[BILL] = Throttling()
    world.send(orders, "{}")
    others = "".join(_disabled(number) for number in range(998))
    text = _queue_mapping("orders", str(orders.arn)) + _queue_mapping("bills", str(bills.arn)) + others
    async with world.daemon(text) as daemon:
        await daemon.until_logged("invocation_postponed", mapping="orders")
        await daemon.until_logged("source_failed", mapping="bills")
        address = (await daemon.until_logged("daemon_started"))["http"]
        async with page_of(address, bypass_csp=True) as page:
            await page.get_by_role("heading", name="orders is waiting").wait_for()
            waiting = await page.locator(".card.waiting").inner_text()
            assert "throttled" in waiting
            missing = await page.locator(".card.starting").inner_text()
            assert "bills is starting" in missing
            assert "does not exist" in missing
            await looks_good(page)
            await page.get_by_role("searchbox", name="Search").press_sequentially("other-99")
            await page.keyboard.press("Enter")
            await page.get_by_text("9 mappings", exact=True).wait_for()
            assert page.url.endswith("/?q=other-99&group=state")
            await page.get_by_role("link", name="disabled 998").focus()
            await page.keyboard.press("Enter")
            await page.wait_for_url("**/?q=other-99&state=disabled")
            await page.goto(f"http://{address}/?state=disabled")
            await page.get_by_role("link", name="next →").focus()
            await page.keyboard.press("Enter")
            await page.get_by_text("101 to 200 of 998 mappings").wait_for()
            await page.goto(f"http://{address}/")
            await page.keyboard.press("Tab")
            await page.keyboard.press("Enter")
            assert page.url.endswith("#attention"), "the first key leads to what needs attention"
        assert await daemon.stop() == 0


def _queue_mapping(name: str, arn: str, *options: str) -> str:
    lines = [f"[mappings.{name}]", f'event_source_arn = "{arn}"', f'function_name = "{BILL}"', *options]
    return "\n".join([*lines, ""])


def _disabled(number: int) -> str:
    return _queue_mapping(f"other-{number}", f"arn:aws:sqs:eu-west-1:123456789012:other-{number}", "enabled = false")


async def test_a_paused_mapping_is_moved_past_a_poison_record_with_the_page_alone(world: World) -> None:
    source, poison, function = poisoned(world)
    async with world.daemon(mapping("clicks", source, BILL)) as daemon:
        await daemon.until_logged("shard_blocked")
        address = (await daemon.until_logged("daemon_started"))["http"]
        async with page_of(address, bypass_csp=True) as page:
            await page.get_by_role("button", name="Pause: clicks").click()
            await page.get_by_role("link", name="Move positions: clicks").click()
            await looks_good(page)
            await page.get_by_role("combobox", name="to").fill("TRIM_HORIZON")
            await page.get_by_role("button", name="Show the effect").click()
            await page.get_by_text("The function gets every record that the stream still has").wait_for()
            await page.get_by_role("link", name="Keep the position").click()
            await page.get_by_role("combobox", name="Move").select_option(source.shard_of(poison))
            await page.get_by_role("combobox", name="to").fill(poison)
            await page.get_by_role("checkbox", name="continue after the record").check()
            await page.get_by_role("button", name="Show the effect").click()
            await page.get_by_role("heading", name="Move clicks?").wait_for()
            question = await page.locator("main").inner_text()
            assert "The records in between are skipped" in question
            assert f"after {poison}" in question
            await looks_good(page)
            await page.get_by_role("button", name="Move").click()
            await page.get_by_role("button", name="Resume: clicks").click()
            await page.get_by_text("Nothing that matches the search.").wait_for()
            await world.watch.until(lambda: list(source.kinds)[-1] in ids_of(function.calls))
        made = await daemon.until_logged("change_made", change=f"move to after {poison}")
        assert await daemon.stop() == 0
    assert made["mapping"] == "clicks"
    delivered = [call for call in function.calls if call.ending == "succeeded"]
    assert set(ids_of(delivered)) == {list(source.kinds)[-1]}


async def test_a_stuck_event_is_retried_and_another_dropped_with_the_page_alone(world: World) -> None:
    """A destination has refused the invocation records; now it accepts them."""
    failures = world.queue("failures")
    now = time.time()
    ending = Ending(
        condition="RetriesExhausted",
        at=now,
        last=LastAttempt(status_code=200, payload=b"{}"),
        deliveries=("on_failure",),
        rejections=3,
        rejected_since=now,
    )
    bill = FunctionName("bill")
    retried, dropped = (
        event(now, function=bill, stuck="AccessDenied: may not send", ending=ending, payload=b'"not on the page"')
        for _ in range(2)
    )
    with shared(world.folder / "events.db") as file:
        put(file, [retried, dropped])
    world.options = f'event_queue = "sqlite://{world.folder}/events.db"'
    world.aws.functions[BILL] = instant()
    text = f"""
        [functions.bill]
        arn = "{BILL}"
        event_invoke_config.destination_config.on_failure.destination = "{failures.arn}"
    """
    async with world.daemon(text) as daemon:
        address = (await daemon.until_logged("daemon_started"))["http"]
        async with page_of(address, bypass_csp=True) as page:
            card = page.get_by_role("heading", name="2 events of bill stuck")
            await card.wait_for(timeout=60_000)
            await page.get_by_role("link", name="Stuck events of bill").click()
            text = await page.locator("main").inner_text()
            assert "AccessDenied: may not send" in text
            assert "not on the page" not in text
            await looks_good(page)
            await page.get_by_role("button", name=f"Retry: {retried.request_id}").click()
            await page.get_by_role("heading", name="1 event of bill stuck").wait_for()
            await page.get_by_role("button", name=f"Drop: {dropped.request_id}").click()
            await looks_good(page)
            await page.get_by_role("button", name="Drop this event").click()
            await page.get_by_role("heading", name="No event of bill is stuck").wait_for()
            await world.until_entry(failures, "sent")
        assert await daemon.stop() == 0
    changes = [(line["change"], line["request_id"]) for line in daemon.logged("change_made")]
    assert changes == [("retry of stuck events", retried.request_id), ("drop of stuck events", dropped.request_id)]
