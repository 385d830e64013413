"""How is a log line written?"""

from __future__ import annotations

import io
import logging
import os
import re
import sys
import warnings
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
import structlog
from aiohttp.http_exceptions import BadStatusLine

from poller import facts
from poller.model.ids import FunctionName, MappingName, RequestId
from poller.telemetry import logs
from poller.telemetry.telemetry import Telemetry

ORDERS = MappingName("orders")
STORE = FunctionName("store")


class ShortWrites(io.RawIOBase):
    """A file that takes at most 1,000 bytes in one write, as a pipe does if a signal comes."""

    def __init__(self) -> None:
        self.taken = b""

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        part = bytes(data)[:1000]
        self.taken += part
        return len(part)


def lines(capture: pytest.CaptureFixture[bytes]) -> list[dict[str, Any]]:
    out, err = capture.readouterr()
    assert out == b""
    return [orjson.loads(line) for line in err.splitlines()]


def test_json_is_one_object_to_a_line_on_stderr_with_time_level_and_event_first(
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    logs.configure("json")
    structlog.get_logger().info("mapping_ready", mapping="orders", text="two\nlines")
    (line,) = lines(capsysbinary)
    assert list(line) == ["timestamp", "level", "event", "mapping", "text"]
    assert (line["level"], line["event"], line["text"]) == ("info", "mapping_ready", "two\nlines")
    assert datetime.fromisoformat(line["timestamp"]).utcoffset() == timedelta(0)


def test_each_line_of_one_of_several_workers_has_its_number(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    logs.configure("json", worker=2)
    structlog.get_logger().info("mapping_ready", mapping="orders")
    logging.getLogger("aiohttp").warning("slow")
    structlog.get_logger().info("worker_started", worker=3)
    ready, library, started = lines(capsysbinary)
    assert list(ready.items())[3:] == [("mapping", "orders"), ("worker", 2)]
    assert library["worker"] == 2
    assert started["worker"] == 3, "the field of a fact stays"


def test_a_worker_writes_colours_if_its_parent_says_so(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    for has_colors in (True, False):
        logs.configure("console", worker=2, has_colors=has_colors)
        structlog.get_logger().warning("batch_failed", mapping="orders")
        assert (b"\x1b[" in capsysbinary.readouterr().err) is has_colors


def test_the_console_format_has_no_colours_if_stderr_is_not_a_terminal(
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    logs.configure("console")
    structlog.get_logger().warning("batch_failed", mapping="orders")
    out, err = capsysbinary.readouterr()
    assert out == b""
    assert b"warning" in err
    assert b"batch_failed" in err
    assert b"mapping=orders" in err
    assert b"\x1b" not in err


def test_when_quiet_only_warnings_and_errors_are_written(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    logs.configure("json", quiet=True)
    log = structlog.get_logger()
    log.info("started")
    log.warning("failing")
    log.error("broken")
    assert [line["event"] for line in lines(capsysbinary)] == ["failing", "broken"]


def test_the_console_format_shows_a_functions_traceback_on_several_lines(
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    logs.configure("console")
    text = '[ERROR] ValueError: no\nTraceback (most recent call last):\n  File "a.py", line 1\n\x1b[2J[error] mine'
    Telemetry().emit(facts.ChildProcessOutput(function=STORE, pid=7, stream="stdout", line=text))
    first, *others = capsysbinary.readouterr().err.decode().splitlines()
    assert "child_process_output" in first
    assert "[ERROR] ValueError: no" in first
    assert others == [
        "    Traceback (most recent call last):",
        '      File "a.py", line 1',
        "    \\x1b[2J[error] mine",
    ]


def test_the_console_format_writes_a_list_of_names_with_commas(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    logs.configure("console")
    structlog.get_logger().info("reloaded", mappings_added=("orders", "clicks"), numbers=(1, 2), none=())
    written = capsysbinary.readouterr().err.decode()
    assert "mappings_added='orders, clicks'" in written
    assert "numbers=(1, 2) none=()" in written


def test_in_the_console_format_no_foreign_text_controls_the_terminal(
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    logs.configure("console")
    controls = "".join(map(chr, [*range(0x20), *range(0x7F, 0xA0), 0xAD, 0x200B, 0x202E, 0x2028, 0x2066]))
    log = structlog.get_logger()
    log.info(f"event{controls}", mapping=f"a{controls}b", more=[controls], both={"key": controls})
    for control in controls:
        log.info("event", detail=f"{control}[2J")
    log.error("mapping_crashed", exception=f"ValueError{controls}\n  in {controls}")
    written = capsysbinary.readouterr().err.decode()
    assert [character for line in written.split("\n") for character in line if not character.isprintable()] == []
    assert r"\x1b[2J" in written
    assert r"\u202e[2J" in written


@pytest.mark.parametrize(("verbose", "events"), [(False, ["loud"]), (True, ["quiet", "loud"])])
def test_debug_lines_are_written_only_when_verbose(
    capsysbinary: pytest.CaptureFixture[bytes], verbose: bool, events: list[str]
) -> None:
    logs.configure("json", verbose=verbose)
    structlog.get_logger().debug("quiet")
    structlog.get_logger().info("loud")
    assert [line["event"] for line in lines(capsysbinary)] == events


def test_the_facts_of_a_batch_that_succeeds_write_nothing_unless_verbose(
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    way = (
        facts.MessagesReceived(ORDERS, 10),
        facts.RecordsFilteredOut(ORDERS, 1),
        facts.BatchInvoked(ORDERS, STORE, RequestId("8f3"), "succeeded", 10, 0, 1, 0.1, 1.0, "", "", ""),
        facts.MessagesDeleted(ORDERS, 10),
    )
    for verbose, expected in ((False, 0), (True, 4)):
        logs.configure("json", verbose=verbose)
        telemetry = Telemetry()
        for fact in way:
            telemetry.emit(fact)
        assert len(lines(capsysbinary)) == expected


@pytest.mark.parametrize("verbose", [False, True])
def test_messages_of_libraries_are_logged_from_warning_upwards_even_when_verbose(
    capsysbinary: pytest.CaptureFixture[bytes], verbose: bool
) -> None:
    logs.configure("json", verbose=verbose)
    logging.getLogger("botocore.endpoint").debug("request with a signature")
    logging.getLogger("aiohttp.server").info("access")
    logging.getLogger("asyncio").warning("slow %s", "secret-of-a-callback")
    (line,) = lines(capsysbinary)
    assert (line["level"], line["event"]) == ("warning", "library_logged")
    assert (line["logger"], line["message"]) == ("asyncio", "slow %s")


def test_a_client_that_does_not_send_http_causes_no_traceback(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    logs.configure("json")
    for error in (BadStatusLine("GARBAGE"), ZeroDivisionError()):
        logging.getLogger("aiohttp.server").error("Error handling request", exc_info=error)
    (line,) = lines(capsysbinary)
    assert "ZeroDivisionError" in line["exception"]


def test_python_warnings_are_log_lines_too(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    logs.configure("json")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old: habits", UserWarning, stacklevel=1)
    (line,) = lines(capsysbinary)
    assert re.fullmatch(rf"{re.escape(__file__)}:\d+: UserWarning", line["message"])


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (
            "Task exception was never retrieved\nfuture: <Task>",
            "Task exception was never retrieved",
        ),
        ("Exception in callback put('secret')", "Exception in callback put"),
        (
            "Unclosed connection\nclient_connection: http://user:secret@proxy",
            "Unclosed connection",
        ),
        ("Cannot read b'secret'", "Cannot read b"),
        ("", ""),
    ],
)
def test_a_message_of_a_library_is_logged_without_values(
    capsysbinary: pytest.CaptureFixture[bytes], message: str, shown: str
) -> None:
    logs.configure("json")
    logging.getLogger("asyncio").error(message)
    (line,) = lines(capsysbinary)
    assert line["message"] == shown


def fail_with_a_body_at_hand() -> BaseException:
    body = "ann" + "@example.com"
    try:
        raise RuntimeError(f"a body of {len(body)} characters")
    except RuntimeError as error:
        return error


@pytest.mark.parametrize("format", ["json", "console"])
def test_a_crash_shows_its_traceback_without_the_values_of_variables(
    capsysbinary: pytest.CaptureFixture[bytes],
    format: logs.LogFormat,  # noqa: A002
) -> None:
    logs.configure(format)
    Telemetry().emit(facts.MappingCrashed(mapping=ORDERS, error=fail_with_a_body_at_hand(), retry_in_seconds=1.0))
    _, err = capsysbinary.readouterr()
    assert b"RuntimeError" in err
    assert b"fail_with_a_body_at_hand" in err
    assert b"a body of 15" not in err, "the text of a foreign error may hold anything"
    assert b"ann@example.com" not in err


@pytest.mark.parametrize("value", ["\ud800 alone", 2**70, {"a": {1, 2}}, b"bytes", Path("/etc")])
def test_a_value_of_any_type_can_be_logged(capsysbinary: pytest.CaptureFixture[bytes], value: object) -> None:
    logs.configure("json")
    structlog.get_logger().info("odd", value=value)
    assert b'"odd"' in capsysbinary.readouterr().err


@pytest.mark.parametrize("format", ["json", "console"])
def test_a_line_that_cannot_be_written_is_lost_without_an_error(
    monkeypatch: pytest.MonkeyPatch,
    format: logs.LogFormat,  # noqa: A002
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as broken:
        monkeypatch.setattr(sys, "stderr", broken)
        logs.configure(format)
        for _ in range(3):
            structlog.get_logger().info("unheard")
    structlog.get_logger().info("unheard")


@pytest.mark.parametrize("format", ["json", "console"])
def test_a_line_arrives_whole_if_a_write_takes_a_part_of_it(
    monkeypatch: pytest.MonkeyPatch,
    format: logs.LogFormat,  # noqa: A002
) -> None:
    """With PYTHONUNBUFFERED, Python does not write the rest."""
    bare = ShortWrites()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(bare, encoding="utf-8", write_through=True))  # type: ignore[type-var]  # Python itself makes one over a bare file
    logs.configure(format)
    structlog.get_logger().info("odd", text="é" * 5000)
    assert "é" * 5000 in bare.taken.decode()
    assert bare.taken.endswith(b"\n")
