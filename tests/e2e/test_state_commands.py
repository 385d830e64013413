"""Does the daemon continue at the position that a person has set, and is nothing set without a confirmation?"""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from typer.testing import CliRunner, Result

from poller.cli import app
from poller.event_queues.rows import put
from poller.event_queues.schema import shared
from poller.model.ids import FunctionName
from tests.e2e.harness import KEYS, World, environment
from tests.e2e.streams import Clicks, Users, mapping
from tests.fakes.events import event
from tests.fakes.target import FakeTarget, FunctionPlan, ids_of

pytestmark = pytest.mark.anyio

BILL = "arn:aws:lambda:eu-west-1:123456789012:function:bill"
ASKED = b"Is that what you want?"


@pytest.fixture
def world(world: World) -> World:
    """The state is a file, so it survives a restart."""
    world.state = "sqlite://poller.db"
    return world


def new_function(world: World) -> FakeTarget:
    """Return a new function that takes no time."""
    function = world.aws.functions[BILL] = FakeTarget(FunctionPlan(duration_in_seconds=(0, 0)))
    return function


async def delivered(world: World, text: str, expected: Sequence[str]) -> None:
    """Run the daemon once; it must deliver exactly these records, in this order."""
    function = new_function(world)
    async with world.daemon(text) as daemon:
        await daemon.until_logged("mapping_ready")
        await world.watch.until(lambda: set(expected) <= set(ids_of(function.calls)))
        assert await daemon.stop() == 0
    assert list(ids_of(function.calls)) == list(expected)


async def run(world: World, *arguments: str) -> Result:
    """Run a command in the test's process, not in the daemon's."""
    invoke = partial(CliRunner().invoke, app, [*arguments, "--config", str(world.folder / "poller.toml")])
    return await anyio.to_thread.run_sync(invoke)


async def shown(world: World) -> list[dict[str, Any]]:
    ended = await run(world, "state", "show", "--json")
    assert (ended.exit_code, ended.stderr) == (0, "")
    shards: list[dict[str, Any]] = json.loads(ended.stdout)["mappings"][0]["shards"]
    return shards


@pytest.mark.parametrize("kind", [Clicks, Users])
async def test_the_next_start_continues_at_the_position_that_was_set(world: World, kind: type[Clicks | Users]) -> None:
    source = kind(world.aws, "events")
    text = mapping("events", source, BILL)
    first, second, third = source.put_all("k", "k", "k")
    await delivered(world, text, [first, second, third])
    await delivered_after_set(world, text, ["TRIM_HORIZON"], [first, second, third])
    await delivered_after_set(world, text, [second], [second, third])
    await delivered_after_set(world, text, [second, "--after"], [third])
    assert (await run(world, "state", "set", "events", "LATEST", "--yes")).exit_code == 0
    source.put("k")
    function = new_function(world)
    async with world.daemon(text) as daemon:
        await daemon.until_logged("mapping_ready")
        last = source.put("k")
        await world.watch.until(lambda: last in ids_of(function.calls))
        assert await daemon.stop() == 0
    assert list(ids_of(function.calls)) == [last], "what was written before the start is skipped"


async def delivered_after_set(world: World, text: str, position: Sequence[str], expected: Sequence[str]) -> None:
    ended = await run(world, "state", "set", "events", *position, "--yes")
    assert ended.exit_code == 0, ended.stderr
    await delivered(world, text, expected)


async def test_while_the_daemon_runs_its_state_can_be_shown_and_not_changed(world: World) -> None:
    clicks = Clicks(world.aws, "clicks")
    function = new_function(world)
    async with world.daemon(mapping("clicks", clicks, BILL)) as daemon:
        number = clicks.put("k")
        await world.watch.until(lambda: number in ids_of(function.calls))
        with anyio.fail_after(60):
            while (await shown(world))[0]["position"].get("sequence_number") != number:
                pass
        [shard] = await shown(world)
        assert shard["reader"] is not None
        assert 0 <= time.time() - shard["read_since"] < 120
        ended = await run(world, "state", "set", "clicks", "TRIM_HORIZON", "--yes")
        assert (ended.exit_code, ended.stdout) == (1, "")
        assert "the mapping clicks is not paused: pause it first" in ended.stderr
        assert await daemon.stop() == 0
    [shard] = await shown(world)
    assert shard["position"] == {"type": "AFTER_SEQUENCE_NUMBER", "sequence_number": number}
    assert shard["reader"] is None


async def test_a_paused_mapping_can_be_moved_while_the_daemon_runs(world: World) -> None:
    clicks = Clicks(world.aws, "clicks")
    function = new_function(world)
    async with world.daemon(mapping("clicks", clicks, BILL)) as daemon:
        first = clicks.put("k")
        await world.watch.until(lambda: first in ids_of(function.calls))
        assert (await run(world, "pause", "clicks")).exit_code == 0
        with anyio.fail_after(60):
            while (await shown(world))[0]["reader"] is not None:
                pass
        ended = await run(world, "state", "set", "clicks", "TRIM_HORIZON", "--yes")
        assert (ended.exit_code, ended.stderr) == (0, "")
        second = clicks.put("k")
        assert (await run(world, "resume", "clicks")).exit_code == 0
        await world.watch.until(lambda: second in ids_of(function.calls))
        assert await daemon.stop() == 0
    assert list(ids_of(function.calls)) == [first, first, second]


async def test_a_paused_mapping_is_moved_in_the_memory_of_the_daemon(world: World) -> None:
    world.state = "memory:"
    clicks = Clicks(world.aws, "clicks", shard_count=1)
    function = new_function(world)
    async with world.daemon(mapping("clicks", clicks, BILL)) as daemon:
        first = clicks.put("k")
        await world.watch.until(lambda: first in ids_of(function.calls))
        command = ["state", "set", "clicks", first]
        refused = await run(world, *command, "--yes")
        assert (refused.exit_code, "is not paused: pause it first" in refused.stderr) == (1, True)
        assert (await run(world, "pause", "clicks")).exit_code == 0
        refused = await run(world, *command)
        assert refused.exit_code == 1
        assert f"would continue at {first}." in refused.stdout
        assert "standard input is not a terminal; use --yes" in refused.stderr
        assert (
            "would continue at the first record that arrived at"
            in (await run(world, "state", "set", "clicks", "10m")).stdout
        )
        moved = await run(world, *command, "--yes", "--json")
        assert moved.exit_code == 0, moved.stderr
        position = {"type": "AT_SEQUENCE_NUMBER", "sequence_number": first}
        [shard] = clicks.shards
        assert json.loads(moved.stdout) == {"mapping": "clicks", "shard": shard.shard_id, "position": position}
        second = clicks.put("k")
        assert (await run(world, "resume", "clicks")).exit_code == 0
        await world.watch.until(lambda: second in ids_of(function.calls))
        made = await daemon.until_logged("change_made", change=f"move to {first}")
        assert await daemon.stop() == 0
    assert made["by"].startswith("uid ")
    assert list(ids_of(function.calls)) == [first, first, second]


@pytest.mark.parametrize("options", [(), ("--workers", "2")])
async def test_each_change_of_a_command_is_logged_by_the_daemon_or_by_the_command(
    world: World, options: tuple[str, ...]
) -> None:
    clicks = Clicks(world.aws, "clicks", shard_count=1)
    world.options = 'event_queue = "sqlite://events.db"'
    function = new_function(world)
    gone = event(time.time(), function=FunctionName("gone"))
    waiting = event(time.time(), function=FunctionName("later"), due_in=3600)
    with shared(world.folder / "events.db") as file:
        put(file, [gone, waiting])
    text = mapping("clicks", clicks, BILL) + '[functions.later]\nurl = "http://127.0.0.1:1"\n'
    move = ["state", "set", "clicks", "TRIM_HORIZON", "--yes"]
    async with world.daemon(text, *options) as daemon:
        first = clicks.put("k")
        await world.watch.until(lambda: first in ids_of(function.calls))
        assert (await run(world, "pause", "clicks")).exit_code == 0
        with anyio.fail_after(60):
            while (ended := await run(world, *move)).exit_code:
                assert "try again soon" in ended.stderr
        assert "change_made" not in ended.stderr, "the daemon logs the change"
        for one in (gone, waiting):
            dropped = await run(world, "events", "drop", one.function, one.request_id, "--yes")
            assert (dropped.exit_code, dropped.stdout) == (0, f"1 event of {one.function} dropped.\n")
        second = clicks.put("k")
        assert (await run(world, "resume", "clicks")).exit_code == 0
        await world.watch.until(lambda: second in ids_of(function.calls))
        assert await daemon.stop() == 0
    assert list(ids_of(function.calls)) == [first, first, second]
    [shard] = clicks.shards
    before = f"{shard.shard_id} after {first}"
    changes = [(line["change"], line.get("before")) for line in daemon.logged("change_made")]
    assert changes == [
        ("pause", "not paused"),
        ("move to TRIM_HORIZON", before),
        *[("drop of stuck or waiting events", "stuck or waiting")] * 2,
        ("resume", "paused"),
    ]
    by = {line["by"] for line in daemon.logged("change_made")}
    assert by == {f"uid {os.getuid()}, pid {os.getpid()}"}
    ended = await run(world, *move)
    made = json.loads(ended.stderr.splitlines()[-1])
    assert (made["event"], made["change"], made["mapping"]) == ("change_made", "move to TRIM_HORIZON", "clicks")
    assert made["by"] in by
    assert made["before"].startswith(f"{shard.shard_id} after {second}")


def asked(folder: Path, answer: bytes, *arguments: str) -> tuple[int, str]:
    """Run a command on a terminal with this answer; return the exit code and the text on the terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "poller", *arguments],
        env=environment(KEYS, TERM="xterm", COLUMNS="80"),
        cwd=folder,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        screen = b""
        while ASKED not in screen:
            assert select.select([ours], [], [], 30)[0], screen
            screen += os.read(ours, 1000)
        os.write(ours, answer)
        while True:
            try:
                screen += os.read(ours, 1000)
            except OSError:  # the other end is closed
                break
        code = process.wait(30)
    os.close(ours)
    return code, screen.decode()


async def test_a_change_asks_for_confirmation_and_no_is_the_default(world: World) -> None:
    clicks = Clicks(world.aws, "clicks")
    text = mapping("clicks", clicks, BILL)
    number = clicks.put("k")
    await delivered(world, text, [number])
    before = await shown(world)
    command = ["state", "set", "clicks", "TRIM_HORIZON"]
    for answer in (b"\n", b"n\n", b"\x04"):
        code, screen = await anyio.to_thread.run_sync(asked, world.folder, answer, *command)
        assert code == 1, screen
        assert await shown(world) == before
    code, screen = await anyio.to_thread.run_sync(asked, world.folder, b"y\n", *command)
    assert code == 0, screen
    assert f"after {number}" in screen
    assert "The function gets every record that the stream still has" in screen
    assert [shard["position"] for shard in await shown(world)] == [None]
