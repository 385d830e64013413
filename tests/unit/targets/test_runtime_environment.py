"""Which variables are in the environment of a child?"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from poller.model.function import ChildProcess
from poller.targets.runtime.environment import environment
from tests.fakes.functions import callable_kind, command_kind, function


def variables(kind: ChildProcess, *, endpoint_url: str | None = None, **inherited: str) -> dict[str, str]:
    return environment(
        function(kind),
        kind,
        "127.0.0.1:9001",
        inherited=inherited,
        region="eu-west-1",
        endpoint_url=endpoint_url,
    )


def test_a_child_has_the_environment_variables_of_lambda() -> None:
    kind = callable_kind("functions:insert")
    found = variables(kind)
    stream = found.pop("AWS_LAMBDA_LOG_STREAM_NAME")
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", stream)
    assert found == {
        "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001",
        "AWS_LAMBDA_FUNCTION_NAME": "insert_records",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "3008",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/insert_records",
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "LAMBDA_TASK_ROOT": kind.directory,
        "TZ": ":UTC",
        "_HANDLER": "functions:insert",
    }


def test_lambdas_variables_win_over_the_daemons_and_the_functions_over_both() -> None:
    kind = command_kind("x", environment={"TABLE": "users", "TZ": "Europe/Berlin", "_HANDLER": "index.handler"})
    found = variables(kind, AWS_REGION="us-east-1", TZ="America/Lima", TABLE="mine", PATH="/bin")
    assert found["AWS_REGION"] == "eu-west-1"
    assert found["TZ"] == "Europe/Berlin"
    assert found["TABLE"] == "users"
    assert found["PATH"] == "/bin"
    assert found["_HANDLER"] == "index.handler"


def test_a_commands_last_argument_is_its_handler() -> None:
    assert variables(command_kind("node", "aws-lambda-ric", "index.handler"))["_HANDLER"] == "index.handler"
    assert variables(command_kind("./bootstrap"))["_HANDLER"] == ""


CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKID",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_SESSION_TOKEN": "token",
    "AWS_PROFILE": "daemon",
    "AWS_DEFAULT_PROFILE": "daemon",
    "AWS_CONFIG_FILE": "/etc/daemon/config",
    "AWS_SHARED_CREDENTIALS_FILE": "/etc/daemon/credentials",
    "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/daemon",
    "AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/token",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/credentials",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN": "token",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/var/run/token",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://169.254.169.254",
    "AWS_SOMETHING_NEW": "secret",
    "AWS_CA_BUNDLE_PASSWORD": "secret",
    "BOTO_CONFIG": "/etc/daemon/boto",
}
HARMLESS = {
    "AWS_CA_BUNDLE": "/etc/ca.pem",
    "AWS_ENDPOINT_URL_SQS": "http://127.0.0.1:9324",
    "AWS_MAX_ATTEMPTS": "3",
    "AWS_RETRY_MODE": "standard",
    "AWS_USE_DUALSTACK_ENDPOINT": "true",
    "AWS_USE_FIPS_ENDPOINT": "true",
    "PATH": "/bin",
}


def test_a_child_inherits_the_daemons_credentials() -> None:
    found = variables(command_kind("x"), **CREDENTIALS, **HARMLESS)
    assert found.items() >= (CREDENTIALS | HARMLESS).items()


def test_a_child_that_inherits_no_credentials_has_no_variable_that_leads_to_them() -> None:
    found = variables(replace(command_kind("x"), inherits_credentials=False), **CREDENTIALS, **HARMLESS)
    ways = {name: value for name, value in found.items() if name in CREDENTIALS or "METADATA" in name}
    assert ways == {
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "BOTO_CONFIG": "/dev/null",
    }
    assert found.items() >= HARMLESS.items()
    assert found["AWS_REGION"] == "eu-west-1"


def test_a_child_that_inherits_no_credentials_may_have_its_own() -> None:
    kind = command_kind("x", environment={"AWS_PROFILE": "function", "AWS_CONFIG_FILE": "/etc/function/config"})
    found = variables(replace(kind, inherits_credentials=False), **CREDENTIALS)
    assert found.items() >= kind.environment.items()


FIND = "import botocore.session; print(botocore.session.get_session().get_credentials())"


@pytest.mark.slow
def test_an_sdk_finds_the_files_of_the_daemons_user_only_if_credentials_are_inherited(tmp_path: Path) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b\n")
    (tmp_path / ".boto").write_text("[Credentials]\naws_access_key_id = a\naws_secret_access_key = b\n")
    kind = command_kind("x")
    found = []
    for inherits in (True, False):
        env = variables(replace(kind, inherits_credentials=inherits), HOME=str(tmp_path))
        found.append(subprocess.run([sys.executable, "-c", FIND], env=env, capture_output=True, check=True).stdout)
    assert found[0].startswith(b"<botocore.credentials.Credentials")
    assert found[1] == b"None\n"


def test_a_child_has_its_memory_limit_in_a_variable() -> None:
    found = variables(replace(command_kind("x"), memory_size_in_mb=512))
    assert found["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "512"


def test_a_child_uses_the_daemons_emulator_too() -> None:
    found = variables(command_kind("x"), endpoint_url="http://127.0.0.1:4566")
    assert found["AWS_ENDPOINT_URL"] == "http://127.0.0.1:4566"
