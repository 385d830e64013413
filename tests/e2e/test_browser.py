"""Can a person with a browser alone find what blocks a shard, and get past it? A headless Chromium opens the real page.

It also sees that the page has no error, fits into 390 and 1440 pixels, and has no finding of axe-core.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.e2e.harness import World
from tests.e2e.streams import Clicks, Source, instant, mapping
from tests.fakes.target import ids_of
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
    program = shutil.which("chromium") or pytest.skip("chromium is not installed")
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


def poisoned(world: World, *good: str) -> tuple[Source, str, Any]:
    """Return a stream of one shard whose second record always fails, and the function."""
    source = Clicks(world.aws, "clicks", shard_count=1)
    source.put()
    poison = source.put()
    source.put()
    world.aws.functions[BILL] = function = instant(poison={poison})
    return source, poison, function


async def test_a_person_gets_past_a_poison_record_with_the_page_alone(world: World) -> None:
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
        assert daemon.logged("mapping_paused_by_request", mapping="clicks")
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


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_page_fits_and_has_no_serious_finding_of_axe(world: World, scheme: str) -> None:
    axe = installed(*AXE) / "axe.min.js"
    source, _, _ = poisoned(world)
    async with world.daemon(mapping("clicks", source, BILL)) as daemon:
        await daemon.until_logged("shard_blocked")
        address = (await daemon.until_logged("daemon_started"))["http"]
        async with page_of(address, color_scheme=scheme, bypass_csp=True) as page:
            for path in ("/", "/?q=nowhere", "/login", "/settings"):
                for width in WIDTHS:
                    await page.set_viewport_size({"width": width, "height": 900})
                    await page.goto(f"http://{address}{path}")
                    assert await page.evaluate("document.documentElement.scrollWidth") <= width, (path, width)
                    await page.add_script_tag(path=str(axe))
                    found = (await page.evaluate("axe.run()"))["violations"]
                    serious = [
                        (one["id"], one["help"], [node["html"] for node in one["nodes"]])
                        for one in found
                        if one["impact"] in SERIOUS
                    ]
                    assert serious == [], (path, width)
        assert await daemon.stop() == 0
