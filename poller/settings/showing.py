"""How does the file look with its defaults filled in? As TOML that means the same when it is read again.

What was written stays as it was written, `${NAME}` included, so that no secret is shown.
What was not written follows from a default, and says so:

    [mappings.new_users]
    event_source_arn = "arn:aws:sqs:eu-west-1:123456789012:buffer-queue"
    batch_size = 10                     # default
    # scaling_config.maximum_concurrency: the function's reserved_concurrency holds
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, get_origin

from pydantic import BaseModel

from poller.model.function import ChildProcess, Function, HttpService
from poller.model.mapping import QueueMapping, StreamMapping
from poller.settings.daemon import DaemonOptions
from poller.settings.mapping_rules import applies
from poller.settings.mappings import MappingOptions
from poller.settings.reading import inner_table
from poller.settings.table import ABSENT, SECRETS, Path, Substituted, as_toml, dotted, find
from poller.settings.values import Daemon, Settings

AnyMapping = QueueMapping | StreamMapping


class Line(NamedTuple):
    """`text` is TOML, or empty where there is only something to remark."""

    text: str
    remark: str = ""


def effective_toml(settings: Settings, table: dict[str, Any]) -> str:
    """Every table that the file has, with every option that it may have."""
    mappings: dict[str, AnyMapping] = {mapping.name: mapping for mapping in settings.queue_mappings}
    mappings |= {mapping.name: mapping for mapping in settings.stream_mappings}
    functions = [function for name, function in settings.functions.items() if name in table.get("functions", ())]
    blocks = [
        _block(("daemon",), _daemon_lines(settings.daemon, table)),
        *(_block(("functions", function.name), _function_lines(function, table)) for function in functions),
        *(
            _block(("mappings", name), _mapping_lines(mappings[name], settings, table))
            for name in table.get("mappings", ())
        ),
    ]
    return "\n\n".join(blocks) + "\n"


def options(model: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    """Every option of a table; those of a table within it as `("scaling_config", "maximum_concurrency")`."""
    for name, field in model.model_fields.items():
        inner = inner_table(field.annotation)
        if inner is not None and get_origin(field.annotation) is not list:
            yield from ((name, *rest) for rest in options(inner))
        else:
            yield (name,)


_REMARKS = {
    "daemon.region": "that of the source",
    "daemon.endpoint_url": "AWS itself",
    "daemon.endpoints": "none of their own",
    "daemon.http_listen": "no HTTP server",
    "daemon.http_hosts": "addresses and localhost",
    "daemon.admin_token": "beyond loopback, changes over HTTP are refused",
    "scaling_config.maximum_concurrency": "the function's reserved_concurrency holds",
    "destination_config.on_failure.destination_arn": "discarded records are only logged and counted",
    "role_arn": "the daemon's own identity",
    "region": "the one in event_source_arn",
}
"""What holds where an option has no value of its own."""


def _daemon_lines(daemon: Daemon, table: dict[str, Any]) -> Iterator[Line]:
    defaults = {
        "state": daemon.state,
        "shutdown_grace_in_seconds": daemon.shutdown_grace_in_seconds,
        "log_format": daemon.log_format,
    }
    for option in options(DaemonOptions):
        yield from _line(("daemon",), option, defaults, table, _REMARKS.get(f"daemon.{option[0]}"))


def _function_lines(function: Function, table: dict[str, Any]) -> Iterator[Line]:
    defaults = {
        "timeout_in_seconds": function.timeout_in_seconds,
        "reserved_concurrency": function.reserved_concurrency,
    }
    match function.kind:
        case HttpService():
            remarks = {"headers": "none of their own"}
        case ChildProcess():
            remarks = {"environment": "the daemon's own", "memory_size_in_mb": "no limit"}
            if function.kind.handler is not None:
                remarks["python"] = "the daemon's own"
            defaults["inherit_credentials"] = True
        case _:
            remarks = {}
    path = ("functions", function.name)
    for key in (
        "arn",
        "url",
        "urls",
        "command",
        "handler",
        "python",
        *defaults,
        "memory_size_in_mb",
        "environment",
        "headers",
    ):
        yield from _line(path, (key,), defaults, table, remarks.get(key))


def _mapping_lines(mapping: AnyMapping, settings: Settings, table: dict[str, Any]) -> Iterator[Line]:
    path = ("mappings", mapping.name)
    defaults: dict[str, Any] = {
        "enabled": True,
        "batch_size": mapping.batch_size,
        "maximum_batching_window_in_seconds": 0,
        "filter_criteria.filters": [],
        "function_response_types": [],
        "parallelization_factor": 1,
        "maximum_retry_attempts": -1,
        "maximum_record_age_in_seconds": -1,
        "bisect_batch_on_function_error": False,
        "tumbling_window_in_seconds": 0,
        "uuid": mapping.uuid,
    }
    if isinstance(mapping, StreamMapping) and mapping.on_failure is not None:
        defaults["destination_config.on_failure.if_unreachable"] = mapping.on_failure.if_unreachable
    for option in options(MappingOptions):
        if not applies(option[0], mapping.event_source_arn):
            continue
        for line in _line(path, option, defaults, table, _REMARKS.get(".".join(option))):
            is_lambda = option == ("function_name",) and mapping.function_name not in table.get("functions", ())
            yield line._replace(remark=_lambda_remark(settings.functions[mapping.function_name])) if is_lambda else line


def _lambda_remark(function: Function) -> str:
    return f"a function of AWS Lambda, {function.timeout_in_seconds:g} seconds, {function.reserved_concurrency} at once"


def _line(
    path: Path, option: tuple[str, ...], defaults: Mapping[str, Any], table: dict[str, Any], remark: str | None
) -> Iterator[Line]:
    key, written = ".".join(option), find(table, (*path, *option))
    if (*path, *option) in SECRETS and _shows_a_secret(written):
        yield Line("", f"{key}: is set; its value is not shown")
    elif written is not ABSENT:
        yield Line(f"{key} = {as_toml(written)}")
    elif key in defaults:
        yield Line(f"{key} = {as_toml(defaults[key])}", "default")
    elif remark is not None:
        yield Line("", f"{key}: {remark}")


def _shows_a_secret(written: object) -> bool:
    """Whether the file has more of a secret than the name of a variable; `${NAME:-default}` shows the default."""
    if isinstance(written, Substituted):
        return re.fullmatch(r"\$\{\w+\}", written.written) is None
    return written is not ABSENT


def _block(path: Path, lines: Iterator[Line]) -> str:
    """The remarks stand in one column, as far as the lines are short."""
    told = list(lines)
    width = max((len(line.text) for line in told if line.remark and len(line.text) <= 60), default=0)
    return "\n".join([f"[{dotted(path)}]", *(_remarked(line, width) for line in told)])


def _remarked(line: Line, width: int) -> str:
    if not line.remark:
        return line.text
    return f"{line.text:<{width}}  # {line.remark}" if line.text else f"# {line.remark}"
