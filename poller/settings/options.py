"""How is an option declared? As a field of an `Options`: type, range, sources or kinds, default, and its explanation.

    parallelization_factor: Annotated[int, Range(1, 10, "batches at once", source=API), STREAMS] = 1
    '''How many batches of one shard may run at once, from 1 to 10.
    Default: 1.'''

Everything else comes from the declaration: the faults, the value in `model/` (`built`), the lines of `poller check`,
the JSON Schema, and the comment in config/poller.toml.

A number may also come from `${NAME}`, as text. A text of the file itself is not a number.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import PydanticCustomError, core_schema

from poller.settings.table import Path, Substituted

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Marker = TypeVar("Marker", "ApiName", "AtStart", "For", "Unstated", "Follows", "Secret", "Range")
Value = TypeVar("Value", bound="DataclassInstance")


class Options(BaseModel):
    """The options of one TOML table. An unknown key is a fault, no value is converted, and each option is explained."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


@dataclass(frozen=True, slots=True)
class For:
    """The option applies only to these kinds: services of a mapping's source, or kinds of a function."""

    kinds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ApiName:
    """The option's name in a request of AWS's API if it is not the same in CamelCase; None if AWS has no such."""

    text: str | None


@dataclass(frozen=True, slots=True)
class AtStart:
    """The daemon reads the option when it starts, and a reload cannot change it."""


@dataclass(frozen=True, slots=True)
class Unstated:
    """What holds if the option is not stated and has no default of its own, in a few words."""

    text: str


@dataclass(frozen=True, slots=True)
class Follows:
    """If it is not stated, the option follows from other settings; the field of its name in the model has the value."""


@dataclass(frozen=True, slots=True)
class Secret:
    """The value is never shown, even if the file has it in plain text."""


@dataclass(frozen=True, slots=True)
class Range:
    """The numbers that an option may have. `source` is the page of AWS, or our reason.

    `none` is the number that means None: no limit, or no window.
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
        """The number that was written, or a PydanticCustomError that says what may be written."""
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
"""An editor accepts this instead of a number: `${NAME}` or `${NAME:-10}`."""


def _number(text: str) -> float | None:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None


def rule_error(rule: str) -> PydanticCustomError:
    """A field's validator raises this; `rule` becomes the rule of the fault."""
    return PydanticCustomError("rule", "{rule}", {"rule": rule})


def built(model: type[Value], options: Options, /, **others: Any) -> Value:
    """A value of the model. Each of its fields is one of `others`, or the option or property of the same name."""
    values = {
        field.name: others[field.name] if field.name in others else getattr(options, field.name)
        for field in dataclasses.fields(model)
    }
    return model(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def leaves(model: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    """Every option of a table; those of a table within it as `("scaling_config", "maximum_concurrency")`."""
    for name, field in model.model_fields.items():
        inner = inner_options(field.annotation)
        if inner is not None and get_origin(field.annotation) not in (dict, list):
            yield from ((name, *rest) for rest in leaves(inner))
        else:
            yield (name,)


def declaration(model: type[BaseModel], path: Path) -> FieldInfo | None:
    """The field of the option at the path, through names and list positions; None where there is no such option."""
    parts, field = iter(path), None
    for part in parts:
        field = model.model_fields.get(str(part))
        if field is None:
            return None
        inner = inner_options(field.annotation)
        if get_origin(field.annotation) in (dict, list):
            next(parts, None)
        model = inner or Options
    return field


def marker(field: FieldInfo | None, kind: type[Marker]) -> Marker | None:
    """The marker of this kind in the field's declaration, or None."""
    return next((mark for mark in field.metadata if isinstance(mark, kind)), None) if field else None


def api_name(option: str, field: FieldInfo | None) -> str | None:
    """The name of the option in a request of AWS's API, or None where AWS has no such option."""
    declared = marker(field, ApiName)
    return declared.text if declared else "".join(word.capitalize() for word in option.split("_"))


@cache
def limited(model: type[BaseModel]) -> Mapping[str, tuple[str, ...]]:
    """The options of the model that apply only to some kinds, and these kinds."""
    return {name: mark.kinds for name, field in model.model_fields.items() if (mark := marker(field, For))}


def inner_options(annotation: Any) -> type[BaseModel] | None:
    """The options of the table that a field of this type holds, by itself, in a list, or under names."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((inner for part in get_args(annotation) if (inner := inner_options(part))), None)
