"""Do functions written for Lambda run unchanged, under AWS's own runtime clients for Python and Node?"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest

import poller
from poller.facts import ChildProcessOutput, ChildProcessStarted, ChildProcessStopped
from poller.model.function import ChildProcess
from poller.model.ids import FunctionName
from poller.model.invocation import Answered, FunctionError, Response
from poller.settings.loading import load
from poller.targets.runtime import RuntimeTarget
from tests.fakes.functions import ARN, command_kind, function, invocation
from tests.fakes.recorded import Recorded
from tests.node import installed, node

pytestmark = pytest.mark.anyio

NODE_CLIENT = ("aws-lambda-ric", "4.0.2")
NODE_EXAMPLE = Path(poller.__file__).parent / "examples" / "node"
RECORDS = {"Records": [{"body": "x" * 800}] * 10}
CUSTOM = {"mapping": "new_users", "request_id": "6f1d-0", "attempt": "1"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def python(handler: str) -> ChildProcess:
    return command_kind(sys.executable, "-m", "awslambdaric", f"sample.{handler}")


Javascript = Callable[[str], ChildProcess]


@pytest.fixture(scope="session")
def javascript() -> Javascript:
    """Return the child process of a handler. Node's client is installed first, which takes a minute the first time."""
    client = installed(*NODE_CLIENT) / "index.mjs"
    return lambda handler: command_kind(node(), str(client), f"sample.{handler}")


async def responses_of(
    kind: ChildProcess, *payloads: Any, emit: Recorded | None = None, timeout_in_seconds: float = 60.0
) -> list[Response]:
    """Call the function with each payload in turn, in one child."""
    with anyio.fail_after(120):
        async with RuntimeTarget(
            function(kind, timeout_in_seconds=timeout_in_seconds),
            emit=emit or Recorded(),
            region="eu-west-1",
            endpoint_url=None,
            inherited=os.environ,
            init_in_seconds=60,
        ) as target:
            return [
                await target.invoke(invocation(orjson.dumps(payload), request_id=f"6f1d-{number}"))
                for number, payload in enumerate(payloads)
            ]


def answer(response: Response) -> Any:
    assert isinstance(response, Answered), response
    return orjson.loads(response.payload)


def error(response: Response) -> tuple[str, str]:
    assert isinstance(response, FunctionError), response
    return response.error_type, response.message


async def test_pythons_client_runs_a_handler_again_and_again() -> None:
    emit = Recorded()
    responses = await responses_of(python("count"), RECORDS, RECORDS, RECORDS, emit=emit)
    assert [answer(one)["invocations"] for one in responses] == [1, 2, 3]
    assert answer(responses[0])["records"] == 10
    assert len(emit.of(ChildProcessStarted)) == 1
    assert [one.reason for one in emit.of(ChildProcessStopped)] == ["shutdown"]


async def test_pythons_client_gives_its_handler_the_context() -> None:
    (response,) = await responses_of(python("whoami"), {})
    seen = answer(response)
    assert seen["aws_request_id"] == "6f1d-0"
    assert seen["invoked_function_arn"] == str(ARN)
    assert seen["custom"] == CUSTOM
    assert 10_000 < seen["remaining_in_ms"] <= 60_000


async def test_pythons_client_posts_the_error_of_a_handler() -> None:
    emit = Recorded()
    first, second = await responses_of(python("fail"), {}, {}, emit=emit)
    assert error(first) == error(second) == ("ValueError", "no such user")
    assert len(emit.of(ChildProcessStarted)) == 1
    assert emit.of(ChildProcessOutput)[0].line.startswith("[ERROR] ValueError: no such user\nTraceback")


async def test_pythons_client_may_send_a_long_error() -> None:
    (response,) = await responses_of(python("fail_at_length"), {})
    assert isinstance(response, FunctionError)
    assert orjson.loads(response.payload)["errorMessage"] == "x" * 50_000


async def test_pythons_client_reports_an_init_error() -> None:
    emit = Recorded()
    (response,) = await responses_of(python("absent"), {}, emit=emit)
    assert error(response) == ("Runtime.HandlerNotFound", "Handler 'absent' missing on module 'sample'")
    assert [one.reason for one in emit.of(ChildProcessStopped)] == ["init_error"]


async def test_pythons_client_is_killed_at_the_timeout() -> None:
    emit = Recorded()
    (response,) = await responses_of(python("sleep"), {"seconds": 60}, emit=emit, timeout_in_seconds=0.3)
    assert error(response)[0] == "Sandbox.Timedout"
    assert [one.reason for one in emit.of(ChildProcessStopped)] == ["timeout"]


async def test_pythons_client_may_exit() -> None:
    (response,) = await responses_of(python("exit_with"), {"status": 7})
    assert error(response) == (
        "Runtime.ExitError",
        "RequestId: 6f1d-0 Error: Runtime exited with error: exit status 7",
    )


async def test_a_result_of_pythons_client_that_is_too_large_fails_the_invocation() -> None:
    (response,) = await responses_of(python("huge"), {"size": 7_000_000})
    assert error(response)[0] == "Function.ResponseSizeTooLarge"


async def test_nodes_client_runs_a_handler_again_and_again(javascript: Javascript) -> None:
    emit = Recorded()
    responses = await responses_of(javascript("count"), RECORDS, RECORDS, RECORDS, emit=emit)
    assert [answer(one)["invocations"] for one in responses] == [1, 2, 3]
    assert answer(responses[0]) == {
        "invocations": 1,
        "records": 10,
        "requestId": "6f1d-0",
        "arn": str(ARN),
        "custom": CUSTOM,
        "hasTime": True,
    }
    assert len(emit.of(ChildProcessStarted)) == 1
    assert any(one.line.endswith("counting 3") for one in emit.of(ChildProcessOutput))


async def test_nodes_client_posts_the_error_of_a_handler(javascript: Javascript) -> None:
    emit = Recorded()
    first, second = await responses_of(javascript("fail"), {}, {}, emit=emit)
    assert error(first) == error(second) == ("TypeError", "no such user")
    assert len(emit.of(ChildProcessStarted)) == 1


async def test_nodes_client_reports_an_init_error(javascript: Javascript) -> None:
    (response,) = await responses_of(javascript("absent"), {})
    assert error(response) == ("Runtime.HandlerNotFound", "sample.absent is undefined or not exported")


async def test_nodes_client_is_killed_at_the_timeout(javascript: Javascript) -> None:
    (response,) = await responses_of(javascript("forever"), {}, timeout_in_seconds=0.3)
    assert error(response)[0] == "Sandbox.Timedout"


async def test_nodes_client_may_exit(javascript: Javascript) -> None:
    (response,) = await responses_of(javascript("exit"), {})
    assert error(response)[1] == "RequestId: 6f1d-0 Error: Runtime exited with error: exit status 5"


async def test_a_result_of_nodes_client_that_is_too_large_fails_the_invocation(javascript: Javascript) -> None:
    (response,) = await responses_of(javascript("huge"), {"size": 7_000_000})
    assert error(response)[0] == "Function.ResponseSizeTooLarge"


async def test_the_example_for_node_works_as_described(tmp_path: Path) -> None:
    assert orjson.loads((NODE_EXAMPLE / "package.json").read_bytes())["dependencies"] == dict([NODE_CLIENT])
    folder = tmp_path / "node"
    shutil.copytree(NODE_EXAMPLE, folder)
    node()
    (folder / "node_modules").symlink_to(installed(*NODE_CLIENT).parent)
    kind = load(folder / "poller.toml", {}).functions[FunctionName("greet")].kind
    assert isinstance(kind, ChildProcess)
    event = {"Records": [{"messageId": "1", "body": '{"name": "Ada"}'}, {"messageId": "2", "body": "no JSON"}]}
    emit = Recorded()
    (response,) = await responses_of(kind, event, emit=emit)
    assert answer(response) == {"batchItemFailures": [{"itemIdentifier": "2"}]}
    assert any(one.line.endswith("Hello, Ada") for one in emit.of(ChildProcessOutput))
