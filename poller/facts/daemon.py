"""What happens to the daemon as a whole?"""

from __future__ import annotations

from typing import Literal, NamedTuple

from poller.facts.declaration import Line, declare


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


@declare(Line("warning"))
class ReloadIgnored(NamedTuple):
    """SIGHUP came, which changes nothing."""

    advice: str = "SIGHUP does not reload the settings yet: restart to change them"


@declare(Line("info"))
class StateOpened(NamedTuple):
    """The daemon has opened the state file and read all of it; `positions` shards have a position in it."""

    file: str
    positions: int


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
