from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, settings
from hypothesis import given as drawn
from hypothesis import strategies as st

from poller.core.leases.units import limit_of_function, limit_of_mapping, unit_key
from poller.model.ids import FunctionName, MappingName
from poller.model.lease import Detail, Owner, Row, RowKey, shard_key
from poller.model.stream import (
    AfterSequence,
    AtTimestamp,
    Checkpoint,
    Latest,
    SequenceNumber,
    ShardEnd,
    ShardId,
    StartingPosition,
    StateKey,
    TrimHorizon,
    Window,
)
from poller.stores.lease_by_hand import Stored, stored
from poller.stores.lease_pauses import LeasePauses
from poller.stores.sqlite_leases import SqliteLeaseStore
from tests.unit.cli.conftest import Poller, logged, members

STREAMS = """
[functions.count]
url = "http://127.0.0.1:1"
[mappings.clicks]
event_source_arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"
function_name = "count"
starting_position = "AT_TIMESTAMP"
starting_position_timestamp = 1769860800
[mappings.users]
event_source_arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/users/stream/2026-01-01T00:00:00.000"
function_name = "count"
starting_position = "LATEST"
[mappings.orders]
event_source_arn = "arn:aws:sqs:eu-west-1:123456789012:orders"
function_name = "count"
"""
CLICKS = StateKey(MappingName("clicks"), "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks")
EARLIER = StateKey(MappingName("clicks"), "arn:aws:kinesis:eu-west-1:123456789012:stream/earlier")
USERS = StateKey(
    MappingName("users"), "arn:aws:dynamodb:eu-west-1:123456789012:table/users/stream/2026-01-01T00:00:00.000"
)
FIRST = 49590338271490256608559692538361571095921575989136588898
A, B, C = (ShardId(f"shardId-00000000000{number}") for number in range(3))
WINDOW = Window(start=1769860800, end=1769860860, state=b'{"sum":"secret"}')


def after(number: int) -> AfterSequence:
    return AfterSequence(SequenceNumber(str(FIRST + number)))


SAVED = {
    CLICKS: {A: Checkpoint(after(5)), B: Checkpoint(after(7), WINDOW), C: Checkpoint(ShardEnd())},
    EARLIER: {A: Checkpoint(TrimHorizon())},
    USERS: {A: Checkpoint(after(9))},
}


OWNER, OTHER, THIRD = (Owner(f"blue-{number + 1}/{str(number) * 32}") for number in range(3))


def saved_rows(at: float) -> list[Row]:
    return [
        Row(key=shard_key(key, shard_id), counter=3, token=2, checkpoint=checkpoint, details={"saved_at": at})
        for key, checkpoints in SAVED.items()
        for shard_id, checkpoint in checkpoints.items()
    ]


async def restore(rows: list[Row]) -> None:
    async with SqliteLeaseStore(Path("poller.db")) as store:
        await store.create(rows)


@pytest.fixture
def poller(poller: Poller) -> Poller:
    Path("poller.toml").write_text(STREAMS)
    anyio.run(restore, saved_rows(time.time() - 7300))
    return poller


def now(key: StateKey = CLICKS) -> Stored:
    return stored(Path("poller.db"))[key]


def unchanged() -> bool:
    return {key: found.checkpoints for key, found in stored(Path("poller.db")).items()} == SAVED


def shown(poller: Poller, *arguments: str) -> dict[str, Any]:
    result = poller("state", "show", "--json", *arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_each_shard_is_shown_in_its_own_line(poller: Poller) -> None:
    result = poller("state", "show")
    assert (result.exit_code, result.stderr) == (0, "")
    assert [line.split() for line in result.stdout.splitlines()[1:]] == [
        line.split()
        for line in f"""
{CLICKS.mapping}: {CLICKS.stream_arn}
  SHARD  SAVED        POSITION                                             OPEN WINDOW
  {A}    2 hours ago  after {FIRST + 5}
  {B}    2 hours ago  after {FIRST + 7}  2026-01-31T12:00:00Z to 2026-01-31T12:01:00Z, 16 bytes of state
  {C}    2 hours ago  at the end: the shard is closed, and all its records are done

{USERS.mapping}: {USERS.stream_arn}
  SHARD  SAVED        POSITION
  {A}    2 hours ago  after {FIRST + 9}

{EARLIER.mapping}: {EARLIER.stream_arn}
  no mapping of this name reads this stream now; the positions are kept in case one reads it again
  SHARD  SAVED        POSITION
  {A}    2 hours ago  at the oldest record that there is (TRIM_HORIZON)
""".splitlines()
    ]
    assert "secret" not in result.stdout


def test_the_json_output_has_the_same_content(poller: Poller) -> None:
    document = shown(poller, "clicks")
    assert document["state"] == f"sqlite://{Path('poller.db').resolve()}"
    assert document["exists"] is True
    clicks, earlier = document["mappings"]
    assert [0 <= time.time() - 7300 - shard.pop("saved_at") < 60 for shard in clicks["shards"]] == [True] * 3
    for shard in clicks["shards"]:
        assert [shard.pop(name) for name in ("reader", "read_since", "blocked")] == [None] * 3
    assert (document["workers"], document["units"]) == ([], [])
    at = "AFTER_SEQUENCE_NUMBER"
    assert clicks == {
        "mapping": "clicks",
        "stream_arn": CLICKS.stream_arn,
        "is_read": True,
        "kcl_table": None,
        "starting_position": {"type": "AT_TIMESTAMP", "timestamp": 1769860800},
        "set_by_hand": None,
        "shards": [
            {"shard_id": A, "position": {"type": at, "sequence_number": str(FIRST + 5)}, "window": None},
            {
                "shard_id": B,
                "position": {"type": at, "sequence_number": str(FIRST + 7)},
                "window": {"start": 1769860800, "end": 1769860860, "state_size_in_bytes": 16},
            },
            {"shard_id": C, "position": {"type": "SHARD_END"}, "window": None},
        ],
    }
    assert (earlier["stream_arn"], earlier["is_read"]) == (EARLIER.stream_arn, False)
    assert earlier["starting_position"] is None


@pytest.mark.parametrize("command", [("show",), ("show", "--json"), ("set", "clicks", "LATEST", "--yes")])
def test_a_missing_folder_is_an_error_and_not_a_first_start(poller: Poller, command: tuple[str, ...]) -> None:
    folder = Path("unmounted").resolve()
    daemon = f'[daemon]\nstate = "sqlite://{folder}/poller.db"\n'
    Path("poller.toml").write_text(daemon + Path("poller.toml").read_text().replace("[daemon]\n", ""))
    result = poller("state", *command)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.endswith(f"the folder {folder} does not exist\n")
    assert not folder.exists()


def test_before_the_first_start_each_mapping_is_shown_with_its_starting_position(poller: Poller) -> None:
    Path("poller.db").unlink()
    result = poller("state", "show")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"{Path('poller.db').resolve()}: there is no such file, so mappings begin at starting_position",
        "",
        f"clicks: {CLICKS.stream_arn}",
        "  nothing is stored; it begins at the first record that arrived at 2026-01-31T12:00:00Z or later",
        "",
        f"users: {USERS.stream_arn}",
        "  nothing is stored; it begins at the records that are written after the next start (LATEST)",
    ]
    assert shown(poller)["exists"] is False
    assert not Path("poller.db").exists()
    refused = poller("state", "set", "clicks", str(FIRST), "--shard", A, "--yes")
    assert refused.exit_code == 1
    assert refused.stderr.endswith("poller.db does not exist yet, so no shard has a position to move\n")
    assert not Path("poller.db").exists()


def test_a_mapping_may_move_before_the_first_start_as_the_plan_of_an_import_asks(poller: Poller) -> None:
    Path("poller.db").unlink()
    moved = poller("state", "set", "clicks", "1769860800", "--yes")
    assert moved.exit_code == 0, moved.stderr
    assert now(CLICKS) == Stored(AtTimestamp(1769860800), {})


def test_a_state_in_memory_is_not_shown_and_only_the_running_daemon_can_change_it(poller: Poller) -> None:
    Path("poller.toml").write_text(f'[daemon]\nstate = "memory:"\n{STREAMS}')
    result = poller("state", "show")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == 'daemon.state is "memory:": positions end with the process, and nothing is stored.\n'
    assert shown(poller)["state"] == "memory:"
    refused = poller("state", "set", "clicks", "LATEST", "--yes")
    assert refused.exit_code == 1
    assert "no daemon listens at" in refused.stderr


@pytest.mark.parametrize("command", [["show", "click"], ["set", "click", "LATEST", "--yes"]])
def test_the_error_of_an_unknown_mapping_names_the_known_ones(poller: Poller, command: list[str]) -> None:
    result = poller("state", *command)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "poller: there is no mapping click of a stream; did you mean clicks?\n"
    command[1] = "orders"
    assert poller("state", *command).stderr == "poller: orders reads a queue, which has no positions\n"
    assert unchanged()


@pytest.mark.parametrize("command", [["show"], ["set", "clicks", "LATEST", "--yes"]])
def test_a_file_that_cannot_be_used_is_a_fault_of_the_settings(poller: Poller, command: list[str]) -> None:
    Path("poller.db").write_text("no database" * 100)
    result = poller("state", *command)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith('poller.toml has 1 fault:\ndaemon.state = "sqlite://')


@contextmanager
def daemon() -> Iterator[None]:
    """Let a worker use the file, read a shard of clicks and renew its row, until the block ends."""
    has_begun = threading.Event()

    async def renew(scope: anyio.CancelScope) -> None:
        async with SqliteLeaseStore(Path("poller.db")) as store:
            worker = Row(key=RowKey(f":worker/{OWNER}"), owner=OWNER, details={"heartbeat": 0, "leases": 1})
            await store.create([worker])
            [row] = (await store.read([shard_key(CLICKS, A)])).values()
            await store.update([replace(row, counter=row.counter + 1, owner=OWNER, token=row.counter + 1)])
            has_begun.set()
            with scope:
                while True:
                    details = {**worker.details, "heartbeat": worker.counter}
                    worker = replace(worker, counter=worker.counter + 1, details=details)
                    await store.update([worker])
                    await anyio.sleep(0.01)

    with start_blocking_portal() as portal:
        scope = portal.call(anyio.CancelScope)
        running = portal.start_task_soon(renew, scope)
        has_begun.wait()
        yield
        portal.call(scope.cancel)
        running.result()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a command look for signs of life more often."""
    monkeypatch.setattr("poller.stores.owners.LOOK_EVERY_SECONDS", 0.01)


@pytest.mark.parametrize("command", [["set", "clicks", "LATEST", "--yes"], ["rename", "clicks", "page_clicks"]])
def test_while_a_daemon_runs_the_state_can_be_shown_and_not_changed(
    poller: Poller, impatient: None, command: list[str]
) -> None:
    with daemon():
        document = shown(poller)
        result = poller("state", *command)
    assert [found["mapping"] for found in document["mappings"]] == ["clicks", "users", "clicks"]
    assert [shard["reader"] for shard in document["mappings"][0]["shards"]] == ["blue-1/0000", None, None]
    assert (result.exit_code, result.stdout) == (1, "")
    waits, refused = result.stderr.splitlines()
    assert waits == "Waiting for up to 10 s to see whether these workers run: blue-1/0000"
    assert refused.startswith("poller: the worker blue-1/0000 runs, and may read clicks")
    assert refused.endswith(": stop all workers, or pause the mapping with `poller pause`") is (command[0] == "set")
    assert unchanged()


async def block_users(others: list[Row]) -> None:
    """Let a worker read the shard of users, which is blocked, and let a person reset the other stream of clicks."""
    async with SqliteLeaseStore(Path("poller.db")) as store:
        await store.create(others)
        rows = await store.read([shard_key(USERS, A), shard_key(EARLIER, A)])
        users, earlier = rows[shard_key(USERS, A)], rows[shard_key(EARLIER, A)]
        details: dict[str, Detail] = {
            "read_since": time.time() - 130,
            "blocked": [
                {"attempts": 7, "request_id": "q", "age_in_seconds": 2.0},
                {"attempts": 3, "request_id": "r", "age_in_seconds": 400.0},
            ],
        }
        await store.overwrite(
            [
                replace(users, counter=users.counter + 1, owner=OTHER, details=details),
                replace(earlier, counter=earlier.counter + 1, checkpoint=None),
            ]
        )


def test_the_readers_the_workers_the_units_and_the_blocked_shards_are_shown(poller: Poller) -> None:
    rows = [
        Row(key=RowKey(f":worker/{OWNER}"), owner=OWNER, details={"leases": 2, "bytes_per_second": 1234.5}),
        Row(key=RowKey(f":worker/{OTHER}"), owner=OTHER, details={"is_stopping": True}),
        Row(key=RowKey(f":worker/{THIRD}"), owner=THIRD, details={"leases": "many", "bytes_per_second": []}),
        Row(key=unit_key(limit_of_function(FunctionName("count")), 0), owner=OWNER, token=1),
        Row(key=unit_key(limit_of_function(FunctionName("count")), 1), owner=OWNER, token=1),
        Row(key=unit_key(limit_of_function(FunctionName("count")), 2)),
        Row(key=unit_key(limit_of_mapping(MappingName("orders")), 0), owner=OTHER, token=1),
    ]
    anyio.run(block_users, rows)
    text, document = poller("state", "show").stdout, shown(poller)
    assert [line.split() for line in text.split("\n\n", 2)[2].splitlines() if line] == [
        line.split()
        for line in f"""
{USERS.mapping}: {USERS.stream_arn}
  SHARD  POSITION           READER                 BLOCKED
  {A}    after {FIRST + 9}  blue-2/1111 for 2 min  3 attempts in 6 min
{EARLIER.mapping}: {EARLIER.stream_arn}
  no mapping of this name reads this stream now; the positions are kept in case one reads it again
  SHARD  POSITION
  {A}    reset by hand
WORKER  LEASES  BYTES A SECOND
blue-1/0000  2       1234
blue-2/1111  0       0               stopping
blue-3/2222  0       0
UNITS OF            WORKER  UNITS
the mapping orders  blue-2/1111  1
the function count  (free)  1
the function count  blue-1/0000  2
""".strip().splitlines()
    ]
    assert document["mappings"][1]["shards"][0]["blocked"] == {"attempts": 3, "age_in_seconds": 400.0}
    assert time.time() - document["mappings"][1]["shards"][0]["read_since"] == pytest.approx(130, abs=60)
    assert document["workers"] == [
        {"label": "blue-1/0000", "owner": OWNER, "leases": 2, "bytes_per_second": 1234.5, "is_stopping": False},
        {"label": "blue-2/1111", "owner": OTHER, "leases": 0, "bytes_per_second": 0, "is_stopping": True},
        {"label": "blue-3/2222", "owner": THIRD, "leases": 0, "bytes_per_second": 0, "is_stopping": False},
    ]
    assert document["units"] == [
        {"kind": "mapping", "name": "orders", "worker": "blue-2/1111", "units": 1},
        {"kind": "function", "name": "count", "worker": None, "units": 1},
        {"kind": "function", "name": "count", "worker": "blue-1/0000", "units": 2},
    ]


def test_a_paused_mapping_can_be_moved_while_a_daemon_runs(poller: Poller, impatient: None) -> None:
    anyio.run(pause, "users")
    with daemon():
        result = poller("state", "set", "users", "LATEST", "--yes")
        before = f"{A} after {FIRST + 9}"
        assert logged(result) == {"change": "move to LATEST", "before": before, "mapping": "users"}
    assert now(USERS).starting_position == Latest()


@pytest.mark.parametrize(
    ("position", "expected", "meaning"),
    [
        ("TRIM_HORIZON", TrimHorizon(), "The function gets every record that the stream still has"),
        ("LATEST", Latest(), "only the records that are written after the mapping begins to read again"),
        ("2026-01-31T12:00:00Z", AtTimestamp(1769860800.0), "arrived at 2026-01-31T12:00:00Z or later, also those"),
    ],
)
def test_a_mapping_is_moved_after_the_consequences_were_printed(
    poller: Poller, position: str, expected: StartingPosition, meaning: str
) -> None:
    result = poller("state", "set", "clicks", position, "--yes")
    ended = "at the end: the shard is closed, and all its records are done"
    before = f"{A} after {FIRST + 5}; {B} after {FIRST + 7}; {C} {ended}"
    assert logged(result) == {"change": f"move to {position}", "before": before, "mapping": "clicks"}
    assert f"after {FIRST + 5}" in result.stdout, "the old position is shown"
    assert meaning in result.stdout
    assert "Open windows are lost" in result.stdout
    assert result.stdout.endswith("Done; the mapping begins there at its next start, or when it is resumed.\n")
    assert (now().starting_position, now().checkpoints) == (expected, {})
    assert now(EARLIER).checkpoints == SAVED[EARLIER]
    assert now(USERS).checkpoints == SAVED[USERS]
    assert "  set by hand: every shard begins at " in poller("state", "show").stdout
    new = Row(key=shard_key(CLICKS, ShardId("new")), checkpoint=Checkpoint(after(1)), token=1)
    anyio.run(restore, [new])
    assert "  set by hand: a shard without a position begins at " in poller("state", "show").stdout


NUMBERS = [
    ([str(FIRST)], "AT_SEQUENCE_NUMBER", "The function gets the records in between again"),
    ([str(FIRST + 5), "--after"], "AFTER_SEQUENCE_NUMBER", "The position stays the same."),
    ([str(FIRST + 6)], "AT_SEQUENCE_NUMBER", "The records in between are skipped: the function never gets them."),
    (["1"], "AT_SEQUENCE_NUMBER", "The function gets the records in between again"),
    (["TRIM_HORIZON"], "TRIM_HORIZON", "The function gets the records in between again"),
    (["2026-01-31T12:00:00Z"], "AT_TIMESTAMP", "also those that it already got; earlier ones are skipped"),
]


@pytest.mark.parametrize(("arguments", "kind", "meaning"), NUMBERS)
def test_one_shard_can_be_moved_alone(poller: Poller, arguments: list[str], kind: str, meaning: str) -> None:
    result = poller("state", "set", "clicks", *arguments, "--shard", A, "--yes")
    change = f"move to {'after ' if '--after' in arguments else ''}{arguments[0]}"
    assert logged(result) == {"change": change, "before": f"{A} after {FIRST + 5}", "mapping": "clicks", "shard": A}
    assert meaning in result.stdout
    assert "windows are given up" not in result.stdout, "this shard has none"
    position = shown(poller)["mappings"][0]["shards"][0]["position"]
    assert position["type"] == kind
    assert position.get("sequence_number") == (arguments[0] if "SEQUENCE" in kind else None)
    assert now().checkpoints == SAVED[CLICKS] | {A: now().checkpoints[A]}
    assert now().starting_position is None


def test_a_moved_shard_loses_its_window_and_if_it_was_drained_blocks_its_children(poller: Poller) -> None:
    result = poller("state", "set", "clicks", str(FIRST), "--shard", B, "--yes")
    assert "Open windows are lost" in result.stdout
    assert now().checkpoints[B].window is None
    result = poller("state", "set", "clicks", str(FIRST), "--shard", C, "--yes")
    assert "the child shards wait for the end of this shard" in result.stdout


def test_after_a_mapping_has_moved_one_of_its_shards_can_be_moved_alone(poller: Poller) -> None:
    assert poller("state", "set", "clicks", "TRIM_HORIZON", "--yes").exit_code == 0
    result = poller("state", "set", "clicks", str(FIRST), "--after", "--shard", B, "--yes")
    assert (
        logged(result)["before"]
        == f"{B} without a position; other shards at the oldest record that there is (TRIM_HORIZON)"
    )
    assert "this shard does not begin where the others begin" in result.stdout
    assert (now().starting_position, now().checkpoints) == (TrimHorizon(), {B: Checkpoint(after(0))})
    result = poller("state", "set", "clicks", str(FIRST), "--shard", "x", "--yes")
    assert f"clicks has no stored shard x; stored are {A}, {B}, {C}" in result.stderr


def test_a_sequence_number_needs_no_shard_if_there_is_only_one(poller: Poller) -> None:
    assert poller("state", "set", "users", str(FIRST), "--after", "--yes").exit_code == 0
    assert (now(USERS).starting_position, now(USERS).checkpoints) == (None, {A: Checkpoint(after(0))})


@pytest.mark.parametrize("shard", [[], ["--shard", A]])
def test_a_move_may_go_to_some_time_ago(poller: Poller, shard: list[str]) -> None:
    begun = time.time()
    done = poller("state", "set", "clicks", "10m", *shard, "--yes", "--json")
    position = json.loads(done.stdout)["position"]
    assert position["type"] == "AT_TIMESTAMP"
    assert begun - 600 - 0.001 <= position["timestamp"] <= time.time() - 600 + 0.001


def test_the_stream_of_a_table_can_be_moved_to_a_time(poller: Poller) -> None:
    assert poller("state", "set", "users", "2026-01-31T12:00:00Z", "--yes").exit_code == 0
    assert (now(USERS).starting_position, now(USERS).checkpoints) == (AtTimestamp(1769860800), {})


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["clicks", str(FIRST)], f"one shard, so name the shard, too; stored are {A}, {B}, {C}\n"),
        (["clicks", "1", "--shard", "x"], f"clicks has no stored shard x; stored are {A}, {B}, {C}\n"),
        (["clicks", "LATEST", "--shard", A], "LATEST applies to a whole mapping, not to one shard\n"),
        (["clicks", "LATEST", "--after"], "only a sequence number has a position after it, not LATEST\n"),
        (["clicks", "soon"], "soon is not a position"),
        (["users", "17698608"], "before AWS had streams"),
    ],
)
def test_a_position_that_does_not_fit_is_a_usage_error(poller: Poller, arguments: list[str], why: str) -> None:
    result = poller("state", "set", *arguments, "--yes")
    assert (result.exit_code, result.stdout) == (2, "")
    assert why in result.stderr
    assert unchanged()


def test_without_a_terminal_nothing_is_changed(poller: Poller) -> None:
    result = poller("state", "set", "clicks", "LATEST")
    assert result.exit_code == 1
    assert "clicks would continue at the records that are written after the next start" in result.stdout
    assert result.stderr == "poller: nothing was changed: standard input is not a terminal; use --yes\n"
    assert unchanged()


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@drawn(
    shard=st.sampled_from([None, A, B, C]),
    text=st.one_of(
        st.sampled_from(["TRIM_HORIZON", "LATEST"]),
        st.integers(min_value=0, max_value=1769860800).map(lambda moment: f"{moment}.0"),
        st.integers(min_value=0, max_value=10**60).map(lambda number: f"{number:021}"),
    ),
    is_after=st.booleans(),
)
def test_a_position_that_was_set_is_shown(poller: Poller, shard: ShardId | None, text: str, is_after: bool) -> None:
    """A position that is refused changes nothing."""
    before = shown(poller)
    options = [*(["--shard", shard] if shard else []), *(["--after"] if is_after else [])]
    result = poller("state", "set", "clicks", text, *options, "--yes")
    after_it = shown(poller)
    if result.exit_code:
        assert (result.exit_code, after_it) == (2, before)
        return
    (clicks, *others) = after_it["mappings"]
    assert others == before["mappings"][1:]
    by_id = {one["shard_id"]: one["position"] for one in clicks["shards"]}
    position = by_id[shard] if shard else clicks["set_by_hand"]
    word = text if text.isalpha() or "_" in text else None
    assert position["type"] == word or position.get("timestamp") == float(text) or position["sequence_number"] == text
    assert ("AFTER" in position["type"]) == is_after
    assert shard or not any(by_id.values())


def test_a_renamed_mapping_keeps_its_positions(poller: Poller) -> None:
    before = now()
    result = poller("state", "rename", "clicks", "page_clicks")
    assert (result.exit_code, result.stdout) == (0, "Done; page_clicks has the positions of 4 shards.\n")
    assert result.stderr.splitlines()[1:] == [
        "warning: change the name in poller.toml too: there, clicks would now begin at its starting_position"
    ]
    assert now(CLICKS._replace(mapping=MappingName("page_clicks"))).checkpoints == before.checkpoints
    assert CLICKS not in stored(Path("poller.db"))


def test_a_program_gets_the_new_position_and_what_was_renamed(poller: Poller) -> None:
    done = poller("state", "set", "clicks", "TRIM_HORIZON", "--yes", "--json")
    assert json.loads(done.stdout) == {"mapping": "clicks", "shard": None, "position": {"type": "TRIM_HORIZON"}}
    assert "clicks would continue at the oldest record" in done.stderr
    assert json.loads(done.stdout).keys() == members("poller state set")
    document = json.loads(poller("state", "rename", "clicks", "page_clicks", "--json").stdout)
    assert document == {"mapping": "page_clicks", "former": "clicks", "shards": 1, "is_paused": False}
    assert document.keys() == members("poller state rename")


def test_a_mapping_can_be_renamed_after_the_settings_file_was_changed(poller: Poller) -> None:
    Path("poller.toml").write_text(STREAMS.replace("mappings.clicks", "mappings.page_clicks"))
    result = poller("state", "rename", "clicks", "page_clicks")
    before = "clicks had the positions of 4 shards"
    assert logged(result) == {"change": "rename of clicks", "before": before, "mapping": "page_clicks"}
    assert result.stdout == "Done; page_clicks has the positions of 4 shards.\n"
    assert shown(poller, "page_clicks")["mappings"][0]["shards"][0]["shard_id"] == A


def test_a_renamed_mapping_that_has_begun_anew_gets_its_positions_by_two_renames(poller: Poller) -> None:
    before = now()
    assert poller("state", "rename", "clicks", "users").exit_code == 1
    assert poller("state", "rename", "users", "OTHER").exit_code == 0
    assert poller("state", "rename", "clicks", "users").exit_code == 0
    assert now(CLICKS._replace(mapping=MappingName("users"))).checkpoints == before.checkpoints


async def pause(*names: str) -> None:
    async with SqliteLeaseStore(Path("poller.db")) as store:
        for name in names:
            await LeasePauses(store).pause(MappingName(name), at=0.0)


def test_paused_mappings_are_shown_also_those_of_queues(poller: Poller) -> None:
    assert shown(poller)["paused"] == []
    assert "Paused" not in poller("state", "show").stdout
    anyio.run(pause, "users", "orders")
    assert shown(poller)["paused"] == ["orders", "users"]
    assert shown(poller, "users")["paused"] == ["users"]
    assert shown(poller, "clicks")["paused"] == []
    lines = poller("state", "show").stdout.splitlines()
    assert lines[1] == "Paused by a person, until a person resumes them: orders, users"


def test_a_renamed_mapping_keeps_its_pause_and_its_starting_position(poller: Poller) -> None:
    anyio.run(pause, "users", "orders")
    assert poller("state", "set", "users", "TRIM_HORIZON", "--yes").exit_code == 0
    result = poller("state", "rename", "users", "people")
    assert result.stdout.startswith("Done; people has the starting position that was set by hand and the pause.\n")
    assert poller("state", "rename", "orders", "sales").stdout == "Done; sales has the pause.\n"


@pytest.mark.parametrize(
    ("old", "new", "code", "why"),
    [
        ("clocks", "page_clicks", 2, "nothing is stored for a mapping clocks; did you mean clicks?"),
        ("clicks", "users", 1, "nothing was changed: positions are already stored for a mapping users"),
        ("clicks", "clicks", 1, "nothing was changed: positions are already stored for a mapping clicks"),
    ],
)
def test_a_rename_that_would_lose_positions_is_refused(poller: Poller, old: str, new: str, code: int, why: str) -> None:
    result = poller("state", "rename", old, new)
    assert (result.exit_code, result.stdout, result.stderr) == (code, "", f"poller: {why}\n")
    assert unchanged()


def test_a_rename_without_stored_state_is_refused(poller: Poller) -> None:
    Path("poller.db").unlink()
    result = poller("state", "rename", "clicks", "page_clicks")
    assert result.exit_code == 1
    assert "poller.db does not exist yet, so nothing can be renamed" in result.stderr
    assert not Path("poller.db").exists()
    Path("poller.toml").write_text('daemon.state = "memory:"\n' + STREAMS)
    result = poller("state", "rename", "clicks", "page_clicks")
    assert result.exit_code == 1
    assert 'daemon.state is "memory:": nothing is stored, so nothing can be renamed' in result.stderr


def test_the_help_of_the_group_names_what_each_command_does(poller: Poller) -> None:
    text = " ".join(poller("state", "--help").stdout.replace("│", " ").split())
    assert "Show the positions of streams, move them by hand, rename their mappings, and copy them from another" in text


def test_help_teaches_by_examples(poller: Poller) -> None:
    text = " ".join(poller("state", "set", "--help", COLUMNS="300").stdout.split())
    for example in ("TRIM_HORIZON", "LATEST", "2026-01-31T12:00:00Z", "--shard shardId-000000000001 --after"):
        assert f"Example: poller state set clicks {example}" in text
    assert "LATEST, for the records written after the mapping starts or resumes" in text
    assert "Exit codes: 0 success, 1 nothing was changed, 2" in text
    assert "Example: poller state show" in poller("state", "show", "--help", COLUMNS="300").stdout
