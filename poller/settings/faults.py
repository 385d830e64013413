"""What is a fault, and how is it written? In one line: the path, the value at the path, and the broken rule.

    mappings.new_users.batch_size = 20000: must be a whole number of records from 1 to 10000

There are two kinds: a value that cannot be read by itself, and a rule between values that can.
A rule between values yields no fault where it needs a value that cannot be read, so that one mistake is one line.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel

from poller.settings.options import Secret, declaration, marker
from poller.settings.table import ABSENT, Path, as_toml, dotted, find, rank

SHOWN_CHARACTERS = 70
"""A longer value is cut; these are enough to recognise it."""


class Fault(NamedTuple):
    """`needs` are the paths of further values that the rule looks at.

    `is_all` says that further faults at the path, or below it, are not worth a line.
    """

    path: Path
    rule: str
    needs: tuple[Path, ...] = ()
    is_all: bool = False


def all_faults(unreadable: Sequence[Fault], rules: Iterable[Fault]) -> list[Fault]:
    """The faults to report: of values that cannot be read, and of the rules that could look at all that they need."""
    faults = [*unreadable, *_with_readable_values(rules, [fault.path for fault in unreadable])]
    settled = {fault.path for fault in faults if fault.is_all}
    return [fault for fault in faults if fault.is_all or not any(_is_at(fault.path, path) for path in settled)]


def _with_readable_values(rules: Iterable[Fault], unreadable: Sequence[Path]) -> Iterator[Fault]:
    for fault in rules:
        if not any(_is_at(need, path) or _is_at(path, need) for need in fault.needs for path in unreadable):
            yield fault


def _is_at(path: Path, other: Path) -> bool:
    """Whether `path` is `other` or lies below it."""
    return path[: len(other)] == other


def in_lines(faults: Iterable[Fault], table: Mapping[str, Any], model: type[BaseModel]) -> list[str]:
    """One line for each fault, in the order of the table; the model declares what the table may have."""
    return [in_a_line(fault, table, model) for fault in sorted(faults, key=lambda fault: rank(table, fault.path))]


def in_a_line(fault: Fault, table: Mapping[str, Any], model: type[BaseModel]) -> str:
    if not fault.path:
        return fault.rule
    value = find(table, fault.path)
    if value is ABSENT or value is None or isinstance(value, dict) or marker(declaration(model, fault.path), Secret):
        return f"{dotted(fault.path)}: {fault.rule}"
    text = as_toml(value)
    shown = text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"
    return f"{dotted(fault.path)} = {shown}: {fault.rule}"


def unknown_key(key: str, known: Sequence[str]) -> str:
    """The rule for a key that its table does not know. `known` are its keys, and, dotted, those of its inner tables."""
    begun = [word for word in known if word.lower().startswith(f"{key.lower()}_")]
    meant = begun[0] if len(begun) == 1 else nearest(key, known)
    if meant:
        return f"unknown key; did you mean {meant}?"
    return f"unknown key; known are {', '.join(word for word in known if '.' not in word)}"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant, in whatever case. A dotted word is also known by its last part."""
    words = {candidate.lower(): candidate for candidate in known}
    same = [candidate for candidate in words if candidate.rpartition(".")[2] == word.lower()]
    meant = same or difflib.get_close_matches(word.lower(), words, n=1)
    return words[meant[0]] if meant else None
