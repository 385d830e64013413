"""How does a person read what is wrong with the file? One line for each fault: path, value and broken rule.

    mappings.new_users.batch_size = 20000: must be a whole number of records from 1 to 10000

There are two kinds of fault: a value that cannot be read, and a broken rule between values.
If a rule needs a value that cannot be read, the rule is not reported. So one mistake gives one line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from poller.core.names import nearest
from poller.settings.masking import masked
from poller.settings.options import MayHoldSecrets, Secret, declaration, marker
from poller.settings.table import ABSENT, Path, as_toml, dotted, find, rank

SHOWN_CHARACTERS = 70
"""How many characters of a value are shown. A longer value is cut."""


class Fault(NamedTuple):
    """The value at `path` breaks `rule`.

    `needs` are the paths of other values on which the rule depends.
    If `is_all` is true, all other faults at this path and below it are hidden.
    If `is_unknown_key` is true, the value is not shown, because the key may be the misspelled name of a secret.
    """

    path: Path
    rule: str
    needs: tuple[Path, ...] = ()
    is_all: bool = False
    is_unknown_key: bool = False


def all_faults(unreadable: Sequence[Fault], rules: Iterable[Fault]) -> list[Fault]:
    """Return the faults that a person sees: all of `unreadable`, and some of `rules`.

    A fault of `rules` is left out if it needs a value that cannot be read, or if another fault hides it (`is_all`).
    """
    faults = [*unreadable, *_with_readable_values(rules, [fault.path for fault in unreadable])]
    settled = {fault.path for fault in faults if fault.is_all}
    return [fault for fault in faults if fault.is_all or not any(_is_at(fault.path, path) for path in settled)]


def _with_readable_values(rules: Iterable[Fault], unreadable: Sequence[Path]) -> Iterator[Fault]:
    for fault in rules:
        if not any(_is_at(need, path) or _is_at(path, need) for need in fault.needs for path in unreadable):
            yield fault


def _is_at(path: Path, other: Path) -> bool:
    """Return whether `path` is `other` or lies below it."""
    return path[: len(other)] == other


def in_lines(faults: Iterable[Fault], table: Mapping[str, Any], model: type[BaseModel]) -> list[str]:
    """Return one line for each fault, in the order of the table.

    `model` declares the options of the table. The value of a `Secret` option is not shown, and others are masked.
    An argument of a command is not shown, because the argument before it may tell that it is a secret.
    """
    return [in_a_line(fault, table, model) for fault in sorted(faults, key=lambda fault: rank(table, fault.path))]


def in_a_line(fault: Fault, table: Mapping[str, Any], model: type[BaseModel]) -> str:
    if not fault.path:
        return fault.rule
    value, field = find(table, fault.path), declaration(model, fault.path)
    if value is ABSENT or value is None or isinstance(value, dict) or _is_hidden(fault, field):
        return f"{dotted(fault.path)}: {fault.rule}"
    text = as_toml(masked(value, field))
    shown = text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"
    return f"{dotted(fault.path)} = {shown}: {fault.rule}"


def _is_hidden(fault: Fault, field: FieldInfo | None) -> bool:
    if fault.is_unknown_key or marker(field, Secret):
        return True
    mark = marker(field, MayHoldSecrets)
    return mark is not None and mark.kind == "command" and isinstance(fault.path[-1], int)


def unknown_key(key: str, known: Sequence[str]) -> str:
    """Return the rule that an unknown key breaks, with the known key that the person probably meant.

    `known` are the keys of the table. Keys of inner tables have dots.
    """
    begun = [word for word in known if word.lower().startswith(f"{key.lower()}_")]
    meant = begun[0] if len(begun) == 1 else nearest(key, known)
    if meant:
        return f"unknown key; did you mean {meant}?"
    return f"unknown key; the known keys are {', '.join(word for word in known if '.' not in word)}"
