"""How does the supervisor add, replace, remove, pause and restart mappings? The runners do what a test says."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from trio.testing import MockClock

from poller.engine.runs import FORGIVEN_AFTER_IN_SECONDS
from poller.engine.stop import Stop
from poller.engine.supervisor import PATIENCE_IN_SECONDS, Supervisor
from poller.errors import CannotChange, CannotStore, InUse, SettingsError, Unreachable
from poller.facts import DaemonStopping, EventsCrashed, Fact, MappingBeginsPaused, MappingCannotRun, MappingCrashed
from poller.model.arn import Arn
from poller.model.function import Function, HttpService
from poller.model.ids import FunctionName, MappingName
from poller.model.lease import Pause
from poller.model.mapping import AnyMapping, EventMapping, QueueMapping
from poller.model.order import ShardOrder
from poller.model.status import EventsStatus, MappingStatus
from poller.model.stream import ShardId
from tests.fakes.clock import VirtualClock
from tests.fakes.pauses import FakePauses
from tests.fakes.series import FakeSeries

pytestmark = pytest.mark.anyio

NAME = MappingName("m")
GRACE_IN_SECONDS = 30.0
FUNCTION = Function(
    name=FunctionName("f"),
    arn=Arn.parse("arn:aws:lambda:eu-west-1:123456789012:function:f"),
    kind=HttpService(urls=("http://function.fake",)),
    timeout_in_seconds=100.0,
    reserved_concurrency=10,
)


@pytest.fixture
def anyio_backend() -> Any:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


def mapping(name: str = NAME, **options: Any) -> QueueMapping:
    arn = Arn.parse(f"arn:aws:sqs:eu-west-1:123456789012:{name}")
    settings: dict[str, Any] = {"event_source_arn": arn, "function_name": FUNCTION.name, "region": "eu-west-1"}
    return QueueMapping(name=MappingName(name), **settings | options)


class FakeRunner:
    """A run that works until its stop, and ends its invocation `busy_for` seconds later, unless it is cancelled.

    If `crashes_after` is not None, it crashes after this number of seconds, and its invocation goes on.
    """

    def __init__(self, world: World, mapping: AnyMapping, stop: Stop, crashes_after: float | None) -> None:
        self.mapping = mapping
        self.began_at: float | None = None
        self.ended_at: float | None = None
        self.closed_at: float | None = None
        self._world = world
        self._stop = stop
        self._crashes_after = crashes_after

    def status(self) -> MappingStatus:
        is_running = self.began_at is not None and self.ended_at is None
        return MappingStatus(
            mapping=self.mapping.name,
            function=self.mapping.function_name,
            source="the source" if isinstance(self.mapping, EventMapping) else str(self.mapping.event_source_arn),
            state="ready" if self.began_at is not None else "starting",
            reason=None,
            polls_in_flight=int(is_running and not self._stop.has_begun),
            batches_in_flight=int(is_running),
            messages_held=0,
            concurrency_limit=1,
        )

    def held(self) -> list[str]:
        return ["shard 1"] if self.status().batches_in_flight else []

    async def run(self) -> None:
        self.began_at = anyio.current_time()
        try:
            if self._crashes_after is not None:
                await anyio.sleep(self._crashes_after)
                self._stop.fail(self._world.crashes_with)
            await self._stop.draining.wait()
            with anyio.move_on_after(self._world.busy_for):
                await self._stop.releasing.wait()
        finally:
            self.ended_at = anyio.current_time()


class World:
    """A supervisor over fake runners. The next runs crash after the times in `crashes_after`."""

    def __init__(self, *, pauses: FakePauses | None = None) -> None:
        self.facts: list[Fact] = []
        self.runs: list[FakeRunner] = []
        self.opened = [anyio.Event() for _ in range(10)]
        """Set as the runs are opened, one after the other."""
        self.busy_for = 1.0
        self.crashes_after: list[float] = []
        self.crashes_with: Exception = ZeroDivisionError()
        self.fails_to_open: Exception | None = None
        self.fails_to_close: Exception | None = None
        self.stop = Stop()
        self.pauses = pauses or FakePauses()
        self.series = FakeSeries()
        self.supervisor = Supervisor(
            self.open,
            pauses=self.pauses,
            series=self.series,
            stop=self.stop,
            grace_in_seconds=GRACE_IN_SECONDS,
            clock=VirtualClock(),
            emit=self.facts.append,
            randomness=random.Random(1),
        )

    @asynccontextmanager
    async def open(self, mapping: AnyMapping, function: Function, stop: Stop) -> AsyncIterator[FakeRunner]:
        await anyio.lowlevel.checkpoint()
        if self.fails_to_open is not None:
            raise self.fails_to_open
        crashes_after = self.crashes_after.pop(0) if self.crashes_after else None
        if len(self.runs) < len(self.opened):
            self.opened[len(self.runs)].set()
        self.runs.append(run := FakeRunner(self, mapping, stop, crashes_after))
        yield run
        run.closed_at = anyio.current_time()
        if self.fails_to_close is not None:
            raise self.fails_to_close

    async def live(self, *mappings: AnyMapping, until: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async with self.supervisor.running():
            for each in mappings:
                await self.supervisor.add(each, FUNCTION)
            self.supervisor.begin()
            await anyio.wait_all_tasks_blocked()
            await until()
            self.stop.begin()

    def status(self) -> MappingStatus:
        return self.supervisor.status(NAME)

    def crashes(self) -> Sequence[MappingCrashed]:
        return [fact for fact in self.facts if isinstance(fact, MappingCrashed)]


async def pauses_after_crashes(*crashes_after: float) -> list[float]:
    """Return the pauses after runs that crashed after these times."""
    world = World()
    world.busy_for = 0.0
    world.crashes_after = list(crashes_after)

    async def until() -> None:
        await world.opened[len(crashes_after)].wait()
        await anyio.wait_all_tasks_blocked()

    await world.live(mapping(), until=until)
    pauses = [fact.retry_in_seconds for fact in world.crashes()]
    assert world.runs[-1].began_at == pytest.approx(sum(crashes_after) + sum(pauses), abs=0.01)
    return pauses


async def test_each_crash_in_a_row_doubles_the_pause_up_to_its_limit() -> None:
    """Half of a pause is random."""
    longest = [1, 2, 4, 8, 16, 32, 60, 60]
    pauses = await pauses_after_crashes(*[1.0] * len(longest))
    assert all(most / 2 <= pause <= most for pause, most in zip(pauses, longest, strict=True)), pauses


async def test_a_long_run_without_a_crash_resets_the_count() -> None:
    pauses = await pauses_after_crashes(1.0, 1.0, 1.0, 1.0, FORGIVEN_AFTER_IN_SECONDS + 1, 1.0)
    assert pauses[3] >= 4
    assert pauses[4] <= 1
    assert pauses[5] <= 2


async def test_a_short_run_does_not_reset_the_count() -> None:
    pauses = await pauses_after_crashes(1.0, 1.0, 1.0, 1.0, FORGIVEN_AFTER_IN_SECONDS - 1)
    assert pauses[4] >= 8


async def test_the_run_after_a_crash_does_not_wait_for_the_invocations_of_the_old_one() -> None:
    world = World()
    world.busy_for, world.crashes_after = 90.0, [1.0]

    async def until() -> None:
        await anyio.sleep(1.1)
        assert world.status().state == "troubled"
        assert world.status().attempt == 1
        await anyio.sleep(5)
        assert world.status().state == "ready"
        assert world.status().batches_in_flight == 2, "one of each run"
        assert world.status().reason == "waits in shard 1 until the invocations of its last run have ended"
        await anyio.sleep(100)
        assert world.status().batches_in_flight == 1
        assert world.status().reason is None

    await world.live(mapping(), until=until)
    old, new = world.runs
    assert new.began_at == pytest.approx(1.75, abs=0.3)
    assert old.ended_at == 91, "nobody cut it"


async def test_a_run_that_outlasts_the_timeout_of_its_function_is_cancelled() -> None:
    world = World()
    world.busy_for, world.crashes_after = 1000.0, [1.0]

    async def until() -> None:
        await anyio.sleep(500)

    await world.live(mapping(), until=until)
    assert world.runs[0].ended_at == pytest.approx(1 + FUNCTION.timeout_in_seconds + 30)


async def test_a_replaced_run_stops_polling_at_once_and_the_new_run_waits_for_its_invocations() -> None:
    world = World()
    world.busy_for = 10.0

    async def until() -> None:
        await anyio.sleep(1)
        await world.supervisor.replace(mapping(batch_size=7), FUNCTION)
        assert anyio.current_time() == 11

    await world.live(mapping(), until=until)
    old, new = world.runs
    assert (old.ended_at, new.began_at) == (11, 11)
    assert new.mapping == mapping(batch_size=7)


async def test_only_a_run_that_follows_another_one_says_that_it_waits_for_its_invocations() -> None:
    world = World()
    world.busy_for = 10.0
    said: list[tuple[str, str | None]] = []

    def note() -> None:
        said.extend((status.state, status.reason) for status in world.supervisor.statuses())

    async with world.supervisor.running(), anyio.create_task_group() as tasks:
        await world.supervisor.add(mapping(), FUNCTION)
        note()
        world.supervisor.begin()
        await anyio.sleep(1)
        tasks.start_soon(world.supervisor.replace, mapping(batch_size=7), FUNCTION)
        await anyio.sleep(1)
        note()
        await anyio.sleep(20)
        note()
        world.stop.begin()
    waits = "waits until the invocations of its last run have ended"
    assert said == [("starting", None), ("starting", waits), ("ready", None)]


async def test_the_new_run_waits_no_longer_than_the_grace() -> None:
    world = World()
    world.busy_for = 90.0

    async def until() -> None:
        await world.supervisor.replace(mapping(batch_size=7), FUNCTION)
        assert anyio.current_time() == GRACE_IN_SECONDS
        await anyio.sleep(100)

    await world.live(mapping(), until=until)
    assert world.runs[0].ended_at == 90, "its invocations end by themselves"


async def test_a_definition_that_cannot_be_opened_leaves_the_old_one_running() -> None:
    world = World()

    async def until() -> None:
        world.fails_to_open = SettingsError(["no such region"])
        with pytest.raises(SettingsError):
            await world.supervisor.replace(mapping(batch_size=7), FUNCTION)
        await anyio.sleep(50)
        assert world.status().polls_in_flight == 1
        with pytest.raises(SettingsError):
            await world.supervisor.add(mapping("other"), FUNCTION)
        assert [status.mapping for status in world.supervisor.statuses()] == [NAME]
        assert [*world.series.mappings] == [NAME]

    await world.live(mapping(), until=until)


async def test_a_removed_mapping_is_gone_at_once_and_its_resources_close_after_its_invocations() -> None:
    world = World()
    world.busy_for = 10.0

    async def until() -> None:
        await anyio.sleep(1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(world.supervisor.remove, NAME)
            await anyio.wait_all_tasks_blocked()
            assert not world.supervisor.statuses()
        assert anyio.current_time() == 11
        assert not world.series.mappings
        world.busy_for = 90
        await world.supervisor.add(mapping(), FUNCTION)
        await world.supervisor.remove(NAME)
        assert anyio.current_time() == 11 + GRACE_IN_SECONDS
        assert world.runs[1].closed_at is None
        await anyio.sleep(100)

    await world.live(mapping(), until=until)
    assert [run.closed_at for run in world.runs] == [11, 101]


async def remove(world: World) -> None:
    await world.supervisor.remove(NAME)
    assert not world.series.mappings


async def disable(world: World) -> None:
    await world.supervisor.replace(mapping(is_enabled=False), FUNCTION)


@pytest.mark.parametrize("end", [remove, disable])
async def test_the_end_of_a_mapping_waits_for_its_older_runs_too(
    end: Callable[[World], Coroutine[Any, Any, None]],
) -> None:
    world = World()
    world.busy_for = 20.0

    async def until() -> None:
        await world.supervisor.pause(NAME)
        await world.supervisor.resume(NAME)
        world.busy_for = 1.0
        await anyio.sleep(2)
        await end(world)
        assert anyio.current_time() == 20

    await world.live(mapping(), until=until)
    assert [run.ended_at for run in world.runs] == [20, 3]


@pytest.mark.parametrize("end", [remove, disable])
async def test_the_end_of_a_mapping_waits_for_all_its_runs_no_longer_than_the_grace(
    end: Callable[[World], Coroutine[Any, Any, None]],
) -> None:
    world = World()
    world.busy_for = 90.0

    async def until() -> None:
        await world.supervisor.pause(NAME)
        await world.supervisor.resume(NAME)
        await end(world)
        assert anyio.current_time() == GRACE_IN_SECONDS

    await world.live(mapping(), until=until)


async def test_a_mapping_that_was_removed_or_replaced_does_not_restart_after_a_crash() -> None:
    world = World()
    world.crashes_after = [1.0, 2.0]

    async def until() -> None:
        await anyio.sleep(1.1)
        await world.supervisor.remove(NAME)
        await anyio.sleep(3)
        await world.supervisor.replace(mapping("other", batch_size=7), FUNCTION)
        await anyio.sleep(100)

    await world.live(mapping(), mapping("other"), until=until)
    assert len(world.crashes()) == 2
    assert [run.mapping.name for run in world.runs] == ["m", "other", "other", "other"]


async def test_an_order_about_a_shard_is_refused_for_a_queue_and_while_the_mapping_does_not_run() -> None:
    world = World()
    order = ShardOrder("retry", ShardId("s"), None, None)

    async def until() -> None:
        for _ in range(2):
            with pytest.raises(CannotChange, match="the mapping m reads no shards now"):
                world.supervisor.order(NAME, order)
            await world.supervisor.pause(NAME)

    await world.live(mapping(), until=until)


async def test_a_paused_mapping_finishes_its_batches_and_polls_nothing_until_it_is_resumed() -> None:
    world = World()
    world.busy_for = 10.0

    async def until() -> None:
        await world.supervisor.pause(NAME)
        await world.supervisor.pause(NAME)
        assert world.status().state == "paused"
        assert world.status().reason == f"a person paused it; `poller resume {NAME}` resumes it"
        assert (world.status().polls_in_flight, world.status().batches_in_flight) == (0, 1)
        await anyio.sleep(100)
        assert world.status().batches_in_flight == 0
        assert world.runs[0].closed_at == 10
        await world.supervisor.resume(NAME)
        await world.supervisor.resume(NAME)
        await anyio.wait_all_tasks_blocked()
        assert world.status().state == "ready"

    await world.live(mapping(), until=until)
    assert [run.began_at for run in world.runs] == [0, 100]


async def test_a_mapping_is_at_rest_only_while_it_is_paused_and_has_nothing_in_hand() -> None:
    world = World()
    world.busy_for = 2.5 * PATIENCE_IN_SECONDS

    async def until() -> None:
        with pytest.raises(CannotChange, match="is not paused: pause it first"):
            async with world.supervisor.at_rest(NAME):
                pass
        await world.supervisor.pause(NAME)
        with pytest.raises(CannotChange, match="still finishes what it has in hand: try again soon"):
            async with world.supervisor.at_rest(NAME):
                pass
        assert anyio.current_time() == PATIENCE_IN_SECONDS
        await anyio.sleep(PATIENCE_IN_SECONDS)
        async with anyio.create_task_group() as tasks, world.supervisor.at_rest(NAME):
            assert anyio.current_time() == world.busy_for
            tasks.start_soon(world.supervisor.resume, NAME)
            await anyio.sleep(50)
            assert world.status().state == "paused", "a resume waits for the end of the block"

    await world.live(mapping(), until=until)
    assert [run.began_at for run in world.runs] == [0, world.busy_for + 50]


async def test_a_mapping_that_is_removed_meanwhile_is_not_at_rest() -> None:
    world = World()

    async def until() -> None:
        await world.supervisor.pause(NAME)
        await anyio.sleep(100)

        async def rest() -> None:
            with pytest.raises(CannotChange, match="was removed meanwhile"):
                async with world.supervisor.at_rest(NAME):
                    pass

        async with anyio.create_task_group() as tasks, world.supervisor.at_rest(NAME):
            tasks.start_soon(world.supervisor.remove, NAME)
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(rest)
            await anyio.wait_all_tasks_blocked()

    await world.live(mapping(), until=until)


async def test_a_pause_survives_a_restart_and_a_replacement() -> None:
    pauses = FakePauses()
    world = World(pauses=pauses)

    async def pause() -> None:
        await anyio.sleep(3)
        await world.supervisor.pause(NAME)
        paused_at.append(world.status().since)
        await anyio.sleep(10)
        await world.supervisor.pause(NAME)

    paused_at: list[float | None] = []
    await world.live(mapping(), until=pause)
    assert paused_at != [None]
    world = World(pauses=pauses)

    async def until() -> None:
        await anyio.sleep(10)
        await world.supervisor.replace(mapping(batch_size=7), FUNCTION)
        assert (world.status().state, len(world.runs)) == ("paused", 0)
        assert [world.status().since] == paused_at
        await world.supervisor.resume(NAME)

    await world.live(mapping(), until=until)
    assert world.runs[0].mapping == mapping(batch_size=7)
    assert not pauses.paused


async def test_a_mapping_that_begins_paused_says_so() -> None:
    world = World(pauses=FakePauses())
    world.pauses.paused = {NAME: Pause(5.0)}
    said = [MappingBeginsPaused(NAME)]

    async def until() -> None:
        assert world.facts == said
        await world.supervisor.remove(NAME)
        await world.supervisor.add(mapping(), FUNCTION)
        assert world.facts == said * 2
        await world.supervisor.remove(NAME)
        await world.supervisor.add(mapping(is_enabled=False), FUNCTION)
        await world.supervisor.add(mapping("another"), FUNCTION)
        assert world.facts == said * 2

    await world.live(mapping(), until=until)


async def test_a_mapping_follows_the_pauses_that_other_workers_store() -> None:
    world = World()

    async def until() -> None:
        assert world.supervisor.changed_pauses([]) == []
        world.pauses.paused = {NAME: Pause(5.0)}
        assert world.supervisor.changed_pauses([NAME, MappingName("unknown")]) == [NAME]
        for _ in range(2):
            await world.supervisor.follow_pause(NAME)
            assert (world.status().state, world.status().since) == ("paused", 5.0)
        assert world.supervisor.changed_pauses([NAME]) == []
        await anyio.sleep(10)
        world.pauses.paused = {}
        assert world.supervisor.changed_pauses([]) == [NAME]
        for _ in range(2):
            await world.supervisor.follow_pause(NAME)
            await anyio.wait_all_tasks_blocked()
            assert world.status().state == "ready"
        assert world.pauses.paused == {}

    await world.live(mapping(), until=until)
    assert [run.began_at for run in world.runs] == [0, 10]


async def test_a_scan_from_before_a_change_changes_nothing() -> None:
    world = World()

    async def until() -> None:
        await world.supervisor.pause(NAME)
        for name in world.supervisor.changed_pauses([]):
            await world.supervisor.follow_pause(name)
        assert world.status().state == "paused"
        await world.supervisor.resume(NAME)
        for name in world.supervisor.changed_pauses([NAME]):
            await world.supervisor.follow_pause(name)
        assert not world.supervisor.is_paused(NAME)

    await world.live(mapping(), until=until)


async def test_a_mapping_that_another_worker_resumes_and_that_cannot_be_opened_stays_paused() -> None:
    world = World()

    async def until() -> None:
        await world.supervisor.pause(NAME)
        world.pauses.paused = {}
        world.fails_to_open = SettingsError(["no such thing"])
        with pytest.raises(SettingsError):
            await world.supervisor.follow_pause(NAME)
        assert world.status().state == "paused"
        world.fails_to_open = None
        assert world.supervisor.changed_pauses([]) == [NAME]
        await world.supervisor.follow_pause(NAME)
        assert not world.supervisor.is_paused(NAME)

    await world.live(mapping(), until=until)


async def test_a_mapping_that_is_added_later_is_paused_if_another_worker_has_paused_it() -> None:
    world = World()
    other, restored = MappingName("other"), MappingName("restored")
    world.pauses.paused = {restored: Pause(5.0)}

    async def until() -> None:
        world.supervisor.changed_pauses([other, restored])
        await world.supervisor.add(mapping(other), FUNCTION)
        assert world.supervisor.is_paused(other)
        await world.supervisor.add(mapping(restored), FUNCTION)
        assert world.supervisor.status(restored).since == 5.0, "the file has the mapping again"
        await world.supervisor.remove(other)
        world.supervisor.changed_pauses([])
        await world.supervisor.add(mapping(other), FUNCTION)
        assert not world.supervisor.is_paused(other)

    await world.live(mapping(), until=until)


async def test_a_pause_belongs_to_the_name_until_it_is_resumed() -> None:
    world = World()

    async def come_again() -> str:
        await world.supervisor.remove(NAME)
        await world.supervisor.add(mapping(), FUNCTION)
        await anyio.wait_all_tasks_blocked()
        return world.status().state

    async def until() -> None:
        await world.supervisor.pause(NAME)
        assert await come_again() == "paused"
        await world.supervisor.resume(NAME)
        assert await come_again() == "ready"

    await world.live(mapping(), until=until)


async def test_no_mapping_begins_during_the_stop() -> None:
    world = World()
    world.busy_for = 10.0

    async def until() -> None:
        world.stop.begin()
        await world.supervisor.add(mapping("late"), FUNCTION)
        await world.supervisor.replace(mapping(batch_size=7), FUNCTION)

    await world.live(mapping(), until=until)
    assert [run.mapping.name for run in world.runs] == [NAME]


async def test_a_pause_that_cannot_be_stored_does_not_take_effect() -> None:
    world = World()

    async def until() -> None:
        world.pauses.is_broken = True
        with pytest.raises(Unreachable):
            await world.supervisor.pause(NAME)
        assert world.status().polls_in_flight == 1

    await world.live(mapping(), until=until)


@pytest.mark.parametrize("change", ["pause", "resume"])
async def test_a_mapping_that_is_removed_meanwhile_can_be_neither_paused_nor_resumed(change: str) -> None:
    world = World()
    changes = {"pause": world.supervisor.pause, "resume": world.supervisor.resume}

    async def refused() -> None:
        with pytest.raises(CannotChange, match="the mapping m was removed meanwhile"):
            await changes[change](NAME)

    async def until() -> None:
        world.pauses.go = anyio.Event()
        async with anyio.create_task_group() as tasks:
            for in_line in (world.supervisor.pause, world.supervisor.remove):
                tasks.start_soon(in_line, NAME)
                await anyio.wait_all_tasks_blocked()
            tasks.start_soon(refused)
            await anyio.wait_all_tasks_blocked()
            world.pauses.go.set()
        assert not world.supervisor.statuses()

    await world.live(mapping(), until=until)


async def test_a_mapping_that_cannot_be_opened_stays_paused() -> None:
    world = World()

    async def until() -> None:
        await world.supervisor.pause(NAME)
        world.fails_to_open = SettingsError(["no such region"])
        with pytest.raises(SettingsError):
            await world.supervisor.resume(NAME)
        assert world.status().state == "paused"
        assert world.pauses.paused.keys() == {NAME}

    await world.live(mapping(), until=until)


async def test_a_disabled_mapping_opens_nothing_until_it_is_enabled() -> None:
    world = World()

    async def until() -> None:
        assert (world.status().state, world.runs) == ("disabled", [])
        await world.supervisor.replace(mapping(), FUNCTION)
        assert world.status().state == "ready"
        await world.supervisor.replace(mapping(is_enabled=False), FUNCTION)
        assert world.status().state == "disabled"
        assert world.runs[0].closed_at == 1

    await world.live(mapping(is_enabled=False), until=until)


@pytest.mark.parametrize("error", [InUse("a KCL application runs"), CannotStore("full"), SettingsError(["no table"])])
async def test_a_mapping_whose_table_cannot_be_used_waits_and_has_not_crashed(error: Exception) -> None:
    world = World()
    world.crashes_after, world.crashes_with = [1.0], error

    async def until() -> None:
        await anyio.sleep(1.1)
        assert world.status().reason == f"the mapping waits: {error}"
        await anyio.sleep(10)
        assert world.status().state == "ready"

    await world.live(mapping(), until=until)
    assert [fact.reason for fact in world.facts if isinstance(fact, MappingCannotRun)] == [str(error)]
    assert world.crashes() == []


async def test_a_mapping_that_cannot_be_opened_after_a_crash_is_tried_again() -> None:
    world = World()
    world.crashes_after = [1.0]

    async def until() -> None:
        await anyio.sleep(0.5)
        world.fails_to_open = SettingsError(["the state is locked"])
        await anyio.sleep(10)
        assert "the state is locked" in (world.status().reason or "")
        world.fails_to_open = None
        await anyio.sleep(20)
        assert world.status().state == "ready"

    await world.live(mapping(), until=until)
    pauses = [fact.retry_in_seconds for fact in world.facts if isinstance(fact, MappingCrashed | MappingCannotRun)]
    assert len(pauses) >= 3
    assert pauses[2] >= 2, "each pause is longer"


async def test_an_error_while_a_mapping_closes_is_logged_and_ends_no_other_mapping() -> None:
    world = World()

    async def until() -> None:
        world.fails_to_close = OSError("a pipe")
        await world.supervisor.remove(NAME)
        world.fails_to_close = None
        assert world.supervisor.status(MappingName("other")).polls_in_flight == 1

    await world.live(mapping(), mapping("other"), until=until)
    assert [type(fact.error) for fact in world.crashes()] == [OSError]


async def test_the_daemons_stop_ends_every_run_and_cancels_those_that_outlast_the_grace() -> None:
    world = World()
    world.busy_for = 90.0

    async def until() -> None:
        await anyio.sleep(5)
        await world.supervisor.pause(NAME)
        world.stop.begin()
        assert {status.state for status in world.supervisor.statuses()} == {"stopping"}

    await world.live(mapping(), mapping("other"), until=until)
    assert [run.ended_at for run in world.runs] == [5 + GRACE_IN_SECONDS] * 2
    stages = [(fact.stage, fact.batches_in_flight) for fact in world.facts if isinstance(fact, DaemonStopping)]
    assert [stage for stage, _ in stages] == ["draining", "releasing", "stopped"]
    assert stages[0] == ("draining", 2)


async def test_nothing_is_polled_before_the_daemon_has_begun_or_if_it_cannot_begin() -> None:
    world = World()

    async def fail_to_begin() -> None:
        async with world.supervisor.running():
            await world.supervisor.add(mapping(), FUNCTION)
            await anyio.sleep(10)
            assert world.status().state == "starting"
            raise SettingsError(["the port is in use"])

    with pytest.raises(SettingsError):
        await fail_to_begin()
    assert [run.began_at for run in world.runs] == [None]


@pytest.mark.parametrize("change", ["replaced", "resumed", "crashed"])
async def test_a_mapping_that_begins_another_run_of_the_same_source_was_found(change: str) -> None:
    world = World()
    world.busy_for = 20.0
    world.crashes_after = [10.0] if change == "crashed" else []

    async def until() -> None:
        assert not world.status().was_found, "there is no earlier run"
        await anyio.sleep(5)
        if change == "replaced":
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(world.supervisor.replace, replace(mapping(), batch_size=3), FUNCTION)
                await anyio.sleep(5)
                assert (world.status().state, world.status().was_found) == ("starting", True)
        elif change == "resumed":
            await world.supervisor.pause(NAME)
            await world.supervisor.resume(NAME)
        await anyio.sleep(50)
        assert (len(world.runs), world.status().was_found) == (2, True)
        await world.supervisor.replace(replace(mapping(), maximum_concurrency=2), FUNCTION)
        assert world.status().was_found

    await world.live(mapping(), until=until)


async def test_a_mapping_that_gets_another_source_was_not_found_and_neither_was_one_that_never_began() -> None:
    world = World()

    async def until() -> None:
        await anyio.sleep(5)
        await world.supervisor.replace(replace(mapping(), event_source_arn=mapping("other").event_source_arn), FUNCTION)
        assert not world.status().was_found

    await world.live(mapping(), until=until)
    world = World()
    async with world.supervisor.running():
        await world.supervisor.add(mapping(), FUNCTION)
        await world.supervisor.pause(NAME)
        await world.supervisor.resume(NAME)
        assert not world.status().was_found
        world.stop.begin()


async def test_a_hundred_changes_leave_no_task_behind() -> None:
    world = World()
    world.busy_for = 0.0

    async def until() -> None:
        for number in range(100):
            await world.supervisor.replace(replace(mapping(), batch_size=number + 1), FUNCTION)
            await world.supervisor.add(mapping(f"m{number}"), FUNCTION)
            await world.supervisor.remove(MappingName(f"m{number}"))
        await anyio.wait_all_tasks_blocked()
        assert len(world.supervisor._runs._runs) == 1
        assert len(world.stop._parts) == 1
        assert [*world.series.mappings] == [NAME]

    await world.live(mapping(), until=until)


async def test_a_mapping_has_changed_when_a_run_has_begun_or_ended_after_the_start() -> None:
    world = World()
    world.crashes_after = [5.0]

    async def until() -> None:
        assert world.supervisor.take_changed() == set(), "the runs of the start do not count"
        await anyio.sleep(20)
        assert len(world.runs) == 3, "two of the start, and one after the crash"
        assert world.supervisor.take_changed() == {NAME}
        assert world.supervisor.take_changed() == set()
        await world.supervisor.pause(NAME)
        await anyio.sleep(20)
        assert world.supervisor.take_changed() == {NAME}
        await world.supervisor.resume(NAME)
        await world.supervisor.remove(MappingName("other"))
        assert world.supervisor.take_changed() == {NAME, MappingName("other")}

    await world.live(mapping(), mapping("other"), until=until)


async def test_the_events_of_a_function_run_and_crash_as_a_mapping_without_series_of_a_mapping() -> None:
    world = World()
    world.crashes_after = [1.0]
    events = EventMapping(function_name=FUNCTION.name)

    async def until() -> None:
        assert world.series.mappings == {}
        await anyio.sleep(5.0)
        (crash,) = [fact for fact in world.facts if isinstance(fact, EventsCrashed)]
        assert crash.function == FUNCTION.name
        assert len(world.runs) == 2
        await world.supervisor.replace(events, FUNCTION)
        assert len(world.runs) == 3
        await world.supervisor.remove(events.name)

    await world.live(events, until=until)
    assert world.crashes() == []


async def test_paused_events_have_a_status_of_events() -> None:
    world = World()
    events = EventMapping(function_name=FUNCTION.name)

    async def until() -> None:
        await world.supervisor.pause(events.name)
        await anyio.sleep(5.0)
        status = world.supervisor.status(events.name)
        assert (status.state, status.events, status.source) == ("paused", None, "the source")

    await world.live(events, until=until)
    after_restart = World(pauses=world.pauses)

    async def look() -> None:
        await anyio.wait_all_tasks_blocked()
        status = after_restart.supervisor.status(events.name)
        assert (status.state, status.events) == ("paused", EventsStatus())
        assert status.source == "the event queue of the daemon"

    await after_restart.live(events, until=look)
