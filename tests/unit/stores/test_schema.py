from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from poller.errors import CannotStore, SettingsError
from poller.model.ids import MappingName
from poller.model.stream import (
    AfterSequence,
    AtSequence,
    AtTimestamp,
    Checkpoint,
    Latest,
    SequenceNumber,
    ShardEnd,
    ShardId,
    StateKey,
    TrimHorizon,
    Window,
)
from poller.sqlite.copies import copy_of
from poller.stores import schema
from poller.stores.by_hand import Stored, stored
from poller.stores.pauses import paused
from poller.stores.schema import FORMAT, STATE
from poller.stores.sqlite import SqliteStore
from poller.stores.sqlite_file import owned, shown
from tests.fakes.disk import no_file_grows_beyond

BEFORE = FORMAT - 1
STREAM = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"
SHARDS = [ShardId(f"shardId-00000000000{number}") for number in range(5)]
WINDOW = Window(1767225600, 1767225660, '{"sum":"∑"}'.encode())
IN_THE_FIXTURE = {
    StateKey(MappingName("clicks"), STREAM): Stored(
        None,
        dict(
            zip(
                SHARDS,
                [
                    Checkpoint(TrimHorizon()),
                    Checkpoint(AtTimestamp(1767225600.25)),
                    Checkpoint(AtSequence(SequenceNumber("0012"))),
                    Checkpoint(AfterSequence(SequenceNumber("9")), WINDOW),
                    Checkpoint(ShardEnd()),
                ],
                strict=True,
            )
        ),
        {shard_id: 1_700_000_000 + number for number, shard_id in enumerate(SHARDS)},
    ),
    StateKey(MappingName("gone"), STREAM): Stored(Latest(), {}, {}),
    StateKey(MappingName("users"), STREAM): Stored(
        AtTimestamp(12.5), {SHARDS[0]: Checkpoint(AfterSequence(SequenceNumber("7")))}, {SHARDS[0]: 1_700_000_005}
    ),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a file of the previous format, as that version of poller left it."""
    path = tmp_path / "poller.db"
    with closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA journal_mode = WAL")
        file.executescript(Path(__file__).with_name(f"format_{BEFORE}.sql").read_text())
    return path


def format_in(path: Path) -> int:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as file:
        (found,) = file.execute("PRAGMA user_version").fetchone()
    assert isinstance(found, int)
    return found


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as file:
        return list(file.iterdump())


def refused(path: Path) -> str:
    with pytest.raises(SettingsError) as caught, owned(path):
        pass
    (fault,) = caught.value.faults
    return fault.removeprefix(f'daemon.state = "sqlite://{path}": ')


def test_a_file_of_the_previous_format_is_migrated_without_loss(path: Path) -> None:
    with owned(path) as file:
        assert paused(file) == frozenset()
        assert file.execute("SELECT DISTINCT version, writer FROM checkpoint").fetchall() == [(1, "")]
    assert format_in(path) == FORMAT
    assert stored(path) == IN_THE_FIXTURE


def test_a_migrated_file_has_the_tables_of_a_new_one(path: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.db"
    with owned(path), owned(new):
        pass
    assert tables(path) == tables(new)


def tables(path: Path) -> dict[str, object]:
    with closing(sqlite3.connect(path)) as file:
        names = [name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        triggers = file.execute(
            "SELECT name, replace(sql, '\"', '') FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall()
        return {name: file.execute(f"PRAGMA table_xinfo({name})").fetchall() for name in names} | {"triggers": triggers}


def test_a_migrated_file_still_refuses_a_checkpoint_that_moves_back(path: Path) -> None:
    with owned(path) as file, pytest.raises(sqlite3.IntegrityError, match="would move back"):
        file.execute("UPDATE checkpoint SET position = 'TRIM_HORIZON', rank = '0' WHERE position = 'SHARD_END'")


def test_a_copy_of_the_old_file_is_kept_which_only_its_owner_may_read(path: Path) -> None:
    before = dump(path)
    with owned(path):
        pass
    copy = path.with_name(f"poller.db.format-{BEFORE}")
    assert dump(copy) == before
    assert format_in(copy) == BEFORE
    assert f"{copy.stat().st_mode & 0o777:o}" == "600"
    assert not list(path.parent.glob("*.unfinished"))


def test_a_file_of_this_format_is_not_copied(path: Path) -> None:
    for _ in range(2):
        with owned(path):
            pass
        copy_of(path, BEFORE).unlink(missing_ok=True)
    assert not list(path.parent.glob("*.format-*"))


@pytest.mark.parametrize("statement", schema.MIGRATION.strip().split("\n"))
def test_a_migration_that_fails_at_any_statement_leaves_the_file_as_it_was(
    path: Path, statement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dump(path)
    with monkeypatch.context() as patched:
        patched.setattr(schema, "MIGRATION", schema.MIGRATION.replace(statement, f"no {statement}"))
        assert "syntax error" in refused(path)
    assert dump(path) == before
    assert format_in(path) == BEFORE
    with owned(path):
        pass
    assert stored(path) == IN_THE_FIXTURE


def test_a_damaged_row_is_refused_before_the_format_changes(path: Path) -> None:
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("UPDATE checkpoint SET place = '3' WHERE position = 'TRIM_HORIZON'")
    assert refused(path).endswith(f"does not have the rank '3'; {STATE.advice}")
    assert format_in(path) == BEFORE


def test_showing_a_file_of_the_previous_format_changes_nothing(path: Path) -> None:
    before = path.read_bytes()
    assert stored(path) == IN_THE_FIXTURE
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["poller.db"]


def test_the_error_of_a_newer_format_says_what_to_do(path: Path) -> None:
    with owned(path) as file:
        file.execute(f"PRAGMA user_version = {FORMAT + 1}")
    assert refused(path) == (
        f"was written by a newer version of poller (its format is {FORMAT + 1}, not {FORMAT}): "
        f"run that version, or put back the copy that it kept before its change, "
        f"poller.db.format-{FORMAT}, if there is one: first remove the files ending in -wal and -shm"
    )
    with pytest.raises(SettingsError, match="a newer version"), shown(path):
        pass


def test_the_error_of_a_much_older_format_says_what_to_do(path: Path) -> None:
    with owned(path) as file:
        file.execute(f"PRAGMA user_version = {FORMAT - 2}")
    assert refused(path) == (
        f"was written by a much older version of poller (its format is {FORMAT - 2}, not {FORMAT}): "
        f"first run a version whose format is {FORMAT - 1}"
    )


def test_a_full_disk_stops_the_copy_and_the_file_stays_as_it_was(path: Path) -> None:
    before = dump(path)
    with no_file_grows_beyond(8192), pytest.raises(CannotStore, match="is its disk full"), owned(path):
        pass
    assert dump(path) == before
    assert format_in(path) == BEFORE
    assert not list(path.parent.glob("*.format-*"))


@pytest.mark.anyio
async def test_a_store_says_where_the_copy_of_a_migrated_file_is(path: Path) -> None:
    for kept_copy in (copy_of(path, BEFORE), None):
        async with SqliteStore(path) as store:
            assert store.kept_copy == kept_copy
            assert store.positions == 6
