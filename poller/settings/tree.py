"""How is the file held before it is understood? As TOML's own tables, lists and values, and paths into them.

A path is the keys and list positions from the root: `("mappings", "new_users", "filter_criteria", "filters", 0)`.
Text that took a value from the environment is `Substituted`, and remembers how it was written.
Whatever turns a value back into text shows what was written.
"""

from __future__ import annotations

import datetime
import json
import re
from typing import Any

Path = tuple[str | int, ...]


class Substituted(str):
    """Text that is not as it stands in the file; `written` is."""

    __slots__ = ("written",)

    written: str

    def __new__(cls, text: str, written: str) -> Substituted:
        substituted = super().__new__(cls, text)
        substituted.written = written
        return substituted


ABSENT = object()
"""What `find` gives where nothing stands: TOML has no value for it."""


SECRETS: frozenset[Path] = frozenset({("daemon", "admin_token")})
"""The paths of options whose value is never shown, even if the file has it in plain text."""


def find(tree: Any, path: Path) -> Any:
    """What stands at the path, or ABSENT."""
    for part in path:
        try:
            tree = tree[part]
        except (KeyError, IndexError, TypeError):
            return ABSENT
    return tree


def without(tree: Any, path: Path) -> Any:
    """A copy of the tree that lacks what stands at the path; a list with a lacking item is left out as a whole."""
    key, *rest = path
    if not isinstance(tree, dict) or key not in tree:
        return tree
    kept = {**tree}
    if rest and isinstance(tree[key], dict):
        kept[key] = without(tree[key], tuple(rest))
    else:
        del kept[key]
    return kept


def place(tree: Any, path: Path) -> tuple[float, ...]:
    """A sort key: where in the file the path stands. What is not there stands behind its neighbours."""
    places: list[float] = []
    for part in path:
        keys = list(tree) if isinstance(tree, dict) else list(range(len(tree))) if isinstance(tree, list) else []
        places.append(keys.index(part) if part in keys else float("inf"))
        tree = find(tree, (part,))
    return tuple(places)


def dotted(path: Path) -> str:
    """`mappings.new_users.filter_criteria.filters[0].pattern`"""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{_key(part)}" for part in path)
    return text.removeprefix(".")


_BITS_OF_A_DECIMAL = 1024
"""Of a whole number that is shown with decimal digits. Python refuses to write them where they are thousands."""


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
