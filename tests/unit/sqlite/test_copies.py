from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from poller.errors import CannotStore, SettingsError
from poller.sqlite.copies import copy_of, keep_copy
from poller.sqlite.kind import Kind
from tests.fakes.disk import no_file_grows_beyond

NOTES = Kind(option="daemon.notes", application_id=1, advice="write them again")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "notes.db"


@pytest.fixture
def file(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("PRAGMA journal_mode = WAL")
        file.execute("CREATE TABLE note (text)")
        file.execute("INSERT INTO note VALUES (?)", ("x" * 20_000,))
        yield file


def notes(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as copy:
        return [text for (text,) in copy.execute("SELECT text FROM note")]


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_a_copy_has_the_content_of_the_log_and_only_its_owner_may_read_it(
    path: Path, file: sqlite3.Connection, umask: int
) -> None:
    before = os.umask(umask)
    try:
        keep_copy(NOTES, path, file, 2)
    finally:
        os.umask(before)
    copy = path.with_name("notes.db.format-2")
    assert notes(copy) == ["x" * 20_000]
    assert copy.stat().st_mode & 0o777 == 0o600
    assert not list(path.parent.glob("*.unfinished"))


def test_a_copy_of_an_earlier_try_is_replaced(path: Path, file: sqlite3.Connection) -> None:
    copy_of(path, 2).write_text("of a migration that was undone since")
    Path(f"{copy_of(path, 2)}.unfinished").write_text("of a copy that was cut off")
    keep_copy(NOTES, path, file, 2)
    assert notes(copy_of(path, 2)) == ["x" * 20_000]


def test_on_a_full_disk_the_copy_of_an_earlier_try_stays(path: Path, file: sqlite3.Connection) -> None:
    copy_of(path, 2).write_text("the earlier copy")
    with no_file_grows_beyond(8192), pytest.raises(CannotStore, match="is its disk full"), NOTES.faults(path):
        keep_copy(NOTES, path, file, 2)
    assert copy_of(path, 2).read_text() == "the earlier copy"
    assert not list(path.parent.glob("*.unfinished"))


def test_the_error_names_a_copy_that_cannot_be_written(path: Path, file: sqlite3.Connection) -> None:
    copy_of(path, 2).mkdir()
    with pytest.raises(SettingsError, match=r"daemon\.notes = .*: notes\.db\.format-2 cannot be written: Is a dir"):
        keep_copy(NOTES, path, file, 2)
    assert not list(path.parent.glob("*.unfinished"))
