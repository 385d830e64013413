"""What does a benchmark show while it runs? A progress bar, and whether the machine is quiet enough."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress


@contextmanager
def bar_of(steps: int, console: Console) -> Iterator[Callable[[str], None]]:
    """Yield a function that must be called at the start of each step, with the name of the step."""
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("", total=steps)

        def tell(what: str) -> None:
            bar.update(task, description=what, advance=1)

        yield tell


def warn_if_busy(console: Console) -> None:
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load > cores / 2:
        console.print(f"[yellow]this machine is busy (load {load:.1f} on {cores} cores): the figures will be uneven")
