"""How does a mapping come from a request of AWS Lambda's API? It has the options and rules of a mapping in the file.

    {"EventSourceArn": "arn:…", "FunctionName": "resize", "FilterCriteria": {"Filters": [{"Pattern": "{…}"}]}}

The names of the request are translated to the names of the options. A fault has the names of the request:

    FilterCriteria.Filters[0].Pattern = "{": Invalid filter pattern definition.

A member that is null counts as absent. A `${NAME}` in a request is not replaced.
Source: AWS Lambda API Reference, "CreateEventSourceMapping".
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel

from poller.errors import SettingsError
from poller.model.mapping import QueueMapping
from poller.settings.faults import Fault, all_faults, in_lines, unknown_key
from poller.settings.mapping_rules import Taken, mapping_rules
from poller.settings.mappings import MappingOptions, mapping_value
from poller.settings.options import api_name, declaration, inner_options
from poller.settings.reading import AWS_ALONE, NO_MEANING_HERE, Entry, read
from poller.settings.references import Functions, functions_of, identity
from poller.settings.regions import invents_regions, mapping_region_rules
from poller.settings.table import Path
from poller.settings.values import Settings


def with_mapping(settings: Settings, name: str, request: object, environ: Mapping[str, str]) -> Settings:
    """Return the settings with one more mapping. No mapping may have this name yet.

    Raise SettingsError with every fault of the request.
    """
    assert all(mapping.name != name for mapping in settings.mappings)
    if not isinstance(request, dict):
        raise SettingsError(["the request must be a JSON object"])
    try:
        return _with_mapping(settings, name, request, environ)
    except RecursionError:
        raise SettingsError(["the request is nested too deeply"]) from None


def _with_mapping(settings: Settings, name: str, request: dict[str, Any], environ: Mapping[str, str]) -> Settings:
    unknown: list[Fault] = []
    table = as_options(request, MappingOptions, (), unknown)
    options, unreadable = read(MappingOptions, table, ())
    mapping, functions = Entry(name, (), options, table), functions_of(settings)
    functions.resolve(mapping)
    faults = all_faults(unreadable, _rules(mapping, functions, settings, environ))
    if unknown or faults:
        faults = [*unknown, *(fault._replace(path=_in_request(fault.path)) for fault in faults)]
        raise SettingsError(in_lines(faults, request, MappingOptions))
    value = mapping_value(mapping, functions.of_mapping[name])
    settings = dataclasses.replace(settings, functions=functions.by_name)
    if isinstance(value, QueueMapping):
        return dataclasses.replace(settings, queue_mappings=(*settings.queue_mappings, value))
    return dataclasses.replace(settings, stream_mappings=(*settings.stream_mappings, value))


def _rules(
    mapping: Entry[MappingOptions], functions: Functions, settings: Settings, environ: Mapping[str, str]
) -> Iterator[Fault]:
    yield from mapping_rules(mapping)
    if not invents_regions(settings.daemon.endpoint_url, settings.daemon.endpoints, environ):
        yield from mapping_region_rules(mapping)
    yield from functions.faults
    taken = Taken()
    for other in settings.mappings:
        function = settings.functions[other.function_name]
        taken.bindings[other.event_source_arn, identity(function.name, function)] = other.name
    yield from taken.take(mapping, functions.identity(mapping.name))


def as_options(request: dict[str, Any], model: type[BaseModel], path: Path, unknown: list[Fault]) -> dict[str, Any]:
    """Return the request as a table, with the options' names in place of AWS's names.

    If a member is not an option, it is left out, and a fault about it is added to `unknown`.
    """
    names, table = _options(model), {}
    for key, value in request.items():
        if key not in names:
            rule = NO_MEANING_HERE if _is_aws_alone(key) else unknown_key(key, list(_members(model)))
            unknown.append(Fault((*path, key), rule))
            continue
        inner = inner_options(model.model_fields[names[key]].annotation)
        if isinstance(value, dict) and inner is not None:
            value = as_options(value, inner, (*path, key), unknown)
        elif isinstance(value, list) and inner is not None:
            value = [
                as_options(item, inner, (*path, key, index), unknown) if isinstance(item, dict) else item
                for index, item in enumerate(value)
            ]
        if value is not None:
            table[names[key]] = value
    return table


def _in_request(path: Path) -> Path:
    """Return the path of an option in AWS's names, as in a request."""
    fields = ((path[: end + 1], part) for end, part in enumerate(path))
    return tuple(
        part if isinstance(part, int) else api_name(part, declaration(MappingOptions, upto)) or part
        for upto, part in fields
    )


@cache
def _options(model: type[BaseModel]) -> Mapping[str, str]:
    """Return the name of the option for each member that a request may have."""
    return {member: name for name, field in model.model_fields.items() if (member := api_name(name, field))}


def _members(model: type[BaseModel]) -> Iterator[str]:
    """Yield the names of an object's members. The members of inner objects have names with dots."""
    for member, name in _options(model).items():
        yield member
        inner = inner_options(model.model_fields[name].annotation)
        if inner is not None:
            yield from (f"{member}.{below}" for below in _members(inner))


def _is_aws_alone(member: str) -> bool:
    return member.lower() in {option.replace("_", "") for option in AWS_ALONE}
