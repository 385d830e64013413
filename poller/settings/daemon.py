"""Which options has `[daemon]`, and what are their defaults?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from poller.settings.faults import Fault
from poller.settings.fields import Address, HostName, State, Text, Token, Url
from poller.settings.options import AtStart, Follows, Options, Range, Secret, Unstated, built
from poller.settings.reading import Entry
from poller.settings.values import Daemon

Service = Literal["sqs", "lambda", "sts", "kinesis", "dynamodb", "dynamodbstreams", "s3", "sns"]


class DaemonOptions(Options):
    """The settings of the whole process; all of them are optional."""

    region: Annotated[Text | None, Unstated("that of the source")] = None
    """The region of functions that name none; every source has one in its ARN.
    Default: that of the source that a function is invoked for."""

    endpoint_url: Annotated[Url | None, Unstated("AWS itself")] = None
    """The endpoint of all AWS services, for an emulator.
    Default: AWS itself."""

    endpoints: Annotated[dict[Service, Url], Unstated("none of their own")] = Field(default_factory=dict)
    """The endpoints of single services; they take precedence over endpoint_url.
    The services are sqs, lambda, sts, kinesis, dynamodb, dynamodbstreams, s3 and sns.
    sts is also the service that is asked for roles, among them those of a web identity and of a profile.
    Default: none."""

    state: Annotated[State | None, AtStart(), Follows()] = None
    """The file with the positions in streams; queues need none.
    It is "sqlite:///absolute/path.db", "sqlite://path-beside-this-file.db", or "memory:", which is lost at the end.
    Its folder must exist, on a local disk, and one daemon at a time may use it.
    A change needs a restart.
    Default: poller.db in systemd's STATE_DIRECTORY, else beside this file."""

    http_listen: Annotated[Address | None, AtStart(), Unstated("no HTTP server")] = None
    """The address and port of /metrics, /healthz, /readyz and a page for people.
    Port 0 takes any free one.
    A change needs a restart.
    Default: no HTTP server."""

    http_hosts: Annotated[list[HostName], Unstated("addresses and localhost")] = Field(default_factory=list)
    """The host names that the page and /readyz answer to, besides IP addresses and localhost.
    Other names get status 421.
    So a foreign web page cannot read them through the browser of a person who can reach this daemon.
    /metrics and /healthz answer to any name.
    Default: []."""

    admin_token: Annotated[Token | None, Secret(), Unstated("beyond loopback, changes over HTTP are refused")] = None
    """The token for calls over HTTP that change something, such as POST /api/reload: "Authorization: Bearer TOKEN".
    It is needed where http_listen is not a loopback address, however near the client is; without it such calls get 403.
    On a loopback address it is needed once it is set.
    It has letters, digits and - . _ ~ + / only; write it as ${NAME}, so that the file does not hold it.
    Default: none."""

    # Kubernetes waits for 30 seconds by default before it kills a process.
    shutdown_grace_in_seconds: Annotated[float, Range(0, 3600, "seconds", source="ours", is_whole=False)] = 30
    """How long invocations in flight may run on after SIGTERM or SIGINT, from 0 to 3600 seconds.
    Default: 30."""

    log_format: Annotated[Literal["json", "console"], AtStart()] = "json"
    """Log lines for machines ("json") or for people ("console").
    A change needs a restart.
    Default: "json"."""

    def value(self, file: Path, environ: Mapping[str, str]) -> Daemon:
        return built(Daemon, self, state=_state(self.state, file, environ))


def daemon_rules(daemon: Entry[DaemonOptions]) -> Iterator[Fault]:
    """Yield a fault for each rule between the options of [daemon] that is broken."""
    if daemon.options.http_listen is None:
        for option in ("http_hosts", "admin_token"):
            if getattr(daemon.options, option):
                yield Fault(daemon.at(option), "applies only with http_listen", needs=(daemon.at("http_listen"),))


def _state(written: str | None, file: Path, environ: Mapping[str, str]) -> str:
    """Return the state with an absolute path.

    By default it is poller.db in the first folder of systemd's STATE_DIRECTORY, or else beside the settings file.
    """
    if written == "memory:":
        return written
    here = file.resolve().parent
    if written is not None:
        return f"sqlite://{here / written.removeprefix('sqlite://')}"
    directory = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return f"sqlite://{here / directory / 'poller.db'}"
