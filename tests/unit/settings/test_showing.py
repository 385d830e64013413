"""How does the file look with its defaults filled in?"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

from poller.settings.loading import examine, load
from poller.settings.showing import effective_toml
from poller.settings.values import Settings

EXAMPLE = Path(__file__).parents[3] / "config" / "poller.toml"
ENVIRON = {
    "DATABASE_PASSWORD": "s3cret",
    "NOTIFY_TOKEN": "t0ken",
    "POLLER_ADMIN_TOKEN": "adm1n",
    "POLLER_API_SECRET": "k3y",
}


def shown(file: Path, environ: Mapping[str, str]) -> str:
    examined = examine(file, environ)
    return effective_toml(examined.settings, examined.table)


def without_warnings(settings: Settings) -> Settings:
    return dataclasses.replace(settings, warnings=())


def remarks(lines: list[str], line: str) -> list[str]:
    return [remark for text, _, remark in (one.partition("  # ") for one in lines) if text.rstrip() == line]


MINIMAL = """
[functions.f]
handler = "a:b"
[functions.bill]
arn = "arn:aws:lambda:eu-west-1:123456789012:function:bill"
[mappings.q]
event_source_arn = "arn:aws:sqs:eu-west-1:123456789012:q"
function_name = "f"
[mappings.k]
event_source_arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/k"
function_name = "resize:live"
starting_position = "LATEST"
destination_config.on_failure.destination_arn = "arn:aws:s3:::failures"
[mappings.d]
event_source_arn = "arn:aws:dynamodb:${REGION}:123456789012:table/ddd/stream/2026"
function_name = "bill"
starting_position = "LATEST"
filter_criteria.filters = [{ pattern = { dynamodb = { "a b" = ["$${x}\\u007f\\"\\n"] } } }]
"""


WITHOUT_MASKED_VALUES = re.sub(r"((?:TABLE|BUCKET) = )\"[^\"]*\"", r'\1"${NAME}"', EXAMPLE.read_text())


@pytest.mark.parametrize("text", ["", MINIMAL, WITHOUT_MASKED_VALUES])
def test_the_shown_settings_mean_the_same_when_they_are_read_again(tmp_path: Path, text: str) -> None:
    environ = {**ENVIRON, "REGION": "eu-west-1", "NAME": "users"}
    written, again = tmp_path / "written.toml", tmp_path / "again.toml"
    written.write_text(text)
    again.write_text(shown(written, environ))
    assert without_warnings(load(again, environ)) == without_warnings(load(written, environ))
    assert shown(again, environ).count("# default") == 0


def test_defaults_are_shown_and_marked_as_defaults(tmp_path: Path) -> None:
    file = tmp_path / "poller.toml"
    file.write_text(MINIMAL)
    text = shown(file, {"REGION": "eu-west-1"})
    tree = tomllib.loads(text)
    assert tree["mappings"]["q"]["batch_size"] == 10
    assert tree["mappings"]["k"]["batch_size"] == 100
    assert tree["mappings"]["k"]["destination_config"]["on_failure"]["if_unreachable"] == "wait"
    lines = text.splitlines()
    assert remarks(lines, 'function_name = "resize:live"') == ["a function of AWS Lambda, 30 seconds, 1000 at once"]
    assert remarks(lines, "batch_size = 10") == ["default"]
    assert remarks(lines, "maximum_retry_attempts = -1") == ["default"] * 2
    assert remarks(lines, "tumbling_window_in_seconds = 0") == ["default"] * 2
    assert "# reserved_concurrency: 1000, not reserved" in lines
    assert "# scaling_config.maximum_concurrency: the function's reserved_concurrency holds" in lines


def test_no_value_from_the_environment_is_shown() -> None:
    text = shown(EXAMPLE, ENVIRON)
    assert "${DATABASE_PASSWORD}" in text
    assert "${NOTIFY_TOKEN}" in text
    assert "s3cret" not in text
    assert "t0ken" not in text
    assert 'admin_token = "${POLLER_ADMIN_TOKEN}"' in text
    assert "adm1n" not in text
    assert 'api_keys = { AKIDEXAMPLE = "${POLLER_API_SECRET}" }' in text
    assert "k3y" not in text


@pytest.mark.parametrize("secret", ["k3y", "${NO_KEY:-k3y}", "k3y${KEY}"])
def test_no_api_key_is_shown_that_the_file_has_in_plain_text(tmp_path: Path, secret: str) -> None:
    file = tmp_path / "poller.toml"
    keys = f'{{ ONE = "${{KEY}}", TWO = "{secret}" }}'
    file.write_text(f'[daemon]\napi_listen = "127.0.0.1:9465"\napi_keys = {keys}')
    text = shown(file, {"KEY": "other"})
    assert "# api_keys: is set; its value is not shown" in text.splitlines()
    assert "k3y" not in text


@pytest.mark.parametrize("written", ["s3cret", "${TOKEN:-s3cret}", "${NONE:-}s3cret"])
def test_a_token_in_the_file_is_not_shown(tmp_path: Path, written: str) -> None:
    file = tmp_path / "poller.toml"
    file.write_text(f'[daemon]\nhttp_listen = "127.0.0.1:9464"\nadmin_token = "{written}"')
    text = shown(file, {})
    assert "# admin_token: is set; its value is not shown" in text.splitlines()
    assert "s3cret" not in text


def test_a_secret_that_the_file_has_in_plain_text_is_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "poller.toml"
    file.write_text("""
        [daemon]
        endpoint_url = "http://me:s3cret@127.0.0.1:4566"
        endpoints = { sqs = "http://me:s3cret@127.0.0.1:4567" }
        [functions.service]
        url = "https://host/path?key=s3cret"
        headers = { X-Key = "s3cret" }
        [functions.services]
        urls = ["https://host/path?key=s3cret"]
        [functions.program]
        command = ["node", "--token=s3cret"]
        environment = { KEY = "s3cret", OTHER = "${NONE:-s3cret}" }
    """)
    text = shown(file, {})
    assert "s3cret" not in text
    assert 'url = "https://host/path?***"' in text.splitlines()
    assert 'headers = { X-Key = "***" }' in text.splitlines()
    assert 'environment = { KEY = "***", OTHER = "${NONE:-***}" }' in text.splitlines()


def test_a_default_shows_no_value_from_the_environment(tmp_path: Path) -> None:
    """The region of a mapping is derived from its source's ARN."""
    file = tmp_path / "poller.toml"
    file.write_text(MINIMAL)
    assert "xx-mars-1" not in shown(file, {"REGION": "xx-mars-1"})
