"""Which faults has a file that is not TOML?"""

from __future__ import annotations

import tomllib
from collections.abc import Callable

import pytest

from poller.settings.syntax import explained

NOT_CLOSED = "the text is not closed; it ends with the quote that it begins with, on the same line"


def fault(text: str) -> str:
    with pytest.raises(tomllib.TOMLDecodeError) as caught:
        tomllib.loads(text)
    return explained(str(caught.value), text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = 1\na = 2", "line 2, column 6: not TOML: a is written twice; a key has one value"),
        (
            "[daemon]\nregion = 1\nregion = 2\n",
            "line 3, column 11: not TOML: daemon.region is written twice; a key has one value",
        ),
        ("a = 1\n[a]", "line 2, column 3: not TOML: [a] is written twice; a key has one value"),
        (
            "[functions.f]\n[functions.f]\n",
            "line 2, column 13: not TOML: the table [functions.f] begins twice; write all its keys under one heading",
        ),
        (
            "[f.'a b']\n[f.'a b']\n",
            'line 2, column 9: not TOML: the table [f."a b"] begins twice; write all its keys under one heading',
        ),
        (
            "a = {b = 1}\na.c = 2\n",
            "line 2, column 8: not TOML: a is complete where it is written; "
            "add the key there, inside its braces or brackets",
        ),
        ("a = { b = 1, b = 2 }", "line 1, column 19: not TOML: Duplicate inline table key 'b'"),
        ('[daemon]\nregion = "eu\nx = 1', f"line 2, column 13: not TOML: daemon.region: {NOT_CLOSED}"),
        ("region = 'eu\n", f"line 2, column 1: not TOML: {NOT_CLOSED}"),
        ("region = 'eu\nx = 'y'", f"line 1, column 13: not TOML: region: {NOT_CLOSED}"),
        ('region = "eu', f"line 1, column 13: not TOML: {NOT_CLOSED}"),
        ("[mappings.m]\nenabled = yes", "line 2, column 11: not TOML: mappings.m.enabled: write true or false"),
        ("enabled = True # yes", "line 1, column 11: not TOML: enabled: write true or false"),
        ("a = null", "line 1, column 5: not TOML: a: TOML has no null; leave the key out"),
        ("a = None\n", "line 1, column 5: not TOML: a: TOML has no null; leave the key out"),
        ("[daemon]\nregion = eu-west-1", "line 2, column 10: not TOML: daemon.region: write text in quotes"),
        ("a = ", "line 1, column 5: not TOML: a: it has no value"),
        ("a = # nothing", "line 1, column 5: not TOML: a: it has no value"),
        ("a = { b = yes }", "line 1, column 11: not TOML: a.b: write true or false"),
        ("a = { b = 1, c = [no] }", "line 1, column 19: not TOML: a: write true or false"),
        (
            "[daemon]\nhttp_listen = 127.0.0.1:9464",
            "line 2, column 20: not TOML: daemon.http_listen: its value ends here; "
            "write text in quotes, and each key on its own line",
        ),
        ("a = [1,\n2", "line 2, column 2: not TOML: the list is not closed with ]"),
        ("a = {b = 1", "line 1, column 11: not TOML: the table is not closed with }"),
        (
            'a = "C:\\yes"',
            "line 1, column 10: not TOML: write a backslash as \\\\, or write the text in single quotes",
        ),
        ("[functions.f]\nurls = [\n    s3cret,\n]", "line 3, column 5: not TOML: functions.f.…: write text in quotes"),
        ("= 1", "line 1, column 1: not TOML: Invalid statement"),
    ],
)
def test_a_syntax_fault_names_its_line_its_key_and_what_to_write(text: str, message: str) -> None:
    assert fault(text) == message


@pytest.mark.parametrize(
    "text", ["a = s3cret", 'a = "s3cret', "a = 5 s3cret", "a = 's3cret\n'", "a = [s3cret]", "a = {s3cret"]
)
def test_a_syntax_fault_shows_no_value(text: str) -> None:
    assert "s3cret" not in fault(text)


def test_unknown_messages_of_tomllib_are_passed_on(faults: Callable[..., list[str]]) -> None:
    assert explained("Something new (at line 1, column 2)", "ab") == "line 1, column 2: not TOML: Something new"
    assert explained("Something else", "") == "line 1, column 1: not TOML: "
