"""Are the tables of leases there, and do they have the right key? The state has one, and so do KCL applications."""

from __future__ import annotations

from functools import partial

from poller.aws.clients import Aws
from poller.composition.event_queues import aws_settings
from poller.composition.state import aws_of_table
from poller.core.finding import Finding
from poller.errors import PollerError
from poller.live_checks.rows import Row, failure
from poller.model.mapping import StreamMapping
from poller.settings.state import table_address
from poller.settings.values import Settings
from poller.stores.dynamodb_table import described, fault_of_key


async def state_table(settings: Settings, _: Aws) -> list[Row]:
    """Check the table of the state. A table that does not exist is not a fault, because the daemon creates it."""
    address = table_address(settings.daemon.state)
    row = partial(Row, "daemon.state", address.table, "DescribeTable")
    async with Aws(aws_of_table(address, aws_settings(settings))) as aws:
        found = await _table(aws, address.table, region=address.region, role_arn=address.role_arn)
    return [row(found or Finding("does not exist; the daemon creates it at its start, if it may"))]


async def kcl_table(mapping: StreamMapping, table: str, aws: Aws) -> list[Row]:
    """Check the table of a KCL application. It must exist."""
    row = partial(Row, f"mappings.{mapping.name}.kcl_table", table, "DescribeTable")
    found = await _table(aws, table, region=mapping.region, role_arn=mapping.role_arn)
    return [row(found or Finding("does not exist", is_fault=True))]


async def _table(aws: Aws, table: str, *, region: str | None, role_arn: str | None) -> Finding | None:
    """Return what DynamoDB says about a table of leases, or None if the table does not exist."""
    try:
        client = await aws.json_client("dynamodb", region=region, role_arn=role_arn)
        description = await described(client, table)
    except PollerError as error:
        return failure(error)
    if description is None:
        return None
    fault = fault_of_key(description)
    return Finding("exists, and its key fits") if fault is None else Finding(fault, is_fault=True)
