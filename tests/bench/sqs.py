"""How much does a message cost? This daemon is compared with programs that a user could choose instead, in one run.

    python tests/bench/sqs.py                       everything, some three minutes
    python tests/bench/sqs.py --case lambda-10      one case
    python tests/bench/sqs.py --soak 1000000        does the daemon's memory stay flat?

`runs.py` says what is measured, and when a figure is void. `contenders.py` has the programs.
Compare only figures of the same run, on a machine with nothing else to do.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench.brokers import Broker, canned, real
from tests.bench.contenders import (
    CACHE,
    DAEMON,
    RIVALS,
    Case,
    Contender,
    NodeMissingError,
    fauxqs_command,
    install_from_npm,
)
from tests.bench.machine import described, node_versions
from tests.bench.runs import Entry, Load, Measured, Outcome, run_case
from tests.bench.screen import bar_of, warn_if_busy
from tests.bench.soak import soak_daemon
from tests.bench.tables import Results, Shown, as_json, line, show

CASES = (
    Case(name="lambda-10", title="Lambda function, batches of 10"),
    Case(name="http-10", title="HTTP function, batches of 10", target="http"),
    Case(name="fifo-100", title="FIFO queue, 100 groups, batches of 10", queue_name="orders.fifo", groups=100),
    Case(name="window-1000", title="batches of 1,000, window of 1 s", batch_size=1000, window=1),
    Case(name="fauxqs-10", title="a real queue (fauxqs), Lambda function, batches of 10", queue="fauxqs", share=0.5),
)
PACED_SECONDS = 2.0

console = Console()


def main(
    messages: Annotated[int, typer.Option(help="Messages in the backlog.")] = 8_000,
    rate: Annotated[float, typer.Option(help="Messages a second in the paced phase.")] = 300,
    case: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(c.name for c in CASES)}.")] = None,
    rounds: Annotated[int, typer.Option(help="Turns of each contender; the median counts.")] = 3,
    target_only: Annotated[bool, typer.Option(help="Measure this daemon alone; needs no node.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all figures there.")] = None,
    soak: Annotated[
        int, typer.Option(help="Instead: put this many messages through the daemon, watch its memory.")
    ] = 0,
) -> None:
    """Measure this daemon and the other programs. The exit code is 1 if the figures of this daemon are void."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if soak:
        raise typer.Exit(0 if soak_daemon(soak, console) else 1)
    cases = _chosen(case)
    contenders = [DAEMON] if target_only else [DAEMON, *RIVALS]
    if not target_only or any(each.queue == "fauxqs" for each in cases):
        cases, contenders = _with_node(cases, contenders)
    warn_if_busy(console)
    results = measure_all(cases, contenders, messages, rate, rounds)
    shown = Shown(
        "messages",
        {each.name: each.title for each in cases},
        [each.name for each in contenders],
        described(*node_versions(CACHE / "node_modules", ("sqs-consumer", "@aws-sdk/client-sqs", "fauxqs"))),
    )
    show(shown, results, console, per_second=rate)
    if json_file:
        json_file.write_text(json.dumps(as_json(results), indent=2) + "\n")
    is_void = any(not isinstance(outcomes[DAEMON.name], Measured) for outcomes in results.values())
    raise typer.Exit(1 if is_void else 0)


def measure_all(
    cases: Sequence[Case], contenders: Sequence[Contender], messages: int, rate: float, rounds: int
) -> Results:
    """Measure case by case, and print the figures of each case at its end.

    A progress bar moves at every warm-up and every turn.
    """
    results: dict[str, Mapping[str, Outcome]] = {}
    with bar_of(len(cases) * (rounds + 1) * len(contenders), console) as tell:
        for case in cases:
            load = _load(case, messages, rate)
            results[case.name] = run_case(case.name, _entries(case, contenders), load, rounds, tell)
            console.print(line(case.title, results[case.name]), markup=False, highlight=False, soft_wrap=True)
    return results


def _entries(case: Case, contenders: Sequence[Contender]) -> list[Entry[Broker]]:
    return [Entry(each.name, partial(opened, case), partial(each.command, case)) for each in contenders]


def opened(case: Case, folder: Path) -> AbstractContextManager[Broker]:
    if case.queue == "fauxqs":
        return real(folder, fauxqs_command(), queue_name=case.queue_name)
    return canned(folder, queue_name=case.queue_name, groups=case.groups)


def _load(case: Case, messages: int, rate: float) -> Load:
    """Return the numbers of records of a case.

    The warm-up has 15,000 messages, in which Node's compiler makes a consumer faster.
    """
    backlog = int(messages * case.share)
    return Load(backlog * 2, backlog, int(rate * PACED_SECONDS), rate)


def _chosen(names: list[str] | None) -> list[Case]:
    if unknown := set(names or ()) - {case.name for case in CASES}:
        raise typer.BadParameter(f"no such case: {', '.join(sorted(unknown))}")
    return [case for case in CASES if not names or case.name in names]


def _with_node(cases: list[Case], contenders: list[Contender]) -> tuple[list[Case], list[Contender]]:
    """Return all cases and contenders if node is installed.

    Otherwise print this, and return those that need no node.
    """
    try:
        install_from_npm(console.print)
    except NodeMissingError as missing:
        console.print(f"[yellow]{missing}; going on without them")
        without_node = [contender for contender in contenders if not contender.needs_node]
        return [case for case in cases if case.queue != "fauxqs"], without_node
    return cases, contenders


if __name__ == "__main__":
    typer.run(main)
