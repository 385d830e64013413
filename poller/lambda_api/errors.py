"""Which error does a client of Lambda's API get? The same code, status and text as from AWS.

    status  code                              members of the body
    400     ValidationException               message
    400     InvalidParameterValueException    Type, message
    400     InvalidRequestContentException    Type, message
    403     the codes of signatures.py        message
    403     AccessDeniedException             Message; the status is 421 if the host is not allowed
    404     ResourceNotFoundException         Type, Message
    404     UnknownOperationException         message
    413     RequestTooLargeException          Type, message
    429     TooManyRequestsException          Reason, Type, message; and the header Retry-After
    502     ResourceNotReadyException         Type, Message: the function cannot be reached
    500     ServiceException                  Type, Message: a bug of poller
    503     ServiceException                  Type, Message: the daemon cannot make the call now

The header X-Amzn-ErrorType has the code. AWS writes `message` or `Message`, depending on the error.
Source: answers that AWS Lambda gave; AWS Lambda API Reference, "Invoke".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from poller.errors import PollerError

MAXIMUM_RETRY_AFTER_IN_SECONDS = 60


class ApiError(PollerError):
    """An error that is sent to the client as the answer."""

    def __init__(
        self, status: int, code: str, body: Mapping[str, Any], *, retry_after_in_seconds: int | None = None
    ) -> None:
        super().__init__(body.get("message", body.get("Message")))
        self.status = status
        self.code = code
        self.body = body
        self.retry_after_in_seconds = retry_after_in_seconds


def failed_validation(faults: Sequence[str]) -> ApiError:
    errors = "1 validation error" if len(faults) == 1 else f"{len(faults)} validation errors"
    return ApiError(400, "ValidationException", {"message": f"{errors} detected: {'; '.join(faults)}"})


def invalid_parameter(message: str) -> ApiError:
    return ApiError(400, "InvalidParameterValueException", {"Type": "User", "message": message})


def invalid_content(message: str) -> ApiError:
    return ApiError(400, "InvalidRequestContentException", {"Type": "User", "message": message})


def not_authenticated(code: str, message: str) -> ApiError:
    return ApiError(403, code, {"message": message})


def access_denied(message: str) -> ApiError:
    return ApiError(403, "AccessDeniedException", {"Message": message})


def not_found(message: str) -> ApiError:
    return ApiError(404, "ResourceNotFoundException", {"Type": "User", "Message": message})


def unknown_operation(message: str) -> ApiError:
    return ApiError(404, "UnknownOperationException", {"message": message})


def too_large(size_in_bytes: int, invocation_type: str, limit_in_bytes: int) -> ApiError:
    message = (
        f"{size_in_bytes} byte payload is too large for the {invocation_type} invocation type "
        f"(limit {limit_in_bytes} bytes)"
    )
    return refused_as_too_large(message)


def refused_as_too_large(message: str) -> ApiError:
    return ApiError(413, "RequestTooLargeException", {"Type": "User", "message": message})


def throttled(reason: str, retry_after: float | None = None) -> ApiError:
    """Return the error for a throttled call. `reason` is one of AWS's reasons; `retry_after` is in seconds."""
    pause = None if retry_after is None else min(max(1, round(retry_after)), MAXIMUM_RETRY_AFTER_IN_SECONDS)
    body = {"Reason": reason, "Type": "User", "message": "Rate Exceeded."}
    return ApiError(429, "TooManyRequestsException", body, retry_after_in_seconds=pause)


def not_ready(message: str) -> ApiError:
    return ApiError(502, "ResourceNotReadyException", {"Type": "Service", "Message": message})


def refused_by_guard(status: int, message: str) -> ApiError:
    return ApiError(status, "AccessDeniedException", {"Message": message})


def internal_error() -> ApiError:
    return ApiError(500, "ServiceException", {"Type": "Service", "Message": "The request failed by a fault of poller."})


def unavailable(message: str) -> ApiError:
    return ApiError(503, "ServiceException", {"Type": "Service", "Message": message})
