"""Does `kill -9` lose, disorder or needlessly repeat a record of a stream? A long check, by hand.

    .venv/bin/python tests/e2e/kills.py --kills 200 --seed 1

`killing.py` says what is done, `kill_history.py` what is checked. A fault ends the program with an AssertionError.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import anyio
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.e2e.harness import world
from tests.e2e.kill_history import Summary
from tests.e2e.killing import Killing


def main(
    kills: Annotated[int, typer.Option(help="How often the daemon is killed.")] = 200,
    seed: Annotated[int | None, typer.Option(help="Of what is drawn here; moments differ all the same.")] = None,
) -> None:
    """Kill the daemon repeatedly, and print how many records were repeated."""
    seed = random.SystemRandom().randrange(10**6) if seed is None else seed
    console = Console()
    console.print(f"seed {seed}")
    began = time.monotonic()
    killing, summaries = anyio.run(_killed, kills, seed, console)
    console.print(_table(summaries))
    console.print(
        f"{kills} kills in {time.monotonic() - began:.0f} s; {killing.reshardings} splits, merges and rollovers; "
        f"{killing.children} child processes were left by deaths, and ended by themselves."
    )
    console.print("[green]Nothing was lost, order held in every life, and nothing that was stored as done came again.")


async def _killed(kills: int, seed: int, console: Console) -> tuple[Killing, Mapping[str, Summary]]:
    with tempfile.TemporaryDirectory() as folder, Progress(console=console) as progress:
        async with world(Path(folder)) as around:
            killing = Killing(around, randomness=random.Random(seed))
            task = progress.add_task("killed", total=kills)
            return killing, await killing.run(kills, killed=lambda: progress.advance(task))


def _table(summaries: Mapping[str, Summary]) -> Table:
    table = Table("mapping", *(name.replace("_", " ") for name in asdict(Summary())))
    for name, summary in summaries.items():
        table.add_row(name, *(f"{value:,}" for value in asdict(summary).values()))
    return table


if __name__ == "__main__":
    typer.run(main)
