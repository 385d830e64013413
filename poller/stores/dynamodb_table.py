"""Does the table of leases exist in DynamoDB, and has it the key that poller needs? It is created if it is missing.

    DescribeTable ──> active           ──> its key is checked
                  ──> being created    ──> wait, and look again
                  ──> no such table    ──> CreateTable; if another worker has created it first, use that table

The table is billed by request ("on demand"), so nobody has to plan its capacity.

Source: Amazon DynamoDB API Reference, "DescribeTable", "CreateTable", "TableDescription".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anyio
import orjson

from poller.errors import AccessDenied, NotFound, Rejected, SettingsError, Unreachable
from poller.stores.dynamodb_items import KEY, Client

USABLE = frozenset({"ACTIVE", "UPDATING"})
"""The states of a table that can be read and written."""

LOOKS = 120
PAUSE_IN_SECONDS = 1.0
"""A table that is being created is described up to LOOKS times, with this pause after each look.

We chose both: DynamoDB needs some seconds to create a table.
"""

ANSWER_TIMEOUT_IN_SECONDS = 10.0

WANTED_KEY = [{"AttributeName": KEY, "KeyType": "HASH"}]
WANTED_TYPES = [{"AttributeName": KEY, "AttributeType": "S"}]


async def made_ready(client: Client, table: str, *, option: str) -> None:
    """Wait until the table is ready, and create it if it does not exist. `option` is the setting that names the table.

    Raises SettingsError if the table has another key, or if it does not exist and may not be created. Raises
    ServiceError if DynamoDB does not answer or refuses.
    """
    for _ in range(LOOKS):
        description = await described(client, table) or await _created(client, table, option)
        if description is not None:
            _check_key(description, option)
            if description.get("TableStatus") in USABLE:
                return
        await anyio.sleep(PAUSE_IN_SECONDS)
    raise Unreachable(f"the table {table} does not become active", code="TableNotActive", was_sent=False)


async def exists(client: Client, table: str, *, option: str) -> bool:
    """Return whether the table exists. Raises SettingsError if it has another key, and ServiceError."""
    description = await described(client, table)
    if description is not None:
        _check_key(description, option)
    return description is not None


async def described(client: Client, table: str) -> Mapping[str, Any] | None:
    """Return the table's description, or None if there is no such table. Raises ServiceError."""
    try:
        answer = await _call(client, "DescribeTable", {"TableName": table})
    except NotFound:
        return None
    return _object(answer.get("Table"))


async def _created(client: Client, table: str, option: str) -> Mapping[str, Any] | None:
    """Create the table. Return None if another worker has begun to create it."""
    wanted = {
        "TableName": table,
        "KeySchema": WANTED_KEY,
        "AttributeDefinitions": WANTED_TYPES,
        "BillingMode": "PAY_PER_REQUEST",
    }
    try:
        answer = await _call(client, "CreateTable", wanted)
    except AccessDenied as error:
        rule = (
            "there is no such table, and the daemon's identity may not create it: allow dynamodb:CreateTable, or "
            f"create a table whose partition key is {KEY}, a string, without a sort key"
        )
        raise SettingsError([f"{option}: {rule}"]) from error
    except Rejected as error:
        if error.code != "ResourceInUseException":
            raise
        return None
    return _object(answer.get("TableDescription"))


def fault_of_key(description: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the table's key, or None. Other attributes may be defined, for indexes."""
    schema = description.get("KeySchema", [])
    types = {each["AttributeName"]: each["AttributeType"] for each in description.get("AttributeDefinitions", [])}
    if schema == WANTED_KEY and types.get(KEY) == "S":
        return None
    found = " and ".join(f"{each['AttributeName']} ({types.get(each['AttributeName'])})" for each in schema)
    return f"the table's key is {found}; it must be {KEY} (S) alone, so another program uses this table"


def _check_key(description: Mapping[str, Any], option: str) -> None:
    if (fault := fault_of_key(description)) is not None:
        raise SettingsError([f"{option}: {fault}"])


async def _call(client: Client, operation: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
    body = orjson.dumps(request)
    return _object(await client.call(operation, body, timeout_in_seconds=ANSWER_TIMEOUT_IN_SECONDS))


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise Unreachable("the answer describes no table", code="UnusableAnswer", was_sent=True)
    return value
