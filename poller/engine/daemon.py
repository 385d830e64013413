"""How do all mappings run side by side? Each under a supervisor of its own; one stop for all.

a mapping's run ends at the stop ── fine
                raises           ── said, and run anew after a pause; the others never notice
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import anyio

from poller.core.backoff import CRASH
from poller.disclosure import safe_text
from poller.engine.stop import Stop
from poller.facts import DaemonStopping, Emit, MappingCrashed
from poller.model.ids import MappingName
from poller.model.status import Health, MappingStatus
from poller.ports import Clock

FORGIVEN_AFTER_IN_SECONDS = 600.0
"""A run that went well for so long begins a new count of crashes."""


class Runner(Protocol):
    """One run of one mapping."""

    def status(self) -> MappingStatus: ...

    async def run(self) -> None: ...


class Daemon:
    """Runs mappings until the stop. `mappings` makes a fresh runner for each run of a mapping."""

    def __init__(
        self,
        mappings: Mapping[MappingName, Callable[[], Runner]],
        *,
        stop: Stop,
        grace_in_seconds: float,
        clock: Clock,
        emit: Emit,
        randomness: random.Random,
    ) -> None:
        self._make = mappings
        self._runners = {name: make() for name, make in mappings.items()}
        self._crashes: dict[MappingName, Health] = {}
        self._stop = stop
        self._grace_in_seconds = grace_in_seconds
        self._clock = clock
        self._emit = emit
        self._randomness = randomness

    def statuses(self) -> Sequence[MappingStatus]:
        return [self._status(name) for name in self._runners]

    async def run(self) -> None:
        """Returns when every mapping has stopped."""
        async with anyio.create_task_group() as services:
            services.start_soon(self._stop.after_grace, self._grace_in_seconds)
            services.start_soon(self._say_stages)
            async with anyio.create_task_group() as mappings:
                for name in self._runners:
                    mappings.start_soon(self._supervise, name)
                mappings.start_soon(self._stop.draining.wait)
            services.cancel_scope.cancel()
        self._say("stopped")

    def _status(self, name: MappingName) -> MappingStatus:
        status = self._runners[name].status()
        if name in self._crashes and not self._stop.has_begun:
            crash = self._crashes[name]
            return status._replace(
                state="starting" if status.state == "starting" else "troubled",
                reason=crash.reason,
                since=crash.since,
                attempt=crash.attempt,
                next_try=crash.next_try,
            )
        return status

    async def _supervise(self, name: MappingName) -> None:
        crashes = 0
        while True:
            began = anyio.current_time()
            try:
                await self._runners[name].run()
            except Exception as error:  # a fault of ours in one mapping must not end the others
                crashes = 1 if anyio.current_time() - began > FORGIVEN_AFTER_IN_SECONDS else crashes + 1
                await self._leave_alone(name, error, crashes)
            if self._stop.has_begun:
                return
            self._runners[name] = self._make[name]()

    async def _leave_alone(self, name: MappingName, error: Exception, crashes: int) -> None:
        delay, now = CRASH.delay(crashes, self._randomness), self._clock.now()
        self._emit(MappingCrashed(mapping=name, error=error, retry_in_seconds=delay))
        reason = f"the mapping crashed and restarts: {safe_text(error)}"
        self._crashes[name] = Health("troubled", reason, since=now, attempt=crashes, next_try=now + delay)
        with anyio.move_on_after(delay):
            await self._stop.draining.wait()
        del self._crashes[name]

    async def _say_stages(self) -> None:
        await self._stop.draining.wait()
        self._say("draining")
        await self._stop.releasing.wait()
        self._say("releasing")

    def _say(self, stage: str) -> None:
        batches = sum(status.batches_in_flight for status in self.statuses())
        match stage:
            case "draining" | "releasing" | "stopped":
                self._emit(DaemonStopping(stage=stage, batches_in_flight=batches))
            case _:
                raise AssertionError(stage)
