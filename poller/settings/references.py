"""Which function does a mapping mean? A key of `[functions]`, or else a function of AWS Lambda, however it is named:

    resize                                            a name
    resize:live                                       a name with a version or an alias
    123456789012:function:resize:live                 a partial ARN
    arn:aws:lambda:eu-west-1:123456789012:function:resize:live

The second kind is as good as a `[functions]` entry that has that `arn` and nothing else.
Two ways to name the same function mean one function, with one limit of concurrency.
Source: AWS Lambda API Reference, "CreateEventSourceMapping", FunctionName.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from typing import Any

from poller.model.arn import Arn
from poller.model.function import Function, LambdaApi
from poller.model.ids import FunctionName
from poller.settings.faults import Fault, nearest
from poller.settings.file import File
from poller.settings.functions import KINDS, User, configured_function
from poller.settings.limits import DEFAULT_TIMEOUT_IN_SECONDS, LAMBDA_API_CONCURRENCY
from poller.settings.mappings import MappingTable
from poller.settings.tree import ABSENT, Path, find

NOBODY = User(region="us-east-1", account="000000000000")
"""Makes the ARN of a function that no mapping uses."""


@dataclass(frozen=True, slots=True)
class References:
    """`meant` gives each mapping's function, as far as it could be told; `functions` is complete where all could."""

    functions: dict[FunctionName, Function] = field(default_factory=dict)
    meant: dict[str, FunctionName] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def identity(self, mapping: str) -> str | None:
        """The same text for the same function, under whichever keys and names it goes; None if it could not be told."""
        name = self.meant.get(mapping)
        function = self.functions.get(name) if name else None
        return str(function.arn) if function and isinstance(function.kind, LambdaApi) else name


def resolve(file: File, tree: dict[str, Any], directory: FilePath) -> References:
    """Every function, configured or only named by a mapping, and which mapping means which."""
    references = References()
    users = _first_users(file, tree)
    for name, table in file.functions.items():
        if any(getattr(table, kind) is not None for kind in KINDS):
            function = configured_function(name, table, users.get(name, NOBODY), directory)
            references.functions[function.name] = function
    for mapping, its_table in file.mappings.items():
        _look_up(references, mapping, its_table, file, tree)
    return references


def _look_up(references: References, mapping: str, table: MappingTable, file: File, tree: dict[str, Any]) -> None:
    reference = table.function_name
    if reference is None:
        return
    if find(tree, ("functions", reference)) is not ABSENT:
        references.meant[mapping] = FunctionName(reference)
        return
    function = lambda_function(reference, _user(table, file))
    if function is None:
        path: Path = ("mappings", mapping, "function_name")
        references.faults.append(Fault(path, _names_nothing(reference, tree)))
        return
    for known in references.functions.values():
        if function.kind == known.kind or (function.arn == known.arn and isinstance(known.kind, LambdaApi)):
            references.meant[mapping] = known.name
            return
    if function.name in references.functions:
        function = replace(function, name=FunctionName(str(function.arn)))
    references.functions[function.name] = function
    references.meant[mapping] = function.name


def lambda_function(reference: str, user: User) -> Function | None:
    """The function of AWS Lambda that is meant, or None where the text cannot be one."""
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        return None
    partition, account = match["partition"] or user.partition, match["account"] or user.account
    region, qualifier = match["region"] or user.region, match["qualifier"]
    resource = f"function:{match['name']}" + (f":{qualifier}" if qualifier else "")
    return Function(
        name=FunctionName(reference),
        arn=Arn(partition=partition, service="lambda", region=region, account=account, resource=resource),
        kind=LambdaApi(name=match["path"], qualifier=qualifier, region=region),
        timeout_in_seconds=DEFAULT_TIMEOUT_IN_SECONDS,
        reserved_concurrency=LAMBDA_API_CONCURRENCY,
    )


_REFERENCE = re.compile(
    r"(?P<path>(?:(?:arn:(?P<partition>aws[a-z-]*):lambda:(?P<region>[a-z0-9-]+):)?(?P<account>\d{12}):function:)?"
    r"(?P<name>[A-Za-z0-9_-]{1,64}))(?::(?P<qualifier>\$LATEST|[A-Za-z0-9_-]{1,128}))?"
)


def _first_users(file: File, tree: dict[str, Any]) -> dict[str, User]:
    users: dict[str, User] = {}
    for table in file.mappings.values():
        if table.function_name is not None:
            users.setdefault(table.function_name, _user(table, file))
    for name in file.functions:
        users.setdefault(name, User(region=file.daemon.region or NOBODY.region, account=NOBODY.account))
    return users


def _user(table: MappingTable, file: File) -> User:
    source = table.event_source_arn
    region = file.daemon.region or table.region or (source.region if source else NOBODY.region)
    return NOBODY._replace(region=region) if source is None else User(region, source.account, source.partition)


def _names_nothing(reference: str, tree: dict[str, Any]) -> str:
    functions = find(tree, ("functions",))
    meant = nearest(reference, functions if isinstance(functions, dict) else ())
    return "names no function: neither a key of [functions] nor a Lambda function's name or ARN" + (
        f"; did you mean {meant}?" if meant else ""
    )
