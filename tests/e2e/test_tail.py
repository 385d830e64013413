"""Does `poller tail` show the records of a source beside a daemon, and change nothing?"""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys

import anyio.to_thread
import orjson
import pytest

from tests.e2e.harness import World, poller
from tests.e2e.streams import Clicks, Source, Users

pytestmark = pytest.mark.anyio

LAMBDA = "arn:aws:lambda:eu-west-1:123456789012:function:f"


def write(world: World, arn: str, options: str) -> None:
    world.write(f"""
        [mappings.m]
        event_source_arn = "{arn}"
        function_name = "{LAMBDA}"
        {options}
    """)


async def tail(world: World, *arguments: str) -> subprocess.CompletedProcess[str]:
    return await anyio.to_thread.run_sync(poller, world.folder, "tail", "m", *arguments)


@pytest.fixture(params=[Clicks, Users])
async def source(request: pytest.FixtureRequest, world: World) -> Source:
    source: Source = request.param(world.aws, "source")
    write(world, source.arn, f'starting_position = "TRIM_HORIZON"\nfilter_criteria.filters = {source.filters}')
    return source


async def test_a_tail_prints_the_records_that_match_the_filters_as_the_function_would_get_them(
    world: World, source: Source
) -> None:
    numbers = [source.put(), source.put(kind="skipped"), source.put(), source.put()]
    done = await tail(world, "--since", "TRIM_HORIZON", "--limit", "3", "--json")
    assert done.returncode == 0, done.stderr
    records = [orjson.loads(line) for line in done.stdout.splitlines()]
    assert [record["eventSourceARN"] for record in records] == [source.arn] * 3
    shown = [re.findall(r'"[sS]equenceNumber":"(\d+)"', line)[0] for line in done.stdout.splitlines()]
    assert shown == [numbers[0], *numbers[2:]]


async def test_a_tail_follows_a_stream_until_ctrl_c(world: World, source: Source) -> None:
    source.put()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "poller", "tail", "m"),
        env=world.environment,
        cwd=world.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        with anyio.fail_after(60):
            assert await process.stderr.readline() == b"poller: every shard is being read; Ctrl-C ends the command\n"
            number = source.put()
            head, body = (await process.stdout.readline()).decode(), (await process.stdout.readline()).decode()
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 0
            rest = await process.stdout.read(), await process.stderr.read()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert rest == (b"", b"")
    assert re.fullmatch(rf"\d{{4}}-\d\d-\d\dT[\d:.]+Z {source.shard_of(number)} {number}\n", head)
    assert '"plain"' in body


async def test_a_tail_ends_with_one_line_if_the_stream_does_not_exist(world: World) -> None:
    write(world, "arn:aws:kinesis:eu-west-1:123456789012:stream/nothing", 'starting_position = "LATEST"')
    done = await tail(world)
    assert done.returncode == 1
    assert done.stdout == ""
    assert re.fullmatch(r"poller: .*ResourceNotFound.*\n", done.stderr)


async def test_a_look_at_a_queue_shows_each_message_once_and_makes_all_visible_again(world: World) -> None:
    orders = world.queue("orders", visibility_timeout_in_seconds=3_600)
    world.send(orders, *[f'{{"number": {number}}}' for number in range(5)], '{"other": 1}')
    write(
        world, str(orders.arn), "filter_criteria.filters = [{ pattern = { body = { number = [{ exists = true }] } } }]"
    )
    done = await tail(world, "--peek", "--json")
    assert done.returncode == 0, done.stderr
    assert "receive count that is higher by one" in done.stderr
    bodies = [orjson.loads(orjson.loads(line)["body"])["number"] for line in done.stdout.splitlines()]
    assert sorted(bodies) == list(range(5))
    kinds = [entry.kind for entry in orders.history]
    assert kinds.count("received") == kinds.count("visibility_changed") == 6
    assert "deleted" not in kinds
    assert orders.counts(now=anyio.current_time()) == (6, 0, 0), "all are visible"


async def test_a_look_at_a_queue_receives_at_most_as_many_messages_as_its_limit(world: World) -> None:
    orders = world.queue("orders")
    world.send(orders, *map(str, range(30)))
    write(world, str(orders.arn), "")
    done = await tail(world, "--peek", "--limit", "12")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 24
    assert [entry.kind for entry in orders.history].count("received") == 12


@pytest.mark.parametrize(("name", "why"), [("orders.fifo", "FIFO queue"), ("orders", "redrive policy")])
async def test_a_look_is_refused_if_it_could_harm_a_delivery(world: World, name: str, why: str) -> None:
    orders = (
        world.queue(name)
        if name.endswith(".fifo")
        else world.queue(name, dead_letter_queue=world.queue("dead"), maximum_receive_count=5)
    )
    write(world, str(orders.arn), "")
    before = list(orders.history)
    done = await tail(world, "--peek")
    assert (done.returncode, done.stdout) == (1, "")
    assert why in done.stderr
    assert orders.history == before
