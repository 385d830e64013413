"""What does the text of a file become? A table: TOML's own tables, lists and values, each of which has a path.

A path is the keys and list positions from the root: `("mappings", "new_users", "filter_criteria", "filters", 0)`.
Text that took a value from the environment is `Substituted`, and remembers how it was written.
`as_toml` writes a value as it was written, so that no value of the environment is shown.
"""

from __future__ import annotations

import datetime
import json
import re
from typing import Any

Path = tuple[str | int, ...]


class Substituted(str):
    """Text with values of the environment in it. `written` is the text of the file, with `${NAME}`."""

    __slots__ = ("written",)

    written: str

    def __new__(cls, text: str, written: str) -> Substituted:
        substituted = super().__new__(cls, text)
        substituted.written = written
        return substituted


ABSENT = object()
"""What `find` returns where the path leads nowhere. TOML has no null, so no value of a file can mean it."""


def find(table: Any, path: Path) -> Any:
    """The value at the path, or ABSENT."""
    for part in path:
        try:
            table = table[part]
        except (KeyError, IndexError, TypeError):
            return ABSENT
    return table


def without(table: Any, path: Path) -> Any:
    """A copy of the table without the value at the path. A list is removed as a whole, whichever item is meant.

    Where a table lacks the last key of the path, that table is removed: a key that it needs is missing.
    """
    key, *rest = path
    if not isinstance(table, dict) or key not in table:
        return table
    inner, kept = table[key], dict(table)
    if isinstance(inner, dict) and (len(rest) > 1 or (rest and rest[0] in inner)):
        kept[key] = without(inner, tuple(rest))
    else:
        del kept[key]
    return kept


def rank(table: Any, path: Path) -> tuple[float, ...]:
    """Sorts paths as their values stand in the file. A key that its table lacks comes after the keys that it has."""
    ranks: list[float] = []
    for part in path:
        keys = list(table) if isinstance(table, dict) else list(range(len(table))) if isinstance(table, list) else []
        ranks.append(keys.index(part) if part in keys else float("inf"))
        table = find(table, (part,))
    return tuple(ranks)


def dotted(path: Path) -> str:
    """`mappings.new_users.filter_criteria.filters[0].pattern`"""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{_key(part)}" for part in path)
    return text.removeprefix(".")


_BITS_OF_A_DECIMAL = 1024
"""A longer whole number is written in hexadecimal: Python refuses to write thousands of decimal digits."""


def as_toml(value: Any) -> str:
    """The value as TOML on one line, as it was written."""
    match value:
        case bool():
            return "true" if value else "false"
        case Substituted():
            return _quoted(value.written)
        case str():
            return _quoted(value)
        case list() | tuple():
            return f"[{', '.join(as_toml(item) for item in value)}]"
        case dict():
            return f"{{ {', '.join(f'{_key(key)} = {as_toml(item)}' for key, item in value.items())} }}".replace(
                "{  }", "{}"
            )
        case int() if value.bit_length() > _BITS_OF_A_DECIMAL:
            return hex(value)
        case datetime.datetime() | datetime.date() | datetime.time():
            return value.isoformat()
        case _:
            return str(value)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _quoted(key)
