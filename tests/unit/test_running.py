"""Which mappings and functions run, and how are they changed?"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from trio.testing import MockClock

from poller.descriptors import Limits, needed
from poller.errors import CannotChange, CannotStore
from poller.facts import Fact, MappingNotChanged, TooFewFileDescriptors
from poller.model.function import Function
from poller.model.ids import FunctionName, MappingName
from poller.model.mapping import AnyMapping, StreamMapping
from poller.model.move import Moved, MoveOrder, StoredPositions
from poller.model.order import ShardOrder
from poller.model.status import BlockedShard
from poller.model.stream import SequenceNumber, ShardId, StateKey
from poller.running import SECONDS_BETWEEN_COLLECTIONS, Running
from poller.settings.changes import changes
from poller.settings.loading import load
from poller.settings.values import Settings

pytestmark = pytest.mark.anyio

FUNCTIONS = (
    '[functions.f]\nhandler = "f:handler"\ntimeout_in_seconds = {timeout}\n[functions.g]\nhandler = "g:handler"\n'
)


def file(*mappings: str, timeout: int = 3, grace: int = 30) -> str:
    """Return a settings file with these mappings; each is `name:function`."""
    text = f'[daemon]\nstate = "memory:"\nshutdown_grace_in_seconds = {grace}\n' + FUNCTIONS.format(timeout=timeout)
    for mapping in mappings:
        name, _, function = mapping.partition(":")
        arn = f"arn:aws:sqs:eu-west-1:123456789012:{name}"
        text += f'[mappings.{name}]\nevent_source_arn = "{arn}"\nfunction_name = "{function}"\n'
    return text


BLOCKED = BlockedShard(ShardId("shard"), "KeyError", 0.0, 2, SequenceNumber("1"), SequenceNumber("2"))


class Daemon:
    """A fake of the supervisor, the composition, the series and the garbage."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.grace_in_seconds = settings.daemon.shutdown_grace_in_seconds
        self.paused: set[MappingName] = set()
        self.orders: list[tuple[MappingName, ShardOrder]] = []
        self.moves: list[MoveOrder] = []
        self.resting: MappingName | None = None
        self.existing: dict[MappingName, tuple[AnyMapping, Function]] = {
            mapping.name: (mapping, settings.functions[mapping.function_name]) for mapping in settings.mappings
        }
        self.functions = set(settings.functions)
        self.renewed: list[Function] = []
        self.changed: set[MappingName] = set()
        self.collections: list[tuple[set[MappingName], set[MappingName]]] = []
        self.drains: dict[MappingName, anyio.Event] = {}
        self.cannot_open: dict[MappingName, Exception] = {}

    async def add(self, mapping: AnyMapping, function: Function) -> None:
        assert mapping.name not in self.existing
        self._open(mapping, function)

    async def replace(self, mapping: AnyMapping, function: Function) -> None:
        assert mapping.name in self.existing
        self._open(mapping, function)
        await self._drain(mapping.name)

    async def remove(self, name: MappingName) -> None:
        del self.existing[name]
        self.changed.add(name)
        await self._drain(name)

    def collect(self, *, changed: Collection[MappingName], existing: Collection[MappingName]) -> None:
        self.collections.append((set(changed), set(existing)))

    async def pause(self, name: MappingName) -> None:
        self.paused.add(name)

    async def resume(self, name: MappingName) -> None:
        self.paused.discard(name)

    def order(self, name: MappingName, order: ShardOrder) -> BlockedShard:
        self.orders.append((name, order))
        return BLOCKED

    @asynccontextmanager
    async def at_rest(self, name: MappingName) -> AsyncIterator[None]:
        if name not in self.paused:
            raise CannotChange("pause it first")
        self.resting = name
        yield
        self.resting = None

    async def begun(self) -> Collection[StateKey]:
        return [StateKey(MappingName("clicks"), "arn")]

    async def positions(self, mapping: StreamMapping) -> StoredPositions:
        return StoredPositions(mapping.state_key.stream_arn, None, (), 0, "v1")

    async def move(self, mapping: StreamMapping, order: MoveOrder) -> Moved:
        assert self.resting == mapping.name
        self.moves.append(order)
        return Moved(order.shard_id, "before", order.to, "effect", "v1")

    async def follow_pause(self, name: MappingName) -> None:
        if name in self.cannot_open:
            raise self.cannot_open[name]
        self.paused ^= {name}

    def changed_pauses(self, paused: Collection[MappingName]) -> Sequence[MappingName]:
        return sorted(self.paused ^ set(paused))

    def is_paused(self, name: MappingName) -> bool:
        return name in self.paused

    def take_changed(self) -> Collection[MappingName]:
        changed, self.changed = self.changed, set()
        return changed

    def mappings(self) -> Sequence[AnyMapping]:
        return [mapping for mapping, _ in self.existing.values()]

    def use(self, settings: Settings) -> None:
        self.settings = settings

    def renew(self, function: Function) -> None:
        self.renewed.append(function)

    def begin_function(self, function: FunctionName) -> None:
        self.functions.add(function)

    def forget_function(self, function: FunctionName) -> None:
        self.functions.remove(function)

    def _open(self, mapping: AnyMapping, function: Function) -> None:
        assert self.settings.functions[mapping.function_name] == function, (
            "the settings are in use before a run is opened"
        )
        assert function.name in self.functions, "its series are there"
        if mapping.name in self.cannot_open:
            raise self.cannot_open[mapping.name]
        self.existing[mapping.name] = (mapping, function)
        self.changed.add(mapping.name)

    async def _drain(self, name: MappingName) -> None:
        if name in self.drains:
            await self.drains[name].wait()


@pytest.fixture
def settings(tmp_path: Path) -> Callable[[str], Settings]:
    def loaded(text: str) -> Settings:
        (tmp_path / "poller.toml").write_text(text)
        return load(tmp_path / "poller.toml", {})

    return loaded


def running(daemon: Daemon, facts: list[Fact], *, descriptors: int = 65_536) -> Running:
    limits = Limits(original=1024, own=descriptors)
    return Running(daemon, daemon, series=daemon, garbage=daemon, limits=limits, emit=facts.append)


async def test_a_pause_and_a_resume_say_whether_the_mapping_was_paused(settings: Callable[[str], Settings]) -> None:
    daemon = Daemon(settings(file("a:f")))
    runs = running(daemon, [])
    name = MappingName("a")
    assert [await runs.pause(name), await runs.pause(name)] == [False, True]
    assert daemon.paused == {name}
    assert [await runs.resume(name), await runs.resume(name)] == [True, False]
    assert daemon.paused == set()


STREAM = """
[mappings.clicks]
event_source_arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"
function_name = "f"
starting_position = "LATEST"
"""


async def test_the_positions_of_a_paused_mapping_move_while_it_cannot_be_resumed(
    settings: Callable[[str], Settings],
) -> None:
    daemon = Daemon(settings(file("a:f") + STREAM))
    runs, clicks, order = running(daemon, []), MappingName("clicks"), MoveOrder("TRIM_HORIZON")
    assert (await runs.positions(clicks)).version == "v1"
    with pytest.raises(CannotChange, match="pause it first"):
        await runs.move(clicks, order)
    daemon.paused.add(clicks)
    assert (await runs.move(clicks, order)).position == "TRIM_HORIZON"
    assert (daemon.moves, daemon.resting) == ([order], None)


async def test_only_a_mapping_of_a_stream_has_positions(settings: Callable[[str], Settings]) -> None:
    runs = running(Daemon(settings(file("a:f") + STREAM)), [])
    for name, why in (
        ("a", "a reads a queue, which has no positions"),
        ("b", "there is no mapping b; the names are a"),
    ):
        with pytest.raises(CannotChange, match=why):
            await runs.positions(MappingName(name))
        with pytest.raises(CannotChange, match=why):
            await runs.move(MappingName(name), MoveOrder("LATEST"))


async def test_an_order_about_a_shard_reaches_its_mapping_and_needs_one(
    settings: Callable[[str], Settings],
) -> None:
    daemon = Daemon(settings(file("a:f")))
    order = ShardOrder("retry", BLOCKED.shard_id, *BLOCKED.ends)
    assert running(daemon, []).order(MappingName("a"), order) == BLOCKED
    with pytest.raises(CannotChange, match="there is no mapping b; the names are a"):
        running(daemon, []).order(MappingName("b"), order)
    assert daemon.orders == [(MappingName("a"), order)]


async def test_a_mapping_that_does_not_exist_cannot_be_paused(settings: Callable[[str], Settings]) -> None:
    daemon = Daemon(settings(file("a:f", "b:f")))
    for change in (running(daemon, []).pause, running(daemon, []).resume):
        with pytest.raises(CannotChange, match="there is no mapping c; the names are a, b"):
            await change(MappingName("c"))
    assert daemon.paused == set()


async def test_after_a_change_everything_runs_as_the_file_says(settings: Callable[[str], Settings]) -> None:
    before, after = settings(file("a:f", "b:g", "c:g")), settings(file("a:f", "c:g", "d:f", timeout=4, grace=5))
    daemon = Daemon(before)
    untouched = daemon.existing[MappingName("c")]
    assert await running(daemon, []).apply(changes(before, after)) == {}
    fresh = Daemon(after)
    assert (daemon.existing, daemon.settings, daemon.grace_in_seconds) == (fresh.existing, after, 5)
    assert daemon.existing[MappingName("c")] is untouched


async def test_functions_have_series_as_long_as_they_exist(settings: Callable[[str], Settings]) -> None:
    before, after = settings(file("a:f", "b:resize")), settings(file("a:shrink"))
    daemon = Daemon(before)
    await running(daemon, []).apply(changes(before, after))
    assert daemon.functions == {"f", "g", "shrink"}


async def test_a_function_is_watched_as_long_as_a_mapping_that_could_not_be_replaced_invokes_it(
    settings: Callable[[str], Settings],
) -> None:
    before, after = settings(file("a:resize", "b:shrink")), settings(file("a:f", "b:f"))
    daemon = Daemon(before)
    daemon.cannot_open = {MappingName("a"): CannotStore("the disk is full")}
    await running(daemon, []).apply(changes(before, after))
    assert daemon.functions == {"f", "g", "resize"}


async def test_a_mapping_that_drains_does_not_delay_another(settings: Callable[[str], Settings]) -> None:
    before, after = settings(file("a:f", "b:g", "c:g")), settings(file("a:g", "c:f", "d:f"))
    daemon = Daemon(before)
    daemon.drains = {MappingName("a"): anyio.Event(), MappingName("b"): anyio.Event()}
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(running(daemon, []).apply, changes(before, after))
            await anyio.wait_all_tasks_blocked()
            assert daemon.existing == Daemon(after).existing
            for drain in daemon.drains.values():
                drain.set()


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (CannotStore("the disk is full"), "the disk is full"),
        (OSError(24, "secret"), "Too many open files"),
        (RuntimeError("secret"), "RuntimeError"),
    ],
)
async def test_a_mapping_that_cannot_be_opened_is_reported_and_the_others_change(
    settings: Callable[[str], Settings], error: Exception, why: str
) -> None:
    before, after = settings(file("a:f", "b:f")), settings(file("a:g", "b:g", "c:f", "d:f"))
    daemon, facts = Daemon(before), list[Fact]()
    daemon.cannot_open = {MappingName("a"): error, MappingName("c"): error}
    found = changes(before, after)
    assert await running(daemon, facts).apply(found) == {"a": why, "c": why}
    assert set(facts) == {MappingNotChanged(MappingName("a"), why), MappingNotChanged(MappingName("c"), why)}
    wanted = Daemon(found.settings).existing
    assert daemon.existing == {name: wanted[name] for name in wanted.keys() - {"a", "c"}} | {
        MappingName("a"): Daemon(before).existing[MappingName("a")]
    }


async def test_garbage_is_collected_after_a_change_and_only_then(settings: Callable[[str], Settings]) -> None:
    before, after = settings(file("a:f", "b:f", "c:g")), settings(file("b:g", "c:g", "d:g"))
    daemon = Daemon(before)
    await running(daemon, []).apply(changes(before, before))
    assert daemon.collections == []
    await running(daemon, []).apply(changes(before, after))
    assert daemon.collections == [({"a", "b", "d"}, {"b", "c", "d"})]


@pytest.mark.parametrize("anyio_backend", [("trio", {"clock": MockClock(autojump_threshold=0)})])
async def test_garbage_of_runs_that_end_without_a_reload_is_collected_soon_and_once_for_all(
    settings: Callable[[str], Settings],
) -> None:
    daemon = Daemon(settings(file("a:f", "b:f", "c:g")))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(running(daemon, []).collect_regularly)
        await anyio.sleep(100)
        assert daemon.collections == []
        daemon.changed |= {MappingName("a"), MappingName("b")}
        await anyio.sleep(SECONDS_BETWEEN_COLLECTIONS + 1)
        assert daemon.collections == [({"a", "b"}, {"a", "b", "c"})]
        await anyio.sleep(100)
        assert len(daemon.collections) == 1
        tasks.cancel_scope.cancel()


async def test_settings_that_need_too_many_open_files_cause_a_warning(
    settings: Callable[[str], Settings],
) -> None:
    before, after, facts = settings(file("a:f")), settings(file("a:f", "b:resize")), list[Fact]()
    await running(Daemon(before), facts, descriptors=2000).apply(changes(before, after))
    assert facts == [TooFewFileDescriptors(limit=2000, needed=needed(after))]
    await running(Daemon(after), facts, descriptors=2000).apply(changes(after, before))
    assert len(facts) == 1


async def test_a_restart_uses_the_present_settings_of_the_function(settings: Callable[[str], Settings]) -> None:
    before, after = settings(file("a:f")), settings(file("a:f", timeout=4))
    daemon = Daemon(before)
    made = running(daemon, [])
    await made.apply(changes(before, after))
    made.restart_function(after.functions[FunctionName("f")])
    assert daemon.renewed == [after.functions[FunctionName("f")]]


async def test_mappings_follow_the_pauses_of_other_workers_and_one_that_fails_holds_up_no_other(
    settings: Callable[[str], Settings],
) -> None:
    daemon, facts = Daemon(settings(file("a:f", "b:f", "c:f"))), list[Fact]()
    a, b, c = (MappingName(name) for name in "abc")
    daemon.paused = {a, b}
    daemon.cannot_open[a] = CannotStore("the disk is full")
    await running(daemon, facts).follow_pauses([c])
    assert daemon.paused == {a, c}
    assert facts == [MappingNotChanged(a, "the disk is full")]
    await running(daemon, facts).follow_pauses([a, c])
    assert len(facts) == 1
