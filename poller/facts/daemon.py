"""What happens to the daemon as a whole?"""

from __future__ import annotations

from typing import Literal, NamedTuple

from poller.facts.declaration import Counter, Line, declare
from poller.model.ids import FunctionName, MappingName


@declare(Line("info"))
class DaemonStarted(NamedTuple):
    """The daemon has read its settings and starts its mappings.

    `http` and `api` are the addresses where it listens, as `host:port`. For port 0, they have the port that the system
    chose. `workers` is the number of its worker processes, if there are several.
    """

    version: str
    settings: str
    mappings: int
    http: str | None = None
    api: str | None = None
    workers: int | None = None


@declare(Line("info"))
class DaemonStopping(NamedTuple):
    """The daemon stops. `draining`: polls have ended, and running invocations may end; shards are read until the other
    workers know of the stop. `releasing`: the grace is over, so invocations are cut, and messages return to their
    queues. `stopped`: everything has ended.
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

    `added`, `replaced` and `removed` are mappings. `options` are the changed options of [daemon].
    `events_replaced` are functions that run on, but have new options for their asynchronous events.
    `failed` are the mappings that could not be changed, and no other field names them. `mapping_not_changed` is logged
    for each of them.
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
    """A reload could not add, change or remove a mapping, or this worker could not resume a mapping that another worker
    has resumed. `detail` says why. The daemon tries again at the next reload, or when it next reads the pauses. A
    mapping that could not be changed continues as before. A mapping that could not be added does not run.
    """

    mapping: MappingName
    detail: str


@declare(
    Line("error"),
    Counter(
        "poller_reloads_refused_total",
        "Reloads of the settings that changed nothing, because the settings file had faults.",
        of="daemon",
    ).by(1),
)
class ReloadRefused(NamedTuple):
    """A reload changed nothing, because the settings file has `faults`. The daemon keeps its present settings."""

    settings: str
    faults: tuple[str, ...]


@declare(Line("warning"))
class ReloadNotMade(NamedTuple):
    """A reload changed nothing or not everything, and the settings file is not the reason. `why` says the reason: for
    example, the daemon stops.
    """

    settings: str
    why: str


@declare(Line("info"))
class ChangeMade(NamedTuple):
    """A person or a program has changed something, through the page, through /api/ or by a command. `change` says what,
    and `by` says who.

    `by` says who: the user and the process at the control socket, or the address of an HTTP client and what gave it the
    right. `before` is the state before the change. A change of a blocked shard names the records of the batch, and a
    change of stuck events names their function. `incomplete` says which workers have not made the change.
    """

    change: str
    by: str
    before: str | None = None
    mapping: MappingName | None = None
    shard: str | None = None
    records: int | None = None
    start_sequence_number: str | None = None
    end_sequence_number: str | None = None
    function: FunctionName | None = None
    request_id: str | None = None
    events: int | None = None
    incomplete: str | None = None


@declare(Line("info"))
class FunctionRestartedByRequest(NamedTuple):
    """A person has restarted the function. Its next invocations run in new child processes, with new code."""

    function: FunctionName


@declare(Line("warning"))
class ControlSocketFailed(NamedTuple):
    """The daemon could not make its control socket, so `poller reload` cannot reach it. A reload by SIGHUP still
    works.
    """

    detail: str


@declare(Line("info"))
class StateOpened(NamedTuple):
    """The daemon has opened and checked its state, which has the positions of `positions` shards.

    `kept_copy` is a copy of the state file in its old format, if this version of poller has changed the format.
    """

    state: str
    positions: int
    kept_copy: str | None = None


@declare(Line("warning"))
class TooFewFileDescriptors(NamedTuple):
    """The system allows fewer open files than the mappings and functions need when all are busy. Then connections may
    fail.
    """

    limit: int
    needed: int
    advice: str = "raise the hard limit of open files (ulimit -Hn, LimitNOFILE of systemd) or lower the concurrencies"


@declare(Line("warning"))
class SettingsWarning(NamedTuple):
    """The settings file has something that is allowed, but is probably a mistake. `warning` says what it is."""

    warning: str
