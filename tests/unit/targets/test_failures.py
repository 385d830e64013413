"""What does Lambda report if a function fails?"""

from __future__ import annotations

import orjson
import pytest

from poller.model.ids import RequestId
from poller.model.invocation import FunctionError
from poller.targets.failures import (
    MESSAGE_LIMIT_IN_CHARACTERS,
    exited,
    init_timed_out,
    is_error_document,
    posted,
    timed_out,
    too_large,
)

ID = RequestId("6f1d")


@pytest.mark.parametrize(
    ("error", "error_type", "message"),
    [
        (timed_out(ID, 1), "Sandbox.Timedout", "RequestId: 6f1d Error: Task timed out after 1.00 seconds"),
        (timed_out(ID, 2.5), "Sandbox.Timedout", "RequestId: 6f1d Error: Task timed out after 2.50 seconds"),
        (
            init_timed_out(ID, 10),
            "Sandbox.Timedout",
            "RequestId: 6f1d Error: Init timed out after 10.00 seconds, before the runtime asked for an invocation",
        ),
        (
            exited(ID, 0),
            "Runtime.ExitError",
            "RequestId: 6f1d Error: Runtime exited without providing a reason",
        ),
        (
            exited(ID, None),
            "Runtime.ExitError",
            "RequestId: 6f1d Error: Runtime exited without providing a reason",
        ),
        (
            exited(ID, 127),
            "Runtime.ExitError",
            "RequestId: 6f1d Error: Runtime exited with error: exit status 127",
        ),
        (exited(ID, -9), "Runtime.ExitError", "RequestId: 6f1d Error: Runtime exited with error: signal: killed"),
        (
            exited(ID, -11),
            "Runtime.ExitError",
            "RequestId: 6f1d Error: Runtime exited with error: signal: segmentation fault",
        ),
        (
            too_large(),
            "Function.ResponseSizeTooLarge",
            "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
        ),
    ],
)
def test_an_invocation_without_an_answer_gets_the_error_of_lambda(
    error: FunctionError, error_type: str, message: str
) -> None:
    assert (error.error_type, error.message) == (error_type, message)
    assert orjson.loads(error.payload) == {"errorType": error_type, "errorMessage": message}


def test_a_posted_document_is_passed_on_unchanged() -> None:
    document = b'{ "errorType": "ValueError", "errorMessage": "no", "stackTrace": [] }'
    error = posted(document, error_type="Runtime.Something")
    assert (error.error_type, error.message, error.payload) == ("ValueError", "no", document)


@pytest.mark.parametrize("document", [b"", b"oops", b"[]", b'{"errorType": 3, "errorMessage": null}'])
def test_a_document_without_an_error_type_gets_the_type_of_the_header(document: bytes) -> None:
    assert posted(document, error_type="Runtime.BadThing").error_type == "Runtime.BadThing"
    assert posted(document, error_type="whatever 123").error_type == "Function.Unknown"
    assert posted(document, error_type=None).error_type == "Function.Unknown"
    assert posted(document, error_type=None).message == ""


@pytest.mark.parametrize(
    ("written", "message"),
    [(b"cut \\ud83d", "cut ?"), (b"cut \xf0\x9f", "cut \ufffd"), (b"whole \\ud83d\\ude00", "whole \U0001f600")],
    ids=["half of a surrogate pair", "half of a character in UTF-8", "a whole character"],
)
def test_an_error_whose_text_is_cut_within_a_character_is_an_error(written: bytes, message: str) -> None:
    document = b'{"errorMessage": "%b", "errorType": "Error", "trace": []}' % written
    assert is_error_document(document)
    error = posted(document, error_type=None)
    assert (error.error_type, error.message, error.payload) == ("Error", message, document)


def test_the_error_in_the_log_has_a_limited_length() -> None:
    error = posted(orjson.dumps({"errorType": "E" * 10_000, "errorMessage": "m" * 10_000}), error_type=None)
    assert len(error.error_type) == 128
    assert len(error.message) == MESSAGE_LIMIT_IN_CHARACTERS


@pytest.mark.parametrize(
    ("body", "is_error"),
    [
        (b'{"errorMessage": "x", "errorType": "E"}', True),
        (b'{"errorMessage": "x", "errorType": "E", "stackTrace": [], "requestId": "1"}', True),
        (b'{"errorMessage": "x"}', False),
        (b'{"nested": {"errorMessage": "x", "errorType": "E"}}', False),
        (b'["errorMessage", "errorType"]', False),
        (b'"errorMessage" "errorType"', False),
        (b"", False),
    ],
)
def test_an_error_document_is_recognised_by_its_keys(body: bytes, is_error: bool) -> None:
    assert is_error_document(body) is is_error
