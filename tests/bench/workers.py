"""What do several workers cost, and what do they gain? One, two and four workers of one host, side by side in one run.

    python tests/bench/workers.py                    everything, some twenty minutes
    python tests/bench/workers.py --case queue       one case of throughput: queue or stream-64
    python tests/bench/workers.py --case leases      what idle shards cost in a minute, with more and more workers
    python tests/bench/workers.py --case handovers   how long a shard waits when its worker is replaced

`runs.py` says what is measured about throughput, and `idle.py` and `handovers.py` about the last two.
The CPU time is that of the parent and of all its workers.
The first contender is a daemon of one process. With enough cores, the records a second should grow with the workers,
and the CPU time of a record should not.
On a machine with few cores, processes that run at the same time slow each other down. Daemons that know nothing of each
other show how much: workers should cost as much as the same number of daemons.
Each process handles ten batches at once. Only the workers of `4 workers (10)` handle ten together: each of them has two
or three, so it does less work each time that it wakes, and a message costs more.
No contender is stopped while another one has its turn, because workers that are stopped lose their leases.
"""

from __future__ import annotations

import json
import shlex
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench import contenders, handovers, idle, stream_contenders
from tests.bench.brokers import canned, canned_stream
from tests.bench.contenders import CONCURRENCY, Case
from tests.bench.machine import described
from tests.bench.runs import Entry, Load, Measured, Outcome, run_case
from tests.bench.screen import bar_of, warn_if_busy
from tests.bench.stream_contenders import StreamCase
from tests.bench.tables import Shown, as_json, line, show

PER_SECOND = 300.0
PACED = 600

LEASES = "leases"
IDLE_SHARDS = (64, 1_000)
SIZES = (1, 2, 4)

HANDOVERS = "handovers"
REPLACEMENTS = 150
"""Three workers are replaced in turn, so this is as much as fifty deploys."""

QUEUE = Case(name="queue", title="a queue, Lambda function, batches of 10")
STREAM = StreamCase(
    name="stream-64",
    title="Kinesis, 64 shards, 1,000 records a read",
    shards=64,
    records_in_a_read=1_000,
    backlog=96_000,
)

console = Console()


class Compared(NamedTuple):
    """A case, the contenders that take part in it, and their load."""

    title: str
    entries: Sequence[Entry[Any]]
    load: Load


Command = Callable[[Any, Path], list[str] | None]


def _queue_command(processes: int, broker: Any, folder: Path) -> list[str]:
    """Return the command of a daemon that handles ten batches at once for each of these processes."""
    case = replace(QUEUE, concurrency=CONCURRENCY * processes)
    return contenders.daemon_command(case, broker, folder) or []


def _workers(size: int, alone: Command) -> Command:
    return lambda source, folder: [*(alone(source, folder) or ()), "--workers", str(size)]


def _daemons(size: int) -> Command:
    """Return a command that starts daemons, with a folder for each, and ends them when it ends."""

    def command(broker: Any, folder: Path) -> list[str]:
        starts = []
        for number in range(size):
            own = folder / str(number)
            own.mkdir()
            starts.append(f'{shlex.join(_queue_command(1, broker, own))} & daemons="$daemons $!"')
        return ["/bin/sh", "-c", f"trap 'kill $daemons; wait' TERM; {'; '.join(starts)}; wait"]

    return command


_queue = partial(canned, queue_name=QUEUE.queue_name)
_stream = partial(canned_stream, kind=STREAM.kind, shards=STREAM.shards, records_in_a_read=STREAM.records_in_a_read)
_stream_command = partial(stream_contenders.daemon_command, STREAM)

CASES = {
    QUEUE.name: Compared(
        QUEUE.title,
        [
            Entry("1 process", _queue, partial(_queue_command, 1)),
            Entry("2 daemons", _queue, _daemons(2)),
            Entry("2 workers", _queue, _workers(2, partial(_queue_command, 2))),
            Entry("4 daemons", _queue, _daemons(4)),
            Entry("4 workers", _queue, _workers(4, partial(_queue_command, 4))),
            Entry("4 workers (10)", _queue, _workers(4, partial(_queue_command, 1))),
        ],
        Load(16_000, 40_000, PACED, PER_SECOND),
    ),
    STREAM.name: Compared(
        STREAM.title,
        [
            Entry("1 process", _stream, _stream_command),
            Entry("2 workers", _stream, _workers(2, _stream_command)),
            Entry("4 workers", _stream, _workers(4, _stream_command)),
        ],
        Load(STREAM.backlog // 4, STREAM.backlog, 0, PER_SECOND),
    ),
}


def main(
    case: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join([*CASES, LEASES, HANDOVERS])}.")] = None,
    rounds: Annotated[int, typer.Option(help="Turns of each number of workers; the median counts.")] = 3,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all figures of throughput there.")] = None,
) -> None:
    """Measure one, two and four workers. The exit code is 1 if some figures are void."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    wanted = set(case or [*CASES, LEASES, HANDOVERS])
    if unknown := wanted - {*CASES, LEASES, HANDOVERS}:
        raise typer.BadParameter(f"no such case: {', '.join(sorted(unknown))}")
    warn_if_busy(console)
    results = _throughput({name: compared for name, compared in CASES.items() if name in wanted}, rounds)
    if json_file:
        json_file.write_text(json.dumps(as_json(results), indent=2) + "\n")
    if LEASES in wanted:
        for shards in IDLE_SHARDS:
            for size in SIZES:
                console.print(idle.told("kinesis", shards=shards, workers=size), soft_wrap=True)
    if HANDOVERS in wanted:
        console.print(handovers.told(REPLACEMENTS, signal.SIGTERM, console), soft_wrap=True)
    outcomes = [outcome for found in results.values() for outcome in found.values()]
    raise typer.Exit(0 if all(isinstance(outcome, Measured) for outcome in outcomes) else 1)


def _throughput(chosen: Mapping[str, Compared], rounds: int) -> dict[str, dict[str, Outcome]]:
    """Run these cases and print their tables."""
    results: dict[str, dict[str, Outcome]] = {}
    with bar_of((rounds + 1) * sum(len(compared.entries) for compared in chosen.values()), console) as tell:
        for name, compared in chosen.items():
            results[name] = run_case(name, compared.entries, compared.load, rounds, tell)
            console.print(line(compared.title, results[name]), markup=False, highlight=False, soft_wrap=True)
    titles = {name: compared.title for name, compared in chosen.items()}
    names = dict.fromkeys(entry.name for compared in CASES.values() for entry in compared.entries)
    if results:
        show(Shown("records", titles, list(names), described()), results, console, per_second=PER_SECOND)
    return results


if __name__ == "__main__":
    typer.run(main)
