"""Which part of a value of the file may people see? All of it, except what is probably a secret.

A `***` stands for a hidden text. A reference to the environment is shown, but never its default:

    any option                `${NAME:-default}`               is shown as    `${NAME:-***}`
    headers, environment      `Bearer ${TOKEN}`, `a ${TOKEN}`, `s3cret`       `Bearer ${TOKEN}`, `***${TOKEN}`, `***`
    urls                      `http://me:s3cret@host/path?key=s3cret`         `http://***@host/path?***`
    a table as the state      the endpoint_url in it                          like a url
    command                   `--token=s3cret`, `--token`, `s3cret`           `--token=***`, `--token`, `***`

The declaration of an option says which line applies to it (`MayHoldSecrets`); an option with `Secret` is not shown.
A word such as "token" tells that an argument of a command is a secret. Other secrets of a command are not recognized.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, assert_never

from pydantic.fields import FieldInfo

from poller.settings.options import MayHoldSecrets, marker
from poller.settings.table import REFERENCE, Substituted

MASK = "***"

HTTP_SCHEMES = ("Bearer ", "Basic ")
"""A header Authorization has one of these words before the credential."""

SENSITIVE_WORDS = r"token|passw|passphrase|pwd|secret|key|credential|auth|bearer"
"""An argument of a command with one of these words may be a secret, or comes before one."""


def masked(value: Any, field: FieldInfo | None) -> Any:
    """Return a copy of an option's value that may be shown. `field` declares the option."""
    mark = marker(field, MayHoldSecrets)
    if mark is None:
        return _each(value, lambda text: text)
    match mark.kind:
        case "text":
            return _each(value, _hidden)
        case "url":
            return _each(value, _url)
        case "state":
            return _each(value, _state)
        case "command":
            return list(_command(value)) if isinstance(value, list) else _each(value, _argument)
        case unknown:
            assert_never(unknown)


def _each(value: Any, mask: Callable[[str], str]) -> Any:
    """Return a copy of the value in which `mask` has changed each text."""
    match value:
        case dict():
            return {key: _each(item, mask) for key, item in value.items()}
        case list():
            return [_each(item, mask) for item in value]
        case Substituted():
            written = _with_references(value.written, mask)
            return Substituted(written, written)
        case str():
            return _with_references(value, mask)
        case _:
            return value


_ANY_REFERENCE = "\ue000"
"""This character stands for each reference while a text is masked. Unicode gives it no meaning."""


def _with_references(text: str, mask: Callable[[str], str]) -> str:
    """Return the text as `mask` changes it. Its references stay, without their defaults."""
    references: list[str] = []

    def taken(match: re.Match[str]) -> str:
        reference = _SOUND.fullmatch(match[0])
        if reference is None:  # the text `$${`, or a fault
            return match[0]
        references.append(f"${{{reference[1]}:-{MASK}}}" if reference[2] else match[0])
        return _ANY_REFERENCE

    shown = mask(REFERENCE.sub(taken, text.replace(_ANY_REFERENCE, "?")))
    kept = iter(references)
    return re.sub(_ANY_REFERENCE, lambda _: next(kept), shown)


_SOUND = re.compile(r"\$\{(\w+)(:-.*)?\}", re.DOTALL)


def _hidden(text: str) -> str:
    """Return the references of the text, with a mask for each other part of it, except for an HTTP scheme."""
    return re.sub(f"[^{_ANY_REFERENCE}]+", lambda part: part[0] if part[0] in HTTP_SCHEMES else MASK, text)


def _url(url: str) -> str:
    """Return the url without its user, password, query and fragment."""
    scheme, authority, path, rest = _URL.fullmatch(url).groups()  # type: ignore[union-attr]  # it matches every text
    if "@" in path + rest:  # the password may have a "/", "?" or "#", or another url follows: the host is uncertain
        return f"{scheme or ''}{_hidden(authority + path + rest)}"
    user, at, host = authority.rpartition("@")
    return f"{scheme or ''}{_hidden(user)}{at}{host}{path}{rest[:1]}{_hidden(rest[1:])}"


_URL = re.compile(r"([^/?#]*://)?([^/?#]*)([^?#]*)(.*)", re.DOTALL)


def _state(address: str) -> str:
    return re.sub(r"(?<=endpoint_url=)[^&]*", lambda match: _url(match[0]), address)


def _command(arguments: list[Any]) -> Iterator[Any]:
    """Yield the program and its arguments, without the arguments that are probably secrets."""
    is_value = False
    for index, argument in enumerate(arguments):
        mask = _hidden if is_value else _argument if index > 0 else lambda text: text
        yield _each(argument, mask)
        written = argument.written if isinstance(argument, Substituted) else argument
        is_value = index > 0 and isinstance(written, str) and _OPTION_BEFORE_A_SECRET.match(written) is not None


_OPTION_BEFORE_A_SECRET = re.compile(rf"-[\w-]*({SENSITIVE_WORDS})[\w-]*$", re.IGNORECASE)
_NAME_WITH_A_SECRET = re.compile(rf"(.*?(?:{SENSITIVE_WORDS})[\w-]*[\"']?\s*[=:\s]\s*)(.+)", re.IGNORECASE | re.DOTALL)


def _argument(text: str) -> str:
    if "://" in text:
        text = _url(text)
    if (match := _NAME_WITH_A_SECRET.fullmatch(text)) is not None:
        return match[1] + _hidden(match[2])
    is_name = text.startswith("-") or "/" in text or "." in text
    return text if is_name or re.search(SENSITIVE_WORDS, text, re.IGNORECASE) is None else _hidden(text)
