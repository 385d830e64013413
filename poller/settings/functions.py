"""What may `[functions.*]` say, and what holds where it says nothing?

arn          AWS Lambda's Invoke API                    1000 at once unless reserved_concurrency says otherwise
url, urls    an HTTP service                            10 for each url, 1 for a Runtime Interface Emulator's
command      a program that speaks the Runtime API      one for each processor
handler      a Python callable                          one for each processor
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Annotated, NamedTuple

from pydantic import Field
from yarl import URL

import poller
from poller.model.arn import Arn
from poller.model.function import ChildProcess, Function, FunctionKind, HttpService, LambdaApi, is_emulator
from poller.model.ids import FunctionName
from poller.settings.faults import Fault
from poller.settings.fields import (
    Argument,
    FunctionArn,
    Handler,
    Header,
    HeaderValue,
    Options,
    Switch,
    Url,
    Variable,
    VariableValue,
)
from poller.settings.limits import (
    DEFAULT_TIMEOUT_IN_SECONDS,
    HTTP_CONCURRENCY,
    LAMBDA_API_CONCURRENCY,
    LAMBDA_TIMEOUT,
    MEMORY_SIZE,
    RESERVED_CONCURRENCY,
    TIMEOUT,
)
from poller.settings.reading import Entry

KINDS = ("arn", "url", "urls", "command", "handler")


class FunctionOptions(Options):
    """A function: exactly one of arn, url, urls, command and handler says how it is reached."""

    arn: FunctionArn | None = None
    """A function of AWS Lambda, by its full ARN, with a version or an alias if you like."""

    url: Url | None = None
    """An HTTP service that takes the event as the body of a POST, or a Runtime Interface Emulator."""

    urls: Annotated[list[Url], Field(min_length=1)] | None = None
    """Several such services, used side by side."""

    command: Annotated[list[Argument], Field(min_length=1)] | None = None
    """A program that speaks the Lambda Runtime API, and its arguments."""

    handler: Handler | None = None
    """A Python callable, module:callable, run in child processes."""

    python: Argument | None = None
    """The Python interpreter that runs the handler; for handler only."""

    timeout_in_seconds: Annotated[float, TIMEOUT] = DEFAULT_TIMEOUT_IN_SECONDS
    """How long one invocation may take; at most 1800 for an arn."""

    reserved_concurrency: Annotated[int | None, RESERVED_CONCURRENCY] = None
    """How many invocations may run at once, over all mappings that use the function."""

    memory_size_in_mb: Annotated[int | None, MEMORY_SIZE] = None
    """How much memory a child process and those that it starts may use; for command and handler only."""

    environment: dict[Variable, VariableValue] | None = None
    """Environment variables of the child processes; for command and handler only."""

    inherit_credentials: Switch = True
    """Whether the child processes find the daemon's AWS credentials; for command and handler only."""

    headers: dict[Header, HeaderValue] | None = None
    """Headers of every request; for url and urls only."""


def function_rules(function: Entry[FunctionOptions]) -> Iterator[Fault]:
    """The rules between the options of one function."""
    options, kinds = function.options, [kind for kind in KINDS if function.states(kind)]
    if not kinds:
        yield Fault(function.path, f"needs one of {', '.join(KINDS)}")
    if len(kinds) > 1:
        yield Fault(function.path, f"has {' and '.join(kinds)}; a function has exactly one of {', '.join(KINDS)}")
    for option, owners in _OWNERS.items():
        if function.states(option) and kinds and not set(kinds) & set(owners):
            rule = f"applies only to a function with {' or '.join(owners)}, not with {kinds[0]}"
            yield Fault(function.at(option), rule)
    if options.arn is not None and options.timeout_in_seconds > LAMBDA_TIMEOUT.highest:
        yield Fault(function.at("timeout_in_seconds"), str(LAMBDA_TIMEOUT))
    yield from _header_rules(function)


_OWNERS = {
    "python": ("handler",),
    "memory_size_in_mb": ("command", "handler"),
    "environment": ("command", "handler"),
    "inherit_credentials": ("command", "handler"),
    "headers": ("url", "urls"),
}
"""The keys that go with some kinds of functions only."""


def _header_rules(function: Entry[FunctionOptions]) -> Iterator[Fault]:
    """HTTP ignores the case of a header's name, and a user in a url becomes a header Authorization."""
    options, names = function.options, dict[str, str]()
    for name in options.headers or {}:
        if (first := names.setdefault(name.lower(), name)) != name:
            yield Fault(function.at("headers"), f"{first} and {name} are the same header")
    users = [url for url in [options.url, *(options.urls or [])] if url and "@" in URL(url).raw_authority]
    if users and "authorization" in names:
        yield Fault(function.at("headers"), f"{names['authorization']} does not go with a user in the url")


class User(NamedTuple):
    """Where the source of a function's first mapping is. A function without an ARN gets one with these parts."""

    region: str
    account: str
    partition: str = "aws"


def configured_function(name: str, options: FunctionOptions, user: User, directory: FilePath) -> Function:
    kind = _kind(options, directory)
    return Function(
        name=FunctionName(name),
        arn=options.arn or _derived_arn(name, user),
        kind=kind,
        timeout_in_seconds=options.timeout_in_seconds,
        reserved_concurrency=options.reserved_concurrency or default_concurrency(kind),
    )


def default_concurrency(kind: FunctionKind) -> int:
    match kind:
        case LambdaApi():
            return LAMBDA_API_CONCURRENCY
        case HttpService(urls=urls):
            return sum(1 if is_emulator(url) else HTTP_CONCURRENCY for url in urls)
        case ChildProcess():
            return os.cpu_count() or 1


_BOOTSTRAP = FilePath(poller.__file__).parent / "targets" / "runtime" / "bootstrap.py"


def _kind(options: FunctionOptions, directory: FilePath) -> FunctionKind:
    if options.arn is not None:
        qualifier = options.arn.resource.removeprefix("function:").partition(":")[2]
        path = str(options.arn).removesuffix(f":{qualifier}") if qualifier else str(options.arn)
        return LambdaApi(name=path, qualifier=qualifier or None, region=options.arn.region)
    urls = options.urls or ([options.url] if options.url else [])
    if urls:
        return HttpService(urls=tuple(urls), headers=options.headers or {})
    return ChildProcess(
        command=tuple(options.command) if options.command else (options.python or sys.executable, str(_BOOTSTRAP)),
        handler=options.handler,
        environment=options.environment or {},
        inherits_credentials=options.inherit_credentials,
        memory_size_in_mb=options.memory_size_in_mb,
        directory=str(directory),
    )


def _derived_arn(name: str, user: User) -> Arn:
    return Arn(
        partition=user.partition,
        service="lambda",
        region=user.region,
        account=user.account,
        resource=f"function:{name}",
    )
