"""How does the parent write what its workers log?"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest

from poller.workers.lines import LONGEST_LINE_IN_BYTES, write_lines

pytestmark = pytest.mark.anyio


async def written(*pieces: bytes) -> Sequence[bytes]:
    """Return what is written, call by call."""
    found: list[bytes] = []

    async def read() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    await write_lines(read(), found.append)
    return found


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([], []),
        ([b"one\n"], [b"one\n"]),
        ([b"one\ntwo\n", b"three\n"], [b"one\ntwo\n", b"three\n"]),
        ([b"o", b"n", b"e\ntw", b"o\n"], [b"one\n", b"two\n"]),
        ([b"\n", b"\n"], [b"\n", b"\n"]),
        ([b"one\ntw"], [b"one\n", b"tw\n"]),
    ],
)
async def test_only_whole_lines_are_written(pieces: Sequence[bytes], expected: Sequence[bytes]) -> None:
    assert await written(*pieces) == expected


async def test_a_line_without_an_end_does_not_fill_the_memory() -> None:
    piece = b"x" * (LONGEST_LINE_IN_BYTES // 2 + 1)
    assert await written(piece, piece, b"y\n") == [piece + piece + b"\n", b"y\n"]


async def test_the_last_part_of_a_line_is_written_if_reading_fails() -> None:
    found: list[bytes] = []

    async def read() -> AsyncIterator[bytes]:
        yield b"one\ntw"
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await write_lines(read(), found.append)
    assert found == [b"one\n", b"tw\n"]
