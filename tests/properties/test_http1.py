"""Is an answer that arrives in any pieces read as the standard library reads it?"""

from __future__ import annotations

import asyncio
import gc
import http.client
import io
import itertools
import weakref
from typing import Any, NamedTuple, cast

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from poller.errors import Rejected, Unreachable
from poller.http.http1 import (
    LARGEST_ANSWER_IN_BYTES,
    LARGEST_HEAD_IN_BYTES,
    MOST_HEADERS,
    TOO_MUCH_HEAD,
    Connection,
    Received,
    request,
)

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
NAMES = st.text(LETTERS + "0123456789-_", min_size=1, max_size=12).map(lambda name: f"X-{name}")
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126) | st.sampled_from("é\xff"), max_size=20)
FRAMINGS = st.sampled_from(["length", "chunked", "close"])


class Wire(NamedTuple):
    """An answer as its bytes; `lasts` until the connection ends."""

    raw: bytes
    lasts: bool


@st.composite
def answers(draw: st.DrawFn) -> Wire:
    status = draw(st.sampled_from([200, 201, 202, 204, 304, 400, 403, 413, 429, 500, 503]))
    headers = draw(st.lists(st.tuples(NAMES, VALUES), max_size=6))
    body = b"" if status in (204, 304) else draw(st.binary(max_size=60))
    framing = draw(FRAMINGS) if status not in (204, 304) else "none"
    if framing == "length":
        headers.insert(draw(st.integers(0, len(headers))), ("Content-Length", str(len(body))))
    elif framing == "chunked":
        headers.insert(draw(st.integers(0, len(headers))), ("transfer-encoding", "chunked"))
        body = chunked(draw, body)
    lines = [f"HTTP/1.1 {status} Some Reason", *(f"{name}: {value}" for name, value in headers)]
    interim = b"HTTP/1.1 100 Continue\r\n\r\n" * draw(st.integers(0, 2))
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    return Wire(interim + head + body, framing == "close")


def chunked(draw: st.DrawFn, body: bytes) -> bytes:
    pieces = [piece for piece in cut(body, draw(CUTS)) if piece]
    extension = draw(st.sampled_from([b"", b";x=y"]))
    trailers = draw(st.sampled_from([b"", b"X-Trailer: 1\r\n", b"X-One: 1\r\nX-Two: 2\r\n"]))
    parts = [b"%x%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces]
    return b"".join(parts) + b"0\r\n" + trailers + b"\r\n"


CUTS = st.lists(st.integers(0, 400), max_size=8)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = [0, *sorted(min(place, len(data)) for place in places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(ends)]


class Pipe(asyncio.Transport):
    """A transport without a peer."""

    def __init__(self) -> None:
        super().__init__()
        self.is_closed = False

    def write(self, data: Any) -> None:
        assert not self.is_closed

    def get_write_buffer_size(self) -> int:
        return 0

    def close(self) -> None:
        self.is_closed = True

    abort = close


def read(*streams: list[bytes], lasts: bool = False) -> tuple[list[Received | Unreachable], bool]:
    """Read the answers one after another, each in these pieces. Return them, and whether the connection can be used
    again.

    The last one may last until the connection ends.
    """

    async def run() -> tuple[list[Received | Unreachable], bool]:
        results = []
        connection = Connection(lambda _: None, largest_answer_in_bytes=LARGEST_ANSWER_IN_BYTES)
        pipe = Pipe()
        connection.connection_made(pipe)
        for pieces in streams:
            waiter = connection.ask(b"", deadline=asyncio.get_running_loop().time() + 60)
            for piece in filter(None, pieces):
                if not pipe.is_closed:
                    connection.data_received(piece)
            if lasts and pieces is streams[-1]:
                connection.eof_received()
            results.append(waiter.result())
        is_open = connection.is_open
        connection.connection_lost(None)
        return results, is_open

    return asyncio.run(run())


def reference(wire: Wire) -> Received:
    """Read an answer with the standard library."""
    response = http.client.HTTPResponse(cast(Any, Socket(wire.raw)), method="POST")
    response.begin()
    headers: dict[str, str] = {}
    for name, value in response.headers.items():
        key, text = name.lower(), value.strip(" ")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return Received(response.status, headers, response.read())


class Socket(NamedTuple):
    raw: bytes

    def makefile(self, _: str) -> io.BytesIO:
        return io.BytesIO(self.raw)


@given(wire=answers(), cuts=CUTS)
def test_an_answer_in_any_pieces_is_read_as_the_standard_library_reads_it(wire: Wire, cuts: list[int]) -> None:
    results, is_open = read(cut(wire.raw, cuts), lasts=wire.lasts)
    assert results == [reference(wire)]
    assert is_open is not wire.lasts


@given(first=answers(), second=answers(), cuts=CUTS)
def test_an_answer_leaves_no_bytes_for_the_next_one(first: Wire, second: Wire, cuts: list[int]) -> None:
    assume(not first.lasts)
    results, _ = read([first.raw], cut(second.raw, cuts), lasts=second.lasts)
    assert results == [reference(first), reference(second)]


@given(wire=answers(), surplus=st.binary(min_size=1, max_size=30) | st.just(b"HTTP/1.1 200 OK"), cuts=CUTS)
def test_bytes_after_an_answer_do_not_change_it_and_end_the_connection(
    wire: Wire, surplus: bytes, cuts: list[int]
) -> None:
    assume(not wire.lasts)
    assume(surplus.strip(b"\r\n"))
    results, is_open = read(cut(wire.raw + surplus, cuts))
    assert results == [reference(wire)]
    assert not is_open


@given(wire=answers(), length=st.integers(0, 400), cuts=CUTS)
def test_a_part_of_an_answer_is_not_an_answer(wire: Wire, length: int, cuts: list[int]) -> None:
    assume(not wire.lasts)
    part = wire.raw[: min(length, len(wire.raw) - 1)]
    [result], is_open = read(cut(part, cuts), lasts=True)
    assert isinstance(result, Unreachable)
    assert result.was_sent
    assert not is_open


@example(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", cuts=[])
@given(raw=st.binary(max_size=60).map(lambda rest: b"HTTP/1.1 200 OK\r\n" + rest) | st.binary(max_size=60), cuts=CUTS)
def test_no_bytes_leave_a_call_without_a_result(raw: bytes, cuts: list[int]) -> None:
    [result], is_open = read(cut(raw, cuts), lasts=True)
    assert isinstance(result, Received | Unreachable)
    assert not is_open


def with_heads(interim: int, head: int, trailers: int, *, line: bytes) -> bytes:
    """An answer with this many lines in each of its three places for headers, besides its own `transfer-encoding`."""
    first = b"HTTP/1.1 103 Early Hints\r\n" + line * interim + b"\r\n"
    return (
        (first if interim else b"")
        + b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n"
        + line * head
        + b"\r\n2\r\n{}\r\n0\r\n"
        + line * trailers
        + b"\r\n"
    )


def in_pieces(raw: bytes, size: int) -> list[bytes]:
    return [raw[start : start + size] for start in range(0, len(raw), size)]


def is_too_much(results: list[Received | Unreachable], is_open: bool) -> bool:
    [result] = results
    if isinstance(result, Received):
        return False
    assert (str(result), result.code, result.was_sent) == (TOO_MUCH_HEAD, "UnusableAnswer", True)
    assert not is_open
    return True


FRAME = 100
"""More bytes than those around the headers, which count when an answer comes in pieces."""

PLACES = pytest.mark.parametrize("place", [(1, 0, 0), (0, 1, 0), (0, 0, 1)], ids=["interim", "head", "trailers"])
PIECES = pytest.mark.parametrize("size", [7, 4_096, 1 << 20])


@PLACES
@PIECES
def test_an_answer_has_at_most_a_hundred_headers(place: tuple[int, int, int], size: int) -> None:
    for number, expected in ((MOST_HEADERS - 1, False), (MOST_HEADERS, True), (20 * MOST_HEADERS, True)):
        interim, head, trailers = (number * each for each in place)
        raw = with_heads(interim, head, trailers, line=b"X-A: y\r\n")
        assert is_too_much(*read(in_pieces(raw, size))) is expected


@PLACES
@PIECES
def test_an_answers_headers_have_at_most_64_kib(place: tuple[int, int, int], size: int) -> None:
    room = LARGEST_HEAD_IN_BYTES - len("transfer-encodingchunked") - len("X-A")
    for length, expected in ((room - FRAME, False), (room + 1, True), (10 * room, True)):
        raw = with_heads(*place, line=b"X-A: " + b"y" * length + b"\r\n")
        assert is_too_much(*read(in_pieces(raw, size))) is expected


@PIECES
def test_headers_and_trailers_share_one_limit(size: int) -> None:
    for number, expected in ((33, False), (34, True)):
        raw = with_heads(number, number, number, line=b"X-A: y\r\n")
        assert is_too_much(*read(in_pieces(raw, size))) is expected


@pytest.mark.parametrize("size", [7, 4_096])
@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 " + b"y" * (2 * LARGEST_HEAD_IN_BYTES) + b"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\n" * 5_000 + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        with_heads(0, 0, 0, line=b"").replace(b"\r\n2\r\n", b"\r\n2;" + b"y" * (2 * LARGEST_HEAD_IN_BYTES) + b"\r\n"),
    ],
    ids=["status line", "interim answers", "chunk extension"],
)
def test_64_kib_without_a_byte_of_the_body_are_too_much(raw: bytes, size: int) -> None:
    assert is_too_much(*read(in_pieces(raw, size)))


def test_a_body_in_many_chunks_does_not_count_as_headers() -> None:
    count = LARGEST_HEAD_IN_BYTES // 4
    raw = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"1\r\n7\r\n" * count + b"0\r\n\r\n"
    [result], is_open = read(in_pieces(raw, 4_096))
    assert isinstance(result, Received)
    assert result.body == b"7" * count
    assert is_open


def test_the_limit_holds_for_each_answer_by_itself() -> None:
    raw = with_heads(0, MOST_HEADERS - 1, 0, line=b"X-A: " + b"y" * 400 + b"\r\n")
    results, is_open = read([raw], [raw], in_pieces(raw, 4_096))
    assert all(isinstance(result, Received) for result in results)
    assert is_open


def test_no_timer_keeps_a_lost_connection_until_the_deadline_of_its_call() -> None:
    async def run() -> None:
        connection = Connection(lambda _: None, largest_answer_in_bytes=LARGEST_ANSWER_IN_BYTES)
        connection.connection_made(Pipe())
        connection.ask(b"", deadline=asyncio.get_running_loop().time() + 3_600)
        connection.connection_lost(None)
        kept = weakref.ref(connection)
        del connection
        gc.collect()
        assert kept() is None

    asyncio.run(run())


@given(headers=st.dictionaries(NAMES, VALUES, max_size=5), body=st.binary(max_size=20))
def test_a_request_consists_of_its_lines_and_its_body(headers: dict[str, str], body: bytes) -> None:
    head, _, rest = request("POST /x HTTP/1.1\r\nhost: y\r\n", headers, body).partition(b"\r\n\r\n")
    lines = [f"{name}: {value}" for name, value in headers.items()]
    expected = ["POST /x HTTP/1.1", "host: y", *lines, f"content-length: {len(body)}"]
    assert head.decode().split("\r\n") == expected
    assert rest == body


@pytest.mark.parametrize("sign", ["\n", "\r", "\r\n", "\0", "\r\n\r\nPOST / HTTP/1.1"])
@pytest.mark.parametrize("place", ["name", "value"])
def test_a_header_cannot_contain_a_line_break(sign: str, place: str) -> None:
    name, value = ("x-a", f"secret{sign}b") if place == "value" else (f"x-a{sign}", "secret")
    with pytest.raises(Rejected, match="x-a") as caught:
        request("POST / HTTP/1.1\r\n", {"host": "y", name: value}, b"")
    assert "secret" not in str(caught.value)
    assert "host" not in str(caught.value)
