"""How does one run of a mapping live, and what follows when it crashes? Each run has its own task.

    begin ──> the task opens what the run needs ──> waits for the run before it ──> works until its stop ──> closes
                                                                                      └── a crash ──> a pause ──> begin

No run works before `begin_all`. After its own stop, a run does not poll, and its invocations continue until they end or
time out. The daemon's stop stops all runs.
The pause after a crash grows with each crash. The next run does not wait for the batches of the crashed run.
If the `kcl_table` of a mapping cannot be used, the run ends in the same way, but it has not crashed. The mapping waits.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Literal

import anyio
from anyio.abc import TaskGroup, TaskStatus

from poller.core.backoff import CRASH
from poller.disclosure import safe_text
from poller.engine.stop import Stop
from poller.engine.supervised import Run, Runner, Supervised
from poller.errors import CannotStore, InUse, SettingsError
from poller.facts import DaemonStopping, Emit, EventsCrashed, MappingCannotRun, MappingCrashed
from poller.model.function import Function
from poller.model.ids import MappingName
from poller.model.mapping import AnyMapping, EventMapping
from poller.model.status import Health
from poller.ports import Clock

FORGIVEN_AFTER_IN_SECONDS = 600.0
"""If a run has worked for at least this time before it crashes, the count of crashes begins again at one."""

DRAIN_SLACK_IN_SECONDS = 30.0
"""How much longer than its function's timeout a run may take to finish its batches after its stop.

Lambda's answer may come up to 15 s after the timeout, and then the messages must still be deleted.
"""

EXPECTED = (CannotStore, InUse, SettingsError)
"""The errors of a mapping whose `kcl_table` or state cannot be used. They are no faults in poller."""


OpenRunner = Callable[[AnyMapping, Function, Stop], AbstractAsyncContextManager[Runner]]
"""Opens what a runner needs, yields the runner, and closes everything afterwards.

The runner ends after the stop begins.
"""


class Runs:
    """The runs of all mappings. `grace_in_seconds` returns the grace that is in use at that moment.

    After the stop has begun, mappings may begin invocations until `stop_announced` returns. The grace begins when it
    returns, so that these invocations have the whole grace, too.

    `changed` has the mappings of which a run has begun or ended since `begin_all`. The owner may empty it.
    """

    def __init__(
        self,
        open_runner: OpenRunner,
        *,
        stop: Stop,
        grace_in_seconds: Callable[[], float],
        stop_announced: Callable[[], Awaitable[None]],
        clock: Clock,
        emit: Emit,
        randomness: random.Random,
    ) -> None:
        self._open_runner = open_runner
        self._stop = stop
        self._grace_in_seconds = grace_in_seconds
        self._stop_announced = stop_announced
        self._clock = clock
        self._emit = emit
        self._randomness = randomness
        self._runs: dict[Run, None] = {}  # ordered, as Supervised.runs
        self._begun = anyio.Event()
        self.changed: set[MappingName] = set()
        self._tasks: TaskGroup

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Let runs begin while the block lasts. No run works before `begin_all` is called.

        The end of the block waits until the stop has begun and every run has ended. An error in the block cancels all
        runs.
        """
        failure: Exception | None = None
        async with anyio.create_task_group() as services:
            services.start_soon(self._hurry_after_grace)
            services.start_soon(self._report_stages)
            async with anyio.create_task_group() as self._tasks:
                try:
                    yield
                    await self.stopped()
                except Exception as error:  # raised below, because the task group would wrap it
                    failure = error
                    self._tasks.cancel_scope.cancel()
            services.cancel_scope.cancel()
        if failure is not None:
            raise failure
        self._report_stage("stopped")

    def begin_all(self) -> None:
        """Let the runs work."""
        self._begun.set()

    async def stopped(self) -> None:
        """Wait until the stop has begun and every run has ended."""
        await self._stop.draining.wait()
        while self._runs:
            await next(iter(self._runs)).ended.wait()

    async def begin(
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
                    self._note_change(run)
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
            self._note_change(run)

    def _note_change(self, run: Run) -> None:
        if self._begun.is_set():
            self.changed.add(run.mapping.name)

    async def _work(self, run: Run, after: Run | None) -> None:
        if after is not None:
            with anyio.move_on_after(self._grace_in_seconds()):
                await run.stop.before(after.ended)
        await run.stop.before(self._begun)
        run.began_at = anyio.current_time()
        run.began.set()
        if run.stop.has_begun:
            return
        longest = max(self._grace_in_seconds(), run.function.timeout_in_seconds + DRAIN_SLACK_IN_SECONDS)
        async with anyio.create_task_group() as beside:
            beside.start_soon(run.stop.after_grace, longest)
            try:
                await run.runner.run()
            except Exception as error:  # a crash must not end the other mappings; outside, the task group would wrap it
                run.stop.fail(error)
            beside.cancel_scope.cancel()

    async def _see_to_the_end(self, supervised: Supervised, run: Run) -> None:
        """After a crash, wait for a pause and begin another run.

        When the new run begins, the batches that the old run has in hand may still run.
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
        self._emit(_ended(run.mapping, error, delay))
        if not self._is_current(supervised, run):
            return
        supervised.crash = Health(
            "starting" if run.runner.status().state == "starting" else "troubled",
            f"the mapping {'waits' if isinstance(error, EXPECTED) else 'crashed and restarts'}: {safe_text(error)}",
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
                    supervised.run = await self.begin(supervised, run.mapping, run.function)
                except Exception as error:  # a run that cannot be opened counts as another crash
                    supervised.crashes += 1
                    return error
        return None

    def _is_current(self, supervised: Supervised, run: Run) -> bool:
        """Return whether this is still the newest run, so that another one must follow it after a crash.

        This is false if the mapping was replaced, paused or removed, or if the daemon stops.
        """
        return supervised.run is run and not supervised.is_paused and not self._stop.has_begun

    async def drained(self, runs: Collection[Run]) -> None:
        """Wait until these runs have ended or the grace is over."""
        with anyio.move_on_after(self._grace_in_seconds()):
            for run in runs:
                await run.ended.wait()

    async def _hurry_after_grace(self) -> None:
        await self._stop.draining.wait()
        await self._stop_announced()
        await self._stop.after_grace(self._grace_in_seconds())

    async def _report_stages(self) -> None:
        await self._stop.draining.wait()
        self._report_stage("draining")
        await self._stop.releasing.wait()
        self._report_stage("releasing")

    def _report_stage(self, stage: Literal["draining", "releasing", "stopped"]) -> None:
        batches = sum(run.runner.status().batches_in_flight for run in self._runs)
        self._emit(DaemonStopping(stage=stage, batches_in_flight=batches))


def _ended(mapping: AnyMapping, error: Exception, delay: float) -> MappingCannotRun | MappingCrashed | EventsCrashed:
    """Return what is logged about a run that has ended with an error."""
    if isinstance(mapping, EventMapping):
        return EventsCrashed(function=mapping.function_name, error=error, retry_in_seconds=delay)
    if isinstance(error, EXPECTED):
        return MappingCannotRun(mapping.name, safe_text(error), delay)
    return MappingCrashed(mapping=mapping.name, error=error, retry_in_seconds=delay)
