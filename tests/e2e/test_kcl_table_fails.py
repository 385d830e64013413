"""What does the daemon do while the table of a KCL application fails? Only the mapping that uses the table waits."""

from __future__ import annotations

from typing import Any

import anyio
import orjson
import pytest

from tests.e2e.harness import KEYS, World
from tests.e2e.streams import Clicks, mapping
from tests.fakes.dynamodb_over_http import DynamoDbOverHttp, dynamodb_over_http
from tests.fakes.target import FakeTarget, FunctionPlan, ids_of

pytestmark = pytest.mark.anyio

BILL = "arn:aws:lambda:eu-west-1:123456789012:function:bill"
LONGEST_IN_SECONDS = 30.0
WHY = "mappings.clicks.kcl_table: the table my-application cannot be used now: "


async def create_table(service: DynamoDbOverHttp) -> None:
    request = {
        "TableName": "my-application",
        "KeySchema": [{"AttributeName": "leaseKey", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "leaseKey", "AttributeType": "S"}],
        "BillingMode": "PAY_PER_REQUEST",
    }
    await service.tables.call("CreateTable", orjson.dumps(request), timeout_in_seconds=1)


async def test_a_table_that_fails_stops_only_the_mapping_that_uses_it(world: World) -> None:
    clicks, views = (Clicks(world.aws, name, shard_count=2) for name in ("clicks", "views"))
    function = world.aws.functions[BILL] = FakeTarget(FunctionPlan(duration_in_seconds=(0, 0)))
    world.state = "sqlite://poller.db"
    async with dynamodb_over_http() as service:
        service.checked.knows(KEYS)
        world.options = f'endpoints = {{ dynamodb = "{service.url}" }}'
        text = mapping("clicks", clicks, BILL, 'kcl_table = "my-application"') + mapping("views", views, BILL)

        async def until_delivered(*numbers: str) -> None:
            await world.watch.until(lambda: set(numbers) <= set(ids_of(function.calls)))

        async with world.daemon(text) as daemon:

            async def state_of(name: str) -> dict[str, Any]:
                found: dict[str, Any] = (await daemon.get("/api/status")).json()["mappings"][name]
                return found

            refused = await daemon.until_logged("mapping_cannot_run", mapping="clicks")
            assert "there is no table my-application" in refused["reason"]
            await until_delivered(*views.put_all("a", "b", "c", "d"))
            assert (await state_of("views"))["state"] == "ready"
            await create_table(service)
            await until_delivered(*clicks.put_all("a", "b", "c", "d"))

            service.tables.forbidden = {"Scan", "UpdateItem"}
            await world.watch.until(lambda: len(daemon.logged("mapping_cannot_run")) > 1 and WHY in daemon.text)
            waiting = clicks.put_all("a", "b", "c", "d")
            await until_delivered(*views.put_all("a", "b", "c", "d"))
            assert (await state_of("views"))["state"] == "ready"
            with anyio.fail_after(LONGEST_IN_SECONDS):  # for a moment after each try, the new run has no reason yet
                while f"the mapping waits: {WHY}" not in ((await state_of("clicks"))["reason"] or ""):
                    pass
            assert not set(waiting) & set(ids_of(function.calls))
            service.tables.forbidden = set()
            await until_delivered(*waiting)
            assert {line["mapping"] for line in daemon.logged("mapping_cannot_run")} == {"clicks"}
            assert daemon.logged("lease_table_failed") == []
            assert await daemon.stop() == 0


async def test_a_mapping_that_waits_for_the_end_of_a_kcl_application_hinders_nobody(world: World) -> None:
    clicks, views = (Clicks(world.aws, name, shard_count=1) for name in ("clicks", "views"))
    function = world.aws.functions[BILL] = FakeTarget(FunctionPlan(duration_in_seconds=(0, 0)))
    world.state = "sqlite://poller.db"
    async with dynamodb_over_http() as service:
        service.checked.knows(KEYS)
        world.options = f'endpoints = {{ dynamodb = "{service.url}" }}'
        await create_table(service)
        lease = {
            "leaseKey": {"S": clicks.shards[0].shard_id},
            "leaseOwner": {"S": "ip-10-0-0-1:7a0f"},
            "leaseCounter": {"N": "57"},
            "checkpoint": {"S": "TRIM_HORIZON"},
        }
        table = service.tables.table("my-application")
        table.items[table.key_of(lease)] = lease
        text = mapping("clicks", clicks, BILL, 'kcl_table = "my-application"') + mapping("views", views, BILL)
        async with world.daemon(text) as daemon:
            new = views.put_all("a", "b")
            await world.watch.until(lambda: set(new) <= set(ids_of(function.calls)))
            watched = await daemon.until_logged("kcl_table_watched")
            assert (watched["mapping"], watched["leases"], watched["watched_in_seconds"]) == ("clicks", 1, 60.0)
            found = (await daemon.get("/api/status")).json()["mappings"]["clicks"]
            assert found["state"] == "starting"
            assert found["reason"].startswith("a KCL application owns 1 of the leases in the table my-application, and")
            assert await daemon.stop() == 0
        assert table.items[table.key_of(lease)] == lease
