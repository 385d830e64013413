from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from poller.errors import InUse, SettingsError
from poller.stores.sqlite_file import SCHEMA_VERSION, owned, shown

HOLD = """
import sys
from pathlib import Path
from poller.stores.sqlite_file import owned
with owned(Path(sys.argv[1])):
    print("owned", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "poller.db"


def refused(path: Path) -> str:
    with pytest.raises(SettingsError) as caught, owned(path):
        pass
    (fault,) = caught.value.faults
    prefix = f'daemon.state = "sqlite://{path}": '
    assert fault.startswith(prefix)
    return fault.removeprefix(prefix)


def in_use(path: Path) -> str:
    with pytest.raises(InUse) as caught, owned(path):
        pass
    return str(caught.value)


def test_a_commit_is_flushed_to_the_disk_before_it_returns(path: Path) -> None:
    with owned(path) as file:
        assert file.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert file.execute("PRAGMA synchronous").fetchone() == (2,)
        assert file.in_transaction is False


def test_a_second_owner_is_told_who_the_first_is_and_the_file_is_free_afterwards(path: Path) -> None:
    with owned(path):
        assert in_use(path) == f"{path} is in use by another poller (process {os.getpid()})"
    with owned(path):
        pass


def test_another_way_to_the_same_file_is_no_way_around_its_owner(path: Path, tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(path)
    with owned(path):
        assert in_use(tmp_path / "link.db").startswith(f"{tmp_path}/link.db is in use")


def test_a_killed_owner_leaves_the_file_free(path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "owned\n"
        assert in_use(path) == f"{path} is in use by another poller (process {holder.pid})"
        holder.kill()
    with owned(path):
        pass


def test_a_folder_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "mistyped" / "poller.db"
    assert refused(path) == f"the folder {tmp_path}/mistyped does not exist"
    assert not path.parent.exists()


def test_a_file_of_another_program_is_refused_and_left_as_it_was(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE photos (name)")
    before = path.read_bytes()
    assert refused(path) == "is a database of another program"
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused_and_left_as_it_was(path: Path) -> None:
    path.write_text("[daemon]\nstate = 'memory:'\n" * 100)
    before = path.read_bytes()
    assert refused(path) == "cannot be used: file is not a database"
    assert path.read_bytes() == before


def test_a_folder_in_its_place_is_refused(path: Path) -> None:
    path.mkdir()
    assert refused(path) == "cannot be used: unable to open database file"


@pytest.mark.parametrize("version", [SCHEMA_VERSION - 1, SCHEMA_VERSION + 1])
def test_a_file_of_another_version_is_refused(path: Path, version: int) -> None:
    with owned(path) as file:
        file.execute(f"PRAGMA user_version = {version}")
    rule = f"was written by another version of poller (its format is {version}, not {SCHEMA_VERSION})"
    assert refused(path) == rule
    with pytest.raises(SettingsError, match="another version"), shown(path):
        pass


def test_an_empty_file_is_a_new_one(path: Path) -> None:
    path.touch()
    with owned(path) as file:
        assert file.execute("SELECT count(*) FROM checkpoint").fetchone() == (0,)


def test_a_file_may_be_shown_while_it_is_owned_and_not_be_written(path: Path) -> None:
    with owned(path), shown(path) as file:
        assert file is not None
        assert file.execute("SELECT count(*) FROM checkpoint").fetchone() == (0,)
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            file.execute("DELETE FROM checkpoint")


def test_to_look_at_a_file_that_nobody_uses_leaves_nothing_beside_it(path: Path) -> None:
    with owned(path):
        pass
    before = sorted(path.parent.iterdir())
    with shown(path) as file:
        assert file is not None
        assert file.execute("SELECT count(*) FROM checkpoint").fetchone() == (0,)
        assert sorted(path.parent.iterdir()) == before
    assert sorted(path.parent.iterdir()) == before


def test_what_a_killed_owner_left_in_its_log_is_shown(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    with owned(path) as file:
        file.execute("INSERT INTO start_over VALUES ('m', 'arn', 'LATEST')")
        for suffix in ("", "-wal"):
            shutil.copyfile(f"{path}{suffix}", f"{copy}{suffix}")
    with shown(copy) as file:
        assert file is not None
        assert file.execute("SELECT position FROM start_over").fetchone() == ("LATEST",)


def test_a_path_that_cannot_be_looked_at_is_refused(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 300)
    with pytest.raises(SettingsError, match="cannot be looked at: File name too long"), shown(path):
        pass


def test_what_was_never_written_shows_nothing_and_is_not_made(path: Path) -> None:
    with shown(path) as file:
        assert file is None
    assert not path.exists()
    path.touch()
    with shown(path) as file:
        assert file is None


def test_no_one_moves_a_checkpoint_back_in_the_file(path: Path) -> None:
    with owned(path) as file:
        columns = "mapping, stream_arn, shard_id, position, place"
        file.execute(f"INSERT INTO checkpoint ({columns}) VALUES ('m', 'arn', 's', 'SHARD_END', '3')")
        with pytest.raises(sqlite3.IntegrityError, match="would move back"):
            file.execute("UPDATE checkpoint SET position = 'TRIM_HORIZON', place = '0'")
