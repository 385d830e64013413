"""With which exit code does each command end, as its --help says?"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli.conftest import COMMANDS, Poller

READS_SETTINGS = {
    "run": [],
    "check": [],
    "status": [],
    "reload": [],
    "pause": ["m"],
    "resume": ["m"],
    "shard": ["m", "shardId-1", "retry"],
    "invoke": ["f"],
    "tail": ["m"],
    "explain": ["m", "--record", "r"],
    "try": ["m", "--record", "r"],
    "state show": [],
    "state set": ["m", "LATEST"],
    "state rename": ["m", "n"],
    "state copy": ["sqlite://old.db"],
    "events list": [],
    "events show": ["f", "id"],
    "events retry": ["f", "--all"],
    "events drop": ["f", "--all", "--yes"],
    "events forget": ["f", "arn:aws:sqs:eu-west-1:123456789012:old"],
    "iam": [],
}
"""The commands that read the settings file, each with arguments that it understands."""

READS_NONE = {"demo", "import", "reference metrics", "reference log", "reference parity"}
ASKS_THE_DAEMON = ("status", "reload", "pause", "resume", "shard")


def test_each_command_is_here() -> None:
    assert READS_SETTINGS.keys() | READS_NONE == COMMANDS.keys()


@pytest.mark.parametrize("command", READS_SETTINGS)
def test_without_a_settings_file_the_code_is_2_and_after_a_reload_1(poller: Poller, command: str) -> None:
    done = poller(*command.split(), *READS_SETTINGS[command])
    assert (done.exit_code, done.stdout) == (1 if command == "reload" else 2, "")
    assert "poller.toml: there is no such file" in done.stderr


@pytest.mark.parametrize("command", ASKS_THE_DAEMON)
def test_without_a_daemon_the_code_is_1(poller: Poller, command: str) -> None:
    Path("poller.toml").write_text("")
    done = poller(*command.split(), *READS_SETTINGS[command])
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("poller: no daemon listens at ")


@pytest.mark.parametrize("command", COMMANDS)
def test_after_an_option_that_does_not_exist_the_code_is_2(poller: Poller, command: str) -> None:
    done = poller(*command.split(), *READS_SETTINGS.get(command, []), "--no-such-option")
    assert (done.exit_code, done.stdout) == (2, "")


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_says_that_nothing_was_changed_only_for_commands_that_change_something(
    poller: Poller, command: str
) -> None:
    shows = {"state show", "events list", "events show"}
    text = " ".join(poller(*command.split(), "--help").stdout.split())
    assert ("1 nothing was changed" in text) == (command.startswith(("state ", "events ")) and command not in shows)
