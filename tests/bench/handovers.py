"""How long does a shard wait when its worker is replaced? Three workers share a stream, and are replaced one by one.

    python tests/bench/handovers.py [--replacements 50] [--kill]

Records are put all the time. A gap is the time from the last delivery of a shard's records by the old worker to the
first one by the next worker; the fencing token shows which worker it was. Without a hand-over, the deliveries of a
shard are about a second apart, because a quiet Kinesis shard is read once a second.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from pathlib import Path
from statistics import median, quantiles
from typing import Annotated

import anyio
import typer
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench.screen import bar_of, warn_if_busy
from tests.e2e.harness import Daemon, world
from tests.e2e.test_worker_streams import Scene, pid_of

WORKERS = 3

console = Console()


def main(
    replacements: Annotated[int, typer.Option(help="How many workers are replaced.")] = 50,
    kill: Annotated[bool, typer.Option(help="By kill -9 instead of SIGTERM.")] = False,
) -> None:
    """Print the median and the 99th percentile of the gaps."""
    warn_if_busy(console)
    console.print(told(replacements, signal.SIGKILL if kill else signal.SIGTERM, console))


def told(replacements: int, how: signal.Signals, console: Console) -> str:
    """Replace workers, and return a sentence with the gaps."""
    gaps = anyio.run(_gaps, replacements, how, console)
    return (
        f"{len(gaps)} hand-overs of shards after {replacements} times {how.name}: the gap is {median(gaps):.2f} s "
        f"(median), {quantiles(gaps, n=100)[98]:.2f} s (99th percentile), {max(gaps):.2f} s (longest)"
    )


async def _gaps(replacements: int, how: signal.Signals, console: Console) -> list[float]:
    with tempfile.TemporaryDirectory() as folder:
        async with world(Path(folder)) as around:
            scene = Scene(around)
            async with scene.playing() as daemon:
                with bar_of(replacements, console) as tell:
                    for turn in range(replacements):
                        tell(f"worker {turn % WORKERS + 1} is replaced")
                        await _replace(scene, daemon, turn % WORKERS + 1, how)
            return scene.function.gaps


async def _replace(scene: Scene, daemon: Daemon, number: int, how: signal.Signals) -> None:
    """End the worker, and wait until its next process is ready and all shards are delivered."""
    starts = len(daemon.logged("mapping_ready", worker=number))
    os.kill(pid_of(daemon, number), how)
    await scene.until(lambda: len(daemon.logged("mapping_ready", worker=number)) > starts)
    await scene.until_all_go_on()


if __name__ == "__main__":
    typer.run(main)
