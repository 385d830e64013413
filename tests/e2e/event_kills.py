"""Does `kill -9` lose an accepted event, or repeat one without need? A long look, by hand.

    .venv/bin/python tests/e2e/event_kills.py --kills 200 --seed 1

`event_killing.py` says what is done and what is checked; any fault ends it with an AssertionError.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import anyio
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.e2e.event_killing import EventKilling, Summary
from tests.e2e.harness import world


def main(
    kills: Annotated[int, typer.Option(help="How often the daemon is killed.")] = 200,
    seed: Annotated[int | None, typer.Option(help="Of what is drawn here; moments differ all the same.")] = None,
) -> None:
    """Kill the daemon again and again, and show what became of the events."""
    seed = random.SystemRandom().randrange(10**6) if seed is None else seed
    console = Console()
    console.print(f"seed {seed}")
    began = time.monotonic()
    summary = anyio.run(_killed, kills, seed, console)
    table = Table(*(name.replace("_", " ") for name in asdict(summary)))
    table.add_row(*(f"{value:,}" for value in asdict(summary).values()))
    console.print(table)
    console.print(f"{kills} kills in {time.monotonic() - began:.0f} s.")
    console.print("[green]Every accepted event ended; nothing vanished, and repetitions follow from kills only.")


async def _killed(kills: int, seed: int, console: Console) -> Summary:
    with tempfile.TemporaryDirectory() as folder, Progress(console=console) as progress:
        async with world(Path(folder)) as around:
            killing = EventKilling(around, randomness=random.Random(seed))
            task = progress.add_task("killed", total=kills)
            return await killing.run(kills, killed=lambda: progress.advance(task))


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(main)
    app()
