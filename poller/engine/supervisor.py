"""How are mappings added, changed and removed while others run? A mapping has runs, and each run has a stop and a task.

    add ──> run ── replace ──> another run ── pause ──> no run ── resume ──> another run ── remove ──> no run
             └── a crash ──> another run, after a pause that grows with each crash

A run opens what it needs, works until its stop, finishes what is in hand and closes what it opened, all in one task.
The daemon's stop stops all runs.
The asynchronous events of a function are a mapping, too (`model.mapping.EventMapping`).

After a run's own stop, the run polls no more, and its invocations continue until they end or time out.
After `replace`, the new run waits until the old run has ended or the grace is over. After a crash or a pause, the new
run does not wait. If the old run has not ended then, both run at the same time. The new run does not touch the message
groups and shards that the old run still holds (`queues/groups.py`, `streams/shards_in_hand.py`).

    await supervisor.add(mapping, function)        raises an error if the mapping cannot be opened; then it is not added
    await supervisor.replace(mapping, function)    raises the same error; then the mapping continues as before
    await supervisor.remove(name)                  waits until the invocations have ended, or the grace is over
    await supervisor.pause(name)                   does not wait; the pause survives a restart
    await supervisor.resume(name)
    supervisor.order(name, order)                  a person's order about a blocked shard
    await supervisor.follow_pause(name)            pauses or resumes as another worker has done
    supervisor.mappings(), supervisor.status(name), supervisor.statuses()
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Literal, Protocol

import anyio
from anyio.abc import TaskGroup, TaskStatus
from anyio.lowlevel import checkpoint as turn

from poller.core.backoff import CRASH
from poller.disclosure import safe_text
from poller.engine.stop import Stop
from poller.engine.supervised import Run, Runner, ShardRunner, Supervised, status_of
from poller.errors import CannotChange
from poller.facts import (
    DaemonStopping,
    Emit,
    EventsCrashed,
    MappingCrashed,
    MappingPausedByRequest,
    MappingResumedByRequest,
)
from poller.model.function import Function
from poller.model.ids import FunctionName, MappingName
from poller.model.mapping import AnyMapping, EventMapping, StreamMapping
from poller.model.order import ShardOrder
from poller.model.status import BlockedShard, Health, MappingStatus
from poller.ports import Clock, PauseStore

FORGIVEN_AFTER_IN_SECONDS = 600.0
"""If a run has worked for at least this time before it crashes, the count of crashes begins again at one."""

DRAIN_SLACK_IN_SECONDS = 30.0
"""How much longer than its function's timeout a run may take to finish its batches after its stop.

Lambda's answer may come up to 15 s after the timeout, and then the messages must still be deleted.
"""


OpenRunner = Callable[[AnyMapping, Function, Stop], AbstractAsyncContextManager[Runner]]
"""Opens what a runner needs, yields the runner, and closes everything afterwards.

The runner ends after the stop begins.
"""


class Series(Protocol):
    """Adds and removes the metrics of a mapping (`telemetry.Telemetry`).

    The events of a function have those of the function.
    """

    def begin_mapping(self, mapping: MappingName, function: FunctionName, *, is_stream: bool) -> None: ...

    def forget_mapping(self, mapping: MappingName) -> None: ...


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
    ) -> None:
        self.grace_in_seconds = grace_in_seconds
        self._open_runner = open_runner
        self._pauses = pauses
        self._series = series
        self._stop = stop
        self._clock = clock
        self._emit = emit
        self._randomness = randomness
        self._mappings: dict[MappingName, Supervised] = {}
        self._runs: dict[Run, None] = {}  # ordered, as Supervised.runs
        self._paused: set[MappingName] = set()
        self._begun = anyio.Event()
        self._tasks: TaskGroup

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run mappings while the block lasts. No mapping polls before `begin` is called.

        The end of the block waits until the stop has begun and every run has ended. An error in the block cancels all
        runs.
        """
        failure: Exception | None = None
        async with anyio.create_task_group() as services:
            services.start_soon(self._hurry_after_grace)
            services.start_soon(self._report_stages)
            async with anyio.create_task_group() as self._tasks:
                try:
                    self._paused = set(await self._pauses.load())
                    yield
                    await self.stopped()
                except Exception as error:  # raised below, because the task group would wrap it
                    failure = error
                    self._tasks.cancel_scope.cancel()
            services.cancel_scope.cancel()
        if failure is not None:
            raise failure
        self._report_stage("stopped")

    def begin(self) -> None:
        """Let the mappings poll. The daemon calls this when it is ready."""
        self._begun.set()

    async def stopped(self) -> None:
        """Wait until the stop has begun and every run has ended."""
        await self._stop.draining.wait()
        while self._runs:
            await next(iter(self._runs)).ended.wait()

    async def add(self, mapping: AnyMapping, function: Function) -> None:
        """Add a mapping with a new name. Begin its run, unless the mapping is disabled or paused.

        If the mapping cannot be opened, raises that error, and the mapping does not exist.
        """
        assert mapping.name not in self._mappings, f"{mapping.name} is there already"
        supervised = Supervised(mapping, function, is_paused=mapping.name in self._paused)
        self._mappings[mapping.name] = supervised
        self._begin_series(mapping)
        try:
            async with supervised.changing:
                supervised.run = await self._begin(supervised, mapping, function)
        except BaseException:
            del self._mappings[mapping.name]
            self._forget_series(mapping)
            raise

    async def replace(self, mapping: AnyMapping, function: Function) -> None:
        """Change the options or the function of the mapping with this name, and wait until a new run uses them.

        If the mapping cannot be opened, raises that error, and the mapping continues as before.
        """
        supervised = self._mappings[mapping.name]
        async with supervised.changing:
            old = supervised.run
            new = await self._begin(supervised, mapping, function, after=old)
            supervised.mapping, supervised.function, supervised.run = mapping, function, new
            self._begin_series(mapping)
            if old is not None:
                old.stop.begin()
            stopped = [run for run in supervised.runs if run is not new]
        if new is not None:
            await new.began.wait()
        else:
            await self._drained(stopped)

    async def remove(self, name: MappingName) -> None:
        """Remove the mapping, and wait until its invocations have ended or the grace is over."""
        supervised = self._mappings[name]
        async with supervised.changing:
            del self._mappings[name]
            supervised.run = None
            runs = list(supervised.runs)
        try:
            for run in runs:
                run.stop.begin()
            await self._drained(runs)
        finally:
            if name not in self._mappings:
                self._forget_series(supervised.mapping)

    async def pause(self, name: MappingName) -> None:
        """Pause the mapping until `resume`, also after a restart.

        It finishes the batches in hand and keeps its position.

        This does not wait for the batches. If the pause cannot be stored, raises that error, and the mapping continues.
        Raises CannotChange if the mapping is removed meanwhile.
        """
        supervised = self._mappings[name]
        async with supervised.changing:
            self._refuse_if_removed(supervised)
            await self._pauses.pause(name)
            self._pause(supervised)

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

    async def follow_pause(self, name: MappingName) -> None:
        """Pause or resume the mapping if another worker has done so. Raises the errors of `resume`."""
        supervised = self._mappings[name]
        async with supervised.changing:
            self._refuse_if_removed(supervised)
            if await self._pauses.is_paused(name):
                self._pause(supervised)
            elif supervised.is_paused:
                await self._resume(supervised, turn)

    def changed_pauses(self, paused: Collection[MappingName]) -> Sequence[MappingName]:
        """Return the mappings whose pause another worker may have changed. `paused` is what the store shows.

        A mapping that is added later is paused if the store shows it so.
        """
        self._paused = (self._paused & self._mappings.keys()) | (set(paused) - self._mappings.keys())
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

    def status(self, name: MappingName) -> MappingStatus:
        return status_of(self._mappings[name], is_stopping=self._stop.has_begun)

    def statuses(self) -> Sequence[MappingStatus]:
        """Return the status of each mapping, in the order in which the mappings were added."""
        return [status_of(supervised, is_stopping=self._stop.has_begun) for supervised in self._mappings.values()]

    def _pause(self, supervised: Supervised) -> None:
        name = supervised.mapping.name
        self._paused.add(name)
        if not supervised.is_paused:
            supervised.is_paused = True
            self._emit(MappingPausedByRequest(name))
        if supervised.run is not None:
            supervised.run.stop.begin()

    async def _resume(self, supervised: Supervised, store: Callable[[], Awaitable[None]]) -> None:
        """Begin a run and store the change. If one of both fails, raises that error, and the mapping stays paused."""
        supervised.is_paused = False
        run = None
        try:
            run = await self._begin(supervised, supervised.mapping, supervised.function)
            await store()
        except BaseException:
            supervised.is_paused = True
            if run is not None:
                run.stop.begin()
            raise
        supervised.run = run
        self._paused.discard(supervised.mapping.name)
        self._emit(MappingResumedByRequest(supervised.mapping.name))

    def _refuse_if_removed(self, supervised: Supervised) -> None:
        name = supervised.mapping.name
        if self._mappings.get(name) is not supervised:
            raise CannotChange(f"the mapping {name} was removed meanwhile")

    async def _begin(
        self, supervised: Supervised, mapping: AnyMapping, function: Function, *, after: Run | None = None
    ) -> Run | None:
        """Open a run and return it. The run begins to work when the run `after` has ended or the grace is over.

        Returns None if the mapping is disabled or paused, or if the daemon stops.
        """
        if not mapping.is_enabled or supervised.is_paused or self._stop.has_begun:
            return None
        if supervised.run is not None and (last := supervised.run.runner.status()).state != "starting":
            supervised.found = last.source
        run = Run(mapping, function)
        await self._tasks.start(self._live, supervised, run, after)
        supervised.crash = None
        self._tasks.start_soon(self._see_to_the_end, supervised, run)
        return run

    async def _live(
        self, supervised: Supervised, run: Run, after: Run | None, *, task_status: TaskStatus[None]
    ) -> None:
        """Open a run, let it work, and close it, all in this task."""
        try:
            with self._stop.part() as run.stop:
                async with self._open_runner(run.mapping, run.function, run.stop) as run.runner:
                    run.is_open = True
                    supervised.runs[run] = self._runs[run] = None
                    task_status.started()
                    await self._work(run, after)
        except Exception as error:  # a crash of one mapping must not end the other mappings
            if not run.is_open:
                raise
            run.stop.fail(error)
        finally:
            supervised.runs.pop(run, None)
            self._runs.pop(run, None)
            run.stop.begin()
            run.began.set()
            run.ended.set()

    async def _work(self, run: Run, after: Run | None) -> None:
        if after is not None:
            with anyio.move_on_after(self.grace_in_seconds):
                await run.stop.before(after.ended)
        await run.stop.before(self._begun)
        run.began_at = anyio.current_time()
        run.began.set()
        if run.stop.has_begun:
            return
        longest = max(self.grace_in_seconds, run.function.timeout_in_seconds + DRAIN_SLACK_IN_SECONDS)
        async with anyio.create_task_group() as beside:
            beside.start_soon(run.stop.after_grace, longest)
            try:
                await run.runner.run()
            except Exception as error:  # a crash must not end the other mappings; outside, the task group would wrap it
                run.stop.fail(error)
            beside.cancel_scope.cancel()

    async def _drained(self, runs: Collection[Run]) -> None:
        """Wait until these runs have ended or the grace is over."""
        with anyio.move_on_after(self.grace_in_seconds):
            for run in runs:
                await run.ended.wait()

    async def _see_to_the_end(self, supervised: Supervised, run: Run) -> None:
        """After a crash, wait for a pause and begin another run.

        The batches that the old run has in hand may still run then.
        """
        await run.stop.draining.wait()
        if run.stop.crash is None:
            await run.ended.wait()
        error = run.stop.crash
        if error is not None:
            has_gone_well = anyio.current_time() - run.began_at > FORGIVEN_AFTER_IN_SECONDS
            supervised.crashes = 1 if has_gone_well else supervised.crashes + 1
        while error is not None:
            await self._leave_alone(supervised, run, error)
            error = await self._run_again(supervised, run)

    async def _leave_alone(self, supervised: Supervised, run: Run, error: Exception) -> None:
        delay, now = CRASH.delay(supervised.crashes, self._randomness), self._clock.now()
        self._emit(_crashed(run.mapping, error, delay))
        if not self._is_current(supervised, run):
            return
        supervised.crash = Health(
            "starting" if run.runner.status().state == "starting" else "troubled",
            f"the mapping crashed and restarts: {safe_text(error)}",
            since=now,
            attempt=supervised.crashes,
            next_try=now + delay,
        )
        await self._stop.sleep(delay)

    async def _run_again(self, supervised: Supervised, run: Run) -> Exception | None:
        """Begin the next run. If it cannot be opened, return the error, else None."""
        async with supervised.changing:
            if self._is_current(supervised, run):
                try:
                    supervised.run = await self._begin(supervised, run.mapping, run.function)
                except Exception as error:  # a run that cannot be opened counts as another crash
                    supervised.crashes += 1
                    return error
        return None

    def _is_current(self, supervised: Supervised, run: Run) -> bool:
        """Return whether this is still the newest run, so that another one must follow it after a crash.

        This is false if the mapping was replaced, paused or removed, or if the daemon stops.
        """
        return supervised.run is run and not supervised.is_paused and not self._stop.has_begun

    def _begin_series(self, mapping: AnyMapping) -> None:
        if not isinstance(mapping, EventMapping):
            is_stream = isinstance(mapping, StreamMapping)
            self._series.begin_mapping(mapping.name, mapping.function_name, is_stream=is_stream)

    def _forget_series(self, mapping: AnyMapping) -> None:
        if not isinstance(mapping, EventMapping):
            self._series.forget_mapping(mapping.name)

    async def _hurry_after_grace(self) -> None:
        await self._stop.draining.wait()
        await self._stop.after_grace(self.grace_in_seconds)

    async def _report_stages(self) -> None:
        await self._stop.draining.wait()
        self._report_stage("draining")
        await self._stop.releasing.wait()
        self._report_stage("releasing")

    def _report_stage(self, stage: Literal["draining", "releasing", "stopped"]) -> None:
        batches = sum(run.runner.status().batches_in_flight for run in self._runs)
        self._emit(DaemonStopping(stage=stage, batches_in_flight=batches))


def _crashed(mapping: AnyMapping, error: Exception, delay: float) -> MappingCrashed | EventsCrashed:
    if isinstance(mapping, EventMapping):
        return EventsCrashed(function=mapping.function_name, error=error, retry_in_seconds=delay)
    return MappingCrashed(mapping=mapping.name, error=error, retry_in_seconds=delay)
