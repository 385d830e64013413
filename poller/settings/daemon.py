"""What may `[daemon]` say, and what holds where it says nothing?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from poller.settings.faults import Fault
from poller.settings.fields import Address, HostName, Options, State, Text, Token, Url
from poller.settings.limits import DEFAULT_SHUTDOWN_GRACE_IN_SECONDS, SHUTDOWN_GRACE
from poller.settings.reading import Entry
from poller.settings.values import Daemon

Service = Literal["sqs", "lambda", "sts", "kinesis", "dynamodb", "dynamodbstreams", "s3", "sns"]


class DaemonOptions(Options):
    """The settings of the whole process."""

    region: Text | None = None
    """The region of functions that name none; without it, that of the source that they are invoked for."""

    endpoint_url: Url | None = None
    """The endpoint of all AWS services, for an emulator."""

    endpoints: dict[Service, Url] = Field(default_factory=dict)
    """The endpoints of single services; they take precedence over endpoint_url."""

    state: State | None = None
    """Where stream positions live: sqlite:///absolute/path.db, sqlite://path-beside-this-file.db, or memory:."""

    http_listen: Address | None = None
    """Where /metrics, /healthz and /readyz are served, as address:port; without it there is no HTTP server."""

    http_hosts: list[HostName] = Field(default_factory=list)
    """The host names that the page and /readyz answer to, besides IP addresses and localhost."""

    admin_token: Token | None = None
    """The token that a change over HTTP must carry where http_listen is not a loopback address."""

    shutdown_grace_in_seconds: Annotated[float, SHUTDOWN_GRACE] = DEFAULT_SHUTDOWN_GRACE_IN_SECONDS
    """How long invocations in flight may run on after a SIGTERM or SIGINT."""

    log_format: Literal["json", "console"] = "json"
    """Whether log lines are for machines or for people."""

    def value(self, file: Path, environ: Mapping[str, str]) -> Daemon:
        return Daemon(
            region=self.region,
            endpoint_url=self.endpoint_url,
            endpoints=dict(self.endpoints.items()),
            state=_state(self.state, file, environ),
            http_listen=self.http_listen,
            http_hosts=tuple(self.http_hosts),
            admin_token=self.admin_token,
            shutdown_grace_in_seconds=self.shutdown_grace_in_seconds,
            log_format=self.log_format,
        )


def daemon_rules(daemon: Entry[DaemonOptions]) -> Iterator[Fault]:
    """The rules between the options of the table."""
    if daemon.options.http_listen is None:
        for option in ("http_hosts", "admin_token"):
            if getattr(daemon.options, option):
                yield Fault(daemon.at(option), "applies only with http_listen", needs=(daemon.at("http_listen"),))


def _state(written: str | None, file: Path, environ: Mapping[str, str]) -> str:
    """An absolute address. Without one written: systemd's STATE_DIRECTORY (a list; the first counts), or the file's."""
    if written == "memory:":
        return written
    here = file.resolve().parent
    if written is not None:
        return f"sqlite://{here / written.removeprefix('sqlite://')}"
    directory = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return f"sqlite://{here / directory / 'poller.db'}"
