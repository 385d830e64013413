"""How are running mappings changed? They are added, replaced and removed at the same time.

    Changes ──> first: new runs use the new settings, and the supervisor the new grace
            ├─> then: remove, replace, add; each mapping waits for its own invocations only
            └─> last: collect the garbage of the runs that have ended (garbage.py)

    a pause, a crash ──> within half a minute: collect the garbage

The events of each function are a mapping, too, if the settings name a file for them.

If one mapping cannot be opened, all other mappings are still changed.
A mapping that could not be added does not exist. A mapping that could not be replaced continues as before.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Protocol

import anyio

from poller.core.names import other_names
from poller.descriptors import Limits, is_enough, needed
from poller.disclosure import safe_text
from poller.errors import CannotChange
from poller.facts import Emit, MappingNotChanged, TooFewFileDescriptors
from poller.model.function import Function
from poller.model.ids import FunctionName, MappingName
from poller.model.mapping import AnyMapping, EventMapping, StreamMapping
from poller.model.move import Moved, MoveOrder, StoredPositions
from poller.model.order import ShardOrder
from poller.model.status import BlockedShard
from poller.model.stream import StateKey
from poller.settings.changes import Changes
from poller.settings.values import Settings


class Supervisor(Protocol):
    """See engine/supervisor.py."""

    grace_in_seconds: float

    async def add(self, mapping: AnyMapping, function: Function) -> None: ...

    async def replace(self, mapping: AnyMapping, function: Function) -> None: ...

    async def remove(self, name: MappingName) -> None: ...

    async def pause(self, name: MappingName) -> None: ...

    async def resume(self, name: MappingName) -> None: ...

    def order(self, name: MappingName, order: ShardOrder) -> BlockedShard: ...

    def at_rest(self, name: MappingName) -> AbstractAsyncContextManager[None]: ...

    async def follow_pause(self, name: MappingName) -> None: ...

    def changed_pauses(self, paused: Collection[MappingName]) -> Sequence[MappingName]: ...

    def is_paused(self, name: MappingName) -> bool: ...

    def mappings(self) -> Sequence[AnyMapping]: ...

    def take_changed(self) -> Collection[MappingName]: ...


class Composition(Protocol):
    """See composition/mappings.py."""

    def use(self, settings: Settings) -> None: ...

    def renew(self, function: Function) -> None: ...

    async def begun(self) -> Collection[StateKey]: ...

    async def positions(self, mapping: StreamMapping) -> StoredPositions: ...

    async def move(self, mapping: StreamMapping, order: MoveOrder) -> Moved: ...


class Series(Protocol):
    """The metrics of each function (`telemetry.Telemetry`)."""

    def begin_function(self, function: FunctionName) -> None: ...

    def forget_function(self, function: FunctionName) -> None: ...


class Garbage(Protocol):
    """See garbage.py."""

    def collect(self, *, changed: Collection[MappingName], existing: Collection[MappingName]) -> None: ...


SECONDS_BETWEEN_COLLECTIONS = 30.0
"""How often garbage is collected at most if runs end without a reload.

We chose it. If a thousand mappings crash again and again, each collection halts the daemon for half a second.
"""

Change = tuple[MappingName, Callable[[], Awaitable[None]]]
"""The mapping that is changed, and what changes it."""


class Running:
    """The mappings and functions of the daemon."""

    def __init__(
        self,
        supervisor: Supervisor,
        composition: Composition,
        *,
        series: Series,
        garbage: Garbage,
        limits: Limits,
        emit: Emit,
    ) -> None:
        """`limits` says how many files and connections the process may have open."""
        self._limits = limits
        self._supervisor = supervisor
        self._composition = composition
        self._series = series
        self._garbage = garbage
        self._emit = emit
        self._events_not_replaced: frozenset[FunctionName] = frozenset()

    async def start(self, settings: Settings) -> None:
        """Add all mappings, and the events of all functions. If one of them cannot be opened, raises that error."""
        for mapping in settings.mappings:
            await self._supervisor.add(mapping, settings.functions[mapping.function_name])
        for events in event_mappings(settings).values():
            await self._supervisor.add(events, settings.functions[events.function_name])

    async def apply(self, found: Changes) -> Mapping[MappingName, str]:
        """Change the running mappings, wait until all are changed, and return the reason of each one that failed.

        Keeps the series of a removed function that a mapping still invokes, because the mapping could not be replaced.
        """
        settings, failures = found.settings, dict[MappingName, str]()
        self.check_descriptors(settings)
        self._composition.use(settings)
        self._supervisor.grace_in_seconds = settings.daemon.shutdown_grace_in_seconds
        for function in found.functions.added:
            self._series.begin_function(function)

        async def change(name: MappingName, make: Callable[[], Awaitable[None]]) -> None:
            try:
                await make()
            except Exception as error:  # the fault of one mapping must not end the others
                failures[name] = safe_text(error)
                self._emit(MappingNotChanged(name, failures[name]))

        made = dict([*self._changes_of_mappings(found), *self._changes_of_events(found)])
        async with anyio.create_task_group() as tasks:
            for name, make in made.items():
                tasks.start_soon(change, name, make)
        self._events_not_replaced = frozenset(
            name for name in settings.functions if EventMapping.named(name) in failures
        )
        still_invoked = {*self.functions_of_mappings.values()}
        for function in found.functions.removed:
            if function not in still_invoked:
                self._series.forget_function(function)
        self.collect_garbage()
        return failures

    def _changes_of_mappings(self, found: Changes) -> Iterator[Change]:
        mappings = {mapping.name: mapping for mapping in found.settings.mappings}
        for name in found.mappings.removed:
            yield name, partial(self._supervisor.remove, name)
        for make, names in (
            (self._supervisor.replace, found.mappings.replaced),
            (self._supervisor.add, found.mappings.added),
        ):
            for name in names:
                mapping = mappings[name]
                yield name, partial(make, mapping, found.settings.functions[mapping.function_name])

    def _changes_of_events(self, found: Changes) -> Iterator[Change]:
        """Yield the changes that turn the events that run now into those of the settings.

        The events that run show which earlier changes have failed, so the next reload repeats these changes.
        """
        wanted = event_mappings(found.settings)
        running = {
            events.function_name: events.name
            for events in self._supervisor.mappings()
            if isinstance(events, EventMapping)
        }
        for function, name in running.items():
            if function not in wanted:
                yield name, partial(self._supervisor.remove, name)
        for function, events in wanted.items():
            definition = found.settings.functions[function]
            if function not in running:
                yield events.name, partial(self._supervisor.add, events, definition)
            elif function in self._events_not_replaced or function in found.events.replaced:
                yield events.name, partial(self._supervisor.replace, events, definition)

    @property
    def functions_of_mappings(self) -> Mapping[MappingName, FunctionName]:
        """Return the mappings of the file that exist now, each with the function that it invokes."""
        return {
            mapping.name: mapping.function_name
            for mapping in self._supervisor.mappings()
            if not isinstance(mapping, EventMapping)
        }

    async def pause(self, name: MappingName) -> bool:
        """Pause a mapping of the file, and return whether it was paused. Raises CannotChange if it does not exist."""
        was_paused = self._is_paused(name)
        await self._supervisor.pause(name)
        return was_paused

    async def resume(self, name: MappingName) -> bool:
        """End a pause, and return whether the mapping was paused. Raises CannotChange if there is no such mapping.

        If the mapping cannot be opened, raises that error, and the mapping stays paused.
        """
        was_paused = self._is_paused(name)
        await self._supervisor.resume(name)
        return was_paused

    def order(self, name: MappingName, order: ShardOrder) -> BlockedShard:
        """Execute a person's order about a blocked shard, and return the block as it was before.

        Raises CannotChange if there is no such mapping, or if the order cannot be executed now.
        """
        self._check_existence(name)
        return self._supervisor.order(name, order)

    async def begun(self) -> Collection[StateKey]:
        """Return which mappings have stored positions in which streams. Raises PollerError if the state is unusable."""
        return await self._composition.begun()

    async def positions(self, name: MappingName) -> StoredPositions:
        """Return the stored positions of a mapping. Raises CannotChange if no such mapping reads a stream."""
        return await self._composition.positions(self._stream(name))

    async def move(self, name: MappingName, order: MoveOrder) -> Moved:
        """Move the stored positions of a paused mapping, or only show the effect.

        Raises CannotChange if the mapping is not paused or does not read a stream, and the errors of
        `stores.move_orders.ordered`.
        """
        mapping = self._stream(name)
        async with self._supervisor.at_rest(name):
            return await self._composition.move(mapping, order)

    def _stream(self, name: MappingName) -> StreamMapping:
        self._check_existence(name)
        (found,) = (mapping for mapping in self._supervisor.mappings() if mapping.name == name)
        if not isinstance(found, StreamMapping):
            raise CannotChange(f"{name} reads a queue, which has no positions")
        return found

    async def follow_pauses(self, paused: Collection[MappingName]) -> None:
        """Pause and resume mappings as other workers have done. `paused` is what a scan of the shared state shows.

        A change that fails is tried again after the next scan.
        """

        async def follow(name: MappingName) -> None:
            try:
                await self._supervisor.follow_pause(name)
            except Exception as error:  # the fault of one mapping must not end the others
                self._emit(MappingNotChanged(name, safe_text(error)))

        async with anyio.create_task_group() as tasks:
            for name in self._supervisor.changed_pauses(paused):
                tasks.start_soon(follow, name)

    async def collect_regularly(self) -> None:
        """Collect the garbage of runs that have ended without a reload: by a pause or a crash. Runs until cancelled."""
        while True:
            await anyio.sleep(SECONDS_BETWEEN_COLLECTIONS)
            self.collect_garbage()

    def collect_garbage(self) -> None:
        """Collect garbage if a run has begun or ended since the last collection."""
        if changed := self._supervisor.take_changed():
            existing = {mapping.name for mapping in self._supervisor.mappings()}
            self._garbage.collect(changed=changed, existing=existing)

    def _is_paused(self, name: MappingName) -> bool:
        self._check_existence(name)
        return self._supervisor.is_paused(name)

    def _check_existence(self, name: MappingName) -> None:
        if name not in self.functions_of_mappings:
            raise CannotChange(f"there is no mapping {name}; {other_names(name, self.functions_of_mappings)}")

    def check_descriptors(self, settings: Settings) -> None:
        """Warn if the system allows fewer open files than these settings need."""
        if not is_enough(self._limits, wanted := needed(settings)):
            self._emit(TooFewFileDescriptors(limit=self._limits.own, needed=wanted))

    def restart_function(self, function: Function) -> None:
        """Use new child processes for later invocations of this function."""
        self._composition.renew(function)


def event_mappings(settings: Settings) -> Mapping[FunctionName, EventMapping]:
    """Return the mapping of each function's events, or nothing if the settings name no file for events."""
    if settings.daemon.event_queue is None:
        return {}
    return {name: EventMapping.of(function) for name, function in settings.functions.items()}
