"""What happens when a running daemon reads its file again?"""

from __future__ import annotations

import html
import json
import os
import signal
import stat
from functools import partial

import anyio
import pytest
from aiohttp import ClientSession
from anyio import to_thread

from poller.model.invocation import Invocation, Response
from tests.e2e.harness import Daemon, World, poller
from tests.e2e.streams import Clicks, calls_of, instant
from tests.e2e.streams import mapping as stream_mapping
from tests.fakes.queue import FakeQueue
from tests.fakes.target import FakeTarget, FunctionPlan, ids_of
from tests.fakes.watch import Watch
from tests.simulation.checker import check_nothing_is_lost, check_one_batch_at_a_time, check_order

pytestmark = pytest.mark.anyio

AUDIT = "arn:aws:lambda:eu-west-1:123456789012:function:audit"
BILL = "arn:aws:lambda:eu-west-1:123456789012:function:bill"

HANDLER = """
import os

def handle(event, context):
    print("VERSION", [record["body"] for record in event["Records"]], os.environ.get("TOKEN"), flush=True)
"""


def everything(_: str) -> bool:
    return True


def has_reloaded(daemon: Daemon, times: int) -> bool:
    return len(daemon.logged("reloaded")) == times


def mapping(name: str, queue: FakeQueue, function: str = BILL, options: str = "") -> str:
    return f"""
        [mappings.{name}]
        event_source_arn = "{queue.arn}"
        function_name = "{function}"
        {options}
    """


async def reloaded(world: World, *options: str) -> dict[str, object]:
    """Run `poller reload --json` as another process, and return its answer."""
    command = partial(poller, world.folder, "reload", "-c", str(world.folder / "poller.toml"), "--json", *options)
    answer = await to_thread.run_sync(command)
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert isinstance(found, dict)
    return found


async def test_a_reload_changes_what_the_file_changes_and_nothing_else(world: World) -> None:
    world.aws.functions[BILL] = FakeTarget(FunctionPlan(duration_in_seconds=(0, 0)))
    kept, changed, old, new = (world.queue(name) for name in ("kept", "changed", "old", "new"))
    text = mapping("kept", kept) + mapping("changed", changed) + mapping("old", old)
    async with world.daemon(text) as daemon:
        for name in ("kept", "changed", "old"):
            await daemon.until_logged("mapping_ready", mapping=name)
        world.write(mapping("kept", kept) + mapping("changed", changed, options="batch_size = 1") + mapping("new", new))
        report = await reloaded(world)
        assert report["mappings"] == {"added": ["new"], "replaced": ["changed"], "removed": ["old"]}
        line = await daemon.until_logged("reloaded", level="info")
        assert (line["added"], line["replaced"], line["removed"]) == (["new"], ["changed"], ["old"])
        await daemon.until_logged("mapping_ready", mapping="new")
        assert len(daemon.logged("mapping_ready", mapping="kept")) == 1
        for queue in (kept, changed, new):
            world.send(queue, "a", "b")
            await world.until_deleted(queue, 2)
        ready = (await daemon.get("/readyz")).json()
        assert ready["mappings"].keys() == {"kept", "changed", "new"}
        assert 'mapping="old"' not in (await daemon.get("/metrics")).text
        assert await daemon.stop() == 0
    assert [entry.kind for entry in old.history if entry.kind == "received"] == []


async def test_a_sighup_reloads_and_a_faulty_file_changes_nothing(world: World) -> None:
    world.aws.functions[BILL] = FakeTarget(FunctionPlan(duration_in_seconds=(0, 0)))
    orders, returns = world.queue("orders"), world.queue("returns")
    async with world.daemon(mapping("orders", orders)) as daemon:
        await daemon.until_logged("mapping_ready", mapping="orders")
        file = world.write(
            mapping("orders", orders, options="batch_size = 0") + mapping("returns", returns, "no name!")
        )
        daemon.signal(signal.SIGHUP)
        refused = await daemon.until_logged("reload_refused", level="error")
        check = await to_thread.run_sync(partial(poller, world.folder, "check", "-c", str(file)))
        answer = await to_thread.run_sync(partial(poller, world.folder, "reload", "-c", str(file)))
        assert (answer.returncode, answer.stdout, answer.stderr) == (1, "", check.stderr)
        assert [check.stderr.splitlines()[0], *refused["faults"]] == check.stderr.splitlines()
        settings = html.unescape((await daemon.get("/settings")).text)
        assert "has faults now" in settings
        assert all(fault in settings for fault in refused["faults"])
        assert "[mappings.orders]" in settings
        assert "[mappings.returns]" not in settings
        file.write_text("")
        emptied = await to_thread.run_sync(partial(poller, world.folder, "reload", "-c", str(file)))
        assert (emptied.returncode, "has no table" in emptied.stderr) == (1, True)
        world.send(orders, "a")
        await world.until_deleted(orders, 1)
        world.write(mapping("orders", orders) + mapping("returns", returns))
        daemon.signal(signal.SIGHUP)
        await daemon.until_logged("mapping_ready", mapping="returns")
        assert "[mappings.returns]" in (await daemon.get("/settings")).text
        assert await daemon.stop() == 0


async def test_a_function_gets_its_new_code_by_a_reload_of_the_function_alone(world: World) -> None:
    """The new child process lacks a variable, because the file has begun to refer to it."""
    orders = world.queue("orders")
    world.environment["TOKEN"] = "t0ken"
    code = world.folder / "handlers.py"
    code.write_text(HANDLER.replace("VERSION", "one"))
    text = f"""
        [functions.store]
        handler = "handlers:handle"
        {mapping("orders", orders, "store")}
    """
    async with world.daemon(text) as daemon:
        world.send(orders, "a")
        await daemon.until_logged("child_process_output", line="one ['a'] t0ken")
        code.write_text(HANDLER.replace("VERSION", "second"))
        world.write(text + '[functions.audit]\nurl = "http://127.0.0.1:8080"\nheaders = { Token = "${TOKEN}" }\n')
        assert (await reloaded(world))["functions"] == {"added": ["audit"], "replaced": [], "removed": []}
        assert await reloaded(world, "--function", "store") == {"restarted": "store"}
        world.send(orders, "b")
        await daemon.until_logged("child_process_output", line="second ['b'] None")
        await daemon.until_logged("child_process_stopped", reason="reload", level="info")
        assert len(daemon.logged("mapping_ready")) == 1
        assert await daemon.stop() == 0


async def test_a_paused_mapping_receives_nothing_also_after_a_restart_until_it_is_resumed(world: World) -> None:
    world.state = "sqlite://poller.db"
    world.aws.functions[BILL] = FakeTarget(FunctionPlan(duration_in_seconds=(0, 0)))
    orders, others = world.queue("orders"), world.queue("others")
    text = mapping("orders", orders) + mapping("others", others)

    async def done(*command: str) -> str:
        arguments = (*command, "-c", str(world.folder / "poller.toml"))
        ended = await to_thread.run_sync(partial(poller, world.folder, *arguments))
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    async with world.daemon(text) as daemon:
        await daemon.until_logged("mapping_ready", mapping="orders")
        assert await done("pause", "orders") == "orders is paused\n"
        await daemon.until_logged("mapping_paused_by_request", mapping="orders")
        assert await daemon.stop() == 0
    async with world.daemon(text) as daemon:
        world.send(orders, "a")
        world.send(others, "b")
        await world.until_deleted(others, 1)
        shown = json.loads(await done("status", "--json"))["mappings"]
        assert (shown["orders"]["state"], shown["others"]["state"]) == ("paused", "ready")
        assert len(orders.message_ids) == 1
        assert await done("resume", "orders") == "orders is not paused any more\n"
        await world.until_deleted(orders, 1)
        assert await daemon.stop() == 0


async def test_a_changed_function_gets_new_child_processes_and_others_keep_theirs(world: World) -> None:
    orders, returns = world.queue("orders"), world.queue("returns")
    (world.folder / "handlers.py").write_text(HANDLER)

    def text(timeout: int) -> str:
        return f"""
            [functions.store]
            handler = "handlers:handle"
            timeout_in_seconds = {timeout}
            [functions.keep]
            handler = "handlers:handle"
            {mapping("orders", orders, "store")}
            {mapping("returns", returns, "keep")}
        """

    async with world.daemon(text(30)) as daemon:
        world.send(orders, "a")
        world.send(returns, "a")
        await world.until_deleted(orders, 1)
        await world.until_deleted(returns, 1)
        world.write(text(20))
        report = await reloaded(world)
        assert report["functions"] == {"added": [], "replaced": ["store"], "removed": []}
        world.send(orders, "b")
        world.send(returns, "b")
        await world.until_deleted(orders, 2)
        await world.until_deleted(returns, 2)
        assert await daemon.stop() == 0
    pids = {
        function: [line["pid"] for line in daemon.logged("child_process_output", function=function)]
        for function in ("store", "keep")
    }
    assert [len(pids["store"]), len(set(pids["store"]))] == [2, 2]
    assert [len(pids["keep"]), len(set(pids["keep"]))] == [2, 1]


async def test_only_the_daemons_user_can_open_the_control_socket_and_it_ends_with_the_daemon(world: World) -> None:
    world.state = "sqlite://poller.db"
    path = world.folder / "poller.db-control"
    async with world.daemon(mapping("orders", world.queue("orders"))) as daemon:
        await daemon.until_logged("daemon_started")
        assert stat.S_IMODE(path.lstat().st_mode) == 0o600
        assert (await reloaded(world))["needs_restart"] == []
        os.kill(daemon.pid, signal.SIGKILL)
        await daemon.ended()
    assert path.exists()
    answer = await to_thread.run_sync(partial(poller, world.folder, "reload"))
    assert answer.returncode == 1
    assert "no daemon listens at" in answer.stderr
    async with world.daemon(mapping("orders", world.queue("orders2"))) as daemon:
        await daemon.until_logged("daemon_started")
        assert (await reloaded(world))["needs_restart"] == []
        assert await daemon.stop() == 0
    assert not path.exists()
    assert not daemon.logged("control_socket_failed")


async def test_a_reload_after_a_change_of_the_state_reaches_the_daemon_and_names_what_needs_a_restart(
    world: World,
) -> None:
    world.state = "sqlite://poller.db"
    orders, returns = mapping("orders", world.queue("orders")), mapping("returns", world.queue("returns"))
    async with world.daemon(orders) as daemon:
        await daemon.until_logged("daemon_started")
        world.state = "sqlite://other.db"
        world.write(orders + returns)
        report = await reloaded(world)
        assert report["needs_restart"] == ["daemon.state", "daemon.event_queue"]
        assert report["mappings"] == {"added": ["returns"], "replaced": [], "removed": []}
        assert await daemon.stop() == 0


async def test_a_web_page_cannot_reload_and_a_program_can(world: World) -> None:
    async with world.daemon(mapping("orders", world.queue("orders"))) as daemon, ClientSession() as client:
        url = f"http://{(await daemon.until_logged('daemon_started'))['http']}/api/reload"
        async with client.post(url, headers={"Origin": "http://evil.example"}) as reply:
            assert reply.status == 403
        async with client.post(url) as reply:
            assert reply.status == 200
        assert await daemon.stop() == 0
    assert len(daemon.logged("reloaded")) == 1


async def test_reloads_under_load_lose_nothing_and_keep_the_order(world: World) -> None:
    """Each reload replaces one mapping, adds or removes a second, and leaves a third alone."""
    function = FakeTarget(FunctionPlan(duration_in_seconds=(0, 0.02)))
    world.aws.functions[BILL] = function
    queues = [world.queue(f"{name}.fifo", visibility_timeout_in_seconds=2) for name in ("changed", "coming", "kept")]
    changed, coming, kept = queues
    rounds, groups = 100, 5

    def text(turn: int) -> str:
        return (
            mapping("kept", kept)
            + mapping("changed", changed, options=f"scaling_config.maximum_concurrency = {2 + turn % 2}")
            + (mapping("coming", coming) if turn % 2 == 0 else "")
        )

    async with world.daemon(text(0)) as daemon:
        await daemon.until_logged("daemon_started")
        for turn in range(1, rounds + 1):
            for queue in queues:
                for number in range(20):
                    world.send(queue, f"{turn} {number}", group=f"g{number % groups}")
            world.write(text(turn))
            daemon.signal(signal.SIGHUP)
            await world.watch.until(partial(has_reloaded, daemon, turn))
        for queue in queues:
            await world.until_deleted(queue, 20 * rounds)
        assert len(daemon.logged("mapping_ready", mapping="kept")) == 1
        assert await daemon.stop() == 0
    for queue in queues:
        of_queue = [call for call in function.calls if call.mapping == queue.arn.resource.removesuffix(".fifo")]
        check_nothing_is_lost(queue, of_queue, everything)
        check_order(queue, of_queue, everything)
        check_one_batch_at_a_time(of_queue)


async def test_reloads_of_a_stream_lose_nothing_repeat_nothing_and_keep_the_order(world: World) -> None:
    """Each reload replaces one mapping.

    A second mapping, which no reload touches, reads the same shards for another function.
    """
    world.state = "sqlite://poller.db"
    clicks, rounds = Clicks(world.aws, "clicks", shard_count=2), 100
    bill, audit = (FakeTarget(FunctionPlan(duration_in_seconds=(0, 0.02))) for _ in range(2))
    world.aws.functions |= {BILL: bill, AUDIT: audit}

    def text(turn: int) -> str:
        changed = stream_mapping("changed", clicks, BILL, f"batch_size = {5 + turn % 2}", "parallelization_factor = 2")
        return changed + stream_mapping("kept", clicks, AUDIT)

    def has_all() -> bool:
        return all(set(ids_of(function.calls)) == set(clicks.kinds) for function in (bill, audit))

    async with world.daemon(text(0)) as daemon:
        for name in ("changed", "kept"):
            await daemon.until_logged("mapping_ready", mapping=name)
        for turn in range(1, rounds + 1):
            clicks.put_all(*(f"key-{number % 8}" for number in range(40)))
            world.write(text(turn))
            daemon.signal(signal.SIGHUP)
            await world.watch.until(partial(has_reloaded, daemon, turn))
        await world.watch.until(has_all)
        assert len(daemon.logged("mapping_ready", mapping="kept")) == 1
        assert await daemon.stop() == 0
    for function in (bill, audit):
        came = ids_of(function.calls)
        assert sorted(came) == sorted(clicks.kinds), "each once"
        for key in {key for _, _, key in clicks.puts}:
            of_key = [number for _, number, put in clicks.puts if put == key]
            assert [number for number in came if number in of_key] == of_key


async def test_a_mapping_that_gets_its_old_name_back_continues_there_without_a_warning(world: World) -> None:
    """The warning about the new name says so."""
    world.state = "sqlite://poller.db"
    clicks, function = Clicks(world.aws, "clicks"), instant()
    world.aws.functions[BILL] = function

    async def reload_with(name: str) -> object:
        world.write(stream_mapping(name, clicks, BILL))
        return (await reloaded(world))["warnings"]

    async with world.daemon(stream_mapping("clicks", clicks, BILL)) as daemon:
        first = clicks.put()
        await world.watch.until(lambda: ids_of(calls_of(function, "clicks")) == [first])
        assert await reload_with("views") == [
            "mappings.views: it begins at its starting_position, because the stored positions in its stream belong to "
            "the name clicks. To continue at them, name the mapping clicks again, and reload; or stop all daemons, "
            "free the new name with `poller state rename views OTHER`, and use `poller state rename clicks views`"
        ]
        await world.watch.until(lambda: ids_of(calls_of(function, "views")) == [first])
        assert await reload_with("clicks") == []
        second = clicks.put()
        await world.watch.until(lambda: ids_of(calls_of(function, "clicks")) == [first, second])
        assert await reload_with("views") == []
        await world.watch.until(lambda: ids_of(calls_of(function, "views")) == [first, second])
        assert len(daemon.logged("settings_warning")) == 1
        assert len(daemon.logged("mapping_begins_anew", mapping="views", former="clicks")) == 1
        assert len(daemon.logged("mapping_begins_anew")) == 1
        assert await daemon.stop() == 0


@pytest.mark.parametrize("options", [(), ("--workers", "2")])
async def test_commands_reach_a_daemon_whose_file_cannot_be_read_and_the_daemon_logs_why(
    world: World, options: tuple[str, ...]
) -> None:
    world.state = f"sqlite://{world.folder}/poller.db"
    world.aws.functions[BILL] = FakeTarget(FunctionPlan(duration_in_seconds=(0, 0)))
    text = mapping("orders", world.queue("orders"))

    async def asked(*arguments: str) -> str:
        done = await to_thread.run_sync(partial(poller, world.folder, *arguments))
        assert done.returncode == 0, done.stderr
        return done.stdout

    async def last_reload(daemon: Daemon) -> str:
        metrics = (await daemon.get("/metrics")).text
        return metrics.partition("\npoller_config_last_reload_successful ")[2].partition("\n")[0]

    async with world.daemon(text, *options) as daemon:
        await daemon.until_logged("mapping_ready", mapping="orders")
        file = world.folder / "poller.toml"
        file.write_bytes(b"[mappings.\xff")
        refused = await to_thread.run_sync(partial(poller, world.folder, "reload", "--json"))
        line = await daemon.until_logged("reload_refused")
        assert (refused.returncode, json.loads(refused.stdout)) == (1, {"faults": line["faults"]})
        assert await last_reload(daemon) == "0.0"
        assert await asked("pause", "orders") == "orders is paused\n"
        file.unlink()
        assert await asked("resume", "orders") == "orders is not paused any more\n"
        assert "orders" in await asked("status")
        world.write(text)
        assert await asked("reload") == "nothing has changed\n"
        assert await last_reload(daemon) == "1.0"
        assert await daemon.stop() == 0


class HeldWhereSlow(FakeTarget):
    """A function whose invocation with a message `slow` waits until the test lets it end."""

    def __init__(self, watch: Watch) -> None:
        super().__init__(FunctionPlan(duration_in_seconds=(0, 0)))
        self.is_held = False
        self.let_go = anyio.Event()
        self._watch = watch

    async def invoke(self, invocation: Invocation) -> Response:
        if b'"slow"' in invocation.payload:
            self.is_held = True
            self._watch.ring()
            await self.let_go.wait()
        return await super().invoke(invocation)


async def test_an_invocation_that_outlasts_the_grace_delays_only_its_message_group(world: World) -> None:
    function = HeldWhereSlow(world.watch)
    world.aws.functions[BILL] = function
    orders = world.queue("orders.fifo")
    async with world.daemon(mapping("orders", orders), grace=0.2) as daemon:
        world.send(orders, "slow", group="a")
        await world.watch.until(lambda: function.is_held)
        world.write(mapping("orders", orders, options="batch_size = 2"), grace=0.2)
        daemon.signal(signal.SIGHUP)
        await daemon.until_logged("reloaded", replaced=["orders"])
        [behind] = world.send(orders, "behind", group="a")
        [beside] = world.send(orders, "beside", group="b")
        await world.until_deleted(orders, 1)
        assert [call.message_ids for call in function.calls] == [[beside]]
        function.let_go.set()
        await world.until_deleted(orders, 3)
        assert await daemon.stop() == 0
    assert [call.message_ids for call in function.calls][2] == [behind]
    check_one_batch_at_a_time(function.calls)
