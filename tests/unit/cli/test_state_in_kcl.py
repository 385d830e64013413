"""Can a person see and move the positions that a mapping has in the table of a KCL application?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import anyio
import pytest
from anyio.from_thread import start_blocking_portal

from poller.model.ids import MappingName
from poller.model.lease import Row, RowKey, begun_key, kcl_key, shard_key, start_key
from poller.model.stream import Checkpoint, ShardId, StateKey, TrimHorizon
from poller.stores.dynamodb_items import Item
from poller.stores.dynamodb_table import made_ready
from poller.stores.lease_file import shown
from poller.stores.sqlite_leases import SqliteLeaseStore
from tests.fakes.dynamodb_over_http import DynamoDbOverHttp, dynamodb_over_http, use_own_credentials
from tests.unit.cli.conftest import Poller, logged

CLICKS = StateKey(MappingName("clicks"), "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks")
A, B = ShardId("shardId-000000000000"), ShardId("shardId-000000000001")
OURS = f"blue-1/{'0' * 32}"
OLD = Row(key=shard_key(CLICKS, A), counter=3, checkpoint=Checkpoint(TrimHorizon()))
MARKS = [Row(key=begun_key(CLICKS)), Row(key=kcl_key(CLICKS), details={"table": "my-application"})]
SETTINGS = """
[daemon]
region = "eu-west-1"
endpoint_url = "{url}"
[functions.count]
url = "http://127.0.0.1:1"
[mappings.clicks]
event_source_arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"
function_name = "count"
starting_position = "LATEST"
kcl_table = "my-application"
"""
METRICS: Item = {"leaseKey": {"S": "ip-10-0-0-1"}, "entityType": {"S": "WORKER_METRICS"}}


def lease(shard_id: ShardId, checkpoint: str, **more: dict[str, str]) -> Item:
    return {
        "leaseKey": {"S": shard_id},
        "leaseCounter": {"N": "57"},
        "checkpoint": {"S": checkpoint},
        "checkpointSubSequenceNumber": {"N": "0"},
        "startingHashKey": {"S": "0"},
        **more,
    }


async def restore(rows: list[Row]) -> None:
    async with SqliteLeaseStore(Path("poller.db")) as store:
        await store.create(rows)


@pytest.fixture
def dynamodb(poller: Poller, monkeypatch: pytest.MonkeyPatch) -> Iterator[DynamoDbOverHttp]:
    """Yield the service with the table of an application that has ended. The state has older positions."""
    use_own_credentials(monkeypatch)
    monkeypatch.setattr("poller.stores.owners.LEASE_DURATION_IN_SECONDS", 0.05)
    anyio.run(restore, [OLD, *MARKS])
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(dynamodb_over_http()) as service:
        Path("poller.toml").write_text(SETTINGS.format(url=service.url))
        portal.call(partial(made_ready, service.tables, "my-application", option="kcl_table"))
        table = service.tables.table("my-application")
        for item in (lease(A, "77", leaseOwner={"S": "ip-10-0-0-1:7a0f"}), lease(B, "SHARD_END"), METRICS):
            table.items[table.key_of(item)] = item
        yield service


def items(dynamodb: DynamoDbOverHttp) -> dict[str, Item]:
    return {item["leaseKey"]["S"]: item for item in dynamodb.tables.table("my-application").items.values()}


def rows_in_state() -> dict[RowKey, Row]:
    return {row.key: row for row in shown(Path("poller.db")) or []}


@pytest.mark.usefixtures("dynamodb")
def test_the_positions_in_the_table_are_shown_and_not_the_older_ones_in_the_state(poller: Poller) -> None:
    result = poller("state", "show", "clicks")
    assert (result.exit_code, result.stderr) == (0, "")
    assert [line.split() for line in result.stdout.splitlines()[2:]] == [
        line.split()
        for line in f"""\
clicks: {CLICKS.stream_arn}
  its positions are in my-application, the table of a KCL application
  SHARD POSITION READER
  {A} after 77 ip-10-0-0-1:7a0f
  {B} at the end: the shard is closed, and all its records are done""".splitlines()
    ]
    [found] = json.loads(poller("state", "show", "--json").stdout)["mappings"]
    assert found["kcl_table"] == "my-application"
    assert [shard["position"]["type"] for shard in found["shards"]] == ["AFTER_SEQUENCE_NUMBER", "SHARD_END"]


def test_positions_of_the_state_that_were_not_copied_into_the_table_are_shown(
    poller: Poller, dynamodb: DynamoDbOverHttp
) -> None:
    Path("poller.db").unlink()
    anyio.run(restore, [OLD, MARKS[0]])
    calls = len(dynamodb.tables.calls)
    result = poller("state", "show", "clicks")
    assert [line.split() for line in result.stdout.splitlines()[2:]] == [
        line.split()
        for line in f"""\
clicks: {CLICKS.stream_arn}
  its positions are not in my-application, so it waits for `poller state copy daemon.state --mapping clicks`
  SHARD POSITION
  {A} at the oldest record that there is (TRIM_HORIZON)""".splitlines()
    ]
    assert len(dynamodb.tables.calls) == calls


def test_a_table_that_cannot_be_read_does_not_hide_the_rest(poller: Poller, dynamodb: DynamoDbOverHttp) -> None:
    dynamodb.tables.forbidden = {"Scan"}
    result = poller("state", "show")
    assert (result.exit_code, result.stderr) == (0, "")
    why = "  they cannot be shown: mappings.clicks.kcl_table: the table my-application cannot be used now: "
    assert why in result.stdout
    assert A not in result.stdout, "the state has older positions"


def test_a_state_in_memory_is_shown_without_a_look_at_tables(poller: Poller, dynamodb: DynamoDbOverHttp) -> None:
    text = Path("poller.toml").read_text().replace("[daemon]", '[daemon]\nstate = "memory:"')
    Path("poller.toml").write_text(text)
    calls = len(dynamodb.tables.calls)
    assert poller("state", "show").exit_code == 0
    assert len(dynamodb.tables.calls) == calls


def test_one_shard_of_the_table_is_moved_and_kcl_can_read_it(poller: Poller, dynamodb: DynamoDbOverHttp) -> None:
    before = items(dynamodb)
    result = poller("state", "set", "clicks", "70", "--shard", A, "--after", "--yes")
    assert result.exit_code == 0, result.stderr
    assert "The function gets the records in between again" in result.stdout
    after = items(dynamodb)
    moved = after.pop(A)
    assert moved["checkpoint"] == {"S": "70"}
    assert moved["leaseCounter"] == {"N": "58"}
    assert moved["startingHashKey"] == {"S": "0"}
    assert "leaseOwner" not in moved
    assert after == {key: item for key, item in before.items() if key != A}
    assert rows_in_state() == {row.key: row for row in (OLD, *MARKS)}


def test_a_position_that_kcl_cannot_have_is_refused(poller: Poller, dynamodb: DynamoDbOverHttp) -> None:
    before = items(dynamodb)
    result = poller("state", "set", "clicks", "70", "--shard", A, "--yes")
    assert result.exit_code == 1
    assert "KCL continues after a record, and cannot continue with the record 70 itself" in result.stderr
    assert items(dynamodb) == before


@pytest.mark.parametrize(
    ("position", "a", "b"),
    [
        ("TRIM_HORIZON", "TRIM_HORIZON", "TRIM_HORIZON"),
        ("LATEST", "LATEST", "SHARD_END"),
        ("2026-01-31T12:00:00Z", "AT_TIMESTAMP", "AT_TIMESTAMP"),
    ],
)
def test_a_whole_mapping_is_moved_in_its_table(
    poller: Poller, dynamodb: DynamoDbOverHttp, position: str, a: str, b: str
) -> None:
    result = poller("state", "set", "clicks", position, "--yes")
    assert result.exit_code == 0, result.stderr
    found = items(dynamodb)
    assert (found[A]["checkpoint"], found[B]["checkpoint"]) == ({"S": a}, {"S": b})
    assert ("pollerPosition" in found[A]) == (position != "LATEST"), "the next start decides which time LATEST means"
    assert found["ip-10-0-0-1"] == METRICS
    assert rows_in_state() == {row.key: row for row in (OLD, *MARKS)}
    [shown] = json.loads(poller("state", "show", "--json").stdout)["mappings"]
    assert shown["shards"][0]["position"]["type"] == {"LATEST": "AT_TIMESTAMP"}.get(a, a)


@pytest.mark.parametrize("has_state", [True, False])
def test_a_mapping_whose_table_has_no_leases_begins_at_the_position_that_a_person_sets(
    poller: Poller, dynamodb: DynamoDbOverHttp, has_state: bool
) -> None:
    dynamodb.tables.table("my-application").items.clear()
    if not has_state:
        Path("poller.db").unlink()
    result = poller("state", "set", "clicks", "TRIM_HORIZON", "--yes")
    assert result.exit_code == 0, result.stderr
    rows = rows_in_state()
    assert rows[start_key(CLICKS)].details == {"position": "TRIM_HORIZON"}
    assert begun_key(CLICKS) not in rows
    assert kcl_key(CLICKS) in rows
    assert items(dynamodb) == {}


def test_latest_forgets_the_time_to_which_the_mapping_has_moved_before(
    poller: Poller, dynamodb: DynamoDbOverHttp
) -> None:
    for position in ("2026-01-31T12:00:00Z", "LATEST"):
        assert poller("state", "set", "clicks", position, "--yes").exit_code == 0
    assert items(dynamodb)[A]["checkpoint"] == {"S": "LATEST"}
    assert "pollerPosition" not in items(dynamodb)[A]


def test_a_mapping_that_a_worker_reads_is_not_moved(poller: Poller, dynamodb: DynamoDbOverHttp) -> None:
    table = dynamodb.tables.table("my-application")
    owned = lease(A, "77", leaseOwner={"S": OURS})
    table.items[table.key_of(owned)] = owned

    class Renewed(dict[str, Item]):
        """A table in which a worker renews its lease before each read."""

        def __getitem__(self, key: str) -> Item:
            item = dict(super().__getitem__(key))
            item["leaseCounter"] = {"N": str(int(item.get("leaseCounter", {"N": "0"})["N"]) + 1)}
            self[key] = item
            return item

    before = dict(table.items)
    table.items = Renewed(before)
    result = poller("state", "set", "clicks", "TRIM_HORIZON", "--yes")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "the worker blue-1/0000 " in result.stderr


@pytest.mark.usefixtures("dynamodb")
def test_a_rename_leaves_the_table_alone_and_says_so(poller: Poller) -> None:
    Path("poller.toml").write_text(Path("poller.toml").read_text().replace("mappings.clicks", "mappings.views"))
    result = poller("state", "rename", "clicks", "views")
    assert logged(result)["change"] == "rename of clicks"
    assert result.stdout.endswith(
        "The table my-application of a KCL application stays as it is: its positions have no mapping's name.\n"
    )
    views = CLICKS._replace(mapping=MappingName("views"))
    assert {shard_key(views, A), begun_key(views), kcl_key(views)} == rows_in_state().keys()
