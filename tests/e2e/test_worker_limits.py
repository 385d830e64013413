"""Do all worker processes together keep to the limits of functions and mappings, and does everything still run?"""

from __future__ import annotations

import os
import re
import signal
from typing import Any

import aiohttp
import anyio
import anyio.to_thread
import orjson
import pytest
from botocore.exceptions import ClientError

from poller.model.invocation import Answered, Invocation, Response
from tests.e2e.harness import Daemon, World
from tests.e2e.streams import Clicks, mapping
from tests.e2e.test_api import client_of
from tests.fakes.queue import FakeQueue
from tests.fakes.watch import Watch

pytestmark = pytest.mark.anyio

BILL = "arn:aws:lambda:eu-west-1:123456789012:function:bill"
SECONDS_OF_AN_INVOCATION = 0.03
SHARDS = 4


class CountingFunction:
    """A function that counts its invocations. `most` is the largest number that ran at once."""

    def __init__(self, watch: Watch) -> None:
        self.running = 0
        self.most = 0
        self.records: set[str] = set()
        self._watch = watch

    async def invoke(self, invocation: Invocation) -> Response:
        self.running += 1
        self.most = max(self.most, self.running)
        await anyio.sleep(SECONDS_OF_AN_INVOCATION)
        self.running -= 1
        for record in orjson.loads(invocation.payload)["Records"]:
            self.records.add(record["messageId"] if "messageId" in record else record["kinesis"]["sequenceNumber"])
        self._watch.ring()
        return Answered(b"null")


def queue_mapping(queue: FakeQueue, *options: str) -> str:
    lines = [f'event_source_arn = "{queue.arn}"', 'function_name = "bill"', "batch_size = 1", *options]
    return "\n".join(["[mappings.orders]", *lines, ""])


async def until_ready(daemon: Daemon, name: str) -> None:
    for number in (1, 2, 3):
        await daemon.until_logged("mapping_ready", worker=number, mapping=name)


@pytest.mark.parametrize("limit", [1, 3])
async def test_three_workers_run_no_more_invocations_than_the_functions_reserved_concurrency(
    world: World, limit: int
) -> None:
    """One of the workers is replaced in the middle."""
    world.state = f"sqlite://{world.folder}/poller.db"
    world.aws.functions[BILL] = function = CountingFunction(world.watch)
    queue, clicks = world.queue("orders"), Clicks(world.aws, "clicks", shard_count=SHARDS)
    text = f'[functions.bill]\narn = "{BILL}"\ntimeout_in_seconds = 1\nreserved_concurrency = {limit}\n'
    text += queue_mapping(queue) + mapping("clicks", clicks, "bill", "batch_size = 1")
    async with world.daemon(text, "--workers", "3") as daemon:
        for name in ("orders", "clicks"):
            await until_ready(daemon, name)
        expected = {*world.send(queue, *map(str, range(80))), *[clicks.put(f"key-{number}") for number in range(80)]}
        await world.watch.until(lambda: len(function.records) >= 20)
        os.kill(int(daemon.logged("worker_started", worker=1)[-1]["pid"]), signal.SIGTERM)
        await world.watch.until(lambda: function.records >= expected)
        assert await daemon.stop() == 0
    assert function.most == limit


async def test_three_workers_run_no_more_batches_than_the_mappings_maximum_concurrency(world: World) -> None:
    """Only two of the workers have a unit, so the third one does not poll this queue."""
    world.state = f"sqlite://{world.folder}/poller.db"
    world.aws.functions[BILL] = function = CountingFunction(world.watch)
    queue = world.queue("orders")
    text = f'[functions.bill]\narn = "{BILL}"\ntimeout_in_seconds = 1\n'
    text += queue_mapping(queue, "scaling_config = { maximum_concurrency = 2 }")
    async with world.daemon(text, "--workers", "3") as daemon:
        await until_ready(daemon, "orders")
        expected = {*world.send(queue, *map(str, range(100)))}
        await world.watch.until(lambda: function.records >= expected)
        assert await daemon.stop() == 0
    assert function.most == 2


NOTING = """
import os, time

def note(event, context):
    time.sleep(0.03)
    with open(os.environ["LEDGER"], "a") as ledger:
        ledger.write(f"{event}\\n")
"""

STREAMING_PATH = "/2021-11-15/functions/note/response-streaming-invocations"

THROTTLED = "TooManyRequestsException: ReservedFunctionConcurrentInvocationLimitExceeded"


async def answer_to(client: Any, payload: str, **options: Any) -> int | str:
    """Call the function. Return the status of the answer, or the code and the reason of AWS's error."""

    def call() -> int | str:
        try:
            return int(client.invoke(FunctionName="note", Payload=orjson.dumps(payload), **options)["StatusCode"])
        except ClientError as error:
            return f"{error.response['Error']['Code']}: {error.response.get('Reason')}"

    return await anyio.to_thread.run_sync(call)


async def called(client: Any, payload: str) -> None:
    """Call the function until the call is not refused any more, as a client of AWS does."""
    with anyio.fail_after(60):
        while (answer := await answer_to(client, payload)) != 200:
            assert answer == THROTTLED
            await anyio.sleep(0.2)


async def test_a_daemon_without_the_only_unit_refuses_calls_and_leaves_events_to_the_other_one(world: World) -> None:
    """Two daemons share a state and an event queue. A daemon that has refused a call asks for the unit, and gets it."""
    ledger = world.folder / "ledger"
    (world.folder / "other").mkdir()
    other = World(world.folder / "other", world.watch, world.aws)
    for each in (world, other):
        (each.folder / "noting.py").write_text(NOTING)
        each.state = f"sqlite://{world.folder}/poller.db"
        each.options = f"""
            event_queue = "sqlite://{world.folder}/events.db"
            api_listen = "127.0.0.1:0"
            api_keys = {{ AKID = "secret" }}
        """
    text = f"""
        [functions.note]
        handler = "noting:note"
        reserved_concurrency = 1
        environment = {{ LEDGER = "{ledger}" }}
    """
    events = [f"event {number}" for number in range(10)]
    async with world.daemon(text, "--verbose") as holder:
        at_holder = client_of((await holder.until_logged("daemon_started"))["api"])
        await called(at_holder, "at the holder")
        async with other.daemon(text, "--verbose") as daemon:
            client = client_of((await daemon.until_logged("daemon_started"))["api"])
            for event in events:
                assert await answer_to(client, event, InvocationType="Event") == 202
            await world.watch.until(lambda: len(holder.logged("event_invoked")) == len(events))
            assert await answer_to(client, "refused") == THROTTLED
            await called(client, "at the other one")
            assert await answer_to(at_holder, "refused") == THROTTLED
            assert await daemon.stop() == 0
        assert await holder.stop() == 0
    assert not daemon.logged("event_invoked")
    lines = ledger.read_text().splitlines()
    assert lines[0] == "at the holder"
    assert sorted(lines[1:-1]) == events
    assert lines[-1] == "at the other one"


async def calls_of(daemon: Daemon, outcome: str) -> int:
    """Return how many calls of the function had this outcome, at all workers."""
    series = rf'^poller_calls_total{{function="note",outcome="{outcome}"}} ([0-9.]+)$'
    found = re.search(series, (await daemon.get("/metrics")).text, re.MULTILINE)
    return 0 if found is None else int(float(found[1]))


async def test_a_call_runs_at_the_worker_that_has_the_only_unit_whichever_worker_accepts_it(world: World) -> None:
    """Each client has a connection of its own, and any of three workers may accept it."""
    ledger = world.folder / "ledger"
    (world.folder / "noting.py").write_text(NOTING)
    world.state = f"sqlite://{world.folder}/poller.db"
    world.options = 'api_listen = "127.0.0.1:0"'
    text = f"""
        [functions.note]
        handler = "noting:note"
        reserved_concurrency = 1
        environment = {{ LEDGER = "{ledger}" }}
    """
    async with world.daemon(text, "--workers", "3") as daemon:
        address = (await daemon.until_logged("daemon_started"))["api"]
        for number in (1, 2, 3):
            await daemon.until_logged("worker_started", worker=number)
        await called(client_of(address), "until there is a unit")
        refused = await calls_of(daemon, "throttled")
        connector = aiohttp.TCPConnector(force_close=True)
        async with aiohttp.ClientSession(f"http://{address}", connector=connector) as session:
            for path in ("/2015-03-31/functions/note/invocations", STREAMING_PATH):
                for number in range(15):
                    async with session.post(path, data=str(number)) as answer:
                        assert answer.status == 200, await answer.text()
        calls = await calls_of(daemon, "succeeded"), await calls_of(daemon, "throttled")
        assert await daemon.stop() == 0
    assert ledger.read_text().split("\n")[1:-1] == [str(number) for number in range(15)] * 2
    assert calls == (1 + 30, refused)
