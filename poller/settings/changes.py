"""What changes in the daemon when its file is read again?

Each mapping and each function is made from a few values of the settings: its table, the function that it invokes, and
the endpoints of the AWS services that it calls.  It is replaced if one of these values changes, and else left alone.

    added            only the new file has it
    replaced         both files have it, and it is made from other values now
    removed          only the old file had it
    options          options of [daemon] that changed, and that the daemon reads whenever it needs them
    needs_restart    options that are read at the start only; the old value stays in use, so the next reading of the
                     file names them again
    renamed          a mapping that now reads a stream for the function for which another mapping read it before: it
                     begins anew, because positions belong to the mapping's name and the stream

A variable that [daemon] or [functions] refer to now is withheld from the child processes that start from now on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar, assert_never

from poller.model.function import ChildProcess, Function, HttpService, LambdaApi
from poller.model.ids import FunctionName, MappingName
from poller.model.mapping import AnyMapping, QueueMapping, StreamMapping
from poller.settings.daemon import DaemonOptions
from poller.settings.options import AtStart, marker
from poller.settings.table import dotted
from poller.settings.values import Daemon, Settings

Name = TypeVar("Name", MappingName, FunctionName)

READ_AT_THE_START = [name for name, field in DaemonOptions.model_fields.items() if marker(field, AtStart)]
"""Options of [daemon] that a running daemon cannot change."""


class FunctionKey(NamedTuple):
    """What a function is made from: where it is equal, the function is the same one."""

    function: Function
    endpoints: tuple[str | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference(Generic[Name]):
    """Names, each in one of three lists, in the order of the file that has them."""

    added: tuple[Name, ...] = ()
    replaced: tuple[Name, ...] = ()
    removed: tuple[Name, ...] = ()


class Renamed(NamedTuple):
    """A stream's mapping that would go on where `before` was, if it had the positions of `before`."""

    before: MappingName
    now: MappingName


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """`options` and `needs_restart` are paths; `settings` are those in use once the changes are made."""

    mappings: Difference[MappingName]
    functions: Difference[FunctionName]
    options: tuple[str, ...]
    needs_restart: tuple[str, ...]
    renamed: tuple[Renamed, ...]
    settings: Settings


def changes(in_use: Settings, written: Settings, *, failed: Collection[MappingName] = ()) -> Changes:
    """From the settings in use to those that were read now.

    `failed` are mappings that the last reload could not replace: they do not run as `in_use` says, and are replaced.
    """
    fixed = {option: getattr(in_use.daemon, option) for option in READ_AT_THE_START}
    options = [field.name for field in dataclasses.fields(Daemon)]
    changed = [option for option in options if getattr(in_use.daemon, option) != getattr(written.daemon, option)]
    return Changes(
        mappings=_difference(_mappings(in_use) | dict.fromkeys(failed), _mappings(written)),
        functions=_difference(_functions(in_use), _functions(written)),
        options=tuple(dotted(("daemon", option)) for option in changed if option not in fixed),
        needs_restart=tuple(dotted(("daemon", option)) for option in changed if option in fixed),
        renamed=tuple(_renamed(in_use, written)),
        settings=dataclasses.replace(written, daemon=dataclasses.replace(written.daemon, **fixed)),
    )


def _difference(before: Mapping[Name, object], now: Mapping[Name, object]) -> Difference[Name]:
    return Difference(
        added=tuple(name for name in now if name not in before),
        replaced=tuple(name for name in now if name in before and now[name] != before[name]),
        removed=tuple(name for name in before if name not in now),
    )


def _mappings(settings: Settings) -> dict[MappingName, object]:
    """What each mapping is made from."""
    return {mapping.name: _of_mapping(mapping, settings) for mapping in settings.mappings}


def _functions(settings: Settings) -> dict[FunctionName, object]:
    """What each function is made from."""
    return {name: function_key(function, settings.daemon) for name, function in settings.functions.items()}


def _of_mapping(mapping: AnyMapping, settings: Settings) -> tuple[Any, ...]:
    function = function_key(settings.functions[mapping.function_name], settings.daemon)
    return mapping, function, *(_endpoint(service, settings.daemon) for service in _services(mapping))


def function_key(function: Function, daemon: Daemon) -> FunctionKey:
    match function.kind:
        case LambdaApi():
            return FunctionKey(function, (_endpoint("lambda", daemon), _endpoint("sts", daemon)))
        case ChildProcess():
            return FunctionKey(function, (daemon.endpoint_url,))  # which the process gets as AWS_ENDPOINT_URL
        case HttpService():
            return FunctionKey(function, ())
        case _:
            assert_never(function.kind)


def _services(mapping: AnyMapping) -> Iterator[str]:
    """The AWS services that a mapping calls, as [daemon.endpoints] names them. STS gives the credentials of roles."""
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
    keys = {mapping.state_key for mapping in in_use.stream_mappings}
    kept = {mapping.state_key for mapping in written.stream_mappings}
    left = {_reads(mapping): mapping.name for mapping in in_use.stream_mappings if mapping.state_key not in kept}
    for mapping in written.stream_mappings:
        if mapping.state_key not in keys and (before := left.get(_reads(mapping))) is not None:
            yield Renamed(before, mapping.name)


def _reads(mapping: StreamMapping) -> tuple[str, str]:
    """A stream and its consumers have the same records and the same positions."""
    return mapping.state_key.stream_arn, mapping.function_name
