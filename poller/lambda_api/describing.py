"""What do clients learn from the calls that describe functions? Only what the settings file says.

    ListFunctions, GetFunction, GetFunctionConfiguration, GetFunctionConcurrency, ListVersionsByFunction, ListAliases,
    GetFunctionCodeSigningConfig, GetFunctionEventInvokeConfig, ListFunctionEventInvokeConfigs, ListTags,
    GetAccountSettings

Other members of AWS's answers are absent or have a fixed value, such as "State": "Active".
The environment of a function is not shown, because it may hold secrets.

Source: AWS Lambda API Reference, the pages of these calls; answers that AWS Lambda gave.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from poller.lambda_api.errors import invalid_parameter, not_found
from poller.lambda_api.exchange import Answer, Request, json_answer
from poller.lambda_api.names import NO_EVENT_INVOKE_CONFIG, Found, name_of, qualifier_of, unqualified_arn
from poller.model.arn import Arn
from poller.model.function import ChildProcess, Function
from poller.model.ids import FunctionName

MAXIMUM_ITEMS = 50
"""The most functions in one answer, as on AWS. To get the next ones, a client sends NextMarker as Marker."""

ACCOUNT_CONCURRENCY = 1000
"""AWS's default quota. The daemon has no limit over all functions."""


def list_functions(functions: Mapping[FunctionName, Function], request: Request) -> Answer:
    everything = [_configuration(function, None) for function in functions.values()]
    start, count = _number(request, "Marker", 0), _number(request, "MaxItems", MAXIMUM_ITEMS)
    end = start + min(max(count, 1), MAXIMUM_ITEMS)
    marker = {"NextMarker": str(end)} if end < len(everything) else {}
    return json_answer({"Functions": everything[start:end]} | marker)


def get_function(found: Found) -> Answer:
    document = {"Configuration": _configuration(found.function, found.qualifier), "Code": {}, "Tags": {}}
    reserved = _reserved(found.function)
    return json_answer(document | {"Concurrency": reserved} if reserved else document)


def get_function_configuration(found: Found) -> Answer:
    return json_answer(_configuration(found.function, found.qualifier))


def get_function_concurrency(found: Found) -> Answer:
    return json_answer(_reserved(found.function))


def list_versions(found: Found) -> Answer:
    return json_answer({"Versions": [_configuration(found.function, qualifier_of(found.function))]})


def list_aliases(_found: Found) -> Answer:
    return json_answer({"Aliases": []})


def get_code_signing_config(found: Found) -> Answer:
    return json_answer({"FunctionName": name_of(found.function)})


def get_event_invoke_config(found: Found, functions: Mapping[FunctionName, Function]) -> Answer:
    document = _event_invoke_config(found.function, functions)
    if document is None:
        qualified = f"{unqualified_arn(found.function)}:{qualifier_of(found.function)}"
        raise not_found(NO_EVENT_INVOKE_CONFIG.format(arn=qualified))
    return json_answer(document)


def list_event_invoke_configs(found: Found, functions: Mapping[FunctionName, Function]) -> Answer:
    document = _event_invoke_config(found.function, functions)
    return json_answer({"FunctionEventInvokeConfigs": [] if document is None else [document]})


def list_tags() -> Answer:
    return json_answer({"Tags": {}})


def get_account_settings(functions: Mapping[FunctionName, Function]) -> Answer:
    limit = {"ConcurrentExecutions": ACCOUNT_CONCURRENCY, "UnreservedConcurrentExecutions": ACCOUNT_CONCURRENCY}
    return json_answer({"AccountLimit": limit, "AccountUsage": {"TotalCodeSize": 0, "FunctionCount": len(functions)}})


def _configuration(function: Function, qualifier: str | None) -> dict[str, Any]:
    arn = unqualified_arn(function)
    document = {
        "FunctionName": name_of(function),
        "FunctionArn": f"{arn}:{qualifier}" if qualifier else arn,
        "Timeout": math.ceil(function.timeout_in_seconds),
        "Version": qualifier_of(function),
        "State": "Active",
        "LastUpdateStatus": "Successful",
        "PackageType": "Zip",
    }
    kind = function.kind
    if isinstance(kind, ChildProcess):
        if kind.handler is not None:
            document["Handler"] = kind.handler
        if kind.memory_size_in_mb is not None:
            document["MemorySize"] = kind.memory_size_in_mb
    return document


def _event_invoke_config(function: Function, functions: Mapping[FunctionName, Function]) -> dict[str, Any] | None:
    """Return AWS's document with the options for a function's events, or None if the settings have no such option."""
    config = function.event_invoke_config
    destinations = {"OnSuccess": config.on_success, "OnFailure": config.on_failure}
    numbers = {
        "MaximumRetryAttempts": config.maximum_retry_attempts,
        "MaximumEventAgeInSeconds": config.maximum_event_age_in_seconds,
    }
    stated = {name: number for name, number in numbers.items() if number is not None}
    if not stated and not any(destinations.values()):
        return None
    written = {
        name: {} if place is None else {"Destination": str(place if isinstance(place, Arn) else functions[place].arn)}
        for name, place in destinations.items()
    }
    arn = f"{unqualified_arn(function)}:{qualifier_of(function)}"
    return {"FunctionArn": arn, "DestinationConfig": written} | stated


def _reserved(function: Function) -> dict[str, int]:
    if not function.is_concurrency_reserved:
        return {}
    return {"ReservedConcurrentExecutions": function.reserved_concurrency}


def _number(request: Request, parameter: str, otherwise: int) -> int:
    value = request.query.get(parameter)
    if value is None:
        return otherwise
    if not (value.isascii() and value.isdigit() and len(value) <= 5):
        raise invalid_parameter(f"{parameter} must be a number of at most five digits")
    return int(value)
