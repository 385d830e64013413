"""Do accepted events survive `kill -9` of the processes that share their file?

Two writers (`event_writer.py`) are killed after random numbers of lines, in the middle of any step.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from poller.event_queues.schema import shared
from tests.e2e import event_writer
from tests.e2e.event_writer import payload_of

KILLS = 10
"""Of two processes each. More by hand: KILLS=200 pytest tests/e2e/test_events_survive.py"""

WRITER = Path(event_writer.__file__)
ROOT = Path(__file__).parents[2]


class Ledger:
    """The lines that the writers have printed, by request id.

    `backed` and `backing` are the most attempts, because the lines of two writers come in no order.
    """

    def __init__(self) -> None:
        self.put: set[str] = set()
        self.removing: set[str] = set()
        self.removed: set[str] = set()
        self.backing: defaultdict[str, int] = defaultdict(int)
        self.backed: defaultdict[str, int] = defaultdict(int)

    def read(self, line: str) -> None:
        match line.split():
            case ["put", request_id]:
                self.put.add(request_id)
            case ["putting", "back", request_id, attempts]:
                self.backing[request_id] = max(int(attempts), self.backing[request_id])
            case ["put", "back", request_id, attempts]:
                self.backed[request_id] = max(int(attempts), self.backed[request_id])
            case ["removing", request_id]:
                self.removing.add(request_id)
            case ["removed", request_id]:
                self.removed.add(request_id)
            case _:
                raise AssertionError(line)

    def check(self, path: Path) -> None:
        """Check that the file is whole, has each accepted event once, and has no event that was removed."""
        with shared(path) as file:
            assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            rows = file.execute("SELECT request_id, attempts, payload FROM event JOIN payload USING (id)").fetchall()
            assert file.execute("SELECT count(*) FROM event").fetchone() == (len(rows),)
            assert file.execute("SELECT count(*) FROM payload").fetchone() == (len(rows),)
        found = {request_id: attempts for request_id, attempts, _ in rows}
        assert len(found) == len(rows), "an event is there twice"
        assert self.put - self.removing <= found.keys(), "an accepted event is gone"
        assert not self.removed & found.keys(), "a removed event is there"
        for request_id, attempts, payload in rows:
            assert payload == payload_of(request_id)
            assert self.backed[request_id] <= attempts <= self.backing[request_id]


@contextmanager
def writing(path: Path, name: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, str(WRITER), str(path), name], stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": str(ROOT)}
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "opening\n"
            yield process
        finally:
            process.kill()


def read(process: subprocess.Popen[str], lines: int, ledger: Ledger) -> None:
    assert process.stdout is not None
    for _ in range(lines):
        ledger.read(process.stdout.readline())


def kill(process: subprocess.Popen[str], ledger: Ledger) -> None:
    """Kill the process. The lines that it has printed are still in the pipe, and count. The last line may be cut."""
    process.kill()
    assert process.stdout is not None
    for line in process.stdout.read().splitlines(keepends=True):
        if line.endswith("\n"):
            ledger.read(line)


def test_every_accepted_event_survives_kill_9_at_any_moment(tmp_path: Path) -> None:
    randomness = random.Random()
    for number in range(int(os.environ.get("KILLS", KILLS))):
        if number % 5 == 0:
            path, ledger = tmp_path / f"{number}.db", Ledger()
        with writing(path, f"a{number}") as first, writing(path, f"b{number}") as second:
            read(first, randomness.choice([0, 1, 20, randomness.randrange(500)]), ledger)
            kill(first, ledger)
            read(second, randomness.choice([0, 1, 20, randomness.randrange(500)]), ledger)
            kill(second, ledger)
        ledger.check(path)
