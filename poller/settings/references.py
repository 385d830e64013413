"""Which function does a mapping's `function_name` mean? A key of [functions], or else a function of AWS Lambda:

    resize                                            a name
    resize:live                                       a name with a version or an alias
    123456789012:function:resize:live                 a partial ARN
    arn:aws:lambda:eu-west-1:123456789012:function:resize:live

A function of AWS Lambda needs no table. Without one, it has the defaults of a table with only an `arn`.
Mappings may name the same function in different ways; they share the function and its limit of concurrency.
Source: AWS Lambda API Reference, "CreateEventSourceMapping", FunctionName.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath

from poller.core.names import nearest
from poller.model.arn import Arn
from poller.model.function import Function, LambdaApi
from poller.model.ids import FunctionName
from poller.settings.faults import Fault
from poller.settings.file import File
from poller.settings.functions import (
    DEFAULT_TIMEOUT_IN_SECONDS,
    KINDS,
    LAMBDA_API_CONCURRENCY,
    User,
    configured_function,
)
from poller.settings.mappings import MappingOptions
from poller.settings.reading import Entry
from poller.settings.values import Settings

NOBODY = User(region="us-east-1", account="000000000000")
"""The region and account in the ARN of a function that no mapping uses, if [daemon] does not set them."""


@dataclass(slots=True)
class Functions:
    """The functions that were found so far, and the function of each mapping.

    `stated` are all keys of [functions], including those whose table cannot be read.
    `region` and `account` are those of [daemon]. A function gets them if its reference names none.
    `of_mapping` maps the name of a mapping to the name of its function.
    """

    stated: frozenset[str]
    region: str | None
    account: str | None
    by_name: dict[FunctionName, Function] = field(default_factory=dict)
    of_mapping: dict[str, FunctionName] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    _on_lambda: dict[LambdaApi | Arn, FunctionName] = field(default_factory=dict)

    def add(self, function: Function) -> None:
        self.by_name[function.name] = function
        if isinstance(function.kind, LambdaApi):
            self._on_lambda.setdefault(function.kind, function.name)
            self._on_lambda.setdefault(function.arn, function.name)

    def resolve(self, mapping: Entry[MappingOptions]) -> None:
        """Find the mapping's function, and add it if it is a new function of AWS Lambda.

        If `function_name` means no function, add a fault to `faults`.
        """
        reference = mapping.options.function_name
        if reference is None:
            return
        if reference in self.stated:
            self.of_mapping[mapping.name] = FunctionName(reference)
            return
        function = lambda_function(reference, user_of(mapping.options, self.region, self.account))
        if function is None:
            self.faults.append(Fault(mapping.at("function_name"), self._no_function(reference)))
            return
        assert isinstance(function.kind, LambdaApi)
        known = self._first({self._on_lambda.get(function.kind), self._on_lambda.get(function.arn)})
        if known is None:
            if function.name in self.by_name:  # a function of the same name in another region or account
                function = replace(function, name=FunctionName(str(function.arn)))
            self.add(function)
        self.of_mapping[mapping.name] = known or function.name

    def _first(self, names: set[FunctionName | None]) -> FunctionName | None:
        names.discard(None)
        return next((name for name in self.by_name if name in names), None) if names else None

    def identity(self, mapping: str) -> str | None:
        """Return a text that identifies the mapping's function, or None if the mapping has none.

        The text is the same for all mappings of one function, even if they name the function in different ways.
        """
        name = self.of_mapping.get(mapping)
        return None if name is None else identity(name, self.by_name.get(name))

    def _no_function(self, reference: str) -> str:
        meant = nearest(reference, self.stated)
        return "names no function: neither a key of [functions] nor a Lambda function's name or ARN" + (
            f"; did you mean {meant}?" if meant else ""
        )


def identity(name: FunctionName, function: Function | None) -> str:
    return str(function.arn) if function is not None and isinstance(function.kind, LambdaApi) else name


def functions_of(settings: Settings) -> Functions:
    """Return the functions in use. With them, a mapping that is not in the file can find its function."""
    daemon = settings.daemon
    functions = Functions(frozenset(_with_tables(settings.functions.values())), daemon.region, daemon.account_id)
    for function in settings.functions.values():
        functions.add(function)
    return functions


def _with_tables(functions: Iterable[Function]) -> Iterator[str]:
    """Yield the names of the functions that have a table. Any other function is made from its name alone."""
    for function in functions:
        arn = function.arn
        by_name = lambda_function(function.name, User(arn.region, arn.account, arn.partition))
        if by_name is None or by_name.kind != function.kind:
            yield function.name


def resolve(file: File, directory: FilePath) -> Functions:
    """Return the function of each mapping, and all functions: those with a table, and those that only a mapping names.

    `directory` is the folder of the file: relative paths of child processes begin there.
    """
    daemon = file.daemon.options
    functions = Functions(file.stated_functions, daemon.region, daemon.account_id)
    users = _first_users(file)
    for name, entry in file.functions.items():
        if any(getattr(entry.options, kind) is not None for kind in KINDS):
            functions.add(configured_function(name, entry.options, users[name], directory))
    for mapping in file.mappings.values():
        functions.resolve(mapping)
    return functions


def lambda_function(reference: str, user: User) -> Function | None:
    """Return the function of AWS Lambda that the reference means.

    Return None if the reference is neither a name nor an ARN.

    Parts that the reference leaves out (region, account, partition) come from `user`.
    """
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


def _first_users(file: File) -> dict[str, User]:
    users: dict[str, User] = {}
    region, account = file.daemon.options.region, file.daemon.options.account_id
    for mapping in file.mappings.values():
        if mapping.options.function_name is not None:
            users.setdefault(mapping.options.function_name, user_of(mapping.options, region, account))
    for name in file.functions:
        users.setdefault(name, User(region=region or NOBODY.region, account=account or NOBODY.account))
    return users


def user_of(mapping: MappingOptions, daemon_region: str | None, daemon_account: str | None) -> User:
    source = mapping.event_source_arn
    region = daemon_region or mapping.region or (source.region if source else NOBODY.region)
    account = daemon_account or (source.account if source else NOBODY.account)
    return User(region, account, source.partition if source else NOBODY.partition)
