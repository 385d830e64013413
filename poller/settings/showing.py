"""How does the file look with its defaults filled in? The answer is TOML with the same options as the file.

A value of the file is shown as it was written, with `${NAME}`, and with `***` in place of a secret (`masking.py`).
An option that the file does not have is shown with its default, or with a remark that says what happens without it:

    [mappings.new_users]
    event_source_arn = "arn:aws:sqs:eu-west-1:123456789012:buffer-queue"
    batch_size = 10                     # default
    # scaling_config.maximum_concurrency: the function's reserved_concurrency holds
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel

from poller.model.function import Function
from poller.model.ids import FunctionName
from poller.model.mapping import QueueMapping, StreamMapping
from poller.settings.daemon import DaemonOptions
from poller.settings.functions import KINDS, FunctionOptions
from poller.settings.mappings import MappingOptions
from poller.settings.masking import masked
from poller.settings.options import Follows, Range, Secret, Unstated, declaration, leaves, limited, marker
from poller.settings.table import ABSENT, Path, Substituted, as_toml, dotted, find
from poller.settings.values import Daemon, Settings


class Line(NamedTuple):
    """`text` is TOML, or empty if there is only a remark."""

    text: str
    remark: str = ""


def effective_toml(settings: Settings, table: dict[str, Any]) -> str:
    """Return every table of the file, with every option that the table may have."""
    mappings: dict[str, QueueMapping | StreamMapping] = {mapping.name: mapping for mapping in settings.mappings}
    functions = {name: function for name, function in settings.functions.items() if name in table.get("functions", ())}
    blocks = [
        _block(("daemon",), _lines(DaemonOptions, table.get("daemon", {}), settings.daemon)),
        *(
            _block(("functions", name), _function_lines(table["functions"][name], function))
            for name, function in functions.items()
        ),
        *(
            _block(("mappings", name), _mapping_lines(written, mappings[name], settings.functions, stated=functions))
            for name, written in table.get("mappings", {}).items()
        ),
    ]
    return "\n\n".join(blocks) + "\n"


def _function_lines(table: dict[str, Any], function: Function) -> Iterator[Line]:
    kind = next(kind for kind in KINDS if kind in table)
    return _lines(FunctionOptions, table, function, kind)


def _mapping_lines(
    table: dict[str, Any],
    mapping: QueueMapping | StreamMapping,
    functions: Mapping[FunctionName, Function],
    *,
    stated: Collection[str],
) -> Iterator[Line]:
    """Yield the lines of a mapping. `stated` are the functions that have a table of their own."""
    function = functions[mapping.function_name]
    limits = f"{function.timeout_in_seconds:g} seconds, {function.reserved_concurrency} at once"
    for line in _lines(MappingOptions, table, mapping, mapping.event_source_arn.service):
        needs_remark = line.text.startswith("function_name = ") and function.name not in stated
        yield line._replace(remark=f"a function of AWS Lambda, {limits}") if needs_remark else line


def _lines(
    model: type[BaseModel],
    table: dict[str, Any],
    value: Daemon | Function | QueueMapping | StreamMapping,
    kind: str = "",
) -> Iterator[Line]:
    """Yield a line for each option of a table.

    `kind` is the kind of the function, or the service of the source; options that do not apply to it are left out.
    `value` is the value of model/ that was made from this table.
    """
    for option in leaves(model):
        if kind not in limited(model).get(option[0], kind):
            continue
        key, field, written = ".".join(option), declaration(model, option), find(table, option)
        if marker(field, Secret) and _shows_a_secret(written):
            yield Line("", f"{key}: is set; its value is not shown")
        elif written is not ABSENT:
            yield Line(f"{key} = {as_toml(masked(written, field))}")
        elif (unstated := marker(field, Unstated)) is not None:
            yield Line("", f"{key}: {unstated.text}")
        elif (default := _default(model, option, table, value)) is not None:
            if (follows := marker(field, Follows)) is not None and follows.is_less_than_stated:
                yield Line("", f"{key}: {as_toml(default)}, not reserved")
                continue
            yield Line(f"{key} = {as_toml(default)}", "default")


def _default(model: type[BaseModel], option: Path, table: dict[str, Any], value: object) -> object:
    """Return the default as a person would write it, or None if the option has no line."""
    field = declaration(model, option)
    assert field is not None
    if marker(field, Follows):
        return getattr(value, str(option[-1]))
    *outer, _ = option
    if outer and _may_be_absent(model, tuple(outer)) and find(table, tuple(outer)) is ABSENT:
        return None
    numbers, default = marker(field, Range), field.get_default(call_default_factory=True)
    return numbers.none if default is None and numbers is not None else default


def _may_be_absent(model: type[BaseModel], path: Path) -> bool:
    field = declaration(model, path)
    return field is not None and field.get_default(call_default_factory=True) is None


def _shows_a_secret(written: object) -> bool:
    """Return whether the text in the file may show a secret. A single `${NAME}` without a default shows none.

    A table of secrets may show a secret if one of its values may.
    """
    if isinstance(written, dict):
        return any(_shows_a_secret(value) for value in written.values())
    if isinstance(written, Substituted):
        return re.fullmatch(r"\$\{\w+\}", written.written) is None
    return written is not ABSENT


def _block(path: Path, lines: Iterator[Line]) -> str:
    """Return a table as text. The remarks are in one column, except after long lines."""
    shown = list(lines)
    width = max((len(line.text) for line in shown if line.remark and len(line.text) <= 60), default=0)
    return "\n".join([f"[{dotted(path)}]", *(_remarked(line, width) for line in shown)])


def _remarked(line: Line, width: int) -> str:
    if not line.remark:
        return line.text
    return f"{line.text:<{width}}  # {line.remark}" if line.text else f"# {line.remark}"
