"""Do stored positions survive `kill -9` and a loss of power at any moment?

A writer (`state_writer.py`) is killed at a random moment, after a random number of acknowledged saves. A loss of power
keeps the flushed bytes, and damages the others: the write-ahead log is cut off or damaged anywhere.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from poller.model.stream import Checkpoint, ShardId
from poller.stores.lease_by_hand import stored
from poller.stores.lease_file import shared
from poller.stores.sqlite_leases import SqliteLeaseStore
from tests.e2e import state_writer
from tests.e2e.state_writer import KEY, PAIRS, checkpoint, load, number_of, save

KILLS = 30
"""More by hand: KILLS=1000 pytest tests/e2e/test_state_survives.py"""

WRITER = Path(state_writer.__file__)
ROOT = Path(__file__).parents[2]

Acknowledged = dict[ShardId, int]


class Writer:
    """A running writer, and the saves that it has acknowledged so far."""

    def __init__(self, process: subprocess.Popen[str], acknowledged: Acknowledged) -> None:
        self.process = process
        self._acknowledged = acknowledged

    def read(self, lines: int) -> None:
        assert self.process.stdout is not None
        for _ in range(lines):
            shard_id, number = self.process.stdout.readline().split()
            self._acknowledged[ShardId(shard_id)] = int(number)

    def kill(self) -> None:
        """Kill the writer. The lines in the pipe still count; the last line may be incomplete."""
        self.process.kill()
        assert self.process.stdout is not None
        for line in self.process.stdout.read().splitlines(keepends=True):
            if line.endswith("\n"):
                shard_id, number = line.split()
                self._acknowledged[ShardId(shard_id)] = int(number)


@contextmanager
def writing(path: Path, acknowledged: Acknowledged) -> Iterator[Writer]:
    with subprocess.Popen(
        [sys.executable, str(WRITER), str(path)], stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": str(ROOT)}
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "opening\n"
            yield Writer(process, acknowledged)
        finally:
            process.kill()


def check(path: Path, acknowledged: Acknowledged) -> None:
    """The file is whole, every pair and window is of one save, and nothing acknowledged is missing.

    The stored positions count as acknowledged from then on, because the next writer begins there.
    """
    with shared(path) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    found = stored(path)
    checkpoints = found[KEY].checkpoints if found else {}
    for left, right in PAIRS:
        assert checkpoints.get(left) == checkpoints.get(right)
    for shard_id, found_there in checkpoints.items():
        assert found_there == checkpoint(number_of(found_there)), shard_id
    for shard_id, number in acknowledged.items():
        assert number <= number_of(checkpoints[shard_id]) <= number + 1
    for left, _ in PAIRS:
        if left in checkpoints:
            acknowledged[left] = number_of(checkpoints[left])


def test_every_acknowledged_save_survives_kill_9_at_any_moment(tmp_path: Path) -> None:
    randomness = random.Random()
    acknowledged: Acknowledged = {}
    path = tmp_path / "0.db"
    for kill in range(int(os.environ.get("KILLS", KILLS))):
        if kill % 5 == 0:
            path, acknowledged = tmp_path / f"{kill}.db", {}
        with writing(path, acknowledged) as writer:
            writer.read(randomness.choice([0, 1, 20, randomness.randrange(1500)]))
            writer.kill()
        check(path, acknowledged)


def test_a_copy_of_the_files_at_any_moment_has_every_save_acknowledged_by_then(tmp_path: Path) -> None:
    """The files are never older than the last acknowledged save, also in the middle of the next one."""
    randomness = random.Random()
    path, copy = tmp_path / "poller.db", tmp_path / "copy" / "poller.db"
    acknowledged: Acknowledged = {}
    with writing(path, acknowledged) as writer:
        for _ in range(20):
            writer.read(randomness.randrange(1, 300))
            writer.process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, writer.process.pid, os.WSTOPPED)
            copied(path, copy)
            writer.process.send_signal(signal.SIGCONT)
            check_prefix(copy, acknowledged)


def check_prefix(path: Path, acknowledged: Acknowledged) -> None:
    """Do the same as `check`, but allow saves whose acknowledgement is still in the pipe."""
    with shared(path):
        pass
    for shard_id, stored_there in stored(path)[KEY].checkpoints.items():
        assert stored_there == checkpoint(number_of(stored_there))
        assert number_of(stored_there) >= acknowledged.get(shard_id, 0)


def copied(path: Path, copy: Path) -> Path:
    """Copy the database and its log, as they are on the disk."""
    shutil.rmtree(copy.parent, ignore_errors=True)
    copy.parent.mkdir()
    for suffix in ["", "-wal"]:
        shutil.copyfile(f"{path}{suffix}", f"{copy}{suffix}")
    return copy


def log_end(path: Path) -> int:
    """Return where the valid frames of the log end. Later bytes of the file are from before the log began anew."""
    log = Path(f"{path}-wal").read_bytes()
    step = 24 + int.from_bytes(log[8:12], "big")
    at = 32
    while log[at + 8 : at + 16] == log[16:24] and at + step <= len(log):
        at += step
    return at


def torn(path: Path, tear: int, randomness: random.Random) -> int:
    """Damage the log from there on. Return the length of its unchanged part, because a zero may replace a zero."""
    log = Path(f"{path}-wal")
    before = log.read_bytes()
    tail = len(before) - tear
    log.write_bytes(before[:tear] + randomness.choice([b"", bytes(tail), randomness.randbytes(tail)]))
    after = log.read_bytes()
    return next((at for at in range(tear, len(after)) if before[at] != after[at]), len(after))


def state_of(path: Path) -> dict[ShardId, Checkpoint]:
    with shared(path) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    return stored(path)[KEY].checkpoints


@pytest.mark.anyio
@pytest.mark.parametrize("log_began_anew", [False, True], ids=["first log", "log begun anew"])
async def test_a_file_whose_write_ahead_log_is_cut_off_anywhere_has_the_last_complete_save(
    tmp_path: Path, log_began_anew: bool
) -> None:
    randomness = random.Random()
    path, copy = tmp_path / "poller.db", tmp_path / "copy" / "poller.db"
    async with SqliteLeaseStore(path) as store:
        await save(store, PAIRS[0], 1)
        if log_began_anew:
            for number in range(2, 100):
                await save(store, PAIRS[0], number)
            with closing(sqlite3.connect(path)) as other:
                other.execute("PRAGMA wal_checkpoint(RESTART)")
        saves = []
        for number in range(100, 130):
            await save(store, PAIRS[number % 3], number)
            saves.append((log_end(path), await load(store)))
        for _ in range(60):
            intact = torn(copied(path, copy), randomness.randrange(saves[0][0], saves[-1][0] + 1), randomness)
            expected = [state for end, state in saves if end <= intact][-1]
            assert state_of(copy) == expected, intact
