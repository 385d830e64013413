"""How does a Python callable run as a child: what does a handler get, and what happens to its results and errors?"""

from __future__ import annotations

import ast
import os
import re
import runpy
import subprocess
import sys
import time
import venv
from datetime import datetime
from email.message import Message
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest

from poller.facts import ChildProcessOutput, ChildProcessStarted
from poller.model.invocation import Answered, FunctionError, Response
from poller.targets.runtime import RuntimeTarget
from tests.fakes.functions import ARN, BOOTSTRAP, SAMPLES, callable_kind, function, invocation
from tests.fakes.recorded import Recorded

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def responses_of(
    handler: str,
    *payloads: Any,
    directory: Path = SAMPLES,
    emit: Recorded | None = None,
    environment: dict[str, str] | None = None,
    python: str = sys.executable,
) -> list[Response]:
    """Call the handler with each payload in turn, in one child."""
    kind = callable_kind(handler, directory=directory, environment=environment, python=python)
    with anyio.fail_after(120):
        async with RuntimeTarget(
            function(kind), emit=emit or Recorded(), region="eu-west-1", endpoint_url=None, inherited=os.environ
        ) as target:
            return [
                await target.invoke(invocation(orjson.dumps(payload), request_id=f"6f1d-{number}"))
                for number, payload in enumerate(payloads)
            ]


async def answer_of(handler: str, payload: Any = None, **options: Any) -> Any:
    (response,) = await responses_of(handler, payload, **options)
    assert isinstance(response, Answered), response
    return orjson.loads(response.payload)


async def error_of(handler: str, payload: Any = None, **options: Any) -> dict[str, Any]:
    (response,) = await responses_of(handler, payload, **options)
    assert isinstance(response, FunctionError), response
    document: dict[str, Any] = orjson.loads(response.payload)
    assert (response.error_type, response.message) == (document["errorType"], document["errorMessage"])
    return document


async def test_a_handler_sees_lambdas_context() -> None:
    seen = await answer_of("sample:whoami")
    assert 10_000 < seen.pop("remaining_in_ms") <= 60_000
    assert re.fullmatch(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};Sampled=0", seen.pop("trace"))
    assert seen == {
        "aws_request_id": "6f1d-0",
        "function_name": "insert_records",
        "function_version": "$LATEST",
        "invoked_function_arn": str(ARN),
        "memory_limit_in_mb": "3008",
        "log_group_name": "/aws/lambda/insert_records",
        "has_log_stream": True,
        "custom": {"mapping": "new_users", "request_id": "6f1d-0", "attempt": "1"},
        "directory": str(SAMPLES.resolve()),
    }


def test_after_the_deadline_no_time_remains(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FUNCTION_NAME", "FUNCTION_VERSION", "FUNCTION_MEMORY_SIZE", "LOG_GROUP_NAME", "LOG_STREAM_NAME"):
        monkeypatch.setenv(f"AWS_LAMBDA_{name}", "any")
    headers = Message()
    headers["Lambda-Runtime-Deadline-Ms"] = "1000"
    context = runpy.run_path(str(BOOTSTRAP))["Context"](headers)
    assert context.get_remaining_time_in_millis() == 0


async def test_a_handler_finds_the_functions_environment() -> None:
    seen = await answer_of("sample:environment", environment={"TABLE": "users"})
    assert seen["TABLE"] == "users"
    assert seen["_HANDLER"] == "sample:environment"


async def test_a_handler_may_be_a_dotted_name_within_its_module() -> None:
    assert await answer_of("sample:Group.inner") == "reached"


async def test_a_module_may_lie_in_a_package_of_the_folder() -> None:
    assert await answer_of("functions.sample:Group.inner", directory=SAMPLES.parent) == "reached"


async def test_a_handler_without_a_result_returns_null() -> None:
    assert await responses_of("sample:nothing", None) == [Answered(b"null")]


async def test_decimals_and_text_are_marshalled_as_on_lambda() -> None:
    assert await responses_of("sample:numbers", None) == [Answered('[3, 0.5, "é"]'.encode())]


async def test_log_entries_have_the_time_of_day_in_utc_wherever_the_function_is(tmp_path: Path) -> None:
    (tmp_path / "far.py").write_text(
        "import logging\n\ndef handle(event, context):\n    logging.getLogger().error('now')\n"
    )
    emit = Recorded()
    before = time.time()
    await responses_of("far:handle", None, directory=tmp_path, environment={"TZ": "XYZ-9"}, emit=emit)
    (entry,) = emit.of(ChildProcessOutput)
    logged_at = datetime.fromisoformat(entry.line.split("\t")[1]).timestamp()
    assert before - 0.01 <= logged_at <= time.time()


async def test_coroutine_handlers_share_one_event_loop() -> None:
    emit = Recorded()
    first, second = await responses_of("sample:coroutine", None, None, emit=emit)
    assert isinstance(first, Answered)
    assert first == second


async def test_an_exception_is_posted_with_the_handlers_own_frames() -> None:
    emit = Recorded()
    document = await error_of("sample:fail", emit=emit)
    assert document["errorType"] == "ValueError"
    assert document["errorMessage"] == "no such user"
    assert document["requestId"] == "6f1d-0"
    (frame,) = document["stackTrace"]
    assert frame.startswith(f'  File "{SAMPLES}/sample.py", line ')
    (entry,) = emit.of(ChildProcessOutput)
    assert entry.line.startswith("[ERROR] ValueError: no such user\nTraceback (most recent call last):\n  File")


@pytest.mark.parametrize(
    ("code", "error_type", "message"),
    [
        ("raise ValueError('\\udc80 bad')", "ValueError", "? bad"),
        ("raise type('Ошибка', (Exception,), {})('no')", "Ошибка", "no"),
        (
            "raise type('Mute', (Exception,), {'__str__': lambda self: 1 / 0})()",
            "Mute",
            "an error of type Mute, which fails to say what it is",
        ),
    ],
)
async def test_an_error_with_any_text_and_any_name_is_posted(
    tmp_path: Path, code: str, error_type: str, message: str
) -> None:
    (tmp_path / "odd.py").write_text(f"def handle(event, context):\n    {code}\n")
    kept, again = await responses_of("odd:handle", 1, 2, directory=tmp_path)
    for response in (kept, again):
        assert isinstance(response, FunctionError)
        assert (response.error_type, response.message) == (error_type, message)


@pytest.mark.parametrize("code", ["sys.stdout.close()", "os.close(1)"])
async def test_an_error_is_posted_also_if_the_handler_has_closed_stdout(tmp_path: Path, code: str) -> None:
    text = f"import os, sys\ndef handle(event, context):\n    {code}\n    raise KeyError('id')\n"
    (tmp_path / "closing.py").write_text(text)
    document = await error_of("closing:handle", directory=tmp_path)
    assert (document["errorType"], document["errorMessage"]) == ("KeyError", "'id'")


async def test_a_result_that_is_not_json_is_a_marshal_error() -> None:
    document = await error_of("sample:unserialisable")
    assert document["errorType"] == "Runtime.MarshalError"
    assert document["errorMessage"] == "Unable to marshal response: Object of type set is not JSON serializable"


async def test_sys_exit_ends_the_process() -> None:
    document = await error_of("sample:sys_exit")
    assert document["errorType"] == "Runtime.ExitError"
    assert document["errorMessage"].endswith("exit status 3")


async def test_a_result_that_is_too_large_is_an_error_and_the_child_goes_on() -> None:
    emit = Recorded()
    too_much, enough = await responses_of("sample:huge", {"size": 7_000_000}, {"size": 10}, emit=emit)
    assert isinstance(too_much, FunctionError)
    assert too_much.error_type == "Function.ResponseSizeTooLarge"
    assert enough == Answered(b'"xxxxxxxxxx"')
    assert len(emit.of(ChildProcessStarted)) == 1


async def test_an_error_that_is_too_large_is_still_an_error_and_the_child_goes_on(tmp_path: Path) -> None:
    (tmp_path / "wordy.py").write_text("def handle(event, context):\n    raise ValueError('x' * event)\n")
    emit = Recorded()
    too_much, enough = await responses_of("wordy:handle", 7_000_000, 10, directory=tmp_path, emit=emit)
    assert isinstance(too_much, FunctionError)
    assert isinstance(enough, FunctionError)
    assert too_much.error_type == "Function.ResponseSizeTooLarge"
    assert enough.message == "x" * 10
    assert len(emit.of(ChildProcessStarted)) == 1


@pytest.mark.parametrize(
    ("handler", "error_type", "message"),
    [
        ("absent:handler", "Runtime.ImportModuleError", "Unable to import module 'absent': No module named 'absent'"),
        (
            "missing_package:handler",
            "Runtime.ImportModuleError",
            "Unable to import module 'missing_package': No module named 'package_that_nobody_has'",
        ),
        ("sample:absent", "Runtime.HandlerNotFound", "Handler 'absent' missing on module 'sample'"),
        ("sample:invocations", "Runtime.HandlerNotFound", "Handler 'invocations' of module 'sample' is not callable"),
        ("sample.count", "Runtime.MalformedHandlerName", "Bad handler 'sample.count': it must be module:callable"),
        ("broken_import:handler", "RuntimeError", "no database"),
    ],
)
async def test_a_handler_that_cannot_be_loaded_is_an_init_error(handler: str, error_type: str, message: str) -> None:
    document = await error_of(handler)
    assert (document["errorType"], document["errorMessage"]) == (error_type, message)


async def test_a_module_with_a_syntax_error_is_an_init_error(tmp_path: Path) -> None:
    (tmp_path / "typo.py").write_text("def handler(event, context)\n    return 1\n")
    document = await error_of("typo:handler", directory=tmp_path)
    assert document["errorType"] == "Runtime.UserCodeSyntaxError"
    assert document["errorMessage"].startswith("Syntax error in module 'typo': expected ':'")
    assert f'File "{tmp_path}/typo.py" Line 1' in document["stackTrace"][0]


async def test_another_interpreter_can_run_the_handler(tmp_path: Path) -> None:
    """The other interpreter has none of the daemon's packages."""
    venv.create(tmp_path / "venv", symlinks=True)
    (tmp_path / "mine.py").write_text(
        "import importlib.util, sys\n\n"
        "async def look(event, context):\n    return [sys.prefix, importlib.util.find_spec('anyio') is None]\n"
    )
    python = str(tmp_path / "venv" / "bin" / "python")
    assert await answer_of("mine:look", directory=tmp_path, python=python) == [str(tmp_path / "venv"), True]


def test_older_interpreters_can_run_the_bootstrap() -> None:
    ast.parse(BOOTSTRAP.read_text(), feature_version=(3, 9))


async def test_the_folder_of_the_bootstrap_is_not_importable(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import importlib.util\n\ndef names(event, context):\n    return [importlib.util.find_spec('target') is None]\n"
    )
    assert await answer_of("mine:names", directory=tmp_path) == [True]


def test_a_child_exits_after_the_end_of_its_daemon() -> None:
    environment = {"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9", "_HANDLER": "sample:count"}
    ended = subprocess.run(
        [sys.executable, BOOTSTRAP], env=environment, cwd=SAMPLES, capture_output=True, text=True, timeout=120
    )
    assert (ended.returncode, ended.stderr) == (1, "poller is gone\n")
