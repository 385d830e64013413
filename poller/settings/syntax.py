"""What is wrong with a file that is not TOML? The message has the line, the key, and what to write instead:

    line 2, column 10: not TOML: daemon.region: write text in quotes

The messages of tomllib name no key, and often do not say what is missing.
The message shows no value, because a value may be a secret.
"""

from __future__ import annotations

import re
from ast import literal_eval

from poller.settings.table import dotted

_NO_SWITCHES = frozenset({"yes", "no", "on", "off", "true", "false"})
_NO_NULLS = frozenset({"null", "none", "nil", "undefined"})
_NOT_CLOSED = "the text is not closed; it ends with the quote that it begins with, on the same line"

_WORDS = {
    "Unterminated string": _NOT_CLOSED,
    'Expected "\'"': _NOT_CLOSED,
    "Unclosed array": "the list is not closed with ]",
    "Unclosed inline table": "the table is not closed with }",
    "Unescaped '\\' in a string": "write a backslash as \\\\, or write the text in single quotes",
}


def explained(error: str, text: str) -> str:
    """Return the message for a person.

    `error` is tomllib's message about `text`: `… (at line 3, column 5)` or `… (at end of document)`.
    """
    rule, _, where = error.removesuffix(")").rpartition(" (at ")
    lines = text.split("\n")
    position = re.fullmatch(r"line (\d+), column (\d+)", where)
    line, column = (int(position[1]), int(position[2])) if position else (len(lines), len(lines[-1]) + 1)
    return f"line {line}, column {column}: not TOML: {_in_words(rule, lines[:line], column)}"


def _in_words(rule: str, lines: list[str], column: int) -> str:
    """Return the key and what to write.

    `lines` are the lines of the file, from the first one to the one with the fault.
    """
    before, after = lines[-1][: column - 1], lines[-1][column - 1 :]
    match rule.partition(" (")[0]:
        case "Invalid value":
            return f"{_key_of_the_value(lines, before)}: {_instead_of(after)}"
        case "Cannot overwrite a value":
            return f"{_key_of_the_line(lines)} is written twice; a key has one value"
        case "Cannot declare":
            return f"the table [{_named(rule)}] begins twice; write all its keys under one heading"
        case "Cannot mutate immutable namespace":
            return f"{_named(rule)} is complete where it is written; add the key there, inside its braces or brackets"
        case "Expected newline or end of document after a statement":
            return f"{_key_of_the_line(lines)}: its value ends here; write text in quotes, and each key on its own line"
        case "Illegal character '\\n'" | "Found invalid character '\\n'":
            return f"{_key_of_the_line(lines)}: {_NOT_CLOSED}"
        case _:
            return _WORDS.get(rule, rule)


def _instead_of(value: str) -> str:
    found = re.match(r"[^\s,\]}#]*", value)
    word = found[0].lower() if found else ""
    if not word:
        return "it has no value"
    if word in _NO_SWITCHES:
        return "write true or false"
    if word in _NO_NULLS:
        return "TOML has no null; leave the key out"
    return "write text in quotes"


def _key_of_the_value(lines: list[str], before: str) -> str:
    """Return the key at the end of `before`, or else the first key of the line.

    The key at the end of `before` may be in an inline table.
    """
    inner = re.search(r"([\w.\"-]+)\s*=\s*$", before)
    own, line_key = inner and inner[1], _key_of_the_line(lines)
    return line_key if own is None or line_key == own or line_key.endswith(f".{own}") else f"{line_key}.{own}"


def _key_of_the_line(lines: list[str]) -> str:
    """Return the first key of the last line, with the name of its table.

    If the line is a table's heading, return its name.
    """
    heading = re.match(r"\s*\[+([^\]]*)", lines[-1])
    if heading is not None:
        return f"[{heading[1].strip()}]"
    key = re.match(r"\s*([\w.\"' -]+?)\s*=", lines[-1])
    tables = [found[1].strip() for line in lines if (found := re.match(r"\s*\[+([^\]\[=]+)\]", line))]
    return ".".join([*tables[-1:], key[1] if key is not None else "…"])


def _named(rule: str) -> str:
    """Return the key with dots from a message such as `Cannot declare ('functions', 'f') twice`."""
    found = re.search(r"\(.*\)", rule)
    return dotted(literal_eval(found[0])) if found else "of that name"
