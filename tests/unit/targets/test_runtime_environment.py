"""What does a child find in its environment?"""

from __future__ import annotations

import re

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


def test_a_child_finds_lambdas_variables() -> None:
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


def test_an_emulator_of_the_daemon_is_the_childs_too() -> None:
    found = variables(command_kind("x"), endpoint_url="http://127.0.0.1:4566")
    assert found["AWS_ENDPOINT_URL"] == "http://127.0.0.1:4566"
