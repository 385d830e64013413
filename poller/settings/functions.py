"""Which options has `[functions.*]`, and what are their defaults?

kind of function                                     default of reserved_concurrency
arn          AWS Lambda's Invoke API                 1000
url, urls    an HTTP service                         10 for each url, 1 for the url of a Runtime Interface Emulator
command      a program that speaks the Runtime API   the number of processors
handler      a Python callable                       the number of processors
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
from poller.settings.arns import FunctionArn
from poller.settings.event_options import DeadLetterConfigOptions, EventInvokeConfigOptions, event_invoke_config
from poller.settings.faults import Fault
from poller.settings.fields import (
    Argument,
    Handler,
    Header,
    HeaderValue,
    Switch,
    Url,
    Variable,
    VariableValue,
)
from poller.settings.options import Follows, For, MayHoldSecrets, Options, Range, Unstated, built, limited
from poller.settings.reading import Entry

KINDS = ("arn", "url", "urls", "command", "handler")


LAMBDA_TIMEOUT = Range(
    0.1,
    1800,
    "seconds",
    source='AWS Lambda Developer Guide, "Lambda quotas": 30 minutes for a synchronous invocation',
    is_whole=False,
)
TIMEOUT = Range(
    0.1,
    42_000,
    "seconds",
    source="ours: SQS hides a message for 43,200 seconds in all, and it is received before its function begins",
    is_whole=False,
)
CONCURRENCY = Range(
    0,
    10_000,
    "invocations at once",
    source="AWS Lambda API Reference, PutFunctionConcurrency, for the lowest; the highest is ours",
)
MEMORY_SIZE = Range(
    128,
    1_048_576,
    "MB",
    source="AWS Lambda API Reference, CreateFunction, MemorySize, for the lowest; the highest is ours",
)

DEFAULT_TIMEOUT_IN_SECONDS: float = 30
"""As long as the default visibility timeout of a queue. AWS's default of three seconds is for web requests."""

LAMBDA_API_CONCURRENCY = 1000
"""The default for an `arn`: the default quota of an account. Source: AWS Lambda Developer Guide, "Lambda quotas"."""

HTTP_CONCURRENCY = 10
"""The default for each url: twice the number of batches (five) with which AWS begins to read a queue."""

CHILD_PROCESSES = For(("command", "handler"))
HANDLERS = For(("handler",))
HTTP_SERVICES = For(("url", "urls"))


class FunctionOptions(Options):
    """A function. Exactly one of arn, url, urls, command and handler says how poller calls it."""

    arn: FunctionArn | None = None
    """A function of AWS Lambda: its full ARN, which may end in a version or an alias."""

    url: Annotated[Url | None, MayHoldSecrets("url")] = None
    """An HTTP service that takes the event as the body of a POST, or a Runtime Interface Emulator.
    A url that ends in /2015-03-31/functions/NAME/invocations is the url of an emulator. It gets one call at a time, and
    an error document in its answer is a failure of the function.
    HTTP_PROXY, HTTPS_PROXY and NO_PROXY in the daemon's environment apply to these urls and to AWS."""

    urls: Annotated[list[Url] | None, Field(min_length=1), MayHoldSecrets("url")] = None
    """Several equal HTTP services. A service that does not answer gets no calls for some time."""

    command: Annotated[list[Argument] | None, Field(min_length=1), MayHoldSecrets("command")] = None
    """Any program that speaks the Lambda Runtime API: the program and its arguments."""

    handler: Handler | None = None
    """A Python callable, which runs in child processes. They are started on demand.
    It is written as module:callable. The module is found from the folder of this file. The callable may be async."""

    python: Annotated[Argument | None, HANDLERS, Unstated("the daemon's own interpreter")] = None
    """The Python interpreter that runs the handler, version 3.9 or later.
    A relative path begins at the folder of this file.
    It may be the interpreter of a virtual environment with the packages that the handler imports.
    Default: the daemon's own interpreter. It has boto3 only if poller[boto3] is installed."""

    timeout_in_seconds: Annotated[float, TIMEOUT] = DEFAULT_TIMEOUT_IN_SECONDS
    """How long one invocation may take, from 0.1 to 42000 seconds (1800 for an arn).
    After this time, the invocation has failed, and a child process is killed and started again.
    Default: 30, for every kind of function."""

    reserved_concurrency: Annotated[int | None, CONCURRENCY, Follows(is_less_than_stated=True)] = None
    """How many invocations of the function may run at once, from 0 to 10000.
    All mappings, events and clients that invoke the function share this number.
    If the option is set, all workers that share the state (a file or a table) share it, too.
    With 0 the function is never invoked: its mappings read nothing, its events fail, and calls are refused.
    If this option is set, a client's call beyond it is refused with status 429.
    Otherwise, such a call waits, at most for timeout_in_seconds.
    Default: the number of processors for handler and command, 10 for each url, 1000 for an arn.
    A Runtime Interface Emulator takes one call at a time, so each url of an emulator counts as 1. If all urls belong to
    emulators, a higher number has no effect."""

    memory_size_in_mb: Annotated[int | None, MEMORY_SIZE, CHILD_PROCESSES, Unstated("no limit")] = None
    """How much memory a child process and the processes that it starts may use, from 128 to 1048576 MB.
    It is for handler and command only.
    On Linux the memory is measured every second, and a child process that uses more is killed. Then its invocation
    fails with Runtime.OutOfMemory. On other systems, the child process only gets the number in its environment.
    Default: no limit. Then the number in the environment is 3008."""

    environment: Annotated[
        dict[Variable, VariableValue] | None,
        CHILD_PROCESSES,
        MayHoldSecrets("text"),
        Unstated("only the daemon's variables"),
    ] = None
    """Environment variables that the child processes get besides those of the daemon.
    It is for handler and command only.
    A name has letters, digits and underscores, and begins with a letter.
    Default: none."""

    inherit_credentials: Annotated[Switch, CHILD_PROCESSES] = True
    """Whether the child processes find the daemon's AWS credentials. It is for handler and command only.
    With false, they do not get the variables by which an AWS SDK finds credentials: keys, profiles, files, roles, web
    identities, metadata services.
    But a child process can still read everything that its user can read: this file, ~/.aws, and the host's metadata
    service. On Linux it cannot read the daemon's memory or environment, because the daemon clears its "dumpable" flag.
    Therefore the daemon writes no core dump.
    Other secrets are never inherited: if [daemon] or [functions] refer to a variable by ${NAME}, child processes do not
    get it, unless the function names it in environment. (Variables AWS_… and ordinary ones such as HOME and PATH are
    inherited.)
    Default: true."""

    headers: Annotated[
        dict[Header, HeaderValue] | None, HTTP_SERVICES, MayHoldSecrets("text"), Unstated("no additional headers")
    ] = None
    """Headers that every request to the function has. It is for url and urls only.
    If a url has a user, there must be no header Authorization.
    Default: none."""

    event_invoke_config: EventInvokeConfigOptions = Field(default_factory=EventInvokeConfigOptions)
    """The options for the function's asynchronous events."""

    dead_letter_config: DeadLetterConfigOptions = Field(default_factory=DeadLetterConfigOptions)
    """The dead-letter queue of the function's asynchronous events."""

    @property
    def inherits_credentials(self) -> bool:
        return self.inherit_credentials


def function_rules(function: Entry[FunctionOptions]) -> Iterator[Fault]:
    """Yield a fault for each rule that the options of one function break."""
    options, kinds = function.options, [kind for kind in KINDS if function.states(kind)]
    if not kinds:
        yield Fault(function.path, f"needs one of {', '.join(KINDS)}")
    if len(kinds) > 1:
        yield Fault(function.path, f"has {' and '.join(kinds)}; a function has exactly one of {', '.join(KINDS)}")
    for option, takers in limited(FunctionOptions).items():
        if function.states(option) and kinds and not set(kinds) & set(takers):
            rule = f"applies only to a function with {' or '.join(takers)}, not with {kinds[0]}"
            yield Fault(function.at(option), rule)
    if options.arn is not None and options.timeout_in_seconds > LAMBDA_TIMEOUT.highest:
        yield Fault(function.at("timeout_in_seconds"), f"{LAMBDA_TIMEOUT} for a function with arn")
    yield from _header_rules(function)


def _header_rules(function: Entry[FunctionOptions]) -> Iterator[Fault]:
    """Yield a fault if a request would have the same header twice.

    HTTP ignores the case of a header's name. A user in a url becomes a header Authorization.
    """
    options, names = function.options, dict[str, str]()
    for name in options.headers or {}:
        if (first := names.setdefault(name.lower(), name)) != name:
            yield Fault(function.at("headers"), f"{first} and {name} are the same header")
    users = [url for url in [options.url, *(options.urls or [])] if url and "@" in URL(url).raw_authority]
    if users and "authorization" in names:
        yield Fault(function.at("headers"), f"{names['authorization']} cannot be used with a user in the url")


class User(NamedTuple):
    """The region, account and partition of a mapping's source.

    If a function is not on AWS Lambda, its ARN gets these three values from the first mapping that uses the function.
    `[daemon] account_id` takes precedence over the account of the source.
    """

    region: str
    account: str
    partition: str = "aws"


def configured_function(name: str, options: FunctionOptions, user: User, directory: FilePath) -> Function:
    kind = _kind(options, directory)
    return built(
        Function,
        options,
        name=FunctionName(name),
        arn=options.arn or _derived_arn(name, user),
        kind=kind,
        reserved_concurrency=_concurrency(kind, options.reserved_concurrency),
        is_concurrency_reserved=options.reserved_concurrency is not None,
        event_invoke_config=event_invoke_config(options.event_invoke_config, options.dead_letter_config),
    )


def _concurrency(kind: FunctionKind, stated: int | None) -> int:
    """Return how many invocations may run at once: the stated number, but at most one for each emulator."""
    if stated is None:
        return default_concurrency(kind)
    if isinstance(kind, HttpService) and all(is_emulator(url) for url in kind.urls):
        return min(stated, default_concurrency(kind))
    return stated


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
    return built(
        ChildProcess,
        options,
        command=options.command or (options.python or sys.executable, str(_BOOTSTRAP)),
        environment=options.environment or {},
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
