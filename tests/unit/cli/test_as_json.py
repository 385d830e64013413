"""Does every command answer a program with `--json`, in the shape that deploy/json.md shows?"""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from pydantic import BaseModel

from poller.admin import answers
from poller.event_queues.rows import put
from poller.event_queues.schema import shared
from poller.model.ids import FunctionName
from tests.fakes.events import event
from tests.unit.cli.conftest import COMMANDS, JSON_DOCUMENT, Poller, members

WITHOUT = {
    "run": "it runs until its end, and logs JSON",
    "demo": "it is a tour for people",
}
"""The commands without --json, with the reason."""

SETTINGS = """
[daemon]
state = "sqlite://poller.db"
event_queue = "sqlite://events.db"
[functions.resize]
url = "http://127.0.0.1:1"
[mappings.q]
event_source_arn = "arn:aws:sqs:eu-west-1:123456789012:q"
function_name = "resize"
filter_criteria.filters = [{ pattern = { body = { kind = ["signup"] } } }]
"""


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_the_option_and_a_line_in_the_document(name: str) -> None:
    options = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    assert ("--json" in options) is (name not in WITHOUT)
    assert name in WITHOUT or f"`poller {name}`" in JSON_DOCUMENT


@pytest.mark.parametrize(
    ("shown", "arguments"),
    [
        ("poller check", ["check"]),
        ("poller explain", ["explain", "q", "--record", "record.json"]),
        ("poller state show", ["state", "show"]),
        ("poller events list", ["events", "list"]),
        ("poller events list FUNCTION", ["events", "list", "resize"]),
        ("poller events show", ["events", "show", "resize", "r-1"]),
        ("poller events retry", ["events", "retry", "resize", "--all"]),
        ("poller events drop", ["events", "drop", "resize", "--all", "--yes"]),
        ("poller reference metrics", ["reference", "metrics"]),
        ("poller reference log", ["reference", "log"]),
        ("poller reference parity", ["reference", "parity"]),
    ],
)
def test_a_document_has_the_members_that_are_shown(poller: Poller, shown: str, arguments: list[str]) -> None:
    Path("poller.toml").write_text(SETTINGS)
    Path("record.json").write_text('{"kind": "signup"}')
    with shared(Path("events.db")) as connection:
        put(connection, [event(time.time(), function=FunctionName("resize"), request_id="r-1")])
    done = poller(*arguments, "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout).keys() == members(shown)


@pytest.mark.parametrize(
    ("commands", "answer"),
    [
        (["poller status"], answers.Status),
        (["poller reload", "poller reload --function NAME"], answers.Reloaded),
        (["poller pause"], answers.Pausing),
        (["poller resume"], answers.Pausing),
        (["poller shard NAME SHARD"], answers.BlockedWithKeys),
        (["poller shard"], answers.Ordered),
    ],
)
def test_the_members_of_the_daemons_answers_are_shown(commands: list[str], answer: type[BaseModel]) -> None:
    assert set().union(*map(members, commands)) == answer.model_fields.keys()


def test_a_live_check_without_anything_to_ask_has_no_rows(poller: Poller) -> None:
    Path("poller.toml").write_text('[daemon]\nregion = "eu-west-1"\n[functions.f]\ncommand = ["true"]\n')
    done = poller("check", "--live", "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (0, {"rows": []})
    assert members("poller check --live") == {"rows"}


def test_a_check_for_programs_has_the_settings_and_no_secret(poller: Poller) -> None:
    Path("poller.toml").write_text(
        SETTINGS.replace("[mappings.q]", 'headers = { A = "Bearer ${TOKEN}" }\n[mappings.q]')
    )
    done = poller("check", "--json", TOKEN="s3cret")
    document = json.loads(done.stdout)
    assert (done.exit_code, done.stderr, document["faults"], document["warnings"]) == (0, "", [], [])
    assert document["settings"]["mappings"]["q"]["batch_size"] == 10
    assert document["settings"]["functions"]["resize"]["headers"] == {"A": "Bearer ${TOKEN}"}
    assert "s3cret" not in done.output


def test_a_check_for_programs_has_the_faults(poller: Poller) -> None:
    Path("poller.toml").write_text("[daemon]\nregoin = 1")
    done = poller("check", "--json")
    assert done.exit_code == 2
    assert json.loads(done.stdout) == {
        "faults": ["daemon.regoin: unknown key; did you mean region?"],
        "warnings": [],
        "settings": None,
    }


def test_a_check_for_programs_warns_of_what_is_missing(poller: Poller) -> None:
    Path("poller.toml").write_text('[functions.resize]\ncommand = ["no-such-program"]')
    document = json.loads(poller("check", "--json").stdout)
    assert document["warnings"][-1].startswith('functions.resize.command = ["no-such-program"]: ')


def test_policies_are_json_or_terraform(poller: Poller) -> None:
    Path("poller.toml").write_text(SETTINGS)
    assert poller("iam", "--json").stdout == poller("iam").stdout
    done = poller("iam", "--json", "--terraform")
    assert (done.exit_code, done.stderr) == (2, "poller: --json and --terraform exclude each other\n")
