"""How much does a stream's record cost? This daemon is compared with programs that a user could choose, in one run.

    python tests/bench/streams.py                            everything, some seven minutes
    python tests/bench/streams.py --quick                    a first look: one round
    python tests/bench/streams.py --case kinesis-8-100       one case
    python tests/bench/streams.py --slow                     a function that cannot keep up: is the memory bounded?

`runs.py` says what is measured, and when a figure is void. `stream_contenders.py` has the programs.
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

from tests.bench.brokers import CannedStream, canned_stream
from tests.bench.machine import described
from tests.bench.runs import Entry, Load, Measured, Outcome, run_case
from tests.bench.screen import bar_of, warn_if_busy
from tests.bench.soak import slow_function
from tests.bench.stream_contenders import ASYNC_KINESIS, DAEMON, RIVALS, StreamCase, StreamContender, install_from_pypi
from tests.bench.tables import Results, Shown, as_json, line, show

PER_SECOND = 200.0
PACED_SECONDS = 3.0


def _kinesis(shards: int, records_in_a_read: int, backlog: int, *, is_filtered: bool = False) -> StreamCase:
    filtered = ", filtered by data" if is_filtered else ""
    return StreamCase(
        name=f"kinesis-{shards}-{records_in_a_read}{'-filter' if is_filtered else ''}",
        title=f"Kinesis, {shards} shard{'s' if shards > 1 else ''}, {records_in_a_read:,} records a read{filtered}",
        shards=shards,
        records_in_a_read=records_in_a_read,
        is_filtered=is_filtered,
        backlog=backlog,
        paced=int(PER_SECOND * PACED_SECONDS) if shards == 8 and not is_filtered else 0,
    )


def _dynamodb(*, is_filtered: bool) -> StreamCase:
    return StreamCase(
        name=f"dynamodb-8-100{'-filter' if is_filtered else ''}",
        title=f"DynamoDB, 8 shards, 100 records a read{', filtered by image' if is_filtered else ''}",
        kind="dynamodb",
        shards=8,
        records_in_a_read=100,
        is_filtered=is_filtered,
        backlog=48_000,
        paced=0 if is_filtered else int(PER_SECOND * PACED_SECONDS),
    )


CASES = (
    _kinesis(1, 100, 2_000),
    _kinesis(8, 100, 16_000),
    _kinesis(64, 1_000, 96_000),
    _kinesis(8, 100, 16_000, is_filtered=True),
    _dynamodb(is_filtered=False),
    _dynamodb(is_filtered=True),
)

console = Console()


def main(
    case: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(c.name for c in CASES)}.")] = None,
    rounds: Annotated[int, typer.Option(help="Turns of each contender; the median counts.")] = 3,
    quick: Annotated[bool, typer.Option(help="One turn of each contender.")] = False,
    target_only: Annotated[bool, typer.Option(help="Measure this daemon alone.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all figures there.")] = None,
    slow: Annotated[bool, typer.Option(help="Instead: a function that cannot keep up; watch the memory.")] = False,
) -> None:
    """Measure this daemon and the other programs. The exit code is 1 if the figures of this daemon are void."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if slow:
        raise typer.Exit(0 if slow_function(console) else 1)
    cases = _chosen(case)
    contenders = [DAEMON] if target_only else [DAEMON, *RIVALS]
    if not target_only:
        install_from_pypi(console.print)
    warn_if_busy(console)
    results = measure_all(cases, contenders, 1 if quick else rounds)
    shown = Shown(
        "records",
        {each.name: each.title for each in cases},
        [each.name for each in contenders],
        described(ASYNC_KINESIS.replace("==", " ")),
    )
    show(shown, results, console, per_second=PER_SECOND)
    if json_file:
        json_file.write_text(json.dumps(as_json(results), indent=2) + "\n")
    is_void = any(not isinstance(outcomes[DAEMON.name], Measured) for outcomes in results.values())
    raise typer.Exit(1 if is_void else 0)


def measure_all(cases: Sequence[StreamCase], contenders: Sequence[StreamContender], rounds: int) -> Results:
    """Measure case by case, and print the figures of each case at its end.

    A progress bar moves at every warm-up and every turn.
    """
    results: dict[str, Mapping[str, Outcome]] = {}
    with bar_of(len(cases) * (rounds + 1) * len(contenders), console) as tell:
        for case in cases:
            entries = _entries(case, contenders)
            results[case.name] = run_case(case.name, entries, _load(case), rounds, tell, others_stand_still=True)
            console.print(line(case.title, results[case.name]), markup=False, highlight=False, soft_wrap=True)
    return results


def _entries(case: StreamCase, contenders: Sequence[StreamContender]) -> list[Entry[CannedStream]]:
    source = partial(opened, case)
    return [Entry(each.name, source, partial(each.command, case), each.settle_in_seconds) for each in contenders]


def opened(case: StreamCase, folder: Path) -> AbstractContextManager[CannedStream]:
    return canned_stream(folder, kind=case.kind, shards=case.shards, records_in_a_read=case.records_in_a_read)


def _load(case: StreamCase) -> Load:
    return Load(case.backlog // 4, case.backlog, case.paced, PER_SECOND)


def _chosen(names: list[str] | None) -> list[StreamCase]:
    if unknown := set(names or ()) - {case.name for case in CASES}:
        raise typer.BadParameter(f"no such case: {', '.join(sorted(unknown))}")
    return [case for case in CASES if not names or case.name in names]


if __name__ == "__main__":
    typer.run(main)
