"""May the events of a function wait in an SQS queue? core/events/queue_rules.py has the rules."""

from __future__ import annotations

from functools import partial

from poller.aws.clients import Aws
from poller.core.events.queue_rules import RULES
from poller.core.finding import Finding
from poller.errors import PollerError
from poller.live_checks.queue_access import queue_access
from poller.live_checks.rows import Row, attributes_of, failure
from poller.model.arn import queue_url
from poller.model.function import Function

EXISTS = Finding("exists; the permissions to send and receive are not checked, because this would change the queue")


async def event_queue(function: Function, aws: Aws) -> list[Row]:
    """Check the queue, and return one row for each rule."""
    arn = function.event_invoke_config.event_queue_arn
    assert arn is not None, "the function has an event queue"
    row = partial(Row, f"functions.{function.name}.event_invoke_config.event_queue_arn", str(arn))
    try:
        client = await aws.json_client("sqs", region=arn.region)
        attributes = await attributes_of(client, queue_url(client.endpoint_url, arn))
    except PollerError as error:
        return [row("GetQueueAttributes", failure(error))]
    return [
        row("GetQueueAttributes", EXISTS),
        *await queue_access(client, queue_url(client.endpoint_url, arn), row),
        *(row(name, rule(attributes)) for name, rule in RULES.items()),
    ]
