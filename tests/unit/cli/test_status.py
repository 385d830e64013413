"""What do `poller status`, `pause`, `resume` and `shard` print? A fake daemon answers at a real control socket."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread
from anyio.from_thread import start_blocking_portal

from poller.admin.server import Pages, serve_control
from poller.errors import CannotChange
from poller.model.ids import FunctionName, MappingName
from poller.model.order import Action, ShardOrder
from poller.model.status import BlockedShard, EventsStatus, MappingState, MappingStatus, StreamStatus, WorkerStatus
from poller.model.stream import SequenceNumber, ShardId
from poller.telemetry.telemetry import Telemetry
from tests.fakes.changes import FakeChanges
from tests.unit.cli.conftest import UNREADABLE, Poller, Spoil, members
from tests.unit.cli.test_reloading import NOTHING as RELOADED

CLICKS = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"


def status(name: str, state: MappingState = "ready", **values: Any) -> MappingStatus:
    plain = MappingStatus(
        mapping=MappingName(name),
        function=FunctionName("f"),
        source=f"arn:aws:sqs:eu-west-1:123456789012:{name}",
        state=state,
        reason=None,
        polls_in_flight=1,
        batches_in_flight=3,
        messages_held=7,
        concurrency_limit=5,
    )
    return plain._replace(**values)


def statuses() -> list[MappingStatus]:
    now = time.time()
    blocked = BlockedShard(
        ShardId("shardId-000000000003"),
        "KeyError",
        now - 400,
        2,
        SequenceNumber("4959"),
        SequenceNumber("4961"),
        "'email'",
        keys=("user-1", "user\n2"),
    )
    return [
        status("alpha"),
        status("beta", "disabled", source=CLICKS, stream=StreamStatus()),
        status("gamma", "waiting", reason="the function is throttled", since=now - 130),
        status("delta", "troubled", reason="AccessDenied (403)", since=now - 7300, attempt=4),
        status("epsilon", source=CLICKS, stream=StreamStatus(500.0, shards_blocked=1, blocked=(blocked,))),
        status("f:events", events=EventsStatus(waiting=3, in_flight=1, stuck=2)),
    ]


def workers() -> list[WorkerStatus]:
    now = time.time()
    return [
        WorkerStatus(1, "ready", None, 4711, now - 7300, 0),
        WorkerStatus(2, "ended", "its process has ended, and is started again soon", None, now - 130, 2),
    ]


@pytest.fixture
def changes(tmp_path: Path) -> Iterator[FakeChanges]:
    """Yield the daemon's requests and answers. Its state is in memory."""
    (tmp_path / "poller.toml").write_text('[daemon]\nstate = "memory:"\n')
    with start_blocking_portal() as portal:
        fake = portal.call(FakeChanges)
        pages = Pages(Telemetry().registry, lambda: statuses(), workers=workers)
        with portal.wrap_async_context_manager(
            serve_control([tmp_path / "poller.toml-control"], pages, changes=fake, emit=fake.facts.append)
        ):
            yield fake


@pytest.mark.usefixtures("changes")
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_watched_status_is_printed_again_and_again_where_no_terminal_is(
    poller: Poller, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    waits = iter([2, 2])

    def wait(seconds: float) -> None:
        if next(waits, None) is None:
            raise KeyboardInterrupt

    monkeypatch.setattr("poller.cli.status.time.sleep", wait)
    result = poller("status", "--watch", *options)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.count("AccessDenied (403)") == 3


def test_a_watched_status_goes_on_while_the_daemon_restarts(
    poller: Poller, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, changes: FakeChanges
) -> None:
    """The daemon is away for two of the looks."""
    [control] = tmp_path.glob("*-control")
    away = control.with_name("away")
    steps: Iterator[Callable[[], object]] = iter(
        [lambda: control.rename(away), lambda: None, lambda: away.rename(control), lambda: None]
    )

    def wait(_: float) -> None:
        if (step := next(steps, None)) is None:
            raise KeyboardInterrupt
        step()

    monkeypatch.setattr("poller.cli.status.time.sleep", wait)
    result = poller("status", "--watch")
    assert result.exit_code == 0
    assert result.stderr.splitlines() == ["no daemon answers; trying again"] * 2
    assert result.stdout.count("AccessDenied (403)") == 3


@pytest.mark.usefixtures("changes")
def test_the_status_lists_what_is_in_trouble_first_and_says_why(poller: Poller) -> None:
    lines = [line.split() for line in poller("status").stdout.splitlines()]
    assert [line[0] for line in lines] == [
        *("mapping", "epsilon", "delta", "gamma", "alpha", "beta", "events", "worker", "worker")
    ]
    assert " ".join(lines[1]) == "epsilon ready, 1 blocked f 3 8 min shardId-000000000003 for 6 min: KeyError: 'email'"
    assert " ".join(lines[2]) == "delta troubled 2 hours ago f 3 AccessDenied (403)"
    assert " ".join(lines[3]) == "gamma waiting 2 min ago f 3 the function is throttled"
    assert " ".join(lines[5]) == "beta disabled f 3 unknown", "no shard is read, so nobody knows how far it is behind"
    assert " ".join(lines[6]) == "events of f ready f 3 waiting, 1 in flight, 2 stuck"
    assert " ".join(lines[7]) == "worker 1 ready 2 hours ago"
    why = "its process has ended, and is started again soon; restarted 2 times"
    assert " ".join(lines[8]) == f"worker 2 ended 2 min ago {why}"


@pytest.mark.usefixtures("changes")
def test_the_status_for_programs_has_the_numbers_of_each_mapping(poller: Poller) -> None:
    printed = json.loads(poller("status", "--json").stdout)
    assert printed["mappings"]["alpha"] == {
        "state": "ready",
        "reason": None,
        "since": None,
        "attempt": None,
        "next_try": None,
        "destination": None,
        "last_error": None,
        "source": "arn:aws:sqs:eu-west-1:123456789012:alpha",
        "function": "f",
        "polls_in_flight": 1,
        "batches_in_flight": 3,
        "records_in_hand": 7,
        "concurrency_limit": 5,
    }
    assert printed["mappings"]["epsilon"]["shards"] == {"reading": 0, "waiting": 0, "drained": 0}
    assert printed["events"]["f"]["stuck"] == 2


SHARD = ("shard", "epsilon", "shardId-000000000003")
DISCARD = ShardOrder("discard", ShardId(SHARD[2]), SequenceNumber("4959"), SequenceNumber("4961"))
ORDERED = {"reason": "KeyError", "blocked_since": "2026-01-31T12:00:00Z", "records": 2}


@pytest.mark.parametrize("action", ["retry", "bisect"])
def test_an_order_shows_the_batch_and_names_it_to_the_daemon(
    poller: Poller, changes: FakeChanges, tmp_path: Path, action: Action
) -> None:
    changes.report = ORDERED
    done = poller(*SHARD, action)
    assert (done.exit_code, done.stderr) == (0, "")
    heading, batch, end = done.stdout.splitlines()
    assert heading.split() == ["records", "from", "to", "keys", "blocked", "for", "why"]
    assert batch.split() == ["2", "4959", "4961", "user-1,", r"user\n2", "6", "min", "KeyError:", "'email'"]
    assert end == f"Asked for: {action}. `poller status` shows what happens to the batch."
    assert changes.orders == [DISCARD._replace(action=action)]
    assert changes.asked == [("order epsilon", str(tmp_path / "poller.toml"))]


def test_without_a_step_the_batch_is_only_shown(poller: Poller, changes: FakeChanges) -> None:
    done = poller(*SHARD)
    assert (done.exit_code, done.stderr) == (0, "")
    _, batch = done.stdout.splitlines()
    assert batch.split()[:3] == ["2", "4959", "4961"]
    shown = json.loads(poller(*SHARD, "--json").stdout)
    assert (shown["shard"], shown["records"], shown["keys"]) == (SHARD[2], 2, ["user-1", "user\n2"])
    assert shown.keys() == members("poller shard NAME SHARD")
    assert (changes.orders, changes.asked) == ([], [])


def test_a_discard_asks_a_person_and_without_a_terminal_it_needs_an_option(
    poller: Poller, changes: FakeChanges
) -> None:
    changes.report = ORDERED
    done = poller(*SHARD, "discard")
    assert done.exit_code == 1
    assert done.stderr == (
        "The mapping has no destination, so nothing will report 2 records, and the mapping never tries them again.\n"
        "poller: nothing was changed: standard input is not a terminal; use --yes\n"
    )
    assert changes.orders == []
    assert poller(*SHARD, "discard", "--yes").exit_code == 0
    assert json.loads(poller(*SHARD, "discard", "--yes", "--json").stdout) == ORDERED
    assert changes.orders == [DISCARD, DISCARD]


def test_a_discard_names_the_destination_of_the_mapping(
    poller: Poller, changes: FakeChanges, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_destination = [status("epsilon", stream=statuses()[4].stream, destination="arn:aws:sqs:eu-west-1:1:dead")]
    monkeypatch.setitem(globals(), "statuses", lambda: with_destination)
    done = poller(*SHARD, "discard")
    to = "to arn:aws:sqs:eu-west-1:1:dead"
    assert done.stderr.startswith(f"The mapping will report 2 records {to}, and never try them again.")
    stream = with_destination[0].stream
    assert stream is not None
    alone = (stream.blocked[0]._replace(records=1),)
    with_destination[0] = with_destination[0]._replace(stream=stream._replace(blocked=alone))
    assert poller(*SHARD, "discard").stderr.startswith(
        f"The mapping will report 1 record {to}, and never try it again."
    )
    assert changes.orders == []


@pytest.mark.usefixtures("changes")
def test_a_shard_that_is_not_blocked_gets_no_order(poller: Poller) -> None:
    done = poller("shard", "epsilon", "shardId-9", "retry")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == ("poller: the shard shardId-9 of epsilon is not blocked; blocked are: shardId-000000000003\n")
    assert poller("shard", "alpha", "shardId-9", "retry").stderr == "poller: alpha reads a queue, which has no shards\n"
    done = poller("shard", "alpah", "shardId-9", "retry")
    assert done.stderr == "poller: there is no mapping alpah; did you mean alpha?\n"


def test_an_order_that_the_daemon_refuses_ends_with_its_reason(poller: Poller, changes: FakeChanges) -> None:
    changes.error = CannotChange("other records block the shard now")
    done = poller(*SHARD, "retry")
    assert (done.exit_code, done.stderr) == (1, "poller: other records block the shard now\n")


@pytest.mark.parametrize(
    ("command", "was_paused", "line"),
    [
        ("pause", False, "orders is paused"),
        ("pause", True, "orders was paused already"),
        ("resume", True, "orders is not paused any more"),
        ("resume", False, "orders was not paused"),
    ],
)
def test_a_pause_and_a_resume_say_what_they_did(
    poller: Poller, changes: FakeChanges, tmp_path: Path, command: str, was_paused: bool, line: str
) -> None:
    changes.report = {"mapping": "orders", "was_paused": was_paused, "survives_restart": True}
    done = poller(command, "orders")
    assert (done.exit_code, done.stdout) == (0, f"{line}\n")
    assert json.loads(poller(command, "orders", "--json").stdout) == changes.report
    assert changes.asked[0] == (f"{command} orders", str(tmp_path / "poller.toml"))


@UNREADABLE
def test_commands_reach_the_daemon_even_if_the_file_cannot_be_read(
    poller: Poller, changes: FakeChanges, tmp_path: Path, spoil: Spoil
) -> None:
    spoil(tmp_path / "poller.toml")
    changes.report = {"mapping": "orders", "was_paused": False}
    assert poller("pause", "orders").stdout == "orders is paused\n"
    assert poller("resume", "orders").exit_code == 0
    assert "AccessDenied (403)" in poller("status").stdout
    assert "user-1" in poller("shard", "epsilon", "shardId-000000000003").stdout


@UNREADABLE
@pytest.mark.parametrize(
    "arguments", [("status",), ("pause", "a"), ("resume", "a"), ("shard", "a", "s"), ("invoke", "f")]
)
def test_without_a_daemon_a_command_shows_why_the_file_cannot_be_read(
    poller: Poller, tmp_path: Path, spoil: Spoil, arguments: tuple[str, ...]
) -> None:
    spoil(tmp_path / "poller.toml")
    done = poller(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("poller.toml has 1 fault:\n")


@pytest.mark.parametrize(
    ("was_paused", "first_line"), [(False, "orders is paused"), (True, "orders was paused already")]
)
def test_a_pause_that_does_not_survive_a_restart_says_so(
    poller: Poller, changes: FakeChanges, was_paused: bool, first_line: str
) -> None:
    changes.report = {"mapping": "orders", "was_paused": was_paused, "survives_restart": False}
    second_line = 'the pause ends with the daemon, because its state is "memory:"'
    assert poller("pause", "orders").stdout == f"{first_line}\n{second_line}\n"


@pytest.mark.parametrize("command", ["pause", "resume"])
def test_a_refused_change_ends_with_its_reason(poller: Poller, changes: FakeChanges, command: str) -> None:
    changes.error = CannotChange("there is no mapping orders; there are none")
    done = poller(command, "orders")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "poller: there is no mapping orders; there are none\n"


@pytest.mark.parametrize(
    "arguments", [("status",), ("status", "--json"), ("pause", "a"), ("resume", "a"), ("shard", "a", "s", "retry")]
)
def test_without_a_daemon_the_command_says_how_to_start_one(poller: Poller, arguments: tuple[str, ...]) -> None:
    Path("poller.toml").write_text('[daemon]\nstate = "memory:"\n')
    done = poller(*arguments)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "no daemon listens at " in done.stderr
    assert done.stderr.endswith(": start it with `poller run`\n"), "SIGHUP does not help these commands"


@pytest.mark.parametrize("body", ["500 Internal Server Error", "[]", '{"error": "Not Found"}'])
@pytest.mark.parametrize(
    "arguments", [("status",), ("status", "--json"), ("pause", "a"), ("resume", "a"), ("shard", "a", "s", "retry")]
)
def test_an_answer_that_is_not_a_daemons_ends_with_one_line(
    poller: Poller, tmp_path: Path, arguments: tuple[str, ...], body: str
) -> None:
    (tmp_path / "poller.toml").write_text('[daemon]\nstate = "memory:"\n')
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener,
        start_blocking_portal() as portal,
    ):
        listener.bind(str(tmp_path / "poller.toml-control"))
        listener.listen()
        portal.start_task_soon(to_thread.run_sync, _answer_once, listener, body)
        done = poller(*arguments)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("poller: ")
    assert done.stderr.count("\n") == 1


def _answer_once(listener: socket.socket, body: str) -> None:
    """Answer the first request. The command first connects without one, to see whether anybody listens."""
    is_answered = False
    while not is_answered:
        connection, _ = listener.accept()
        with connection:
            if is_answered := bool(connection.recv(65536)):
                connection.sendall(f"HTTP/1.1 500 Wrong\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())


@pytest.mark.parametrize("command", [("status",), ("pause", "alpha"), ("reload",)])
def test_a_daemon_whose_settings_file_has_a_path_that_is_not_utf_8_is_shown_and_changed(
    poller: Poller, tmp_path: Path, command: tuple[str, ...]
) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    file = folder / "poller.toml"
    file.write_text('[daemon]\nstate = "memory:"\n')
    with start_blocking_portal() as portal:
        changes = portal.call(FakeChanges)
        changes.report = {**RELOADED, "was_paused": False, "survives_restart": True}
        pages = Pages(Telemetry().registry, statuses)
        control = [folder / "poller.toml-control"]
        server = serve_control(control, pages, changes=changes, emit=changes.facts.append, settings_file=file)
        with portal.wrap_async_context_manager(server):
            done = poller(*command, "-c", str(file))
    assert (done.exit_code, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "command", [("status",), ("status", "--json"), ("pause", "alpha"), (*SHARD, "retry"), ("reload",)]
)
def test_a_daemon_with_another_settings_file_that_shares_the_state_is_neither_shown_nor_changed(
    poller: Poller, tmp_path: Path, command: tuple[str, ...]
) -> None:
    """Several daemons may run one file, each through a link of its own, as deploy/poller-worker@.service does."""
    text = f'[daemon]\nstate = "sqlite://{tmp_path}/poller.db"\n'
    file, own, beside, other = (tmp_path / f"{name}.toml" for name in ("file", "own", "beside", "other"))
    file.write_text(text)
    other.write_text(text)
    own.symlink_to(file)
    beside.symlink_to(file)
    (tmp_path / "folder").symlink_to(tmp_path)
    with start_blocking_portal() as portal:
        changes = portal.call(FakeChanges)
        changes.report = {**RELOADED, **ORDERED, "was_paused": False, "survives_restart": True}
        pages = Pages(Telemetry().registry, statuses)
        control = [tmp_path / "poller.db-control"]
        server = serve_control(control, pages, changes=changes, emit=changes.facts.append, settings_file=own)
        with portal.wrap_async_context_manager(server):
            for name in ("other.toml", "beside.toml", "file.toml"):
                refused = poller(*command, "-c", name)
                assert (refused.exit_code, refused.stdout) == (1, "")
                assert refused.stderr == (
                    f"poller: no daemon runs {name}: the daemon that shares its state (process {os.getpid()}) "
                    f"runs {own}; ask it with -c {own}\n"
                )
            assert changes.asked == []
            for name in ("own.toml", "folder/own.toml"):
                done = poller(*command, "-c", name)
                assert (done.exit_code, done.stderr) == (0, "")


@pytest.mark.parametrize("beside", ["poller.toml", "poller.db"])
@pytest.mark.parametrize("command", [("status",), ("pause", "a"), (*SHARD, "retry"), ("reload",), ("invoke", "f")])
def test_a_daemon_that_hangs_is_named_soon(
    poller: Poller, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], beside: str
) -> None:
    monkeypatch.setattr("poller.cli.daemon.LONGEST_LOOK_IN_SECONDS", 0.05)
    Path("poller.toml").write_text('[daemon]\nstate = "sqlite://poller.db"\n')
    path = Path(f"{beside}-control").absolute()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as hung:
        hung.bind(str(path))
        hung.listen()
        done = poller(*command)
    why = f"the daemon that listens at {path} does not answer: its process hangs"
    assert (done.exit_code, done.stdout, done.stderr) == (1, "", f"poller: {why}\n")


def test_a_daemon_that_takes_no_more_clients_hangs(poller: Poller) -> None:
    Path("poller.toml").write_text('[daemon]\nstate = "memory:"\n')
    with ExitStack() as stack:
        hung, *clients = (stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) for _ in range(4))
        hung.bind("poller.toml-control")
        hung.listen(0)
        for client in clients:
            client.setblocking(False)
            with suppress(BlockingIOError):
                client.connect("poller.toml-control")
        done = poller("status")
    assert (done.exit_code, "does not answer: its process hangs" in done.stderr) == (1, True)
