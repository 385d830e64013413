"""Which options has `[daemon]`, and what are their defaults?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, WithJsonSchema

from poller.settings.arns import RECEIVERS
from poller.settings.faults import Fault, unknown_key
from poller.settings.fields import AccountId, Address, ApiKeys, EventQueue, HostName, Text, Token, Url, WorkerLabel
from poller.settings.options import (
    AtStart,
    Follows,
    MayHoldSecrets,
    Options,
    Range,
    Secret,
    Unstated,
    built,
    explained,
    rule_error,
)
from poller.settings.reading import Entry
from poller.settings.state import State
from poller.settings.values import Daemon, TablesAt

EVENT_QUEUE_BYTES = Range(16 * 1024**2, 1024**4, "bytes", source="ours: an event has up to 1 MB")

SERVICES = tuple(dict.fromkeys(("sqs", "lambda", "sts", "kinesis", "dynamodb", "dynamodbstreams", *RECEIVERS)))
"""The services that the daemon may call, under botocore's names."""


def _service(name: str) -> str:
    if name not in SERVICES:
        raise rule_error(unknown_key(name, SERVICES))
    return name


Service = Annotated[str, AfterValidator(_service), WithJsonSchema({"type": "string", "enum": list(SERVICES)})]


class DaemonOptions(Options):
    """The settings of the whole process. All of them are optional."""

    region: Annotated[Text | None, Unstated("the region of the source")] = None
    """The region of each function whose settings name no region. Every source has its region in its ARN.
    Default: the region of the source whose records the function gets."""

    account_id: Annotated[AccountId | None, Field(examples=["123456789012"]), Unstated("the account of the source")] = (
        None
    )
    """The account in the ARN of each function whose settings name no account, with twelve digits.
    Default: the account of the source whose records the function gets, or 000000000000 if it has no source."""

    endpoint_url: Annotated[Url | None, MayHoldSecrets("url"), Unstated("AWS itself")] = None
    """The endpoint of all AWS services, for an emulator.
    Default: AWS itself."""

    endpoints: Annotated[
        dict[Service, Url],
        MayHoldSecrets("url"),
        Unstated("no service has another endpoint"),
        explained(f"""
            The endpoints of single services. They take precedence over endpoint_url.
            The names of the services are {", ".join(SERVICES)}.
            events is EventBridge. sts is called for every role, also for the role of a web identity or of a profile.
            Default: none.
        """),
    ] = Field(default_factory=dict)

    state: Annotated[State | None, MayHoldSecrets("state"), AtStart(), Follows()] = None
    """Where the positions in streams are stored, and which mappings are paused. Queues need no positions.
    Daemons with the same state share their streams: each shard is read by one of them.
    "sqlite:///absolute/path.db" or "sqlite://path-beside-this-file.db" is a file, for the daemons of one host. Its
    folder must exist and be on a local disk.
    "dynamodb://TABLE" is a table of DynamoDB, for daemons on several hosts. It is created if it does not exist and the
    daemon may create it. "dynamodb://TABLE?region=eu-west-1&role_arn=arn:aws:iam::123456789012:role/leases" names the
    table's region and the role that uses it, and endpoint_url=… its endpoint. By default they are those of the daemon.
    "memory:" ends with the daemon.
    A change needs a restart.
    Default: poller.db in systemd's STATE_DIRECTORY, else beside this file."""

    worker: Annotated[WorkerLabel | None, AtStart(), Field(examples=["blue-1"]), Unstated("the name of the host")] = (
        None
    )
    """The name of this daemon for people, if several daemons share a state. `poller state show` uses it to say which
    daemon reads a shard. Two daemons may have the same name.
    A change needs a restart.
    Default: the name of the host."""

    event_queue: Annotated[
        EventQueue | None, AtStart(), Follows(), Field(examples=["sqlite:///var/lib/poller/events.db"])
    ] = None
    """The file that holds asynchronous events until they are done. Several daemons of one host may share it.
    It is "sqlite:///absolute/path.db" or "sqlite://path-beside-this-file.db", on a local disk.
    Beside it the daemon keeps files with the same name and -lock, -wal or -shm.
    A change needs a restart.
    Default: a file beside the state file: poller-events.db for poller.db, and NAME-events.db for NAME.db. If the state
    is a table, the file is poller-events.db in the folder where poller.db would be by default.
    With state = "memory:" there is no such file by default, and asynchronous events are refused."""

    event_queue_maximum_bytes: Annotated[int, EVENT_QUEUE_BYTES, AtStart()] = 1024**3
    """How large the file of event_queue may become, from 16777216 to 1099511627776 bytes.
    When it is full, new events are refused with status 429 until other events are done. They are also refused while its
    disk has less than 128 MiB of free space, because the positions in streams need this space.
    A change needs a restart.
    Default: 1073741824, which is 1 GiB."""

    http_listen: Annotated[Address | None, AtStart(), Unstated("no HTTP server")] = None
    """The address and port of /metrics, /healthz, /readyz and a page for people.
    For port 0, the system chooses a free port.
    A change needs a restart.
    Default: no HTTP server."""

    http_hosts: Annotated[list[HostName], Unstated("only IP addresses and localhost")] = Field(default_factory=list)
    """The host names at which clients may reach the page, /readyz and api_listen, besides IP addresses and localhost.
    A request for any other name gets status 421.
    So a foreign web page cannot read from the daemon through the browser of a person who can reach the daemon.
    Clients may reach /metrics and /healthz at any name.
    Default: []."""

    admin_token: Annotated[Token | None, Secret(), Unstated("beyond loopback, changes over HTTP are refused")] = None
    """The token for calls over HTTP that change something, such as POST /api/reload: "Authorization: Bearer TOKEN".
    If http_listen is not a loopback address, such calls need the token, even from this host. Without one, they get 403.
    If http_listen is a loopback address, such calls need the token only if it is set.
    A person logs in on the page with it. Beyond loopback, the messages of a function's errors are shown only with the
    token or after such a login.
    It has only letters, digits and - . _ ~ + /, and at least 16 of them should be random.
    Write it as ${NAME}, so that it is not in this file.
    Default: none."""

    api_listen: Annotated[
        Address | None, AtStart(), Field(examples=["127.0.0.1:9465"]), Unstated("no server of Lambda's API")
    ] = None
    """The address and port of a server of AWS Lambda's API, with which clients such as the AWS CLI invoke functions.
    For port 0, the system chooses a free port.
    A change needs a restart.
    Default: no such server."""

    api_keys: Annotated[
        ApiKeys,
        Secret(),
        Field(examples=[{"AKIDEXAMPLE": "${POLLER_API_SECRET}"}]),
        Unstated("requests need no signature"),
    ] = Field(default_factory=dict)
    """The keys with which clients of api_listen sign their requests: a secret key for each access key id.
    They are required if api_listen is not a loopback address.
    Write a secret key as ${NAME}, so that it is not in this file.
    Default: none. Then signatures are ignored, and api_listen must be a loopback address."""

    # Kubernetes waits for 30 seconds by default before it kills a process.
    shutdown_grace_in_seconds: Annotated[float, Range(0, 3600, "seconds", source="ours", is_whole=False)] = 30
    """How long running invocations may continue after SIGTERM or SIGINT, from 0 to 3600 seconds.
    Default: 30."""

    log_format: Annotated[Literal["json", "console"], AtStart()] = "json"
    """The format of log lines: for programs ("json") or for people ("console").
    A change needs a restart.
    Default: "json"."""

    def value(self, file: Path, environ: Mapping[str, str]) -> Daemon:
        state = _state(self.state, file, environ)
        return built(
            Daemon,
            self,
            state=state,
            tables_at=TablesAt(self.region, self.endpoint_url, self.endpoints),
            event_queue=_event_queue(self.event_queue, state, file, environ),
        )


def daemon_rules(daemon: Entry[DaemonOptions], file: Path, environ: Mapping[str, str]) -> Iterator[Fault]:
    """Yield a fault for each broken rule between the options of [daemon]. `file` is the settings file."""
    for option, servers in (
        ("http_hosts", ("http_listen", "api_listen")),
        ("admin_token", ("http_listen",)),
        ("api_keys", ("api_listen",)),
    ):
        if getattr(daemon.options, option) and all(getattr(daemon.options, server) is None for server in servers):
            needs = tuple(daemon.at(server) for server in servers)
            yield Fault(daemon.at(option), f"applies only with {' or '.join(servers)}", needs=needs)
    yield from _api_rules(daemon)
    value = daemon.options.value(file, environ)
    if value.event_queue == value.state:
        yield Fault(daemon.at("event_queue"), "is already the file of state", needs=(daemon.at("state"),))


def _api_rules(daemon: Entry[DaemonOptions]) -> Iterator[Fault]:
    options = daemon.options
    if options.api_listen is None:
        return
    host, port = options.api_listen
    if options.api_listen == options.http_listen and port != 0:
        yield Fault(daemon.at("api_listen"), "is already the address of http_listen")
    if not options.api_keys and not _is_loopback(host):
        rule = "is required, because api_listen is not a loopback address"
        yield Fault(daemon.at("api_keys"), rule, needs=(daemon.at("api_keys"),))


def _is_loopback(host: str) -> bool:
    """Return whether the host is certainly a loopback address. Of all names, only `localhost` counts as one."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _state(written: str | None, file: Path, environ: Mapping[str, str]) -> str:
    """Return the state with an absolute path."""
    if written is None:
        return f"sqlite://{_default_path(file, environ)}"
    return _absolute(written, file) if written.startswith("sqlite://") else written


def _default_path(file: Path, environ: Mapping[str, str]) -> Path:
    """Return poller.db in the first folder of systemd's STATE_DIRECTORY, or else beside the settings file."""
    directory = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return file.resolve().parent / directory / "poller.db"


def _event_queue(written: str | None, state: str, file: Path, environ: Mapping[str, str]) -> str | None:
    """Return the event queue with an absolute path: by default it is beside the state's file, with its name."""
    if written is not None:
        return _absolute(written, file)
    if state == "memory:":
        return None
    path = Path(state.removeprefix("sqlite://")) if state.startswith("sqlite://") else _default_path(file, environ)
    return f"sqlite://{path.with_name(f'{path.stem}-events{path.suffix}')}"


def _absolute(written: str, file: Path) -> str:
    return f"sqlite://{file.resolve().parent / written.removeprefix('sqlite://')}"
