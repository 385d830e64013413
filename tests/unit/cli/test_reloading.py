"""What does `poller reload` print? A fake daemon answers at a real control socket."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread
from anyio.from_thread import start_blocking_portal

from poller.admin.server import Pages, serve_control
from poller.errors import CannotChange, SettingsError
from poller.telemetry.telemetry import Telemetry
from tests.fakes.changes import FakeChanges
from tests.unit.cli.conftest import UNREADABLE, Poller, Spoil

NOTHING: dict[str, Any] = {
    "mappings": {"added": [], "replaced": [], "removed": []},
    "failed": {},
    "functions": {"added": [], "replaced": [], "removed": []},
    "events": {"replaced": []},
    "options": [],
    "needs_restart": [],
    "warnings": [],
}


@pytest.fixture
def changes(tmp_path: Path) -> Iterator[FakeChanges]:
    """Yield the daemon's requests and answers. Its state is in memory."""
    (tmp_path / "poller.toml").write_text('[daemon]\nstate = "memory:"\n')
    with start_blocking_portal() as portal:
        fake = portal.call(FakeChanges)
        fake.report = NOTHING
        pages = Pages(Telemetry().registry, list)
        with portal.wrap_async_context_manager(
            serve_control([tmp_path / "poller.toml-control"], pages, changes=fake, emit=fake.facts.append)
        ):
            yield fake


def test_a_reload_prints_what_changed(poller: Poller, changes: FakeChanges, tmp_path: Path) -> None:
    changes.report = NOTHING | {
        "mappings": {"added": ["a", "b"], "replaced": ["c"], "removed": ["d"]},
        "functions": {"added": [], "replaced": ["f"], "removed": []},
        "events": {"replaced": ["g"]},
        "options": ["daemon.http_hosts"],
        "needs_restart": ["daemon.state"],
        "warnings": ["functions.g: no mapping uses it"],
    }
    answer = poller("reload")
    assert answer.exit_code == 0
    assert answer.stdout.splitlines() == [
        "mappings added: a, b",
        "mappings replaced: c",
        "mappings removed: d",
        "functions replaced: f",
        "events replaced: g",
        "options changed: daemon.http_hosts",
        "needs a restart: daemon.state",
    ]
    assert answer.stderr == "warning: functions.g: no mapping uses it\n"
    assert changes.asked == [(None, str(tmp_path / "poller.toml"))]


def test_the_json_output_is_the_daemons_own_answer(poller: Poller, changes: FakeChanges) -> None:
    answer = poller("reload", "--json")
    assert (answer.exit_code, json.loads(answer.stdout)) == (0, NOTHING)


def test_a_reload_without_changes_says_so(poller: Poller, changes: FakeChanges) -> None:
    assert poller("reload").stdout == "nothing has changed\n"


def test_a_reload_of_a_function_restarts_its_child_processes(
    poller: Poller, changes: FakeChanges, tmp_path: Path
) -> None:
    changes.report = {"restarted": "store"}
    answer = poller("reload", "--function", "store")
    assert (answer.exit_code, answer.stdout) == (0, "the next invocations of store get new child processes\n")
    assert changes.asked == [("store", str(tmp_path / "poller.toml"))]


def test_an_empty_name_of_a_function_does_not_reload_the_file(poller: Poller, changes: FakeChanges) -> None:
    """A script passes an empty name if its variable is unset."""
    answer = poller("reload", "--function", "")
    assert (answer.exit_code, answer.stderr) == (2, "poller: --function needs the name of a function\n")
    assert changes.asked == []


def test_a_program_gets_the_faults_of_a_file(poller: Poller, changes: FakeChanges) -> None:
    changes.error = SettingsError(["daemon.regoin: unknown key", "mappings.m.function_name: is required"])
    done = poller("reload", "--json")
    assert (done.exit_code, done.stderr) == (1, "")
    assert json.loads(done.stdout) == {"faults": changes.error.faults}


def test_the_faults_of_a_file_are_shown_as_poller_check_shows_them(
    poller: Poller, changes: FakeChanges, tmp_path: Path
) -> None:
    file = tmp_path / "poller.toml"
    file.write_text('[daemon]\nstate = "memory:"\nshutdown_grace_in_seconds = -1\nlog_format = "${NO_SUCH}"\n')
    check = poller("check")
    assert check.exit_code == 2
    changes.error = SettingsError(check.stderr.splitlines()[1:])
    answer = poller("reload")
    assert (answer.exit_code, answer.stdout, answer.stderr) == (1, "", check.stderr)
    assert answer.stderr.startswith("poller.toml has 2 faults:\n")
    assert len(changes.asked) == 1, "the daemon reads the file by its own environment"


@UNREADABLE
@pytest.mark.parametrize("function", [None, "store"])
def test_a_reload_reaches_the_daemon_even_if_the_file_cannot_be_read(
    poller: Poller, changes: FakeChanges, tmp_path: Path, spoil: Spoil, function: str | None
) -> None:
    file = tmp_path / "poller.toml"
    spoil(file)
    changes.error = SettingsError(["said by the daemon"])
    answer = poller("reload", *([] if function is None else ["--function", function]))
    assert (answer.exit_code, answer.stderr) == (1, "poller.toml has 1 fault:\nsaid by the daemon\n")
    assert changes.asked == [(function, str(file))]


@UNREADABLE
def test_without_a_daemon_a_reload_shows_why_the_file_cannot_be_read(
    poller: Poller, tmp_path: Path, spoil: Spoil
) -> None:
    spoil(tmp_path / "poller.toml")
    answer = poller("reload")
    assert (answer.exit_code, answer.stdout) == (1, "")
    first, fault = answer.stderr.splitlines()
    assert first == "poller.toml has 1 fault:"
    answer = poller("reload", "--json")
    assert (answer.exit_code, answer.stderr, json.loads(answer.stdout)) == (1, "", {"faults": [fault]})


def test_a_mapping_that_could_not_be_changed_makes_the_command_fail(poller: Poller, changes: FakeChanges) -> None:
    changes.report = NOTHING | {"failed": {"orders": "the disk is full"}}
    answer = poller("reload")
    assert answer.exit_code == 1
    assert answer.stderr == "mappings.orders could not be changed: the disk is full\n"


def test_a_change_that_the_daemon_refuses_is_reported(poller: Poller, changes: FakeChanges) -> None:
    changes.error = CannotChange("the daemon stops")
    answer = poller("reload")
    assert (answer.exit_code, answer.stdout, answer.stderr) == (1, "", "poller: the daemon stops\n")


@pytest.mark.parametrize("was_killed", [False, True])
def test_a_missing_daemon_is_reported(poller: Poller, tmp_path: Path, was_killed: bool) -> None:
    (tmp_path / "poller.toml").touch()
    path = tmp_path / "poller.db-control"
    if was_killed:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as killed:
            killed.bind(str(path))
    answer = poller("reload")
    assert answer.exit_code == 1
    assert answer.stderr.startswith(f"poller: no daemon listens at {path}: start it with `poller run`; or, if")
    assert answer.stderr.endswith("send it SIGHUP\n")


def test_a_daemon_that_ends_before_its_answer_is_reported(poller: Poller, tmp_path: Path) -> None:
    (tmp_path / "poller.toml").touch()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener, start_blocking_portal() as portal:
        listener.bind(str(tmp_path / "poller.db-control"))
        listener.listen()
        portal.start_task_soon(lambda: _hang_up(listener))
        answer = poller("reload")
    assert (answer.exit_code, answer.stderr) == (1, "poller: the daemon ended before it answered\n")


async def _hang_up(listener: socket.socket) -> None:
    connection, _ = await to_thread.run_sync(listener.accept)
    connection.close()
