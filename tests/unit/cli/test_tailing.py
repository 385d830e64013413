"""What does `poller tail` refuse, and how does it show a record? tests/e2e/test_tail.py runs it against streams."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from typer.testing import CliRunner

from poller.cli.tailing import _content, _print, _starting
from poller.model.stream import AtTimestamp, Latest, StartingPosition, TrimHorizon
from tests.unit.cli.conftest import Poller
from tests.unit.cli.test_explaining import settings


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["nobody"], "has no mapping nobody; the names are q, k, t"),
        (["q"], "--peek receives up to ten messages once"),
        (["q", "--peek", "--since", "10m"], "--since is for streams"),
        (["k", "--peek"], "--peek is for queues"),
        (["k", "--since", "yesterday"], "yesterday is not a position"),
        (["k", "--since", "49590338271490256608559692538361571095921575989136588898"], "is a sequence number"),
        (["k", "--limit", "0"], "should be greater than or equal to 1"),
    ],
)
def test_a_tail_that_makes_no_sense_is_refused(poller: Poller, arguments: list[str], why: str) -> None:
    settings()
    done = poller("tail", *arguments)
    assert done.exit_code == 2
    assert why in " ".join(done.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    ("since", "position"),
    [
        (None, Latest()),
        ("LATEST", Latest()),
        ("TRIM_HORIZON", TrimHorizon()),
        ("2026-01-31T12:00:00Z", AtTimestamp(1_769_860_800)),
    ],
)
def test_a_tail_begins_now_or_where_the_person_says(since: str | None, position: StartingPosition) -> None:
    assert _starting(since) == position


def test_a_tail_may_begin_some_time_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("poller.cli.tailing.time.time", lambda: 1_769_860_800.0)
    assert _starting("10m") == AtTimestamp(1_769_860_800 - 600)


def kinesis(data: bytes) -> dict[str, Any]:
    return {"kinesis": {"data": base64.b64encode(data).decode()}}


@pytest.mark.parametrize(
    ("record", "shown"),
    [
        ({"body": '{"kind":"signup"}'}, '{"kind":"signup"}'),
        (kinesis("Grüße".encode()), "Grüße"),
        (kinesis(b"\xff\x00"), "2 bytes that are not UTF-8, in base64: /wA="),
        (
            {"eventName": "MODIFY", "dynamodb": {"Keys": {"id": {"S": "1"}}, "SequenceNumber": "3"}},
            'MODIFY {"Keys":{"id":{"S":"1"}}}',
        ),
    ],
)
def test_a_person_sees_the_content_of_a_record(record: dict[str, Any], shown: str) -> None:
    assert _content(record) == shown


def test_a_record_cannot_control_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    _print(1_769_860_800.5, "shard 1", {"body": "one\ntwo\x1b[2J\x9b"})
    assert capsys.readouterr().out == "2026-01-31T12:00:00.500Z shard 1\none\\ntwo\\x1b[2J\\x9b\n"


def test_the_help_says_that_a_look_at_a_queue_has_an_effect() -> None:
    from poller.cli import app

    text = " ".join(CliRunner().invoke(app, ["tail", "--help"]).stdout.replace("│", " ").split())
    assert "raises their receive counts" in text
