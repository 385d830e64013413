"""How is an option declared? As a field of a subclass of `Options`, with a type, markers, a default and a docstring:

    parallelization_factor: Annotated[int, Range(1, 10, "batches at once", source=API), STREAMS] = 1
    '''How many batches of one shard may run at once, from 1 to 10.
    Default: 1.'''

These come from the declaration: the messages of faults, the value in `model/` (`built`), the lines of `poller check`,
the JSON Schema, and the comment in config/poller.toml.

`batch_size = "${SIZE}"` is a number, if the variable holds one. `batch_size = "10"` is a fault.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from inspect import cleandoc
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import PydanticCustomError, core_schema

from poller.settings.table import Path, Substituted

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Marker = TypeVar("Marker", "ApiName", "AtStart", "For", "Unstated", "Follows", "Secret", "MayHoldSecrets", "Range")
Value = TypeVar("Value", bound="DataclassInstance")


class Options(BaseModel):
    """The options of one TOML table. An unknown key is a fault, and so is a value of another type.

    The docstring of a field is the option's explanation. If the explanation is made from a table of the code, the field
    has the marker `explained` instead.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


@dataclass(frozen=True, slots=True)
class For:
    """The option applies only to these kinds of source ("sqs", …) or of function ("handler", …)."""

    kinds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ApiName:
    """The name of the option in a request of AWS's API. None if AWS has no such option.

    Without this marker, AWS's name is the option's name in CamelCase.
    """

    text: str | None


OURS = ApiName(None)
"""Marks an option that AWS does not have."""


@dataclass(frozen=True, slots=True)
class AtStart:
    """The daemon reads the option only when it starts, so a change needs a restart."""


@dataclass(frozen=True, slots=True)
class Unstated:
    """What happens if the file does not have the option, in a few words, for an option without a default value."""

    text: str


@dataclass(frozen=True, slots=True)
class Follows:
    """The default of the option depends on other settings. The field of the same name in `model/` has it.

    `is_less_than_stated` is true if the same value in the file would mean more than the default does. Then `poller
    check` shows the default only in a remark.
    """

    is_less_than_stated: bool = False


@dataclass(frozen=True, slots=True)
class Secret:
    """No command and no message shows the value, even if the file has it in plain text."""


@dataclass(frozen=True, slots=True)
class MayHoldSecrets:
    """The value is of use to people, but a part of it may be a secret. `masking.py` decides what is shown."""

    kind: Literal["text", "url", "state", "command"]


@dataclass(frozen=True, slots=True)
class Range:
    """The numbers that an option may have, from `lowest` to `highest`.

    `source` says where the limits come from: from a page of AWS, or from poller ("ours").
    `none` is the number in the file that stands for no limit or no window. In `model/`, it becomes None.
    """

    lowest: float
    highest: float
    unit: str
    source: str = dataclasses.field(kw_only=True)
    is_whole: bool = dataclasses.field(default=True, kw_only=True)
    none: int | None = dataclasses.field(default=None, kw_only=True)

    def __str__(self) -> str:
        kind = "a whole number" if self.is_whole else "a number"
        otherwise = f", or {self.none} for no limit" if self._has_number_outside else ""
        return f"must be {kind} of {self.unit} from {self.lowest} to {self.highest}{otherwise}"

    @property
    def _has_number_outside(self) -> bool:
        return self.none is not None and not self.lowest <= self.none <= self.highest

    def read(self, value: object) -> float | None:
        """Return the number, or None if it is `self.none`.

        Raise PydanticCustomError if the range does not have the number.
        """
        number = _number(value) if isinstance(value, Substituted) else value
        if isinstance(number, bool) or not isinstance(number, int if self.is_whole else int | float):
            raise rule_error(str(self))
        if number == self.none:
            return None
        if not self.lowest <= number <= self.highest:
            raise rule_error(str(self))
        return number

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(self.read, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        kind = "integer" if self.is_whole else "number"
        choices: list[JsonSchemaValue] = [{"type": kind, "minimum": self.lowest, "maximum": self.highest}]
        if self._has_number_outside:
            choices.append({"const": self.none})
        return {"anyOf": [*choices, REFERENCE_SCHEMA]}


REFERENCE_SCHEMA: JsonSchemaValue = {"type": "string", "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}"}
"""The schema of a reference such as `${NAME}` or `${NAME:-10}`, which may stand in place of a number or a boolean."""


def _number(text: str) -> float | None:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None


def rule_error(rule: str) -> PydanticCustomError:
    """Return the error that a field's validator raises for a value that breaks `rule`."""
    return PydanticCustomError("rule", "{rule}", {"rule": rule})


def explained(text: str) -> Any:
    """Return a marker with an option's explanation.

    It serves options whose explanation is made from a table like RECEIVERS.
    """
    return Field(description=cleandoc(text))


def built(model: type[Value], options: Options, /, **others: Any) -> Value:
    """Return a value of `model`. Each field comes from `others`, or else from the option or property of the same name.

    Lists become tuples.
    """
    values = {
        field.name: others[field.name] if field.name in others else getattr(options, field.name)
        for field in dataclasses.fields(model)
    }
    return model(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


@cache
def leaves(model: type[BaseModel]) -> tuple[tuple[str, ...], ...]:
    """Return each option as a tuple of names: `("batch_size",)`, or `("scaling_config", "maximum_concurrency")`."""
    options: list[tuple[str, ...]] = []
    for name, field in model.model_fields.items():
        inner = inner_options(field.annotation)
        if inner is not None and get_origin(field.annotation) not in (dict, list):
            options += ((name, *rest) for rest in leaves(inner))
        else:
            options.append((name,))
    return tuple(options)


def declaration(model: type[BaseModel], path: Path) -> FieldInfo | None:
    """Return the field of the option at the path, or None if there is no such option."""
    parts, field = iter(path), None
    for part in parts:
        field = model.model_fields.get(str(part))
        if field is None:
            return None
        inner = inner_options(field.annotation)
        if any(get_origin(kind) in (dict, list) for kind in (field.annotation, *get_args(field.annotation))):
            next(parts, None)  # a key or a position; the annotation may be `dict[…] | None`
        model = inner or Options
    return field


def marker(field: FieldInfo | None, kind: type[Marker]) -> Marker | None:
    """Return the marker of this kind in the field's declaration, or None."""
    return next((mark for mark in field.metadata if isinstance(mark, kind)), None) if field else None


def api_name(option: str, field: FieldInfo | None) -> str | None:
    """Return the name of the option in a request of AWS's API, or None if AWS has no such option."""
    declared = marker(field, ApiName)
    return declared.text if declared else "".join(word.capitalize() for word in option.split("_"))


@cache
def limited(model: type[BaseModel]) -> Mapping[str, tuple[str, ...]]:
    """Return the options that apply only to some kinds of source or function, each with these kinds."""
    return {name: mark.kinds for name, field in model.model_fields.items() if (mark := marker(field, For))}


def inner_options(annotation: Any) -> type[BaseModel] | None:
    """Return the class of the tables in a field of this type, or None if the field holds no table.

    A field may hold one table, a list of tables, or tables by name.
    """
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((inner for part in get_args(annotation) if (inner := inner_options(part))), None)
