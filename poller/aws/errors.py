"""Which error of `poller.errors` stands for an error of AWS, botocore or aiohttp?

A service names its error by a code. The first line that fits the code or the HTTP status decides:

    a throttling code, or status 429            Throttled
    a code for a stream's read cursor           ExpiredIterator, Trimmed
    status 5xx                                  Unreachable (the request may have had an effect)
    a code for credentials or permissions       AccessDenied
    a code for a missing thing, or status 404   NotFound
    status 401 or 403                           AccessDenied
    any other                                   Rejected

A request without an answer is Unreachable; `was_sent` is false only if no connection was made.

Sources: the "Common Errors" page of each service's API Reference; AWS SDKs and Tools Reference Guide, "Retry behavior".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import botocore.exceptions as boto
from botocore.parsers import ResponseParserError

from poller.disclosure import host_of, safe_text
from poller.errors import (
    AccessDenied,
    ExpiredIterator,
    NotFound,
    Rejected,
    ServiceError,
    Throttled,
    Trimmed,
    Unreachable,
)
from poller.http.proxied import NOT_CONNECTED

THROTTLING_CODES = frozenset(
    {
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "KMSThrottlingException",
        "KmsThrottled",
        "LimitExceededException",
        "OverLimit",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)
"""The codes for too many requests. `OverLimit` is SQS's code for a queue with too many messages in flight."""

EXPIRED_CODES = frozenset({"ExpiredToken", "ExpiredTokenException"})
UNKNOWN_KEY_CODES = frozenset({"InvalidAccessKeyId", "InvalidClientTokenId", "UnrecognizedClientException"})
RENEWABLE_CODES = EXPIRED_CODES | UNKNOWN_KEY_CODES
"""After these codes, a request with other credentials may succeed."""

CLOCK_CODES = frozenset(
    {
        "InvalidSignatureException",
        "RequestExpired",
        "RequestInTheFuture",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
    }
)
"""The codes for a request whose time is wrong. A wrong secret key gives some of the same codes."""

ACCESS_CODES = (
    RENEWABLE_CODES
    | CLOCK_CODES
    | frozenset(
        {
            "AccessDenied",
            "AccessDeniedException",
            "AuthFailure",
            "IncompleteSignature",
            "IncompleteSignatureException",
            "InvalidSecurity",
            "KMSAccessDeniedException",
            "KmsAccessDenied",
            "MissingAuthenticationToken",
            "MissingAuthenticationTokenException",
            "NotAuthorized",
            "OptInRequired",
            "UnauthorizedOperation",
        }
    )
)

ABSENCE_CODES = frozenset(
    {
        "AWS.SimpleQueueService.NonExistentQueue",
        "NoSuchBucket",
        "NonExistentQueue",
        "NotFound",
        "NotFoundException",
        "QueueDoesNotExist",
        "ResourceNotFoundException",
    }
)

CURSOR_CODES = {"ExpiredIteratorException": ExpiredIterator, "TrimmedDataAccessException": Trimmed}
"""The codes of Kinesis and DynamoDB Streams for a read cursor, or for the position of a new one."""

CODE = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,127}")
"""The form of an error code; AWS's longest codes have about 60 characters."""

MESSAGE_LENGTH = 500
"""How many characters of a service's message are kept. AWS's own messages are shorter."""

BOTO_NOT_CONNECTED = (boto.ConnectTimeoutError, boto.ProxyConnectionError, boto.SSLError)
BOTO_NO_ANSWER = (boto.HTTPClientError, boto.ConnectionError)
BOTO_NO_CREDENTIALS = (
    boto.CredentialRetrievalError,
    boto.InvalidConfigError,
    boto.LoginError,
    boto.MetadataRetrievalError,
    boto.NoAuthTokenError,
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.ProfileNotFound,
    boto.RefreshWithMFAUnsupportedError,
    boto.SSOError,
    boto.TokenRetrievalError,
    boto.UnknownCredentialError,
)


def service_error(message: str, *, code: str, status: int, retry_after: str | None = None) -> ServiceError:
    """Return the ServiceError for an answer that reports an error.

    Its text has only the first line of AWS's message. If a signature does not match, AWS repeats the signed request
    in the lines below, with the session token.
    """
    line = message[:MESSAGE_LENGTH].strip().partition("\n")[0].rstrip()
    text = f"{code} ({status}): {line}" if line else f"{code} ({status})"
    if code in THROTTLING_CODES or status == 429:
        return Throttled(text, code=code, retry_after=seconds(retry_after))
    if code in CURSOR_CODES:
        return CURSOR_CODES[code](text, code=code)
    if status >= 500:
        return Unreachable(text, code=code, was_sent=True)
    if code in ACCESS_CODES:
        return AccessDenied(text, code=code)
    if code in ABSENCE_CODES or status == 404:
        return NotFound(text, code=code)
    return AccessDenied(text, code=code) if status in (401, 403) else Rejected(text, code=code)


UNREADABLE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""botocore's parsers raise these errors, in addition to botocore's own, for an answer of an unexpected shape."""


@contextmanager
def translated() -> Iterator[None]:
    """Turn an error of botocore inside the block into a ServiceError, which has the original error as its cause."""
    try:
        yield
    except (boto.BotoCoreError, boto.ClientError) as error:
        raise translation(error) from error
    except ResponseParserError as error:
        raise Unreachable("the answer cannot be read", code="UnusableAnswer", was_sent=True) from error


def translation(error: boto.BotoCoreError | boto.ClientError) -> ServiceError:
    """Return the ServiceError for an error that botocore has raised."""
    if isinstance(error, boto.ClientError):
        metadata = error.response.get("ResponseMetadata", {})
        parsed = error.response.get("Error", {})
        return service_error(
            str(parsed.get("Message", "")),
            code=bare_code(str(parsed.get("Code", ""))) or "Unknown",
            status=metadata.get("HTTPStatusCode", 400),
            retry_after=metadata.get("HTTPHeaders", {}).get("retry-after"),
        )
    code = type(error).__name__
    if isinstance(error, BOTO_NO_CREDENTIALS):
        return AccessDenied(safe_text(error), code=code)
    if isinstance(error, BOTO_NO_ANSWER):
        return Unreachable(safe_text(error), code=code, was_sent=not never_connected(error))
    return Rejected(safe_text(error), code=code)


@safe_text.register
def _sentence(error: boto.BotoCoreError) -> str:
    """Return botocore's text of the error. It shows a value only if the value is certainly not a secret."""
    values = {name: SHOWN_VALUES.get(name, _hidden)(value) for name, value in error.kwargs.items()}
    text = str(error.fmt.format(**values))
    return text if any(map(str.isalpha, text)) else type(error).__name__


@safe_text.register
def _misconfigured(error: boto.InvalidConfigError) -> str:
    """Return botocore's text unchanged. This class of error names profiles and their settings, and no secret."""
    return str(error)


def _hidden(value: object) -> str:
    return safe_text(value) if isinstance(value, BaseException) else "…"


def _host(value: object) -> str:
    return host_of(str(value))


SHOWN_VALUES: Mapping[str, Callable[[object], str]] = {
    **dict.fromkeys(("cred_var", "name", "operation_name", "path", "profile", "provider"), str),
    **dict.fromkeys(("region_name", "service_name", "source_profile"), str),
    **dict.fromkeys(("endpoint", "endpoint_url", "proxy_url"), _host),
}
"""The values of a botocore error that are shown, by name, and how. All other values, such as answers, are hidden."""


def never_connected(error: boto.BotoCoreError) -> bool:
    """Return True if no connection was made.

    An EndpointConnectionError alone does not prove it: aiobotocore also raises it for a connection that was reset.
    """
    return isinstance(error, BOTO_NOT_CONNECTED) or isinstance(error.kwargs.get("error"), NOT_CONNECTED)


def bare_code(wire: str) -> str:
    """Return the code `X` of a text such as `com.amazonaws.sqs#X`, `X:http://…` or `X;Sender`.

    Returns an empty text if `X` does not have the form of a code, because log lines, pages and messages show it.
    """
    code = re.split("[:;]", wire, maxsplit=1)[0].rpartition("#")[2]
    return code if CODE.fullmatch(code) else ""


def seconds(retry_after: str | None) -> float | None:
    """Return the seconds of a Retry-After header, or None if it is missing or has a date."""
    return float(retry_after) if retry_after and re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", retry_after) else None
