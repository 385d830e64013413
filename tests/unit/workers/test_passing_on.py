"""How does the parent pass a change or an invocation on to the workers?"""

from __future__ import annotations

import io
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import orjson
import pytest
from aiohttp import ClientSession, UnixConnector, web
from anyio import to_thread
from prometheus_client import CollectorRegistry

from poller.admin.connections import Connections
from poller.admin.server import Pages, serve_control
from poller.core.backlog import Known, KnownDepth
from poller.engine.stop import Stop
from poller.errors import CannotChange, PartlyChanged, SettingsError
from poller.event_queues.rows import put
from poller.event_queues.schema import shared
from poller.facts import Fact, ReloadNotMade, ReloadRefused, SettingsWarning, WorkerNotChanged
from poller.http.request_body import read_body
from poller.model.backlog import Backlog, QueueDepth, UnknownBacklog
from poller.model.ids import FunctionName, MappingName
from poller.model.mapping import EventMapping
from poller.model.move import MoveOrder
from poller.model.order import ShardOrder
from poller.model.status import EventsStatus, MappingStatus
from poller.model.stream import SequenceNumber, ShardId
from poller.settings.in_use import InUse
from poller.settings.loading import examine
from poller.workers.calls import Invocations
from poller.workers.life import Life
from poller.workers.passing_on import NO_WORKER, STOPPING, Backlogs, Changes
from poller.workers.report import Report
from poller.workers.starting import received
from poller.workers.team import Team
from tests.fakes.changes import FakeChanges
from tests.fakes.events import event

pytestmark = pytest.mark.anyio

NEW = '[daemon]\nhttp_listen = "127.0.0.1:0"\nhttp_hosts = ["poller.internal"]\n'
READY = MappingStatus(MappingName("orders"), FunctionName("store"), "arn", "ready", None, 1, 0, 0, 8)
FAULTY = "[daemon]\nshutdown_grace_in_seconds = -1\n"
PATH = "/2015-03-31/functions/store/invocations"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class FakeFunction:
    """Answers each call of Lambda's API with the worker's name; a call waits until `go` is set."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.requests: list[tuple[str, dict[str, str], bytes | None]] = []
        self.is_asked = anyio.Event()
        self.go = anyio.Event()
        self.go.set()

    async def respond(self, request: web.Request, /, *, connections: Connections) -> web.StreamResponse:
        body = await read_body(request, maximum_bytes=10_000_000)
        self.requests.append((request.raw_path, dict(request.headers), body.content))
        self.is_asked.set()
        await self.go.wait()
        return web.Response(
            body=self.name.encode(), headers={"X-Amz-Function-Error": "Unhandled", "X-Amzn-RequestId": "8f3"}
        )


class FakeBacklogs:
    """Returns the same backlog for each question, and remembers the names that were asked for."""

    def __init__(self) -> None:
        self.known: Known | None = Backlog(2.5, 3, 40)
        self.asked: list[str] = []

    async def of_daemon(self) -> Known:
        assert self.known is not None
        return self.known

    async def of_mapping(self, name: str, /) -> Known | None:
        self.asked.append(f"mapping {name}")
        return self.known

    async def of_function(self, name: str, /) -> Known | None:
        self.asked.append(f"function {name}")
        return self.known

    async def depths(self) -> Mapping[MappingName, KnownDepth]:
        self.asked.append("depths")
        return {MappingName("a/b ü"): QueueDepth(1, 2, 3), MappingName("gone"): UnknownBacklog("no such queue")}


class Daemon:
    """A parent of two workers. What a worker is asked for stands in `workers` and `functions`, by its number."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "poller.toml"
        self.file.write_text("")
        self.folder = folder / "private"
        self.folder.mkdir()
        self.facts: list[Fact] = []
        self.stop = Stop()
        self.workers = {1: FakeChanges(), 2: FakeChanges()}
        self.backlogs = {number: FakeBacklogs() for number in self.workers}
        self.functions = {number: FakeFunction(f"worker {number}") for number in self.workers}
        self.team = Team(
            2,
            command=[],
            folder=self.folder,
            api_listeners=[],
            stop=self.stop,
            get_grace_in_seconds=lambda: 0.0,
            emit=self.facts.append,
        )
        self.changes = Changes(
            examine(self.file, {}),
            file=self.file,
            read=lambda: examine(self.file, {}),
            folder=self.folder,
            team=self.team,
            emit=self.facts.append,
            now=lambda: 1000.0 + len(self.asked(1)),
        )
        self.invocations = Invocations(self.folder, self.team)
        self.all_backlogs = Backlogs(self.folder, self.team)

    def asked(self, number: int) -> list[str | None]:
        return [what for what, _ in self.workers[number].asked]

    @property
    def copy(self) -> str:
        return (self.folder / "settings.toml").read_text()

    @property
    def handed(self) -> InUse:
        """Return the settings of a worker that starts now."""
        return received(io.BytesIO(self.team.settings))

    def start(self, number: int) -> None:
        worker = self.team.workers[number - 1]
        worker.settings_number = worker.settings_number or self.team.settings_number
        worker.life.started.set()
        worker.first_start_is_over.set()
        self.team.on_start(worker)

    @asynccontextmanager
    async def running(self, *numbers: int) -> AsyncIterator[None]:
        """Run these workers."""
        async with AsyncExitStack() as stack:
            for number in numbers:
                path, pages = self.folder / str(number), Pages(CollectorRegistry(), list, self.backlogs[number])
                server = serve_control(
                    [path],
                    pages,
                    changes=self.workers[number],
                    emit=lambda _: None,
                    invoke=self.functions[number].respond,
                )
                await stack.enter_async_context(server)
                self.start(number)
            yield


@pytest.fixture
async def daemon(anyio_backend: str, tmp_path: Path) -> AsyncIterator[Daemon]:
    daemon = Daemon(tmp_path)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(daemon.changes.run)
        await anyio.wait_all_tasks_blocked()
        yield daemon
        tasks.cancel_scope.cancel()


async def test_a_reload_reaches_all_workers_with_one_copy_of_the_file(daemon: Daemon) -> None:
    assert daemon.copy == ""
    async with daemon.running(1, 2):
        daemon.file.write_text(NEW)
        assert daemon.copy == ""
        answer = await daemon.changes.reload(settings=str(daemon.file))
    assert answer == dict(daemon.workers[1].report) | {"failed": {}}
    assert (daemon.asked(1), daemon.asked(2)) == ([None], [None])
    assert daemon.copy == daemon.changes.text_in_use.text == NEW
    assert daemon.changes.text_in_use.at_start.http_listen is None
    assert daemon.changes.in_use.daemon.http_hosts == ("poller.internal",)
    assert daemon.changes.status == (True, 1001.0)


def clicks(name: str, more: str = "") -> str:
    arn = f"arn:aws:kinesis:eu-west-1:123456789012:stream/{name}"
    options = f'event_source_arn = "{arn}"\nfunction_name = "bill"\nstarting_position = "LATEST"\n{more}'
    return f"[mappings.{name}]\n{options}\n"


@pytest.mark.parametrize(
    "option",
    [
        'state = "sqlite:///elsewhere/other.db"',
        'event_queue = "sqlite:///elsewhere/other.db"',
        "event_queue_maximum_bytes = 20000000",
        'worker = "green"',
        'http_listen = "127.0.0.1:9464"',
        'api_listen = "127.0.0.1:9465"',
        'log_format = "console"',
    ],
)
async def test_a_worker_that_starts_after_a_reload_has_the_options_of_the_start_and_the_mappings_of_the_reload(
    daemon: Daemon, option: str
) -> None:
    first = daemon.handed
    assert first == InUse.of(examine(daemon.file, {}))
    async with daemon.running(1, 2):
        daemon.file.write_text(clicks("gone"))
        await daemon.changes.reload(settings=None)
        text = f"[daemon]\nshutdown_grace_in_seconds = 5\n{option}\n{clicks('clicks')}"
        daemon.file.write_text(text)
        await daemon.changes.reload(settings=None)
    settings, handed_text = daemon.handed
    assert settings.daemon == replace(first.settings.daemon, shutdown_grace_in_seconds=5)
    assert daemon.changes.in_use.daemon == settings.daemon
    assert [mapping.name for mapping in settings.mappings] == ["clicks"]
    assert handed_text == text
    assert daemon.copy == text, "each worker finds out what needs a restart"
    assert daemon.changes.text_in_use.at_start == settings.daemon


async def test_a_worker_that_starts_again_has_the_region_of_the_last_reload_and_the_tables_of_the_start(
    daemon: Daemon,
) -> None:
    async with daemon.running(1, 2):
        for region in ("eu-south-1", "eu-north-1"):
            daemon.file.write_text(f'[daemon]\nregion = "{region}"\n')
            await daemon.changes.reload(settings=None)
    options = daemon.handed.settings.daemon
    assert (options.region, options.tables_at.region) == ("eu-north-1", None)


async def test_a_function_has_the_same_arn_in_a_worker_that_starts_after_several_reloads(daemon: Daemon) -> None:
    """Its mapping goes, and comes back with another region: the function runs on, so it keeps its ARN."""
    function = '[functions.bill]\nurl = "http://127.0.0.1:1/"\n'
    elsewhere = clicks("clicks").replace("eu-west-1", "eu-north-1")
    async with daemon.running(1, 2):
        for text in (function + clicks("clicks"), function, function + elsewhere):
            daemon.file.write_text(text)
            await daemon.changes.reload(settings=None)
    (bill,) = daemon.handed.settings.functions.values()
    assert bill.arn.region == "eu-west-1"


async def test_a_link_that_leads_to_another_folder_changes_no_state(daemon: Daemon, tmp_path: Path) -> None:
    """The state is beside the file."""
    (tmp_path / "release").mkdir()
    (tmp_path / "release" / "poller.toml").write_text(clicks("clicks"))
    daemon.file.unlink()
    daemon.file.symlink_to("release/poller.toml")
    async with daemon.running(1, 2):
        await daemon.changes.reload(settings=None)
    assert daemon.handed.settings.daemon.state == f"sqlite://{tmp_path}/poller.db"
    assert [mapping.name for mapping in daemon.handed.settings.mappings] == ["clicks"]


async def test_no_worker_reloads_a_file_with_another_table_of_kcl(daemon: Daemon) -> None:
    async with daemon.running(1, 2):
        daemon.file.write_text(clicks("clicks", 'kcl_table = "readers"'))
        await daemon.changes.reload(settings=None)
        before, number = daemon.copy, daemon.team.settings_number
        daemon.file.write_text(clicks("clicks", 'kcl_table = "others"') + clicks("new"))
        with pytest.raises(SettingsError, match=r"^mappings\.clicks\.kcl_table: has changed, so the daemon must be"):
            await daemon.changes.reload(settings=None)
    assert daemon.asked(1) == daemon.asked(2) == [None]
    (mapping,) = daemon.handed.settings.stream_mappings
    assert (mapping.name, mapping.kcl_table) == ("clicks", "readers")
    assert (daemon.copy, daemon.team.settings_number) == (before, number)
    assert [type(fact) for fact in daemon.facts] == [ReloadRefused]


async def test_a_worker_that_starts_again_knows_the_tables_of_kcl_of_mappings_that_a_reload_has_removed(
    daemon: Daemon,
) -> None:
    async with daemon.running(1, 2):
        for text in (clicks("clicks", 'kcl_table = "readers"'), clicks("new")):
            daemon.file.write_text(text)
            await daemon.changes.reload(settings=None)
        daemon.file.write_text(clicks("clicks", 'kcl_table = "others"'))
        with pytest.raises(SettingsError, match=r"^mappings\.clicks\.kcl_table: has changed, so the daemon must be"):
            await daemon.changes.reload(settings=None)
    assert daemon.handed.settings.kcl_tables == {"clicks": "readers", "new": None}


async def test_no_worker_is_asked_to_read_a_faulty_file(daemon: Daemon) -> None:
    async with daemon.running(1, 2):
        daemon.file.write_text(FAULTY)
        with pytest.raises(SettingsError, match="shutdown_grace_in_seconds"):
            await daemon.changes.reload(settings=None)
    assert daemon.asked(1) == daemon.asked(2) == []
    assert daemon.copy == ""
    assert daemon.changes.status == (False, 1000.0)
    assert [type(fact) for fact in daemon.facts] == [ReloadRefused]


async def test_a_new_warning_is_logged_once(daemon: Daemon) -> None:
    async with daemon.running(1, 2):
        daemon.file.write_text('[functions.store]\nurl = "http://127.0.0.1:1/"\n')
        for _ in range(2):
            await daemon.changes.reload(settings=None)
    assert daemon.facts == [SettingsWarning("functions.store: no mapping uses it")]


async def test_the_answer_names_a_worker_that_refused(daemon: Daemon) -> None:
    daemon.workers[2].error = CannotChange("the disk is full")
    async with daemon.running(1, 2):
        with pytest.raises(CannotChange, match=r"^worker 2: the disk is full; the other workers have made the change$"):
            await daemon.changes.reload(settings=None)
        assert daemon.changes.status == (False, 1000.0)
        with pytest.raises(CannotChange, match=r"^worker 2: the disk is full"):
            await daemon.changes.pause("orders", settings=None)
    assert daemon.asked(1) == [None, "pause orders"]


async def test_a_reason_that_all_workers_have_is_given_once(daemon: Daemon) -> None:
    for worker in daemon.workers.values():
        worker.error = CannotChange("there is no mapping orders; there are none")
    async with daemon.running(1, 2):
        with pytest.raises(CannotChange, match=r"^there is no mapping orders; there are none$"):
            await daemon.changes.resume("orders", settings=None)


async def test_a_mapping_that_one_worker_could_not_change_is_named_with_the_worker(daemon: Daemon) -> None:
    for number, failed in ((1, ("orders", "clicks", "store:events")), (2, ("clicks",))):
        made = [name for name in ("returns", "orders", "clicks") if name not in failed]
        daemon.workers[number].report = {
            "failed": dict.fromkeys(failed, "gone"),
            "mappings": {"replaced": made},
            "events": {"replaced": ["store", "resize"] if number == 2 else ["resize"]},
            "warnings": ["this worker has the longest answer, whose changes are shown"] * (number == 2),
        }
    async with daemon.running(1, 2):
        answer = await daemon.changes.reload(settings=None)
    assert answer["failed"] == {"orders": "worker 1: gone", "clicks": "gone", "store:events": "worker 1: gone"}
    assert answer["mappings"] == {"replaced": ["returns"]}
    assert answer["events"] == {"replaced": ["resize"]}
    assert daemon.changes.status == (False, 1000.0)


@pytest.mark.parametrize(
    ("change", "asked"),
    [
        (lambda changes, file: changes.pause("orders", settings=file), "pause orders"),
        (lambda changes, file: changes.resume("orders", settings=file), "resume orders"),
        (lambda changes, file: changes.restart_function("store", settings=file), "store"),
        (lambda changes, file: changes.reload(settings=file), None),
    ],
    ids=["pause", "resume", "restart", "reload"],
)
async def test_each_change_reaches_all_workers_unless_another_file_is_meant(
    daemon: Daemon, change: Any, asked: str | None
) -> None:
    async with daemon.running(1, 2):
        with pytest.raises(CannotChange, match="not /another"):
            await change(daemon.changes, "/another")
        assert await change(daemon.changes, str(daemon.file))
        daemon.stop.begin()
        with pytest.raises(CannotChange, match=STOPPING):
            await change(daemon.changes, None)
    assert (daemon.asked(1), daemon.asked(2)) == ([asked], [asked])


ORDER = ShardOrder("bisect", ShardId("shard-1"), SequenceNumber("1"), None)


async def test_an_order_is_executed_by_the_worker_that_reads_the_shard(daemon: Daemon) -> None:
    daemon.workers[1].error = CannotChange("the shard is not blocked")
    daemon.workers[2].report = {
        "mapping": "clicks",
        "action": "bisect",
        "records": 2,
        "reason": "KeyError",
        "blocked_since": "then",
    }
    async with daemon.running(1, 2):
        assert await daemon.changes.order("clicks", ORDER, settings=None) == daemon.workers[2].report
        assert daemon.workers[2].orders == [ORDER]
        daemon.workers[2].error = CannotChange("the shard is blocked by other records")
        with pytest.raises(CannotChange, match=r"^worker 1: the shard is not .*; worker 2: the shard is blocked by"):
            await daemon.changes.order("clicks", ORDER, settings=None)
        with pytest.raises(CannotChange, match="not /another"):
            await daemon.changes.order("clicks", ORDER, settings="/another")
        daemon.stop.begin()
        with pytest.raises(CannotChange, match=STOPPING):
            await daemon.changes.order("clicks", ORDER, settings=None)


MOVED = {
    "mapping": "clicks",
    "shard": "shard",
    "before": "shard after 5",
    "position": "after 7",
    "effect": "skipped",
    "version": "v1",
    "is_made": True,
}


async def test_positions_are_shown_and_moved_by_the_worker_that_has_reported_last(daemon: Daemon) -> None:
    order = MoveOrder("7", ShardId("shard"), is_after=True, only_shows=False, version="v1")
    with pytest.raises(CannotChange, match=NO_WORKER):
        await daemon.changes.positions("clicks")
    async with daemon.running(1, 2):
        daemon.team.workers[1].life.reported_at = 10.0
        daemon.workers[2].report = MOVED
        assert await daemon.changes.move("clicks", order, settings=None) == MOVED
        assert daemon.workers[2].moves == [order]
        daemon.workers[2].report = {"mapping": "cli&cks/é"}
        assert await daemon.changes.positions("cli&cks/é") == {"mapping": "cli&cks/é"}
        assert daemon.asked(2) == ["move clicks", "positions cli&cks/é"]
        assert daemon.asked(1) == []
        daemon.workers[2].error = CannotChange("the mapping clicks is not paused: pause it first")
        with pytest.raises(CannotChange, match=r"^the mapping clicks is not paused: pause it first$"):
            await daemon.changes.move("clicks", order, settings=None)
        with pytest.raises(CannotChange, match="not /another"):
            await daemon.changes.move("clicks", order, settings="/another")
        daemon.stop.begin()
        with pytest.raises(CannotChange, match=STOPPING):
            await daemon.changes.move("clicks", order, settings=None)


async def test_the_parent_changes_stuck_events_in_the_file_that_all_workers_share(daemon: Daemon) -> None:
    """That is the file of the start, whatever a reload has read."""
    path = Path(str(daemon.changes.in_use.daemon.event_queue).removeprefix("sqlite://"))
    daemon.file.write_text('[daemon]\nevent_queue = "sqlite://new.db"\n[functions.resize]\nhandler = "f:handler"\n')
    async with daemon.running(1, 2):
        await daemon.changes.reload(settings=None)
    with shared(path) as file:
        put(file, [event(1000.0, stuck="NotFound"), event(1000.0)])
    report = await daemon.changes.stuck_events("resize")
    assert report["total"] == 1
    with pytest.raises(CannotChange, match="not /another"):
        await daemon.changes.change_events("resize", "drop", None, settings="/another")
    [one] = report["events"]
    answer = await daemon.changes.change_events("resize", "drop", one["request_id"], settings=None)
    assert answer["events"] == 1
    assert (await daemon.changes.stuck_events("resize"))["total"] == 0
    answer = await daemon.changes.change_events("resize", "drop", None, drops_waiting=True, settings=None)
    assert answer["events"] == 1


@contextmanager
def hung(daemon: Daemon, number: int) -> Iterator[socket.socket]:
    """Let a worker hang: the kernel accepts connections for it, and nobody answers. Yields its socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(daemon.folder / str(number)))
        listener.listen()
        listener.settimeout(30.0)
        daemon.start(number)
        yield listener


REPORT: Mapping[str, Any] = {"mappings": {}, "failed": {}}


def next_request(listener: socket.socket, report: Mapping[str, Any] | None = None) -> bytes:
    """Return the first line of the next request. Without a report, leave the client without an answer."""
    connection, _ = listener.accept()
    return answer(connection, report)


def answer(connection: socket.socket, report: Mapping[str, Any] | None) -> bytes:
    with connection:
        request = connection.recv(65536)
        if report is not None:
            body = orjson.dumps(report)
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
        return request.partition(b"\r\n")[0]


@pytest.mark.slow
async def test_a_worker_that_hangs_is_named_and_delays_no_answer(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("poller.workers.asking.LONGEST_WAIT_IN_SECONDS", 1.0)
    hangs = "worker 2 did not answer within 1 s"
    why, later = f"{hangs}, so it did not get the request", f"{hangs}; it makes the change when it answers again"
    order = ShardOrder("retry", ShardId("shard"), SequenceNumber("1"), SequenceNumber("2"))
    daemon.workers[1].report = {"was_paused": False, "reason": "KeyError", "blocked_since": "", "records": 2}
    async with daemon.running(1):
        with hung(daemon, 2):
            assert await daemon.all_backlogs.of_daemon() == UnknownBacklog(why)
            with pytest.raises(PartlyChanged, match=rf"^{later}; the other workers have made the change$") as partly:
                await daemon.changes.pause("orders", settings=None)
            assert partly.value.answer == daemon.workers[1].report
            assert daemon.asked(1) == ["pause orders"], "the other worker has made the change"
            with pytest.raises(PartlyChanged, match=rf"^{later}; the other workers have made the change$"):
                await daemon.changes.resume("orders", settings=None)
            with pytest.raises(PartlyChanged, match=rf"^{why}; the other workers have made the change$"):
                await daemon.changes.restart_function("store", settings=None)
            assert await daemon.changes.order("clicks", order, settings=None) == daemon.workers[1].report
            daemon.workers[1].error = CannotChange("nothing blocks the shard")
            with pytest.raises(CannotChange, match=rf"^worker 1: nothing blocks the shard; {why}$") as none:
                await daemon.changes.order("clicks", order, settings=None)
            assert not isinstance(none.value, PartlyChanged)
            with pytest.raises(CannotChange, match=rf"; {why}$"):
                await daemon.changes.pause("orders", settings=None)  # no worker has stored the pause


@pytest.mark.slow
async def test_the_only_worker_that_was_asked_is_named_if_it_hangs(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("poller.workers.asking.LONGEST_WAIT_IN_SECONDS", 0.2)
    why = "worker 2 did not answer within 0.2 s, so it did not get the request"
    with hung(daemon, 2), pytest.raises(CannotChange, match=rf"^{why}$"):
        await daemon.changes.positions("clicks")


@pytest.mark.slow
async def test_a_worker_that_hangs_is_asked_to_reload_as_soon_as_it_no_longer_does(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("poller.workers.asking.LONGEST_WAIT_IN_SECONDS", 1.0)
    async with daemon.running(1):
        with hung(daemon, 2) as socket_of_2:
            with pytest.raises(CannotChange, match=r"^worker 2 did not answer"):
                await daemon.changes.reload(settings=None)
            assert daemon.asked(1) == [None]
            assert not daemon.changes.status.was_successful
            asked = [await to_thread.run_sync(next_request, socket_of_2) for _ in range(2)]
            assert asked == [b"GET /healthz HTTP/1.1", b"POST /api/reload HTTP/1.1"]
        with anyio.fail_after(10):
            while len(daemon.facts) < 2:
                await anyio.lowlevel.checkpoint()
    hangs = "worker 2 did not answer within 1 s; it makes the change when it answers again"
    why = f"{hangs}; the other workers have made the change"
    assert daemon.facts == [
        ReloadNotMade(settings=str(daemon.file), why=why),
        WorkerNotChanged(worker=2, detail="it ended before it answered"),
    ]
    assert not daemon.changes.status.was_successful


@pytest.mark.slow
async def test_a_reload_is_successful_once_the_worker_that_hung_has_made_it(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("poller.workers.asking.LONGEST_WAIT_IN_SECONDS", 1.0)
    async with daemon.running(1):
        with hung(daemon, 2) as socket_of_2:
            with pytest.raises(CannotChange):
                await daemon.changes.reload(settings=None)
            await to_thread.run_sync(next_request, socket_of_2)
            assert daemon.changes.status == (False, 1000.0)
            await to_thread.run_sync(next_request, socket_of_2, REPORT)
            with anyio.fail_after(10):
                while not daemon.changes.status.was_successful:
                    await anyio.lowlevel.checkpoint()
    assert daemon.changes.status == (True, 1001.0)
    assert [type(fact) for fact in daemon.facts] == [ReloadNotMade]


@pytest.mark.slow
async def test_while_a_worker_hangs_other_reloads_go_on_and_it_reloads_once_with_the_newest_file(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("poller.workers.asking.LONGEST_WAIT_IN_SECONDS", 1.0)
    async with daemon.running(1):
        with hung(daemon, 2) as socket_of_2:
            with pytest.raises(CannotChange):
                await daemon.changes.reload(settings=None)
            asked = [await to_thread.run_sync(next_request, socket_of_2)]
            late, _ = await to_thread.run_sync(socket_of_2.accept)
            daemon.changes.reload_soon()
            with anyio.fail_after(30):
                while len(daemon.facts) < 2:
                    await anyio.lowlevel.checkpoint()
            assert [type(fact) for fact in daemon.facts] == [ReloadNotMade, ReloadNotMade]
            assert daemon.asked(1) == [None, None]
            asked += [await to_thread.run_sync(next_request, socket_of_2)]
            assert asked == [b"GET /healthz HTTP/1.1"] * 2
            await anyio.wait_all_tasks_blocked()
            socket_of_2.settimeout(0.0)
            with pytest.raises(BlockingIOError):  # no second request to reload waits beside the first one
                socket_of_2.accept()
            socket_of_2.settimeout(30.0)
            await to_thread.run_sync(answer, late, REPORT)
            asked = [await to_thread.run_sync(next_request, socket_of_2, REPORT)]
            assert asked == [b"POST /api/reload HTTP/1.1"], "the file has changed while the worker hung"
            with anyio.fail_after(10):
                while not daemon.changes.status.was_successful:
                    await anyio.lowlevel.checkpoint()


async def test_a_worker_that_starts_again_has_read_the_file_that_its_former_process_did_not_use(
    daemon: Daemon,
) -> None:
    daemon.workers[2].error = CannotChange("no")
    async with daemon.running(1, 2):
        with pytest.raises(CannotChange):
            await daemon.changes.reload(settings=None)
        daemon.team.workers[1].settings_number = daemon.team.settings_number
        daemon.start(2)
        assert daemon.changes.status == (True, 1001.0)
        with pytest.raises(CannotChange):
            await daemon.changes.pause("orders", settings=None)
        daemon.start(2)
        assert daemon.changes.status == (True, 1001.0), "the time of the reload does not move"
        daemon.file.write_text(FAULTY)
        with pytest.raises(SettingsError):
            await daemon.changes.reload(settings=None)
        daemon.start(2)
        assert daemon.changes.status == (False, 1001.0)


@pytest.mark.slow
async def test_the_end_of_a_process_that_hung_says_nothing_about_the_next_process(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("poller.workers.asking.LONGEST_WAIT_IN_SECONDS", 1.0)
    async with daemon.running(1):
        with hung(daemon, 2) as socket_of_2:
            with pytest.raises(CannotChange):
                await daemon.changes.reload(settings=None)
            await to_thread.run_sync(next_request, socket_of_2)
            worker = daemon.team.workers[1]
            worker.life, worker.settings_number = Life(), daemon.team.settings_number
            daemon.start(2)
            assert daemon.changes.status.was_successful
            await to_thread.run_sync(next_request, socket_of_2)
        with anyio.fail_after(10):
            while daemon.changes._late:
                await anyio.lowlevel.checkpoint()
    assert daemon.changes.status.was_successful
    assert [type(fact) for fact in daemon.facts] == [ReloadNotMade]


async def test_the_mappings_that_a_worker_failed_to_replace_are_noted_until_it_replaces_them(daemon: Daemon) -> None:
    daemon.workers[2].report = {
        "mappings": {"replaced": ["clicks"]},
        "events": {"replaced": []},
        "failed": {"orders": "gone", "new": "gone", "store:events": "gone"},
    }
    for number, names in ((1, ("orders", "clicks", "new")), (2, ("orders", "clicks"))):
        statuses = [READY._replace(mapping=MappingName(name)) for name in names]
        events = READY._replace(mapping=EventMapping.named(READY.function), events=EventsStatus())
        daemon.team.workers[number - 1].life.report = Report(0, [*statuses, events], [], {})
    async with daemon.running(1, 2):
        await daemon.changes.reload(settings=None)
        assert daemon.changes.text_in_use.not_replaced == ["orders"]
        daemon.workers[2].report = daemon.workers[1].report
        await daemon.changes.reload(settings=None)
        assert daemon.changes.text_in_use.not_replaced == []


async def test_the_backlogs_of_all_workers_are_one_backlog(daemon: Daemon) -> None:
    daemon.backlogs[2].known = Backlog(1.5, 4, 41)
    async with daemon.running(1, 2):
        assert await daemon.all_backlogs.of_daemon() == Backlog(2.5, 7, 41)
        assert await daemon.all_backlogs.of_mapping("a/b ü") == Backlog(2.5, 7, 41)
        assert await daemon.all_backlogs.of_function("store") == Backlog(2.5, 7, 41)
    assert daemon.backlogs[1].asked == daemon.backlogs[2].asked == ["mapping a/b ü", "function store"]


async def test_the_worker_that_has_reported_last_asks_the_queues_for_all(daemon: Daemon) -> None:
    assert await daemon.all_backlogs.depths() == {}
    async with daemon.running(1, 2):
        daemon.team.workers[1].life.reported_at = 10.0
        assert await daemon.all_backlogs.depths() == await FakeBacklogs().depths()
    assert (daemon.backlogs[1].asked, daemon.backlogs[2].asked) == ([], ["depths"])


async def test_a_worker_that_does_not_answer_leaves_the_messages_of_the_queues_unknown(daemon: Daemon) -> None:
    daemon.start(1)  # nothing listens at its socket
    assert await daemon.all_backlogs.depths() == {}


async def test_a_backlog_that_one_worker_does_not_know_is_unknown(daemon: Daemon) -> None:
    assert isinstance(await daemon.all_backlogs.of_daemon(), UnknownBacklog)
    daemon.backlogs[2].known = UnknownBacklog("mapping orders is starting")
    async with daemon.running(1, 2):
        assert await daemon.all_backlogs.of_daemon() == UnknownBacklog("worker 2: mapping orders is starting")


async def test_a_function_has_a_backlog_if_one_worker_alone_has_seen_its_events(daemon: Daemon) -> None:
    async with daemon.running(1, 2):
        daemon.backlogs[2].known = None
        assert await daemon.all_backlogs.of_function("store") == Backlog(2.5, 3, 40)
        daemon.backlogs[1].known = None
        assert await daemon.all_backlogs.of_function("store") is None
        assert await daemon.all_backlogs.of_mapping("orders") is None


async def test_a_worker_that_ends_before_it_answers_has_refused(daemon: Daemon) -> None:
    async with daemon.running(1):
        daemon.start(2)  # nothing listens at its socket
        with pytest.raises(
            CannotChange, match=r"^worker 2: it ended before it answered; the other workers have made the change$"
        ):
            await daemon.changes.pause("orders", settings=None)


async def test_without_a_running_worker_nothing_can_be_changed(daemon: Daemon) -> None:
    with pytest.raises(CannotChange, match="no worker runs now"):
        await daemon.changes.pause("orders", settings=None)


async def test_a_worker_that_was_started_before_a_reload_and_is_ready_after_it_reloads_too(daemon: Daemon) -> None:
    async with daemon.running(1):
        daemon.team.workers[1].settings_number = daemon.team.settings_number
        await daemon.changes.reload(settings=None)
        async with daemon.running(2):
            with anyio.fail_after(30):
                await daemon.workers[2].is_asked.wait()
            assert daemon.asked(2) == [None]
    assert daemon.asked(1) == [None], "it has reloaded already"


async def test_a_worker_that_cannot_catch_up_is_logged(daemon: Daemon) -> None:
    daemon.workers[2].error = CannotChange("no")
    async with daemon.running(1):
        daemon.team.workers[1].settings_number = daemon.team.settings_number
        await daemon.changes.reload(settings=None)
        async with daemon.running(2):
            with anyio.fail_after(30):
                while not daemon.facts:
                    await anyio.wait_all_tasks_blocked()
    assert daemon.facts == [WorkerNotChanged(worker=2, detail="no")]


async def test_a_signal_reloads_and_an_error_is_logged_because_nobody_gets_an_answer(daemon: Daemon) -> None:
    async with daemon.running(1, 2):
        daemon.workers[1].error = daemon.workers[2].error = CannotChange("no")
        daemon.changes.reload_soon()
        with anyio.fail_after(30):
            while not daemon.facts:
                await anyio.wait_all_tasks_blocked()
        daemon.file.write_text(FAULTY)
        daemon.changes.reload_soon()
        with anyio.fail_after(30):
            while len(daemon.facts) == 1:
                await anyio.wait_all_tasks_blocked()
    assert [type(fact) for fact in daemon.facts] == [ReloadNotMade, ReloadRefused]


async def test_a_signal_before_the_first_worker_has_started_reloads_the_file_after_its_start(daemon: Daemon) -> None:
    daemon.changes.reload_soon()
    await anyio.wait_all_tasks_blocked()
    daemon.file.write_text(NEW)
    async with daemon.running(1):
        with anyio.fail_after(30):
            await daemon.workers[1].is_asked.wait()
    assert (daemon.copy, daemon.facts) == (NEW, [])


async def test_many_signals_during_a_reload_cause_one_more_reload(daemon: Daemon) -> None:
    with hung(daemon, 2) as socket_of_2:
        async with daemon.running(1):
            daemon.changes.reload_soon()
            await to_thread.run_sync(next_request, socket_of_2, REPORT)  # is it well?
            connection, _ = await to_thread.run_sync(socket_of_2.accept)
            daemon.file.write_text(NEW)
            for _ in range(20):
                daemon.changes.reload_soon()
            await to_thread.run_sync(answer, connection, REPORT)
            await to_thread.run_sync(next_request, socket_of_2, REPORT)
            connection, _ = await to_thread.run_sync(socket_of_2.accept)
            daemon.stop.begin()  # would refuse a third reload, and the log would say so
            await to_thread.run_sync(answer, connection, REPORT)
            with anyio.fail_after(30):
                while daemon.changes.status != (True, 1002.0):
                    await anyio.lowlevel.checkpoint()
            await anyio.wait_all_tasks_blocked()
            assert daemon.asked(1) == [None, None]
    assert (daemon.copy, daemon.facts) == (NEW, [])


@asynccontextmanager
async def client_of(daemon: Daemon) -> AsyncIterator[ClientSession]:
    """Yield a client of the parent's control socket."""
    path = daemon.folder.parent / "control"
    pages = Pages(CollectorRegistry(), list)
    async with (
        serve_control(
            [path], pages, changes=daemon.changes, emit=daemon.facts.append, invoke=daemon.invocations.respond
        ),
        ClientSession("http://localhost", connector=UnixConnector(str(path))) as client,
    ):
        yield client


async def called(client: ClientSession, body: bytes = b"{}", **headers: str) -> tuple[int, bytes, Mapping[str, str]]:
    async with client.post(f"{PATH}?Qualifier=live", data=body, headers=headers) as answer:
        return answer.status, await answer.read(), answer.headers


async def test_an_invocation_and_its_answer_are_passed_on_unchanged(daemon: Daemon) -> None:
    body = orjson.dumps({"large": "x" * 1_000_000})
    async with daemon.running(1), client_of(daemon) as client:
        status, answer, headers = await called(client, body, **{"X-Amz-Log-Type": "Tail", "X-Odd": "\u00e4"})
    assert (status, answer) == (200, b"worker 1")
    assert (headers["X-Amz-Function-Error"], headers["X-Amzn-RequestId"]) == ("Unhandled", "8f3")
    ((path, received, content),) = daemon.functions[1].requests
    assert (path, content) == (f"{PATH}?Qualifier=live", body)
    assert received["X-Amz-Log-Type"] == "Tail"
    assert received["X-Odd"] == "ä"


async def test_the_worker_with_the_fewest_invocations_gets_the_next_one(daemon: Daemon) -> None:
    daemon.functions[1].go = anyio.Event()
    async with daemon.running(1, 2), client_of(daemon) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(called, client)
        with anyio.fail_after(30):
            await daemon.functions[1].is_asked.wait()
            assert [await called(client) for _ in range(2)]
        assert [len(function.requests) for function in daemon.functions.values()] == [1, 2]
        daemon.functions[1].go.set()


async def test_an_invocation_fails_if_no_worker_answers(daemon: Daemon) -> None:
    async with client_of(daemon) as client:
        status, answer, _ = await called(client)
        assert (status, orjson.loads(answer)["message"]) == (503, "no worker runs now")
        daemon.start(2)
        status, answer, _ = await called(client)
        assert (status, orjson.loads(answer)["message"]) == (503, "worker 2 ended before it answered")
        daemon.stop.begin()
        status, answer, _ = await called(client)
        assert (status, orjson.loads(answer)["message"]) == (503, "no worker runs now")
