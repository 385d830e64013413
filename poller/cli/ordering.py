"""What does `poller shard` do? It shows the batch that blocks a shard, and asks the running daemon for its next step.

    the daemon ── which batch blocks the shard? ──> shown to the person ── yes ──> the daemon takes the step

The request names the batch that was shown. If another batch blocks the shard meanwhile, the daemon refuses it.
Without --yes, `discard` asks first. `retry` and `bisect` lose nothing, so they do not ask.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from poller.cli.as_json import AsJson, print_json
from poller.cli.daemon import asked, meant, socket_of
from poller.cli.ending import Config, counted, refused
from poller.cli.pausing import MappingName
from poller.cli.printing import print_table
from poller.cli.times import duration, epoch_seconds
from poller.model.arn import Arn
from poller.model.order import Action

ShardName = Annotated[str, typer.Argument(metavar="SHARD", help="The id of a blocked shard; see `poller status`.")]
NextStep = Annotated[
    Action | None,
    typer.Argument(metavar="retry|bisect|discard", help="What to do with the batch. Without it, only show the batch."),
]
IsSure = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before records are discarded.")]

COLUMNS = ("records", "from", "to", "keys", "blocked for", "why")


def shard(
    name: MappingName,
    shard_id: ShardName,
    action: NextStep = None,
    config: Config = Path("poller.toml"),
    is_sure: IsSure = False,
    as_json: AsJson = False,
) -> None:
    """Show the batch that blocks a shard, and take its next step now: retry, bisect or discard it.

    Example: `poller shard welcome shardId-000000000003`, which only shows the batch

    Example: `poller shard welcome shardId-000000000003 bisect`

    `retry` invokes the function with the batch at once, and `bisect` with each half of the batch, so that a record that
    always fails is found. `discard` gives the whole batch up: it is reported to the mapping's destination, as if its
    retries were exhausted. Then the shard continues with the next record.
    """
    path = socket_of(config)
    blocked, destination = _blocked(path, name, shard_id)
    if not as_json:
        print_table(COLUMNS, [_row(blocked)])
    if action is None:
        if as_json:
            print_json(blocked)
        return
    if action == "discard" and not is_sure:
        _ask(blocked, destination)
    body = {
        "mapping": name,
        "shard": shard_id,
        "action": action,
        "start_sequence_number": blocked["start_sequence_number"],
        "end_sequence_number": blocked["end_sequence_number"],
        **meant(config),
    }
    status, answer = asked(path, "POST", "/api/shard", body)
    if status != 200:
        raise refused(str(answer.get("error")), code=1)
    if as_json:
        print_json(answer)
    else:
        typer.echo(f"Asked for: {action}. `poller status` shows what happens to the batch.")


def _blocked(path: Path, name: str, shard_id: str) -> tuple[Mapping[str, Any], str | None]:
    """Return what blocks the shard, and the mapping's destination. Ends the program if nothing blocks the shard."""
    status, report = asked(path, "GET", f"/api/shards?mapping={quote(name, safe='')}")
    if status != 200:
        raise refused(str(report.get("error")), code=1)
    for blocked in report["blocked"]:
        if blocked["shard"] == shard_id:
            return blocked, report["destination"]
    if Arn.parse(report["source"]).service == "sqs":
        raise refused(f"{name} reads a queue, which has no shards", code=1)
    others = ", ".join(blocked["shard"] for blocked in report["blocked"][:10]) or "none"
    raise refused(f"the shard {shard_id} of {name} is not blocked; blocked are: {others}", code=1)


def _row(blocked: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        str(blocked["records"]),
        blocked["start_sequence_number"] or "",
        blocked["end_sequence_number"] or "",
        ", ".join(blocked["keys"]),
        duration(time.time() - epoch_seconds(blocked["since"])),
        f"{blocked['reason']}: {blocked['detail']}" if blocked["detail"] else blocked["reason"],
    )


def _ask(blocked: Mapping[str, Any], destination: str | None) -> None:
    what, them = counted(blocked["records"], "record"), "it" if blocked["records"] == 1 else "them"
    if destination is None:
        why = (
            f"The mapping has no destination, so nothing will report {what}, and the mapping never tries {them} again."
        )
    else:
        why = f"The mapping will report {what} to {destination}, and never try {them} again."
    typer.echo(why, err=True)
    if not sys.stdin.isatty():
        raise refused("nothing was changed: standard input is not a terminal; use --yes", code=1)
    if not typer.confirm("Is that what you want?", err=True):
        raise refused("nothing was changed", code=1)
