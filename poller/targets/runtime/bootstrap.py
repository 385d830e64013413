"""How does a Python callable run as a child process? This file is the child's side of the Runtime API.

    poller starts: python …/bootstrap.py, with _HANDLER=module:callable, in the function's folder
    import module -> find callable -> for ever: next -> callable(event, context) -> response or error

The file needs only the standard library, imports nothing of poller, and is run by its path.
So another interpreter than the daemon's may run it, from Python 3.9 on.
A handler gets the same context object, log format and error documents as from AWS's Python runtime.
Unlike on AWS, the handler may be a name with dots within its module, and it may be a coroutine function. All
invocations of a coroutine function run on one event loop, so that its connections stay open.
SystemExit, and any other exception that does not derive from Exception, ends the process, as on Lambda.

Source: AWS Lambda Developer Guide, "Define Lambda function handler in Python", "Using the Lambda context object to
retrieve Python function information", "Log and monitor Python Lambda functions".
"""

from __future__ import annotations

import http.client
import importlib
import io
import json
import logging
import os
import re
import signal
import sys
import time
import traceback
from contextlib import suppress
from decimal import Decimal
from functools import reduce
from types import FrameType, SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

PREFIX = "/2018-06-01/runtime/"
PLAIN_NAME = re.compile(r"[!-~]{1,128}")
"""An error type that can be sent in a header. Any other type is sent in the error document only."""

LOG_FORMAT = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s"


class HandlerError(Exception):
    """An error that this runtime itself found. `error_type` is AWS's name for it."""

    def __init__(self, error_type: str, message: str, stack: list[str] | None = None) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.stack = stack or []


class Context:
    """The second argument of a handler."""

    def __init__(self, headers: http.client.HTTPMessage) -> None:
        self.aws_request_id = headers["Lambda-Runtime-Aws-Request-Id"]
        self.invoked_function_arn = headers["Lambda-Runtime-Invoked-Function-Arn"]
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.client_context = _client_context(headers["Lambda-Runtime-Client-Context"])
        self.identity = SimpleNamespace(cognito_identity_id=None, cognito_identity_pool_id=None)
        self._deadline_in_ms = int(headers["Lambda-Runtime-Deadline-Ms"])

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until the function's timeout."""
        return max(0, self._deadline_in_ms - int(time.time() * 1000))

    def log(self, message: object) -> None:
        """Write a message unchanged to stdout."""
        sys.stdout.write(str(message))


class Runtime:
    """A client of the Runtime API, with one connection."""

    def __init__(self, address: str) -> None:
        self._connection = http.client.HTTPConnection(address)

    def next(self) -> tuple[http.client.HTTPMessage, bytes]:
        """Wait for an invocation; return its headers and its event."""
        return self._call("GET", "invocation/next")

    def respond(self, request_id: str, result: bytes) -> None:
        """Send the value that the handler returned.

        If the value is too large, the Runtime API answers 413, and the invocation fails.
        """
        self._call("POST", f"invocation/{request_id}/response", result, accepted=(202, 413))

    def fail(self, request_id: str, error: dict[str, Any]) -> None:
        """Send the error that the handler raised."""
        self._call(
            "POST", f"invocation/{request_id}/error", _encoded_error(error), error["errorType"], accepted=(202, 413)
        )

    def fail_init(self, error: dict[str, Any]) -> None:
        """Report why the handler cannot be loaded."""
        self._call("POST", "init/error", _encoded_error(error), error["errorType"])

    def _call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        error_type: str | None = None,
        *,
        accepted: tuple[int, ...] = (200, 202),
    ) -> tuple[http.client.HTTPMessage, bytes]:
        headers = {"Content-Type": "application/json"}
        if error_type is not None and PLAIN_NAME.fullmatch(error_type):
            headers["Lambda-Runtime-Function-Error-Type"] = error_type
        self._connection.request(method, PREFIX + path, body, headers)
        response = self._connection.getresponse()
        content = response.read()
        if response.status not in accepted:
            sys.exit(f"{method} {path}: {response.status} {content!r}")
        return response.headers, content


class Handler:
    """The handler's callable. The event loop for its coroutines is made for the first coroutine."""

    def __init__(self, function: Callable[[Any, Context], Any]) -> None:
        self._function = function
        self._loop: asyncio.AbstractEventLoop | None = None

    def __call__(self, event: Any, context: Context) -> Any:
        result = self._function(event, context)
        return self._finished(result) if hasattr(result, "__await__") else result

    def _finished(self, coroutine: Any) -> Any:
        if self._loop is None:
            import asyncio  # most handlers do not need it, and start sooner without it

            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)
        return self._loop.run_until_complete(coroutine)


class RequestId(logging.Filter):
    """Puts the invocation's id into each log record, for LOG_FORMAT."""

    current = ""

    def filter(self, record: logging.LogRecord) -> bool:
        record.aws_request_id = self.current
        return True


def main() -> NoReturn:
    """Run the handler until the daemon ends this process, or until there is no daemon any more."""
    signal.signal(signal.SIGTERM, _terminate)
    sys.path[0] = os.getcwd()  # noqa: PTH109 - replaces this file's folder; pathlib takes long to import
    request_id = _set_up_output()
    runtime = Runtime(os.environ["AWS_LAMBDA_RUNTIME_API"])
    try:
        handler = _load_or_report(runtime, os.environ["_HANDLER"])
        while True:
            _run_once(runtime, handler, request_id)
    except (ConnectionError, http.client.HTTPException):
        sys.exit("poller is gone")


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


def _set_up_output() -> RequestId:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    request_id = RequestId()
    log = logging.StreamHandler(sys.stdout)
    log.addFilter(request_id)
    formatter = logging.Formatter(LOG_FORMAT, "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    log.setFormatter(formatter)
    logging.getLogger().addHandler(log)
    return request_id


def _load_or_report(runtime: Runtime, name: str) -> Handler:
    try:
        return Handler(_load(name))
    except Exception as error:
        document = _document(error)
    _log(document)
    runtime.fail_init(document)
    sys.exit(1)


def _load(name: str) -> Any:
    """Return the callable that `module:callable` names. Raises HandlerError if there is none."""
    module_name, _, path = name.partition(":")
    if not (module_name and path):
        raise HandlerError("Runtime.MalformedHandlerName", f"Bad handler '{name}': it must be module:callable")
    module = _module(module_name)
    try:
        function = reduce(getattr, path.split("."), module)
    except AttributeError as error:
        raise HandlerError("Runtime.HandlerNotFound", f"Handler '{path}' missing on module '{module_name}'") from error
    if not callable(function):
        raise HandlerError("Runtime.HandlerNotFound", f"Handler '{path}' of module '{module_name}' is not callable")
    return function


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise HandlerError("Runtime.ImportModuleError", f"Unable to import module '{name}': {error}") from error
    except SyntaxError as error:
        where = f'  File "{error.filename}" Line {error.lineno}\n    {error.text}'
        raise HandlerError(
            "Runtime.UserCodeSyntaxError", f"Syntax error in module '{name}': {error}", [where]
        ) from error


def _run_once(runtime: Runtime, handler: Handler, log_filter: RequestId) -> None:
    headers, event = runtime.next()
    request_id = log_filter.current = headers["Lambda-Runtime-Aws-Request-Id"]
    os.environ["_X_AMZN_TRACE_ID"] = headers["Lambda-Runtime-Trace-Id"]
    try:
        result = _marshalled(handler(json.loads(event), Context(headers)))
    except Exception as error:
        document = _document(error, request_id)
        _log(document)
        runtime.fail(request_id, document)
    else:
        runtime.respond(request_id, result)


def _marshalled(result: Any) -> bytes:
    try:
        return _encoded(result)
    except Exception as error:
        raise HandlerError("Runtime.MarshalError", f"Unable to marshal response: {error}") from error


def _encoded(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, default=_number).encode("utf-8", "backslashreplace")


def _encoded_error(error: dict[str, Any]) -> bytes:
    """Encode an error document.

    Text that is not Unicode, as in some file names, is replaced, so that the error is sent.
    """
    return json.dumps(error, ensure_ascii=False).encode("utf-8", "replace")


def _number(value: Any) -> int | float:
    """Return a Decimal as a number, as Lambda does, because numbers from DynamoDB are Decimals."""
    if not isinstance(value, Decimal):
        raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
    return int(value) if value == value.to_integral_value() else float(value)


def _document(error: Exception, request_id: str = "") -> dict[str, Any]:
    """Return the error document, as AWS's Python runtime posts it."""
    error_type, stack = type(error).__name__, _stack(error)
    if isinstance(error, HandlerError):
        error_type, stack = error.error_type, error.stack
    return {"errorMessage": _message(error), "errorType": error_type, "requestId": request_id, "stackTrace": stack}


def _message(error: Exception) -> str:
    try:
        return str(error)
    except Exception:
        return f"an error of type {type(error).__name__}, which fails to say what it is"


def _stack(error: Exception) -> list[str]:
    """Return the stack frames of the handler's code, without the frames of this file and of Python's import system."""
    frames = traceback.extract_tb(error.__traceback__)
    while frames and (frames[0].filename == __file__ or frames[0].filename.startswith("<frozen importlib")):
        frames.pop(0)
    return traceback.format_list(frames)


def _log(document: dict[str, Any]) -> None:
    """Print the error as one log entry, with carriage returns between its lines.

    A handler may have closed stdout. Then the error is posted all the same.
    """
    text = f"[ERROR] {document['errorType']}: {document['errorMessage']}"
    if document["stackTrace"]:
        text += "\nTraceback (most recent call last):\n" + "".join(document["stackTrace"])
    with suppress(OSError, ValueError):
        print("\r".join(text.splitlines()))


def _client_context(header: str | None) -> SimpleNamespace | None:
    if header is None:
        return None
    fields = json.loads(header)
    return SimpleNamespace(custom=fields.get("custom"), env=fields.get("env"), client=fields.get("client"))


if __name__ == "__main__":
    main()
