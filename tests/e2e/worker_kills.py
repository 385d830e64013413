"""Do several workers lose, disorder or read a record at the same time, whatever happens to them? A long check, by hand.

    .venv/bin/python tests/e2e/worker_kills.py --disturbances 100 --seed 1
    .venv/bin/python tests/e2e/worker_kills.py --disturbances 150 --kind stop      a rolling deploy, again and again

`worker_killing.py` says what is done, `worker_history.py` what is checked. A fault ends the program with an
AssertionError. It needs Node.js for kinesis-local; libfaketime (Debian: faketime) gives two workers a wrong clock.
"""

from __future__ import annotations

import os
import random
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles
from typing import Annotated

import anyio
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[2]))

from poller.demo.emulator import emulator
from tests.e2e.hand_over_times import STEPS, Wire
from tests.e2e.worker_history import Summary
from tests.e2e.worker_killing import Disturbance, WorkerKilling
from tests.kinesis_local import kinesis_local

ACCOUNT = "123456789012"
LONGEST_QUIET_IN_SECONDS = 4.0
LONGEST_PAUSE_IN_SECONDS = 25.0
KINDS: tuple[Disturbance, ...] = ("kill", "pause", "stop")


def main(
    disturbances: Annotated[int, typer.Option(help="How often a worker is killed, paused or stopped.")] = 100,
    kind: Annotated[Disturbance | None, typer.Option(help="The kind of all disturbances; default: all kinds.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of what is drawn here; moments differ all the same.")] = None,
) -> None:
    """Disturb three workers repeatedly, and print what the function has seen."""
    seed = random.SystemRandom().randrange(10**6) if seed is None else seed
    console = Console()
    console.print(f"seed {seed}")
    began = time.monotonic()
    killing, summary = anyio.run(
        _disturbed, disturbances, KINDS if kind is None else (kind,), random.Random(seed), console
    )
    console.print(f"{dict(killing.counts)} in {time.monotonic() - began:.0f} s")
    console.print(summary._asdict())
    percentiles = quantiles(killing.gaps, n=100)
    console.print(
        f"{len(killing.gaps)} times a shard has got another worker. From the last call of the old one to the first "
        f"call of the new one: {percentiles[49]:.1f} s (median), {percentiles[98]:.1f} s (99th percentile)."
    )
    if killing.hand_overs:
        _print_times(killing, console)
    console.print("[green]Nothing was lost, order held in every shard, and no shard was read by two workers at once.")


def _print_times(killing: WorkerKilling, console: Console) -> None:
    """Print where the time of the hand-overs went."""
    table = Table("", "median", "99 %", "longest")
    found = killing.hand_overs
    rows = [(f"until {step}", [each.parts[index] for each in found]) for index, step in enumerate(STEPS[1:])]
    rows += [
        ("the lease has no owner", [each.without_reader for each in found]),
        ("the whole hand-over", [each.at[-1] - each.at[0] for each in found]),
        ("records wait, and no call runs", [each.waited for each in found]),
        ("a record's age at the first call of the next worker", [each.age for each in found]),
        (f"a record's age at {len(killing.other_ages)} other calls", killing.other_ages),
        *((f"an answer to {name}", seconds) for name, seconds in sorted(killing.answers.items())),
    ]
    for name, seconds in rows:
        percentiles = quantiles(seconds, n=100)
        table.add_row(name, f"{percentiles[49]:.3f}", f"{percentiles[98]:.3f}", f"{max(seconds):.3f}")
    console.print(f"{len(found)} hand-overs, in seconds")
    console.print(table)


async def _disturbed(
    count: int, kinds: Sequence[Disturbance], randomness: random.Random, console: Console
) -> tuple[WorkerKilling, Summary]:
    os.environ |= {"AWS_ACCESS_KEY_ID": ACCOUNT, "AWS_SECRET_ACCESS_KEY": "test"}
    with tempfile.TemporaryDirectory() as name, Progress(console=console) as progress:
        folder = Path(name)
        async with emulator(folder) as ministack:
            with _kinesis(folder) as kinesis:
                killing = WorkerKilling(
                    folder,
                    kinesis=kinesis,
                    ministack=ministack.url,
                    account=ACCOUNT,
                    randomness=randomness,
                    longest_quiet_in_seconds=LONGEST_QUIET_IN_SECONDS,
                    longest_pause_in_seconds=LONGEST_PAUSE_IN_SECONDS,
                    most_at_once=1 if kinds == ("stop",) else 2,
                    wire=Wire() if kinds == ("stop",) else None,
                )
                task = progress.add_task("disturbed", total=count)
                chosen = [randomness.choice(kinds) for _ in range(count)]
                return killing, await killing.run(chosen, done=lambda: progress.advance(task))


@contextmanager
def _kinesis(folder: Path) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
        with kinesis_local(listener.fileno(), folder):
            listener.close()
            yield f"http://{host}:{port}"


if __name__ == "__main__":
    typer.run(main)
