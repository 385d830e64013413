from __future__ import annotations

import fcntl
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import chain
from pathlib import Path

import pytest

from poller.errors import CannotStore, SettingsError
from poller.event_queues import schema
from poller.event_queues.by_hand import listed
from poller.event_queues.remembered import remembered
from poller.event_queues.rows import put, take
from poller.event_queues.schema import EVENTS, FORMAT, reading, shared
from poller.model.arn import Arn
from poller.model.event import RememberedQueue
from tests.fakes.clock import EPOCH
from tests.fakes.disk import no_file_grows_beyond
from tests.fakes.events import RESIZE, event


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.db"


def refused(path: Path) -> str:
    with pytest.raises(SettingsError) as caught, shared(path):
        pass
    (fault,) = caught.value.faults
    prefix = f'daemon.event_queue = "sqlite://{path}": '
    assert fault.startswith(prefix)
    return fault.removeprefix(prefix)


def test_a_commit_is_flushed_to_the_disk_before_it_returns(path: Path) -> None:
    for _ in range(2):
        with shared(path) as file:
            assert file.execute("PRAGMA journal_mode").fetchone() == ("wal",)
            assert file.execute("PRAGMA synchronous").fetchone() == (2,)


def test_processes_that_open_a_new_file_at_the_same_time_all_get_its_tables(path: Path) -> None:
    def count(_: int) -> int:
        with shared(path) as file:
            file.execute("BEGIN IMMEDIATE")
            put(file, [event(EPOCH)])
            file.execute("COMMIT")
            return int(file.execute("SELECT count(*) FROM event").fetchone()[0])

    with ThreadPoolExecutor(8) as processes:
        assert max(processes.map(count, range(8))) == 8


def test_a_file_of_events_is_recognised_without_its_log(path: Path) -> None:
    with shared(path):
        Path(f"{path}-wal").unlink()
        with closing(sqlite3.connect(path)) as other:
            assert other.execute("PRAGMA application_id").fetchone() == (EVENTS.application_id,)
            assert other.execute("PRAGMA user_version").fetchone() == (FORMAT,)


def test_the_error_for_a_file_of_a_later_format_says_what_to_do(path: Path) -> None:
    with shared(path) as file:
        file.execute(f"PRAGMA user_version = {FORMAT + 1}")
    assert refused(path) == (
        f"was written by a newer version of poller (its format is {FORMAT + 1}, not {FORMAT}): run that version until "
        f"its events have ended, or go back: remove the files ending in -wal and -shm, then replace the file by its "
        f"copy events.db.format-{FORMAT}, if there is one; events that have ended since the copy was made are invoked "
        "again, and events that were accepted since then are lost"
    )
    with pytest.raises(SettingsError, match="newer version"), reading(path):
        pass


def test_a_file_with_a_format_that_no_version_has_written_is_refused_and_not_copied(path: Path) -> None:
    with shared(path) as file:
        file.execute("PRAGMA user_version = -1")
    assert refused(path).startswith("is damaged: its format is -1, which no version of poller has written; ")
    assert not list(path.parent.glob("*.format-*"))


def create_first_format(path: Path) -> None:
    """Create a file of the first format with two events of RESIZE. The second event is claimed."""
    with closing(sqlite3.connect(path)) as file:
        file.executescript((Path(__file__).parent / "format_1.sql").read_text())


def schema_of(path: Path) -> list[list[str]]:
    """Return the words of each statement that creates a table, an index or a trigger."""
    with closing(sqlite3.connect(path)) as file:
        return [sql.split() for (sql,) in file.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall()]


def test_a_file_of_the_first_format_is_migrated_with_its_events(path: Path) -> None:
    create_first_format(path)
    with shared(path) as file:
        first, second = take(file, RESIZE, claim="c", count=9, now=EPOCH, until=EPOCH + 60)
        sizes = file.execute("SELECT size FROM event ORDER BY id").fetchall()
    assert (first.event.payload, second.event.payload) == (b'{"n": 1}', b'{"n": 22}')
    assert second.event.attempts == 1
    assert sizes == [(8 + 2,), (9 + 28,)]
    with shared(new := path.parent / "new.db"):
        assert schema_of(path) == schema_of(new)


def test_an_sqs_queue_is_remembered_after_its_table_has_changed(path: Path) -> None:
    arn = "arn:aws:sqs:eu-west-1:123456789012:old"
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        for statement in chain(*schema.STEPS[:3]):
            file.execute(statement)
        file.execute("INSERT INTO sqs_queue VALUES (?, 'resize', NULL)", (arn,))
        file.execute("PRAGMA user_version = 3")
    with shared(path) as file:
        assert remembered(file) == [RememberedQueue(Arn.parse(arn), RESIZE)]


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as file:
        return [f"format {file.execute('PRAGMA user_version').fetchone()}", *file.iterdump()]


def test_a_copy_of_the_old_file_is_kept_at_its_migration_alone(path: Path) -> None:
    create_first_format(path)
    before = dump(path)
    kept: list[Path] = []
    for _ in range(2):
        with shared(path, kept.append):
            pass
    assert kept == [path.with_name("events.db.format-1")]
    assert dump(kept[0]) == before


STATEMENTS = [(step, number) for step in range(1, FORMAT) for number in range(len(schema.STEPS[step]))]


@pytest.mark.parametrize(("step", "number"), STATEMENTS)
def test_a_migration_that_fails_at_any_statement_leaves_the_file_as_it_was(
    path: Path, step: int, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_first_format(path)
    before, steps = dump(path), [list(statements) for statements in schema.STEPS]
    steps[step][number] = "no statement"
    with monkeypatch.context() as patched:
        patched.setattr(schema, "STEPS", steps)
        assert "syntax error" in refused(path)
    assert dump(path) == before
    with shared(path) as file:
        assert len(take(file, RESIZE, claim="c", count=9, now=EPOCH, until=EPOCH + 60)) == 2


def test_a_damaged_file_of_an_earlier_format_is_refused_and_not_copied(path: Path) -> None:
    create_first_format(path)
    with path.open("r+b") as raw:
        raw.seek(4096 * 2)
        raw.write(b"\xff" * 4096)
    before = path.read_bytes()
    assert refused(path).endswith(f"; {EVENTS.advice}")
    assert path.read_bytes()[4096:] == before[4096:], "only the header says that the file now has a log"
    assert not list(path.parent.glob("*.format-*"))


def test_a_file_of_an_earlier_format_is_not_migrated_while_another_process_uses_it(path: Path) -> None:
    create_first_format(path)
    with closing(os.fdopen(EVENTS.descriptor(path, Path(f"{path}-lock")), "w")) as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        assert refused(path) == "an older version of poller still uses it: stop that one first"
    with shared(path) as file:
        assert file.execute("PRAGMA user_version").fetchone() == (FORMAT,)


def test_a_person_who_reads_a_file_of_an_earlier_format_is_told_to_start_the_daemon(path: Path) -> None:
    create_first_format(path)
    before = path.read_bytes()
    with pytest.raises(SettingsError, match="start the daemon, which migrates it"), reading(path):
        pass
    assert path.read_bytes() == before


def test_a_state_file_is_refused_as_a_file_of_events(path: Path) -> None:
    with closing(sqlite3.connect(path)) as file:
        file.executescript("PRAGMA application_id = 1349479532; CREATE TABLE checkpoint (mapping)")
    before = path.read_bytes()
    assert refused(path) == "is a database of another program"
    assert path.read_bytes() == before


def test_a_file_that_is_not_a_database_is_refused_and_stays_unchanged(path: Path) -> None:
    path.write_bytes(b"a text that is longer than the header of a database" * 10)
    before = path.read_bytes()
    assert refused(path) == f"is damaged: file is not a database; {EVENTS.advice}"
    assert path.read_bytes() == before


def test_the_error_for_a_damaged_page_says_what_to_do(path: Path) -> None:
    with shared(path) as file:
        put(file, [event(EPOCH, payload=b"1" * 1000) for _ in range(100)])
    with path.open("r+b") as raw:
        raw.seek(4096 * 6)
        raw.write(b"\xff" * 4096)
    assert refused(path).endswith(f"; {EVENTS.advice}")


def test_an_emptied_file_is_refused_and_not_treated_as_new(path: Path) -> None:
    with shared(path) as file:
        put(file, [event(EPOCH)])
        log = Path(f"{path}-wal").read_bytes()
    path.write_bytes(b"")
    Path(f"{path}-wal").write_bytes(log)
    assert refused(path) == f"is damaged: it is empty, but events.db-wal is not; {EVENTS.advice}"


def test_a_missing_folder_is_not_created(tmp_path: Path) -> None:
    assert refused(tmp_path / "missing" / "events.db") == f"the folder {tmp_path / 'missing'} does not exist"
    assert not (tmp_path / "missing").exists()


def test_a_folder_in_the_place_of_the_file_is_refused(path: Path) -> None:
    path.mkdir()
    assert refused(path) == "is a folder, not a file"


def test_a_full_disk_is_a_temporary_error(path: Path) -> None:
    with no_file_grows_beyond(100), pytest.raises(CannotStore, match="is its disk full"), shared(path):
        pass
    with shared(path):
        pass


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_only_the_owner_may_read_the_files(path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with shared(path) as file:
            put(file, [event(EPOCH)])
            modes = {each.name: each.stat().st_mode & 0o777 for each in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(["events.db", "events.db-lock", "events.db-wal", "events.db-shm"], 0o600)


def test_opening_a_file_takes_away_the_permissions_of_other_users(path: Path) -> None:
    with shared(path):
        pass
    path.chmod(0o644)
    with shared(path):
        assert path.stat().st_mode & 0o777 == 0o600


def claimed(path: Path) -> list[bool]:
    return [one.is_claimed for one in listed(path, RESIZE, now=EPOCH).events]


def test_a_process_that_is_alone_ends_the_claims_of_a_dead_process(path: Path) -> None:
    with shared(path) as file:
        put(file, [event(EPOCH)])
        take(file, RESIZE, claim="of the dead", count=1, now=EPOCH, until=EPOCH + 60)
    assert claimed(path) == [True]
    with shared(path):
        assert claimed(path) == [False]


def test_a_second_process_does_not_end_the_claims_of_a_living_process(path: Path) -> None:
    with shared(path) as file:
        put(file, [event(EPOCH)])
        take(file, RESIZE, claim="of the living", count=1, now=EPOCH, until=EPOCH + 60)
        with shared(path), shared(path):
            assert claimed(path) == [True]


def test_another_process_creates_the_tables_if_the_first_process_died_before(path: Path) -> None:
    path.touch()
    with shared(path) as file, shared(path) as other:
        put(file, [event(EPOCH)])
        assert len(take(other, RESIZE, claim="c", count=1, now=EPOCH, until=EPOCH + 60)) == 1
