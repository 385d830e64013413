"""Does the table of errors have every code of botocore, and does it know whether a request was sent?"""

from __future__ import annotations

import aiohttp
import botocore.exceptions as boto
import orjson
import pytest
from botocore.loaders import create_loader
from botocore.retries.standard import ThrottledRetryableChecker

from poller import errors
from poller.aws.errors import MESSAGE_LENGTH, THROTTLING_CODES, bare_code, seconds, service_error, translated
from poller.aws.wire import Answer
from poller.http.proxied import no_answer


def test_every_throttling_code_of_botocore_counts_as_a_throttle() -> None:
    definitions = create_loader().load_data("_retry")["definitions"]
    known = set(ThrottledRetryableChecker._THROTTLED_ERROR_CODES)
    for definition in definitions.values():
        response = definition["applies_when"].get("response", {})
        if "service_error_code" in response and response.get("http_status_code") == 400:
            known.add(response["service_error_code"])
    known -= {"RequestTimeoutException"}
    assert len(known) > 10
    assert known - THROTTLING_CODES == set()


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, errors.Rejected),
        (401, errors.AccessDenied),
        (403, errors.AccessDenied),
        (404, errors.NotFound),
        (409, errors.Rejected),
        (429, errors.Throttled),
        (500, errors.Unreachable),
        (503, errors.Unreachable),
    ],
)
def test_the_status_decides_if_the_code_is_unknown(status: int, expected: type[errors.ServiceError]) -> None:
    error = service_error("why", code="NeverHeardOf", status=status)
    assert type(error) is expected
    assert error.code == "NeverHeardOf"
    assert "why" in str(error)


def test_only_the_beginning_of_a_messages_first_line_is_kept() -> None:
    assert str(service_error("y" * (MESSAGE_LENGTH + 1), code="X", status=400)) == f"X (400): {'y' * MESSAGE_LENGTH}"
    assert str(service_error("\n one \n two", code="X", status=400)) == "X (400): one"
    assert str(service_error("\n", code="X", status=400)) == "X (400)"


def test_a_throttling_code_counts_even_with_a_status_of_5xx() -> None:
    assert type(service_error("", code="SlowDown", status=503)) is errors.Throttled


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("ExpiredIteratorException", errors.ExpiredIterator),
        ("TrimmedDataAccessException", errors.Trimmed),
        ("ProvisionedThroughputExceededException", errors.Throttled),
        ("LimitExceededException", errors.Throttled),
        ("ExpiredNextTokenException", errors.Rejected),
    ],
)
def test_expired_iterators_trimmed_records_and_throttles_are_told_apart(
    code: str, expected: type[errors.ServiceError]
) -> None:
    assert type(service_error("", code=code, status=400)) is expected


@pytest.mark.parametrize(
    "wire",
    [
        "QueueDoesNotExist",
        "com.amazonaws.sqs#QueueDoesNotExist",
        "x#QueueDoesNotExist:http://x/#y",
        "QueueDoesNotExist;S",
    ],
)
def test_a_code_is_read_without_its_namespace_and_its_url(wire: str) -> None:
    assert bare_code(wire) == "QueueDoesNotExist"


@pytest.mark.parametrize(
    "wire",
    [
        "",
        "#",
        "Z" * 129,
        "Z" * 5_000_000,
        "Forged\nlevel=error",
        "two words",
        "1",
        "\x1b[2J",
        "<html>",
        "Caf\u00e9",
        "a/b",
    ],
)
def test_a_text_that_does_not_look_like_a_code_is_not_one(wire: str) -> None:
    """A code is written into log lines, pages and messages."""
    assert bare_code(wire) == ""
    answer = Answer(400, {}, orjson.dumps({"__type": wire}))
    assert answer.error_code() == "Http400"
    assert str(answer.error()) == "Http400 (400)"


def test_an_answer_with_several_codes_has_the_code_of_the_first_of_four_places() -> None:
    headers = {"x-amzn-errortype": "First", "x-amzn-query-error": "Third;Sender"}
    document = {"__type": "Second", "code": "Fourth"}
    codes = []
    for part, name in ((headers, "x-amzn-errortype"), (document, "__type"), (headers, "x-amzn-query-error"), ({}, "")):
        codes.append(Answer(400, dict(headers), orjson.dumps(document)).error_code())
        part.pop(name, None)
    assert codes == ["First", "Second", "Third", "Fourth"]


def test_a_code_may_have_128_characters() -> None:
    assert bare_code("x#" + "Z" * 128) == "Z" * 128


def test_an_unusable_code_of_botocore_becomes_unknown() -> None:
    with pytest.raises(errors.Rejected) as caught, translated():
        raise client_error("Z" * 5_000_000, 400)
    assert caught.value.code == "Unknown"
    assert len(str(caught.value)) < 100


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("9" * 5_000, None),
        ("\u0663", None),
        ("0." + "1" * 5_000, None),
        (None, None),
        ("", None),
        ("3", 3.0),
        ("0.5", 0.5),
        ("-1", None),
        ("Sun, 22 Nov 2026 07:00:00 GMT", None),
    ],
)
def test_a_retry_after_that_is_not_a_number_is_ignored(header: str | None, expected: float | None) -> None:
    assert seconds(header) == expected


@pytest.mark.parametrize(
    ("error", "was_sent"),
    [
        (aiohttp.ConnectionTimeoutError(), False),
        (aiohttp.InvalidURL("x"), False),
        (aiohttp.ServerDisconnectedError(), True),
        (aiohttp.ClientOSError(), True),
        (aiohttp.ClientPayloadError(), True),
        (aiohttp.SocketTimeoutError(), True),
        (TimeoutError(), True),
    ],
)
def test_only_a_request_without_a_connection_counts_as_not_sent(
    error: aiohttp.ClientError | TimeoutError, was_sent: bool
) -> None:
    translated_error = no_answer(error)
    assert translated_error.was_sent is was_sent
    assert str(translated_error)


def client_error(code: str, status: int) -> boto.ClientError:
    response = {"Error": {"Code": code, "Message": "why"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return boto.ClientError(response, "Operation")


def endpoint_error(cause: Exception) -> boto.EndpointConnectionError:
    return boto.EndpointConnectionError(endpoint_url="http://x", error=cause)


@pytest.mark.parametrize(
    ("error", "expected", "code"),
    [
        (client_error("AccessDenied", 403), errors.AccessDenied, "AccessDenied"),
        (client_error("AWS.SimpleQueueService.NonExistentQueue", 400), errors.NotFound, None),
        (client_error("Throttling", 400), errors.Throttled, "Throttling"),
        (client_error("InternalError", 500), errors.Unreachable, "InternalError"),
        (client_error("", 400), errors.Rejected, "Unknown"),
        (boto.NoCredentialsError(), errors.AccessDenied, "NoCredentialsError"),
        (boto.ProfileNotFound(profile="x"), errors.AccessDenied, "ProfileNotFound"),
        (boto.UnauthorizedSSOTokenError(), errors.AccessDenied, "UnauthorizedSSOTokenError"),
        (boto.ReadTimeoutError(endpoint_url="http://x"), errors.Unreachable, "ReadTimeoutError"),
        (boto.ParamValidationError(report="x"), errors.Rejected, "ParamValidationError"),
        (boto.NoRegionError(), errors.Rejected, "NoRegionError"),
    ],
)
def test_every_exception_of_botocore_is_translated(
    error: Exception, expected: type[errors.ServiceError], code: str | None
) -> None:
    with pytest.raises(errors.ServiceError) as caught, translated():
        raise error
    assert type(caught.value) is expected
    assert code is None or caught.value.code == code
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    ("error", "was_sent"),
    [
        (endpoint_error(aiohttp.ClientOSError("reset")), True),
        (endpoint_error(aiohttp.ConnectionTimeoutError()), False),
        (boto.ConnectTimeoutError(endpoint_url="http://x"), False),
        (boto.ProxyConnectionError(proxy_url="http://x"), False),
        (boto.SSLError(endpoint_url="http://x", error="self-signed"), False),
        (boto.ReadTimeoutError(endpoint_url="http://x"), True),
        (boto.ConnectionClosedError(endpoint_url="http://x"), True),
        (boto.HTTPClientError(error="x"), True),
    ],
)
def test_a_translated_exception_of_botocore_says_whether_anything_was_sent(error: Exception, was_sent: bool) -> None:
    with pytest.raises(errors.Unreachable) as caught, translated():
        raise error
    assert caught.value.was_sent is was_sent


def test_an_exception_that_is_not_botocores_is_raised_unchanged() -> None:
    with pytest.raises(KeyError), translated():
        raise KeyError("a fault of our own")
