"""Which faults of the settings can only AWS find? `poller check --live` asks AWS, and changes nothing.

    checks_of(settings) ──> a check of each resource ──> rows: the option, the resource, what was checked, the finding

To check something else, write a function that returns rows, and add it to `checks_of`.
If AWS answers a check with an error, this is a fault, too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import NamedTuple

import anyio
import orjson
from anyio import CapacityLimiter

from poller.aws.clients import Aws
from poller.core.events.queue_rules import RULES, Finding
from poller.errors import PollerError
from poller.event_queue_composition import aws_settings, role_of
from poller.model.arn import queue_url
from poller.model.function import Function
from poller.settings.values import Settings

CHECKS_AT_ONCE = 16
ANSWER_TIMEOUT_IN_SECONDS = 10.0
"""We chose both: many checks do not take long, and AWS does not throttle them."""


class Row(NamedTuple):
    """One line of the table. `option` is where the settings name the resource, and `check` is what was checked."""

    option: str
    resource: str
    check: str
    finding: Finding


Check = Callable[[Aws], Awaitable[list[Row]]]
"""Asks AWS about one resource. It raises only PollerError."""


def rows_of(settings: Settings) -> list[Row]:
    """Make all checks, and return their rows in the order of the settings."""
    return anyio.run(_rows_of, settings)


async def _rows_of(settings: Settings) -> list[Row]:
    checks = list(checks_of(settings))
    found: dict[int, list[Row]] = {}
    limiter = CapacityLimiter(CHECKS_AT_ONCE)

    async def make(number: int, check: Check) -> None:
        async with limiter:
            found[number] = await check(aws)

    async with Aws(aws_settings(settings)) as aws, anyio.create_task_group() as tasks:
        for number, check in enumerate(checks):
            tasks.start_soon(make, number, check)
    return [row for number in range(len(checks)) for row in found[number]]


def checks_of(settings: Settings) -> Iterator[Check]:
    for function in settings.functions.values():
        if function.event_invoke_config.event_queue_arn is not None:
            yield partial(event_queue, function)


async def event_queue(function: Function, aws: Aws) -> list[Row]:
    """Check the SQS queue that has the events of a function: one row for each rule of `queue_rules.py`."""
    arn = function.event_invoke_config.event_queue_arn
    assert arn is not None, "the function has an event queue"
    row = partial(Row, f"functions.{function.name}.event_invoke_config.event_queue_arn", str(arn))
    try:
        client = await aws.json_client("sqs", region=arn.region, role_arn=role_of(function))
        request = {"QueueUrl": queue_url(client.endpoint_url, arn), "AttributeNames": ["All"]}
        answer = await client.call(
            "GetQueueAttributes", orjson.dumps(request), timeout_in_seconds=ANSWER_TIMEOUT_IN_SECONDS
        )
    except PollerError as error:
        return [row("GetQueueAttributes", Finding(f"cannot be read: {error}", is_fault=True))]
    attributes = answer.get("Attributes") if isinstance(answer, dict) else None
    attributes = attributes if isinstance(attributes, dict) else {}
    return [
        row("GetQueueAttributes", Finding("exists, and can be read")),
        *(row(name, rule(attributes)) for name, rule in RULES.items()),
    ]
