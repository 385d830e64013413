"""What does the rest of the program get? One frozen value; whoever holds it can rely on every rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from poller.model.function import Function
from poller.model.ids import FunctionName
from poller.model.mapping import QueueMapping, StreamMapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """What concerns the process as a whole.

    `region` is None if each source has its own; `endpoint_url` is None if the usual AWS chain (environment, profile)
    decides.
    `endpoints` maps a service's name in AWS's SDKs (`sqs`, `lambda`, …) to a url; it wins over `endpoint_url`.
    `state` is `memory:` or `sqlite://` followed by an absolute path.
    `http_listen` is a host and a port, port 0 for any free one, or None for no HTTP server.
    `http_hosts` are names in lower case.
    `admin_token` is a secret, and not in the value's repr.
    """

    region: str | None
    endpoint_url: str | None
    endpoints: Mapping[str, str]
    state: str
    http_listen: tuple[str, int] | None
    http_hosts: tuple[str, ...]
    admin_token: str | None = field(repr=False)
    shutdown_grace_in_seconds: float
    log_format: Literal["json", "console"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole file. Every mapping's `function_name` is a key of `functions`.

    `withheld_variables` are environment variables of the daemon that no child process inherits.
    `warnings` are sentences on what is allowed but probably not meant.
    """

    daemon: Daemon
    functions: Mapping[FunctionName, Function]
    queue_mappings: tuple[QueueMapping, ...]
    stream_mappings: tuple[StreamMapping, ...]
    withheld_variables: frozenset[str]
    warnings: tuple[str, ...]

    @property
    def mappings(self) -> tuple[QueueMapping | StreamMapping, ...]:
        return (*self.queue_mappings, *self.stream_mappings)
