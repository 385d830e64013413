"""Which worker is this process, and when is its state opened? This module makes the worker for mappings.py.

    a mapping of a stream ─────────────┐
    a pause ───────────────────────────┼─ the first of them opens ──> the state, and the worker that has its leases
    a limit that other workers share ──┘

The state stays open until the daemon ends; state.py says where it is.
A daemon that needs no state opens its file once another worker has created it, because the file may have a pause.
"""

from __future__ import annotations

import random
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup, TaskStatus

from poller.aws.clients import Aws, AwsSettings
from poller.boot_clock import BootClock
from poller.composition.kcl import KclTables
from poller.composition.state import open_state, path_of
from poller.core.leases.expiry import LEASE_DURATION_IN_SECONDS, RENEWALS_PER_DURATION
from poller.core.leases.units import LimitName
from poller.engine.leases.worker import SAVE_EVERY_SECONDS, SAVE_WINDOWS_EVERY_SECONDS, Worker
from poller.engine.pauses_seen import PausesSeen
from poller.engine.sharing import Shared
from poller.engine.stop import Stop
from poller.engine.units import hold_units
from poller.errors import PollerError
from poller.facts import Emit
from poller.functions.units import Units
from poller.model.ids import MappingName
from poller.model.lease import Owner, Pause
from poller.model.mapping import StreamMapping
from poller.model.sharing import SharingStatus
from poller.ports import Clock, PauseStore
from poller.settings.values import Settings
from poller.stores.lease_by_hand import EditableStore, Hand
from poller.stores.routed_leases import RoutedLeaseStore
from poller.stores.schema import STATE

SAVE_IN_A_TABLE_EVERY_SECONDS = LEASE_DURATION_IN_SECONDS / RENEWALS_PER_DURATION
"""How long a checkpoint waits to be stored in a table. A renewal stores it, so it costs no write of its own."""


class State(NamedTuple):
    """The state at this address: its worker in this process, the stores of leases and of pauses, and KCL's tables."""

    address: str
    worker: Worker
    leases: EditableStore
    pauses: PauseStore
    kcl_tables: KclTables


class SharedLimit(NamedTuple):
    """A limit that all workers share, and the units of it that this process holds."""

    name: LimitName
    units: Units


class WorkerComposition:
    """Opens the state with the settings that are in use at that moment, and runs the worker until the daemon ends."""

    def __init__(
        self,
        settings: Callable[[], Settings],
        *,
        open_aws: Callable[[AwsSettings], AbstractAsyncContextManager[Aws]],
        tasks: TaskGroup,
        is_over: anyio.Event,
        clock: Clock,
        randomness: random.Random,
        emit: Emit,
        worker_number: int | None,
        is_daemon: bool,
    ) -> None:
        """Make a composition. `tasks` must outlive all runs. The owner of `tasks` sets `is_over` after the last run."""
        self.settings = settings
        self.pauses_seen = PausesSeen()
        self._open_aws = open_aws
        self._tasks = tasks
        self._is_over = is_over
        self._clock = clock
        self._randomness = randomness
        self._emit = emit
        self._worker_number = worker_number
        self._is_daemon = is_daemon
        self._state: State | None = None
        self._opening_state = anyio.Lock()
        self._limits = Shared(self._hold_units, tasks=tasks)
        self._stop_of_units = Stop()

    async def state(self) -> State:
        """Return the state; the first call opens it."""
        async with self._opening_state:
            if self._state is None:
                self._state = await self._tasks.start(self._keep_state)
            return self._state

    async def hand(self, mapping: StreamMapping) -> Hand:
        """Return what changes the stored positions of the mapping for a person.

        Raises PollerError if the state or the mapping's table of KCL cannot be used.
        """
        state = await self.state()
        store = state.leases
        if mapping.kcl_table is not None:
            store = await state.kcl_tables.editable(mapping, store)
        return Hand(store, await store.scan(), tell=lambda _: None, now=self._clock.now)

    async def open_state_once_it_exists(self) -> None:
        """Open the state when another worker has created its file, because the file may have a pause of a queue."""
        path = path_of(self.settings().daemon.state)
        while path is not None and self._state is None:
            with suppress(PollerError):  # the next look tries again
                if await _exists(path):
                    await self.state()
            await anyio.sleep(LEASE_DURATION_IN_SECONDS)

    @property
    def shares_limits(self) -> bool:
        """Return whether other workers may share the limits of functions and mappings."""
        return self._is_daemon and self.settings().daemon.state != "memory:"

    def hold(self, limit: SharedLimit) -> AbstractAsyncContextManager[None]:
        """Hold units of the limit while the block lasts. Several blocks with the same limit hold them only once."""
        return self._limits.use(limit)

    def begin_stop(self) -> None:
        """Let each lease go to another worker as soon as its shard is done. Call this before the mappings stop."""
        self._stop_of_units.begin()
        if self._state is not None:
            self._state.worker.begin_stop()

    async def stop_announced(self) -> None:
        """At a stop, wait until the other workers know of it. Until then, the mappings still begin invocations."""
        if self._state is not None:
            await self._state.worker.stop_announced()

    def died(self, owner: Owner) -> None:
        """Take over from another worker of this state whose process has ended."""
        if self._state is not None:
            self._state.worker.died(owner)

    @property
    def owner(self) -> Owner | None:
        """Return the name of this process's worker in the table of leases; None if the state is not open."""
        return None if self._state is None else self._state.worker.owner

    def sharing(self) -> SharingStatus | None:
        """Return how this process shares the leases of the state, or None before the state is open."""
        return None if self._state is None else self._state.worker.status

    @property
    def is_unclean(self) -> bool:
        """Return whether the worker has ended without storing all checkpoints."""
        return self._state is not None and self._state.worker.is_unclean

    async def _keep_state(self, *, task_status: TaskStatus[State]) -> None:
        daemon = self.settings().daemon
        region, endpoint_url, endpoints = daemon.tables_at
        aws = AwsSettings(region=region, endpoint_url=endpoint_url, endpoints=endpoints)
        is_table = daemon.state.startswith("dynamodb://")
        opening = open_state(
            daemon.state,
            aws,
            open_aws=self._open_aws,
            randomness=self._randomness,
            emit=self._emit,
        )
        async with opening as opened, AsyncExitStack() as tables:
            store = RoutedLeaseStore(opened.leases)
            worker = Worker(
                new_owner(daemon.worker or socket.gethostname(), self._worker_number),
                store=store,
                clock=BootClock(),
                randomness=self._randomness,
                emit=self._emit,
                save_every_seconds=SAVE_IN_A_TABLE_EVERY_SECONDS if is_table else SAVE_EVERY_SECONDS,
                save_windows_every_seconds=SAVE_IN_A_TABLE_EVERY_SECONDS if is_table else SAVE_WINDOWS_EVERY_SECONDS,
                scanned=self.pauses_seen.scanned,
            )
            kcl_tables = KclTables(
                store,
                lambda: tables.enter_async_context(self._open_aws(aws)),
                self._clock,
                self._randomness,
                self._emit,
            )
            async with worker.running():
                task_status.started(State(daemon.state, worker, opened.leases, opened.pauses, kcl_tables))
                await self._is_over.wait()

    @asynccontextmanager
    async def _hold_units(self, limit: SharedLimit) -> AsyncIterator[None]:
        worker = (await self.state()).worker
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(hold_units, worker, limit.name, limit.units, stop=self._stop_of_units))
            yield
            tasks.cancel_scope.cancel()


class Pauses:
    """Implements `ports.PauseStore`. `load` does not create a state file: without one, no mapping is paused."""

    def __init__(self, worker: WorkerComposition) -> None:
        self._worker = worker

    async def load(self) -> Mapping[MappingName, Pause]:
        state = self._worker.settings().daemon.state
        if state == "memory:" or ((path := path_of(state)) is not None and not await _exists(path)):
            return {}
        return await (await self._worker.state()).pauses.load()

    async def read(self, mapping: MappingName) -> Pause | None:
        return await (await self._worker.state()).pauses.read(mapping)

    async def pause(self, mapping: MappingName, *, at: float) -> Pause:
        state = await self._worker.state()
        pause = await state.pauses.pause(mapping, at=at)
        state.worker.has_paused(mapping)
        return pause

    async def resume(self, mapping: MappingName) -> None:
        await (await self._worker.state()).pauses.resume(mapping)


async def _exists(path: Path) -> bool:
    """Return whether there is a state file. Raises SettingsError if the path cannot be examined."""
    return await anyio.to_thread.run_sync(STATE.exists, path)


def new_owner(label: str, number: int | None) -> Owner:
    """Return an owner of leases that no other process has, on any host. `number` makes the label of a worker unique."""
    return Owner(f"{label if number is None else f'{label}-{number}'}/{secrets.token_hex(16)}")
