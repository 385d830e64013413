"""Which value does the program get from the file? A frozen `Settings`, which obeys every rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from poller.model.event import RememberedQueue
from poller.model.function import Function
from poller.model.ids import FunctionName, MappingName
from poller.model.mapping import QueueMapping, StreamMapping


class TablesAt(NamedTuple):
    """Where DynamoDB has the tables of the state and of KCL, unless their addresses say it.

    The fields have the meaning that they have in `Daemon`.
    """

    region: str | None
    endpoint_url: str | None
    endpoints: Mapping[str, str]

    @property
    def services(self) -> tuple[str | None, str | None]:
        """Return the endpoints of DynamoDB, and of STS, which has the credentials of roles."""
        dynamodb, sts = (self.endpoints.get(service, self.endpoint_url) for service in ("dynamodb", "sts"))
        return dynamodb, sts


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """The settings of the whole process.

    `region` and `account_id` are None if the file does not set them. If `endpoint_url` is None, the usual AWS chain
    (environment, profile) decides.
    `endpoints` maps a service's name in AWS's SDKs (`sqs`, `lambda`, …) to a url, and takes precedence over
    `endpoint_url`.
    `state` is `memory:`, `sqlite://` and an absolute path, or the address of a table (`settings/state.py`).
    `tables_at` is fixed at the start, as `state` is, so that all workers of the daemon use the same tables.
    `worker` is the label of this worker, or None for the name of the host.
    `event_queue` is `sqlite://` and an absolute path, or None if no file holds asynchronous events.
    `http_listen` is a host and a port, or None for no HTTP server. Port 0 means any free port. `api_listen` is the same
    for the server of Lambda's API.
    `http_hosts` are names in lower case.
    `admin_token`, and `api_keys` (secret keys by access key id), are secrets, so the repr leaves them out.
    """

    region: str | None
    account_id: str | None
    endpoint_url: str | None
    endpoints: Mapping[str, str]
    state: str
    tables_at: TablesAt
    worker: str | None = None
    event_queue: str | None
    event_queue_maximum_bytes: int
    http_listen: tuple[str, int] | None
    http_hosts: tuple[str, ...]
    admin_token: str | None = field(repr=False)
    api_listen: tuple[str, int] | None
    api_keys: Mapping[str, str] = field(repr=False)
    shutdown_grace_in_seconds: float
    log_format: Literal["json", "console"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of the whole file. The `function_name` of each mapping is a key of `functions`.

    `withheld_variables` are environment variables of the daemon that no child process inherits.
    `warnings` are sentences about settings that are allowed but probably a mistake.
    `former_kcl_tables` has the tables of KCL that mappings have had since the start of the daemon, or None for those
    without a table. The mappings of the settings are not in it, unless a reload has removed them before.
    """

    daemon: Daemon
    functions: Mapping[FunctionName, Function]
    queue_mappings: tuple[QueueMapping, ...]
    stream_mappings: tuple[StreamMapping, ...]
    withheld_variables: frozenset[str]
    warnings: tuple[str, ...]
    former_kcl_tables: Mapping[MappingName, str | None] = field(default_factory=dict, compare=False)

    @property
    def kcl_tables(self) -> Mapping[MappingName, str | None]:
        """Return the tables of KCL that mappings have, or had before a reload removed them."""
        return {**self.former_kcl_tables, **{mapping.name: mapping.kcl_table for mapping in self.stream_mappings}}

    @property
    def mappings(self) -> tuple[QueueMapping | StreamMapping, ...]:
        return (*self.queue_mappings, *self.stream_mappings)

    def is_event_queue(self, queue: RememberedQueue) -> bool:
        """Return whether the settings name this SQS queue as the event queue of its function."""
        function = self.functions.get(queue.function)
        return function is not None and function.event_invoke_config.event_queue_arn == queue.arn
