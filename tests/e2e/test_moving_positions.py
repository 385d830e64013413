"""Does a program move the positions of a paused mapping over HTTP, with any state and any number of workers?"""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from aiohttp import ClientSession

from tests.e2e.harness import Daemon, World
from tests.e2e.streams import Clicks, instant, mapping
from tests.fakes.target import ids_of

pytestmark = pytest.mark.anyio

BILL = "arn:aws:lambda:eu-west-1:123456789012:function:bill"


async def posted(daemon: Daemon, path: str, **body: Any) -> tuple[int, dict[str, Any]]:
    address = (await daemon.until_logged("daemon_started"))["http"]
    async with ClientSession() as session, session.post(f"http://{address}{path}", json=body) as answer:
        return answer.status, await answer.json()


@pytest.mark.parametrize(("state", "options"), [("memory:", ()), ("sqlite://poller.db", ("--workers", "2"))])
async def test_a_paused_mapping_continues_where_a_program_moves_it(
    world: World, state: str, options: tuple[str, ...]
) -> None:
    world.state = state
    clicks = Clicks(world.aws, "clicks")
    function = world.aws.functions[BILL] = instant()
    async with world.daemon(mapping("clicks", clicks, BILL), *options) as daemon:
        first = clicks.put("k")
        await world.watch.until(lambda: first in ids_of(function.calls))
        move = {"mapping": "clicks", "position": "TRIM_HORIZON"}
        status, refused = await posted(daemon, "/api/position", **move)
        assert (status, refused["error"]) == (409, "the mapping clicks is not paused: pause it first")
        assert (await posted(daemon, "/api/pause", mapping="clicks"))[0] == 200
        with anyio.fail_after(60):
            while (answer := await posted(daemon, "/api/position", **move))[0] != 200:
                assert "try again soon" in answer[1]["error"], answer
        assert answer[1]["before"].endswith(f"after {first}")
        positions = (await daemon.get("/api/positions?mapping=clicks")).json()
        assert [(shard["position"], shard["reader"]) for shard in positions["shards"]] == [(None, None)]
        second = clicks.put("k")
        assert (await posted(daemon, "/api/resume", mapping="clicks"))[0] == 200
        await world.watch.until(lambda: second in ids_of(function.calls))
        assert await daemon.stop() == 0
    assert list(ids_of(function.calls)) == [first, first, second]
    [made] = [line for line in daemon.logged("change_made") if line["change"] == "move to TRIM_HORIZON"]
    assert (made["mapping"], made["before"]) == ("clicks", answer[1]["before"])
    assert made["by"].startswith("loopback")
