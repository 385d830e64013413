"""How does a running daemon apply its changed settings file?"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from anyio import from_thread

from poller.engine.stop import Stop
from poller.errors import CannotChange, CannotStore, PollerError, SettingsError
from poller.facts import Fact, FunctionRestartedByRequest, Reloaded, ReloadNotMade, ReloadRefused, SettingsWarning
from poller.model.function import Function
from poller.model.ids import FunctionName, MappingName
from poller.model.mapping import EventMapping
from poller.model.move import Moved, MoveOrder, ShardPosition, StoredPositions
from poller.model.order import ShardOrder
from poller.model.status import BlockedShard, ReloadStatus
from poller.model.stream import ShardId, StateKey
from poller.reloading import MAXIMUM_WAITING, Reloader
from poller.requested_changes import RequestedChanges
from poller.settings.changes import Changes
from poller.settings.loading import Examined, examine, examine_again, load
from poller.settings.values import Settings

pytestmark = pytest.mark.anyio

DAEMON = '[daemon]\nstate = "memory:"\nhttp_listen = "127.0.0.1:0"\n'
STORE = '[functions.store]\nhandler = "store:handler"\n'
AUDIT = '[functions.audit]\nurl = "http://127.0.0.1:8080"\n'
START = 1_767_225_600.0
STREAM = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"


def queue(name: str, function: str = "store", options: str = "") -> str:
    arn = f"arn:aws:sqs:eu-west-1:123456789012:{name}"
    return f'[mappings.{name}]\nevent_source_arn = "{arn}"\nfunction_name = "{function}"\n{options}\n'


def stream(name: str) -> str:
    arn = f'event_source_arn = "{STREAM}"\nfunction_name = "audit"\n'
    return f'[mappings.{name}]\n{arn}starting_position = "TRIM_HORIZON"\n'


class FakeRunning:
    """Knows which mappings run, and checks that each change fits them. A change waits until `go` is set.

    `error` is raised once by `apply`, after it has removed and added, and before it replaces.
    """

    def __init__(self, settings: Settings) -> None:
        self.running = {mapping.name: mapping for mapping in settings.mappings}
        self.cannot_open: set[MappingName] = set()
        self.error: Exception | None = None
        self.restarted: list[FunctionName] = []
        self.paused: list[MappingName] = []
        self.orders: list[tuple[MappingName, ShardOrder]] = []
        self.moves: list[tuple[MappingName, MoveOrder]] = []
        self.begun_mappings: set[StateKey] = set()
        self.state_error: PollerError | None = None
        self.under_way = 0
        self.has_begun = anyio.Event()
        self.go = anyio.Event()
        self.go.set()

    async def apply(self, found: Changes) -> Mapping[MappingName, str]:
        assert self.under_way == 0, "one reload after the other"
        self.under_way += 1
        self.has_begun.set()
        await self.go.wait()
        self.under_way -= 1
        assert {*found.mappings.replaced, *found.mappings.removed} <= self.mappings
        assert not set(found.mappings.added) & self.mappings
        wanted = {mapping.name: mapping for mapping in found.settings.mappings if mapping.name not in self.cannot_open}
        for name in found.mappings.removed:
            del self.running[name]
        self.running |= {name: wanted[name] for name in found.mappings.added if name in wanted}
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        self.running |= {name: wanted[name] for name in found.mappings.replaced if name in wanted}
        changed = {*found.mappings.names, *map(EventMapping.named, found.events.replaced)}
        return dict.fromkeys(changed & self.cannot_open, "the disk is full")

    @property
    def mappings(self) -> set[MappingName]:
        return set(self.running)

    @property
    def functions_of_mappings(self) -> Mapping[MappingName, FunctionName]:
        return {name: mapping.function_name for name, mapping in self.running.items()}

    async def begun(self) -> Collection[StateKey]:
        if self.state_error is not None:
            raise self.state_error
        return self.begun_mappings

    def restart_function(self, function: Function) -> None:
        self.restarted.append(function.name)

    async def pause(self, name: MappingName) -> bool:
        self.paused.append(name)
        return False

    async def resume(self, name: MappingName) -> bool:
        self.paused.remove(name)
        return True

    def order(self, name: MappingName, order: ShardOrder) -> BlockedShard:
        self.orders.append((name, order))
        return BlockedShard(order.shard_id, "KeyError", 1_769_860_800.75, 2)

    async def positions(self, name: MappingName) -> StoredPositions:
        shard = ShardPosition(ShardId("shard"), "after 5", 1_769_860_800, None)
        reset = ShardPosition(ShardId("other"), None, None, "blue-1/0000")
        return StoredPositions(STREAM, "at 4", (shard, reset), 2, "v1")

    async def move(self, name: MappingName, order: MoveOrder) -> Moved:
        self.moves.append((name, order))
        return Moved(ShardId("shard"), "shard after 5", "after 7", "skipped", "v1")


class SetClock:
    """`ports.Clock` that a test sets."""

    def __init__(self, now: float) -> None:
        self.time = now

    def now(self) -> float:
        return self.time


class Scene:
    """A settings file, its running mappings, and a reloader between them."""

    def __init__(self, file: Path, text: str) -> None:
        self.file = file
        self.write(text)
        self.stop = Stop()
        self.facts: list[Fact] = []
        self.reads = 0
        self.fails_to_read: Exception | None = None
        found = examine(file, {})
        self.running = FakeRunning(found.settings)
        self.clock = SetClock(START)
        self.reloader = Reloader(
            found.settings,
            text=found.text,
            file=file,
            read=self.read,
            running=self.running,
            stop=self.stop,
            clock=self.clock,
            emit=self.facts.append,
        )
        self.changes = RequestedChanges(self.reloader, self.running, file=file, clock=self.clock)

    def write(self, text: str) -> None:
        self.file.write_text(DAEMON + STORE + AUDIT + text)

    def read(self) -> Examined:
        from_thread.check_cancelled()  # raises unless this is a worker thread
        self.reads += 1
        if self.fails_to_read is not None:
            raise self.fails_to_read
        return examine_again(self.file, {})

    def facts_of(self, kind: type[Fact]) -> list[Fact]:
        return [fact for fact in self.facts if isinstance(fact, kind)]


@asynccontextmanager
async def scene(tmp_path: Path, text: str) -> AsyncIterator[Scene]:
    made = Scene(tmp_path / "poller.toml", text)
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(made.reloader.run)
            yield made
            tasks.cancel_scope.cancel()


async def test_a_reload_applies_what_changed_and_names_it(tmp_path: Path) -> None:
    async with scene(tmp_path, queue("orders") + queue("returns") + queue("old")) as made:
        made.write(queue("orders", options="batch_size = 5") + queue("returns") + queue("new"))
        report = await made.reloader.reload()
        assert made.running.mappings == {"orders", "returns", "new"}
        assert report == {
            "mappings": {"added": ("new",), "replaced": ("orders",), "removed": ("old",)},
            "failed": {},
            "functions": {"added": (), "replaced": (), "removed": ()},
            "events": {"replaced": ()},
            "options": (),
            "needs_restart": (),
            "warnings": ["functions.audit: no mapping uses it"],
        }
        assert made.facts_of(Reloaded) == [
            Reloaded(
                settings=str(made.file),
                added=(MappingName("new"),),
                replaced=(MappingName("orders"),),
                removed=(MappingName("old"),),
                failed=(),
                functions_added=(),
                functions_replaced=(),
                functions_removed=(),
                events_replaced=(),
                options=(),
                needs_restart=(),
            )
        ]


async def test_a_reload_names_functions_that_run_on_while_the_options_of_their_events_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "DAEMON", f'{DAEMON}event_queue = "sqlite://{tmp_path}/events.db"\n')
    async with scene(tmp_path, queue("orders")) as made:
        made.write(queue("orders") + "[functions.store.event_invoke_config]\nmaximum_retry_attempts = 0\n")
        report = await made.reloader.reload()
        assert report["events"] == {"replaced": ("store",)}
        assert report["functions"] == {"added": (), "replaced": (), "removed": ()}
        (fact,) = made.facts_of(Reloaded)
        assert isinstance(fact, Reloaded)
        assert fact.events_replaced == ("store",)
        made.write(queue("orders") + "[functions.store.event_invoke_config]\nmaximum_retry_attempts = 1\n")
        made.running.cannot_open = {EventMapping.named(FunctionName("store"))}
        report = await made.reloader.reload()
        assert (report["events"], report["failed"]) == ({"replaced": ()}, {"store:events": "the disk is full"})


async def test_a_second_reload_begins_where_the_first_one_ended(tmp_path: Path) -> None:
    async with scene(tmp_path, queue("orders")) as made:
        made.write(queue("orders", options="batch_size = 5"))
        assert (await made.reloader.reload())["mappings"]["replaced"] == ("orders",)
        assert made.reloader.in_use == load(made.file, {})
        assert (await made.reloader.reload())["mappings"]["replaced"] == ()


async def test_a_faulty_file_changes_nothing_and_all_its_faults_are_reported(tmp_path: Path) -> None:
    async with scene(tmp_path, queue("orders")) as made:
        before = made.reloader.in_use
        made.write(queue("orders", options="batch_size = 0") + queue("new", function="no function"))
        with pytest.raises(SettingsError) as caught:
            await made.reloader.reload()
        assert len(caught.value.faults) == 2
        assert made.facts_of(ReloadRefused) == [ReloadRefused(str(made.file), tuple(caught.value.faults))]
        assert (made.reloader.in_use, made.running.mappings) == (before, {"orders"})
        assert "mappings.new" not in made.reloader.text_in_use.text
        made.write(queue("new"))
        assert (await made.reloader.reload())["mappings"]["added"] == ("new",)
        assert "mappings.new" in made.reloader.text_in_use.text


@pytest.mark.parametrize("text", ["", "# poller.toml\n\n# made by a program that writes the rest now\n"])
async def test_a_file_without_a_table_changes_nothing_because_a_program_may_be_writing_it(
    tmp_path: Path, text: str
) -> None:
    async with scene(tmp_path, queue("orders")) as made:
        made.file.write_text(text)
        with pytest.raises(SettingsError) as caught:
            await made.reloader.reload()
        why = "has no table; a program may be writing it now, so the daemon keeps its settings"
        assert caught.value.faults == [f"{made.file}: {why}; to remove all mappings, keep the line [daemon]"]
        assert made.facts == [ReloadRefused(str(made.file), tuple(caught.value.faults))]
        assert made.running.mappings == {"orders"}
        made.file.write_text("[daemon]\n")
        assert (await made.reloader.reload())["mappings"]["removed"] == ("orders",)


async def test_the_status_says_how_the_last_reload_ended_and_when_one_succeeded(tmp_path: Path) -> None:
    async with scene(tmp_path, queue("orders")) as made:
        assert made.reloader.status == ReloadStatus(was_successful=True, succeeded_at=START)
        made.clock.time += 60
        made.write("no TOML")
        with pytest.raises(SettingsError):
            await made.reloader.reload()
        assert made.reloader.status == ReloadStatus(was_successful=False, succeeded_at=START)
        made.write(queue("orders") + queue("new"))
        await made.reloader.reload()
        assert made.reloader.status == ReloadStatus(was_successful=True, succeeded_at=START + 60)


async def test_a_reload_that_could_not_change_a_mapping_did_not_succeed(tmp_path: Path) -> None:
    async with scene(tmp_path, queue("orders")) as made:
        made.clock.time += 60
        made.write(queue("orders") + queue("new"))
        made.running.cannot_open = {MappingName("new")}
        await made.reloader.reload()
        assert made.reloader.status == ReloadStatus(was_successful=False, succeeded_at=START)


async def test_an_unexpected_error_refuses_one_reload_and_the_next_one_works(tmp_path: Path) -> None:
    async with scene(tmp_path, queue("orders")) as made:
        made.write(queue("orders") + queue("new"))
        made.fails_to_read = RuntimeError("can't start new thread")
        with pytest.raises(CannotChange, match="a fault of poller: RuntimeError"):
            await made.reloader.reload()
        assert made.facts == [ReloadNotMade(str(made.file), "a fault of poller: RuntimeError")]
        made.fails_to_read = None
        assert (await made.reloader.reload())["mappings"]["added"] == ("new",)


async def test_a_mapping_that_could_not_be_opened_is_reported_and_the_next_reload_tries_again(tmp_path: Path) -> None:
    async with scene(tmp_path, queue("orders") + queue("returns")) as made:
        made.write(queue("orders", options="batch_size = 5") + queue("returns") + queue("new"))
        made.running.cannot_open = {MappingName("orders"), MappingName("new")}
        for _ in range(2):
            report = await made.reloader.reload()
            assert report["failed"] == {"orders": "the disk is full", "new": "the disk is full"}
            assert report["mappings"] == {"added": (), "replaced": (), "removed": ()}, "what failed was not changed"
            fact = made.facts_of(Reloaded)[-1]
            assert isinstance(fact, Reloaded)
            assert (fact.added, fact.replaced, {*fact.failed}) == ((), (), {"orders", "new"})
        made.running.cannot_open = set()
        report = await made.reloader.reload()
        assert report["mappings"] == {"added": ("new",), "replaced": ("orders",), "removed": ()}
        assert report["failed"] == {}
        assert (await made.reloader.reload())["mappings"] == {"added": (), "replaced": (), "removed": ()}


async def test_after_an_unexpected_error_the_next_reload_of_the_same_file_changes_what_was_not_changed(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path, queue("orders") + queue("returns") + queue("old")) as made:
        made.write(queue("orders", options="batch_size = 5") + queue("returns") + queue("new", function="audit"))
        made.running.error = RuntimeError("secret")
        with pytest.raises(CannotChange, match="a fault of poller: RuntimeError"):
            await made.reloader.reload()
        report = await made.reloader.reload()
        assert report["mappings"] == {"added": (), "replaced": ("orders", "new"), "removed": ()}
        assert {*made.running.running.values()} == {*load(made.file, {}).mappings}
        assert (await made.reloader.reload())["mappings"] == {"added": (), "replaced": (), "removed": ()}


async def test_after_an_unexpected_error_the_old_file_brings_everything_back(tmp_path: Path) -> None:
    before = queue("orders") + queue("returns") + queue("old")
    async with scene(tmp_path, before) as made:
        made.write(queue("orders", options="batch_size = 5") + queue("returns") + queue("new"))
        made.running.error = RuntimeError("secret")
        with pytest.raises(CannotChange):
            await made.reloader.reload()
        made.write(before)
        report = await made.reloader.reload()
        assert report["mappings"] == {"added": ("old",), "replaced": ("orders",), "removed": ("new",)}
        assert {*made.running.running.values()} == {*load(made.file, {}).mappings}


async def test_a_function_that_is_still_invoked_after_a_failed_replacement_is_removed_by_a_later_reload(
    tmp_path: Path,
) -> None:
    resize = '[functions.resize]\nhandler = "resize:handler"\n'
    async with scene(tmp_path, resize + queue("orders", "resize")) as made:
        made.write(queue("orders"))
        made.running.cannot_open = {MappingName("orders")}
        for _ in range(2):
            assert (await made.reloader.reload())["functions"]["removed"] == ("resize",)
            assert await made.reloader.restart_function("resize") == {"restarted": "resize"}
            assert made.reloader.text_in_use.not_replaced == {"orders"}
        made.running.cannot_open = set()
        assert (await made.reloader.reload())["functions"]["removed"] == ("resize",)
        assert (await made.reloader.reload())["functions"]["removed"] == ()


async def test_an_option_that_needs_a_restart_stays_in_use_and_is_named_each_time(tmp_path: Path) -> None:
    async with scene(tmp_path, queue("orders")) as made:
        made.file.write_text(made.file.read_text().replace("127.0.0.1:0", "127.0.0.1:9464"))
        for _ in range(2):
            assert (await made.reloader.reload())["needs_restart"] == ("daemon.http_listen",)
            assert made.reloader.in_use.daemon.http_listen == ("127.0.0.1", 0)


VIEWS_BEGINS_ANEW = (
    "mappings.views: it begins at its starting_position, because the stored positions in its stream belong to the name "
    "clicks. To continue at them, name the mapping clicks again, and reload"
)


async def test_a_renamed_stream_mapping_that_begins_anew_causes_a_warning(tmp_path: Path) -> None:
    async with scene(tmp_path, stream("clicks")) as made:
        made.write(stream("views"))
        (*_, warning) = (await made.reloader.reload())["warnings"]
        assert warning == VIEWS_BEGINS_ANEW
        assert made.facts_of(SettingsWarning) == [SettingsWarning(warning)], "the file's own warning is an old one"


async def test_the_warning_of_a_renamed_mapping_says_how_its_stored_positions_are_renamed(tmp_path: Path) -> None:
    async with scene(tmp_path, stream("clicks")) as made:
        daemon = replace(made.reloader.in_use.daemon, state="sqlite:///poller.db")
        made.reloader.in_use = replace(made.reloader.in_use, daemon=daemon)
        made.write(stream("views"))
        (*_, warning) = (await made.reloader.reload())["warnings"]
        assert warning == (
            f"{VIEWS_BEGINS_ANEW}; or stop all daemons, free the new name with `poller state rename views OTHER`, and "
            "use `poller state rename clicks views`"
        )


async def test_a_renamed_stream_mapping_that_continues_at_its_positions_causes_no_warning(tmp_path: Path) -> None:
    async with scene(tmp_path, stream("clicks")) as made:
        made.write(stream("views"))
        (key,) = {mapping.state_key for mapping in load(made.file, {}).stream_mappings}
        made.running.begun_mappings = {key}
        await made.reloader.reload()
        assert made.facts_of(SettingsWarning) == []


async def test_a_renamed_stream_mapping_causes_a_warning_if_the_state_cannot_be_read(tmp_path: Path) -> None:
    async with scene(tmp_path, stream("clicks")) as made:
        made.running.state_error = CannotStore("the disk is full")
        made.write(stream("views"))
        await made.reloader.reload()
        assert made.facts_of(SettingsWarning) == [SettingsWarning(VIEWS_BEGINS_ANEW)]


async def test_a_sighup_causes_a_reload(tmp_path: Path) -> None:
    async with scene(tmp_path, queue("orders")) as made:
        made.write(queue("orders") + queue("new"))
        made.running.go = anyio.Event()
        made.reloader.reload_soon()
        await made.running.has_begun.wait()
        made.running.go.set()
        await anyio.wait_all_tasks_blocked()
        assert made.running.mappings == {"orders", "new"}
        assert len(made.facts_of(Reloaded)) == 1


async def test_reloads_take_turns(tmp_path: Path) -> None:
    async with scene(tmp_path, queue("orders")) as made, anyio.create_task_group() as tasks:
        made.running.go = anyio.Event()
        made.write(queue("one"))
        tasks.start_soon(made.reloader.reload)
        await made.running.has_begun.wait()
        made.write(queue("two"))
        tasks.start_soon(made.reloader.reload)
        await anyio.wait_all_tasks_blocked()
        assert made.reads == 1
        made.running.go.set()
    assert made.running.mappings == {"two"}
    assert made.reads == 2


async def test_a_reload_goes_on_after_its_client_has_disconnected(tmp_path: Path) -> None:
    async with scene(tmp_path, queue("orders")) as made:
        made.running.go = anyio.Event()
        made.write(queue("new"))
        async with anyio.create_task_group() as group:
            group.start_soon(made.reloader.reload)
            await made.running.has_begun.wait()
            group.cancel_scope.cancel()
        made.running.go.set()
        assert (await made.reloader.reload())["mappings"] == {"added": (), "replaced": (), "removed": ()}
        assert made.running.mappings == {"new"}


async def test_all_who_ask_during_a_reload_get_the_result_of_one_more_reload(tmp_path: Path) -> None:
    async with scene(tmp_path, queue("orders")) as made, anyio.create_task_group() as tasks:
        made.running.go = anyio.Event()
        made.reloader.reload_soon()
        await made.running.has_begun.wait()
        answers: list[Mapping[str, object]] = []

        async def ask() -> None:
            answers.append(await made.reloader.reload())

        for number in range(20):
            made.write(queue(f"q{number}"))
            made.reloader.reload_soon()
            tasks.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
        made.running.go.set()
    assert [fact.added for fact in made.facts if isinstance(fact, Reloaded)] == [(), ("q19",)]
    assert made.facts_of(ReloadNotMade) == []
    assert (made.reads, made.running.mappings, len(answers)) == (2, {"q19"}, 20)
    assert all(answer["mappings"] == {"added": ("q19",), "replaced": (), "removed": ("orders",)} for answer in answers)


async def test_all_who_ask_during_a_reload_get_the_faults_of_one_more_reload(tmp_path: Path) -> None:
    async with scene(tmp_path, queue("orders")) as made, anyio.create_task_group() as tasks:
        made.running.go = anyio.Event()
        made.reloader.reload_soon()
        await made.running.has_begun.wait()
        made.write("no TOML")

        async def refused() -> None:
            with pytest.raises(SettingsError):
                await made.reloader.reload()

        for _ in range(3):
            tasks.start_soon(refused)
        await anyio.wait_all_tasks_blocked()
        made.running.go.set()
    assert len(made.facts_of(ReloadRefused)) == 1


async def test_a_reload_during_a_reload_that_has_read_the_file_reads_it_again(tmp_path: Path) -> None:
    async with scene(tmp_path, queue("orders")) as made:
        made.running.go = anyio.Event()
        made.reloader.reload_soon()
        await made.running.has_begun.wait()
        made.reloader.reload_soon()
        first, made.running.go, made.running.has_begun = made.running.go, anyio.Event(), anyio.Event()
        first.set()
        await made.running.has_begun.wait()
        made.write(queue("new"))
        made.reloader.reload_soon()
        made.running.go.set()
        while len(made.facts_of(Reloaded)) < 3:
            await anyio.wait_all_tasks_blocked()
        assert made.running.mappings == {"new"}


async def test_one_restart_of_each_function_waits_and_their_number_is_limited(tmp_path: Path) -> None:
    handlers = "".join(f'[functions.f{number}]\nhandler = "f:h"\n' for number in range(MAXIMUM_WAITING))
    async with scene(tmp_path, handlers) as made, anyio.create_task_group() as tasks:
        made.running.go = anyio.Event()
        made.reloader.reload_soon()
        await made.running.has_begun.wait()
        for number in range(MAXIMUM_WAITING):
            for _ in range(2):
                tasks.start_soon(made.reloader.restart_function, f"f{number}")
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(CannotChange, match="16 restarts of other functions wait already"):
            await made.reloader.restart_function("store")
        made.reloader.reload_soon()
        made.running.go.set()
    assert sorted(made.running.restarted) == sorted(f"f{number}" for number in range(MAXIMUM_WAITING))
    assert made.facts_of(ReloadNotMade) == []


async def test_no_reload_begins_during_a_stop(tmp_path: Path) -> None:
    async with scene(tmp_path, queue("orders")) as made, anyio.create_task_group() as tasks:
        made.running.go = anyio.Event()
        tasks.start_soon(made.reloader.reload)
        await made.running.has_begun.wait()

        async def refused() -> None:
            with pytest.raises(CannotChange, match="the daemon stops"):
                await made.reloader.reload()

        tasks.start_soon(refused)  # stands in line before the stop
        await anyio.wait_all_tasks_blocked()
        made.stop.begin()
        await refused()  # at once, while the one before it is still under way
        made.reloader.reload_soon()
        made.running.go.set()
    assert made.reads == 1
    assert made.facts_of(ReloadNotMade) == [ReloadNotMade(str(made.file), "the daemon stops")] * 2
    assert made.facts_of(ReloadRefused) == []


async def test_a_function_is_restarted_without_reading_the_file(tmp_path: Path) -> None:
    async with scene(tmp_path, queue("orders")) as made:
        made.write("no TOML")
        assert await made.reloader.restart_function("store") == {"restarted": "store"}
        assert made.running.restarted == ["store"]
        assert made.facts == [FunctionRestartedByRequest(FunctionName("store"))]


@pytest.mark.parametrize(
    ("name", "why"),
    [("stor", "there is no function stor; did you mean store?"), ("audit", "has no child processes")],
)
async def test_a_function_without_child_processes_cannot_be_restarted(tmp_path: Path, name: str, why: str) -> None:
    async with scene(tmp_path, queue("orders")) as made:
        with pytest.raises(CannotChange, match=why):
            await made.reloader.restart_function(name)
        assert made.running.restarted == []
        assert made.reloader.status.was_successful, "the request is no reload of the settings"
        assert made.facts == [], "the client gets the error"
