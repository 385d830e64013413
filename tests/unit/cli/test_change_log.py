"""Who makes a change that a command asks for, and where is it logged? The running daemon does both, or the command."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.from_thread import start_blocking_portal

from poller.admin.server import Pages, serve_control
from poller.errors import CannotChange
from poller.event_queues import by_hand
from poller.event_queues.remembered import remember
from poller.event_queues.rows import put
from poller.event_queues.schema import shared
from poller.model.arn import Arn
from poller.model.event import RememberedQueue
from poller.model.ids import FunctionName, MappingName
from poller.model.lease import Row, shard_key
from poller.model.move import MoveOrder
from poller.model.status import MappingStatus
from poller.model.stream import AfterSequence, Checkpoint, SequenceNumber, ShardId, StateKey
from poller.stores.lease_by_hand import stored
from poller.stores.sqlite_leases import SqliteLeaseStore
from poller.telemetry.telemetry import Telemetry
from tests.fakes.changes import FakeChanges
from tests.fakes.events import event
from tests.unit.cli.conftest import Poller, logged
from tests.unit.cli.test_state import daemon as worker_that_reads_clicks
from tests.unit.cli.test_status import status

SETTINGS = """
[daemon]
event_queue = "sqlite://events.db"
log_format = "json"
[functions.count]
url = "http://127.0.0.1:1"
[mappings.clicks]
event_source_arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"
function_name = "count"
starting_position = "LATEST"
"""
CLICKS = StateKey(MappingName("clicks"), "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks")
SHARD = ShardId("shardId-000000000000")
COUNT = FunctionName("count")
SHOWN = {
    "stream_arn": CLICKS.stream_arn,
    "shard": None,
    "before": "what the daemon has",
    "position": "at the oldest record",
    "effect": "The function gets all of it.",
    "version": "7f",
    "events": 2,
}
FORMER = "arn:aws:sqs:eu-west-1:123456789012:former"
SET = ("state", "set", "clicks", "TRIM_HORIZON", "--yes")


async def store() -> None:
    async with SqliteLeaseStore(Path("poller.db")) as state:
        position = Checkpoint(AfterSequence(SequenceNumber("5")))
        await state.create([Row(key=shard_key(CLICKS, SHARD), counter=3, token=2, checkpoint=position)])


@pytest.fixture
def poller(poller: Poller) -> Poller:
    Path("poller.toml").write_text(SETTINGS)
    anyio.run(store)
    with shared(Path("events.db")) as file:
        put(file, [event(time.time(), function=COUNT, stuck=why) for why in ("AccessDenied", "")])
    return poller


def is_moved() -> bool:
    return stored(Path("poller.db"))[CLICKS].starting_position is not None


def events_left() -> int:
    return by_hand.listed(Path("events.db"), COUNT, now=time.time()).total


@contextmanager
def daemon(
    settings_file: str = "poller.toml",
    beside: str = "poller.db",
    event_queue: str | None = "events.db",
    statuses: Sequence[MappingStatus] = (status("clicks", "paused"),),
) -> Iterator[FakeChanges]:
    """Let a daemon with this settings file listen."""
    with start_blocking_portal() as portal:
        changes = portal.call(FakeChanges)
        changes.report = SHOWN
        with portal.wrap_async_context_manager(
            serve_control(
                [Path(f"{beside}-control").absolute()],
                Pages(Telemetry().registry, lambda: statuses),
                changes=changes,
                emit=changes.facts.append,
                settings_file=Path(settings_file).absolute(),
                event_queue=event_queue and f"sqlite://{Path(event_queue).absolute()}",
            )
        ):
            yield changes


@pytest.fixture
def system_log(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "system_log"))
        listener.setblocking(False)
        yield listener


def test_a_command_without_a_daemon_logs_who_has_made_which_change_on_stderr_and_on_the_host(
    poller: Poller, system_log: socket.socket
) -> None:
    result = poller(*SET)
    change = {"change": "move to TRIM_HORIZON", "before": f"{SHARD} after 5", "mapping": "clicks"}
    assert logged(result) == change
    line = json.loads(result.stderr)
    by = f"uid {os.getuid()}, pid {os.getpid()}"
    assert (line["level"], line["by"]) == ("info", by)
    priority, _, text = system_log.recv(4096).decode().partition(": ")
    assert priority == f"<14>poller[{os.getpid()}]"
    assert json.loads(text) == {"event": "change_made", **change, "by": by}


def test_a_line_on_stderr_has_the_form_of_the_log(poller: Poller) -> None:
    Path("poller.toml").write_text(SETTINGS.replace('"json"', '"console"'))
    result = poller(*SET)
    assert result.exit_code == 0
    assert "change_made" in result.stderr
    assert "change='move to TRIM_HORIZON'" in result.stderr


def test_a_system_log_that_does_not_read_does_not_block_a_command(poller: Poller, system_log: socket.socket) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        sender.connect(system_log.getsockname())
        with suppress(BlockingIOError):
            while True:
                sender.send(b"x")
        assert logged(poller(*SET))["change"] == "move to TRIM_HORIZON"


@pytest.mark.parametrize(
    "refused", [SET[:-1], ("state", "set", "clicks", "soon"), ("events", "drop", "count", "--all")]
)
def test_a_change_that_is_not_made_is_not_logged(poller: Poller, refused: tuple[str, ...]) -> None:
    result = poller(*refused)
    assert result.exit_code in (1, 2)
    assert "change_made" not in result.stderr


@pytest.mark.parametrize(
    "change",
    [
        SET,
        ("state", "rename", "clicks", "views"),
        ("state", "copy", "sqlite://old.db"),
        ("events", "retry", "count", "--all"),
        ("events", "drop", "count", "--all", "--yes"),
        ("events", "forget", "count", FORMER),
    ],
    ids=lambda change: change[1],
)
def test_a_change_is_logged_before_the_command_says_that_it_is_made(poller: Poller, change: tuple[str, ...]) -> None:
    """If stdout is closed or full, the command ends when it writes there."""
    Path("old.db").write_bytes(Path("poller.db").read_bytes())
    with shared(Path("events.db")) as file:
        remember(file, RememberedQueue(Arn.parse(FORMER), COUNT))
    result = poller(*change)
    said = result.stdout.splitlines()[-1]
    assert 0 <= result.output.index('"change_made"') < result.output.index(said)


@pytest.mark.parametrize("beside", ["poller.db", "poller.toml"])
def test_the_daemon_of_the_settings_file_moves_the_positions_and_logs_it(poller: Poller, beside: str) -> None:
    with daemon(beside=beside) as changes:
        result = poller(*SET)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "now: what the daemon has",
        "clicks would continue at the oldest record.",
        "The function gets all of it.",
        "Done; the mapping begins there when it is resumed.",
    ]
    file = str(Path("poller.toml").absolute())
    assert changes.asked == [("positions clicks", None), ("move clicks", file), ("move clicks", file)]
    assert changes.moves == [MoveOrder("TRIM_HORIZON", only_shows=True), MoveOrder("TRIM_HORIZON", version="7f")]
    [made] = changes.facts
    assert made._asdict()["before"] == "what the daemon has"
    assert not is_moved()


def test_a_move_that_the_daemon_refuses_is_not_made_by_the_command(poller: Poller) -> None:
    with daemon() as changes:
        changes.error = CannotChange("the mapping clicks is not paused: pause it first")
        result = poller(*SET)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "poller: the mapping clicks is not paused: pause it first\n"
    assert not is_moved()


def test_a_position_with_a_fault_is_a_usage_error_also_while_the_daemon_runs(poller: Poller) -> None:
    with daemon() as changes:
        result = poller("state", "set", "clicks", "soon", "--yes")
    assert (result.exit_code, "soon is not a position" in result.stderr) == (2, True)
    assert changes.asked == []


def test_a_daemon_that_still_reads_another_stream_is_not_asked_to_move(poller: Poller) -> None:
    with daemon() as changes:
        changes.report = SHOWN | {"stream_arn": "arn:aws:kinesis:eu-west-1:123456789012:stream/old"}
        result = poller(*SET)
    assert result.exit_code == 1
    assert "the daemon still reads arn:aws:kinesis:eu-west-1:123456789012:stream/old for clicks" in result.stderr
    assert changes.moves == []


def test_a_daemon_with_another_settings_file_is_not_asked(poller: Poller) -> None:
    with daemon("other.toml") as changes:
        assert logged(poller(*SET))["mapping"] == "clicks"
        assert logged(poller("events", "drop", "count", "--all", "--waiting", "--yes"))["events"] == 2
    assert changes.asked == []
    assert is_moved()


@pytest.mark.parametrize("statuses", [[], [status("clicks", "disabled")]], ids=["not loaded", "disabled"])
def test_the_command_moves_a_mapping_that_the_daemon_does_not_run(
    poller: Poller, statuses: list[MappingStatus]
) -> None:
    with daemon(statuses=statuses) as changes:
        assert logged(poller(*SET))["mapping"] == "clicks"
    assert changes.asked == []
    assert is_moved()


def test_a_mapping_that_the_daemon_does_not_run_is_not_moved_while_another_worker_reads_it(
    poller: Poller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("poller.stores.owners.LOOK_EVERY_SECONDS", 0.01)
    with worker_that_reads_clicks(), daemon(statuses=[]):
        result = poller(*SET)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "poller: the worker blue-1/0000 runs, and may read clicks" in result.stderr
    assert not is_moved()


def test_a_daemon_that_does_not_answer_counts_as_none(poller: Poller, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that really runs keeps its leases, and the command refuses to change what it reads."""
    monkeypatch.setattr("poller.cli.daemon.LONGEST_LOOK_IN_SECONDS", 0.05)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as hung:
        hung.bind(str(Path("poller.db-control").absolute()))
        hung.listen()
        assert logged(poller(*SET))["mapping"] == "clicks"
    assert is_moved()


@pytest.mark.parametrize(
    ("command", "asked", "done"),
    [
        (("retry",), "retry count None", "retried"),
        (("drop", "--yes"), "drop count None", "dropped"),
        (("drop", "--waiting", "--yes"), "drop count None or waiting", "dropped"),
    ],
)
def test_the_daemon_of_the_settings_file_changes_events_and_logs_it(
    poller: Poller, command: tuple[str, ...], asked: str, done: str
) -> None:
    with daemon() as changes:
        result = poller("events", *command, "count", "--all")
    assert (result.exit_code, result.stderr, result.stdout) == (0, "", f"2 events of count {done}.\n")
    assert changes.asked == [(asked, str(Path("poller.toml").absolute()))]
    assert [fact._asdict()["events"] for fact in changes.facts] == [2]
    assert events_left() == 2, "the command has left the file alone"


@pytest.mark.parametrize("theirs", ["before.db", None])
@pytest.mark.parametrize("command", ["retry", "drop"])
def test_no_event_is_changed_if_the_daemon_uses_another_file_of_events(
    poller: Poller, command: str, theirs: str | None
) -> None:
    """The command would show the events of one file, and the daemon would change those of the other one."""
    with daemon(event_queue=theirs) as changes:
        result = poller("events", command, "count", "--all")
    assert (result.exit_code, result.stdout) == (1, "")
    file = Path(theirs).absolute() if theirs else "no file of events"
    assert result.stderr == f"poller: nothing was changed: the daemon still uses {file}, so restart it first\n"
    assert changes.asked == []
    assert events_left() == 2


def test_a_daemon_that_starts_with_another_file_of_events_while_a_person_is_asked_is_not_used(
    poller: Poller, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as stack:
        started: list[FakeChanges] = []
        start = daemon(event_queue="before.db")
        monkeypatch.setattr("poller.cli.events.confirm", lambda **_: started.append(stack.enter_context(start)))
        result = poller("events", "drop", "count", "--all")
    assert (result.exit_code, "so restart it first" in result.stderr) == (1, True)
    assert [changes.asked for changes in started] == [[]]


def test_a_change_of_events_that_the_daemon_refuses_is_not_made_by_the_command(poller: Poller) -> None:
    with daemon() as changes:
        changes.error = CannotChange("nothing was changed: no event x of count waits or is stuck")
        result = poller("events", "drop", "count", "x", "--yes")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "poller: nothing was changed: no event x of count waits or is stuck\n"
    assert events_left() == 2


@pytest.mark.parametrize(
    ("command", "change"),
    [
        (["retry", "count", "--all"], {"change": "retry of stuck events", "before": "stuck", "events": 1}),
        (["drop", "count", "--all", "--yes"], {"change": "drop of stuck events", "before": "stuck", "events": 1}),
        (
            ["drop", "count", "--all", "--waiting", "--yes"],
            {"change": "drop of stuck or waiting events", "before": "stuck or waiting", "events": 2},
        ),
    ],
)
def test_a_command_without_a_daemon_logs_the_change_of_events(
    poller: Poller, command: list[str], change: dict[str, Any]
) -> None:
    assert logged(poller("events", *command)) == {**change, "function": "count"}


def test_if_no_event_is_there_nobody_is_asked_and_nothing_is_logged(poller: Poller) -> None:
    assert logged(poller("events", "drop", "count", "--all", "--yes"))
    with daemon() as changes:
        result = poller("events", "drop", "count", "--all")  # one event still waits
        assert (result.exit_code, result.stdout, result.stderr) == (0, "0 events of count dropped.\n", "")
    assert changes.asked == []


def test_events_of_a_function_that_has_left_the_file_can_be_dropped_and_not_retried(poller: Poller) -> None:
    gone = FunctionName("gone")
    with shared(Path("events.db")) as file:
        put(file, [event(time.time(), function=gone, stuck="AccessDenied")])
    refused = poller("events", "retry", "gone", "--all")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr == "poller: the settings no longer have gone, so its events cannot be retried\n"
    assert logged(poller("events", "drop", "gone", "--all", "--yes"))["function"] == "gone"
