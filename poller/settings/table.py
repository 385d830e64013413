"""How does the program find a value of the file, and show it without showing a secret?

The parsed file is a table: TOML's own tables, lists and values. Each value has a path: the keys and list positions
from the root, as in `("mappings", "new_users", "filter_criteria", "filters", 0)`.
A text in which `${NAME}` was replaced is a `Substituted`, which also has the text of the file.
`as_toml` shows the text of the file, so a value of the environment is never shown.
"""

from __future__ import annotations

import datetime
import json
import re
from typing import Any

Path = tuple[str | int, ...]


REFERENCE = re.compile(r"\$\$\{|\$\{(?P<within>[^}]*)(?P<end>\}?)")
"""A reference to the environment, as in `${NAME}`, or the text `$${`, which stands for a plain `${`."""


class Substituted(str):
    """A text in which values of the environment replaced each `${NAME}`. `written` is the text of the file."""

    __slots__ = ("written",)

    written: str

    def __new__(cls, text: str, written: str) -> Substituted:
        substituted = super().__new__(cls, text)
        substituted.written = written
        return substituted


ABSENT = object()
"""`find` returns this if there is no value at the path. No value of a file is equal to it."""


def find(table: Any, path: Path) -> Any:
    """Return the value at the path, or ABSENT."""
    for part in path:
        try:
            table = table[part]
        except (KeyError, IndexError, TypeError):
            return ABSENT
    return table


def without(table: Any, path: Path) -> Any:
    """Return a copy of the table without the value at the path.

    If the path leads into a list, the whole list is left out.
    If an inner table does not have the last key of the path, because this key is missing, the whole inner table is left
    out.
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
    """Return a sort key that puts paths in the order of the file. A missing key comes after the keys of its table."""
    ranks: list[float] = []
    for part in path:
        keys = list(table) if isinstance(table, dict) else list(range(len(table))) if isinstance(table, list) else []
        ranks.append(keys.index(part) if part in keys else float("inf"))
        table = find(table, (part,))
    return tuple(ranks)


def dotted(path: Path) -> str:
    """Return the path as text, as in `mappings.new_users.filter_criteria.filters[0].pattern`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{_key(part)}" for part in path)
    return text.removeprefix(".")


_BITS_OF_A_DECIMAL = 1024
"""`as_toml` writes a longer whole number in hexadecimal, because Python refuses to write thousands of decimals."""


def as_toml(value: Any) -> str:
    """Return the value as TOML on one line, with `${NAME}` where the file has it."""
    match value:
        case bool():
            return "true" if value else "false"
        case Substituted():
            return _quoted(value.written)
        case str():
            return _quoted(value)
        case list() | tuple():
            return f"[{', '.join(as_toml(item) for item in value)}]"
        case dict() if not value:
            return "{}"
        case dict():
            return f"{{ {', '.join(f'{_key(key)} = {as_toml(item)}' for key, item in value.items())} }}"
        case int() if value.bit_length() > _BITS_OF_A_DECIMAL:
            return hex(value)
        case datetime.datetime() | datetime.date() | datetime.time():
            return value.isoformat()
        case _:
            return str(value)


def in_comment(value: object) -> str:
    """Return the value as a comment of TOML may show it: a line break or a control character becomes a `?`."""
    return "".join(character if character.isprintable() else "?" for character in str(value))


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _quoted(key)
