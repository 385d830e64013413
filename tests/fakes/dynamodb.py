"""What stands in for DynamoDB? Tables of items behind its JSON, as far as a table of leases needs it.

    CreateTable, DescribeTable        a new table is CREATING for `creation_in_seconds`, then ACTIVE
    PutItem, UpdateItem, DeleteItem   with conditions made of =, <=, attribute_not_exists, AND, OR and parentheses
    BatchGetItem                      returns up to `items_in_an_answer`, and names the keys that were not processed
    Scan                              has pages of `items_in_an_answer`

Each call draws a fault of the plan, whose operations are DynamoDB's. `calls` has every request in the order of arrival.
The identity may not do the operations in `forbidden`. Writes of the items with `hot_keys` are throttled.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import anyio
import orjson

from poller.errors import AccessDenied, NotFound, Rejected, ServiceError, Throttled
from tests.fakes.faults import FaultPlan

Item = Mapping[str, Mapping[str, Any]]


class FakeTable:
    def __init__(self, name: str, request: dict[str, Any], active_at: float) -> None:
        self.name = name
        self.items: dict[str, Item] = {}
        self.schema = request["KeySchema"]
        self._types = request["AttributeDefinitions"]
        self._active_at = active_at

    def key_of(self, item: Item) -> str:
        names = [each["AttributeName"] for each in self.schema]
        if not item.keys() >= set(names):
            raise _invalid(f"The provided key element does not match the schema: {names}")
        return "/".join(str(item[name]) for name in names)

    @property
    def description(self) -> dict[str, Any]:
        status = "ACTIVE" if anyio.current_time() >= self._active_at else "CREATING"
        return {
            "TableName": self.name,
            "TableStatus": status,
            "KeySchema": self.schema,
            "AttributeDefinitions": self._types,
        }


class FakeDynamoDb:
    """A client of the service, and the service behind it."""

    def __init__(
        self, *, faults: FaultPlan | None = None, items_in_an_answer: int = 100, creation_in_seconds: float = 0.0
    ) -> None:
        self.faults = faults or FaultPlan()
        self.tables: dict[str, FakeTable] = {}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.forbidden: set[str] = set()
        self.hot_keys: set[str] = set()
        self.items_in_an_answer = items_in_an_answer
        self._creation_in_seconds = creation_in_seconds

    async def call(self, operation: str, body: bytes, *, timeout_in_seconds: float) -> Any:
        request = orjson.loads(body)
        fault = self.faults.draw(operation, anyio.current_time())
        await self.faults.way_there(fault)
        self.calls.append((operation, request))
        if operation in self.forbidden:
            raise AccessDenied(f"not authorized to perform: dynamodb:{operation}", code="AccessDeniedException")
        answer = orjson.loads(orjson.dumps(getattr(self, f"_{operation}")(request)))
        await self.faults.way_back(fault)
        return answer

    def table(self, name: str) -> FakeTable:
        if name not in self.tables:
            raise NotFound(f"Requested resource not found: Table: {name}", code="ResourceNotFoundException")
        return self.tables[name]

    def _CreateTable(self, request: dict[str, Any]) -> Any:  # noqa: N802  # as DynamoDB calls it
        name = request["TableName"]
        if not re.fullmatch(r"[A-Za-z0-9_.-]{3,255}", name):
            raise _invalid("Invalid table/index name")
        if name in self.tables:
            raise Rejected(f"Table already exists: {name}", code="ResourceInUseException")
        assert request["BillingMode"] == "PAY_PER_REQUEST"
        self.tables[name] = FakeTable(name, request, anyio.current_time() + self._creation_in_seconds)
        return {"TableDescription": self.tables[name].description}

    def _DescribeTable(self, request: dict[str, Any]) -> Any:  # noqa: N802
        return {"Table": self.table(request["TableName"]).description}

    def _PutItem(self, request: dict[str, Any]) -> Any:  # noqa: N802
        table, item = self.table(request["TableName"]), request["Item"]
        self._check(request, table.items.get(table.key_of(item)))
        table.items[table.key_of(item)] = item
        return {}

    def _UpdateItem(self, request: dict[str, Any]) -> Any:  # noqa: N802
        table, key = self.table(request["TableName"]), request["Key"]
        item = table.items.get(table.key_of(key))
        self._check(request, item)
        sets, _, removes = request["UpdateExpression"].removeprefix("SET ").partition(" REMOVE ")
        names, values = request["ExpressionAttributeNames"], request["ExpressionAttributeValues"]
        assignments = dict(assignment.split(" = ") for assignment in sets.split(", "))
        changed = {names[name]: values[value] for name, value in assignments.items()}
        removed = {names[name] for name in removes.split(", ") if name}
        if set(assignments) | {name for name in removes.split(", ") if name} != names.keys():
            raise _invalid("Value provided in ExpressionAttributeNames unused in expressions")
        kept = {name: value for name, value in (item or key).items() if name not in removed}
        table.items[table.key_of(key)] = kept | changed
        return {}

    def _DeleteItem(self, request: dict[str, Any]) -> Any:  # noqa: N802
        table, key = self.table(request["TableName"]), request["Key"]
        self._check(request, table.items.get(table.key_of(key)))
        table.items.pop(table.key_of(key), None)
        return {}

    def _BatchGetItem(self, request: dict[str, Any]) -> Any:  # noqa: N802
        ((name, asked),) = request["RequestItems"].items()
        table, keys = self.table(name), [self.table(name).key_of(key) for key in asked["Keys"]]
        if not 0 < len(keys) <= 100 or len(set(keys)) < len(keys):
            raise _invalid("from 1 to 100 keys, each of them once")
        assert asked["ConsistentRead"]
        done = self.items_in_an_answer
        left = {name: {"Keys": asked["Keys"][done:], "ConsistentRead": True}} if keys[done:] else {}
        found = [table.items[key] for key in keys[:done] if key in table.items]
        return {"Responses": {name: found}, "UnprocessedKeys": left}

    def _Scan(self, request: dict[str, Any]) -> Any:  # noqa: N802
        table = self.table(request["TableName"])
        start = table.key_of(request["ExclusiveStartKey"]) if "ExclusiveStartKey" in request else ""
        keys = [key for key in sorted(table.items) if key > start]
        page = [table.items[key] for key in keys[: self.items_in_an_answer]]
        if not keys[self.items_in_an_answer :]:
            return {"Items": page}
        names = [each["AttributeName"] for each in table.schema]
        return {"Items": page, "LastEvaluatedKey": {name: page[-1][name] for name in names}}

    def _check(self, request: dict[str, Any], item: Item | None) -> None:
        if request.get("Item", request.get("Key", {})).get("leaseKey", {}).get("S") in self.hot_keys:
            raise Throttled("the partition is too hot", code="ProvisionedThroughputExceededException")
        expression, values = request["ConditionExpression"], request.get("ExpressionAttributeValues", {})
        if not is_true(expression, item or {}, values):
            raise Rejected("The conditional request failed", code="ConditionalCheckFailedException")


def is_true(expression: str, item: Item, values: dict[str, dict[str, Any]]) -> bool:
    """Evaluate a condition: its names and values become Python's, and AND binds closer than OR in both languages."""
    text = re.sub(r"attribute_not_exists\((\w+)\)", r"('\1' not in item)", expression)
    text = re.sub(r"(\w+) (<?=) (:\w+)", r"compares('\1', '\2', '\3')", text)
    text = text.replace(" AND ", " and ").replace(" OR ", " or ")

    def compares(name: str, operator: str, value: str) -> bool:
        """Compare as DynamoDB does: a missing attribute, or one of another type, is neither equal nor less."""
        ((kind, wanted),) = values[value].items()
        if kind not in item.get(name, {}):
            return False
        found = item[name][kind]
        is_less = int(found) < int(wanted) if kind == "N" else found.encode() < wanted.encode()
        return bool(found == wanted) or (operator == "<=" and is_less)

    return bool(eval(text, {"__builtins__": {}}, {"item": item, "compares": compares}))


def _invalid(message: str) -> ServiceError:
    return Rejected(message, code="ValidationException")
