"""Are all positions there after `poller state copy`, and are none of two states mixed?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import anyio
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from poller.errors import InUse
from poller.model.ids import MappingName
from poller.model.lease import Row, RowKey, begun_key, kcl_key, shard_key, start_key
from poller.model.stream import AfterSequence, Checkpoint, SequenceNumber, ShardEnd, ShardId, StateKey
from poller.stores.dynamodb_items import Item
from poller.stores.dynamodb_table import made_ready
from poller.stores.lease_file import shown
from poller.stores.sqlite_leases import SqliteLeaseStore
from tests.fakes.dynamodb_over_http import DynamoDbOverHttp, dynamodb_over_http, use_own_credentials
from tests.unit.cli.conftest import Poller, logged, members

CLICKS = StateKey(MappingName("clicks"), "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks")
A, B = ShardId("shardId-000000000000"), ShardId("shardId-000000000001")
ROWS = [
    Row(key=shard_key(CLICKS, A), counter=9, token=7, checkpoint=Checkpoint(AfterSequence(SequenceNumber("5")))),
    Row(key=shard_key(CLICKS, B), counter=3, checkpoint=Checkpoint(ShardEnd()), details={"saved_at": 7}),
    Row(key=begun_key(CLICKS)),
    Row(key=start_key(CLICKS), counter=2, details={"position": "LATEST"}),
    Row(key=RowKey(":pause/orders")),
]
OLD = "sqlite://old.db"
MAPPING = """
[functions.count]
url = "http://127.0.0.1:1"
[mappings.clicks]
event_source_arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"
function_name = "count"
starting_position = "LATEST"
"""


async def restore(path: Path, rows: list[Row]) -> None:
    async with SqliteLeaseStore(path) as store:
        await store.restore(rows)


@pytest.fixture
def poller(poller: Poller) -> Poller:
    Path("poller.toml").write_text(MAPPING)
    anyio.run(restore, Path("old.db"), ROWS)
    return poller


def rows_in(path: str) -> dict[RowKey, Row]:
    return {row.key: row for row in shown(Path(path)) or []}


def test_everything_of_the_mappings_is_copied_and_the_other_state_stays_as_it_is(poller: Poller) -> None:
    before = Path("old.db").read_bytes()
    for _ in range(2):
        result = poller("state", "copy", OLD)
        file = Path("poller.db").resolve()
        change = f"copy of the positions in {OLD}"
        assert logged(result) == {"change": change, "before": f"{file} had no other positions"}
        assert result.stdout == f"Done; {Path('poller.db').resolve()} has the positions of 2 shards.\n"
        assert rows_in("poller.db") == {row.key: row for row in ROWS}
    assert rows_in("old.db") == {row.key: row for row in ROWS}
    assert Path("old.db").read_bytes() == before


def test_a_program_gets_the_number_of_copied_shards(poller: Poller) -> None:
    document = json.loads(poller("state", "copy", OLD, "--json").stdout)
    assert document == {"from": OLD, "to": f"sqlite://{Path('poller.db').resolve()}", "shards": 2}
    assert document.keys() == members("poller state copy")


def test_a_copy_that_has_ended_in_the_middle_is_completed_by_the_same_command(poller: Poller) -> None:
    anyio.run(restore, Path("poller.db"), ROWS[1:3])
    assert poller("state", "copy", OLD).exit_code == 0
    assert rows_in("poller.db") == {row.key: row for row in ROWS}


@pytest.mark.parametrize("row", [replace(ROWS[0], counter=10), Row(key=shard_key(CLICKS, ShardId("new")))])
def test_a_state_that_has_positions_of_its_own_is_not_mixed_with_another(poller: Poller, row: Row) -> None:
    anyio.run(restore, Path("poller.db"), [row])
    result = poller("state", "copy", OLD)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"poller: nothing was changed: {Path('poller.db').resolve()} already has positions\n"
    assert rows_in("poller.db") == {row.key: row}


@contextmanager
def service(portal: BlockingPortal) -> Iterator[DynamoDbOverHttp]:
    with portal.wrap_async_context_manager(dynamodb_over_http()) as service:
        yield service


def test_a_file_is_copied_into_a_table_which_is_created_and_back(
    poller: Poller, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_own_credentials(monkeypatch)
    with start_blocking_portal() as portal, service(portal) as dynamodb:
        daemon = f'[daemon]\nregion = "eu-west-1"\nendpoint_url = "{dynamodb.url}"\n'
        Path("poller.toml").write_text(f'{daemon}state = "dynamodb://leases"\n{MAPPING}')
        result = poller("state", "copy", OLD)
        assert logged(result)["before"] == "dynamodb://leases had no other positions"
        assert result.stdout == "Done; dynamodb://leases has the positions of 2 shards.\n"
        assert len(dynamodb.tables.table("leases").items) == len(ROWS)
        Path("poller.toml").write_text(f'{daemon}state = "sqlite://back.db"\n{MAPPING}')
        assert poller("state", "copy", "dynamodb://leases").exit_code == 0
        assert rows_in("back.db") == {row.key: row for row in ROWS}


def test_a_state_that_a_daemon_uses_is_not_copied(poller: Poller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("poller.stores.ownership.PATIENCE_IN_SECONDS", 0.0)

    async def refused() -> bool:
        with pytest.raises(InUse):
            async with SqliteLeaseStore(Path("old.db")):
                raise AssertionError
        return True

    with start_blocking_portal() as portal:
        opening = SqliteLeaseStore(Path("old.db"), stays_alone=True)
        with portal.wrap_async_context_manager(opening):
            assert portal.call(refused)
            result = poller("state", "copy", OLD)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "in use by another poller" in result.stderr
    assert not Path("poller.db").exists()


@pytest.mark.parametrize(
    ("source", "state", "code", "why"),
    [
        ("sqlite://none.db", "sqlite://poller.db", 1, "there is no state sqlite://none.db"),
        ("sqlite://poller.db", "sqlite://poller.db", 2, "daemon.state is the same state"),
        ("memory:", "sqlite://poller.db", 1, "nothing is stored in a state in memory, so nothing can be copied"),
        (OLD, "memory:", 1, "nothing is stored in a state in memory, so nothing can be copied"),
        ("old.db", "sqlite://poller.db", 2, 'old.db: must be "sqlite:///absolute/path.db"'),
        ("dynamodb://a", "sqlite://poller.db", 2, "the name of a table has 3 to 255"),
    ],
)
def test_a_copy_that_is_impossible_is_refused(poller: Poller, source: str, state: str, code: int, why: str) -> None:
    Path("poller.toml").write_text(f'[daemon]\nstate = "{state}"\n{MAPPING}')
    result = poller("state", "copy", source)
    assert (result.exit_code, result.stdout) == (code, "")
    assert why in result.stderr
    assert not Path("poller.db").exists()


def lease(shard_id: ShardId, checkpoint: str) -> Item:
    """Return the item of a lease as KCL has it."""
    return {
        "leaseKey": {"S": shard_id},
        "leaseCounter": {"N": "57"},
        "checkpoint": {"S": checkpoint},
        "checkpointSubSequenceNumber": {"N": "0"},
    }


def test_a_mapping_goes_on_in_the_state_where_its_table_of_kcl_stands(
    poller: Poller, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_own_credentials(monkeypatch)
    anyio.run(restore, Path("poller.db"), [*ROWS, Row(key=kcl_key(CLICKS), details={"table": "my-application"})])
    with start_blocking_portal() as portal, service(portal) as dynamodb:
        daemon = f'[daemon]\nregion = "eu-west-1"\nendpoint_url = "{dynamodb.url}"\n'
        Path("poller.toml").write_text(f"{daemon}{MAPPING}")
        copy = ("state", "copy", "kcl://my-application", "--mapping", "clicks")
        missing = poller(*copy)
        assert (missing.exit_code, missing.stdout) == (2, "")
        assert "mappings.clicks.kcl_table: there is no table my-application" in missing.stderr
        portal.call(partial(made_ready, dynamodb.tables, "my-application", option="kcl_table"))
        empty = poller(*copy)
        why = "the table my-application has no leases, so choose a position by `poller state set clicks`"
        assert (empty.exit_code, empty.stderr) == (1, f"poller: nothing was changed: {why}\n")
        table = dynamodb.tables.table("my-application")
        for item in (lease(A, "77"), lease(B, "SHARD_END")):
            table.items[table.key_of(item)] = item
        before = dict(table.items)
        result = poller(*copy)
        change = "copy of the positions in kcl://my-application"
        ended = "at the end: the shard is closed, and all its records are done"
        older = f"{A} after 5; {B} {ended}; other shards at the records "
        made = logged(result)
        assert (made["change"], made["mapping"], made["before"].startswith(older)) == (change, "clicks", True)
        assert result.stdout == f"Done; {Path('poller.db').resolve()} has the positions of 2 shards.\n"
        assert table.items == before
        again = poller(*copy)
        assert (again.exit_code, again.stdout) == (1, "")
        assert "poller.db already has positions of clicks, which may be newer; `poller state set" in again.stderr
    rows = rows_in("poller.db")
    assert rows[shard_key(CLICKS, A)].checkpoint == Checkpoint(AfterSequence(SequenceNumber("77")))
    assert rows[shard_key(CLICKS, B)].checkpoint == Checkpoint(ShardEnd())
    assert rows.keys() == {row.key for row in ROWS}


@pytest.mark.parametrize(
    ("arguments", "option", "why"),
    [
        (["kcl://t"], "", "kcl://TABLE needs --mapping"),
        (["kcl://t", "--mapping", "x"], "", "there is no mapping x of a stream; the names are clicks"),
        (
            ["kcl://t", "--mapping", "clicks"],
            'kcl_table = "my-application"',
            "clicks still has kcl_table, so remove this option",
        ),
        ([OLD, "--mapping", "clicks"], "", "--mapping goes with kcl://TABLE; all mappings of another state are copied"),
    ],
)
def test_a_copy_from_a_table_of_kcl_names_one_mapping_that_does_not_use_it_any_more(
    poller: Poller, arguments: list[str], option: str, why: str
) -> None:
    Path("poller.toml").write_text(f"{MAPPING}{option}")
    result = poller("state", "copy", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert why in result.stderr
