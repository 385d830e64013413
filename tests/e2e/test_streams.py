"""Does the daemon read streams in order and from the stored positions, and does it say what blocks it?"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest
from anyio import to_thread

from poller.model.ids import MappingName
from poller.model.invocation import Answered, Invocation, Response
from poller.model.stream import AfterSequence, SequenceNumber, ShardEnd, StateKey
from poller.stores.lease_by_hand import stored
from tests.e2e.harness import World, poller
from tests.e2e.streams import Clicks, Source, Users, calls_of, instant, mapping
from tests.fakes.http_server import Reply, Request, http_server
from tests.fakes.stream_service import Bucket
from tests.fakes.target import ids_of

pytestmark = pytest.mark.anyio

BILL = "arn:aws:lambda:eu-west-1:123456789012:function:bill"
KEYS = [f"key-{number}" for number in range(8)]

LEDGER = """
import json, os

def write(event, context):
    ledger = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    numbers = [record.get("kinesis", {}).get("sequenceNumber") or record["dynamodb"]["SequenceNumber"]
               for record in event["Records"]]
    os.write(ledger, json.dumps(numbers).encode() + b"\\n")
    os.close(ledger)
"""


@pytest.fixture
def world(world: World) -> World:
    """The state is a file, so it survives a restart."""
    world.state = "sqlite://poller.db"
    return world


def in_order(source: Source, numbers: Iterable[str]) -> dict[str, list[str]]:
    """Return the sequence numbers of each shard, in the order of their arrival."""
    by_shard = defaultdict(list)
    for number in numbers:
        by_shard[source.shard_of(number)].append(number)
    return by_shard


def written(path: Path) -> list[str]:
    """Return the sequence numbers in a handler's ledger."""
    lines = path.read_bytes().splitlines() if path.exists() else []
    return [number for line in lines for number in orjson.loads(line)]


def two_shards(source: Source) -> tuple[str, str]:
    """Put two records into different shards, and return their keys."""
    first = source.put("a")
    other = next(key for key in map(str, range(100)) if source.shard_of(source.put(key)) != source.shard_of(first))
    return "a", other


async def test_all_records_arrive_in_order_and_none_is_repeated_after_a_clean_stop(world: World) -> None:
    """Both kinds of streams, each with a function on AWS Lambda and with handlers in child processes."""
    clicks, users = Clicks(world.aws, "clicks", shard_count=2), Users(world.aws, "users", shard_count=2)
    sources: Mapping[str, Source] = {"clicks": clicks, "users": users}
    bill = world.aws.functions[BILL] = instant()
    (world.folder / "ledger.py").write_text(LEDGER)
    text = "".join(
        f"""
        [functions.write_{name}]
        handler = "ledger:write"
        environment = {{ LEDGER = "{world.folder}/{name}.jsonl" }}
        """
        + mapping(name, source, BILL, "batch_size = 7")
        + mapping(f"{name}_written", source, f"write_{name}", "batch_size = 7", "parallelization_factor = 2")
        for name, source in sources.items()
    )

    def has_all() -> bool:
        return all(
            set(source.kinds) == set(ids_of(calls_of(bill, name))) == set(written(world.folder / f"{name}.jsonl"))
            for name, source in sources.items()
        )

    for records in (40, 3):
        for source in sources.values():
            source.put_all(*(KEYS[number % 8] for number in range(records)))
        async with world.daemon(text) as daemon:
            await world.watch.until(has_all)
            assert (await daemon.get("/readyz")).status == 200
            assert await daemon.stop() == 0
            assert not daemon.logged("batch_failed")
    for name, source in sources.items():
        came = ids_of(calls_of(bill, name))
        assert sorted(came) == sorted(source.kinds), "each once"
        assert sorted(written(world.folder / f"{name}.jsonl")) == sorted(source.kinds), "each once"
        of_shards = in_order(source, came)
        assert of_shards == in_order(source, source.kinds)
        last = {shard_id: AfterSequence(SequenceNumber(numbers[-1])) for shard_id, numbers in of_shards.items()}
        for each in (name, f"{name}_written"):
            assert positions(world, each, source) == last


def positions(world: World, name: str, source: Source) -> dict[str, object]:
    checkpoints = stored(world.folder / "poller.db")[StateKey(MappingName(name), source.arn)].checkpoints
    return {shard_id: checkpoint.position for shard_id, checkpoint in checkpoints.items()}


@pytest.mark.parametrize("kind", [Clicks, Users])
async def test_children_are_read_after_their_parent_and_a_drained_shard_stays_drained(
    world: World, kind: type[Clicks | Users]
) -> None:
    source = kind(world.aws, "source")
    bill = world.aws.functions[BILL] = instant()
    [parent] = [shard.shard_id for shard in source.shards]
    before = source.put_all(*KEYS)
    async with world.daemon(mapping("source", source, BILL, "batch_size = 3")) as daemon:
        await daemon.until_logged("mapping_ready")
        children = source.split(parent)
        after = source.put_all(*KEYS)
        await world.watch.until(lambda: len(ids_of(bill.calls)) == 16)
        assert await daemon.stop() == 0
    assert ids_of(bill.calls)[:8] == before
    assert in_order(source, ids_of(bill.calls)[8:]) == in_order(source, after)
    assert positions(world, "source", source)[parent] == ShardEnd()
    assert set(positions(world, "source", source)) == {parent, *children}
    more = source.put_all(*KEYS)
    async with world.daemon(mapping("source", source, BILL)) as daemon:
        await world.watch.until(lambda: set(more) <= set(ids_of(bill.calls)))
        assert await daemon.stop() == 0
    assert sorted(ids_of(bill.calls)) == sorted(source.kinds), "each once"


async def test_a_blocked_shard_is_reported_and_the_others_go_on(world: World) -> None:
    """No record is lost: when the function succeeds with the record, the shard continues in order."""
    source = Clicks(world.aws, "clicks", shard_count=2)
    left, right = two_shards(source)
    poison = source.put(left)
    blocked = source.shard_of(poison)
    behind, beside = source.put_all(left, left), source.put_all(right, right)
    bill = world.aws.functions[BILL] = instant(poison={poison})
    async with world.daemon(mapping("clicks", source, BILL, "batch_size = 1")) as daemon:
        logged = await daemon.until_logged("shard_blocked")
        await world.watch.until(lambda: set(beside) <= set(ids_of(bill.calls)))
        ready = await daemon.get("/readyz")
        metrics = (await daemon.get("/metrics")).text
        assert not set(behind) & set(ids_of(bill.calls))
        bill.plan.poison.clear()
        await daemon.until_logged("shard_unblocked", shard=blocked)
        await world.watch.until(lambda: set(behind) <= set(ids_of(bill.calls)))
        assert await daemon.stop() == 0
    assert (logged["mapping"], logged["shard"], logged["level"]) == ("clicks", blocked, "warning")
    assert ready.status == 200, "a restart would not cure it"
    entry = ready.json()["mappings"]["clicks"]
    assert entry["shards_blocked"] == 1
    [shown] = entry["blocked"]
    assert (shown["shard"], shown["reason"]) == (blocked, logged["reason"])
    assert 'poller_shards_blocked{mapping="clicks"} 1.0' in metrics
    assert in_order(source, dict.fromkeys(ids_of(bill.calls))) == in_order(source, source.kinds)


async def test_a_person_bisects_the_batch_that_blocks_a_shard_and_discards_its_poison_record(world: World) -> None:
    source = Clicks(world.aws, "clicks", shard_count=1)
    good, poison, behind = source.put(), source.put(), source.put()
    shard = source.shard_of(poison)
    bill = world.aws.functions[BILL] = instant(poison={poison})

    async def order(action: str, *options: str) -> subprocess.CompletedProcess[str]:
        config = ("-c", str(world.folder / "poller.toml"))
        return await to_thread.run_sync(
            partial(poller, world.folder, "shard", "clicks", shard, action, *options, *config)
        )

    async with world.daemon(mapping("clicks", source, BILL)) as daemon:
        await daemon.until_logged("shard_blocked", records=3)
        assert (await order("bisect")).returncode == 0
        made = await daemon.until_logged("change_made", change="bisect", mapping="clicks", shard=shard)
        await world.watch.until(lambda: ids_of(bill.calls)[-4:] == [poison, behind] * 2)  # the half has failed, too
        assert (await order("bisect")).returncode == 0
        await world.watch.until(lambda: ids_of(bill.calls)[-2:] == [poison, poison])
        asked = await order("discard")
        assert (asked.returncode, asked.stdout.split()[6:9]) == (1, ["why", "1", poison])
        assert "use --yes" in asked.stderr
        assert (await order("discard", "--yes")).returncode == 0
        dropped = await daemon.until_logged("records_dropped")
        await world.watch.until(lambda: behind in ids_of(bill.calls)[-1:])
        assert await daemon.stop() == 0
    assert made["by"].startswith(f"uid {os.getuid()}, pid ")
    assert (dropped["condition"], dropped["start_sequence_number"]) == ("DiscardedByRequest", poison)
    assert good in ids_of(bill.calls)


async def test_records_of_a_cancelled_invocation_are_repeated_and_records_that_are_done_are_not(world: World) -> None:
    """One shard is blocked, and the function outlasts the grace with a record of the other."""
    source = Clicks(world.aws, "clicks", shard_count=2)
    left, right = two_shards(source)
    done = list(source.kinds)
    bill = world.aws.functions[BILL] = instant()
    text = mapping("clicks", source, BILL, "batch_size = 1")
    async with world.daemon(text, grace=0.2) as daemon:
        await world.watch.until(lambda: set(ids_of(bill.calls)) == set(done))
        bill.plan.poison.add(source.put(left))
        await daemon.until_logged("shard_blocked")
        bill.plan.duration_in_seconds = (60, 60)
        running = source.put(right)
        await world.watch.until(lambda: running in ids_of(bill.calls))
        assert await daemon.stop() == 0
        assert daemon.logged("daemon_stopping", stage="releasing")
    bill.plan.poison.clear()
    bill.plan.duration_in_seconds = (0, 0)
    bill.calls.clear()
    async with world.daemon(text) as daemon:
        await world.watch.until(lambda: set(ids_of(bill.calls)) == set(source.kinds) - set(done))
        assert await daemon.stop() == 0


async def test_a_stream_that_never_answers_does_not_delay_the_stop(world: World) -> None:
    async def say_nothing(_request: Request) -> Reply:
        world.watch.ring()
        await anyio.sleep_forever()
        raise AssertionError

    async with http_server(say_nothing) as service:
        endpoints = f"""
            [daemon.endpoints]
            kinesis = "{service.url}"
        """
        missing = "arn:aws:kinesis:eu-west-1:123456789012:stream/silent"
        async with world.daemon(endpoints + mapping("silent", missing, BILL)) as daemon:
            await world.watch.until(lambda: service.requests)
            daemon.signal(signal.SIGTERM)
            assert await daemon.ended(within=9) == 0, "an answer may take 10 seconds"


@pytest.mark.parametrize("kind", [Clicks, Users])
async def test_latest_begins_at_readiness_and_survives_a_restart_before_the_first_record(
    world: World, kind: type[Clicks | Users]
) -> None:
    source = kind(world.aws, "source", shard_count=2)
    source.put_all(*KEYS)
    await anyio.sleep(1 - time.time() % 1)  # DynamoDB's times have whole seconds: this second must end first
    bill = world.aws.functions[BILL] = instant()
    text = mapping("source", source, BILL, 'starting_position = "LATEST"')
    state = f"sqlite://{world.folder / 'poller.db'}"
    async with world.daemon(text) as daemon:
        await daemon.until_logged("state_opened", state=state, positions=0)
        await daemon.until_logged("mapping_ready")
        assert (await daemon.get("/readyz")).status == 200
        assert await daemon.stop() == 0
    between = source.put_all(*KEYS)
    async with world.daemon(text) as daemon:
        await daemon.until_logged("state_opened", state=state, positions=2)
        await daemon.until_logged("mapping_ready")
        after = source.put_all(*KEYS)
        await world.watch.until(lambda: set(after) <= set(ids_of(bill.calls)))
        assert await daemon.stop() == 0
    assert in_order(source, ids_of(bill.calls)) == in_order(source, between + after)


async def test_the_identity_is_requested_once_for_any_number_of_shards(world: World) -> None:
    source = Clicks(world.aws, "clicks", shard_count=12)
    bill = world.aws.functions[BILL] = instant()
    numbers = source.put_all(*(f"key-{number}" for number in range(60)))
    async with world.daemon(mapping("clicks", source, BILL)) as daemon:
        await world.watch.until(lambda: set(ids_of(bill.calls)) == set(numbers))
        assert await daemon.stop() == 0
    assert len({source.shard_of(number) for number in numbers}) == 12
    assert len([request for request in world.aws.server.requests if b"GetCallerIdentity" in request.body]) == 1


async def test_a_stop_that_cannot_store_checkpoints_is_logged_and_fails(world: World) -> None:
    source = Clicks(world.aws, "clicks")
    bill = world.aws.functions[BILL] = instant()
    async with world.daemon(mapping("clicks", source, BILL)) as daemon:
        await daemon.until_logged("leases_taken")
        (world.folder / "poller.db").unlink()
        number = source.put()
        await daemon.until_logged("lease_table_failed", code="FileGone")
        await world.watch.until(lambda: ids_of(bill.calls) == [number])
        assert await daemon.stop() == 1
        [lost] = daemon.logged("checkpoints_lost")
    assert (lost["level"], lost["shards"]) == ("error", 1)


async def test_a_probable_mistake_in_the_settings_is_logged(world: World) -> None:
    unused = """
        [functions.unused]
        url = "http://127.0.0.1:9"
    """
    async with world.daemon(unused + mapping("clicks", Clicks(world.aws, "clicks"), BILL)) as daemon:
        await daemon.until_logged("mapping_ready")
        [doubt] = daemon.logged("settings_warning")
        assert await daemon.stop() == 0
    assert (doubt["level"], doubt["warning"]) == ("warning", "functions.unused: no mapping uses it")


async def test_a_second_daemon_on_the_same_state_goes_on_when_the_first_one_stops(world: World) -> None:
    source = Clicks(world.aws, "clicks")
    bill = world.aws.functions[BILL] = instant()
    text = mapping("clicks", source, BILL)
    async with world.daemon(text) as first:
        await first.until_logged("mapping_ready")
        await first.until_logged("leases_taken")
        async with world.daemon(text) as second:
            await second.until_logged("mapping_ready")
            numbers = [source.put()]
            await world.watch.until(lambda: ids_of(bill.calls) == numbers)
            assert await first.stop() == 0
            numbers.append(source.put())
            await second.until_logged("leases_taken")
            await world.watch.until(lambda: ids_of(bill.calls) == numbers)
            assert await second.stop() == 0


async def test_all_mappings_of_an_account_list_shards_at_one_rate(world: World) -> None:
    """The listings have thirty pages; the service allows ten at once and ten a second."""
    tables = [
        Users(world.aws, f"users-{number}", shard_count=10, shard_lifetime_in_seconds=None) for number in range(3)
    ]
    for users in tables:
        for _ in range(99):
            users.table.roll_over()
    world.aws.functions[BILL] = instant()
    world.aws.tables.listings = Bucket(10)
    text = "".join(
        mapping(f"m{number}", users, BILL, 'starting_position = "LATEST"') for number, users in enumerate(tables)
    )
    async with world.daemon(text) as daemon:
        for number in range(3):
            await daemon.until_logged("mapping_ready", mapping=f"m{number}")
        assert await daemon.stop() == 0
    assert world.aws.tables.throttled_listings == 0


async def test_a_broken_stream_mapping_does_not_harm_another_and_recovers(world: World) -> None:
    bill = world.aws.functions[BILL] = instant()
    orders, good, denied = world.queue("orders"), Clicks(world.aws, "good"), Users(world.aws, "denied")
    world.aws.forbidden.add("denied")
    missing = "arn:aws:kinesis:eu-west-1:123456789012:stream/missing"
    text = (
        f"""
        [mappings.orders]
        event_source_arn = "{orders.arn}"
        function_name = "{BILL}"
        """
        + mapping("good", good, BILL)
        + mapping("denied", denied, BILL)
        + mapping("missing", missing, BILL)
        + mapping("off", "arn:aws:kinesis:eu-west-1:123456789012:stream/off", BILL, "enabled = false")
    )
    denied.put()
    async with world.daemon(text) as daemon:
        for name in ("missing", "denied"):
            await daemon.until_logged("source_failed", mapping=name, level="error")
        good.put()
        [message_id] = world.send(orders, "{}")
        await world.until_deleted(orders, 1)
        await world.watch.until(lambda: set(good.kinds) <= set(ids_of(bill.calls)))
        ready = await daemon.get("/readyz")
        world.aws.forbidden.clear()
        found = Clicks(world.aws, "missing")
        found.put()
        await world.watch.until(lambda: {*found.kinds, *denied.kinds, message_id} <= set(ids_of(bill.calls)))
        assert (await daemon.get("/readyz")).status == 200
        assert await daemon.stop() == 0
    assert ready.status == 503
    mappings = ready.json()["mappings"]
    assert {name: entry["state"] for name, entry in mappings.items()} == {
        "orders": "ready", "good": "ready", "denied": "starting", "missing": "starting", "off": "disabled",
    }  # fmt: skip
    assert mappings["missing"]["reason"].startswith("ListShards: ResourceNotFoundException")
    assert mappings["denied"]["reason"].startswith("DescribeStream: AccessDeniedException")


async def test_a_state_in_memory_does_not_survive_a_restart(world: World) -> None:
    world.state = "memory:"
    source = Clicks(world.aws, "clicks")
    bill = world.aws.functions[BILL] = instant()
    source.put_all("k", "k")
    for _ in range(2):
        bill.calls.clear()
        async with world.daemon(mapping("clicks", source, BILL)) as daemon:
            await world.watch.until(lambda: ids_of(bill.calls) == list(source.kinds))
            assert await daemon.stop() == 0
    assert not list(world.folder.glob("*.db*"))


class Counting:
    """A function that counts the records of each window."""

    def __init__(self) -> None:
        self.events: list[Mapping[str, Any]] = []

    async def invoke(self, invocation: Invocation) -> Response:
        event = orjson.loads(invocation.payload)
        self.events.append(event)
        return Answered(orjson.dumps({"state": {"count": event["state"].get("count", 0) + len(event["Records"])}}))


async def test_the_state_of_a_tumbling_window_survives_a_restart(world: World) -> None:
    """Five records are in one window, the daemon ends after the third one, and a sixth record is in the next window.

    The stream says that the window ends ten minutes from now, so the daemon cannot end it before the sixth record.
    """
    source = Clicks(world.aws, "clicks")
    count = world.aws.functions[BILL] = Counting()
    epoch = world.aws.kinesis.epoch
    boundary = (epoch + anyio.current_time() + 600) // 5 * 5 - epoch
    text = mapping("clicks", source, BILL, "tumbling_window_in_seconds = 5")

    def are_counted() -> bool:
        return sum(len(event["Records"]) for event in count.events) == len(source.kinds)

    for arrivals in ([-2.0] * 3, [-1.0, -1.0, 0.1]):
        for arrival in arrivals:
            source.put_at(boundary + arrival)
        async with world.daemon(text) as daemon:
            await world.watch.until(are_counted)
            assert await daemon.stop() == 0
    assert [(len(event["Records"]), event["state"], event["isFinalInvokeForWindow"]) for event in count.events] == [
        (3, {}, False),
        (2, {"count": 3}, False),
        (0, {"count": 5}, True),
        (1, {}, False),
    ]
    first, *_, final, later = count.events
    assert first["window"] == final["window"]
    assert final["window"]["end"] == later["window"]["start"]
