"""Which part of the daemon takes how much of the CPU time of a record? A profile of the whole daemon for each case.

    python tests/bench/shares.py                            every case, some two minutes
    python tests/bench/shares.py --case kinesis-64-1000     one case

`layers.py` measures the layers of a queue's message one by one. This program looks at the running daemon instead, a
thousand times in each second of CPU time (`sampled.py`), so the caches of the processor are as they are under load.
It prints the CPU time of the bare loop for the same case, too, which does nothing but the calls.
"""

from __future__ import annotations

import json
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench import sqs, streams
from tests.bench.brokers import Source
from tests.bench.contenders import DAEMON, FLOOR, Case
from tests.bench.processes import running
from tests.bench.runs import wait_until_done
from tests.bench.screen import bar_of, warn_if_busy
from tests.bench.stream_contenders import DAEMON as STREAM_DAEMON
from tests.bench.stream_contenders import FLOOR as STREAM_FLOOR
from tests.bench.stream_contenders import StreamCase

WARM_UP = 4
"""The warm-up is a backlog divided by this number."""

MESSAGES = 16_000
LONGER = 4
"""The backlog is larger than that of the comparison by this factor, so that there are enough looks."""

CASES: tuple[Case | StreamCase, ...] = (
    *(case for case in sqs.CASES if case.name in ("lambda-10", "http-10")),
    *streams.CASES,
)

console = Console()


def main(
    case: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(c.name for c in CASES)}.")] = None,
) -> None:
    """Look at the daemon while it works off a backlog, and print a table in Markdown."""
    if unknown := set(case or ()) - {each.name for each in CASES}:
        raise typer.BadParameter(f"no such case: {', '.join(sorted(unknown))}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    warn_if_busy(console)
    chosen = [each for each in CASES if not case or each.name in case]
    costs = {}
    with bar_of(2 * len(chosen), console) as tell:
        for each in chosen:
            tell(f"{each.name}: poller")
            parts = profile(each)
            tell(f"{each.name}: bare loop")
            costs[each.title] = parts | {"all parts": sum(parts.values()), "bare loop": bare_cost(each)}
    console.print("\n".join(table(costs)), markup=False, highlight=False, soft_wrap=True)


def profile(case: Case | StreamCase) -> dict[str, float]:
    """Return the CPU time in µs that each part of the daemon takes for a record of a case."""
    with tempfile.TemporaryDirectory(prefix="poller-bench-") as name:
        file = Path(name) / "looks"
        cost = _cost(case, lambda command: [*command[:2], "tests.bench.sampled", str(file), *command[3:]])
        looks = Counter(json.loads(file.read_text()))
    return {part: cost * count / looks.total() for part, count in looks.most_common()}


def bare_cost(case: Case | StreamCase) -> float:
    """Return the CPU time in µs that the bare loop takes for a record of a case."""
    return _cost(case, list, is_daemon=False)


def _cost(case: Case | StreamCase, changed: Callable[[list[str]], list[str]], *, is_daemon: bool = True) -> float:
    """Let the daemon or the bare loop work off a backlog, and return its CPU time in µs for a record.

    `changed` gets its command, and returns the command to run.
    """
    backlog = LONGER * (case.backlog if isinstance(case, StreamCase) else MESSAGES)
    with tempfile.TemporaryDirectory(prefix="poller-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        source: Source
        if isinstance(case, StreamCase):
            source = stream = stack.enter_context(streams.opened(case, folder))
            command = (STREAM_DAEMON if is_daemon else STREAM_FLOOR).command(case, stream, folder)
        else:
            source = queue = stack.enter_context(sqs.opened(case, folder))
            command = (DAEMON if is_daemon else FLOOR).command(case, queue, folder)
        assert command is not None, "both can do every case"
        child = stack.enter_context(running(changed(command), folder=folder, name="contender"))
        source.send(backlog // WARM_UP)
        wait_until_done(backlog // WARM_UP, child, source)
        began = child.cpu_seconds()
        source.send(backlog)
        wait_until_done(backlog // WARM_UP + backlog, child, source)
        return (child.cpu_seconds() - began) / backlog * 1e6


def table(costs: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    """Yield the lines of a Markdown table with a column for each case."""
    parts = dict.fromkeys(part for each in costs.values() for part in each)
    last = ("all parts", "bare loop")
    yield f"| CPU µs a record | {' | '.join(costs)} |"
    yield f"|---|{'---:|' * len(costs)}"
    for part in (*(part for part in parts if part not in last), *last):
        yield f"| {part} | {' | '.join(f'{each.get(part, 0.0):.1f}' for each in costs.values())} |"


if __name__ == "__main__":
    typer.run(main)
