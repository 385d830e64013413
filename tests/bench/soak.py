"""Does the daemon's memory stay flat? One process gets very many messages, and its size is measured again and again.

The queue has all messages from the start, so that the daemon is always busy. The memory counts as flat if the second
half of the run needs at most a twentieth more than the highest value of the first half.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as ProgressBar
from rich.table import Table

from tests.bench.brokers import canned, canned_stream
from tests.bench.contenders import DAEMON, Case
from tests.bench.processes import running
from tests.bench.runs import wait_until_done
from tests.bench.stream_contenders import StreamCase, daemon_command

LOOKS = 20
ALLOWED_GROWTH = 1.05


def soak_daemon(count: int, console: Console) -> bool:
    """Print the memory at twenty moments, and the result. Return whether the memory is flat and nothing was lost."""
    sizes: list[tuple[int, int]] = []
    with tempfile.TemporaryDirectory(prefix="poller-bench-") as name, canned(Path(name)) as broker:
        command = DAEMON.command(Case(name="soak", title="soak"), broker, Path(name))
        assert command
        broker.send(count)
        begun = time.monotonic()
        with running(command, folder=Path(name), name="daemon") as child, _bar(console) as bar:
            task = bar.add_task("", total=count, memory="")
            for look in range(1, LOOKS + 1):
                wait_until_done(count * look // LOOKS, child, broker)
                sizes.append((broker.progress().done, child.memory()))
                bar.update(task, completed=sizes[-1][0], memory=f"{sizes[-1][1] / 1e6:.1f} MB")
            seconds = time.monotonic() - begun
            peak = child.peak_memory()
            faults = broker.report().faults
    first, second = (max(size for _, size in half) for half in (sizes[: LOOKS // 2], sizes[LOOKS // 2 :]))
    is_flat = second <= first * ALLOWED_GROWTH
    console.print(_table(sizes))
    console.print(f"{count:,} messages in {seconds:.0f} s, peak {peak / 1e6:.1f} MB, faults: {faults or 'none'}")
    console.print(f"memory {'stays flat' if is_flat else 'GROWS'}: {first / 1e6:.1f} MB, then {second / 1e6:.1f} MB")
    return is_flat and not faults


def _bar(console: Console) -> ProgressBar:
    return ProgressBar(BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[memory]}"), console=console)


def _table(sizes: list[tuple[int, int]]) -> Table:
    table = Table("done", "resident MB")
    for done, size in sizes:
        table.add_row(f"{done:,}", f"{size / 1e6:.1f}")
    return table


def slow_function(console: Console) -> bool:
    """Read a backlog much faster than a function takes it, which needs a second for each batch.

    Return whether memory is bounded.

    The memory is printed every two seconds. The bound is the 512 MiB that the whole process may read ahead.
    """
    case = StreamCase(name="slow", title="slow", shards=64, records_in_a_read=1_000, backlog=1_000_000)
    sizes: list[tuple[int, int]] = []
    with (
        tempfile.TemporaryDirectory(prefix="poller-bench-") as name,
        canned_stream(Path(name), kind="kinesis", shards=64, records_in_a_read=1_000, function_seconds=1.0) as stream,
    ):
        command = daemon_command(case, stream, Path(name))
        assert command
        stream.send(case.backlog)
        begun = time.monotonic()
        with running(command, folder=Path(name), name="daemon") as child:
            for look in range(1, LOOKS + 1):
                time.sleep(max(0.0, begun + look * 2 - time.monotonic()))
                child.check()
                sizes.append((stream.progress().done, child.memory()))
            peak = child.peak_memory()
    first, second = (max(size for _, size in half) for half in (sizes[: LOOKS // 2], sizes[LOOKS // 2 :]))
    is_flat = second <= first * ALLOWED_GROWTH
    console.print(_table(sizes))
    verdict = "is bounded" if is_flat else "GROWS"
    console.print(f"memory {verdict}: {first / 1e6:.0f} MB, then {second / 1e6:.0f} MB; peak {peak / 1e6:.0f} MB")
    return is_flat
