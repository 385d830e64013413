"""What do asynchronous events and calls of Lambda's API cost? Run by hand: `python tests/bench/events.py`.

    event_queues.py    storing an event, without a daemon
    calls.py           events and synchronous calls through the daemon's API, beside other servers

All rows are measured in turn, and that several times. README.md explains the table.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import sys
import tempfile
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path

import anyio

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench import calls, event_queues
from tests.bench.machine import described
from tests.bench.processes import ENVIRONMENT
from tests.bench.rounds import Measured, table

SIZES = (200, 10_000)
SIZE_OF_A_CALL = 200

Measure = Callable[[Path, float], Awaitable[Measured]]


def rows() -> Iterator[tuple[str, Measure]]:
    """Yield the title of each row, and the function that measures it."""
    for size in SIZES:
        for queue in event_queues.CASES:
            yield f"{queue.title}, {size:,} bytes", partial(_of_queue, queue, size)
        for case in calls.EVENTS:
            yield f"{case.title}, {size:,} bytes", partial(_of_call, case, size)
    for case in calls.CALLS:
        yield case.title, partial(_of_call, case, SIZE_OF_A_CALL)


async def _of_queue(case: event_queues.Case, size: int, folder: Path, seconds: float) -> Measured:
    return await case.measure(folder, size, seconds)


async def _of_call(case: calls.Case, size: int, folder: Path, seconds: float) -> Measured:
    return await calls.measured(case, folder, size, seconds)


async def main(folder: Path | None, rounds: int, seconds: float, only: str) -> None:
    figures = defaultdict[str, list[Measured]](list)
    for number in range(1, rounds + 1):
        for title, measure in rows():
            if only in title:
                with tempfile.TemporaryDirectory(dir=folder) as temporary:
                    measured = await measure(Path(temporary), seconds)
                figures[title].append(measured)
                print(f"round {number} of {rounds}, {title}: {measured.per_second:,.0f} a second", flush=True)
    print(table(figures))
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    versions = described(f"SQLite {sqlite3.sqlite_version}", f"ministack {version('ministack')}")
    print(f"\n{versions}\nThe machine's load: {load}.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where the files are; it must be on a disk, not in memory")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each row is measured in a round")
    parser.add_argument("--only", default="", metavar="TEXT", help="measure only the rows whose title has this text")
    chosen = parser.parse_args()
    os.environ.clear()
    os.environ.update(ENVIRONMENT)
    arguments = (chosen.folder, chosen.rounds, chosen.seconds, chosen.only)
    anyio.run(main, *arguments, backend_options={"use_uvloop": True})
