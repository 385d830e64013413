"""What changes in the daemon when its file is read again?

A function depends on its table and on endpoints, but not on the options for its asynchronous events. A mapping depends
on its table, its function, and the endpoints of the AWS services that it calls. The run of a function's events depends
on the function, the options for its events, and such endpoints.
A mapping, a function or a run of events is replaced if something changes on which it depends. All others run on.
If the settings name no ARN of a function, the first mapping that uses it gives the region and the account in its ARN.
The function keeps its ARN if its mappings are changed, moved or removed. So the function and its other mappings run on.

    events           functions whose asynchronous events are run: all functions, if a file holds events
    added            only the new file has it
    replaced         both files have it, and something has changed on which it depends; or the last reload failed to
                     replace it
    removed          only the old file has it
    options          changed options of [daemon] that take effect at once
    needs_restart    changed options of [daemon] that take effect at the next start; until then the old value is in use,
                     and every reload names them; also `daemon.state` or a mapping's `kcl_table`, if another region or
                     endpoint of [daemon] would move the table
    renamed          pairs of mappings of the same stream: one reads it only in the old file, the other one only in the
                     new file; positions belong to a mapping's name, so the new one does not continue where the old one
                     stopped

A stream mapping cannot get another `kcl_table`, even if an earlier reload has removed it: then nothing changes, and the
daemon must be restarted.
The new file also decides which variables the child processes that start from now on do not inherit.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar, assert_never

from poller.errors import SettingsError
from poller.model.arn import Arn
from poller.model.function import ChildProcess, EventInvokeConfig, Function, HttpService, LambdaApi
from poller.model.ids import FunctionName, MappingName
from poller.model.mapping import QueueMapping, StreamMapping
from poller.model.stream import StateKey
from poller.settings.daemon import DaemonOptions
from poller.settings.options import AtStart, marker
from poller.settings.state import table_address
from poller.settings.table import dotted
from poller.settings.values import Daemon, Settings

Name = TypeVar("Name", MappingName, FunctionName)

READ_AT_THE_START = [name for name, field in DaemonOptions.model_fields.items() if marker(field, AtStart)]
"""Options of [daemon] that the daemon reads only when it starts."""


class FunctionKey(NamedTuple):
    """All values on which a function depends. If they are equal in the old and the new file, the function runs on.

    `function` lacks the options for its events, because the function runs on if only these options change.
    """

    function: Function
    endpoints: tuple[str | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference(Generic[Name]):
    """The changed names of mappings or of functions, in the order of the new file.

    `removed` has the order of the old file.
    """

    added: tuple[Name, ...] = ()
    replaced: tuple[Name, ...] = ()
    removed: tuple[Name, ...] = ()

    @property
    def names(self) -> tuple[Name, ...]:
        return self.added + self.replaced + self.removed

    def without(self, names: Collection[Name]) -> Difference[Name]:
        """Return the difference without these names, for example those that could not be changed."""
        added, replaced, removed = (
            tuple(name for name in of_one_kind if name not in names)
            for of_one_kind in (self.added, self.replaced, self.removed)
        )
        return Difference(added=added, replaced=replaced, removed=removed)


class Renamed(NamedTuple):
    """A mapping `now` that reads a stream which only the mapping `before` read until now.

    It would continue where `before` stopped, if it had the positions of `before`.
    """

    before: StateKey
    now: StateKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """The answer of `changes`; the module's docstring explains its fields.

    `options` and `needs_restart` are paths such as `daemon.region`.
    `settings` are those that are in use after the changes.
    """

    mappings: Difference[MappingName]
    functions: Difference[FunctionName]
    events: Difference[FunctionName]
    options: tuple[str, ...]
    needs_restart: tuple[str, ...]
    renamed: tuple[Renamed, ...]
    settings: Settings


def changes(in_use: Settings, written: Settings, *, failed: Collection[MappingName] = ()) -> Changes:
    """Return what differs between the settings in use and `written`, the settings of the file now.

    `failed` are mappings for which the last reload failed. They may run with other settings than `in_use` has, so they
    are replaced even if their settings are equal now.
    Raises SettingsError if the file has a change that a running daemon cannot make.
    """
    if faults := list(_faults(in_use, written)):
        raise SettingsError(faults)
    fixed = {option: getattr(in_use.daemon, option) for option in [*READ_AT_THE_START, "tables_at"]}
    options = [field.name for field in dataclasses.fields(Daemon)]
    changed = [option for option in options if getattr(in_use.daemon, option) != getattr(written.daemon, option)]
    settings = dataclasses.replace(
        written,
        daemon=dataclasses.replace(written.daemon, **fixed),
        functions={name: _with_kept_arn(function, in_use, written) for name, function in written.functions.items()},
        former_kcl_tables=in_use.kcl_tables,
    )
    return Changes(
        mappings=_difference(_mappings(in_use) | dict.fromkeys(failed), _mappings(settings)),
        functions=_difference(_functions(in_use), _functions(settings)),
        events=_difference(_events(in_use), _events(settings)),
        options=tuple(dotted(("daemon", option)) for option in changed if option not in fixed),
        needs_restart=tuple(needs_restart(in_use.daemon, written)),
        renamed=tuple(_renamed(in_use, written)),
        settings=settings,
    )


def needs_restart(in_use: Daemon, written: Settings) -> Iterator[str]:
    """Yield the paths of the options whose written value, or whose table, is not in use before the next start."""
    for option in READ_AT_THE_START:
        if getattr(in_use, option) != getattr(written.daemon, option):
            yield dotted(("daemon", option))
    if in_use.state == written.daemon.state and _table_of_state(in_use) != _table_of_state(written.daemon):
        yield dotted(("daemon", "state"))
    if in_use.tables_at.services != written.daemon.tables_at.services:
        for mapping in written.stream_mappings:
            if mapping.kcl_table is not None:
                yield dotted(("mappings", mapping.name, "kcl_table"))


def _table_of_state(daemon: Daemon) -> tuple[str | None, ...]:
    """Return the region and the endpoints of the table that has the state, or an empty tuple if no table has it."""
    if not daemon.state.startswith("dynamodb://"):
        return ()
    address, (dynamodb, sts) = table_address(daemon.state), daemon.tables_at.services
    return address.region or daemon.tables_at.region, address.endpoint_url or dynamodb, sts


def _faults(in_use: Settings, written: Settings) -> Iterator[str]:
    """Yield a fault for each stream mapping whose table of KCL changes, also if the mapping was removed meanwhile.

    The worker still knows the leases of the old table, and may use them, and the positions are there. If some workers
    used the new table, and others still the old one, each shard would have two readers.
    """
    before = in_use.kcl_tables
    for mapping in written.stream_mappings:
        if before.get(mapping.name, mapping.kcl_table) != mapping.kcl_table:
            yield f"{dotted(('mappings', mapping.name, 'kcl_table'))}: has changed, so the daemon must be restarted"


def _with_kept_arn(function: Function, in_use: Settings, written: Settings) -> Function:
    """Return the function with the ARN that is in use, unless the ARN must change. Its mappings do not count.

    The ARN changes with the kind of the function (a configured ARN is a part of it), and with the region and the
    account of [daemon].
    """
    before = in_use.functions.get(function.name)
    if before is None or before.arn == function.arn or before.kind != function.kind:
        return function
    if (in_use.daemon.region, in_use.daemon.account_id) != (written.daemon.region, written.daemon.account_id):
        return function
    return dataclasses.replace(function, arn=before.arn)


def _difference(before: Mapping[Name, object], now: Mapping[Name, object]) -> Difference[Name]:
    return Difference(
        added=tuple(name for name in now if name not in before),
        replaced=tuple(name for name in now if name in before and now[name] != before[name]),
        removed=tuple(name for name in before if name not in now),
    )


def _mappings(settings: Settings) -> dict[MappingName, object]:
    """Return, for each mapping, all values on which the mapping depends. If they change, the mapping is replaced."""
    return {mapping.name: _of_mapping(mapping, settings) for mapping in settings.mappings}


def _functions(settings: Settings) -> dict[FunctionName, object]:
    """Return, for each function, all values on which the function depends. If they change, the function is replaced."""
    return {name: function_key(function, settings.daemon) for name, function in settings.functions.items()}


def _events(settings: Settings) -> dict[FunctionName, object]:
    """Return, for each function, the values on which the handling of its events depends."""
    if settings.daemon.event_queue is None:
        return {}
    return {name: _of_events(function, settings) for name, function in settings.functions.items()}


def _of_events(function: Function, settings: Settings) -> tuple[Any, ...]:
    config = function.event_invoke_config
    named = (config.on_success, config.on_failure, config.dead_letter_arn, config.event_queue_arn)
    services = sorted({"sts", *(arn.service for arn in named if isinstance(arn, Arn))})
    queues = [settings.functions[name].event_invoke_config.event_queue_arn for name in named if isinstance(name, str)]
    endpoints = [_endpoint(service, settings.daemon) for service in services]
    return config, function_key(function, settings.daemon), queues, endpoints


def _of_mapping(mapping: QueueMapping | StreamMapping, settings: Settings) -> tuple[Any, ...]:
    function = function_key(settings.functions[mapping.function_name], settings.daemon)
    return mapping, function, *(_endpoint(service, settings.daemon) for service in _services(mapping))


def function_key(function: Function, daemon: Daemon) -> FunctionKey:
    function = dataclasses.replace(function, event_invoke_config=EventInvokeConfig())
    match function.kind:
        case LambdaApi():
            return FunctionKey(function, (_endpoint("lambda", daemon), _endpoint("sts", daemon)))
        case ChildProcess():
            return FunctionKey(function, (daemon.endpoint_url,))  # child processes get this url as AWS_ENDPOINT_URL
        case HttpService():
            return FunctionKey(function, ())
        case _:
            assert_never(function.kind)


def _services(mapping: QueueMapping | StreamMapping) -> Iterator[str]:
    """Yield the AWS services that a mapping calls, with the names of [daemon.endpoints]. STS issues credentials."""
    yield "sts"
    match mapping:
        case QueueMapping():
            yield "sqs"
        case StreamMapping():
            yield "kinesis" if mapping.is_kinesis else "dynamodbstreams"
            if mapping.on_failure is not None:
                yield mapping.on_failure.destination_arn.service
        case _:
            assert_never(mapping)


def _endpoint(service: str, daemon: Daemon) -> str | None:
    return daemon.endpoints.get(service, daemon.endpoint_url)


def _renamed(in_use: Settings, written: Settings) -> Iterator[Renamed]:
    """Yield pairs of an old and a new mapping of the same stream.

    Mappings with the same function are a pair. If only one old and one new mapping are left then, they are a pair, too.

    A new mapping with the table of a KCL application continues at the positions in the table, which belong to no name.
    """
    before = {mapping.state_key for mapping in in_use.stream_mappings}
    now = {mapping.state_key for mapping in written.stream_mappings}
    left = _by_stream(mapping for mapping in in_use.stream_mappings if mapping.state_key not in now)
    new = _by_stream(
        mapping for mapping in written.stream_mappings if mapping.state_key not in before and mapping.kcl_table is None
    )
    for stream, added in new.items():
        removed = left.get(stream, {})
        for function in [function for function in added if function in removed]:
            yield Renamed(removed.pop(function), added.pop(function))
        if len(removed) == len(added) == 1:
            yield Renamed(*removed.values(), *added.values())


def _by_stream(mappings: Iterable[StreamMapping]) -> Mapping[str, dict[FunctionName, StateKey]]:
    """Return the keys of the mappings, by stream and function.

    A consumer counts as its stream: both have the same positions.
    """
    found = defaultdict[str, dict[FunctionName, StateKey]](dict)
    for mapping in mappings:
        found[mapping.state_key.stream_arn][mapping.function_name] = mapping.state_key
    return found
