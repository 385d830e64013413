"""What do `poller events list`, `show`, `retry`, `drop` and `forget` print, and what do they change in the file?"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from poller.event_queues import by_hand
from poller.event_queues.remembered import remember
from poller.event_queues.rows import put, take
from poller.event_queues.schema import shared
from poller.model.arn import Arn
from poller.model.event import Ending, Event, LastAttempt, RememberedQueue
from poller.model.ids import FunctionName
from tests.fakes.events import event

Poller = Callable[..., Result]

RESIZE, GONE = FunctionName("resize"), FunctionName("gone")
SETTINGS = """
[daemon]
event_queue = "sqlite://events.db"
[functions.resize]
url = "http://127.0.0.1:1"
[functions.mail]
url = "http://127.0.0.1:1"
[functions.mail.event_invoke_config]
event_queue_arn = "arn:aws:sqs:eu-west-1:123456789012:mails"
[mappings.m]
event_source_arn = "arn:aws:sqs:eu-west-1:123456789012:q"
function_name = "resize"
"""
NO_ACCESS = "the destination on_failure: AccessDenied"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "poller.toml").write_text(SETTINGS)
    return tmp_path / "events.db"


def stored(file: Path, *events: Event) -> None:
    with shared(file) as connection:
        put(connection, events)


def stuck(function: FunctionName = RESIZE) -> Event:
    last = LastAttempt(
        status_code=200, function_error="Unhandled", payload=b'{"errorMessage":"no"}', error_message="no"
    )
    ending = Ending(condition="RetriesExhausted", at=time.time(), last=last, deliveries=("on_failure",), rejections=3)
    return event(time.time() - 7300, function=function, attempts=3, ending=ending, stuck=NO_ACCESS)


def test_without_a_name_the_events_of_each_function_are_counted(poller: Poller, file: Path) -> None:
    stored(file, event(time.time()), stuck(), stuck(GONE))
    lines = poller("events", "list").stdout.splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["FUNCTION", "WAITING", "IN", "FLIGHT", "STUCK", "OLDEST"],
        ["gone", "0", "0", "1", "2", "hours", "ago"],
        ["resize", "1", "0", "1", "2", "hours", "ago"],
    ]
    counts = json.loads(poller("events", "list", "--json").stdout)["functions"]
    assert (counts["resize"]["waiting"], counts["resize"]["stuck"]) == (1, 1)


def test_without_a_file_no_event_waits(poller: Poller, file: Path) -> None:
    assert poller("events", "list").stdout == f"{file}: no event waits\n"
    assert poller("events", "list", "resize").stdout == "No event of resize waits.\n"
    assert not file.exists()


def test_a_list_says_in_which_state_each_event_is(poller: Poller, file: Path) -> None:
    now = time.time()
    claimed = event(now - 40)
    stored(file, claimed)
    with shared(file) as connection:
        take(connection, RESIZE, claim="a daemon", count=1, now=now, until=now + 60)
        stored(file, stuck(), event(now, due_in=200, payload=b"[1,2,3]"))
    heading, *lines = poller("events", "list", "resize").stdout.splitlines()
    assert heading.split() == ["ID", "ACCEPTED", "ATTEMPTS", "BYTES", "STATE"]
    assert [line.split(maxsplit=1)[1].split("  ")[-1] for line in lines] == [
        f"stuck: {NO_ACCESS}",
        "is invoked now",
        "is invoked in 3 min",
    ]
    assert claimed.request_id in lines[1]
    listed = json.loads(poller("events", "list", "resize", "--json").stdout)
    assert [one["size_in_bytes"] for one in listed["events"]] == [2, 2, 7]
    assert listed["total"] == 3


def test_the_list_says_where_else_events_wait_and_when_the_function_is_gone(poller: Poller, file: Path) -> None:
    stored(file, stuck(GONE))
    assert "wait in arn:aws:sqs:eu-west-1:123456789012:mails" in poller("events", "list", "mail").stdout
    assert poller("events", "list", "gone").stdout.startswith("The settings no longer have gone.")


def test_a_function_that_nobody_knows_is_refused_with_the_names_of_the_others(poller: Poller, file: Path) -> None:
    for name, others in (("resise", "did you mean resize?"), ("x", "the names are resize, mail")):
        result = poller("events", "list", name)
        assert (result.exit_code, result.stderr) == (2, f"poller: there is no function {name}; {others}\n")


def test_one_event_is_shown_with_its_payload_and_how_it_ended(poller: Poller, file: Path) -> None:
    one = stuck()
    stored(file, one)
    shown = json.loads(poller("events", "show", "resize", one.request_id).stdout)
    assert (shown["payload"], shown["attempts"], shown["stuck"]) == ({}, 3, NO_ACCESS)
    assert shown["ending"]["condition"] == "RetriesExhausted"
    assert shown["ending"]["response_payload"] == {"errorMessage": "no"}
    missing = poller("events", "show", "resize", "no-such-id")
    assert (missing.exit_code, missing.stdout) == (1, "")


def test_a_stuck_event_is_retried_and_an_event_that_waits_is_not(poller: Poller, file: Path) -> None:
    one, other, waiting = stuck(), stuck(), event(time.time(), due_in=300)
    stored(file, one, other, waiting)
    assert poller("events", "retry", "resize", one.request_id).stdout == "1 event of resize retried.\n"
    states = {found.request_id: found for found in by_hand.listed(file, RESIZE, now=time.time()).events}
    assert (states[one.request_id].stuck, states[other.request_id].stuck) == ("", NO_ACCESS)
    refused = poller("events", "retry", "resize", waiting.request_id)
    assert refused.exit_code == 1
    assert f"no event {waiting.request_id} of resize is stuck" in refused.stderr
    assert json.loads(poller("events", "retry", "resize", "--all", "--json").stdout) == {
        "function": "resize",
        "retried": 1,
    }


def test_all_events_that_wait_are_dropped_only_if_a_person_says_so(poller: Poller, file: Path) -> None:
    waiting = event(time.time(), due_in=300)
    stored(file, stuck(), waiting)
    assert poller("events", "drop", "resize", "--all", "--yes").stdout == "1 event of resize dropped.\n"
    assert [left.request_id for left in by_hand.listed(file, RESIZE, now=time.time()).events] == [waiting.request_id]
    asked = poller("events", "drop", "resize", "--all", "--waiting").stdout
    assert asked.startswith("Would drop 1 stuck or waiting event of resize")
    assert poller("events", "drop", "resize", "--all", "--waiting", "--yes").stdout == "1 event of resize dropped.\n"


def test_an_event_is_dropped_only_with_yes_or_an_answer(poller: Poller, file: Path) -> None:
    one, other = stuck(), stuck()
    stored(file, one, other)
    unasked = poller("events", "drop", "resize", one.request_id)
    assert unasked.exit_code == 1
    asked = f"Would drop the event {one.request_id} of resize from {file} for good."
    assert (unasked.stdout, "use --yes" in unasked.stderr) == (f"{asked}\n", True)
    unasked = poller("events", "drop", "resize", "--all", "--json")
    assert unasked.stdout == ""
    assert unasked.stderr.startswith(f"Would drop 2 stuck events of resize from {file} for good.\n")
    assert by_hand.listed(file, RESIZE, now=time.time()).total == 2
    assert poller("events", "drop", "resize", one.request_id, "--yes").stdout == "1 event of resize dropped.\n"
    assert [left.request_id for left in by_hand.listed(file, RESIZE, now=time.time()).events] == [other.request_id]
    assert poller("events", "drop", "resize", "--all", "--yes").exit_code == 0
    assert by_hand.listed(file, RESIZE, now=time.time()).total == 0


@pytest.mark.parametrize("command", ["retry", "drop"])
@pytest.mark.parametrize("arguments", [[], ["an-id", "--all"], [""], ["", "--all"]])
def test_a_change_needs_either_an_id_or_all(poller: Poller, file: Path, command: str, arguments: list[str]) -> None:
    result = poller("events", command, "resize", *arguments)
    assert result.exit_code == 2
    assert "give the event's ID, or --all" in result.stderr


def test_with_a_state_in_memory_there_are_no_events_to_list(poller: Poller, file: Path) -> None:
    settings = file.with_name("poller.toml")
    without_mail = SETTINGS[: SETTINGS.index("[functions.mail]")] + SETTINGS[SETTINGS.index("[mappings.m]") :]
    settings.write_text(without_mail.replace('event_queue = "sqlite://events.db"', 'state = "memory:"'))
    result = poller("events", "list")
    assert result.exit_code == 1
    assert 'daemon.state is "memory:"' in result.stderr


FORMER, CURRENT = (Arn.parse(f"arn:aws:sqs:eu-west-1:123456789012:{name}") for name in ("former", "mails"))


def remembered(file: Path) -> list[Arn]:
    return [queue.arn for queue in by_hand.remembered(file)]


@pytest.fixture
def queues(file: Path) -> Path:
    """A file that remembers the event queue of `mail`, and its former one."""
    with shared(file) as connection:
        for arn in (FORMER, CURRENT):
            remember(connection, RememberedQueue(arn, FunctionName("mail")))
    return file


def test_a_list_names_the_former_event_queues(poller: Poller, queues: Path) -> None:
    lines = poller("events", "list").stdout.splitlines()
    assert lines == [
        f"{queues}: no event waits",
        f"Events of mail may still wait in its former event queue {FORMER}.",
    ]
    document = json.loads(poller("events", "list", "--json").stdout)
    assert document["former_event_queues"] == [{"function": "mail", "queue": str(FORMER)}]


def test_a_former_event_queue_is_forgotten(poller: Poller, queues: Path) -> None:
    result = poller("events", "forget", "mail", str(FORMER))
    assert (result.exit_code, result.stdout) == (0, f"{FORMER} is forgotten; its messages stay there.\n")
    assert remembered(queues) == [CURRENT]


@pytest.mark.parametrize(
    ("function", "queue", "why"),
    [
        ("mail", CURRENT, f"the settings name {CURRENT} as the event queue of mail"),
        ("resize", FORMER, f"resize has no former event queue {FORMER}"),
    ],
)
def test_only_a_former_event_queue_of_the_function_is_forgotten(
    poller: Poller, queues: Path, function: str, queue: Arn, why: str
) -> None:
    result = poller("events", "forget", function, str(queue))
    assert result.exit_code == 1
    assert why in result.stderr
    assert remembered(queues) == [FORMER, CURRENT]
