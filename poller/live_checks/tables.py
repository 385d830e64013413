"""Are the tables of leases there, and can they be used? The state has one, and so do KCL applications.

    DescribeTable    the table has the right key
    Scan             the daemon can read each item; it refuses a table that has an item of another program. In a table
                     of KCL, the positions of the mapping may be missing, and then the mapping waits

A table of the state that does not exist is not a fault, because the daemon creates it. A table of KCL must exist.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from random import Random

from poller.aws.clients import Aws
from poller.composition.event_queues import aws_settings
from poller.composition.kcl import why_positions_are_elsewhere
from poller.composition.state import aws_of_table, path_of, rows_of_table
from poller.core.finding import Finding
from poller.errors import PollerError, Rejected
from poller.live_checks.rows import Row, failure
from poller.model.lease import Row as StateRow
from poller.model.lease import TableAddress
from poller.model.mapping import StreamMapping
from poller.settings.state import table_address
from poller.settings.values import Settings
from poller.sqlite.kind import DamagedRow
from poller.stores.dynamodb_items import Items
from poller.stores.dynamodb_leases import DynamoDbLeaseStore
from poller.stores.dynamodb_table import described, fault_of_key
from poller.stores.kcl_leases import WATCHED_IN_SECONDS, KclLeaseStore, held_by_kcl
from poller.stores.kcl_rows import Meaning
from poller.stores.lease_file import shown
from poller.stores.row_kinds import refuse_foreign


async def state_table(settings: Settings, _: Aws) -> list[Row]:
    """Check the table of the state. A table that does not exist is not a fault, because the daemon creates it."""
    address = table_address(settings.daemon.state)
    missing = Finding("does not exist; the daemon creates it at its start, if it may")
    async with Aws(aws_of_table(address, aws_settings(settings))) as aws:
        return await _rows("daemon.state", address, aws, missing=missing, finding=_of_poller)


async def kcl_table(mapping: StreamMapping, table: str, settings: Settings, aws: Aws) -> list[Row]:
    """Check the table of a KCL application. It must exist."""
    address = TableAddress(table, region=mapping.region, role_arn=mapping.role_arn)
    missing = Finding("does not exist", is_fault=True)
    finding = partial(_of_kcl, mapping, settings)
    return await _rows(f"mappings.{mapping.name}.kcl_table", address, aws, missing=missing, finding=finding)


async def _rows(
    option: str, address: TableAddress, aws: Aws, *, missing: Finding, finding: Callable[[Items], Awaitable[Finding]]
) -> list[Row]:
    """Check one table. `missing` is said of a table that does not exist, and `finding` reads the items."""
    row = partial(Row, option, address.table)
    try:
        client = await aws.json_client("dynamodb", region=address.region, role_arn=address.role_arn)
        description = await described(client, address.table)
    except PollerError as error:
        return [row("DescribeTable", failure(error))]
    if description is None:
        return [row("DescribeTable", missing)]
    if (fault := fault_of_key(description)) is not None:
        return [row("DescribeTable", Finding(fault, is_fault=True))]
    try:
        found = await finding(Items(client, table=address.table, randomness=Random()))
    except Rejected as error:
        found = Finding(f"cannot be used: {error}", is_fault=True)
    except PollerError as error:
        found = failure(error)
    return [row("DescribeTable", Finding("exists, and its key fits")), row("Scan", found)]


async def _of_poller(items: Items) -> Finding:
    for row in await DynamoDbLeaseStore(items).scan():
        try:
            refuse_foreign(row)
        except DamagedRow as error:
            return Finding(f"has a damaged row {error}", is_fault=True)
    return Finding("has only rows of poller")


async def _of_kcl(mapping: StreamMapping, settings: Settings, items: Items) -> Finding:
    """Return the finding of a table of KCL. Only a run finds out whether the application still runs."""
    leases = await KclLeaseStore(items, Meaning(mapping.state_key, latest=0.0, at_timestamp=None)).scan()
    marks = {row.key: row for row in await _rows_of_state(settings)}
    if (why := why_positions_are_elsewhere(mapping, marks, has_leases=bool(leases))) is not None:
        return Finding(f"does not have the positions: {why}", is_fault=True)
    if not held_by_kcl(leases):
        return Finding("has only rows of KCL")
    text = (
        "has only rows of KCL; a KCL application owns leases in it, so stop the application: the mapping begins only "
        f"if none of them is renewed for {WATCHED_IN_SECONDS:g} s"
    )
    return Finding(text, is_advice=True)


async def _rows_of_state(settings: Settings) -> list[StateRow]:
    """Return all rows of the state, or none if there is no state yet."""
    state = settings.daemon.state
    if state.startswith("dynamodb://"):
        return await rows_of_table(state, aws_settings(settings)) or []
    path = path_of(state)
    return [] if path is None else shown(path) or []
