"""How are log lines written to stderr, so that the reader gets whole lines?"""

from __future__ import annotations

import os
from threading import Thread

import pytest

from poller.telemetry.whole_writes import write_whole

MORE_THAN_A_PIPE_HOLDS = b"x" * 1_000_000 + b"\n"


@pytest.mark.parametrize("buffering", [0, 8192])
def test_a_pipe_in_non_blocking_mode_gets_everything(buffering: int) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with os.fdopen(reading, "rb") as reader:
        stream = os.fdopen(writing, "wb", buffering=buffering)

        def write() -> None:
            with stream:
                write_whole(stream, MORE_THAN_A_PIPE_HOLDS)

        writer = Thread(target=write)
        writer.start()
        got = reader.read()
        writer.join()
    assert got == MORE_THAN_A_PIPE_HOLDS


def test_lines_are_lost_without_an_error_if_the_reader_has_gone() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as stream:
        write_whole(stream, MORE_THAN_A_PIPE_HOLDS)
    write_whole(stream, MORE_THAN_A_PIPE_HOLDS)
