"""What does an error of a service mean? The one table from AWS's errors, botocore's and aiohttp's to `poller.errors`.

A service names its error by a code; the code decides, and where it is not known, the status:

    a throttling code, or 429           Throttled
    a code of a stream's read cursor    ExpiredIterator, Trimmed
    5xx                                 Unreachable (the request may have had an effect)
    a code of credentials, or 401, 403  AccessDenied
    a code of absence, or 404           NotFound
    anything else                       Rejected

No answer at all is Unreachable; `was_sent` is false only where no connection came about.

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
"""Too much, for now. `OverLimit` is SQS's word for a queue with too many messages in flight."""

EXPIRED_CODES = frozenset({"ExpiredToken", "ExpiredTokenException"})
UNKNOWN_KEY_CODES = frozenset({"InvalidAccessKeyId", "InvalidClientTokenId", "UnrecognizedClientException"})
RENEWABLE_CODES = EXPIRED_CODES | UNKNOWN_KEY_CODES
"""Other credentials may help."""

CLOCK_CODES = frozenset(
    {
        "InvalidSignatureException",
        "RequestExpired",
        "RequestInTheFuture",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
    }
)
"""What a service may say to a request whose time is wrong; some are also said of a wrong secret key."""

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
"""What Kinesis and DynamoDB Streams say of a read cursor, or of the position for a new one."""

CODE = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,127}")
"""What an error code looks like; AWS's longest have about 60 characters."""

MESSAGE_LENGTH = 500
"""Characters of a service's message that are kept; AWS's own are shorter."""

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
    """The error for an answer that refuses.

    Only the first line of the message is kept: when a signature does not match, AWS repeats the signed request below
    it, with the session token.
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
"""What botocore's parsers raise for an answer of an unexpected shape, besides botocore's own errors."""


@contextmanager
def translated() -> Iterator[None]:
    """Whatever botocore raises within comes out as a ServiceError, with the original as its cause."""
    try:
        yield
    except (boto.BotoCoreError, boto.ClientError) as error:
        raise translation(error) from error
    except ResponseParserError as error:
        raise Unreachable("the answer cannot be read", code="UnusableAnswer", was_sent=True) from error


def translation(error: boto.BotoCoreError | boto.ClientError) -> ServiceError:
    """The error for one of botocore's, which the general client and the search for credentials raise."""
    if isinstance(error, boto.ClientError):
        metadata = error.response.get("ResponseMetadata", {})
        told = error.response.get("Error", {})
        return service_error(
            str(told.get("Message", "")),
            code=bare_code(str(told.get("Code", ""))) or "Unknown",
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
    """botocore's sentence; a value in it is shown only if it is known to be no secret."""
    values = {name: SHOWN_VALUES.get(name, _hidden)(value) for name, value in error.kwargs.items()}
    text = str(error.fmt.format(**values))
    return text if any(map(str.isalpha, text)) else type(error).__name__


@safe_text.register
def _misconfigured(error: boto.InvalidConfigError) -> str:
    """The text names profiles and their settings, and quotes no secret."""
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
"""How a value of a botocore error is shown, by its name. Others are hidden: answers, parameters, errors' texts."""


def never_connected(error: boto.BotoCoreError) -> bool:
    """Whether no connection came about. aiobotocore calls a reset connection EndpointConnectionError too."""
    return isinstance(error, BOTO_NOT_CONNECTED) or isinstance(error.kwargs.get("error"), NOT_CONNECTED)


def bare_code(wire: str) -> str:
    """The code without what services wrap around it: `com.amazonaws.sqs#X`, `X:http://…`, `X;Sender`.

    Empty if it does not look like a code, because it is shown in log lines, pages and messages.
    """
    code = re.split("[:;]", wire, maxsplit=1)[0].rpartition("#")[2]
    return code if CODE.fullmatch(code) else ""


def seconds(retry_after: str | None) -> float | None:
    """The Retry-After header in seconds; None where it is absent, or a date."""
    return float(retry_after) if retry_after and re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", retry_after) else None
