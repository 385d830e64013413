"""How do the positions get from one state into another? `poller state copy` copies them while no daemon runs.

It serves a team that goes from one daemon with a file to several daemons with a table, or back.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from poller.cli.as_json import AsJson, print_json
from poller.cli.ending import Config, counted, examined, exit_on_failure, refused
from poller.cli.opened_state import Opened, name_of, opened
from poller.model.ids import MappingName
from poller.settings.state import State
from poller.stores.lease_by_hand import mapping_of


def copy_state(
    source: Annotated[str, typer.Argument(metavar="FROM", help="The other state, written as in daemon.state.")],
    config: Config = Path("poller.toml"),
    as_json: AsJson = False,
) -> None:
    """Copy all positions and pauses from another state into daemon.state. All daemons must be stopped.

    Example: `poller state copy sqlite:///var/lib/poller/poller.db`, after daemon.state was changed to "dynamodb://…".

    The other state stays as it is. The command fails if daemon.state already has positions of its own.
    """
    settings = examined(config).settings
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
            copied = new.loop.call(new.hand.adopt, old.hand.rows)
    if as_json:
        print_json({"from": source, "to": settings.daemon.state, "shards": copied.positions})
    else:
        typer.echo(f"Done; {name_of(settings)} has the positions of {counted(copied.positions, 'shard')}.")


def _refuse_while_read(state: Opened) -> None:
    mappings = {name for row in state.hand.rows if (name := mapping_of(row.key)) is not None}
    state.loop.call(state.hand.refuse_while_read, *sorted(map(MappingName, mappings)))
