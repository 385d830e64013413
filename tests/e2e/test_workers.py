"""Do several worker processes behave as one daemon?"""

from __future__ import annotations

import os
import signal
import stat
from collections import Counter
from pathlib import Path

import anyio
import orjson
import pytest
from aiohttp import ClientSession, TCPConnector

from tests.e2e.harness import Daemon, World, descendants, ended_with, poller, until_gone
from tests.fakes.queue import FakeQueue
from tests.fakes.target import FakeTarget, FunctionPlan

pytestmark = pytest.mark.anyio

BILL = "arn:aws:lambda:eu-west-1:123456789012:function:bill"

PRINTING = """
import sys

def write(event, context):
    for record in event["Records"]:
        print(record["body"] * 2000)
        print("the end of", record["messageId"], file=sys.stderr)

def which(event, context):
    import os
    return os.getppid()
"""


@pytest.fixture
def world(world: World) -> World:
    world.state = f"sqlite://{world.folder}/poller.db"
    (world.folder / "printing.py").write_text(PRINTING)
    return world


def orders_of(queue: FakeQueue) -> str:
    return f"""
        [functions.bill]
        arn = "{BILL}"
        [mappings.orders]
        event_source_arn = "{queue.arn}"
        function_name = "bill"
    """


def writing(queue: FakeQueue) -> str:
    return f"""
        [functions.write]
        handler = "printing:write"
        [mappings.orders]
        event_source_arn = "{queue.arn}"
        function_name = "write"
        batch_size = 1
    """


async def all_ready(daemon: Daemon, mapping: str = "orders") -> dict[int, int]:
    """Wait until the mapping reads at each of two workers. Return the process ids of the workers."""
    for number in (1, 2):
        await daemon.until_logged("mapping_ready", mapping=mapping, worker=number)
    return pids(daemon)


def pids(daemon: Daemon) -> dict[int, int]:
    return {line["worker"]: line["pid"] for line in daemon.logged("worker_started")}


async def test_workers_share_a_queue_and_the_pages_show_all_of_them(world: World) -> None:
    orders = world.queue("orders")
    world.aws.functions[BILL] = FakeTarget(FunctionPlan(duration_in_seconds=(0, 0.02)))
    async with world.daemon(orders_of(orders), "--workers", "2", "--verbose") as daemon:
        started = await all_ready(daemon)
        await world.watch.until(lambda: world.aws.polls_waiting == 2)  # one of each worker, so both get messages
        ids = world.send(orders, *["{}"] * 300)
        await world.until_deleted(orders, 300)
        ready, status = await daemon.get("/readyz"), (await daemon.get("/api/status")).json()
        counters = await daemon.counters("orders")
        page, scaling = await daemon.get("/"), await daemon.get("/api/scaling/mappings/orders")
        printed = poller(world.folder, "status", "-c", "poller.toml")
        assert await daemon.stop() == 0
    assert (ready.status, page.status) == (200, 200)
    assert scaling.json() == {"seconds_to_catch_up": 0.0, "shards": 0, "messages_waiting": 0, "events_waiting": 0}
    assert counters == {"polled": 300, "filtered_out": 0, "invoked": 300, "failed": 0, "deleted": 300, "released": 0}
    assert status["mappings"]["orders"]["polls_in_flight"] >= 2, "each worker polls"
    assert {number: entry["pid"] for number, entry in status["workers"].items()} == {
        str(number): pid for number, pid in started.items()
    }
    assert "worker 2" in printed.stdout
    invoked = Counter(line["worker"] for line in daemon.logged("batch_invoked"))
    assert set(invoked) == {1, 2}
    assert len(ids) == sum(line["records"] for line in daemon.logged("batch_invoked"))
    assert [line["stage"] for line in daemon.logged("daemon_stopping", worker=2)] == ["draining", "stopped"]


async def test_a_worker_that_is_killed_is_started_again_and_no_counter_goes_down(world: World) -> None:
    orders = world.queue("orders", visibility_timeout_in_seconds=2)
    world.aws.functions[BILL] = FakeTarget(FunctionPlan(duration_in_seconds=(0, 0.02)))
    async with world.daemon(orders_of(orders), "--workers", "2", "--verbose") as daemon:
        before = await all_ready(daemon)
        world.send(orders, *["{}"] * 200)
        await world.watch.until(lambda: daemon.records("messages_deleted") == 200)
        seen = await daemon.counters("orders")
        os.kill(before[1], signal.SIGKILL)
        await daemon.until_logged("worker_ended", worker=1, exit_status=-9)
        ready_after_death = await daemon.get("/readyz")
        after_death = await daemon.counters("orders")
        world.send(orders, *["{}"] * 50)
        await world.watch.until(lambda: daemon.records("messages_deleted") == 250)
        await world.watch.until(lambda: len(daemon.logged("worker_started", worker=1)) == 2)
        await world.watch.until(lambda: len(daemon.logged("mapping_ready", worker=1)) == 2)
        after_restart = await daemon.counters("orders")
        metrics = (await daemon.get("/metrics")).text
        ready = await daemon.get("/readyz")
        assert await daemon.stop() == 0
    assert seen["deleted"] == 200
    assert after_death == seen
    assert after_restart["deleted"] == 250
    assert "poller_worker_restarts_total 1.0\n" in metrics
    assert ready_after_death.status == 503
    assert ready_after_death.json()["workers"]["1"]["state"] in ("ended", "starting"), "it is started again soon"
    assert ready.status == 200
    assert ready.json()["workers"]["1"]["restarts"] == 1
    assert pids(daemon)[2] == before[2], "the other worker runs on"


async def test_a_worker_that_is_stopped_alone_is_started_again_and_no_count_is_lost(world: World) -> None:
    orders = world.queue("orders")
    world.aws.functions[BILL] = FakeTarget(FunctionPlan(duration_in_seconds=(0, 0.02)))
    async with world.daemon(orders_of(orders), "--workers", "2", "--verbose") as daemon:
        before = await all_ready(daemon)
        world.send(orders, *["{}"] * 200)
        await world.until_deleted(orders, 100)
        os.kill(before[2], signal.SIGTERM)
        await daemon.until_logged("worker_ended", worker=2, exit_status=0)
        await world.watch.until(lambda: daemon.records("messages_deleted") == 200)
        await world.watch.until(lambda: len(daemon.logged("worker_started", worker=2)) == 2)
        counters = await daemon.counters("orders")
        assert await daemon.stop() == 0
    assert (counters["deleted"], counters["invoked"]) == (200, 200)


async def test_the_workers_and_their_functions_die_with_the_parent(world: World) -> None:
    orders = world.queue("orders")
    async with world.daemon(writing(orders), "--workers", "2") as daemon:
        started = await all_ready(daemon)
        world.send(orders, "a")
        await world.until_deleted(orders, 1)
        family = descendants(daemon.pid)
        assert len(family) >= 3, "two workers and a function"
        processes = ended_with(family)
        os.kill(started[2], signal.SIGSTOP)  # the system kills it nevertheless
        daemon.signal(signal.SIGKILL)
        await until_gone(processes)


async def test_the_log_lines_of_workers_are_not_mixed(world: World) -> None:
    """Each function writes lines that are longer than what a pipe takes at once; the harness parses every line."""
    orders = world.queue("orders")
    async with world.daemon(writing(orders), "--workers", "2") as daemon:
        await all_ready(daemon)
        await world.watch.until(lambda: world.aws.polls_waiting == 2)  # one of each worker, so both get messages
        world.send(orders, *["four"] * 60)
        await world.until_deleted(orders, 60)
        assert await daemon.stop() == 0
    lines = [line["line"] for line in daemon.logged("child_process_output", stream="stdout")]
    assert sum(map(len, lines)) == 60 * 8000
    assert {line["worker"] for line in daemon.log if line["event"] == "child_process_output"} == {1, 2}


async def test_a_reload_changes_all_workers_or_none_and_a_later_worker_reads_the_same_settings(world: World) -> None:
    orders, invoices = world.queue("orders"), world.queue("invoices")
    world.aws.functions[BILL] = FakeTarget()
    more = f"""
        [mappings.invoices]
        event_source_arn = "{invoices.arn}"
        function_name = "bill"
    """
    async with world.daemon(orders_of(orders), "--workers", "2") as daemon:
        before = await all_ready(daemon)
        world.write("[mappings.orders]\n")
        refused = poller(world.folder, "reload", "-c", "poller.toml")
        (world.folder / "poller.toml").write_text("")
        emptied = poller(world.folder, "reload", "-c", "poller.toml")
        os.kill(before[2], signal.SIGHUP)
        await daemon.until_logged("reloaded", worker=2)
        os.kill(before[1], signal.SIGKILL)
        await world.watch.until(lambda: len(daemon.logged("mapping_ready", mapping="orders", worker=1)) == 2)
        world.write(orders_of(orders) + more)
        done = poller(world.folder, "reload", "-c", "poller.toml", "--json")
        await all_ready(daemon, "invoices")
        world.write(orders_of(orders))
        daemon.signal(signal.SIGHUP)
        for number in (1, 2):
            await daemon.until_logged("reloaded", removed=["invoices"], worker=number)
        assert await daemon.stop() == 0
    assert refused.returncode == 1
    assert "function_name" in refused.stderr
    assert (emptied.returncode, "has no table" in emptied.stderr) == (1, True)
    assert ["worker" in line for line in daemon.logged("reload_refused")] == [False, False], "the parent refuses it"
    assert orjson.loads(done.stdout)["mappings"]["added"] == ["invoices"]


async def test_workers_that_start_again_after_a_reload_keep_events_in_the_file_of_the_start(world: World) -> None:
    orders = world.queue("orders")
    async with world.daemon(writing(orders), "--workers", "2") as daemon:
        before = await all_ready(daemon)
        world.options = f'event_queue = "sqlite://{world.folder}/other.db"'
        world.write(writing(orders))
        reloaded = poller(world.folder, "reload", "-c", "poller.toml", "--json")
        for pid in before.values():
            os.kill(pid, signal.SIGKILL)
        await world.watch.until(lambda: len(daemon.logged("mapping_ready")) == 4)
        invoked = poller(
            world.folder, "invoke", "write", "--event", "-c", "poller.toml", "--payload", '{"Records": []}'
        )
        assert await daemon.stop() == 0
    assert orjson.loads(reloaded.stdout)["needs_restart"] == ["daemon.event_queue"]
    assert invoked.returncode == 0
    assert (world.folder / "poller-events.db").exists()
    assert not (world.folder / "other.db").exists()


async def test_a_pause_holds_at_all_workers_also_at_one_that_is_started_later(world: World) -> None:
    orders = world.queue("orders")
    world.aws.functions[BILL] = FakeTarget()
    async with world.daemon(orders_of(orders), "--workers", "2") as daemon:
        before = await all_ready(daemon)
        paused = poller(world.folder, "pause", "orders", "-c", "poller.toml")
        os.kill(before[2], signal.SIGKILL)
        await world.watch.until(lambda: len(daemon.logged("worker_started", worker=2)) == 2)
        world.send(orders, "{}")
        status = (await daemon.get("/api/status")).json()
        resumed = poller(world.folder, "resume", "orders", "-c", "poller.toml")
        await world.until_deleted(orders, 1)
        unknown = poller(world.folder, "pause", "others", "-c", "poller.toml")
        assert await daemon.stop() == 0
    assert (paused.stdout, resumed.stdout) == ("orders is paused\n", "orders is not paused any more\n")
    assert status["mappings"]["orders"]["state"] == "paused"
    assert status["mappings"]["orders"]["polls_in_flight"] == 0
    assert unknown.stderr == "poller: there is no mapping others; did you mean orders?\n"


async def test_a_worker_that_hangs_is_named_and_makes_the_change_when_it_no_longer_hangs(world: World) -> None:
    orders, invoices = world.queue("orders"), world.queue("invoices")
    world.aws.functions[BILL] = FakeTarget()
    more = f"""
        [mappings.invoices]
        event_source_arn = "{invoices.arn}"
        function_name = "bill"
    """
    silent = "worker 2 did not answer within 5 s"
    hangs = f"{silent}; it makes the change when it answers again; the other workers have made the change"
    async with world.daemon(orders_of(orders), "--workers", "2") as daemon:
        workers = await all_ready(daemon)
        os.kill(workers[2], signal.SIGSTOP)
        paused = poller(world.folder, "pause", "orders", "-c", "poller.toml")
        scaling = await daemon.get("/api/scaling")
        world.write(orders_of(orders) + more)
        reloaded = poller(world.folder, "reload", "-c", "poller.toml")
        os.kill(workers[2], signal.SIGCONT)
        await all_ready(daemon, "invoices")
        await daemon.until_logged("mapping_paused_by_request", mapping="orders", worker=2)
        assert await daemon.stop() == 0
    assert (paused.returncode, paused.stderr) == (1, f"poller: {hangs}\n")
    assert (reloaded.returncode, reloaded.stderr) == (1, f"poller: {hangs}\n")
    assert (scaling.status, silent in scaling.text) == (503, True)
    changes = [(line["change"], line["incomplete"]) for line in daemon.logged("change_made")]
    assert changes == [("pause", hangs), ("reload", hangs)]


async def test_calls_of_the_api_reach_all_workers_and_poller_invoke_reaches_one(world: World) -> None:
    orders = world.queue("orders")
    world.aws.functions[BILL] = FakeTarget()
    world.options = 'api_listen = "127.0.0.1:0"'
    text = orders_of(orders) + '[functions.which]\nhandler = "printing:which"\n'
    path = "/2015-03-31/functions/which/invocations"
    answered: Counter[int] = Counter()
    async with world.daemon(text, "--workers", "2") as daemon:
        started = await all_ready(daemon)
        (line,) = daemon.logged("daemon_started")
        connector = TCPConnector(force_close=True)  # one connection for each call
        async with ClientSession(f"http://{line['api']}", connector=connector) as client:

            async def call() -> None:
                async with client.post(path, data=b"{}") as answer:
                    answered[int(await answer.read())] += 1

            with anyio.fail_after(60):
                while set(answered) != set(started.values()):
                    async with anyio.create_task_group() as tasks:
                        for _ in range(8):
                            tasks.start_soon(call)
        by_command = poller(world.folder, "invoke", "which", "-c", "poller.toml")
        assert await daemon.stop() == 0
    assert line["workers"] == 2
    assert int(by_command.stdout) in started.values()


def test_a_state_that_no_worker_can_use_ends_the_daemon_with_one_message(tmp_path: Path) -> None:
    (tmp_path / "poller.toml").write_text("")
    (tmp_path / "poller.db").write_text("no database" * 100)
    ended = poller(tmp_path, "run", "-c", "poller.toml", "--workers", "3")
    assert ended.returncode == 2
    assert ended.stderr.count("daemon.state = ") == 1


async def test_only_the_user_of_the_daemon_can_reach_a_worker(world: World) -> None:
    world.aws.functions[BILL] = FakeTarget()
    async with world.daemon(orders_of(world.queue("orders")), "--workers", "2") as daemon:
        started = await all_ready(daemon)
        command = await anyio.Path(f"/proc/{started[1]}/cmdline").read_bytes()
        folder = anyio.Path(orjson.loads(command.split(b"\0")[-2])["folder"])
        modes = {path.name: stat.S_IMODE((await path.stat()).st_mode) async for path in folder.iterdir()}
        assert stat.S_IMODE((await folder.stat()).st_mode) == 0o700
        assert await daemon.stop() == 0
        assert not await folder.exists()
    assert modes.keys() == {"1", "2", "lock", "settings.toml"}
    assert modes["1"] == modes["2"] == modes["settings.toml"] == 0o600
