"""How are figures shown? As a table for each case, a table of ratios, a table in Markdown for the README, and JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from tests.bench.runs import Cannot, Figures, Measured, Outcome, Void

Results = Mapping[str, Mapping[str, Outcome]]
"""The outcome of each contender in each case, by their names."""

NOT_MEASURED = "–"


class Shown(NamedTuple):
    """The texts of the tables: `items` is the word for records, `titles` has the cases by name, and `ours` comes first.

    `machine` is the text about the machine and the versions.
    """

    items: str
    titles: Mapping[str, str]
    contenders: Sequence[str]
    machine: str

    @property
    def ours(self) -> str:
        return self.contenders[0]

    @property
    def rivals(self) -> Sequence[str]:
        return self.contenders[1:]


def show(shown: Shown, results: Results, console: Console, *, per_second: float) -> None:
    """Print the tables of all cases, and then the ratios."""
    for name, title in shown.titles.items():
        console.print(
            f"\n[bold]{name}[/]: {title}   [dim]* with {per_second:,.0f} {shown.items} a second coming in",
            highlight=False,
        )
        console.print(case_table(name, results[name], shown.items, console))
    if shown.rivals:
        console.print(f"\n[bold]rival : {shown.ours}[/]   [dim]how many times better {shown.ours} is; below 1, worse")
        console.print(ratio_table(shown, results))
    console.print(markdown(shown, results), markup=False, highlight=False, soft_wrap=True)


def line(title: str, outcomes: Mapping[str, Outcome]) -> str:
    """Return the figures of one case in one line. The first contender is ours."""
    ours = next(iter(outcomes.values()))
    return f"{title}: {'; '.join(f'{name} {_in_words(outcome, ours)}' for name, outcome in outcomes.items())}"


def case_table(case: str, outcomes: Mapping[str, Outcome], items: str, console: Console) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    for heading in ("CPU µs", "range", f"{items}/s", "CPU µs*", "p50 ms*", "p99 ms*", "MB"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, outcome in outcomes.items():
        match outcome:
            case Measured():
                table.add_row(name, *_cells(outcome))
            case Void(reason):
                table.add_row(name, "[red]void")
                console.print(f"{case}, {name} is void: {reason}", style="red", markup=False)
            case Cannot():
                table.add_row(name, "cannot")
    return table


def ratio_table(shown: Shown, results: Results) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    table.add_column("", no_wrap=True)
    for heading in ("CPU", f"{shown.items}/s", "CPU*", "p50*", "p99*", "memory"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name in shown.titles:
        ours = results[name][shown.ours]
        for rival in shown.rivals:
            theirs = results[name].get(rival)
            if isinstance(ours, Measured) and isinstance(theirs, Measured):
                ratios = _ratios(ours.median, theirs.median).values()
                table.add_row(name, rival, *(NOT_MEASURED if ratio is None else f"{ratio:.1f}" for ratio in ratios))
    return table


def markdown(shown: Shown, results: Results) -> str:
    """Return the table for the README: CPU time with its lowest and highest value, and throughput.

    The machine follows below.
    """
    lines = [f"| | {' | '.join(shown.contenders)} |", "|---" * (len(shown.contenders) + 1) + "|"]
    for name, title in shown.titles.items():
        ours = results[name][shown.ours]
        cells = [_in_words(results[name].get(contender, Cannot()), ours) for contender in shown.contenders]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", shown.machine])


def as_json(results: Results) -> dict[str, dict[str, object]]:
    return {
        case: {name: {"kind": type(outcome).__name__.lower()} | asdict(outcome) for name, outcome in outcomes.items()}
        for case, outcomes in results.items()
    }


def _cells(measured: Measured) -> list[str]:
    figures = measured.median
    cpu = sorted(turn.cpu_per_record * 1e6 for turn in measured.rounds)
    return [
        f"{figures.cpu_per_record * 1e6:.1f}",
        f"{cpu[0]:.1f}–{cpu[-1]:.1f}",
        f"{figures.records_per_second:,.0f}",
        _in_units(figures.paced_cpu_per_record, 1e6),
        _in_units(figures.p50, 1e3),
        _in_units(figures.p99, 1e3),
        f"{figures.peak_memory / 1e6:.0f}",
    ]


def _in_units(seconds: float | None, in_a_second: float) -> str:
    return NOT_MEASURED if seconds is None else f"{seconds * in_a_second:.1f}"


def _in_words(outcome: Outcome, ours: Outcome) -> str:
    if not isinstance(outcome, Measured):
        return "void" if isinstance(outcome, Void) else "cannot"
    figures = outcome.median
    ratio = ""
    if isinstance(ours, Measured) and outcome is not ours:
        ratio = f"{figures.cpu_per_record / ours.median.cpu_per_record:.1f} times; "
    cpu = sorted(turn.cpu_per_record * 1e6 for turn in outcome.rounds)
    spread = f"{ratio}{_rounded(cpu[0])}–{_rounded(cpu[-1])}"
    return f"{_rounded(figures.cpu_per_record * 1e6)} µs ({spread}), {figures.records_per_second:,.0f}/s"


def _rounded(microseconds: float) -> str:
    """Return the number with two digits."""
    return f"{microseconds:.1f}" if microseconds < 10 else f"{microseconds:.0f}"


def _ratios(ours: Figures, theirs: Figures) -> dict[str, float | None]:
    """Return how many times better our figures are.

    A higher throughput is better, and less of everything else is better.
    """
    mine, others = asdict(ours), asdict(theirs)
    upside_down = "records_per_second"
    return {
        name: None
        if mine[name] is None or others[name] is None
        else mine[name] / others[name]
        if name == upside_down
        else others[name] / mine[name]
        for name in mine
    }
