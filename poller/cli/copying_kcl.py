"""How do the positions of one mapping get into its table of a KCL application, or out of it?

    FROM            kcl_table of the mapping
    kcl://TABLE     not set any more            the state gets the positions of that table; the stream is listed to find
                                                the drained shards whose leases KCL has deleted
    daemon.state    set                         that table gets the positions of the state
    kcl://TABLE     TABLE                       nothing is copied: the positions of the table count, and no longer those
                                                of the state

As long as the positions that count are elsewhere, the mapping waits (`composition/kcl.py`, `engine/streams/rows.py`).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import typer

from poller.admin.requester import this_process
from poller.cli.change_log import log_change
from poller.cli.ending import counted, exit_on_failure, refused
from poller.cli.opened_state import Opened, name_of, opened
from poller.core.names import other_names
from poller.errors import ServiceError
from poller.facts import ChangeMade
from poller.model.ids import MappingName
from poller.model.lease import Row
from poller.model.mapping import StreamMapping
from poller.settings.values import Settings
from poller.stores.lease_by_hand import NOTHING, grouped
from poller.stores.move_orders import told


class Place(NamedTuple):
    """Where positions are now: the address, how a person calls it, and the number of shards that have a position."""

    address: str
    name: str
    shards: int


class _Copied(NamedTuple):
    """A copy of positions: the rows that the place had before, and the number of shards that it has now."""

    before: list[Row]
    shards: int


def copy_one_mapping(settings: Settings, source: str, name: str | None, config: Path) -> Place:
    """Copy the positions of a mapping from `source` to where its settings say that they are. Log the change."""
    mapping = _mapping(settings, source, name)
    with exit_on_failure(config), opened(settings, creates=True) as state:
        assert state is not None, "the state was created"
        state.loop.call(state.hand.refuse_while_read, mapping.name)
        if mapping.kcl_table is None:
            copied = _copied_from_table(settings, mapping, source.removeprefix("kcl://"), state)
        else:
            if not state.hand.has_begun(mapping.state_key):
                what = f"{name_of(settings)} has no positions of {name} that could be newer than those in its kcl_table"
                raise refused(f"nothing was changed: {what}", code=1)
            copied = (_copied_into_table if source == "daemon.state" else _chosen_table)(settings, mapping, state)
    before = told(grouped(copied.before).get(mapping.state_key, NOTHING))
    log_change(ChangeMade(f"copy of the positions in {source}", this_process(), before, mapping.name), settings)
    if mapping.kcl_table is None:
        return Place(settings.daemon.state, name_of(settings), copied.shards)
    return Place(f"kcl://{mapping.kcl_table}", f"the table {mapping.kcl_table}", copied.shards)


def _mapping(settings: Settings, source: str, name: str | None) -> StreamMapping:
    """Return the mapping of this name. Ends the program if its positions cannot be copied from `source`."""
    if name is None:
        raise refused(f"{source} needs --mapping, because a table of KCL has the positions of one mapping", code=2)
    known = {mapping.name: mapping for mapping in settings.stream_mappings}
    found = known.get(MappingName(name))
    if found is None:
        raise refused(f"there is no mapping {name} of a stream; {other_names(name, list(known))}", code=2)
    if source == "daemon.state":
        if found.kcl_table is None:
            raise refused(f"{name} has no kcl_table, so set this option first", code=2)
    elif found.kcl_table is not None and source != f"kcl://{found.kcl_table}":
        raise refused(f"{name} still has another kcl_table, so remove this option first", code=2)
    if settings.daemon.state == "memory:":
        raise refused('daemon.state is "memory:": nothing is stored, so nothing can be copied', code=1)
    return found


def _copied_from_table(settings: Settings, mapping: StreamMapping, table: str, state: Opened) -> _Copied:
    """Copy the positions from a table that the mapping has used into the state."""
    from poller.composition.event_queues import aws_settings
    from poller.composition.kcl_by_hand import positions_in_table

    name = mapping.name
    if state.hand.goes_on(mapping.state_key):
        what = f"{name_of(settings)} already has positions of {name}, which may be newer"
        raise refused(f"nothing was changed: {what}; `poller state set {name} TRIM_HORIZON` removes them", code=1)
    kind, with_table = settings.functions[mapping.function_name].kind, replace(mapping, kcl_table=table)
    read = partial(positions_in_table, with_table, kind, aws_settings(settings), tell=_tell_of_watch)
    try:
        rows = state.loop.call(read)
    except ServiceError as error:
        what = f"the shards of {mapping.event_source_arn} cannot be listed: {error}"
        raise refused(f"nothing was changed: {what}", code=1) from None
    _refuse_no_leases(with_table, rows)
    before = state.hand.rows
    return _Copied(before, state.loop.call(partial(state.hand.take_back, mapping.state_key, rows, table=table)))


def _copied_into_table(settings: Settings, mapping: StreamMapping, state: Opened) -> _Copied:
    """Copy the positions from the state into the table of the mapping."""
    from poller.composition.event_queues import aws_settings
    from poller.composition.kcl_by_hand import copy_into_table

    copy = partial(copy_into_table, mapping, state.hand, aws_settings(settings), tell=_tell_of_watch)
    return _Copied(*state.loop.call(copy))


def _chosen_table(settings: Settings, mapping: StreamMapping, state: Opened) -> _Copied:
    """Note in the state that the table of the mapping has the positions."""
    from poller.composition.event_queues import aws_settings
    from poller.composition.kcl_by_hand import rows_of_table

    read = partial(rows_of_table, mapping, aws_settings(settings), must_have_stopped=True, tell=_tell_of_watch)
    rows = state.loop.call(read)
    _refuse_no_leases(mapping, rows)
    state.loop.call(partial(state.hand.use_table, mapping.state_key, table=str(mapping.kcl_table)))
    return _Copied(state.hand.rows, len(rows))


def _refuse_no_leases(mapping: StreamMapping, rows: list[Row]) -> None:
    """End the program if the table of the mapping has no leases."""
    if not rows:
        what = f"the table {mapping.kcl_table} has no leases, so choose a position by `poller state set {mapping.name}`"
        raise refused(f"nothing was changed: {what}", code=1)


def _tell_of_watch(leases: int) -> None:
    what = f"a KCL application owns {counted(leases, 'lease')}; it may run, so this takes up to a minute"
    typer.echo(what, err=True)
