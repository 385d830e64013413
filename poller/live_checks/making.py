"""How are all checks made? A few at the same time, and their rows keep the order of the settings."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import anyio
from anyio import CapacityLimiter

from poller.aws.clients import Aws
from poller.composition.event_queues import aws_settings
from poller.live_checks.destinations import destination
from poller.live_checks.event_queues import event_queue
from poller.live_checks.functions import function_on_lambda
from poller.live_checks.rows import Check, Row
from poller.live_checks.sources import queue, stream
from poller.live_checks.tables import kcl_table, state_table
from poller.live_checks.urls import http_function
from poller.model.arn import Arn
from poller.model.function import Function, HttpService, LambdaApi
from poller.settings.values import Settings

CHECKS_AT_ONCE = 16
"""We chose it: many checks do not take long, and AWS does not throttle them."""


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
    if settings.daemon.state.startswith("dynamodb://"):
        yield partial(state_table, settings)
    for mapping in settings.queue_mappings:
        yield partial(queue, mapping, settings.functions[mapping.function_name])
    for stream_mapping in settings.stream_mappings:
        yield partial(stream, stream_mapping)
        if stream_mapping.kcl_table is not None:
            yield partial(kcl_table, stream_mapping, stream_mapping.kcl_table, settings)
        if stream_mapping.on_failure is not None:
            option = f"mappings.{stream_mapping.name}.destination_config.on_failure"
            arn, role = stream_mapping.on_failure.destination_arn, stream_mapping.role_arn
            yield partial(destination, option, arn, stream_mapping.region, role)
    for function in settings.functions.values():
        yield from _checks_of_function(function)


def _checks_of_function(function: Function) -> Iterator[Check]:
    if isinstance(function.kind, LambdaApi):
        yield partial(function_on_lambda, function, function.kind)
    if isinstance(function.kind, HttpService):
        for url in function.kind.urls:
            yield partial(http_function, f"functions.{function.name}", url)
    config = function.event_invoke_config
    if config.event_queue_arn is not None:
        yield partial(event_queue, function)
    receivers = {
        "event_invoke_config.destination_config.on_success": config.on_success,
        "event_invoke_config.destination_config.on_failure": config.on_failure,
        "dead_letter_config": config.dead_letter_arn,
    }
    for option, receiver in receivers.items():
        if isinstance(receiver, Arn):
            yield partial(destination, f"functions.{function.name}.{option}", receiver, receiver.region, None)
