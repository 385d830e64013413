"""Where does Lambda's API find its functions, and who may call it?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from poller.composition.api import access_of, directory_of
from poller.lambda_api.names import Home
from poller.model.arn import Arn
from poller.settings.loading import load
from poller.settings.values import Settings

FUNCTION = '[functions.insert]\nurl = "http://127.0.0.1:1"\n'
ARN = "arn:aws-cn:lambda:cn-north-1:210987654321:function:insert"


def settings_of(folder: Path, daemon: str, functions: str = FUNCTION, arn: str | None = None) -> Settings:
    """Return the settings. If `arn` is given, the function has it, as a function that a mapping uses has."""
    file = folder / "poller.toml"
    file.write_text(f"[daemon]\n{daemon}\n{functions}")
    settings = load(file, {})
    if arn is None:
        return settings
    changed = {name: replace(one, arn=Arn.parse(arn)) for name, one in settings.functions.items()}
    return replace(settings, functions=changed)


@pytest.mark.parametrize(
    ("daemon", "arn", "home"),
    [
        ("", ARN, Home(partition="aws-cn", region="cn-north-1", account="210987654321")),
        (
            'region = "eu-west-1"\naccount_id = "123456789012"',
            ARN,
            Home(partition="aws-cn", region="eu-west-1", account="123456789012"),
        ),
    ],
)
def test_the_file_says_the_region_and_the_account_and_else_a_function_does(
    tmp_path: Path, daemon: str, arn: str, home: Home
) -> None:
    settings = settings_of(tmp_path, daemon, arn=arn)
    directory = directory_of(settings, "/etc/poller.toml")
    assert directory.home == home
    assert (directory.functions, directory.file) == (settings.functions, "/etc/poller.toml")


def test_without_a_function_the_region_and_the_account_have_values_too(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "", functions="")
    assert directory_of(settings, "f").home == Home(region="us-east-1", account="000000000000")


def test_the_hosts_and_the_keys_of_the_file_are_used_and_without_keys_no_signature_is_asked_for(tmp_path: Path) -> None:
    options = 'api_listen = "127.0.0.1:0"\nregion = "eu-west-1"\nhttp_hosts = ["poller.internal"]\n'
    without = access_of(settings_of(tmp_path, options))
    assert (list(without.hosts), without.keys, without.region) == (["poller.internal"], None, "eu-west-1")
    with_keys = access_of(settings_of(tmp_path, options + 'api_keys = { AKID = "secret" }'))
    assert with_keys.keys == {"AKID": "secret"}
