"""What happens to the daemon as a whole?"""

from __future__ import annotations

from typing import Literal, NamedTuple

from poller.facts.declaration import Counter, Line, declare
from poller.model.ids import FunctionName, MappingName


@declare(Line("info"))
class DaemonStarted(NamedTuple):
    """The daemon has read its settings and starts its mappings.

    `http` and `api` are the addresses where it listens, `host:port`; instead of port 0 they have the port that the
    system chose.
    """

    version: str
    settings: str
    mappings: int
    http: str | None = None
    api: str | None = None


@declare(Line("info"))
class DaemonStopping(NamedTuple):
    """The daemon has reached a stage of its stop.

    `draining`: it polls no more, and running invocations may end. `releasing`: the grace is over, invocations are cut,
    and messages go back to their queues. `stopped`: everything has ended.
    """

    stage: Literal["draining", "releasing", "stopped"]
    batches_in_flight: int


@declare(
    Line("warning", when=lambda fact: fact.needs_restart or fact.failed),
    Line("info"),
    Counter("poller_reloads_total", "Reloads of the settings that were applied.", of="daemon").by(1),
)
class Reloaded(NamedTuple):
    """The daemon has read its settings again and applied what changed.

    `added`, `replaced` and `removed` are mappings; `options` are those of [daemon] that changed.
    `events_replaced` are functions that run on, but whose asynchronous events have other options.
    `failed` are the mappings among them that could not be changed; `mapping_not_changed` is logged for each.
    `needs_restart` are changed options that the daemon reads only at its start.
    """

    settings: str
    added: tuple[MappingName, ...]
    replaced: tuple[MappingName, ...]
    removed: tuple[MappingName, ...]
    failed: tuple[MappingName, ...]
    functions_added: tuple[FunctionName, ...]
    functions_replaced: tuple[FunctionName, ...]
    functions_removed: tuple[FunctionName, ...]
    events_replaced: tuple[FunctionName, ...]
    options: tuple[str, ...]
    needs_restart: tuple[str, ...]


@declare(Line("error"))
class MappingNotChanged(NamedTuple):
    """A reload could not add, change or remove a mapping, for the reason in `detail`. The next reload tries again.
    A mapping that could not be changed goes on as before, and one that could not be added does not run.
    """

    mapping: MappingName
    detail: str


@declare(
    Line("error"),
    Counter(
        "poller_reloads_refused_total", "Reloads of the settings that changed nothing, because of faults.", of="daemon"
    ).by(1),
)
class ReloadRefused(NamedTuple):
    """A reload changed nothing, because the settings have `faults`; the daemon keeps its present settings."""

    settings: str
    faults: tuple[str, ...]


@declare(Line("info"))
class FunctionRestartedByRequest(NamedTuple):
    """A person has restarted the function: its next invocations run in new child processes, with new code."""

    function: FunctionName


@declare(Line("warning"))
class ControlSocketFailed(NamedTuple):
    """The control socket could not be made, so `poller reload` does not reach the daemon; SIGHUP does."""

    detail: str


@declare(Line("info"))
class StateOpened(NamedTuple):
    """The daemon has opened the state file and read all of it; the file has the positions of `positions` shards.

    `kept_copy` is a copy of the file in its old format, if this version of poller has changed the format.
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
    """The settings have something that is allowed, but is probably a mistake."""

    warning: str
