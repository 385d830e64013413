"""How does a running daemon take over what its settings file says now? One reload after the other.

    SIGHUP ────────┐
    poller reload ─┼─ a line ──> read the file ──> the changes ──> apply them ──> one log line, one answer
    POST /api/reload ┘               └── faulty: all faults are logged and answered, and nothing changes

Reading takes place in a worker thread, because a file with a thousand mappings takes a while.
settings/changes.py says what has to change; `Running` does it.
A reload is refused once the daemon stops.  What a client asked for goes on if the client goes away.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import anyio
from anyio import to_thread

from poller.engine.stop import Stop
from poller.errors import CannotReload, PollerError, SettingsError
from poller.facts import Emit, FunctionRestarted, Reloaded, ReloadRefused, SettingsWarning
from poller.model.function import ChildProcess
from poller.model.ids import FunctionName, MappingName
from poller.settings.changes import Changes, Renamed, changes
from poller.settings.values import Settings

MAXIMUM_WAITING = 16
"""How many reloads may wait for the one before them."""

STOPPING = "the daemon stops"


class Running(Protocol):
    """What runs now, and can be changed."""

    async def apply(self, found: Changes) -> Mapping[MappingName, str]:
        """Return when all that had to change has changed, with the reason for each mapping that could not be changed.

        One that was to be replaced goes on as it was then, and one that was to be added is not there.
        """
        ...

    def restart_function(self, name: FunctionName) -> None:
        """Start the child processes of later invocations anew."""
        ...


@dataclass(slots=True, kw_only=True, eq=False)
class _Request:
    """A place in the line. `function` is None for the whole file."""

    function: str | None = None
    is_done: anyio.Event = field(default_factory=anyio.Event)
    report: Mapping[str, Any] | None = None
    error: PollerError | None = None


class Reloader:
    """Changes what runs. `in_use` are the settings that hold now; `run` must run for anything to happen."""

    def __init__(
        self,
        in_use: Settings,
        *,
        file: Path,
        read: Callable[[], Settings],
        running: Running,
        stop: Stop,
        emit: Emit,
    ) -> None:
        """`read` reads the file, in a worker thread; it raises SettingsError for a faulty one."""
        self.in_use = in_use
        self._not_replaced: frozenset[MappingName] = frozenset()
        self._file = file
        self._read = read
        self._running = running
        self._stop = stop
        self._emit = emit
        self._line, self._requests = anyio.create_memory_object_stream[_Request](MAXIMUM_WAITING)

    async def run(self) -> None:
        """Serve one request after the other, until cancelled."""
        with self._line, self._requests:
            async for request in self._requests:
                try:
                    request.report = await self._served(request)
                except PollerError as error:
                    faults = error.faults if isinstance(error, SettingsError) else [str(error)]
                    self._emit(ReloadRefused(settings=str(self._file), faults=tuple(faults)))
                    request.error = error
                request.is_done.set()

    def reload_soon(self) -> None:
        """Ask for a reload and do not wait for it, as SIGHUP does. One that still waits in the line serves all."""
        try:
            self._stand_in_line(_Request())
        except CannotReload as error:
            self._emit(ReloadRefused(settings=str(self._file), faults=(str(error),)))

    async def reload(self, *, settings: str | None = None) -> Mapping[str, Any]:
        """Read the file again, and return what changed. Raises SettingsError or CannotReload."""
        return await self._ask(_Request(), settings)

    async def restart_function(self, name: str, *, settings: str | None = None) -> Mapping[str, Any]:
        """Start the child processes of a function anew; the file is not read. Raises CannotReload."""
        return await self._ask(_Request(function=name), settings)

    async def _ask(self, request: _Request, settings: str | None) -> Mapping[str, Any]:
        self._refuse_another_file(settings)
        self._stand_in_line(request)
        await request.is_done.wait()
        if request.error is not None:
            raise request.error
        assert request.report is not None, "a request that is done has one of the two"
        return request.report

    def _refuse_another_file(self, settings: str | None) -> None:
        """Links are followed each time, because they may lead elsewhere after an update."""
        if settings is not None and Path(settings).resolve() != self._file.resolve():
            raise CannotReload(f"this daemon runs {self._file.resolve()}, not {settings}")

    def _stand_in_line(self, request: _Request) -> None:
        if self._stop.has_begun:
            raise CannotReload(STOPPING)
        try:
            self._line.send_nowait(request)
        except anyio.WouldBlock:
            raise CannotReload(f"{MAXIMUM_WAITING} other reloads wait already") from None

    async def _served(self, request: _Request) -> Mapping[str, Any]:
        if self._stop.has_begun:
            raise CannotReload(STOPPING)
        if request.function is not None:
            return self._restarted(request.function)
        return await self._reloaded()

    async def _reloaded(self) -> Mapping[str, Any]:
        written = await to_thread.run_sync(self._read)
        before = self.in_use
        found = changes(before, written, failed=self._not_replaced)
        warnings = [*written.warnings, *map(_begins_anew, found.renamed)]
        for warning in warnings:
            if warning not in before.warnings:
                self._emit(SettingsWarning(warning))
        self.in_use = found.settings
        failures = await self._running.apply(found)
        self.in_use = _without(failures.keys() & set(found.mappings.added), found.settings)
        self._not_replaced = frozenset(failures.keys() & set(found.mappings.replaced))
        self._emit(_fact(found, failures, self._file))
        return _report(found, failures, warnings)

    def _restarted(self, name: str) -> Mapping[str, Any]:
        functions = self.in_use.functions
        function = functions.get(FunctionName(name))
        if function is None:
            raise CannotReload(f"there is no function {name}; there are {', '.join(functions) or 'none'}")
        if not isinstance(function.kind, ChildProcess):
            raise CannotReload(f"the function {name} has no child processes: it has neither a handler nor a command")
        self._running.restart_function(function.name)
        self._emit(FunctionRestarted(function.name))
        return {"restarted": function.name}


def _begins_anew(renamed: Renamed) -> str:
    return (
        f"mappings.{renamed.now}: begins anew at its starting_position, because the positions in its stream belong to "
        f"{renamed.before}; to go on there, take the old name back; `poller state rename {renamed.before} NAME` gives "
        "the positions another name while the daemon is stopped"
    )


def _without(names: Collection[MappingName], settings: Settings) -> Settings:
    """The settings without these mappings, so that the next reload adds them."""
    return replace(
        settings,
        queue_mappings=tuple(mapping for mapping in settings.queue_mappings if mapping.name not in names),
        stream_mappings=tuple(mapping for mapping in settings.stream_mappings if mapping.name not in names),
    )


def _fact(found: Changes, failures: Collection[MappingName], file: Path) -> Reloaded:
    return Reloaded(
        settings=str(file),
        added=found.mappings.added,
        replaced=found.mappings.replaced,
        removed=found.mappings.removed,
        failed=tuple(failures),
        functions_added=found.functions.added,
        functions_replaced=found.functions.replaced,
        functions_removed=found.functions.removed,
        options=found.options,
        needs_restart=found.needs_restart,
    )


def _report(found: Changes, failures: Mapping[MappingName, str], warnings: Sequence[str]) -> Mapping[str, Any]:
    """What the clients of /api/reload get, and `poller reload --json` prints."""
    return {
        "mappings": asdict(found.mappings),
        "failed": failures,
        "functions": asdict(found.functions),
        "options": found.options,
        "needs_restart": found.needs_restart,
        "warnings": warnings,
    }
