"""How are running mappings changed? They are added, replaced and removed side by side.

    Changes ──> first: new runs use the new settings, and the supervisor the new grace
            └─> then: remove, replace, add; each mapping waits for its own invocations only

If one mapping cannot be opened, all others are still changed.
A mapping that could not be added does not exist; a mapping that could not be replaced goes on as before.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

import anyio

from poller.descriptors import Limits, is_enough, needed
from poller.disclosure import safe_text
from poller.facts import Emit, MappingNotChanged, TooFewFileDescriptors
from poller.model.function import Function
from poller.model.ids import FunctionName, MappingName
from poller.model.mapping import AnyMapping
from poller.model.status import MappingStatus
from poller.settings.changes import Changes
from poller.settings.values import Settings


class Supervisor(Protocol):
    """See engine/supervisor.py."""

    grace_in_seconds: float

    async def add(self, mapping: AnyMapping, function: Function) -> None: ...

    async def replace(self, mapping: AnyMapping, function: Function) -> None: ...

    async def remove(self, name: MappingName) -> None: ...

    def statuses(self) -> Sequence[MappingStatus]: ...


class Composition(Protocol):
    """See composition.py."""

    def use(self, settings: Settings) -> None: ...

    def renew(self, function: Function) -> None: ...


class Series(Protocol):
    """The metrics of each function (`telemetry.Telemetry`)."""

    def begin_function(self, function: FunctionName) -> None: ...

    def forget_function(self, function: FunctionName) -> None: ...


class Running:
    """The mappings and functions of the daemon."""

    def __init__(
        self, supervisor: Supervisor, composition: Composition, *, series: Series, limits: Limits, emit: Emit
    ) -> None:
        """`limits` says how many files and connections the process may have open."""
        self._limits = limits
        self._supervisor = supervisor
        self._composition = composition
        self._series = series
        self._emit = emit

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

        mappings = {mapping.name: mapping for mapping in settings.mappings}
        async with anyio.create_task_group() as tasks:
            for name in found.mappings.removed:
                tasks.start_soon(change, name, partial(self._supervisor.remove, name))
            for make, names in (
                (self._supervisor.replace, found.mappings.replaced),
                (self._supervisor.add, found.mappings.added),
            ):
                for name in names:
                    mapping = mappings[name]
                    invoked = settings.functions[mapping.function_name]
                    tasks.start_soon(change, name, partial(make, mapping, invoked))
        still_invoked = {*self.functions_of_mappings.values()}
        for function in found.functions.removed:
            if function not in still_invoked:
                self._series.forget_function(function)
        return failures

    @property
    def functions_of_mappings(self) -> Mapping[MappingName, FunctionName]:
        """The mappings of the file that exist now, each with the function that it invokes."""
        return {status.mapping: status.function for status in self._supervisor.statuses() if status.events is None}

    def check_descriptors(self, settings: Settings) -> None:
        """Warn if the system allows fewer open files than these settings need."""
        if not is_enough(self._limits, wanted := needed(settings)):
            self._emit(TooFewFileDescriptors(limit=self._limits.own, needed=wanted))

    def restart_function(self, function: Function) -> None:
        """Use new child processes for later invocations of this function."""
        self._composition.renew(function)
