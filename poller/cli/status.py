"""What does `poller status` show? The state of each mapping of the running daemon, the troubled ones first."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.text import Text

from poller.cli.as_json import AsJson, print_json
from poller.cli.daemon import NoAnswer, answer, asked, socket_of
from poller.cli.ending import Config, refused
from poller.cli.printing import print_table, table_of
from poller.cli.times import ago, duration, epoch_seconds

REFRESH_IN_SECONDS = 2.0

ORDER = ("troubled", "waiting", "starting", "stopping", "paused", "ready", "disabled")
"""The states in the order of the list: a mapping with a blocked shard comes before all of them."""

COLUMNS = ("mapping", "state", "since", "function", "in flight", "behind", "why")


def status(
    config: Config = Path("poller.toml"),
    watch: Annotated[bool, typer.Option("--watch", help="Show the list every two seconds, until Ctrl-C.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the state of each mapping of the running daemon: what is in trouble first, and why.

    Example: `poller status --watch`

    Example: `poller status --json | jq '.mappings[] | select(.state != "ready")'`
    """
    path = socket_of(config)
    report = _report(*asked(path, "GET", "/api/status"))
    if not watch:
        _print(report, as_json=as_json)
        return
    is_screen = sys.stdout.isatty() and not as_json
    with suppress(KeyboardInterrupt), Live(auto_refresh=False) if is_screen else nullcontext() as live:
        while True:
            if live is None:
                _print(report, as_json=as_json)
            else:
                live.update(table_of(COLUMNS, _rows(report, time.time())), refresh=True)
            report = _next_report(path, live)


def _next_report(path: Path, live: Live | None) -> dict[str, Any]:
    """Wait, and return the next report. While no daemon answers, because it restarts, say so and try again."""
    while True:
        time.sleep(REFRESH_IN_SECONDS)
        try:
            return _report(*answer(path, "GET", "/api/status"))
        except NoAnswer:
            words = "no daemon answers; trying again"
            if live is None:
                typer.echo(words, err=True)
            else:
                live.update(Text(words), refresh=True)


def _print(report: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(report)
    else:
        print_table(COLUMNS, _rows(report, time.time()))


def _report(status: int, report: dict[str, Any]) -> dict[str, Any]:
    if status != 200:
        raise refused(f"the daemon does not show its status: {report.get('error')}", code=1)
    return report


def _rows(report: Mapping[str, Any], now: float) -> Iterator[Sequence[str]]:
    for name, entry in sorted(report["mappings"].items(), key=lambda item: (_rank(item[1]), item[0])):
        yield (
            name,
            _state(entry),
            _since(entry, now),
            entry["function"],
            str(entry["batches_in_flight"]),
            _behind(entry),
            "; ".join(_reasons(entry, now)),
        )
    for function, entry in sorted(report["events"].items()):
        numbers = f"{entry['waiting']} waiting, {entry['in_flight']} in flight, {entry['stuck']} stuck"
        why = f"{entry['reason']}; {numbers}" if entry["reason"] else numbers
        yield (f"events of {function}", entry["state"], _since(entry, now), function, "", "", why)
    for number, entry in report.get("workers", {}).items():
        yield (f"worker {number}", entry["state"], _since(entry, now), "", "", "", "; ".join(_of_worker(entry)))


def _behind(entry: Mapping[str, Any]) -> str:
    """Return how far a stream is behind; a mapping that reads no shard does not know it."""
    if "iterator_age_in_seconds" not in entry:
        return ""
    age = entry["iterator_age_in_seconds"]
    return "unknown" if age is None else duration(age)


def _rank(entry: Mapping[str, Any]) -> int:
    return -1 if entry.get("shards_blocked") else ORDER.index(entry["state"])


def _state(entry: Mapping[str, Any]) -> str:
    blocked = entry.get("shards_blocked")
    return f"{entry['state']}, {blocked} blocked" if blocked else str(entry["state"])


def _since(entry: Mapping[str, Any], now: float) -> str:
    return ago(now - epoch_seconds(entry["since"])) if entry["since"] else ""


def _reasons(entry: Mapping[str, Any], now: float) -> Iterator[str]:
    if entry["reason"]:
        yield str(entry["reason"])
    for shard in entry.get("blocked", ()):
        what = f"{shard['reason']}: {shard['detail']}" if shard["detail"] else shard["reason"]
        yield f"{shard['shard']} for {duration(now - epoch_seconds(shard['since']))}: {what}"


def _of_worker(entry: Mapping[str, Any]) -> Iterator[str]:
    if entry["reason"]:
        yield str(entry["reason"])
    if entry["restarts"]:
        yield f"restarted {entry['restarts']} times" if entry["restarts"] > 1 else "restarted once"
