"""What replaces `${NAME}` in a settings file? The value of the environment variable:

    "Bearer ${TOKEN}"  ->  "Bearer s3cret"
    "${PORT:-8080}"    ->  "8080" if PORT is not set or empty, as in a shell
    "$${literal}"      ->  "${literal}"

This happens after the TOML was parsed, so the value of a variable cannot change the structure of the file.
References are replaced in values, not in keys. A `${…}` in the value of a variable stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from poller.settings.faults import Fault
from poller.settings.table import REFERENCE, Path, Substituted


def substitute(table: dict[str, Any], environ: Mapping[str, str]) -> tuple[dict[str, Any], list[Fault]]:
    """Return the table with every reference replaced, and a fault for each reference that cannot be replaced."""
    faults: list[Fault] = []

    def walk(node: Any, path: Path) -> Any:
        match node:
            case dict():
                return {key: walk(value, (*path, key)) for key, value in node.items()}
            case list():
                return [walk(value, (*path, index)) for index, value in enumerate(node)]
            case str() if "${" in node:
                text, rules = _replace(node, environ)
                faults.extend(Fault(path, rule) for rule in rules)
                return Substituted(text, node)
            case _:
                return node

    return walk(table, ()), faults


ORDINARY_VARIABLES = frozenset(
    ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "PWD", "SHELL", "TMPDIR", "TZ", "USER", "VIRTUAL_ENV")
)
"""Child processes inherit these variables in any case: programs expect them, and they hold no secret."""


def withheld_variables(table: dict[str, Any]) -> frozenset[str]:
    """Return the variables that no child process inherits: those that [daemon] or [functions] refer to.

    They may hold a token, a password or a key. A function that needs one names it in its own `environment`.
    Ordinary variables such as PATH are inherited. `inherit_credentials` decides about the variables `AWS_…`.
    """
    names = {name for key in ("daemon", "functions") for name in _referenced(table.get(key))}
    return frozenset(name for name in names - ORDINARY_VARIABLES if not name.startswith("AWS_"))


def _referenced(node: Any) -> Iterator[str]:
    match node:
        case dict():
            for value in node.values():
                yield from _referenced(value)
        case list():
            for item in node:
                yield from _referenced(item)
        case Substituted():
            for reference in REFERENCE.finditer(node.written):
                if name := _NAME.fullmatch(reference["within"] or ""):
                    yield name["name"]


_NAME = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(:-(?P<default>.*))?", flags=re.DOTALL)

NOT_A_REFERENCE = (
    "${ begins the name of an environment variable, as in ${NAME} or ${NAME:-default}; a plain ${ is written $${"
)


def _replace(written: str, environ: Mapping[str, str]) -> tuple[str, list[str]]:
    broken: list[str] = []

    def value(match: re.Match[str]) -> str:
        if match["within"] is None:
            return "${"
        reference = _NAME.fullmatch(match["within"]) if match["end"] else None
        if reference is None:
            broken.append(NOT_A_REFERENCE)
            return ""
        name, default = reference["name"], reference["default"]
        if name not in environ and default is None:
            broken.append(f"the environment has no variable {name}")
        found = environ.get(name) or default or ""
        try:
            found.encode()
        except UnicodeEncodeError:
            broken.append(f"the environment variable {name} is not UTF-8")
        return found

    return REFERENCE.sub(value, written), broken
