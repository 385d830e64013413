"""Which error document does Lambda return when a function fails?

If the function raised an error, its runtime posts a document, which is passed on unchanged.
If the function was stopped, exited or answered too much, Lambda writes the document, in these words:

    timeout            Sandbox.Timedout               RequestId: <id> Error: Task timed out after 1.00 seconds
    exit, status 0     Runtime.ExitError              RequestId: <id> Error: Runtime exited without providing a reason
    exit, status 3     Runtime.ExitError              RequestId: <id> Error: Runtime exited with error: exit status 3
    signal             Runtime.ExitError              RequestId: <id> Error: Runtime exited with error: signal: killed
    too much memory    Runtime.OutOfMemory            RequestId: <id> Error: Runtime was killed, because it used more …
    answer too large   Function.ResponseSizeTooLarge  Response payload size exceeded maximum allowed payload size (…)

Only the text about memory is ours. Lambda uses the text of a signal instead, and shows the type only in its metrics.
Source: AWS Lambda Developer Guide, "Troubleshoot execution issues in Lambda" and "Lambda quotas".
"""

from __future__ import annotations

import base64
import json
import re
import signal
from collections.abc import Mapping
from typing import Any

import orjson

from poller.model.ids import RequestId
from poller.model.invocation import FunctionError

RESPONSE_LIMIT_IN_BYTES = 6_291_556
"""The largest answer of a synchronous invocation: 6 MB and 100 bytes. Events have a lower limit (core/batching.py)."""

ERROR_TYPE_LIMIT_IN_CHARACTERS = 128
MESSAGE_LIMIT_IN_CHARACTERS = 4_096
"""How much of a function's error message is kept for the log, because a function may write any amount."""

_ERROR_TYPE_OF_A_RUNTIME = re.compile(r"(Runtime|Function)\.[A-Z][a-zA-Z]+")


def timed_out(request_id: RequestId, seconds: float) -> FunctionError:
    """Return the error of a function whose timeout has passed."""
    return _own("Sandbox.Timedout", f"RequestId: {request_id} Error: Task timed out after {seconds:.2f} seconds")


def init_timed_out(request_id: RequestId, seconds: float) -> FunctionError:
    """Return the error of a child process that did not ask for its first invocation in time.

    AWS documents no text for this error.
    """
    reason = f"Init timed out after {seconds:.2f} seconds, before the runtime asked for an invocation"
    return _own("Sandbox.Timedout", f"RequestId: {request_id} Error: {reason}")


def exited(request_id: RequestId, status: int | None) -> FunctionError:
    """Return the error of a process that ended without an answer.

    `status` is its exit status, -N for signal N, or None if it is not known.
    """
    return _own("Runtime.ExitError", f"RequestId: {request_id} Error: Runtime exited {_how(status)}")


def ran_out_of_memory(request_id: RequestId, limit_in_mb: int) -> FunctionError:
    """Return the error of a process that was killed because it used too much memory."""
    reason = f"Runtime was killed, because it used more than {limit_in_mb} MB of memory"
    return _own("Runtime.OutOfMemory", f"RequestId: {request_id} Error: {reason}")


def too_large() -> FunctionError:
    """Return the error of a function whose answer is larger than Lambda accepts."""
    limit = f"({RESPONSE_LIMIT_IN_BYTES} bytes)"
    message = f"Response payload size exceeded maximum allowed payload size {limit}."
    return _own("Function.ResponseSizeTooLarge", message)


def posted(document: bytes, *, error_type: str | None) -> FunctionError:
    """Return the error that a function posted.

    `error_type` is the type in the runtime's header. It is used if the document has no type.
    """
    if error_type is None or _ERROR_TYPE_OF_A_RUNTIME.fullmatch(error_type) is None:
        error_type = "Function.Unknown"
    fields = json_object(document)
    own_type, message = fields.get("errorType"), fields.get("errorMessage")
    return FunctionError(
        error_type=text_or(own_type, error_type)[:ERROR_TYPE_LIMIT_IN_CHARACTERS],
        message=text_or(message, "")[:MESSAGE_LIMIT_IN_CHARACTERS],
        payload=document,
    )


def is_error_document(body: bytes) -> bool:
    """Return whether a body has the shape of a function's error: an object with both `errorMessage` and `errorType`."""
    if b'"errorMessage"' not in body or b'"errorType"' not in body:
        return False
    fields = json_object(body)
    return "errorMessage" in fields and "errorType" in fields


def log_tail_of(headers: Mapping[str, str]) -> str:
    """Return the end of the function's log from an answer of Lambda, or an empty text if the answer has none.

    Bytes that are not UTF-8 are replaced, because Lambda cuts the log within characters.
    """
    try:
        return base64.b64decode(headers.get("x-amz-log-result", ""), validate=True).decode(errors="replace")
    except ValueError:
        return ""


def _own(error_type: str, message: str) -> FunctionError:
    document = orjson.dumps({"errorType": error_type, "errorMessage": message})
    return FunctionError(error_type=error_type, message=message, payload=document)


def _how(status: int | None) -> str:
    if not status:
        return "without providing a reason"
    if status > 0:
        return f"with error: exit status {status}"
    return f"with error: signal: {(signal.strsignal(-status) or str(-status)).lower()}"


def json_object(document: bytes) -> dict[str, Any]:
    """Return the document if it is a JSON object, else an empty object.

    A function may cut the text of an error within a character. It is an error all the same, so what is left of the
    character is replaced, or becomes half of a surrogate pair.
    """
    try:
        fields = orjson.loads(document)
    except orjson.JSONDecodeError:
        try:
            fields = json.loads(document.decode(errors="replace"))
        except (ValueError, RecursionError):
            return {}
    return fields if isinstance(fields, dict) else {}


def text_or(value: object, otherwise: str) -> str:
    """Return the value if it is a string and not empty, else `otherwise`. Half a surrogate pair becomes a `?`."""
    return value.encode(errors="replace").decode() if isinstance(value, str) and value else otherwise
