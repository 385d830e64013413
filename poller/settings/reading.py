"""How does a table become values, even if some of its options cannot be read?

    {"batch_size": 0, "enabled": true}  ->  MappingOptions(enabled=True), a fault at batch_size

pydantic reads each option. If it cannot read an option, this is a fault, and the option gets its default value.
So every option has a value, and the rules between options can be checked in the same run.
The rules look at an `Entry`: the values of one table, its path, and the table itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from poller.settings.faults import SHOWN_CHARACTERS, Fault, unknown_key
from poller.settings.masking import masked
from poller.settings.options import declaration, inner_options
from poller.settings.table import ABSENT, Path, Substituted, as_toml, find, without

AnyOptions = TypeVar("AnyOptions", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Entry(Generic[AnyOptions]):
    """The values of one table: of [daemon], of a function, or of a mapping.

    `name` is the name of the function or of the mapping, or "daemon".
    `table` has all values as they were written. In `options`, a default value replaces each value that cannot be read.
    """

    name: str
    path: Path
    options: AnyOptions
    table: Mapping[str, Any]

    def at(self, *keys: str | int) -> Path:
        """Return the path of an option of this entry."""
        return (*self.path, *keys)

    def written(self, *keys: str | int) -> Any:
        """Return the option's value as it was written, or ABSENT."""
        return find(self.table, keys)

    def states(self, *keys: str) -> bool:
        """Return whether the file has the option. The value need not be readable."""
        return self.written(*keys) is not ABSENT


def read(model: type[AnyOptions], table: dict[str, Any], unreadable: Sequence[Fault]) -> tuple[AnyOptions, list[Fault]]:
    """Return the values of the table, and a fault for each value that cannot be read.

    `unreadable` are the faults that earlier steps have found. Their values are not read, and they come first in the
    list.
    """
    for fault in unreadable:
        table = without(table, fault.path)
    try:
        return model.model_validate(table), [*unreadable]
    except ValidationError as error:
        found = list(_faults(error, model))
    for fault in found:
        table = without(table, fault.path)
    # Without the values that were removed, a table may lack a required key. Then the table is removed, too, without a
    # fault.
    values, _ = read(model, table, ())
    return values, [*unreadable, *found]


def _faults(error: ValidationError, model: type[BaseModel]) -> Iterator[Fault]:
    for detail in error.errors(include_url=False):
        path = detail["loc"][:-1] if detail["loc"][-1] == "[key]" else detail["loc"]
        yield Fault(path, _rule(detail, path, model), is_unknown_key=detail["type"] == "extra_forbidden")


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
"""Options of AWS's mappings that mean nothing to poller, or that belong to sources that poller does not read.

Source: AWS Lambda API Reference, "CreateEventSourceMapping", and Terraform if it has another name for the option.
"""

NO_MEANING_HERE = "is an option of AWS's own mappings and has no meaning here; leave it out"

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
            return NO_MEANING_HERE
        case "list_type" if isinstance(text := detail["input"], str):
            return f"must be a list{_as_a_list(text, declaration(model, path))}"
        case "extra_forbidden":
            return unknown_key(str(path[-1]), list(_known_keys(model, path[:-1])))
        case "literal_error":
            return f"must be {detail['ctx']['expected'].replace(chr(39), chr(34))}"
        case other:
            return _WORDING.get(other, detail["msg"])


def _as_a_list(text: str, field: FieldInfo | None) -> str:
    """Return an example of a list: the words of the text, or fixed words if the text is long or may be a secret."""
    if isinstance(text, Substituted) or len(text) > SHOWN_CHARACTERS or masked(text, field) != text:
        return ', as in ["one", "two"]'
    return f", as in {as_toml(text.split())}"


def _known_keys(model: type[BaseModel], path: Path) -> Iterator[str]:
    """Yield the keys of the table at the path. The keys of its inner tables have dots (`scaling_config.…`)."""
    parts = iter(path)
    for part in parts:
        annotation = model.model_fields[str(part)].annotation
        inner = inner_options(annotation)
        if inner is None:
            return
        if get_origin(annotation) in (dict, list):
            next(parts, None)
        model = inner
    for name, field in model.model_fields.items():
        yield name
        inner = inner_options(field.annotation)
        if inner is not None and get_origin(field.annotation) not in (dict, list):
            yield from (f"{name}.{key}" for key in _known_keys(inner, ()))
