from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from poller.errors import CannotStore, InUse, SettingsError
from poller.model.lease import Row, RowKey
from poller.model.stream import AfterSequence, Checkpoint, SequenceNumber
from poller.sqlite import kind as sqlite_kind
from poller.stores import ownership
from poller.stores.lease_file import shared, shown
from poller.stores.lease_rows import batch, create, scan
from poller.stores.schema import STATE
from tests.fakes.disk import no_file_grows_beyond

PREFIX = "clicks/arn:aws:kinesis:eu-west-1:123456789012:stream/clicks/"
AT_5 = Checkpoint(AfterSequence(SequenceNumber("5")))
A_ROW = Row(key=RowKey(f":start/{PREFIX.rstrip('/')}"), details={"position": "LATEST"})

HOLD = """
import sys
from pathlib import Path
from poller.stores import ownership
from poller.stores.lease_file import shared
ownership.PATIENCE_IN_SECONDS = 0
with shared(Path(sys.argv[1]), stays_alone=True):
    print("owned", flush=True)
    sys.stdin.read()
"""


owned = partial(shared, stays_alone=True)
"""Opens the file as a person does who changes it: no other process may use it meanwhile."""


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a process that finds the file in use give up at once."""
    monkeypatch.setattr(ownership, "PATIENCE_IN_SECONDS", 0)


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


def in_another_process(path: Path) -> str:
    """Open the file in another process, and return the error."""
    ended = subprocess.run(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1, ended.stdout
    return ended.stderr.splitlines()[-1].removeprefix("poller.errors.InUse: ")


def test_the_error_for_a_second_owner_names_the_first_and_the_file_is_free_afterwards(path: Path) -> None:
    with owned(path):
        assert in_use(path) == f"{path} is in use by another poller (process {os.getpid()})"
    with owned(path):
        pass


def test_the_name_of_an_earlier_owner_leaves_no_trace_however_long_it_was(path: Path) -> None:
    Path(f"{path}-lock").write_text("1234567890123\n")
    with owned(path):
        assert in_use(path).endswith(f"(process {os.getpid()})")


@pytest.mark.slow
def test_a_removed_lock_file_lets_no_second_owner_in(path: Path) -> None:
    lock = Path(f"{path}-lock")
    with owned(path):
        lock.unlink()
        for _ in range(2):
            assert in_another_process(path) == f"{path} is in use by another poller, whose lock file was removed"
            assert lock.read_text() == "", "a process that was refused is not named as the owner"
        assert shown(path) == []
    with owned(path):
        pass


@pytest.mark.slow
def test_a_replaced_database_lets_no_second_owner_in(path: Path) -> None:
    with owned(path):
        path.rename(path.with_suffix(".away"))
        assert in_another_process(path) == f"{path} is in use by another poller (process {os.getpid()})"


def test_another_path_to_the_same_file_is_locked_too(path: Path, tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(path)
    with owned(path):
        error = in_use(tmp_path / "link.db")
    assert error == f"{tmp_path}/link.db is in use by another poller (process {os.getpid()})"


@pytest.mark.slow
def test_a_killed_owner_no_longer_locks_the_file(path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "owned\n"
        assert in_use(path) == f"{path} is in use by another poller (process {holder.pid})"
        holder.kill()
    with owned(path):
        pass


def test_a_file_that_another_program_has_locked_is_in_use(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_kind, "BUSY_TIMEOUT_IN_SECONDS", 0)
    with owned(path):
        pass
    with closing(sqlite3.connect(path, isolation_level=None)) as program:
        program.execute("BEGIN EXCLUSIVE")
        with pytest.raises(InUse, match=r"poller\.db is in use by another program: database is locked"), owned(path):
            pass
    with owned(path):
        pass


def test_a_missing_folder_is_not_created(tmp_path: Path) -> None:
    path = tmp_path / "mistyped" / "poller.db"
    assert refused(path) == f"the folder {tmp_path}/mistyped does not exist"
    assert not path.parent.exists()


def test_a_file_of_another_program_is_refused_and_unchanged(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE photos (name)")
    before = path.read_bytes()
    assert refused(path) == "is a database of another program"
    assert path.read_bytes() == before


def test_a_file_that_is_not_a_database_is_refused_and_unchanged(path: Path) -> None:
    path.write_text("[daemon]\nstate = 'memory:'\n" * 100)
    before = path.read_bytes()
    assert refused(path) == f"is damaged: file is not a database; {STATE.advice}"
    assert path.read_bytes() == before


def test_a_folder_at_the_path_is_refused(path: Path) -> None:
    path.mkdir()
    assert refused(path) == "is a folder, not a file"
    with pytest.raises(SettingsError, match="is a folder, not a file"):
        shown(path)


def stored_in(path: Path, *, killed: bool = False) -> None:
    """Write a file with a thousand checkpoints, as an owner leaves it that closes the file or is killed."""
    with owned(path) as file:
        rows = [Row(key=RowKey(f"{PREFIX}shard-{number}"), checkpoint=AT_5) for number in range(1_000)]
        create(file, batch(rows))
        if killed:
            for suffix in ("", "-wal"):
                shutil.copyfile(f"{path}{suffix}", f"{path}{suffix}.kept")
    if killed:
        for suffix in ("", "-wal"):
            Path(f"{path}{suffix}.kept").rename(f"{path}{suffix}")


def change(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("PRAGMA ignore_check_constraints = ON")
        other.execute(statement)


@pytest.mark.parametrize("part", ["a page in the middle", "the end", "all but the first page", "a page of zeros"])
def test_the_error_of_a_damaged_file_says_what_to_do(path: Path, part: str) -> None:
    stored_in(path)
    whole = path.read_bytes()
    page, middle = 4096, len(whole) // 8192 * 4096
    damaged = {
        "a page in the middle": whole[:middle] + b"\xff" * page + whole[middle + page :],
        "the end": whole[:middle],
        "all but the first page": whole[:page],
        "a page of zeros": whole[:middle] + bytes(page) + whole[middle + page :],
    }[part]
    path.write_bytes(damaged)
    fault = refused(path)
    assert fault.startswith("is damaged: ")
    assert fault.endswith(f"; {STATE.advice}")
    assert path.read_bytes() == damaged


def test_the_advice_for_a_damaged_file_removes_its_log_before_a_copy_is_put_back() -> None:
    """SQLite would write the pages of an old log into the copy."""
    assert STATE.advice.index("-wal and -shm") < STATE.advice.index("copy")


def test_damage_in_a_page_of_another_table_is_found(path: Path) -> None:
    with owned(path) as file:
        file.execute("CREATE TABLE other (text)")
        file.execute("INSERT INTO other VALUES ('x')")
    whole = path.read_bytes()
    path.write_bytes(whole[:-4096] + b"\xff" * 4096)
    assert refused(path).startswith("is damaged: ")


def test_an_emptied_file_is_not_a_new_one(path: Path) -> None:
    stored_in(path, killed=True)
    os.truncate(path, 0)
    log = Path(f"{path}-wal").read_bytes()
    assert refused(path) == f"is damaged: it is empty, but poller.db-wal is not; {STATE.advice}"
    with pytest.raises(SettingsError, match="it is empty, but"):
        shown(path)
    assert Path(f"{path}-wal").read_bytes() == log


def test_a_file_without_its_log_still_says_that_it_is_ours(path: Path) -> None:
    """Otherwise the file would look like a new one."""
    copy = path.with_suffix(".copy")
    with owned(path):
        shutil.copyfile(path, copy)
    with closing(sqlite3.connect(copy)) as other:
        assert other.execute("PRAGMA application_id").fetchone() == (STATE.application_id,)


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ("position = 'AFTER_SEQUENCE_NUMBER x'", "is not a position"),
        ("position = 'AT_SEQUENCE_NUMBER -1'", "is not a position"),
        ("position = 'AT_TIMESTAMP nan'", "is not a position"),
        ("position = 'AT_TIMESTAMP -1'", "is not a position"),
        ("position = x'00ff'", "is not a position"),
        ("position = CAST(x'ff' AS TEXT)", "decode to UTF-8"),
        ("position = 'LATEST'", "shard-77: LATEST is not a"),
        ("position = 'SHARD_END'", "does not have the rank '2"),
        ("rank = '3'", "does not have the rank '3'"),
        ("window_start = 0", "CHECK constraint failed"),
        ("window_start = 0, window_end = 1, window_state = '{'", "the window is not whole"),
        ("window_start = 0, window_end = 1, window_state = x'7b7d'", "the window is not whole"),
        ("window_start = 'a', window_end = 1, window_state = '{}'", "the window is not whole"),
        ("counter = 0", "the counter is 0, but must be a whole number above 0"),
        ("details = '[]'", "the details are not a JSON object"),
    ],
)
def test_a_file_with_an_unreadable_row_is_refused(path: Path, changed: str, what: str) -> None:
    stored_in(path)
    change(path, f"UPDATE lease SET {changed} WHERE key = '{PREFIX}shard-77'")
    fault = refused(path)
    assert fault.startswith("is damaged: ")
    assert what in fault
    assert fault.endswith(f"; {STATE.advice}")


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ("position = 'nowhere'", "'nowhere' is not a position"),
        ("window_start = 0", "the window is not whole"),
        ("window_end = 1", "the window is not whole"),
        ("window_state = '{}'", "the window is not whole"),
    ],
)
def test_showing_a_file_with_an_unreadable_row_is_refused(path: Path, changed: str, what: str) -> None:
    stored_in(path)
    change(path, f"UPDATE lease SET {changed} WHERE key = '{PREFIX}shard-77'")
    with pytest.raises(SettingsError, match=f"is damaged: {PREFIX}shard-77: {what}"):
        shown(path)


@pytest.mark.parametrize("room", range(0, 32_000, 1500))
def test_a_full_disk_is_reported_and_with_room_the_file_can_be_used(path: Path, room: int) -> None:
    rule = rf"^{path} cannot be written: [\w /]+; is its disk full\?$"
    with no_file_grows_beyond(room), pytest.raises(CannotStore, match=rule), owned(path):
        pass
    with owned(path) as file:
        assert scan(file) == []


def test_a_file_that_may_not_grow_is_reported_as_a_full_disk(path: Path) -> None:
    """SQLite reports SQLITE_FULL if the system reports ENOSPC, and also beyond a limit of SQLite itself."""
    with owned(path) as file:
        file.execute("PRAGMA max_page_count = 1")  # it becomes the file's present size
        with pytest.raises(CannotStore, match="is its disk full"), STATE.faults(path):
            file.execute("CREATE TABLE large AS SELECT zeroblob(1000000)")


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_only_the_owner_may_read_the_files(path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with owned(path) as file:
            create(file, batch([A_ROW]))
            assert modes(path) == dict.fromkeys(
                ["poller.db", "poller.db-lock", "poller.db-shm", "poller.db-wal"], "600"
            )
    finally:
        os.umask(before)


def test_files_that_others_can_read_are_made_private(path: Path) -> None:
    stored_in(path, killed=True)
    Path(f"{path}-shm").write_bytes(bytes(32_768))  # SQLite itself would close an empty one
    for file in path.parent.iterdir():
        file.chmod(0o644)
    with owned(path):
        assert set(modes(path).values()) == {"600"}


def modes(path: Path) -> dict[str, str]:
    return {file.name: f"{file.stat().st_mode & 0o777:o}" for file in path.parent.iterdir()}


def test_an_empty_file_is_a_new_one(path: Path) -> None:
    path.touch()
    with owned(path) as file:
        assert scan(file) == []


def test_showing_an_unused_file_leaves_no_other_file_behind(path: Path) -> None:
    with owned(path):
        pass
    before = sorted(path.parent.iterdir())
    assert shown(path) == []
    assert sorted(path.parent.iterdir()) == before


def test_positions_in_the_log_of_a_killed_owner_are_shown(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    with owned(path) as file:
        create(file, batch([A_ROW]))
        for suffix in ("", "-wal"):
            shutil.copyfile(f"{path}{suffix}", f"{copy}{suffix}")
    assert shown(copy) == [A_ROW]


def test_a_path_that_cannot_be_examined_is_refused(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 300)
    with pytest.raises(SettingsError, match="cannot be read: File name too long"):
        shown(path)


def test_showing_a_file_that_does_not_exist_does_not_create_it(path: Path) -> None:
    assert shown(path) is None
    assert not path.exists()
