"""Is a payload JSON?"""

from __future__ import annotations

import pytest

from poller.core.json_text import NotJson, as_json, dumped, parsed


@pytest.mark.parametrize(
    "payload",
    [
        b"{}",
        b"null",
        b' [1, 2.5, "\\u00e9"] ',
        '"ñ"'.encode(),
        b'"\\ud800"',
        b"123456789012345678901234567890",
        b'{"a":1,"a":2}',
    ],
)
def test_a_json_payload_stays_unchanged(payload: bytes) -> None:
    parsed(payload)
    assert as_json(payload) == payload


@pytest.mark.parametrize(
    "payload",
    [b"", b"hello", b"NaN", b"[Infinity]", b"{'a': 1}", b"{}{}", b'"\xff"', b"\xef\xbb\xbf{}", b"[" * 100_000],
)
def test_a_payload_that_is_not_json_becomes_a_json_string(payload: bytes) -> None:
    with pytest.raises(NotJson):
        parsed(payload)
    assert parsed(as_json(payload)) == payload.decode(errors="replace")


@pytest.mark.parametrize("payload", [b'{"a":"\\ud800"}', '{"a":"ñ"}'.encode()])
def test_a_parsed_document_is_written_as_the_same_json(payload: bytes) -> None:
    assert dumped(parsed(payload)) == payload
