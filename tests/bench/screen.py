"""What does a bench tell while it runs? A bar that moves with every step, and whether the machine is quiet enough."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress


@contextmanager
def bar_of(steps: int, console: Console) -> Iterator[Callable[[str], None]]:
    """Gives what is to be called, with what it is, as each step begins."""
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("", total=steps)

        def tell(what: str) -> None:
            bar.update(task, description=what, advance=1)

        yield tell


def warn_if_busy(console: Console) -> None:
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load > cores / 2:
        console.print(f"[yellow]this machine is busy (load {load:.1f} on {cores} cores): the figures will be uneven")
