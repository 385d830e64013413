"""What is a function? A name, an ARN, its limits, and one of three ways to reach it: Lambda, HTTP, a child process.

It may also have settings for its asynchronous events.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from poller.model.arn import Arn
from poller.model.ids import FunctionName


@dataclass(frozen=True, slots=True, kw_only=True)
class LambdaApi:
    """A function on AWS Lambda.

    `name` is a name or an ARN without a qualifier, for the path of a request to the Invoke API.
    """

    name: str
    qualifier: str | None
    region: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpService:
    """HTTP endpoints that receive the event as the body of a POST. The invocations are spread over several urls."""

    urls: tuple[str, ...]
    headers: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildProcess:
    """A program that speaks the Lambda Runtime API. `command` is its argument vector.

    `handler` is the Python callable (`module:callable`) if the program is poller's own bootstrap, otherwise None.
    `directory` is the working directory: the settings file's folder.
    `inherits_credentials` says whether the program's environment gives it the daemon's AWS credentials.
    `memory_size_in_mb` is the limit for the program and the processes that it starts; None means no limit.
    """

    command: tuple[str, ...]
    handler: str | None
    environment: Mapping[str, str] = field(hash=False)
    directory: str
    inherits_credentials: bool = True
    memory_size_in_mb: int | None = None


_INVOKE_PATH = re.compile(r"/2015-03-31/functions/[^/]+/invocations/*\Z")


def is_emulator(url: str) -> bool:
    """Return whether the url belongs to a Runtime Interface Emulator: its path ends like that of Lambda's Invoke API.

    An emulator serves one call at a time, and it answers with status 200 even if the function fails.
    """
    return _INVOKE_PATH.search(urlsplit(url).path) is not None


FunctionKind = LambdaApi | HttpService | ChildProcess


EventDestination = Arn | FunctionName
"""The receiver of records about events: the ARN of an AWS resource, or a function of the same settings file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventInvokeConfig:
    """The options for the asynchronous events of a function.

    `maximum_retry_attempts` and `maximum_event_age_in_seconds` are None if the file does not have them. Then AWS's
    defaults apply (`core/events/attempts.py`).
    `dead_letter_arn` is a queue or a topic that gets the payload of each event that fails.
    `event_queue_arn` is the queue that holds the events that wait. If it is None, the daemon's own file holds them.
    `retry_waits_in_seconds` are the waits before the first and before the second retry.
    """

    maximum_retry_attempts: int | None = None
    maximum_event_age_in_seconds: int | None = None
    on_success: EventDestination | None = None
    on_failure: EventDestination | None = None
    dead_letter_arn: Arn | None = None
    event_queue_arn: Arn | None = None
    retry_waits_in_seconds: tuple[float, float] = (60, 120)


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function that mappings, senders of events, and clients of the Invoke API invoke.

    `arn` is its ARN in contexts and invocation records: the configured one, unchanged, or one made from its name.
    `reserved_concurrency` is the maximum number of invocations of the function that run at once. With 0, the function
    is never invoked.
    `is_concurrency_reserved` says whether the file states this number. If so, a client's call beyond this number is
    refused at once.
    """

    name: FunctionName
    arn: Arn
    kind: FunctionKind
    timeout_in_seconds: float
    reserved_concurrency: int
    is_concurrency_reserved: bool = False
    event_invoke_config: EventInvokeConfig = EventInvokeConfig()
