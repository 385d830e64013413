"""Is a payload JSON?"""

from __future__ import annotations

import pytest

from poller.core.events.json_text import NotJson, as_json, dumped, parsed


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
def test_json_is_taken_as_it_is(payload: bytes) -> None:
    parsed(payload)
    assert as_json(payload) == payload


@pytest.mark.parametrize(
    "payload",
    [b"", b"hello", b"NaN", b"[Infinity]", b"{'a': 1}", b"{}{}", b'"\xff"', b"\xef\xbb\xbf{}", b"[" * 100_000],
)
def test_what_is_no_json_becomes_a_string(payload: bytes) -> None:
    with pytest.raises(NotJson):
        parsed(payload)
    assert parsed(as_json(payload)) == payload.decode(errors="replace")


@pytest.mark.parametrize("payload", [b'{"a":"\\ud800"}', '{"a":"ñ"}'.encode()])
def test_what_was_parsed_is_written_as_the_same_json(payload: bytes) -> None:
    assert dumped(parsed(payload)) == payload
