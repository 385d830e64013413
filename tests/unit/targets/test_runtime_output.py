"""How do a child's bytes become lines?"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from poller.targets.runtime.output import LINE_LIMIT_IN_BYTES, lines

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def lines_of(*chunks: bytes) -> list[str]:
    async def stream() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    return [line async for line in lines(stream())]


async def test_a_line_may_come_in_any_pieces() -> None:
    assert await lines_of(b"o", b"ne\ntw", b"o\n", b"\nfour\n") == ["one", "two", "", "four"]


async def test_the_last_line_may_lack_its_end() -> None:
    assert await lines_of(b"one\ntwo") == ["one", "two"]


async def test_bytes_that_are_no_utf_8_are_replaced() -> None:
    assert await lines_of(b"caf\xe9\n", "café\n".encode()) == ["caf\ufffd", "café"]


async def test_carriage_returns_break_lines_within_one_entry() -> None:
    assert await lines_of(b"[ERROR] x\rTraceback\r  File\n", b"from windows\r\n") == [
        "[ERROR] x\nTraceback\n  File",
        "from windows",
    ]


async def test_a_line_that_is_too_long_comes_in_pieces() -> None:
    limit = LINE_LIMIT_IN_BYTES
    assert await lines_of(b"x" * (limit + 3) + b"\n") == ["x" * limit, "xxx"]


async def test_a_line_that_never_ends_does_not_pile_up() -> None:
    limit = LINE_LIMIT_IN_BYTES

    async def stream() -> AsyncIterator[bytes]:
        yield b"x" * (limit + 1)
        raise AssertionError("asked for more before the first piece was given")

    assert await anext(lines(stream())) == "x" * limit
