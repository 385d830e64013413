"""Is everything that mappings open and share closed when they end?"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from poller.composition.mappings import Composition, compose
from poller.composition.worker import Pauses
from poller.descriptors import Limits
from poller.engine.queues.mapping import QueueMappingRunner
from poller.engine.stop import Stop
from poller.engine.streams.mapping import StreamMappingRunner
from poller.engine.supervised import Runner
from poller.engine.supervisor import Supervisor
from poller.facts import ChildProcessOutput, Fact
from poller.functions.opened import Contents, OpenFunction
from poller.garbage import THRESHOLDS, Garbage
from poller.model.function_status import FunctionStatus
from poller.model.ids import RequestId
from poller.model.invocation import Invocation
from poller.running import Running
from poller.settings.changes import changes
from poller.settings.loading import load
from poller.settings.values import Settings
from poller.telemetry.telemetry import Telemetry
from tests.fakes.recorded import Recorded

pytestmark = pytest.mark.anyio

CYCLES = 1000
WARM_UP = 100
MEMORY_LIMIT_IN_BYTES = 5 * 2**20


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def settings_of(directory: Path, names: list[str]) -> Settings:
    """Return settings with queues and streams in turn, each with its own function in child processes.

    AWS is unreachable.
    """
    text = '[daemon]\nregion = "eu-west-1"\nendpoint_url = "http://127.0.0.1:9"\n'
    for number, name in enumerate(names):
        text += f'[functions.{name}]\nhandler = "f:handler"\n[mappings.{name}]\nfunction_name = "{name}"\n'
        if number % 2:
            text += f'event_source_arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/{name}"\n'
            text += 'starting_position = "TRIM_HORIZON"\n'
            text += 'destination_config.on_failure.destination_arn = "arn:aws:sqs:eu-west-1:123456789012:failures"\n'
        else:
            text += f'event_source_arn = "arn:aws:sqs:eu-west-1:123456789012:{name}.fifo"\n'
    file = directory / "poller.toml"
    file.write_text(text)
    return load(file, {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"})


def supervisor_of(composition: Composition, stop: Stop, telemetry: Telemetry) -> Supervisor:
    return Supervisor(
        composition.open,
        pauses=Pauses(composition.worker),
        series=telemetry,
        stop=stop,
        grace_in_seconds=5.0,
        clock=composition.clock,
        emit=telemetry.emit,
        randomness=random.Random(1),
    )


def in_use() -> tuple[int, int, int]:
    """Resident bytes, tasks, descriptors."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    descriptors = [*Path("/proc/self/fd").iterdir()]
    return pages * os.sysconf("SC_PAGESIZE"), len(asyncio.all_tasks()), len(descriptors)


@pytest.fixture
def _collections_of_the_daemon() -> Iterator[None]:
    """Let the collector run as seldom as in the daemon."""
    before = gc.get_threshold()
    gc.set_threshold(*THRESHOLDS)
    yield
    gc.freeze()  # otherwise each later collection would search all tests; see conftest.py
    gc.set_threshold(*before)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells the memory in use")
@pytest.mark.usefixtures("_collections_of_the_daemon")
async def test_a_thousand_mappings_that_come_and_go_leave_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    names = [f"m{number}" for number in range(10)]
    everything = settings_of(tmp_path, ["kept", *names])
    kept = everything.mappings[0]
    alone = only(everything, "kept")
    with_another = [only(everything, "kept", name) for name in names]

    async def come_and_go(times: int) -> None:
        for number in range(times):
            more = with_another[number % len(with_another)]
            for before, after in ((alone, more), (more, alone)):
                assert not await running.apply(changes(before, after))

    stop, telemetry, garbage = Stop(), Telemetry(), Garbage()
    async with compose(everything, emit=telemetry.emit, descriptor_limit=1024) as composition:
        supervisor = supervisor_of(composition, stop, telemetry)
        limits = Limits(original=1024, own=65_536)
        running = Running(
            supervisor, composition, series=telemetry, garbage=garbage, limits=limits, emit=telemetry.emit
        )
        what_is_shared = composition.open(kept, everything.functions[kept.function_name], stop)
        async with supervisor.running(), what_is_shared:
            garbage.freeze()
            supervisor.begin()
            await come_and_go(WARM_UP)
            await anyio.wait_all_tasks_blocked()
            memory, tasks, descriptors = in_use()
            await come_and_go(CYCLES)
            await anyio.wait_all_tasks_blocked()
            memory_after, tasks_after, descriptors_after = in_use()
            stop.begin()
    assert memory_after - memory < MEMORY_LIMIT_IN_BYTES
    assert abs(tasks_after - tasks) <= 4, "each loop of the worker has one more task while it waits"
    assert descriptors_after == descriptors


def only(settings: Settings, *names: str) -> Settings:
    """Return a copy of the settings that has only these mappings and their functions, which have the same names."""
    return replace(
        settings,
        queue_mappings=tuple(mapping for mapping in settings.queue_mappings if mapping.name in names),
        stream_mappings=tuple(mapping for mapping in settings.stream_mappings if mapping.name in names),
        functions={name: function for name, function in settings.functions.items() if name in names},
    )


async def test_functions_close_in_any_order_and_the_last_mapping_closes_what_it_shares(tmp_path: Path) -> None:
    """Each target has a task group: if mappings shared one task, closing the first one first would raise."""
    settings = settings_of(tmp_path, ["a", "b"])
    facts: list[Fact] = []
    stop = Stop()
    async with compose(settings, emit=facts.append, descriptor_limit=1024) as composition:
        a, b = settings.mappings
        function = settings.functions[a.function_name]
        first = composition.open(a, function, stop)
        second = composition.open(b, settings.functions[b.function_name], stop)
        third = composition.open(a, function, stop)
        for run in (first, second, third):
            await run.__aenter__()
        opened = composition.functions._functions
        assert len(opened) == 2, "two functions for three runs"
        await first.__aexit__(None, None, None)
        assert len(opened) == 2
        await third.__aexit__(None, None, None)
        assert len(opened) == 1
        await second.__aexit__(None, None, None)
        assert (len(opened), len(composition._aws)) == (0, 0)


async def test_a_function_and_the_one_that_it_replaces_share_one_gate_and_one_room(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, ["a", "b"])
    facts: list[Fact] = []
    async with compose(settings, emit=facts.append, descriptor_limit=1024) as composition:
        mapping = settings.mappings[0]
        old = settings.functions[mapping.function_name]
        new = replace(old, timeout_in_seconds=77, reserved_concurrency=5)
        other = settings.mappings[1]
        async with (
            composition.open(mapping, old, Stop()) as first,
            composition.open(mapping, new, Stop()) as second,
            composition.open(other, settings.functions[other.function_name], Stop()) as third,
        ):
            before, after, beside = (opened_function(run) for run in (first, second, third))
            assert before is not after
            assert before.gate is after.gate
            assert before.room is after.room
            assert (after.gate.capacity, after.room.capacity) == (5, 5)
            assert beside.gate is not after.gate
        del before, after, beside, first, second, third
        gc.collect()
        assert not composition.functions._capacities


def opened_function(run: Runner) -> OpenFunction:
    match run:
        case QueueMappingRunner():
            return run._context.function
        case StreamMappingRunner():
            return run._context.lane.function
    raise AssertionError(run)


@pytest.mark.slow
async def test_each_open_function_has_a_status(tmp_path: Path) -> None:
    (tmp_path / "f.py").write_text("def handler(event, context):\n    print('hello')\n    return event\n")
    settings, emit = settings_of(tmp_path, ["a", "b"]), Recorded()
    function = settings.functions[settings.mappings[0].function_name]
    call = Invocation(RequestId("r"), b"{}", None, 1)
    async with compose(settings, emit=emit, descriptor_limit=1024) as composition:
        assert composition.functions.statuses(1000.0) == []
        with anyio.fail_after(60):
            async with composition.functions.use(function) as shared:
                unused = FunctionStatus(function.name, 0, 0, function.reserved_concurrency)
                assert composition.functions.statuses(1000.0) == [unused]
                async with shared.opened.gate.slot(unless=anyio.Event()):
                    await shared.opened.invoke(call, Contents(), began_at=anyio.current_time())
                    await emit.first(ChildProcessOutput, lambda fact: fact.line == "hello")
                    [status] = composition.functions.statuses(1000.0)
        assert composition.functions.statuses(1000.0) == []
    assert (status.running, status.children, status.busy) == (1, 1, 0)
    [line], [child] = status.log, status.first_children
    assert (line.text, line.pid) == ("hello", child.pid)
    assert line.at == pytest.approx(1000.0, abs=60)
