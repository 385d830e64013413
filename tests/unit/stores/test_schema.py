from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from poller.errors import CannotStore, SettingsError
from poller.model.lease import Detail, Row, RowKey
from poller.model.stream import (
    AfterSequence,
    AtSequence,
    AtTimestamp,
    Checkpoint,
    SequenceNumber,
    ShardEnd,
    TrimHorizon,
    Window,
)
from poller.sqlite.copies import copy_of
from poller.stores import schema
from poller.stores.lease_file import shared, shown
from poller.stores.lease_rows import read, scan
from poller.stores.schema import FORMAT, STATE
from tests.fakes.disk import no_file_grows_beyond

BEFORE = FORMAT - 1
STREAM = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"
WINDOW = Window(1767225600, 1767225660, '{"sum":"∑"}'.encode())


def row(key: str, counter: int, checkpoint: Checkpoint | None, details: Mapping[str, Detail]) -> Row:
    return Row(key=RowKey(key), counter=counter, checkpoint=checkpoint, details=details)


IN_THE_FIXTURE = [
    row(f"clicks/{STREAM}/shardId-000000000000", 1, Checkpoint(TrimHorizon()), {"saved_at": 1700000000}),
    row(f"clicks/{STREAM}/shardId-000000000001", 2, Checkpoint(AtTimestamp(1767225600.25)), {"saved_at": 1700000001}),
    row(
        f"clicks/{STREAM}/shardId-000000000002",
        3,
        Checkpoint(AtSequence(SequenceNumber("0012"))),
        {"saved_at": 1700000002},
    ),
    row(
        f"clicks/{STREAM}/shardId-000000000003",
        4,
        Checkpoint(AfterSequence(SequenceNumber("9")), WINDOW),
        {"saved_at": 1700000003},
    ),
    row(f"clicks/{STREAM}/shardId-000000000004", 5, Checkpoint(ShardEnd()), {"saved_at": 1700000004}),
    row(
        f"users/{STREAM}/shardId-000000000000",
        6,
        Checkpoint(AfterSequence(SequenceNumber("7"))),
        {"saved_at": 1700000005},
    ),
    row(f":begun/clicks/{STREAM}", 1, None, {}),
    row(f":begun/users/{STREAM}", 1, None, {}),
    row(f":start/users/{STREAM}", 1, None, {"position": "AT_TIMESTAMP 12.5"}),
    row(f":start/gone/{STREAM}", 1, None, {"position": "LATEST"}),
    row(":pause/clicks", 1, None, {}),
    row(":pause/orders", 1, None, {}),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a file of the previous format, as that version of poller left it."""
    path = tmp_path / "poller.db"
    with closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA journal_mode = WAL")
        file.executescript(Path(__file__).with_name(f"format_{BEFORE}.sql").read_text())
    return path


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as file:
        return [f"format {file.execute('PRAGMA user_version').fetchone()[0]}", *file.iterdump()]


def refused(path: Path) -> str:
    with pytest.raises(SettingsError) as caught, shared(path):
        pass
    (fault,) = caught.value.faults
    return fault.removeprefix(f'daemon.state = "sqlite://{path}": ')


def test_a_file_of_the_previous_format_is_migrated_without_loss(path: Path) -> None:
    for _ in range(2):
        with shared(path) as file:
            assert {row.key: row for row in scan(file)} == {row.key: row for row in IN_THE_FIXTURE}


def test_a_migrated_file_has_the_table_of_a_new_one(path: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.db"
    with shared(path), shared(new):
        pass
    assert objects(path) == objects(new)


def objects(path: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as file:
        return file.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name").fetchall()


def test_a_migrated_file_still_refuses_a_checkpoint_that_moves_back(path: Path) -> None:
    with shared(path) as file:
        for change in ("position = 'TRIM_HORIZON', rank = '0'", "position = NULL, rank = NULL"):
            with pytest.raises(sqlite3.IntegrityError, match="would move back"):
                file.execute(f"UPDATE lease SET {change} WHERE position = 'SHARD_END'")


def test_a_copy_of_the_old_file_is_kept(path: Path) -> None:
    before = dump(path)
    kept: list[Path] = []
    for _ in range(2):
        with shared(path, kept.append):
            pass
    assert kept == [copy_of(path, BEFORE)]
    assert dump(kept[0]) == before


def test_a_file_of_this_format_is_not_copied(path: Path) -> None:
    for _ in range(2):
        with shared(path):
            pass
        copy_of(path, BEFORE).unlink(missing_ok=True)
    assert not list(path.parent.glob("*.format-*"))


def test_a_full_disk_stops_the_copy_and_the_file_stays_as_it_was(path: Path) -> None:
    before = dump(path)
    with no_file_grows_beyond(8192), pytest.raises(CannotStore, match="is its disk full"), shared(path):
        pass
    assert dump(path) == before
    assert not list(path.parent.glob("*.format-*"))


@pytest.mark.parametrize("number", range(len(schema.MIGRATION)))
def test_a_migration_that_fails_at_any_statement_leaves_the_file_as_it_was(
    path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, statements = dump(path), schema.MIGRATION
    with monkeypatch.context() as patched:
        patched.setattr(schema, "MIGRATION", (*statements[:number], "no statement", *statements[number + 1 :]))
        assert "syntax error" in refused(path)
    assert dump(path) == before
    with shared(path) as file:
        assert len(scan(file)) == len(IN_THE_FIXTURE)


def test_a_damaged_row_is_refused_before_the_format_changes(path: Path) -> None:
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("UPDATE checkpoint SET rank = '3' WHERE position = 'TRIM_HORIZON'")
    before = dump(path)
    assert refused(path).endswith(f"does not have the rank '3'; {STATE.advice}")
    assert dump(path) == before


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (
            f"INSERT INTO start_over VALUES ('clicks', '{STREAM}', 'NOWHERE')",
            f":start/clicks/{STREAM}: 'NOWHERE' is not a starting position",
        ),
        (
            f"INSERT INTO start_over VALUES ('clicks', '{STREAM}', 'SHARD_END')",
            f":start/clicks/{STREAM}: 'SHARD_END' is not a starting position",
        ),
        ("INSERT INTO start_over VALUES ('clicks', 'clicks', 'LATEST')", "the key is not :start/MAPPING/STREAM_ARN"),
        ("INSERT INTO pause VALUES ('')", ":pause/: the key is not :pause/MAPPING"),
        ("INSERT INTO pause VALUES ('a/b')", ":pause/a/b: the key is not :pause/MAPPING"),
        ("UPDATE checkpoint SET mapping = '' WHERE mapping = 'users'", "the key is not MAPPING/STREAM_ARN/SHARD_ID"),
        ("UPDATE checkpoint SET mapping = 'a/b' WHERE mapping = 'users'", "the key is not :begun/MAPPING/STREAM_ARN"),
        ("UPDATE checkpoint SET shard_id = '' WHERE mapping = 'users'", "the key is not MAPPING/STREAM_ARN/SHARD_ID"),
        ("UPDATE checkpoint SET mapping = ':pause' WHERE mapping = 'users'", "which only the row of a shard has"),
        (
            "UPDATE checkpoint SET saved_at = 'many' WHERE mapping = 'users'",
            f"users/{STREAM}/shardId-000000000000: saved_at is 'many', but must be a number",
        ),
        (
            "UPDATE checkpoint SET version = 'many' WHERE mapping = 'users'",
            f"users/{STREAM}/shardId-000000000000: the counter is 'many', but must be a whole number above 0",
        ),
    ],
)
def test_a_row_of_the_previous_format_that_no_version_has_written_is_refused(
    path: Path, change: str, rule: str
) -> None:
    with closing(sqlite3.connect(path)) as file, file:
        file.execute(change)
    before = dump(path)
    assert rule in refused(path)
    assert dump(path) == before
    with pytest.raises(SettingsError, match=re.escape(rule)):
        shown(path)


def test_a_file_with_a_format_that_no_version_has_written_is_refused(path: Path) -> None:
    with closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA user_version = 0")
    assert refused(path) == f"is damaged: its format is 0, which no version of poller has written; {STATE.advice}"


def test_a_row_of_an_unknown_kind_is_kept_because_a_newer_version_may_have_written_it(path: Path) -> None:
    for _ in range(2):
        with shared(path) as file:
            file.execute("INSERT OR REPLACE INTO lease (key, counter, token, details) VALUES (':new/a', 1, 0, '{}')")
    assert ":new/a" in {row.key for row in shown(path) or ()}


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ("rank = '3' WHERE rank = '0'", "'TRIM_HORIZON' does not have the rank '3'"),
        ("position = 'nowhere' WHERE rank = '0'", "'nowhere' is not a position"),
        ("position = 'LATEST' WHERE rank = '0'", "LATEST is not a checkpoint"),
        ("counter = 0 WHERE rank = '0'", "the counter is 0, but must be a whole number above 0"),
        ("token = 'x' WHERE rank = '0'", "the token is 'x', but must be a whole number"),
        ("window_state = '{' WHERE window_start > 0", "the window is not whole"),
        ("window_start = -60 WHERE window_start > 0", "the window is not whole"),
        ("window_end = 253402300800 WHERE window_start > 0", "the window is not whole"),
        ("details = '[]' WHERE rank = '0'", "the details are not a JSON object"),
        ("details = '{' WHERE rank = '0'", "the details are not a JSON object"),
        (
            """details = '{"position": "SHARD_END"}' WHERE key LIKE ':start/%'""",
            "'SHARD_END' is not a starting position",
        ),
        ("details = '{}' WHERE key LIKE ':start/%'", "None is not a starting position"),
        ("key = 'users/x/shard-1' WHERE key LIKE 'users/%'", "the key is not MAPPING/STREAM_ARN/SHARD_ID"),
        (f"key = ':start//{STREAM}' WHERE key LIKE ':start/users/%'", "the key is not :start/MAPPING/STREAM_ARN"),
        ("key = ':begun/x' WHERE key LIKE ':begun/users/%'", ":begun/x: the key is not :begun/MAPPING/STREAM_ARN"),
        ("key = ':kcl/x' WHERE key LIKE ':begun/users/%'", ":kcl/x: the key is not :kcl/MAPPING/STREAM_ARN"),
    ],
)
def test_a_row_that_this_program_cannot_have_written_is_refused(path: Path, change: str, rule: str) -> None:
    with shared(path) as file:
        file.execute(f"UPDATE lease SET {change}")
    assert rule in refused(path)
    with pytest.raises(SettingsError, match=re.escape(rule)):
        shown(path)


def test_the_error_of_a_newer_format_says_what_to_do(path: Path) -> None:
    with shared(path) as file:
        file.execute(f"PRAGMA user_version = {FORMAT + 1}")
    assert refused(path) == (
        f"was written by a newer version of poller (its format is {FORMAT + 1}, not {FORMAT}): "
        f"run that version, or go back: remove the files ending in -wal and -shm, then replace the file by its copy "
        f"poller.db.format-{FORMAT}, if there is one"
    )
    with pytest.raises(SettingsError, match="a newer version"):
        shown(path)


def test_the_error_of_a_much_older_format_says_what_to_do(path: Path) -> None:
    with shared(path) as file:
        file.execute(f"PRAGMA user_version = {FORMAT - 2}")
    assert refused(path) == (
        f"was written by a much older version of poller (its format is {FORMAT - 2}, not {FORMAT}): "
        f"first run a version whose format is {FORMAT - 1}"
    )


def test_a_large_number_of_rows_is_read_by_their_keys(path: Path) -> None:
    with shared(path) as file:
        wanted = [row.key for row in IN_THE_FIXTURE]
        assert read(file, [*wanted, *(RowKey(f"missing-{number}") for number in range(50_000))]).keys() == set(wanted)
