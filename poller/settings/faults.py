"""How is a fault told? In one line: where it is, what stands there, and the rule it breaks.

    mappings.new_users.batch_size = 20000: BatchSize must be a whole number of records from 1 to 10000

Faults come in two waves: first each value by itself, as pydantic finds it; then the rules between values.
A rule is silent where a value that it needs was unreadable, so that one mistake is not told twice.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from poller.settings.tree import ABSENT, SECRETS, Path, Substituted, as_toml, dotted, find

SHOWN_CHARACTERS = 70
"""Of a value; so much is enough to recognise it by."""


class Fault(NamedTuple):
    """`needs` are the paths of further values without which there is nothing to say.

    `is_all` says that nothing else is worth telling of what stands at the path.
    """

    path: Path
    rule: str
    needs: tuple[Path, ...] = ()
    is_all: bool = False


def refusal(rule: str) -> PydanticCustomError:
    """What a field's validator raises; `rule` becomes the fault's."""
    return PydanticCustomError("rule", "{rule}", {"rule": rule})


def told(fault: Fault, tree: dict[str, Any]) -> str:
    value = find(tree, fault.path)
    if value is ABSENT or isinstance(value, dict) or fault.path in SECRETS:
        return f"{dotted(fault.path)}: {fault.rule}"
    text = as_toml(value)
    shown = text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"
    return f"{dotted(fault.path)} = {shown}: {fault.rule}"


def of_values(error: ValidationError, model: type[BaseModel]) -> Iterator[Fault]:
    """The first wave: every value that pydantic did not accept."""
    for detail in error.errors(include_url=False):
        path = detail["loc"][:-1] if detail["loc"][-1] == "[key]" else detail["loc"]
        yield Fault(path, _rule(detail, path, model))


def of_rules(faults: Iterable[Fault], unreadable: Iterable[Path]) -> Iterator[Fault]:
    """The second wave: those whose values could all be read."""
    paths = list(unreadable)
    for fault in faults:
        if not any(_touch(need, path) for need in fault.needs for path in paths):
            yield fault


def worth_telling(faults: Iterable[Fault]) -> list[Fault]:
    """All but those of a value of which another fault is all that there is to tell."""
    told = list(faults)
    settled = {fault.path for fault in told if fault.is_all}
    return [one for one in told if one.is_all or not any(one.path[: len(path)] == path for path in settled)]


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant, in whatever case. A dotted word is also known by its last part."""
    words = {candidate.lower(): candidate for candidate in known}
    same = [candidate for candidate in words if candidate.rpartition(".")[2] == word.lower()]
    meant = same or difflib.get_close_matches(word.lower(), words, n=1)
    return words[meant[0]] if meant else None


def _touch(one: Path, other: Path) -> bool:
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


AWS_ALONE = frozenset(
    {
        "amazon_managed_kafka_event_source_config",
        "document_db_event_source_config",
        "kms_key_arn",
        "logging_config",
        "metrics_config",
        "provisioned_poller_config",
        "queues",
        "self_managed_event_source",
        "self_managed_kafka_event_source_config",
        "source_access_configuration",
        "source_access_configurations",
        "tags",
        "topics",
    }
)
"""Options of AWS's own mappings that have no meaning here, or belong to sources that poller does not read.
AWS Lambda API Reference, "CreateEventSourceMapping", and Terraform's names of the same."""

_WORDING = {
    "string_type": "must be text, in quotes",
    "list_type": "must be a list",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "too_short": "must not be empty",
    "missing": "is required",
}


def _rule(detail: ErrorDetails, path: Path, model: type[BaseModel]) -> str:
    match detail["type"]:
        case "rule":
            return str(detail["ctx"]["rule"])
        case "extra_forbidden" if path[0] == "mappings" and path[-1] in AWS_ALONE:
            return "is an option of AWS's own mappings and has no meaning here; leave it out"
        case "list_type" if isinstance(text := detail["input"], str):
            return f"must be a list{_as_a_list(text)}"
        case "extra_forbidden":
            return _unknown(str(path[-1]), list(_known_keys(model, path[:-1])))
        case "literal_error" if path != detail["loc"]:
            return _unknown(str(path[-1]), re.findall(r"'(.+?)'", detail["ctx"]["expected"]))
        case "literal_error":
            return f"must be {detail['ctx']['expected'].replace(chr(39), chr(34))}"
        case other:
            return _WORDING.get(other, detail["msg"])


def _as_a_list(text: str) -> str:
    """The text written as a list, unless it is long or has a value of the environment."""
    if isinstance(text, Substituted) or len(text) > SHOWN_CHARACTERS:
        return ', as in ["one", "two"]'
    return f", as in {as_toml(text.split())}"


def _unknown(key: str, known: list[str]) -> str:
    begun = [word for word in known if word.startswith(f"{key.lower()}_")]
    meant = begun[0] if len(begun) == 1 else nearest(key, known)
    if meant:
        return f"unknown key; did you mean {meant}?"
    return f"unknown key; known are {', '.join(word for word in known if '.' not in word)}"


def _known_keys(model: type[BaseModel], path: Path) -> Iterator[str]:
    """The keys of the table at the path, and those of its own tables, dotted."""
    parts = iter(path)
    for part in parts:
        annotation = model.model_fields[str(part)].annotation
        inner = _table_in(annotation)
        if inner is None:
            return
        if get_origin(annotation) in (dict, list):
            next(parts, None)
        model = inner
    for name, field in model.model_fields.items():
        yield name
        inner = _table_in(field.annotation)
        if inner is not None and get_origin(field.annotation) not in (dict, list):
            yield from (f"{name}.{key}" for key in _known_keys(inner, ()))


def _table_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((table for part in get_args(annotation) if (table := _table_in(part))), None)
