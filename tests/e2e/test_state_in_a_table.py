"""Do daemons share their streams through a table of DynamoDB, and is a table of KCL taken over and given back?"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import orjson
import pytest
from typer.testing import CliRunner, Result

from poller.aws.clients import Aws, AwsSettings
from poller.aws.json_client import JsonClient
from poller.cli import app
from tests.e2e.harness import World
from tests.e2e.streams import Clicks, mapping
from tests.fakes.target import FakeTarget, FunctionPlan, ids_of

pytestmark = pytest.mark.anyio

BILL = "arn:aws:lambda:eu-west-1:123456789012:function:bill"
LONGEST_IN_SECONDS = 60.0


def new_function(world: World) -> FakeTarget:
    """Return a new function that takes no time."""
    function = world.aws.functions[BILL] = FakeTarget(FunctionPlan(duration_in_seconds=(0, 0)))
    return function


@asynccontextmanager
async def dynamodb(url: str) -> AsyncIterator[JsonClient]:
    async with Aws(AwsSettings(region="eu-west-1", endpoint_url=url)) as aws:
        yield await aws.json_client("dynamodb")


@pytest.fixture
def _keys(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    """Let this process have the environment of the daemons."""
    for name, value in world.environment.items():
        monkeypatch.setenv(name, value)


async def call(client: JsonClient, operation: str, **request: Any) -> Any:
    return await client.call(operation, orjson.dumps(request), timeout_in_seconds=LONGEST_IN_SECONDS)


async def items(client: JsonClient, table: str) -> dict[str, dict[str, Any]]:
    """Return all items of a table by their key."""
    answer = await call(client, "Scan", TableName=table, ConsistentRead=True)
    return {item["leaseKey"]["S"]: item for item in answer["Items"]}


async def run(world: World, *arguments: str) -> Result:
    """Run a command in the test's process, not in the daemon's."""
    invoke = partial(CliRunner().invoke, app, [*arguments, "--config", str(world.folder / "poller.toml")])
    return await anyio.to_thread.run_sync(invoke)


async def create_table(client: JsonClient, table: str) -> None:
    await call(
        client,
        "CreateTable",
        TableName=table,
        KeySchema=[{"AttributeName": "leaseKey", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "leaseKey", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )


async def test_a_worker_that_starts_again_uses_the_table_of_the_start_although_the_file_has_another_endpoint(
    world: World, ministack: str
) -> None:
    new_function(world)
    world.state = "dynamodb://workers"
    world.options = f'endpoints = {{ dynamodb = "{ministack}" }}'
    text = mapping("clicks", Clicks(world.aws, "clicks", shard_count=2), BILL)
    async with world.daemon(text, "--workers", "2") as daemon:
        for number in (1, 2):
            await daemon.until_logged("mapping_ready", worker=number)
        world.options = 'endpoints = { dynamodb = "http://127.0.0.1:9" }'
        world.write(text)
        daemon.signal(signal.SIGHUP)
        for number in (1, 2):
            await daemon.until_logged("reloaded", options=["daemon.endpoints"], worker=number)
        os.kill(daemon.logged("worker_started", worker=2)[0]["pid"], signal.SIGKILL)
        await world.watch.until(lambda: len(daemon.logged("mapping_ready", worker=2)) == 2)
        assert await daemon.stop() == 0


@pytest.mark.usefixtures("_keys")
async def test_two_daemons_share_a_stream_and_its_pause_through_a_table(world: World, ministack: str) -> None:
    clicks = Clicks(world.aws, "clicks", shard_count=4)
    function = new_function(world)
    world.state = f"dynamodb://shared?endpoint_url={ministack}"
    text = mapping("clicks", clicks, BILL)
    async with dynamodb(ministack) as client:

        async def readers() -> set[str]:
            found = await items(client, "shared")
            return {item.get("leaseOwner", {}).get("S", "") for key, item in found.items() if key.startswith("clicks/")}

        async def until_readers(count: int, *, nobody: bool = False) -> None:
            with anyio.fail_after(LONGEST_IN_SECONDS):
                while len(owners := await readers()) != count or ("" in owners) != nobody:
                    pass

        world.options = 'worker = "blue-1"'
        async with world.daemon(text) as first:
            assert (await first.until_logged("state_opened"))["state"] == world.state
            await first.until_logged("mapping_ready")
            world.options = 'worker = "blue-2"\nevent_queue = "sqlite://second.db"'
            async with world.daemon(text) as second:
                await second.until_logged("mapping_ready")
                await until_readers(2)
                assert {owner.partition("/")[0] for owner in await readers()} == {"blue-1", "blue-2"}
                numbers = clicks.put_all(*(f"key-{number}" for number in range(40)))
                await world.watch.until(lambda: set(numbers) <= set(ids_of(function.calls)))
                shown = await run(world, "state", "show")
                assert (shown.exit_code, shown.stderr) == (0, "")
                assert "blue-1" in shown.stdout
                assert "blue-2" in shown.stdout
                paused = await run(world, "pause", "clicks")
                assert paused.exit_code == 0, paused.stderr
                await until_readers(1, nobody=True)
                moved = await run(world, "state", "set", "clicks", "TRIM_HORIZON", "--yes")
                assert (moved.exit_code, moved.stderr) == (0, "")
                function = new_function(world)
                assert (await run(world, "resume", "clicks")).exit_code == 0
                await world.watch.until(lambda: set(numbers) <= set(ids_of(function.calls)))
                assert await second.stop() == 0
            await until_readers(1)
            assert {owner.partition("/")[0] for owner in await readers()} == {"blue-1"}
            assert await first.stop() == 0


@pytest.mark.usefixtures("_keys")
async def test_a_table_of_a_kcl_application_is_taken_over_and_given_back(world: World, ministack: str) -> None:
    clicks = Clicks(world.aws, "clicks", shard_count=2)
    function = new_function(world)
    world.state = "sqlite://poller.db"
    world.options = f'endpoints = {{ dynamodb = "{ministack}" }}'
    text = mapping("clicks", clicks, BILL, 'kcl_table = "my-application"')
    done = clicks.put_all(*(f"key-{number}" for number in range(10)))
    by_shard = {shard_id: [n for s, n, _ in clicks.puts if s == shard_id] for shard_id, _, _ in clicks.puts}
    async with dynamodb(ministack) as client:
        await create_table(client, "my-application")
        for shard_id, numbers in by_shard.items():
            lease = {
                "leaseKey": {"S": shard_id},
                "leaseCounter": {"N": "57"},
                "ownerSwitchesSinceCheckpoint": {"N": "2"},
                "checkpoint": {"S": numbers[-1]},
                "checkpointSubSequenceNumber": {"N": "0"},
                "startingHashKey": {"S": "0"},
            }
            await call(client, "PutItem", TableName="my-application", Item=lease)
        metrics = {"leaseKey": {"S": "ip-10-0-0-1"}, "entityType": {"S": "WORKER_METRICS"}}
        await call(client, "PutItem", TableName="my-application", Item=metrics)
        async with world.daemon(text) as daemon:
            await daemon.until_logged("mapping_ready")
            new = clicks.put_all(*(f"key-{number}" for number in range(10)))
            await world.watch.until(lambda: set(new) <= set(ids_of(function.calls)))
            assert await daemon.stop() == 0
        assert not set(done) & set(ids_of(function.calls)), "the application has done these"
        found = await items(client, "my-application")
    assert found.pop("ip-10-0-0-1") == metrics
    assert found.keys() == {shard.shard_id for shard in clicks.shards}
    for shard_id, item in found.items():
        last = [number for shard, number, _ in clicks.puts if shard == shard_id][-1]
        assert item["checkpoint"] == {"S": last}
        assert item["checkpointSubSequenceNumber"] == {"N": "0"}
        assert "leaseOwner" not in item
        assert int(item["leaseCounter"]["N"]) > 57
        assert item["startingHashKey"] == {"S": "0"}, "what poller does not know stays"


@pytest.mark.parametrize("start", ["TRIM_HORIZON", "LATEST"])
@pytest.mark.usefixtures("_keys")
async def test_the_positions_of_a_mapping_go_into_a_new_table_of_kcl_and_back_and_no_record_is_lost_or_comes_again(
    world: World, ministack: str, start: str
) -> None:
    clicks, table = Clicks(world.aws, "clicks", shard_count=2), f"new-{start}"
    world.state = "sqlite://poller.db"
    world.options = f'endpoints = {{ dynamodb = "{ministack}" }}'
    without = mapping("clicks", clicks, BILL, f'starting_position = "{start}"')
    with_table = f'{without}kcl_table = "{table}"\n'

    async def delivered(text: str, written: list[str]) -> None:
        """Run the daemon. It must deliver these records, and some that are written while it runs, and no others."""
        function = new_function(world)
        async with world.daemon(text) as daemon:
            await daemon.until_logged("mapping_ready")
            new = [*written, *clicks.put_all(*map(str, range(10)))]
            await world.watch.until(lambda: set(new) <= set(ids_of(function.calls)))
            assert await daemon.stop() == 0
        assert sorted(ids_of(function.calls)) == sorted(new)

    async with dynamodb(ministack) as client:
        await create_table(client, table)
        await delivered(without, [])
        meanwhile = clicks.put_all(*map(str, range(10)))
        function = new_function(world)
        async with world.daemon(with_table) as daemon:
            waits = await daemon.until_logged("mapping_cannot_run", mapping="clicks")
            assert "copy them with `poller state copy daemon.state --mapping clicks`" in waits["reason"]
            assert await daemon.stop() == 0
        assert not function.calls
        copied = await run(world, "state", "copy", "daemon.state", "--mapping", "clicks")
        assert copied.exit_code == 0, copied.stderr
        assert copied.stdout == f"Done; the table {table} has the positions of 2 shards.\n"
        await delivered(with_table, meanwhile)
        parent = clicks.shards[0].shard_id
        clicks.split(parent)
        await delivered(with_table, [])
        assert (await items(client, table))[parent]["checkpoint"] == {"S": "SHARD_END"}
        await call(client, "DeleteItem", TableName=table, Key={"leaseKey": {"S": parent}})  # as KCL does
        await delivered(with_table, [])
        await call(client, "DeleteItem", TableName=table, Key={"leaseKey": {"S": parent}})
        meanwhile = clicks.put_all(*map(str, range(10)))
        world.write(without)
        back = await run(world, "state", "copy", f"kcl://{table}", "--mapping", "clicks")
        assert back.exit_code == 0, back.stderr
        await delivered(without, meanwhile)
