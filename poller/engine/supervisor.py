"""How are mappings added, changed and removed while others run? Each change begins or ends runs of the mapping.

    add ──> run ── replace ──> another run ── pause ──> no run ── resume ──> another run ── remove ──> no run
             └── a crash ──> another run (runs.py)

The daemon's stop stops all mappings.
The asynchronous events of a function are a mapping, too (`model.mapping.EventMapping`).

After `replace`, the new run waits until the old run has ended or the grace is over. After a crash or a pause, the new
run does not wait. If the old run has not ended then, both run at the same time. While an invocation of the old run
still runs, the new run does not use its message groups or its lane (`queues/groups.py`, `streams/in_hand.py`).

    await supervisor.add(mapping, function)        raises an error if the mapping cannot be opened; then it is not added
    await supervisor.replace(mapping, function)    raises the same error; then the mapping continues as before
    await supervisor.remove(name)                  waits until the invocations have ended, or the grace is over
    await supervisor.pause(name)                   does not wait; the pause survives a restart
    await supervisor.resume(name)
    supervisor.order(name, order)                  a person's order about a blocked shard
    async with supervisor.at_rest(name)            keeps a paused mapping paused
    await supervisor.follow_pause(name)            pauses or resumes the mapping if another worker has done so
    supervisor.take_changed()                      the mappings whose runs have begun or ended
    supervisor.mappings(), supervisor.status(name), supervisor.statuses()
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Protocol

import anyio
from anyio.lowlevel import checkpoint as turn

from poller.engine.runs import OpenRunner, Runs
from poller.engine.stop import Stop
from poller.engine.supervised import Run, ShardRunner, Supervised, status_of
from poller.errors import CannotChange
from poller.facts import Emit, MappingBeginsPaused, MappingPausedByRequest, MappingResumedByRequest
from poller.model.function import Function
from poller.model.ids import FunctionName, MappingName
from poller.model.lease import Pause
from poller.model.mapping import AnyMapping, EventMapping, StreamMapping
from poller.model.order import ShardOrder
from poller.model.status import BlockedShard, MappingStatus
from poller.ports import Clock, PauseStore


class Series(Protocol):
    """Adds and removes the metrics of a mapping (`telemetry.Telemetry`).

    The mapping of a function's events has no metrics of its own; the function has them.
    """

    def begin_mapping(self, mapping: MappingName, function: FunctionName, *, is_stream: bool) -> None: ...

    def forget_mapping(self, mapping: MappingName) -> None: ...


PATIENCE_IN_SECONDS = 10.0
"""How long a person who moves positions waits for the batches in hand. We chose it: a browser shows the wait."""


class Supervisor:
    """Runs mappings until the stop. Changes of different mappings may happen at the same time."""

    def __init__(
        self,
        open_runner: OpenRunner,
        *,
        pauses: PauseStore,
        series: Series,
        stop: Stop,
        grace_in_seconds: float,
        clock: Clock,
        emit: Emit,
        randomness: random.Random,
        stop_announced: Callable[[], Awaitable[None]] = anyio.lowlevel.checkpoint,
    ) -> None:
        self.grace_in_seconds = grace_in_seconds
        self._pauses = pauses
        self._clock = clock
        self._series = series
        self._stop = stop
        self._emit = emit
        self._mappings: dict[MappingName, Supervised] = {}
        self._removed: dict[MappingName, dict[Run, None]] = {}
        """The runs of removed mappings that have not ended. If a mapping with the same name is added, it has them."""
        self._paused: dict[MappingName, Pause] = {}
        self._runs = Runs(
            open_runner,
            stop=stop,
            grace_in_seconds=lambda: self.grace_in_seconds,
            stop_announced=stop_announced,
            clock=clock,
            emit=emit,
            randomness=randomness,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run mappings while the block lasts. No mapping polls before `begin` is called.

        The end of the block waits until the stop has begun and every run has ended. An error in the block cancels all
        runs.
        """
        async with self._runs.running():
            self._paused = dict(await self._pauses.load())
            yield

    def begin(self) -> None:
        """Let the mappings poll. The daemon calls this when it is ready."""
        self._runs.begin_all()

    async def stopped(self) -> None:
        """Wait until the stop has begun and every run has ended."""
        await self._runs.stopped()

    async def add(self, mapping: AnyMapping, function: Function) -> None:
        """Add a mapping with a new name. Begin its run, unless the mapping is disabled or paused.

        If the mapping cannot be opened, raises that error, and the mapping does not exist.
        """
        assert mapping.name not in self._mappings, f"{mapping.name} is there already"
        supervised = Supervised(mapping, function, pause=self._paused.get(mapping.name))
        supervised.runs = self._removed.get(mapping.name, supervised.runs)
        self._mappings[mapping.name] = supervised
        self._begin_series(mapping)
        try:
            async with supervised.changing:
                supervised.run = await self._runs.begin(supervised, mapping, function)
        except BaseException:
            del self._mappings[mapping.name]
            self._forget_series(mapping)
            raise
        if supervised.is_paused and mapping.is_enabled:
            self._emit(MappingBeginsPaused(mapping.name))

    async def replace(self, mapping: AnyMapping, function: Function) -> None:
        """Change the options or the function of the mapping with this name, and wait until a new run uses them.

        If the mapping cannot be opened, raises that error, and the mapping continues as before.
        """
        supervised = self._mappings[mapping.name]
        async with supervised.changing:
            old = supervised.run
            new = await self._runs.begin(supervised, mapping, function, after=old)
            supervised.mapping, supervised.function, supervised.run = mapping, function, new
            self._begin_series(mapping)
            if old is not None:
                old.stop.begin()
            stopped = [run for run in supervised.runs if run is not new]
        if new is not None:
            await new.began.wait()
        else:
            await self._runs.drained(stopped)

    async def remove(self, name: MappingName) -> None:
        """Remove the mapping, and wait until its invocations have ended or the grace is over."""
        supervised = self._mappings[name]
        async with supervised.changing:
            del self._mappings[name]
            self._removed[name] = supervised.runs
            self._removed = {removed: runs for removed, runs in self._removed.items() if runs}
            supervised.run = None
            runs = list(supervised.runs)
        try:
            for run in runs:
                run.stop.begin()
            await self._runs.drained(runs)
        finally:
            if name not in self._mappings:
                self._forget_series(supervised.mapping)

    async def pause(self, name: MappingName) -> None:
        """Pause the mapping until `resume`, also after a restart.

        The mapping finishes the batches in hand and keeps its position. This method does not wait for these batches.
        If the pause cannot be stored, it raises that error, and the mapping continues.
        Raises CannotChange if the mapping is removed meanwhile.
        """
        supervised = self._mappings[name]
        async with supervised.changing:
            self._refuse_if_removed(supervised)
            self._pause(supervised, await self._pauses.pause(name, at=self._clock.now()))

    async def resume(self, name: MappingName) -> None:
        """End the pause of the mapping and begin a run.

        If the run cannot be opened, or if the change cannot be stored, raises that error, and the mapping stays paused.
        Raises CannotChange if the mapping is removed meanwhile.
        """
        supervised = self._mappings[name]
        async with supervised.changing:
            self._refuse_if_removed(supervised)
            if supervised.is_paused:
                await self._resume(supervised, partial(self._pauses.resume, name))

    @asynccontextmanager
    async def at_rest(self, name: MappingName) -> AsyncIterator[None]:
        """Keep the mapping paused while the block lasts: a resume or a removal waits for the end of the block.

        Waits a short time for what the mapping has in hand. Raises CannotChange if the mapping is not paused, or if it
        still has something in hand after this time.
        """
        supervised = self._mappings[name]
        async with supervised.changing:
            self._refuse_if_removed(supervised)
            if not supervised.is_paused:
                raise CannotChange(f"the mapping {name} is not paused: pause it first")
            with anyio.move_on_after(PATIENCE_IN_SECONDS):
                for run in list(supervised.runs):
                    await run.ended.wait()
            if supervised.runs:
                raise CannotChange(f"the mapping {name} still finishes what it has in hand: try again soon")
            yield

    async def follow_pause(self, name: MappingName) -> None:
        """Pause or resume the mapping if another worker has done so. Raises the errors of `resume`."""
        supervised = self._mappings[name]
        async with supervised.changing:
            self._refuse_if_removed(supervised)
            if (pause := await self._pauses.read(name)) is not None:
                self._pause(supervised, pause)
            elif supervised.is_paused:
                await self._resume(supervised, turn)

    def changed_pauses(self, paused: Collection[MappingName]) -> Sequence[MappingName]:
        """Return the mappings whose pause another worker may have changed.

        `paused` has the mappings that the store shows as paused.

        A mapping that is added later begins paused if it is in `paused`.
        """
        kept = {name: pause for name, pause in self._paused.items() if name in self._mappings or name in paused}
        self._paused = {name: Pause(None) for name in paused if name not in self._mappings} | kept
        return [name for name, one in self._mappings.items() if one.is_paused != (name in paused)]

    def order(self, name: MappingName, order: ShardOrder) -> BlockedShard:
        """Execute a person's order about a blocked shard, and return the block as it was before.

        Raises CannotChange if the mapping does not read the shard now, or if the order does not fit its state.
        """
        run = self._mappings[name].run
        if run is None or not isinstance(run.runner, ShardRunner):
            raise CannotChange(f"the mapping {name} reads no shards now")
        return run.runner.order(order)

    def is_paused(self, name: MappingName) -> bool:
        return self._mappings[name].is_paused

    def mappings(self) -> Sequence[AnyMapping]:
        """Return the mappings that exist, in the order in which they were added."""
        return [supervised.mapping for supervised in self._mappings.values()]

    def take_changed(self) -> Collection[MappingName]:
        """Return the mappings of which a run has begun or ended since the last call.

        The runs of the start do not count.
        """
        changed, self._runs.changed = self._runs.changed, set()
        return changed

    def status(self, name: MappingName) -> MappingStatus:
        return status_of(self._mappings[name], is_stopping=self._stop.has_begun)

    def statuses(self) -> Sequence[MappingStatus]:
        """Return the status of each mapping, in the order in which the mappings were added."""
        return [status_of(supervised, is_stopping=self._stop.has_begun) for supervised in self._mappings.values()]

    def _pause(self, supervised: Supervised, pause: Pause) -> None:
        name, was_paused = supervised.mapping.name, supervised.is_paused
        supervised.pause = self._paused[name] = pause
        if not was_paused:
            self._emit(MappingPausedByRequest(name))
        if supervised.run is not None:
            supervised.run.stop.begin()

    async def _resume(self, supervised: Supervised, store: Callable[[], Awaitable[None]]) -> None:
        """Begin a run and store the change. If either fails, raises that error, and the mapping stays paused."""
        pause, supervised.pause = supervised.pause, None
        run = None
        try:
            run = await self._runs.begin(supervised, supervised.mapping, supervised.function)
            await store()
        except BaseException:
            supervised.pause = pause
            if run is not None:
                run.stop.begin()
            raise
        supervised.run = run
        self._paused.pop(supervised.mapping.name, None)
        self._emit(MappingResumedByRequest(supervised.mapping.name))

    def _refuse_if_removed(self, supervised: Supervised) -> None:
        name = supervised.mapping.name
        if self._mappings.get(name) is not supervised:
            raise CannotChange(f"the mapping {name} was removed meanwhile")

    def _begin_series(self, mapping: AnyMapping) -> None:
        if not isinstance(mapping, EventMapping):
            is_stream = isinstance(mapping, StreamMapping)
            self._series.begin_mapping(mapping.name, mapping.function_name, is_stream=is_stream)

    def _forget_series(self, mapping: AnyMapping) -> None:
        if not isinstance(mapping, EventMapping):
            self._series.forget_mapping(mapping.name)
