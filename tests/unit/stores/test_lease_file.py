from __future__ import annotations

import fcntl
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from poller.errors import InUse, SettingsError
from poller.model.lease import Owner, Row, RowKey
from poller.model.stream import AfterSequence, Checkpoint, SequenceNumber
from poller.stores import ownership
from poller.stores.lease_file import shared, shown
from poller.stores.lease_rows import batch, create, read, scan
from poller.stores.ownership import sharing
from poller.stores.schema import FORMAT, STATE

ME = Owner(f"blue-1/{'0' * 32}")
LEASE = Row(
    key=RowKey("clicks/arn:aws:kinesis:eu-west-1:123456789012:stream/clicks/shardId-000000000000"),
    owner=ME,
    token=1,
    checkpoint=Checkpoint(AfterSequence(SequenceNumber("5"))),
    details={"since": 1_700_000_000},
)
UNIT = Row(key=RowKey(":unit/resize/1"), owner=ME, token=1)
WORKER = Row(key=RowKey(f":worker/{ME}"), owner=ME)
PAUSE = Row(key=RowKey(":pause/orders"))

HOLD = """
import sys
from pathlib import Path
from poller.stores.lease_file import shared
with shared(Path(sys.argv[1])):
    print("shared", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "poller.db"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a process that finds the file in use give up at once."""
    monkeypatch.setattr(ownership, "PATIENCE_IN_SECONDS", 0)


def test_a_commit_is_flushed_to_the_disk_before_it_returns(path: Path) -> None:
    for _ in range(2):
        with shared(path) as file:
            assert file.execute("PRAGMA journal_mode").fetchone() == ("wal",)
            assert file.execute("PRAGMA synchronous").fetchone() == (2,)
            assert file.in_transaction is False


def test_several_processes_have_the_file_open_at_the_same_time(path: Path) -> None:
    with shared(path) as first, shared(path) as second:
        create(first, batch([LEASE]))
        assert scan(second) == [LEASE]
    with shared(path) as third:
        assert len(scan(third)) == 1


def test_a_file_that_does_not_exist_or_is_empty_shows_nothing(path: Path) -> None:
    assert shown(path) is None
    path.touch()
    assert shown(path) is None
    assert path.stat().st_size == 0


def test_a_file_is_shown_while_other_processes_use_it(path: Path) -> None:
    with shared(path) as file:
        create(file, batch([LEASE, PAUSE]))
        assert shown(path) == [PAUSE, LEASE]
        create(file, batch([UNIT]))
        assert shown(path) == [PAUSE, UNIT, LEASE]


def test_a_file_of_the_previous_format_is_shown_and_does_not_change(path: Path) -> None:
    with closing(sqlite3.connect(path)) as file:
        file.executescript(Path(__file__).with_name("format_3.sql").read_text())
    before = path.read_bytes()
    rows = shown(path)
    assert path.read_bytes() == before
    with shared(path) as file:
        assert rows == scan(file)


def test_a_process_that_stays_alone_lets_no_other_process_in(path: Path, impatient: None) -> None:
    with shared(path, stays_alone=True), pytest.raises(InUse), shared(path):
        raise AssertionError("the file is not shared")
    with shared(path), shared(path, stays_alone=True), shared(path):
        pass


def test_processes_that_open_a_new_file_at_the_same_time_all_get_its_table(path: Path) -> None:
    has_come = threading.Barrier(8)

    def open_it(number: int) -> int:
        has_come.wait()
        with shared(path) as file:
            create(file, batch([Row(key=RowKey(f":unit/resize/{number}"))]))
            return len(scan(file))

    with ThreadPoolExecutor(8) as processes:
        assert max(processes.map(open_it, range(8))) == 8


def test_the_file_has_its_table_even_without_its_log(path: Path) -> None:
    with shared(path):
        Path(f"{path}-wal").unlink()
        with closing(sqlite3.connect(path)) as other:
            assert other.execute("PRAGMA application_id").fetchone() == (STATE.application_id,)
            assert other.execute("PRAGMA user_version").fetchone() == (FORMAT,)


def test_a_process_that_is_alone_frees_the_leases_of_dead_workers_and_deletes_their_rows(path: Path) -> None:
    with shared(path) as file:
        create(file, batch([LEASE, UNIT, WORKER, PAUSE]))
    for _ in range(2):
        with shared(path) as file:
            assert {row.key: row for row in scan(file)} == {
                LEASE.key: Row(
                    key=LEASE.key, counter=2, token=1, checkpoint=LEASE.checkpoint, details=dict(LEASE.details)
                ),
                UNIT.key: Row(key=UNIT.key, counter=2, token=1),
                PAUSE.key: PAUSE,
            }


def test_a_second_process_frees_no_lease_of_a_living_worker(path: Path) -> None:
    rows = [LEASE, UNIT, WORKER]
    with shared(path) as file:
        create(file, batch(rows))
        for _ in range(2):
            with shared(path) as other:
                assert read(other, [row.key for row in rows]) == {row.key: row for row in rows}


@contextmanager
def another_process(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Have the file open in another process."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "shared\n"
            yield process
        finally:
            process.kill()


@pytest.mark.slow
def test_the_leases_of_a_killed_process_are_free_for_the_next_one(path: Path) -> None:
    with another_process(path) as process:
        with shared(path) as file:
            create(file, batch([LEASE]))
        with shared(path) as file:
            assert scan(file) == [LEASE]
        process.kill()
        process.wait()
    with shared(path) as file:
        assert [row.owner for row in scan(file)] == [None]


@pytest.mark.slow
def test_a_removed_lock_file_does_not_make_a_second_process_believe_that_it_is_alone(path: Path) -> None:
    with another_process(path):
        with shared(path) as file:
            create(file, batch([LEASE]))
        Path(f"{path}-lock").unlink()
        with shared(path) as file:
            assert scan(file) == [LEASE]


@pytest.mark.usefixtures("impatient")
def test_the_error_names_the_process_that_is_alone_and_none_that_was_alone_before(path: Path) -> None:
    for _ in range(2):
        with sharing(path), pytest.raises(InUse) as error, shared(path):
            pass
        assert str(error.value) == f"{path} is in use by another poller (process {os.getpid()})"
        with shared(path), shared(path):
            assert Path(f"{path}-lock").read_bytes() == b""


@pytest.mark.usefixtures("impatient")
def test_a_process_that_is_alone_keeps_others_out_until_it_lets_them_in(path: Path) -> None:
    with sharing(path) as first:
        assert first.is_alone
        with pytest.raises(InUse), sharing(path):
            pass
        for _ in range(2):
            first.let_others_in()
            assert not first.is_alone
        with sharing(path) as second:
            assert not second.is_alone


@pytest.mark.parametrize("is_lock_file_removed", [False, True])
def test_processes_that_wait_for_an_owner_get_a_file_that_one_of_them_has_prepared(
    path: Path, is_lock_file_removed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting, all_wait, sleep = set[int](), threading.Event(), time.sleep

    def wait(seconds: float) -> None:
        waiting.add(threading.get_ident())
        if len(waiting) == 4:
            all_wait.set()
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", wait)

    def enter(number: int) -> frozenset[RowKey]:
        with shared(path) as file:
            return create(file, batch([Row(key=RowKey(f":unit/resize/{number}"))]))

    with ThreadPoolExecutor(4) as processes:
        with sharing(path):
            if is_lock_file_removed:
                Path(f"{path}-lock").unlink()
            entering = [processes.submit(enter, number) for number in range(4)]
            assert all_wait.wait(10)
        assert [one.result(10) for one in entering] == [frozenset()] * 4


def test_a_process_that_enters_while_the_owner_leaves_prepares_the_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner still has its locks when the process wants to be alone, but not when it wants to share them."""
    owner, lock_file = ExitStack(), ownership._lock_file
    owner.enter_context(sharing(path))

    def leave_before_a_share(path: Path, lock: int, kind: int = fcntl.LOCK_EX) -> None:
        if kind == fcntl.LOCK_SH:
            owner.close()
        lock_file(path, lock, kind)

    monkeypatch.setattr(ownership, "_lock_file", leave_before_a_share)
    with shared(path) as file:
        assert scan(file) == []


def test_each_process_that_shares_the_file_has_its_own_lock_on_the_database(path: Path) -> None:
    with sharing(path) as first:
        first.let_others_in()
        second = ExitStack()
        second.enter_context(sharing(path))
    Path(f"{path}-lock").unlink()
    with second, sharing(path) as third:
        assert not third.is_alone


@pytest.mark.usefixtures("impatient")
def test_a_process_does_not_use_a_file_that_the_first_one_has_not_prepared(path: Path) -> None:
    with sharing(path) as died:
        died.let_others_in()
        with pytest.raises(InUse, match="has not created its table"), shared(path):
            pass
    with shared(path) as file:
        assert scan(file) == []


def test_a_damaged_page_is_refused(path: Path) -> None:
    with shared(path) as file:
        create(
            file,
            batch([Row(key=RowKey(f":unit/resize/{number:04}"), details={"": "x" * 1000}) for number in range(100)]),
        )
    with path.open("r+b") as raw:
        raw.seek(4096 * 6)
        raw.write(b"\xff" * 4096)
    with pytest.raises(SettingsError, match="is damaged"), shared(path):
        pass
    with sharing(path) as other:
        other.let_others_in()
        with pytest.raises(SettingsError, match="is damaged"), shared(path):
            pass


def test_a_missing_folder_is_not_created(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="missing does not exist"), shared(tmp_path / "missing" / "poller.db"):
        pass
    assert not (tmp_path / "missing").exists()
