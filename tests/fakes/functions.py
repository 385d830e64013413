"""Which functions and invocations do the tests of targets share?"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import poller
from poller.model.arn import Arn
from poller.model.function import ChildProcess, Function, FunctionKind, HttpService
from poller.model.ids import FunctionName, MappingName, RequestId
from poller.model.invocation import Invocation

ARN = Arn.parse("arn:aws:lambda:eu-west-1:123456789012:function:insert_records")
SAMPLES = Path(__file__).parent.parent / "integration" / "functions"
BOOTSTRAP = Path(poller.__file__).parent / "targets" / "runtime" / "bootstrap.py"


def function(
    kind: FunctionKind,
    *,
    timeout_in_seconds: float = 60.0,
    reserved_concurrency: int = 2,
    is_concurrency_reserved: bool = False,
) -> Function:
    return Function(
        name=FunctionName("insert_records"),
        arn=ARN,
        kind=kind,
        timeout_in_seconds=timeout_in_seconds,
        reserved_concurrency=reserved_concurrency,
        is_concurrency_reserved=is_concurrency_reserved,
    )


def callable_kind(
    handler: str,
    *,
    environment: Mapping[str, str] | None = None,
    directory: Path = SAMPLES,
    python: str = sys.executable,
    memory_size_in_mb: int | None = None,
) -> ChildProcess:
    """Return the kind of function that the settings make from `handler = "module:callable"`."""
    return ChildProcess(
        command=(python, str(BOOTSTRAP)),
        handler=handler,
        environment=environment or {},
        directory=str(directory),
        memory_size_in_mb=memory_size_in_mb,
    )


def command_kind(
    *command: str, environment: Mapping[str, str] | None = None, directory: Path = SAMPLES
) -> ChildProcess:
    return ChildProcess(command=command, handler=None, environment=environment or {}, directory=str(directory))


def http_kind(*urls: str, headers: Mapping[str, str] | None = None) -> HttpService:
    return HttpService(urls=urls, headers=headers or {})


def invocation(payload: bytes = b"{}", *, request_id: str = "6f1d1d51-1", attempt: int = 1) -> Invocation:
    return Invocation(RequestId(request_id), payload, MappingName("new_users"), attempt)


ALIAS = f"{ARN}:live"
TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1;Lineage=1:5f0d4f2a:1"
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def full_call(payload: bytes = b"{}") -> Invocation:
    """Return a call of the Invoke API with everything that a client may send."""
    return Invocation(
        RequestId("6f1d1d51-1"),
        payload,
        None,
        1,
        invoked_arn=ALIAS,
        trace=TRACE,
        traceparent=TRACEPARENT,
        client_context=b'{"custom": {"user": "Zo\\u00eb"}}',
        wants_log_tail=True,
    )


def bare_call(payload: bytes = b"{}") -> Invocation:
    """Return a call of the Invoke API whose client sent only the event."""
    return Invocation(RequestId("6f1d1d51-1"), payload, None, 1)
