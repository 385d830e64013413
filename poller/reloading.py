"""How does a running daemon apply a changed settings file? It makes one reload at a time, and one other reload waits.

    SIGHUP ──────────┐
    poller reload ───┼─ in line ──> read the file ──> find the changes ──> apply them ──> one log line, one answer
    POST /api/reload ┘                  └── faulty file: log and answer all faults, and change nothing

`Reloader.status` says whether the last reload succeeded; two gauges show it.

A worker thread reads the file and finds the changes (settings/changes.py), because this takes a while with a thousand
mappings.  `Running` applies the changes.
If somebody asks for a reload while another one waits, both get the same answer, because the waiting one reads the
newest file. At most one restart of each function waits, too.
Once the daemon's stop has begun, reloads are refused. A reload continues if its client disconnects.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import anyio
from anyio import to_thread

from poller.core.names import other_names
from poller.core.streams.former_names import way_back
from poller.disclosure import safe_text
from poller.engine.stop import Stop
from poller.errors import CannotChange, PollerError, SettingsError
from poller.facts import Emit, FunctionRestartedByRequest, Reloaded, ReloadNotMade, ReloadRefused, SettingsWarning
from poller.model.function import ChildProcess, Function
from poller.model.ids import FunctionName, MappingName
from poller.model.mapping import EventMapping
from poller.model.status import ReloadStatus
from poller.model.stream import StateKey
from poller.ports import Clock
from poller.settings.changes import Changes, Difference, Renamed, changes
from poller.settings.in_use import TextInUse
from poller.settings.loading import Examined
from poller.settings.values import Settings

MAXIMUM_WAITING = 16
"""How many restarts of functions may wait while a reload runs. At most one reload waits beside them."""

STOPPING = "the daemon stops"


class Running(Protocol):
    """The running mappings and functions (running.py)."""

    async def apply(self, found: Changes) -> Mapping[MappingName, str]:
        """Change the running mappings, wait until all are changed, and return the reason of each one that failed.

        A mapping that could not be replaced continues as before. A mapping that could not be added does not exist.
        """
        ...

    async def begun(self) -> Collection[StateKey]:
        """Return which mappings have stored positions in which streams. Raises PollerError if the state is unusable."""
        ...

    @property
    def functions_of_mappings(self) -> Mapping[MappingName, FunctionName]:
        """Return the mappings of the file that exist now, each with the function that it invokes."""
        ...

    def restart_function(self, function: Function) -> None:
        """Use new child processes for later invocations of this function."""
        ...


@dataclass(slots=True, kw_only=True, eq=False)
class _Request:
    """A request that waits: to restart `function`, or to reload the file if `function` is None."""

    function: str | None
    is_done: anyio.Event = field(default_factory=anyio.Event)
    report: Mapping[str, Any] | None = None
    error: PollerError | None = None


class Reloader:
    """Makes reloads while `run` runs. `in_use` has the settings that the daemon uses now."""

    def __init__(
        self,
        in_use: Settings,
        *,
        text: str,
        file: Path,
        read: Callable[[], Examined],
        running: Running,
        stop: Stop,
        clock: Clock,
        emit: Emit,
    ) -> None:
        """`text` is the file as it was read for `in_use`.

        `read` reads the file again, in a worker thread. It raises SettingsError if the file is faulty.
        """
        self.in_use = in_use
        self._text = text
        self.status = ReloadStatus(was_successful=True, succeeded_at=clock.now())
        self._not_replaced: frozenset[MappingName] = frozenset()
        self._file = file
        self._read = read
        self._running = running
        self._stop = stop
        self._clock = clock
        self._emit = emit
        self._line, self._requests = anyio.create_memory_object_stream[_Request](MAXIMUM_WAITING + 1)
        self._waiting: dict[str | None, _Request] = {}  # those in the line, by their functions

    @property
    def text_in_use(self) -> TextInUse:
        return TextInUse(self._text, self.in_use.daemon, self._not_replaced)

    async def run(self) -> None:
        """Do one request after another, until cancelled."""
        with self._line, self._requests:
            async for request in self._requests:
                del self._waiting[request.function]  # a later request must read the file again
                try:
                    request.report = await self._served(request)
                except PollerError as error:
                    self._refuse(request, error)
                except Exception as error:  # an error of one reload must not end the mappings
                    self._refuse(request, CannotChange(f"a fault of poller: {safe_text(error)}"))
                request.is_done.set()

    def reload_soon(self) -> None:
        """Ask for a reload without waiting for it.

        If the reload is refused, log this, because a signal gets no answer.
        """
        try:
            self._stand_in_line(None)
        except CannotChange as error:
            self._emit(ReloadNotMade(settings=str(self._file), why=str(error)))

    async def reload(self) -> Mapping[str, Any]:
        """Read the file again, apply its changes, and return what changed.

        Raises SettingsError if the file is faulty, and CannotChange if the daemon stops.
        """
        return await self._ask(None)

    async def restart_function(self, name: str) -> Mapping[str, Any]:
        """Use new child processes for later invocations of a function, without reading the file.

        Raises CannotChange if the function does not exist or has no child processes, if too many restarts wait, or if
        the daemon stops.
        """
        return await self._ask(name)

    async def _ask(self, function: str | None) -> Mapping[str, Any]:
        request = self._stand_in_line(function)
        await request.is_done.wait()
        if request.error is not None:
            raise request.error
        assert request.report is not None, "a request that is done has one of the two"
        return request.report

    def _refuse(self, request: _Request, error: PollerError) -> None:
        """Give the error to the client. Log a reload that was not made, because a signal gets no answer."""
        request.error = error
        if request.function is not None:
            return
        self.status = self.status._replace(was_successful=False)
        if isinstance(error, SettingsError):
            self._emit(ReloadRefused(settings=str(self._file), faults=tuple(error.faults)))
        else:
            self._emit(ReloadNotMade(settings=str(self._file), why=str(error)))

    def _stand_in_line(self, function: str | None) -> _Request:
        """Return the request that waits already for the same thing, or a new one."""
        if self._stop.has_begun:
            raise CannotChange(STOPPING)
        if (waiting := self._waiting.get(function)) is not None:
            return waiting
        if function is not None and len(self._waiting.keys() - {None}) == MAXIMUM_WAITING:
            raise CannotChange(f"{MAXIMUM_WAITING} restarts of other functions wait already")
        request = self._waiting[function] = _Request(function=function)
        self._line.send_nowait(request)
        return request

    async def _served(self, request: _Request) -> Mapping[str, Any]:
        if self._stop.has_begun:
            raise CannotChange(STOPPING)
        if request.function is not None:
            return self._restarted(request.function)
        return await self._reloaded()

    async def _reloaded(self) -> Mapping[str, Any]:
        before = self.in_use
        found, text = await to_thread.run_sync(self._found)
        warnings = [*found.settings.warnings, *await self._beginning_anew(found.renamed)]
        for warning in warnings:
            if warning not in before.warnings:
                self._emit(SettingsWarning(warning))
        self.in_use, self._text = found.settings, text
        functions = {**before.functions, **found.settings.functions}
        try:
            failures = await self._running.apply(found)
        except BaseException:  # an unknown part of the changes was made
            self._note_what_runs(before, functions, uncertain=found.mappings.names)
            raise
        self._note_what_runs(found.settings, functions, uncertain=failures)
        succeeded_at = self.status.succeeded_at if failures else self._clock.now()
        self.status = ReloadStatus(was_successful=not failures, succeeded_at=succeeded_at)
        made = replace(found, mappings=found.mappings.without(failures), events=_events_without(failures, found))
        self._emit(_fact(made, failures, self._file))
        return _report(made, failures, warnings)

    def _found(self) -> tuple[Changes, str]:
        """Read the file, and return what differs from the settings in use, and its text. Runs in a worker thread."""
        read = self._read()
        return changes(self.in_use, read.settings, failed=self._not_replaced), read.text

    async def _beginning_anew(self, renamed: Sequence[Renamed]) -> Sequence[str]:
        """Return a warning for each renamed mapping that has no stored positions under its new name."""
        if not renamed:
            return []
        begun: Collection[StateKey] = ()
        with suppress(PollerError):  # the mapping itself shows that the state cannot be used
            begun = await self._running.begun()
        return [_begins_anew(pair, self.in_use.daemon.state) for pair in renamed if pair.now not in begun]

    def _note_what_runs(
        self, settings: Settings, functions: Mapping[FunctionName, Function], *, uncertain: Collection[MappingName]
    ) -> None:
        """Set what the next reload compares the file with: these settings, but only the mappings that exist.

        `functions` are those of the old and of the new file. The next reload replaces the `uncertain` mappings.
        """
        invoked = self._running.functions_of_mappings
        used = {name: functions[name] for name in invoked.values()}
        self.in_use = _only(invoked, replace(settings, functions={**used, **settings.functions}))
        self._not_replaced = frozenset(uncertain) & invoked.keys()

    def _restarted(self, name: str) -> Mapping[str, Any]:
        functions = self.in_use.functions
        function = functions.get(FunctionName(name))
        if function is None:
            raise CannotChange(f"there is no function {name}; {other_names(name, functions)}")
        if not isinstance(function.kind, ChildProcess):
            raise CannotChange(f"the function {name} has no child processes: it has neither a handler nor a command")
        self._running.restart_function(function)
        self._emit(FunctionRestartedByRequest(function.name))
        return {"restarted": function.name}


def _begins_anew(renamed: Renamed, state: str) -> str:
    before, now = renamed.before.mapping, renamed.now.mapping
    return (
        f"mappings.{now}: it begins at its starting_position, because the stored positions in its stream belong to the "
        f"name {before}. To continue at them, {way_back(before, now, state=state)}"
    )


def _only(names: Collection[MappingName], settings: Settings) -> Settings:
    """Return a copy of the settings that has only these mappings."""
    return replace(
        settings,
        queue_mappings=tuple(mapping for mapping in settings.queue_mappings if mapping.name in names),
        stream_mappings=tuple(mapping for mapping in settings.stream_mappings if mapping.name in names),
    )


def _events_without(failures: Collection[MappingName], found: Changes) -> Difference[FunctionName]:
    return found.events.without([name for name in found.events.names if EventMapping.named(name) in failures])


def _fact(made: Changes, failures: Collection[MappingName], file: Path) -> Reloaded:
    return Reloaded(
        settings=str(file),
        added=made.mappings.added,
        replaced=made.mappings.replaced,
        removed=made.mappings.removed,
        failed=tuple(failures),
        functions_added=made.functions.added,
        functions_replaced=made.functions.replaced,
        functions_removed=made.functions.removed,
        events_replaced=_events_replaced(made),
        options=made.options,
        needs_restart=made.needs_restart,
    )


def _report(made: Changes, failures: Mapping[MappingName, str], warnings: Sequence[str]) -> Mapping[str, Any]:
    """Return the answer of /api/reload, which `poller reload --json` prints."""
    return {
        "mappings": asdict(made.mappings),
        "failed": failures,
        "functions": asdict(made.functions),
        "events": {"replaced": _events_replaced(made)},
        "options": made.options,
        "needs_restart": made.needs_restart,
        "warnings": warnings,
    }


def _events_replaced(made: Changes) -> tuple[FunctionName, ...]:
    """Return the functions that run on, but whose asynchronous events have other options."""
    return tuple(function for function in made.events.replaced if function not in made.functions.replaced)
