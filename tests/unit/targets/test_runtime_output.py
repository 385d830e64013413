"""How does the output of a child become lines, and how many of them are logged?"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import pairwise

import anyio
import anyio.lowlevel
import pytest

from poller.targets.runtime import output_limit
from poller.targets.runtime.output import LINE_LIMIT_IN_BYTES, LINES_AT_A_TIME, LineCutter, Output, bytes_waiting
from poller.targets.runtime.output_limit import BYTES_PER_SECOND, LINES_PER_SECOND, OutputLimit

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def _one_long_period(monkeypatch: pytest.MonkeyPatch) -> None:
    """One period is so long that no test reaches its end, even on a slow machine."""
    monkeypatch.setattr(output_limit, "PERIOD_IN_SECONDS", 3600.0)


class Log:
    """The lines and counts that an output reports."""

    def __init__(self) -> None:
        self.limit = OutputLimit()
        self.lines: list[str] = []
        self.left_out: list[int] = []

    @contextmanager
    def output(self) -> Iterator[Output]:
        output = Output(self.limit, log_line=self.lines.append, report_left_out=self.report_left_out)
        try:
            yield output
        finally:
            output.close()

    def report_left_out(self) -> None:
        if lines := self.limit.take_left_out():
            self.left_out.append(lines)


@asynccontextmanager
async def written(log: Log, *chunks: bytes) -> AsyncIterator[Output]:
    """Yield an output that was read to its end. A chunk must fit into a pipe."""
    with log.output() as output:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(output.run)
            for chunk in chunks:
                os.write(output.writing.fileno(), chunk)
                await output.catch_up()
            yield output
            output.writing.close()


async def lines_of(*chunks: bytes) -> list[str]:
    log = Log()
    async with written(log, *chunks):
        pass
    return log.lines


# Lines


async def test_a_line_may_arrive_in_any_pieces() -> None:
    assert await lines_of(b"o", b"ne\ntw", b"o\n", b"three\nfour\n") == ["one", "two", "three", "four"]


async def test_the_last_line_may_lack_its_end() -> None:
    assert await lines_of(b"one\ntwo") == ["one", "two"]


async def test_empty_lines_are_not_logged() -> None:
    assert await lines_of(b"\n\none\n\n\ntwo\n\n") == ["one", "two"]
    assert await lines_of(b"\r\none\r\n\r\n\r\ntwo\r\n\r") == ["one", "two"], "nor those of Windows"


async def test_bytes_that_are_not_utf_8_are_replaced() -> None:
    assert await lines_of(b"caf\xe9\n", "café\n".encode()) == ["caf\ufffd", "café"]


async def test_carriage_returns_break_lines_within_one_entry() -> None:
    assert await lines_of(b"[ERROR] x\rTraceback\r  File\n", b"from windows\r\n") == [
        "[ERROR] x\nTraceback\n  File",
        "from windows",
    ]


async def test_a_line_that_is_too_long_is_logged_in_pieces() -> None:
    limit = LINE_LIMIT_IN_BYTES
    assert await lines_of(b"x" * limit + b"\n" + b"y" * (limit + 3) + b"\n") == ["x" * limit, "y" * limit, "yyy"]


def test_a_line_as_long_as_the_limit_is_one_line() -> None:
    cutter = LineCutter()
    cutter.add(b"x" * LINE_LIMIT_IN_BYTES + b"\n")
    assert cutter.next_line() == b"x" * LINE_LIMIT_IN_BYTES
    assert cutter.next_line() is None


async def test_an_endless_line_does_not_fill_the_memory() -> None:
    log, limit = Log(), LINE_LIMIT_IN_BYTES
    async with written(log, b"x" * limit, b"x" * limit, b"x" * limit):
        assert log.lines == ["x" * limit] * 2


def test_skipped_lines_are_counted_and_the_last_one_may_continue() -> None:
    cutter = LineCutter()
    cutter.add(b"one\ntwo\nthr")
    assert cutter.next_line() == b"one"
    assert cutter.skip() == 1
    cutter.add(b"ee\nfour")
    assert cutter.next_line() == b"three"
    assert cutter.skip() == 0
    assert cutter.rest() == b"four"


def test_an_endless_line_does_not_fill_the_memory_while_lines_are_skipped() -> None:
    cutter, skipped = LineCutter(), 0
    for _ in range(10):
        cutter.add(b"x" * LINE_LIMIT_IN_BYTES)
        skipped += cutter.skip()
        assert len(cutter.rest()) <= LINE_LIMIT_IN_BYTES
    assert skipped == 9


# The limit


@pytest.mark.usefixtures("_one_long_period")
@pytest.mark.parametrize("line", [b"\n", b"x\n"], ids=["empty", "short"])
async def test_other_tasks_run_after_a_few_lines(line: bytes) -> None:
    """Between two turns of another task, only a limited number of lines is read."""
    log, turns, ended = Log(), [0], anyio.Event()

    async def neighbour() -> None:
        while not ended.is_set():
            await anyio.lowlevel.checkpoint()
            turns.append(log.limit.lines)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(neighbour)
        async with written(log, line * (65_536 // len(line))):
            pass
        ended.set()
    assert turns[-1] == LINES_PER_SECOND
    assert max(later - earlier for earlier, later in pairwise(turns)) <= LINES_AT_A_TIME


@pytest.mark.usefixtures("_one_long_period")
async def test_lines_beyond_the_limit_are_counted() -> None:
    log = Log()
    async with written(log, b"x\n" * (LINES_PER_SECOND - 1), b"last\nmore\nmore\n", b"more\n", b"more\nand the rest"):
        pass
    assert len(log.lines) == LINES_PER_SECOND
    assert log.lines[-1] == "last"
    assert log.limit.left_out == 4


@pytest.mark.usefixtures("_one_long_period")
async def test_long_lines_reach_the_limit_sooner() -> None:
    log, line = Log(), b"x" * (LINE_LIMIT_IN_BYTES - 1) + b"\n"
    async with written(log, *([line * 4] * 17)):
        pass
    assert len(log.lines) == BYTES_PER_SECOND // len(line) + 1
    assert log.limit.left_out == 68 - len(log.lines)


@pytest.mark.usefixtures("_one_long_period")
async def test_all_outputs_of_a_function_share_its_limit() -> None:
    log = Log()
    async with written(log, b"x\n" * LINES_PER_SECOND), written(log, b"y\n"):
        pass
    assert "y" not in log.lines
    assert log.limit.left_out == 1


@pytest.mark.usefixtures("_one_long_period")
async def test_a_child_beyond_its_limit_waits_at_its_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("poller.targets.runtime.output.PAUSE_IN_SECONDS", 3600.0)
    log = Log()
    with log.output() as output:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(output.run)
            os.write(output.writing.fileno(), b"x\n" * (LINES_PER_SECOND + 1))
            with anyio.fail_after(60):
                while not log.limit.left_out:
                    await anyio.lowlevel.checkpoint()
            os.write(output.writing.fileno(), b"more\n")
            for _ in range(10):
                await anyio.lowlevel.checkpoint()
            assert bytes_waiting(output.writing.fileno()) == 5
            tasks.cancel_scope.cancel()


async def test_the_count_of_omitted_lines_is_logged_before_the_next_line(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log()
    monkeypatch.setattr(output_limit, "PERIOD_IN_SECONDS", 3600.0)
    async with written(log, b"x\n" * (LINES_PER_SECOND + 7)) as output:
        assert log.left_out == []
        monkeypatch.setattr(output_limit, "PERIOD_IN_SECONDS", 0.0)
        os.write(output.writing.fileno(), b"next\n")
        await output.catch_up()
        assert (log.left_out, log.lines[-1]) == ([7], "next")


async def test_the_count_of_omitted_lines_is_logged_even_if_no_line_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("poller.targets.runtime.output.PERIOD_IN_SECONDS", 0.01)
    log = Log()
    monkeypatch.setattr(output_limit, "PERIOD_IN_SECONDS", 3600.0)
    with anyio.fail_after(60):
        async with written(log, b"x\n" * (LINES_PER_SECOND + 7)):
            while not log.left_out:
                await anyio.lowlevel.checkpoint()
    assert log.left_out == [7]


def test_the_limit_holds_for_each_second() -> None:
    limit = OutputLimit()
    assert not limit.is_used_up(5.0)
    for _ in range(LINES_PER_SECOND):
        limit.use(1)
    assert limit.is_used_up(5.9)
    assert not limit.is_used_up(6.0)
    limit.use(BYTES_PER_SECOND)
    assert limit.is_used_up(6.9)
    assert not limit.is_used_up(7.0)
