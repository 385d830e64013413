"""How do the positions get from one state into another? `poller state copy` copies them while no daemon runs.

another state    all mappings: a team goes from one daemon with a file to several daemons with a table, or back
kcl://TABLE      one mapping, whose kcl_table was removed: the daemon's state gets its positions from that table
daemon.state     one mapping, for which kcl_table was set: that table gets its positions from the daemon's state

`copying_kcl.py` copies the positions of one mapping.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from poller.admin.requester import this_process
from poller.cli.as_json import AsJson, print_json
from poller.cli.change_log import log_change
from poller.cli.copying_kcl import Place, copy_one_mapping
from poller.cli.ending import Config, counted, examined, exit_on_failure, refused
from poller.cli.opened_state import Opened, name_of, opened
from poller.facts import ChangeMade
from poller.model.ids import MappingName
from poller.settings.state import State
from poller.sqlite.kind import DamagedRow
from poller.stores.lease_by_hand import mapping_of
from poller.stores.row_kinds import refuse_foreign


def copy_state(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FROM",
            help="The other state, written as in daemon.state; kcl://TABLE; or the word daemon.state.",
        ),
    ],
    config: Config = Path("poller.toml"),
    mapping: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The mapping to copy; needed for kcl://TABLE and the word daemon.state."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Copy all positions and pauses from another state into daemon.state, or those of one mapping from or into a table.

    All daemons must be stopped. To copy one mapping, it is enough to pause it.

    Example: `poller state copy sqlite:///var/lib/poller/poller.db`, after daemon.state was changed to "dynamodb://…".

    Example: `poller state copy kcl://my-application --mapping clicks`, after kcl_table was removed from clicks.

    Example: `poller state copy daemon.state --mapping clicks`, after kcl_table was set for clicks.

    FROM stays as it is. The command fails if daemon.state already has positions of its own. Those of a mapping that
    has used a table of KCL are older, so they are replaced. Leases in a table that gets positions are replaced, too.
    """
    settings = examined(config).settings
    if source == "daemon.state" or source.startswith("kcl://"):
        place = copy_one_mapping(settings, source, mapping, config)
        _print(source, place, as_json)
        return
    if mapping is not None:
        rule = "--mapping is only for kcl://TABLE and daemon.state; of another state, all mappings are copied"
        raise refused(rule, code=2)
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
        _refuse_damaged(old, source)
        _refuse_while_read(old)
        with opened(settings, creates=True) as new:
            assert new is not None, "the state was created"
            _refuse_while_read(new)
            if new.hand.has_others(old.hand.rows):
                raise refused(f"nothing was changed: {name_of(settings)} already has positions", code=1)
            copied = new.loop.call(new.hand.adopt, old.hand.rows).positions
    before = f"{name_of(settings)} had no other positions"
    log_change(ChangeMade(f"copy of the positions in {source}", this_process(), before), settings)
    _print(source, Place(settings.daemon.state, name_of(settings), copied), as_json)


def _print(source: str, place: Place, as_json: bool) -> None:
    if as_json:
        print_json({"from": source, "to": place.address, "shards": place.shards})
    else:
        typer.echo(f"Done; {place.name} has the positions of {counted(place.shards, 'shard')}.")


def _refuse_damaged(state: Opened, source: str) -> None:
    """Refuse a table with a row that a state file refuses: the daemon could not open the copy."""
    try:
        for row in state.hand.rows:
            refuse_foreign(row)
    except DamagedRow as error:
        raise refused(f"nothing was changed: {source} has a damaged row {error}", code=1) from None


def _refuse_while_read(state: Opened) -> None:
    mappings = {name for row in state.hand.rows if (name := mapping_of(row.key)) is not None}
    state.loop.call(state.hand.refuse_while_read, *sorted(map(MappingName, mappings)))
