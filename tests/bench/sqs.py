"""How much does a message cost? This daemon beside what a user would pick instead, in one run, as ratios.

    python tests/bench/sqs.py                       everything, some three minutes
    python tests/bench/sqs.py --case lambda-10      one case
    python tests/bench/sqs.py --soak 1000000        does the daemon's memory stay flat?

`runs.py` says what is measured, how, and when it is void; `contenders.py` who takes part.
Figures are for comparing within one run, on a machine with nothing else to do.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import Progress as ProgressBar
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench.contenders import DAEMON, RIVALS, Case, Contender, NodeMissingError, install_from_npm
from tests.bench.runs import Cannot, Figures, Load, Measured, Outcome, Void, run_case
from tests.bench.soak import soak_daemon

CASES = (
    Case(name="lambda-10", title="Lambda function, batches of 10"),
    Case(name="http-10", title="HTTP function, batches of 10", target="http"),
    Case(name="fifo-100", title="FIFO queue, 100 groups, batches of 10", queue_name="orders.fifo", groups=100),
    Case(name="window-1000", title="batches of 1,000, window of 1 s", batch_size=1000, window=1),
    Case(name="fauxqs-10", title="a real queue (fauxqs), Lambda function, batches of 10", queue="fauxqs", share=0.5),
)
PACED_SECONDS = 2.0

Results = dict[str, dict[str, Outcome]]
"""By the names of case and contender."""

console = Console()


def main(
    messages: Annotated[int, typer.Option(help="Messages in the backlog.")] = 8_000,
    rate: Annotated[float, typer.Option(help="Messages a second in the paced phase.")] = 300,
    case: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(c.name for c in CASES)}.")] = None,
    rounds: Annotated[int, typer.Option(help="Turns of each contender; the median counts.")] = 3,
    target_only: Annotated[bool, typer.Option(help="Measure this daemon alone; needs no node.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all figures there.")] = None,
    soak: Annotated[int, typer.Option(help="Instead: put so many messages through the daemon, watch its memory.")] = 0,
) -> None:
    """Measure this daemon beside its rivals. Exit code 1 when the daemon's own figures are void."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if soak:
        raise typer.Exit(0 if soak_daemon(soak, console) else 1)
    cases = _chosen(case)
    contenders = [DAEMON] if target_only else [DAEMON, *RIVALS]
    if not target_only or any(each.queue == "fauxqs" for each in cases):
        cases, contenders = _with_node(cases, contenders)
    _warn_if_busy()
    results = measure_all(cases, contenders, Load(messages, int(rate * PACED_SECONDS), rate), rounds)
    for each in cases:
        console.print(f"\n[bold]{each.name}[/]: {each.title}   [dim]* with {rate:,.0f} messages a second coming in")
        console.print(case_table(each, results[each.name]))
    if len(contenders) > 1:
        console.print(f"\n[bold]rival : {DAEMON.name}[/]   [dim]how many times better {DAEMON.name} is; below 1, worse")
        console.print(ratio_table(cases, results))
    if json_file:
        json_file.write_text(json.dumps(_as_json(results), indent=2) + "\n")
    is_void = any(not isinstance(outcomes[DAEMON.name], Measured) for outcomes in results.values())
    raise typer.Exit(1 if is_void else 0)


def measure_all(cases: Sequence[Case], contenders: Sequence[Contender], load: Load, rounds: int) -> Results:
    """Case by case, with a bar that moves at every warm-up and every turn."""
    with ProgressBar(console=console, transient=True) as bar:
        task = bar.add_task("", total=len(cases) * (rounds + 1) * len(contenders))

        def tell(what: str) -> None:
            bar.update(task, description=what, advance=1)

        return {case.name: run_case(case, contenders, load, rounds, tell) for case in cases}


def case_table(case: Case, outcomes: dict[str, Outcome]) -> Table:
    table = Table(box=SIMPLE_HEAD)
    table.add_column("", no_wrap=True)
    for heading in ("CPU µs", "range", "msg/s", "CPU µs*", "p50 ms*", "p99 ms*", "MB"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, outcome in outcomes.items():
        match outcome:
            case Measured():
                table.add_row(name, *_cells(outcome))
            case Void(reason):
                table.add_row(name, "[red]void")
                console.print(f"{case.name}, {name} is void: {reason}", style="red", markup=False)
            case Cannot():
                table.add_row(name, "cannot")
    return table


def ratio_table(cases: Sequence[Case], results: Results) -> Table:
    table = Table(box=SIMPLE_HEAD)
    table.add_column("", no_wrap=True)
    table.add_column("", no_wrap=True)
    for heading in ("CPU", "msg/s", "CPU*", "p50*", "p99*", "memory"):
        table.add_column(heading, justify="right", no_wrap=True)
    for case in cases:
        ours = results[case.name][DAEMON.name]
        for rival in RIVALS:
            theirs = results[case.name].get(rival.name)
            if isinstance(ours, Measured) and isinstance(theirs, Measured):
                ratios = _ratios(ours.median, theirs.median).values()
                table.add_row(case.name, rival.name, *(f"{ratio:.1f}" for ratio in ratios))
    return table


def _chosen(names: list[str] | None) -> list[Case]:
    if unknown := set(names or ()) - {case.name for case in CASES}:
        raise typer.BadParameter(f"no such case: {', '.join(sorted(unknown))}")
    return [case for case in CASES if not names or case.name in names]


def _warn_if_busy() -> None:
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load > cores / 2:
        console.print(f"[yellow]this machine is busy (load {load:.1f} on {cores} cores): the figures will be uneven")


def _with_node(cases: list[Case], contenders: list[Contender]) -> tuple[list[Case], list[Contender]]:
    """All of them if node is there; otherwise say so and go on with those that do without."""
    try:
        install_from_npm(console.print)
    except NodeMissingError as missing:
        console.print(f"[yellow]{missing}; going on without them")
        without_node = [contender for contender in contenders if not contender.needs_node]
        return [case for case in cases if case.queue != "fauxqs"], without_node
    return cases, contenders


def _cells(measured: Measured) -> list[str]:
    figures = measured.median
    cpu = sorted(turn.cpu_per_message * 1e6 for turn in measured.rounds)
    return [
        f"{figures.cpu_per_message * 1e6:.0f}",
        f"{cpu[0]:.0f}–{cpu[-1]:.0f}",
        f"{figures.messages_per_second:,.0f}",
        f"{figures.paced_cpu_per_message * 1e6:.0f}",
        f"{figures.p50 * 1e3:.1f}",
        f"{figures.p99 * 1e3:.1f}",
        f"{figures.peak_memory / 1e6:.0f}",
    ]


def _ratios(ours: Figures, theirs: Figures) -> dict[str, float]:
    """How many times better ours is: of throughput, more is better; of everything else, less."""
    mine, others = asdict(ours), asdict(theirs)
    upside_down = "messages_per_second"
    return {name: mine[name] / others[name] if name == upside_down else others[name] / mine[name] for name in mine}


def _as_json(results: Results) -> dict[str, dict[str, object]]:
    return {
        case: {name: {"kind": type(outcome).__name__.lower()} | asdict(outcome) for name, outcome in outcomes.items()}
        for case, outcomes in results.items()
    }


if __name__ == "__main__":
    typer.run(main)
