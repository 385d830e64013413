"""What does `poller tail` show? The records of a mapping's source that match its filters, as they come.

    a stream    from now on, or since a time, until Ctrl-C; nothing changes for any other reader
    a queue     only with --peek: up to ten messages, each received once

This command shows the bodies of records. A line for a person has no control characters, so that no record controls the
terminal.
"""

from __future__ import annotations

import base64
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from poller.cli.ending import Config, examined, exit_on_failure, refused, warn
from poller.cli.explaining import MappingArgument, mapping_named
from poller.cli.printing import printable
from poller.core import envelope
from poller.core.streams.written_positions import NoPosition, given
from poller.engine.streams.tail import TailedRecord
from poller.model.mapping import QueueMapping, StreamMapping
from poller.model.message import Message
from poller.model.stream import AtTimestamp, Latest, StartingPosition, TrimHorizon
from poller.settings.values import Settings

OF_TAILS = "Exit codes: 0 success, 1 the source cannot be read, 2 faulty settings or a faulty command line."

MESSAGES_OF_A_PEEK = 10


def tail(
    name: MappingArgument,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Begin at this time: 10m for ten minutes ago (s, m, h, d), 2026-01-31T12:00:00Z, seconds since 1970, "
            "or TRIM_HORIZON for the oldest record. Without it, only new records are shown.",
        ),
    ] = None,
    peek: Annotated[
        bool, typer.Option("--peek", help="Look at the messages of a queue, which raises their receive counts.")
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="NUMBER", help="Show at most this many records. For a queue: receive at most this many."
        ),
    ] = None,
    config: Config = Path("poller.toml"),
    as_json: Annotated[
        bool, typer.Option("--json", help="Print each record in one line of JSON, as the function would get it.")
    ] = False,
) -> None:
    """Show the records of a mapping's source that match its filters, with their bodies.

    Example: `poller tail clicks --since 10m`

    Example: `poller tail clicks --limit 1 --json | poller explain clicks --record -`

    A stream is followed until Ctrl-C. The command reads each shard once a second at most, stores no position, and does
    not disturb the daemon, which may run or not.

    A queue cannot be read without a receive. With `--peek` the command receives up to ten messages once, shows them,
    and makes them visible again. It refuses FIFO queues, and queues with a redrive policy, because a look could move a
    message to the dead-letter queue.
    """
    mapping, settings = mapping_named(name, config), examined(config, prints_warnings=False).settings
    if isinstance(mapping, QueueMapping):
        _show_queue(mapping, settings, config, peek=peek, since=since, limit=limit, as_json=as_json)
    elif peek:
        raise refused("--peek is for queues: a stream is followed without it", code=2)
    else:
        _show_stream(mapping, settings, config, starting=_starting(since), limit=limit, as_json=as_json)


def _show_stream(
    mapping: StreamMapping,
    settings: Settings,
    config: Path,
    *,
    starting: StartingPosition,
    limit: int | None,
    as_json: bool,
) -> None:
    from poller.tailing import follow

    def show(tailed: TailedRecord) -> None:
        if as_json:
            typer.echo(tailed.record.encoded)
        else:
            _print(tailed.record.arrived_at, f"{tailed.shard_id} {tailed.record.sequence_number}", tailed.record.record)

    def remark(text: str) -> None:
        typer.secho(f"poller: {text}", dim=True, err=True)

    with exit_on_failure(config):
        try:
            follow(settings, mapping, starting, show=show, remark=remark, limit=limit)
        except KeyboardInterrupt:
            return


def _show_queue(
    mapping: QueueMapping,
    settings: Settings,
    config: Path,
    *,
    peek: bool,
    since: str | None,
    limit: int | None,
    as_json: bool,
) -> None:
    from poller.tailing import peek as peek_at

    if not peek:
        raise refused("a queue cannot be read without a receive; --peek receives up to ten messages once", code=2)
    if since is not None:
        raise refused("--since is for streams: a queue has no positions", code=2)

    def show(message: Message) -> None:
        if as_json:
            typer.echo(envelope.encode(message.record))
        else:
            _print(message.sent_at, message.message_id, message.record)

    with exit_on_failure(config):
        warn(["each message that is received here has a receive count that is higher by one"])
        peek_at(settings, mapping, show=show, limit=limit or MESSAGES_OF_A_PEEK)


def _starting(since: str | None) -> StartingPosition:
    """Return the position that --since names. Ends the program with exit code 2 if --since names no position."""
    if since is None:
        return Latest()
    try:
        now = time.time()
        position = given(since, is_of_shard=False, is_after=False, now=now)
    except NoPosition as error:
        raise refused(f"--since: {error}", code=2) from None
    if not isinstance(position, TrimHorizon | Latest | AtTimestamp):
        raise refused(f"--since: {since} is a sequence number, which belongs to one shard: give a time", code=2)
    return position


def _print(at: float, where: str, record: dict[str, Any]) -> None:
    moment = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    typer.secho(printable(f"{moment} {where}"), dim=True)
    typer.echo(printable(_content(record)))


def _content(record: dict[str, Any]) -> str:
    """Return the part of a record that a person wants to see: the body, the data as text, or the change of an item."""
    if "body" in record:
        return str(record["body"])
    if "kinesis" in record:
        data = base64.b64decode(record["kinesis"]["data"])
        try:
            return data.decode()
        except UnicodeDecodeError:
            return f"{len(data):,} bytes that are not UTF-8, in base64: {record['kinesis']['data']}"
    change = record["dynamodb"]
    shown = {key: change[key] for key in ("Keys", "OldImage", "NewImage") if key in change}
    return f"{record.get('eventName')} {orjson.dumps(shown).decode()}"
