"""How do the positions get from one state into another? `poller state copy` copies them while no daemon runs.

another state    all mappings: a team goes from one daemon with a file to several daemons with a table, or back
kcl://TABLE      one mapping, whose kcl_table was removed: the daemon's state gets its positions from that table
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from poller.admin.requester import this_process
from poller.cli.as_json import AsJson, print_json
from poller.cli.change_log import log_change
from poller.cli.ending import Config, counted, examined, exit_on_failure, refused
from poller.cli.opened_state import Opened, name_of, opened
from poller.core.names import other_names
from poller.facts import ChangeMade
from poller.model.ids import MappingName
from poller.settings.state import State
from poller.settings.values import Settings
from poller.stores.lease_by_hand import NOTHING, grouped, mapping_of
from poller.stores.move_orders import told


def copy_state(
    source: Annotated[
        str,
        typer.Argument(metavar="FROM", help="The other state, written as in daemon.state; or kcl://TABLE."),
    ],
    config: Config = Path("poller.toml"),
    mapping: Annotated[
        str | None, typer.Option(metavar="NAME", help="The mapping that has used the table; needed for kcl://TABLE.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Copy all positions and pauses from another state into daemon.state. All daemons must be stopped.

    Example: `poller state copy sqlite:///var/lib/poller/poller.db`, after daemon.state was changed to "dynamodb://…".

    Example: `poller state copy kcl://my-application --mapping clicks`, after kcl_table was removed from clicks.

    The other state stays as it is. The command fails if daemon.state already has positions of its own. Those of a
    mapping that has used a table of KCL are older, so they are replaced.
    """
    settings = examined(config).settings
    if source.startswith("kcl://"):
        copied = _copied_from_kcl(settings, source.removeprefix("kcl://"), mapping, config)
        _print(settings, source, copied, as_json)
        return
    if mapping is not None:
        raise refused("--mapping goes with kcl://TABLE; all mappings of another state are copied", code=2)
    try:
        address = TypeAdapter(State).validate_python(source)
    except ValidationError as error:
        raise refused(f"{source}: {error.errors()[0]['msg']}", code=2) from None
    if "memory:" in (address, settings.daemon.state):
        raise refused("nothing is stored in a state in memory, so nothing can be copied", code=1)
    if address.startswith("sqlite://"):
        address = f"sqlite://{config.resolve().parent / address.removeprefix('sqlite://')}"
    if address == settings.daemon.state:
        raise refused("daemon.state is the same state", code=2)
    with exit_on_failure(config), opened(settings, state=address) as old:
        if old is None:
            raise refused(f"there is no state {source}", code=1)
        _refuse_while_read(old)
        with opened(settings, creates=True) as new:
            assert new is not None, "the state was created"
            _refuse_while_read(new)
            if new.hand.has_others(old.hand.rows):
                raise refused(f"nothing was changed: {name_of(settings)} already has positions", code=1)
            copied = new.loop.call(new.hand.adopt, old.hand.rows).positions
    log_change(_copied(source, f"{name_of(settings)} had no other positions"), settings)
    _print(settings, source, copied, as_json)


def _print(settings: Settings, source: str, shards: int, as_json: bool) -> None:
    if as_json:
        print_json({"from": source, "to": settings.daemon.state, "shards": shards})
    else:
        typer.echo(f"Done; {name_of(settings)} has the positions of {counted(shards, 'shard')}.")


def _copied_from_kcl(settings: Settings, table: str, name: str | None, config: Path) -> int:
    """Copy the positions of one mapping from a table of KCL, and return the number of its shards."""
    from poller.composition.event_queues import aws_settings
    from poller.composition.kcl_by_hand import rows_of_table

    if name is None:
        raise refused("kcl://TABLE needs --mapping, because the table has the positions of one mapping", code=2)
    known = {mapping.name: mapping for mapping in settings.stream_mappings}
    found = known.get(MappingName(name))
    if found is None:
        raise refused(f"there is no mapping {name} of a stream; {other_names(name, list(known))}", code=2)
    if found.kcl_table is not None:
        raise refused(f"{name} still has kcl_table, so remove this option first", code=2)
    if settings.daemon.state == "memory:":
        raise refused('daemon.state is "memory:": nothing is stored, so nothing can be copied', code=1)
    with exit_on_failure(config), opened(settings, creates=True) as state:
        assert state is not None, "the state was created"
        state.loop.call(state.hand.refuse_while_read, found.name)
        if state.hand.goes_on(found.state_key):
            what = f"{name_of(settings)} already has positions of {name}, which may be newer"
            raise refused(f"nothing was changed: {what}; `poller state set {name} TRIM_HORIZON` removes them", code=1)
        with_table = replace(found, kcl_table=table)
        rows = state.loop.call(
            partial(rows_of_table, with_table, aws_settings(settings), must_have_stopped=True, tell=_tell_of_watch)
        )
        if not rows:
            what = f"the table {table} has no leases, so choose a position by `poller state set {name}`"
            raise refused(f"nothing was changed: {what}", code=1)
        before = told(grouped(state.hand.rows).get(found.state_key, NOTHING))
        copied = state.loop.call(partial(state.hand.take_back, found.state_key, rows, table=table))
    log_change(_copied(f"kcl://{table}", before, found.name), settings)
    return copied


def _tell_of_watch(leases: int) -> None:
    what = f"a KCL application owns {counted(leases, 'lease')}; it may run, so this takes up to a minute"
    typer.echo(what, err=True)


def _copied(source: str, before: str, mapping: MappingName | None = None) -> ChangeMade:
    return ChangeMade(f"copy of the positions in {source}", this_process(), before, mapping)


def _refuse_while_read(state: Opened) -> None:
    mappings = {name for row in state.hand.rows if (name := mapping_of(row.key)) is not None}
    state.loop.call(state.hand.refuse_while_read, *sorted(map(MappingName, mappings)))
