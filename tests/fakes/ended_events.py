"""Which events and functions do tests of asynchronous invocation share?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from poller.model.event import Ending, Event, LastAttempt
from poller.model.function import EventInvokeConfig, Function, HttpService
from poller.model.ids import FunctionName, RequestId
from tests.fakes.functions import ARN

NOW = 1_700_000_000.0

FUNCTION = Function(
    name=FunctionName("insert_records"),
    arn=ARN,
    kind=HttpService(urls=("http://127.0.0.1:8080",)),
    timeout_in_seconds=30,
    reserved_concurrency=2,
)

EVENT = Event(
    request_id=RequestId("e4b46cbf-b738-4880-8880-a18cdf61200e"),
    function=FUNCTION.name,
    payload=b'{"ORDER_IDS": ["9e07af03"]}',
    accepted_at=NOW,
    due_at=NOW,
)

FAILED = LastAttempt(
    status_code=200,
    executed_version="$LATEST",
    function_error="Unhandled",
    payload=b'{"errorMessage":"no","errorType":"ValueError"}',
    error_message="no",
)


def function_with(*, reserved_concurrency: int = 2, **config: Any) -> Function:
    """Return a function with these options for its events."""
    return replace(FUNCTION, reserved_concurrency=reserved_concurrency, event_invoke_config=EventInvokeConfig(**config))


def ended(event: Event = EVENT, **fields: Any) -> Event:
    """Return the event after its end: all retries have failed, unless `fields` of Ending say something else."""
    others: dict[str, Any] = {"condition": "RetriesExhausted", "at": NOW, "last": FAILED, "deliveries": ("on_failure",)}
    return replace(event, ending=Ending(**(others | fields)))
