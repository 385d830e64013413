"""How do event source mappings of AWS Lambda become a settings file, and how does this daemon take them over?

    what AWS answers (Account) ──> options, by AWS's names ──> TOML, with a comment on each difference
                                                         └──> a plan for each mapping: when to stop there and begin here

The file keeps the functions on Lambda (`arn`); a comment says what a function needs to run elsewhere.
Every mapping begins with `enabled = false`, so that a first start of the daemon reads nothing.
`take_over.py` has the plan.

Sources: AWS Lambda API Reference, "EventSourceMappingConfiguration", "FunctionConfiguration" and
"FunctionEventInvokeConfig".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from poller.model.arn import Arn
from poller.settings.api_request import as_options
from poller.settings.event_options import EventInvokeConfigOptions
from poller.settings.fields import MAXIMUM_NAME_CHARACTERS
from poller.settings.mappings import MappingOptions
from poller.settings.options import Options, Range, declaration, leaves, marker
from poller.settings.table import ABSENT, as_toml, dotted, find, in_comment
from poller.settings.take_over import PLAN, steps_for

NOT_OPTIONS = frozenset(
    {
        *("EventSourceMappingArn", "FunctionArn", "LastModified", "LastProcessingResult", "State"),
        *("StateTransitionReason", "UUID", "FilterCriteriaError"),
    }
)
"""The members of AWS's answer that describe the mapping's state. The UUID becomes `uuid`."""

SERVICES = ("sqs", "kinesis", "dynamodb")


@dataclass(frozen=True, slots=True, kw_only=True)
class LambdaFunction:
    """A function as AWS describes it: the answers of GetFunctionConfiguration and GetFunctionEventInvokeConfig.

    `events` is None if the function has no such configuration, and `reserved_concurrency` if none is reserved.
    """

    configuration: Mapping[str, Any]
    events: Mapping[str, Any] | None = None
    reserved_concurrency: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The event source mappings of one region of an account, with their functions and queues, as AWS describes them.

    `mappings` are the items of ListEventSourceMappings. `functions` has the function of each FunctionArn; a function
    that may not be described is left out. `visibility_timeouts` has the visibility timeout of each queue, in seconds.
    """

    region: str
    mappings: Sequence[Mapping[str, Any]]
    functions: Mapping[str, LambdaFunction] = field(default_factory=dict)
    visibility_timeouts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """The settings file as TOML, and what its comments say: `differences` from AWS and the `plan`, for each mapping.

    `not_imported` are the mappings that poller cannot read, as AWS describes them.
    """

    toml: str
    differences: Mapping[str, Sequence[str]]
    plan: Mapping[str, str]
    not_imported: Sequence[Mapping[str, Any]]


def imported(account: Account) -> Imported:
    """Return the settings for the mappings of the account. The plan is also at the end of the file, as comments."""
    names = _Names()
    functions: dict[str, str] = {}
    blocks, not_imported = [], []
    differences: dict[str, list[str]] = {}
    plan: dict[str, str] = {}
    for mapping in account.mappings:
        if (source := _source(mapping)) is None:
            blocks.append(_not_imported(mapping))
            not_imported.append(mapping)
            continue
        arn = str(mapping["FunctionArn"])
        if arn not in functions:
            functions[arn] = names.new("functions", _function_name(arn))
            blocks.append(_function_block(functions[arn], arn, account.functions.get(arn)))
        name = names.new("mappings", f"{_resource_name(source)}_to_{_function_name(arn)}")
        lines, unknown = _mapping_lines(name, functions[arn], mapping)
        differences[name] = [*_differences(mapping, source, account, unknown)]
        blocks.append("\n".join([*lines, *(f"# {difference}" for difference in differences[name])]))
        function = account.functions.get(arn)
        timeout = None if function is None else function.configuration.get("Timeout")
        plan[name] = steps_for(name, mapping, source, timeout)
    head = [
        f"# The event source mappings of AWS Lambda in {account.region}, as settings of poller.",
        "# Every mapping is disabled here. The plan at the end says how to take each one over.",
        "",
        "[daemon]",
        f"region = {as_toml(account.region)}",
        'http_listen = "127.0.0.1:9464"',
    ]
    steps = ["\n".join(f"# {line}" for line in text.split("\n")) for text in plan.values()]
    toml = "\n\n".join(["\n".join(head), *blocks, *([PLAN, *steps] if steps else [])]) + "\n"
    return Imported(toml=toml, differences=differences, plan=plan, not_imported=not_imported)


class _Names:
    """The names that tables of the file have already."""

    def __init__(self) -> None:
        self._taken: set[tuple[str, str]] = set()

    def new(self, table: str, wanted: str) -> str:
        """Return a name that no other entry of the table has: the wanted one, or one with a number at its end."""
        base = re.sub(r"[^A-Za-z0-9_-]", "_", wanted)[: MAXIMUM_NAME_CHARACTERS - 4]
        name, number = base, 2
        while (table, name) in self._taken:
            name, number = f"{base}_{number}", number + 1
        self._taken.add((table, name))
        return name


def _source(mapping: Mapping[str, Any]) -> Arn | None:
    """Return the ARN of the source, or None if poller cannot read such a source."""
    try:
        source = Arn.parse(mapping.get("EventSourceArn") or "")
    except ValueError:
        return None
    return source if source.service in SERVICES else None


def _not_imported(mapping: Mapping[str, Any]) -> str:
    source = mapping.get("EventSourceArn") or "a source outside of AWS"
    return (
        f"# Not imported: the mapping {in_comment(mapping.get('UUID'))} from {in_comment(source)} "
        f"to {in_comment(mapping.get('FunctionArn'))}.\n"
        "# poller reads SQS queues, Kinesis streams and DynamoDB streams."
    )


def _resource_name(source: Arn) -> str:
    parts = source.resource.split("/")
    return parts[1] if len(parts) > 1 else source.resource.removesuffix(".fifo")


def _function_name(arn: str) -> str:
    return "_".join(part for part in arn.split(":")[6:] if part != "$LATEST")


def _function_block(name: str, arn: str, function: LambdaFunction | None) -> str:
    lines = [f"[{dotted(('functions', name))}]", f"arn = {as_toml(arn)}"]
    if function is None:
        lines.append("# AWS did not describe this function, so its timeout and the settings of its events are missing.")
        return "\n".join(lines)
    configuration = function.configuration
    lines.append(f"timeout_in_seconds = {configuration.get('Timeout', 3)}")
    if function.reserved_concurrency is not None:
        lines.append(f"reserved_concurrency = {function.reserved_concurrency}")
    lines += _event_lines(function)
    lines += _elsewhere(configuration)
    return "\n".join(lines)


def _event_lines(function: LambdaFunction) -> Iterator[str]:
    """Yield the options for asynchronous events. They apply to events that are sent to poller, not to Lambda."""
    table = as_options(_written(function.events or {}), EventInvokeConfigOptions, (), [])
    lines = [f"event_invoke_config.{line}" for line in _option_lines(EventInvokeConfigOptions, table)]
    target = (function.configuration.get("DeadLetterConfig") or {}).get("TargetArn")
    if target:
        lines.append(f"dead_letter_config.target_arn = {as_toml(target)}")
    if lines:
        yield "# These apply to asynchronous events that are sent to poller. Events sent to Lambda stay with Lambda."
        yield from lines


def _elsewhere(configuration: Mapping[str, Any]) -> Iterator[str]:
    if not configuration.get("Handler"):
        return
    runtime, handler = in_comment(configuration.get("Runtime", "")), in_comment(configuration["Handler"])
    yield "# To run it outside of Lambda, replace arn by:"
    if runtime.startswith("python"):
        module, _, function = handler.rpartition(".")
        callable_name = f"{module.replace('/', '.')}:{function}"
        yield f"#   handler = {as_toml(callable_name)}   # {runtime}"
    else:
        yield f"#   command = [...]   # a program that speaks the Lambda Runtime API; here {runtime} runs {handler}"
    yield f"#   memory_size_in_mb = {configuration.get('MemorySize', 128)}"
    variables = (configuration.get("Environment") or {}).get("Variables") or {}
    if variables:
        yield f"#   environment = {{ ... }}   # its variables: {in_comment(', '.join(sorted(variables)))}"


def _mapping_lines(name: str, function: str, mapping: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return the table's lines, and the members of AWS's description that are no options of poller."""
    unknown: list[Any] = []
    request = {key: value for key, value in mapping.items() if key not in NOT_OPTIONS}
    table = as_options(_written(request), MappingOptions, (), unknown)
    table |= {"function_name": function, "enabled": False, "uuid": mapping["UUID"]}
    lines = [f"[{dotted(('mappings', name))}]", *_option_lines(MappingOptions, table)]
    return lines, [str(fault.path[-1]) for fault in unknown]


def _option_lines(model: type[Options], table: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each option of the table that differs from the default."""
    for option in leaves(model):
        value = find(table, option)
        if value is ABSENT:
            continue
        field = declaration(model, option)
        assert field is not None
        default = field.get_default(call_default_factory=True)
        numbers = marker(field, Range)
        if value == default or (default is None and numbers is not None and value == numbers.none):
            continue
        yield f"{dotted(option)} = {as_toml(value)}"


def _written(value: Any) -> Any:
    """Return AWS's value as the file has it: without empty objects, lists and texts, and with times as numbers.

    Each `${` is written as `$${`, because poller would replace a `${…}` by a variable of the environment.
    """
    if isinstance(value, Mapping):
        written = {key: _written(each) for key, each in value.items()}
        return {key: each for key, each in written.items() if each not in (None, {}, [], "")}
    if isinstance(value, list | tuple):
        return [_written(each) for each in value]
    if isinstance(value, str):
        return value.replace("${", "$${")
    return value.timestamp() if hasattr(value, "timestamp") else value


def _differences(mapping: Mapping[str, Any], source: Arn, account: Account, unknown: Sequence[str]) -> Iterator[str]:
    """Yield what differs from AWS for this mapping, each in one line."""
    if mapping.get("State") in ("Disabled", "Disabling"):
        yield "It is disabled on AWS, too."
    for member in unknown:
        value = json.dumps(mapping[member], default=str, ensure_ascii=False)
        yield f"AWS also has {member} = {in_comment(value)}; poller has no such option."
    if mapping.get("KMSKeyArn") and not mapping.get("FilterCriteria"):
        yield "Its filters are encrypted with that key, and AWS did not show them: add filter_criteria."
    if "/consumer/" in source.resource:
        yield "AWS reads this consumer by enhanced fan-out; poller polls the stream, and shares its limits for reads."
    function = account.functions.get(str(mapping["FunctionArn"]))
    visibility = account.visibility_timeouts.get(str(source))
    if function is not None and visibility is not None:
        timeout = function.configuration.get("Timeout", 3)
        needed = timeout + mapping.get("MaximumBatchingWindowInSeconds", 0)
        if visibility < needed:
            hides = "poller hides the messages again while it needs them"
            yield f"The queue's visibility timeout is {visibility} s, but a batch may take {needed} s: {hides}."
