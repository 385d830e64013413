"""What is a function? A name, an ARN, its limits, and one of four ways to reach it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from poller.model.arn import Arn
from poller.model.ids import FunctionName


@dataclass(frozen=True, slots=True, kw_only=True)
class LambdaApi:
    """AWS Lambda's Invoke API: `name` is what goes into the request's path (a name or an ARN without qualifier)."""

    name: str
    qualifier: str | None
    region: str
    role_arn: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpService:
    """HTTP endpoints that take the event as the body of a POST. Several urls form a pool."""

    urls: tuple[str, ...]
    headers: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildProcess:
    """A program that speaks the Lambda Runtime API. `command` is its argument vector.

    `handler` is set when the program is our own bootstrap for Python callables (`module:callable`).
    `directory` is where it starts: the settings file's folder.
    `inherits_credentials` says whether its environment leads to the daemon's AWS credentials.
    `memory_size_in_mb` is the limit for it and the processes that it starts; None for no limit.
    """

    command: tuple[str, ...]
    handler: str | None
    environment: Mapping[str, str] = field(hash=False)
    directory: str
    inherits_credentials: bool = True
    memory_size_in_mb: int | None = None


_INVOKE_PATH = re.compile(r"/2015-03-31/functions/[^/]+/invocations/*\Z")


def is_emulator(url: str) -> bool:
    """Whether the url is a Runtime Interface Emulator's: its path ends like that of Lambda's Invoke API.

    An emulator serves one call at a time, and hides a function's failures behind a status of 200.
    """
    return _INVOKE_PATH.search(urlsplit(url).path) is not None


FunctionKind = LambdaApi | HttpService | ChildProcess


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function that mappings invoke.

    `arn` is what events, contexts and invocation records call it: the one configured, verbatim, or one derived.
    `reserved_concurrency` bounds the invocations running at once, over all mappings.
    """

    name: FunctionName
    arn: Arn
    kind: FunctionKind
    timeout_in_seconds: float
    reserved_concurrency: int
