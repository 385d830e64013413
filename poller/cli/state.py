"""What can a person do with the stored positions? Show them at any time; move or rename them while nobody reads them.

Before a move, the command shows what it changes, and asks. If a worker begins to read meanwhile, nothing is changed.

    state set, a daemon runs the mapping   the command asks the daemon, which moves the positions and logs it
    state set, no daemon runs it           the command moves the positions in the file or table, and logs it
    state rename                           the command renames them, and logs it; all daemons are stopped

A daemon does not run a mapping that is disabled, or that it has not loaded yet.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from poller.admin.requester import this_process
from poller.cli.as_json import AsJson, print_json
from poller.cli.change_log import log_change
from poller.cli.daemon import running_daemon, socket_of
from poller.cli.ending import OF_CHANGES, OF_STATE, Config, counted, examined, exit_on_failure, refused, warn
from poller.cli.moving import MoveByDaemon, confirm, is_run_by
from poller.cli.opened_state import name_of, opened, opened_with_kcl_table, rows_in_kcl_table, shown_rows
from poller.cli.tables import Entry, document, entries, table
from poller.cli.workers import documents_of_units, documents_of_workers, units_table, workers_table
from poller.core.names import other_names
from poller.core.streams.written_positions import NoPosition, absolute, for_programs
from poller.errors import PollerError
from poller.facts import ChangeMade
from poller.model.ids import MappingName
from poller.model.lease import Row
from poller.model.mapping import StreamMapping
from poller.model.move import MoveOrder
from poller.settings.values import Settings
from poller.stores.lease_by_hand import NOTHING, Copied, Stored, grouped, has_begun, mapping_of, paused
from poller.stores.move_orders import told
from poller.stores.moving import Move, planned

state_commands = typer.Typer(
    help="Show the positions of streams, move them by hand, rename their mappings, and copy them from another state.",
    epilog=OF_CHANGES,
    no_args_is_help=True,
)


@state_commands.command(epilog=OF_STATE)
def show(
    mapping: Annotated[str | None, typer.Argument(metavar="MAPPING", help="Show only this mapping.")] = None,
    config: Config = Path("poller.toml"),
    as_json: AsJson = False,
) -> None:
    """Show the position of each shard, when it was saved, and who reads it. It works while daemons run.

    Example: `poller state show -c poller.toml clicks`

    Example: `poller state show --json | jq '.mappings[].shards[]'`

    It also shows the positions of streams that a mapping no longer reads; the mapping uses them if it reads the stream
    again. It names all paused mappings, also those of queues, and the workers that share the state.
    """
    settings = examined(config).settings
    with exit_on_failure(config):
        rows = None if settings.daemon.state == "memory:" else shown_rows(settings)
    found = [_with_kcl_table(entry, settings, mapping) for entry in _entries(settings, rows or [])]
    are_paused = sorted(paused(rows or []))
    if mapping is not None:
        _refuse_unless_known(mapping, (entry.key.mapping for entry in found), settings)
    found = [entry for entry in found if mapping in (None, entry.key.mapping)]
    are_paused = [name for name in are_paused if mapping in (None, name)]
    if as_json:
        _print_json(settings, rows, found, are_paused)
    elif settings.daemon.state == "memory:":
        typer.echo('daemon.state is "memory:": positions end with the process, and nothing is stored.')
    else:
        what = (
            "" if rows is not None else f": there is no such {_kind(settings)}, so mappings begin at starting_position"
        )
        typer.echo(f"{name_of(settings)}{what}")
        if are_paused:
            typer.echo(f"Paused by a person, until a person resumes them: {', '.join(are_paused)}")
        tables = [*map(table, found), *([] if mapping else [workers_table(rows or []), units_table(rows or [])])]
        for text in filter(None, tables):
            typer.echo()
            typer.echo(text)


@state_commands.command("set", epilog=OF_CHANGES)
def set_position(
    mapping: Annotated[str, typer.Argument(metavar="MAPPING", help="A key of [mappings].")],
    position: Annotated[
        str,
        typer.Argument(
            metavar="POSITION",
            help="TRIM_HORIZON; LATEST, for the records written after the mapping starts or resumes; 10m for ten "
            "minutes ago (s, m, h, d); a time as in 2026-01-31T12:00:00Z or in seconds since 1970; or a shard's "
            "sequence number.",
        ),
    ],
    config: Config = Path("poller.toml"),
    shard: Annotated[
        str | None, typer.Option(metavar="SHARD", help="Move only this shard. A sequence number needs this option.")
    ] = None,
    after: Annotated[
        bool, typer.Option("--after", help="Continue after the record with this sequence number, not at it.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation. For scripts.")] = False,
    as_json: AsJson = False,
) -> None:
    """Move a mapping, or one of its shards, forward or back. Pause the mapping before, or stop all daemons.

    Example: `poller state set clicks TRIM_HORIZON` delivers again all records that the stream still has.

    Example: `poller state set clicks LATEST` skips all undelivered records that are in the stream when it resumes.

    Example: `poller state set clicks 10m` goes to the first record that arrived ten minutes ago or later.

    Example: `poller state set clicks 2026-01-31T12:00:00Z` goes to the first record that arrived then or later.

    Example: `poller state set clicks --shard shardId-000000000001 --after 495903...` skips the records that block.

    It shows the old position, the new position and the effect, and asks for confirmation. Open windows are lost.
    """
    settings = examined(config).settings
    _refuse_unless_known(mapping, (known.name for known in settings.stream_mappings), settings)
    (found,) = (known for known in settings.stream_mappings if known.name == mapping)
    position = absolute(position, time.time())
    daemon = running_daemon(config, settings.daemon.state)
    is_run = daemon is not None and is_run_by(daemon.socket, found.name)
    if is_run or settings.daemon.state == "memory:":
        of_daemon = MoveByDaemon(daemon.socket if daemon else socket_of(config), config, found, position, shard, after)
        of_daemon.make(is_sure=yes, is_for_program=as_json)
        return
    in_state = found.kcl_table is None
    opening = opened(settings, creates=shard is None) if in_state else opened_with_kcl_table(settings, found)
    with exit_on_failure(config), opening as state:
        if state is None:
            raise refused(f"{name_of(settings)} does not exist yet, so no shard has a position to move", code=1)
        state.loop.call(state.hand.refuse_while_read, found.name)
        stored = grouped(state.hand.rows).get(found.state_key, NOTHING)
        move = _planned(found, stored, position, shard=shard, is_after=after)
        _ask(found, move, is_sure=yes, is_for_program=as_json)
        state.loop.call(partial(move.make, state.hand, kcl_table=found.kcl_table))
    from poller.admin.calls import position_moved

    order = MoveOrder(position, move.shard_id, after)
    log_change(position_moved(found.name, order, move.shard_id, told(move.before), this_process()), settings)
    if as_json:
        print_json({"mapping": mapping, "shard": move.shard_id, "position": for_programs(move.position)})
    else:
        typer.echo("Done; the mapping begins there at its next start, or when it is resumed.")


@state_commands.command("rename", epilog=OF_CHANGES)
def rename_mapping(
    old: Annotated[str, typer.Argument(metavar="OLD", help="The name under which the positions are stored.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The new key of [mappings].")],
    config: Config = Path("poller.toml"),
    as_json: AsJson = False,
) -> None:
    """Move all stored positions of a stream mapping to a new name. All daemons must be stopped.

    Example: `poller state rename clicks page_clicks`, before or after the name is changed in the file.

    Without this command, a renamed mapping begins again at its starting_position. The pause of the mapping is renamed
    too. The command fails if positions are stored under the new name.
    """
    settings = examined(config).settings
    if settings.daemon.state == "memory:":
        raise refused('daemon.state is "memory:": nothing is stored, so nothing can be renamed', code=1)
    with exit_on_failure(config), opened(settings) as state:
        if state is None:
            raise refused(f"{name_of(settings)} does not exist yet, so nothing can be renamed", code=1)
        names = {name for row in state.hand.rows if (name := mapping_of(row.key)) is not None}
        if old not in names:
            raise refused(f"nothing is stored for a mapping {old}; {other_names(old, sorted(names))}", code=2)
        state.loop.call(state.hand.refuse_while_read, MappingName(old), MappingName(new))
        if state.hand.is_mixed(MappingName(old), MappingName(new)):
            raise refused(f"nothing was changed: positions are already stored for a mapping {new}", code=1)
        renamed = state.loop.call(state.hand.rename, MappingName(old), MappingName(new))
    before = f"{old} had {_in_words(renamed)}"
    log_change(ChangeMade(f"rename of {old}", this_process(), before, MappingName(new)), settings)
    if as_json:
        print_json({"mapping": new, "former": old, "shards": renamed.positions, "is_paused": renamed.is_paused})
    else:
        typer.echo(f"Done; {new} has {_in_words(renamed)}.")
        tables = {mapping.kcl_table for mapping in settings.stream_mappings if mapping.name in (old, new)}
        for name in sorted(filter(None, tables)):
            typer.echo(f"The table {name} of a KCL application stays as it is: its positions have no mapping's name.")
    if any(mapping.name == old for mapping in settings.stream_mappings):
        warn([f"change the name in {config} too: there, {old} would now begin at its starting_position"])


def _in_words(renamed: Copied) -> str:
    parts = []
    if renamed.positions:
        parts.append(f"the positions of {counted(renamed.positions, 'shard')}")
    if renamed.starting_positions:
        parts.append("the starting position that was set by hand")
    if renamed.is_paused:
        parts.append("the pause")
    return " and ".join(parts) or "no positions in the state"


def _entries(settings: Settings, rows: list[Row]) -> list[Entry]:
    """Return the entries of the state, without the positions of mappings that have a table of KCL.

    The positions that the state has for such a mapping are too old, unless they have not been copied into the table.
    """
    with_table = {mapping.state_key for mapping in settings.stream_mappings if mapping.kcl_table is not None}
    counting = {key for key in with_table if has_begun(rows, key)}
    stored = {key: found for key, found in grouped(rows).items() if key not in with_table or key in counting}
    found = entries(settings.stream_mappings, stored)
    return [entry._replace(is_to_be_copied=entry.key in counting) for entry in found]


def _with_kcl_table(entry: Entry, settings: Settings, shown: str | None) -> Entry:
    """Return the entry with the positions in the mapping's table of KCL, if it has one and is shown."""
    is_shown = shown in (None, entry.key.mapping) and settings.daemon.state != "memory:"
    if entry.mapping is None or entry.mapping.kcl_table is None or entry.is_to_be_copied or not is_shown:
        return entry
    try:
        rows = rows_in_kcl_table(settings, entry.mapping)
    except PollerError as error:
        return entry._replace(trouble=str(error))
    return entry._replace(stored=grouped(rows).get(entry.key, NOTHING))


def _planned(mapping: StreamMapping, stored: Stored, text: str, *, shard: str | None, is_after: bool) -> Move:
    try:
        return planned(mapping.state_key, stored, text, shard=shard, is_after=is_after, now=time.time())
    except NoPosition as error:
        raise refused(str(error), code=2) from None


def _ask(mapping: StreamMapping, move: Move, *, is_sure: bool, is_for_program: bool) -> None:
    """Show the move, and ask the person unless `is_sure`. Ends the program if the answer is no."""
    shown = table(Entry(move.key, mapping, move.before))
    typer.echo("\n".join([shown, "", *move.sentences()]), err=is_for_program)
    confirm(is_sure=is_sure, is_for_program=is_for_program)


def _refuse_unless_known(name: str, known: Iterable[str], settings: Settings) -> None:
    names = list(known)
    if name in names:
        return
    if any(name == mapping.name for mapping in settings.queue_mappings):
        raise refused(f"{name} reads a queue, which has no positions", code=2)
    raise refused(f"there is no mapping {name} of a stream; {other_names(name, dict.fromkeys(names))}", code=2)


def _kind(settings: Settings) -> str:
    return "table" if settings.daemon.state.startswith("dynamodb://") else "file"


def _print_json(settings: Settings, rows: list[Row] | None, found: list[Entry], are_paused: list[MappingName]) -> None:
    shown = {
        "state": settings.daemon.state,
        "exists": rows is not None,
        "mappings": [document(entry) for entry in found],
        "paused": are_paused,
        "workers": documents_of_workers(rows or []),
        "units": documents_of_units(rows or []),
    }
    print_json(shown)
