"""Which part of a value of the file may people see?"""

from __future__ import annotations

from typing import Any

import pytest

from poller.settings.environment import substitute
from poller.settings.file import FileOptions
from poller.settings.masking import masked
from poller.settings.options import declaration
from poller.settings.table import as_toml

ENVIRON = {"A": "of-the-environment", "API_TOKEN": "of-the-environment"}


def shown(path: str, value: Any) -> str:
    table, faults = substitute({"": value}, ENVIRON)
    assert not faults
    field = declaration(FileOptions, tuple(path.split(".")))
    assert field is not None
    return as_toml(masked(table[""], field))


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("s3cret", "***"),
        ("", ""),
        ("${A}", "${A}"),
        ("Bearer ${A}", "Bearer ${A}"),
        ("Bearer s3cret", "***"),
        ("my ${A}", "***${A}"),
        ("${A}:s3cret", "${A}***"),
        ("$${s3cret}", "***"),
        ("${NONE:-s3cret}", "${NONE:-***}"),
        ("${NONE:-}", "${NONE:-***}"),
        ("\ue000s3cret${A}", "***${A}"),
    ],
)
@pytest.mark.parametrize("option", ["headers", "environment"])
def test_of_a_header_and_a_variable_only_the_name_and_the_references_are_shown(
    option: str, written: str, text: str
) -> None:
    assert shown(f"functions.f.{option}", {"Name": written}) == f'{{ Name = "{text}" }}'


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("http://host:8080/2015/path", "http://host:8080/2015/path"),
        ("https://me:s3cret@host/path?key=s3cret", "https://***@host/path?***"),
        ("https://me:${A}@${A}:80/${A}?key=${A}#s3cret", "https://***${A}@${A}:80/${A}?***${A}***"),
        ("https://host/path#s3cret", "https://host/path#***"),
        ("https://s3cret@h@host", "https://***@host"),
        ("https://me:s3/cret@host", "https://***"),
        ("https://me:s3?cret@host", "https://***"),
        ("https://me:s3@cr/et@host/path", "https://***"),
        ("${A}", "${A}"),
        ("${A}?s3cret", "${A}?***"),
        ("${NONE:-http://me:s3cret@host}", "${NONE:-***}"),
    ],
)
@pytest.mark.parametrize("option", ["functions.f.url", "daemon.endpoint_url"])
def test_a_url_is_shown_without_its_user_and_its_query(option: str, written: str, text: str) -> None:
    assert shown(option, written) == f'"{text}"'


def test_each_of_several_urls_is_masked() -> None:
    assert shown("functions.f.urls", ["http://me@a/b", "http://c?d"]) == '["http://***@a/b", "http://c?***"]'
    assert shown("daemon.endpoints", {"sqs": "http://me:s3cret@a"}) == '{ sqs = "http://***@a" }'


def test_the_endpoint_of_a_state_is_masked() -> None:
    written = "dynamodb://table?region=eu-west-1&endpoint_url=http://me:s3cret@h:1?s3cret&role_arn=r"
    assert shown("daemon.state", written) == written.replace("me:s3cret", "***").replace("s3cret", "***").join('""')


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        (["node", "bootstrap.mjs", "-v", "--log=debug"], ["node", "bootstrap.mjs", "-v", "--log=debug"]),
        (["/opt/keycloak/run", "lib/auth.py"], ["/opt/keycloak/run", "lib/auth.py"]),
        (["p", "--token=s3cret"], ["p", "--token=***"]),
        (["p", "--db-Password", "s3cret", "shown"], ["p", "--db-Password", "***", "shown"]),
        (["p", "--token", "${A}"], ["p", "--token", "${A}"]),
        (["p", "--token=${A}", "${API_TOKEN}"], ["p", "--token=${A}", "${API_TOKEN}"]),
        (["p", "${API_TOKEN:-s3cret}"], ["p", "${API_TOKEN:-***}"]),
        (["p", "-H", "Authorization: Bearer s3cret"], ["p", "-H", "Authorization: ***"]),
        (["sh", "-c", "TOKEN=s3cret exec run"], ["sh", "-c", "TOKEN=***"]),
        (["p", "my-s3cret-token"], ["p", "***"]),
        (["p", "postgres://me:s3cret@host/database"], ["p", "postgres://***@host/database"]),
        (["p", "--db=postgres://me:s3cret@host/db?sslkey=s3cret"], ["p", "--db=postgres://***@host/db?***"]),
        (["p", "--seeds=http://a:s3cret@h1,http://b:s3cret@h2"], ["p", "--seeds=http://***"]),
        (
            ["sh", "-c", 'curl https://me:s3cret@host -H "Authorization: Bearer s3cret"'],
            ["sh", "-c", 'curl https://***@host -H "Authorization: ***'],
        ),
        (["sh", "-c", "TOKEN=s3cret curl https://me:s3cret@host"], ["sh", "-c", "TOKEN=***"]),
        (["p", '{"apiKey": "s3cret"}'], ["p", '{"apiKey": ***']),
    ],
)
def test_arguments_of_a_command_are_shown_unless_a_word_tells_of_a_secret(
    arguments: list[str], texts: list[str]
) -> None:
    assert shown("functions.f.command", arguments) == as_toml(texts)


def test_a_value_of_another_option_is_shown_but_not_the_default_of_its_references() -> None:
    assert shown("daemon.region", "${R:-eu-west-1}${A}") == '"${R:-***}${A}"'
    assert shown("mappings.m.filter_criteria", {"filters": [{"pattern": {"token": ["x"], "n": [1, True]}}]}) == (
        '{ filters = [{ pattern = { token = ["x"], n = [1, true] } }] }'
    )
