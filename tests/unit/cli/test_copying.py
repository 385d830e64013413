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
from poller.model.lease import Row, RowKey, begun_key, kcl_key, shard_key, shard_of, start_key
from poller.model.stream import AfterSequence, AtSequence, Checkpoint, SequenceNumber, ShardEnd, ShardId, StateKey
from poller.stores.dynamodb_items import Item
from poller.stores.dynamodb_rows import item_of
from poller.stores.dynamodb_table import made_ready
from poller.stores.lease_file import shown
from poller.stores.sqlite_leases import SqliteLeaseStore
from tests.fakes.aws_over_http import AwsOverHttp, aws_over_http
from tests.fakes.dynamodb import FakeDynamoDb
from tests.fakes.dynamodb_over_http import OWN, DynamoDbOverHttp, dynamodb_over_http, use_own_credentials
from tests.fakes.watch import Watch
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
DAMAGED = Row(key=start_key(CLICKS), details={"position": "NOWHERE"})
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
        await store.create(rows)


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


@contextmanager
def damaged_table(*, state: str) -> Iterator[None]:
    """Let the settings name this state and the endpoint of a table `leases` that has a damaged row."""
    with start_blocking_portal() as portal, service(portal) as dynamodb:
        daemon = f'[daemon]\nregion = "eu-west-1"\nendpoint_url = "{dynamodb.url}"\n'
        Path("poller.toml").write_text(f'{daemon}state = "{state}"\n{MAPPING}')
        portal.call(partial(made_ready, dynamodb.tables, "leases", option="daemon.state"))
        table = dynamodb.tables.table("leases")
        table.items[table.key_of(item_of(DAMAGED))] = item_of(DAMAGED)
        yield


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


def test_a_damaged_starting_position_in_a_table_is_shown_and_can_be_set_again(
    poller: Poller, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_own_credentials(monkeypatch)
    with damaged_table(state="dynamodb://leases"):
        shown = poller("state", "show")
        fault = f"the row {DAMAGED.key} is damaged: 'NOWHERE' is not a starting position"
        assert (shown.exit_code, shown.stderr) == (0, "")
        assert f"  the mapping does not begin, because {fault}\n" in shown.stdout
        assert "nothing is stored" not in shown.stdout
        assert logged(poller("state", "set", "clicks", "TRIM_HORIZON", "--yes"))["before"] == fault
        assert json.loads(poller("state", "show", "--json").stdout)["mappings"][0]["set_by_hand"] == {
            "type": "TRIM_HORIZON"
        }


def test_a_table_with_a_damaged_row_is_not_copied_into_a_file_which_then_could_not_be_opened(
    poller: Poller, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_own_credentials(monkeypatch)
    with damaged_table(state="sqlite://new.db"):
        result = poller("state", "copy", "dynamodb://leases")
    rule = f"{DAMAGED.key}: 'NOWHERE' is not a starting position"
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"poller: nothing was changed: dynamodb://leases has a damaged row {rule}\n"
    assert not Path("new.db").exists()


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
    with start_blocking_portal() as portal, service(portal) as dynamodb, kinesis(portal) as aws:
        portal.call(partial(aws.create_stream, "clicks", shard_count=2))
        endpoints = f'endpoints = {{ dynamodb = "{dynamodb.url}", kinesis = "{aws.url}" }}'
        Path("poller.toml").write_text(f"[daemon]\n{endpoints}\n{MAPPING}")
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


@contextmanager
def kinesis(portal: BlockingPortal) -> Iterator[AwsOverHttp]:
    with portal.wrap_async_context_manager(aws_over_http(Watch(), OWN)) as aws:
        yield aws


@pytest.mark.parametrize("is_denied", [False, True])
def test_a_shard_whose_lease_kcl_has_deleted_counts_as_done_if_its_children_have_leases(
    poller: Poller, monkeypatch: pytest.MonkeyPatch, is_denied: bool
) -> None:
    use_own_credentials(monkeypatch)
    with start_blocking_portal() as portal, service(portal) as dynamodb, kinesis(portal) as aws:

        async def shards() -> list[str]:
            """Return the stream's shards: the first is split, one of its halves is split, and the last is alone."""
            stream = aws.create_stream("clicks", shard_count=2)
            first, last = (shard.shard_id for shard in stream.shards(now=anyio.current_time()))
            left, right = stream.split(first, now=anyio.current_time())
            return [first, left, right, *stream.split(left, now=anyio.current_time()), last]

        first, left, right, child, other_child, last = portal.call(shards)
        endpoints = f'endpoints = {{ dynamodb = "{dynamodb.url}", kinesis = "{aws.url}" }}'
        Path("poller.toml").write_text(f"[daemon]\n{endpoints}\n{MAPPING}")
        portal.call(partial(made_ready, dynamodb.tables, "my-application", option="kcl_table"))
        table = dynamodb.tables.table("my-application")
        for item in (lease(ShardId(shard_id), "77") for shard_id in (right, child, other_child)):
            table.items[table.key_of(item)] = item
        aws.forbidden = {"clicks"} if is_denied else set()
        result = poller("state", "copy", "kcl://my-application", "--mapping", "clicks")
    rows = rows_in("poller.db")
    if is_denied:
        assert (result.exit_code, result.stdout) == (1, "")
        assert f"nothing was changed: the shards of {CLICKS.stream_arn} cannot be listed: Access" in result.stderr
        assert rows == {}
        return
    assert result.exit_code == 0, result.stderr
    after_77, at_end = Checkpoint(AfterSequence(SequenceNumber("77"))), Checkpoint(ShardEnd())
    expected = {first: at_end, left: at_end, right: after_77, child: after_77, other_child: after_77}
    assert {shard_of(key): row.checkpoint for key, row in rows.items() if row.checkpoint is not None} == expected
    assert last not in expected, "a shard without children is new"
    assert rows[shard_key(CLICKS, ShardId(left))].details["parents"] == [first]


@contextmanager
def with_table(monkeypatch: pytest.MonkeyPatch, *leases: Item) -> Iterator[FakeDynamoDb]:
    """Let clicks have a table of KCL with these leases. Yield the service."""
    use_own_credentials(monkeypatch)
    with start_blocking_portal() as portal, service(portal) as dynamodb:
        daemon = f'[daemon]\nregion = "eu-west-1"\nendpoint_url = "{dynamodb.url}"\n'
        Path("poller.toml").write_text(f'{daemon}{MAPPING}kcl_table = "my-application"\n')
        portal.call(partial(made_ready, dynamodb.tables, "my-application", option="kcl_table"))
        table = dynamodb.tables.table("my-application")
        table.items |= {table.key_of(item): item for item in leases}
        yield dynamodb.tables


def items_of(tables: FakeDynamoDb) -> dict[str, Item]:
    return {item["leaseKey"]["S"]: item for item in tables.table("my-application").items.values()}


DONE = "Done; the table my-application has the positions of 2 shards.\n"
INTO = ("state", "copy", "daemon.state", "--mapping", "clicks")
NOTED = Row(key=kcl_key(CLICKS), details={"table": "my-application"})


@pytest.mark.parametrize("older", [[], [lease(A, "4"), lease(ShardId("old"), "4")]])
def test_the_positions_of_the_state_are_copied_into_a_table_of_kcl(
    poller: Poller, monkeypatch: pytest.MonkeyPatch, older: list[Item]
) -> None:
    reset = Row(key=shard_key(CLICKS, ShardId("reset")), counter=4)
    anyio.run(restore, Path("poller.db"), [*ROWS, reset])
    with with_table(monkeypatch, *older) as tables:
        result = poller(*INTO)
        assert (result.exit_code, result.stdout) == (0, DONE)
        made = logged(result)
        assert (made["change"], made["mapping"]) == ("copy of the positions in daemon.state", "clicks")
        assert made["before"] == (f"old after 4; {A} after 4" if older else "nothing was stored")
        found = items_of(tables)
        assert {key: item["checkpoint"]["S"] for key, item in found.items()} == {A: "5", B: "SHARD_END"}
        assert int(found[A]["leaseCounter"]["N"]) > (57 if older else 7), "the next token is larger than all before"
        assert rows_in("poller.db") == {row.key: row for row in [*ROWS, reset, NOTED]}
        before, again = items_of(tables), poller(*INTO)
        assert (again.exit_code, again.stdout) == (1, "")
        assert "poller.db has no positions of clicks that could be newer than those in its kcl_table" in again.stderr
        assert items_of(tables) == before


def test_a_program_gets_the_table_into_which_the_positions_were_copied(
    poller: Poller, monkeypatch: pytest.MonkeyPatch
) -> None:
    anyio.run(restore, Path("poller.db"), ROWS)
    with with_table(monkeypatch):
        assert json.loads(poller(*INTO, "--json").stdout) == {
            "from": "daemon.state",
            "to": "kcl://my-application",
            "shards": 2,
        }


def test_a_position_that_kcl_cannot_have_is_not_copied_and_nothing_is_changed(
    poller: Poller, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_5 = replace(ROWS[0], checkpoint=Checkpoint(AtSequence(SequenceNumber("5"))))
    rows = [at_5, *ROWS[1:]]
    anyio.run(restore, Path("poller.db"), rows)
    with with_table(monkeypatch, lease(A, "4"), lease(ShardId("old"), "4")) as tables:
        before, result = items_of(tables), poller(*INTO)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "KCL continues after a record, and cannot continue with the record 5 itself" in result.stderr
        assert items_of(tables) == before
        assert rows_in("poller.db") == {row.key: row for row in rows}


class Renewed(dict[str, Item]):
    """The items of a table in which an application of KCL renews its only lease before each look."""

    def __getitem__(self, key: str) -> Item:
        item = {**super().__getitem__(key), "leaseOwner": {"S": "ip-10-0-0-1:7a0f"}}
        item["leaseCounter"] = {"N": str(int(item["leaseCounter"]["N"]) + 1)}
        self[key] = item
        return item


@pytest.mark.parametrize("has_option", [True, False])
def test_nothing_is_copied_from_or_into_a_table_that_an_application_uses(
    poller: Poller, monkeypatch: pytest.MonkeyPatch, has_option: bool
) -> None:
    monkeypatch.setattr("poller.stores.kcl_leases.LOOK_EVERY_SECONDS", 0.05)
    monkeypatch.setattr("poller.stores.kcl_leases.WATCHED_IN_SECONDS", 0.1)
    rows = ROWS if has_option else [*ROWS, NOTED]
    anyio.run(restore, Path("poller.db"), rows)
    with with_table(monkeypatch, lease(A, "4")) as tables:
        if not has_option:
            Path("poller.toml").write_text(Path("poller.toml").read_text().replace("kcl_table", "# kcl_table"))
        table = tables.table("my-application")
        table.items = Renewed(table.items)
        result = poller(*(INTO if has_option else ("state", "copy", "kcl://my-application", "--mapping", "clicks")))
        assert (result.exit_code, result.stdout) == (1, "")
        assert "a KCL application owns 1 lease; it may run, so this takes up to a minute" in result.stderr
        assert "mappings.clicks.kcl_table: a KCL application still renews 1 of its leases" in result.stderr
        assert items_of(tables)[A]["checkpoint"] == {"S": "4"}
    assert rows_in("poller.db") == {row.key: row for row in rows}


def test_a_copy_that_has_ended_in_the_middle_leaves_the_mapping_waiting_and_is_completed_by_the_same_command(
    poller: Poller, monkeypatch: pytest.MonkeyPatch
) -> None:
    anyio.run(restore, Path("poller.db"), ROWS)
    with with_table(monkeypatch, lease(ShardId("old"), "4")) as tables:
        tables.forbidden = {"PutItem"}
        assert poller(*INTO).exit_code == 1
        assert items_of(tables) == {}
        assert rows_in("poller.db") == {row.key: row for row in ROWS}
        tables.forbidden = set()
        assert poller(*INTO).exit_code == 0
        assert items_of(tables).keys() == {A, B}
        assert rows_in("poller.db") == {row.key: row for row in [*ROWS, NOTED]}


def test_a_person_says_that_the_positions_in_the_table_count_and_nothing_is_copied(
    poller: Poller, monkeypatch: pytest.MonkeyPatch
) -> None:
    anyio.run(restore, Path("poller.db"), ROWS)
    choice = ("state", "copy", "kcl://my-application", "--mapping", "clicks")
    with with_table(monkeypatch) as tables:
        empty = poller(*choice)
        assert empty.exit_code == 1
        assert "the table my-application has no leases, so choose a position by" in empty.stderr
        tables.table("my-application").items |= {"a": lease(A, "4"), "b": lease(B, "3")}
        before, result = items_of(tables), poller(*choice)
        assert (result.exit_code, result.stdout) == (0, DONE)
        assert items_of(tables) == before
        assert rows_in("poller.db") == {row.key: row for row in [*ROWS, NOTED]}


def test_a_mapping_that_the_state_does_not_have_is_not_copied_into_a_table(
    poller: Poller, monkeypatch: pytest.MonkeyPatch
) -> None:
    with with_table(monkeypatch):
        result = poller(*INTO)
        assert (result.exit_code, result.stdout) == (1, "")
        assert "poller.db has no positions of clicks that could be newer" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "option", "why"),
    [
        (["kcl://t"], "", "kcl://t needs --mapping, because a table of KCL has the positions of one mapping"),
        (["daemon.state"], "", "daemon.state needs --mapping"),
        (["daemon.state", "--mapping", "clicks"], "", "clicks has no kcl_table, so set this option first"),
        (["kcl://t", "--mapping", "x"], "", "there is no mapping x of a stream; the names are clicks"),
        (
            ["kcl://t", "--mapping", "clicks"],
            'kcl_table = "my-application"',
            "clicks still has another kcl_table, so remove this option",
        ),
        (
            [OLD, "--mapping", "clicks"],
            "",
            "--mapping is only for kcl://TABLE and daemon.state; of another state, all mappings",
        ),
    ],
)
def test_a_copy_from_or_into_a_table_of_kcl_names_one_mapping_whose_settings_fit(
    poller: Poller, arguments: list[str], option: str, why: str
) -> None:
    Path("poller.toml").write_text(f"{MAPPING}{option}")
    result = poller("state", "copy", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert why in result.stderr
