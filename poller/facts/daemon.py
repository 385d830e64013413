"""What happens to the daemon as a whole?"""

from __future__ import annotations

from typing import Literal, NamedTuple

from poller.facts.declaration import Line, declare
from poller.model.ids import FunctionName, MappingName


@declare(Line("info"))
class DaemonStarted(NamedTuple):
    """The daemon has read its settings and starts its mappings.

    `http` is the address that it listens to, `host:port`, with the port that the system chose where 0 was asked for.
    """

    version: str
    settings: str
    mappings: int
    http: str | None = None


@declare(Line("info"))
class DaemonStopping(NamedTuple):
    """The daemon has reached a stage of its stop.

    `draining`: it polls no more, and invocations that run may end; `releasing`: it gives back what is left; `stopped`.
    """

    stage: Literal["draining", "releasing", "stopped"]
    batches_in_flight: int


@declare(
    Line("warning", when=lambda fact: fact.needs_restart or fact.failed),
    Line("info"),
)
class Reloaded(NamedTuple):
    """The daemon has read its settings again and applied what changed.

    `added`, `replaced` and `removed` are mappings; `options` are those of [daemon] that changed.
    `failed` are those of these mappings that could not be changed, each with a mapping_not_changed of its own.
    `needs_restart` are options that changed in the file and are read at the start only.
    """

    settings: str
    added: tuple[MappingName, ...]
    replaced: tuple[MappingName, ...]
    removed: tuple[MappingName, ...]
    failed: tuple[MappingName, ...]
    functions_added: tuple[FunctionName, ...]
    functions_replaced: tuple[FunctionName, ...]
    functions_removed: tuple[FunctionName, ...]
    options: tuple[str, ...]
    needs_restart: tuple[str, ...]


@declare(Line("error"))
class MappingNotChanged(NamedTuple):
    """A reload could not open a mapping, which goes on as it was, or is missing if it was new.

    The next reload tries again.
    """

    mapping: MappingName
    detail: str


@declare(Line("error"))
class ReloadRefused(NamedTuple):
    """A reload changed nothing, because the settings have `faults`; the daemon goes on with those that it has."""

    settings: str
    faults: tuple[str, ...]


@declare(Line("info"))
class FunctionRestarted(NamedTuple):
    """A person restarted the function: its next invocations run in new child processes, with new code."""

    function: FunctionName


@declare(Line("warning"))
class ControlSocketFailed(NamedTuple):
    """The control socket could not be made, so `poller reload` does not reach the daemon; SIGHUP does."""

    detail: str


@declare(Line("info"))
class StateOpened(NamedTuple):
    """The daemon has opened the state file and read all of it; `positions` shards have a position in it.

    `kept_copy` is the file as an older version of poller wrote it, if this version has changed it to its own format.
    """

    file: str
    positions: int
    kept_copy: str | None = None


@declare(Line("warning"))
class TooFewFileDescriptors(NamedTuple):
    """The system allows fewer open files than the mappings need when all of them are busy."""

    limit: int
    needed: int
    advice: str = "raise the hard limit of open files (ulimit -Hn, LimitNOFILE of systemd) or lower the concurrencies"


@declare(Line("warning"))
class SettingsWarning(NamedTuple):
    """Something in the settings is allowed, but probably a mistake."""

    warning: str
