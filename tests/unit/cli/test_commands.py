from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from poller import __version__
from poller.cli import app
from poller.cli.ending import exit_on_crash
from poller.settings.in_use import InUse
from poller.settings.loading import Examined, examine
from poller.settings.values import Settings
from poller.stores import ownership
from poller.stores.lease_file import shared
from poller.workers.membership import Membership
from poller.workers.starting import handed
from tests.fakes.disk import no_file_grows_beyond
from tests.unit.cli.conftest import COMMANDS, Poller

EXAMPLE = Path(__file__).parents[3] / "config" / "poller.toml"
SOUND = """
[functions.insert]
url = "http://127.0.0.1:8080"
headers = { Authorization = "Bearer ${TOKEN}" }
[mappings.users]
event_source_arn = "arn:aws:sqs:eu-west-1:123456789012:users"
function_name = "inserts"
"""
TEN_FAULTS = """
[daemon]
regoin = "eu-west-1"
http_listen = "9464"
shutdown_grace_in_seconds = -1

[functions.both]
handler = "handlers:handle"
url = "http://127.0.0.1:8080"

[functions.secret]
url = "http://127.0.0.1:8080"
headers = { Authorization = "Bearer ${NO_SUCH_VARIABLE}" }

[mappings.large]
event_source_arn = "arn:aws:sqs:eu-west-1:123456789012:large"
function_name = "both"
batch_size = 20000

[mappings.nowhere]
event_source_arn = "buffer-queue"
function_name = "both"

[mappings.picky]
event_source_arn = "arn:aws:sqs:eu-west-1:123456789012:picky"
function_name = "both"
filter_criteria.filters = [{ pattern = { body = "signup" } }]

[mappings.positioned]
event_source_arn = "arn:aws:sqs:eu-west-1:123456789012:positioned"
function_name = "both"
starting_position = "LATEST"

[mappings.orphan]
event_source_arn = "arn:aws:sqs:eu-west-1:123456789012:orphan"
function_name = "no such function"
"""

FAULTY_KEYS = [
    "daemon.regoin",
    "daemon.http_listen",
    "daemon.shutdown_grace_in_seconds",
    "functions.both",
    "functions.secret.headers.Authorization",
    "mappings.large.batch_size",
    "mappings.nowhere.event_source_arn",
    "mappings.picky.filter_criteria.filters[0].pattern",
    "mappings.positioned.starting_position",
    "mappings.orphan.function_name",
]
STREAM = """
[functions.count]
url = "http://127.0.0.1:1"
[mappings.clicks]
event_source_arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"
function_name = "count"
starting_position = "LATEST"
"""


def test_the_version_is_printed(poller: Poller) -> None:
    result = poller("--version")
    assert (result.exit_code, result.stdout) == (0, f"poller {__version__}\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches_by_an_example_names_the_exit_codes_and_fits_a_terminal(poller: Poller, command: str) -> None:
    result = poller(*command.split(), "--help", COLUMNS="80")
    assert result.exit_code == 0
    text = " ".join(result.stdout.split())
    assert "Example: " in text
    assert f"poller {command}" in text.partition("Example: ")[2]
    assert re.search(r"Exit codes: 0 \w", text)
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert not re.search("^│.*…", result.stdout, re.MULTILINE), "no option is cut"


def test_help_names_every_command(poller: Poller) -> None:
    for arguments in ((), ("--help",)):
        text = poller(*arguments).output
        assert all(f" {command} " in text for command in ("run", "check", "state", "reference", "demo"))
        assert "Exit codes: 0 success" in " ".join(text.replace("│", " ").split())


def test_check_prints_the_effective_settings_and_warns_on_stderr(poller: Poller) -> None:
    Path("poller.toml").write_text(SOUND)
    result = poller("check", TOKEN="s3cret")
    assert result.exit_code == 0
    assert result.stdout.startswith("# poller.toml is valid: 1 mapping, 2 functions\n[daemon]\n")
    assert "batch_size = 10 " in result.stdout
    assert "Bearer ${TOKEN}" in result.stdout
    assert "s3cret" not in result.output
    assert result.stderr.splitlines() == [
        "warning: functions.insert: no mapping uses it",
        'warning: mappings.users.function_name = "inserts": means a function of AWS Lambda, '
        "because [functions] has no such key; did you mean insert?",
    ]


@pytest.mark.parametrize("command", ["check", "run"])
def test_faults_are_printed_one_in_each_line_after_their_count(poller: Poller, command: str) -> None:
    Path("poller.toml").write_text("[daemon]\nregoin = 1\n[mappings.m]")
    result = poller(command)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines() == [
        "poller.toml has 3 faults:",
        "daemon.regoin: unknown key; did you mean region?",
        "mappings.m.event_source_arn: is required",
        "mappings.m.function_name: is required",
    ]


@pytest.mark.parametrize("command", ["check", "run"])
def test_every_fault_of_a_file_is_reported_at_once(poller: Poller, command: str) -> None:
    Path("poller.toml").write_text(TEN_FAULTS)
    ended = poller(command)
    headline, *faults = ended.stderr.splitlines()
    assert ended.exit_code == 2
    assert ended.stdout == ""
    assert headline == "poller.toml has 10 faults:"
    assert [re.split(" = |: ", fault)[0] for fault in faults] == FAULTY_KEYS


def test_the_settings_file_comes_from_the_option_or_the_environment_or_is_poller_toml(poller: Poller) -> None:
    assert "poller.toml: there is no such file" in poller("check").stderr
    assert "a.toml: there is no such file" in poller("check", POLLER_CONFIG="a.toml").stderr
    assert "b.toml: there is no such file" in poller("check", "-c", "b.toml", POLLER_CONFIG="a.toml").stderr
    assert "c.toml: there is no such file" in poller("check", "--config", "c.toml").stderr


def test_a_wrong_command_line_is_a_usage_error(poller: Poller) -> None:
    for arguments in (("start",), ("check", "--shema")):
        assert poller(*arguments).exit_code == 2


def test_the_schema_needs_no_file(poller: Poller) -> None:
    result = poller("check", "--schema")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["properties"].keys() == {"daemon", "functions", "mappings"}


def test_run_passes_on_the_settings_and_ends_with_the_daemons_exit_code(
    poller: Poller, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed: list[tuple[Settings, Path, bool, bool]] = []

    def run(in_use: InUse, *, settings_path: Path, verbose: bool, quiet: bool, membership: None) -> int:
        assert membership is None
        handed.append((in_use.settings, settings_path, verbose, quiet))
        return 7

    monkeypatch.setattr("poller.app.run", run)
    Path("poller.toml").write_text(SOUND)
    assert poller("run", "-v", TOKEN="s3cret").exit_code == 7
    assert poller("run", "--quiet", TOKEN="s3cret").exit_code == 7
    [(settings, settings_path, *verbose), (_, _, *quiet)] = handed
    assert [mapping.name for mapping in settings.queue_mappings] == ["users"]
    assert settings_path == Path("poller.toml")
    assert (verbose, quiet) == ([True, False], [False, True])


def test_run_with_workers_runs_their_parent(poller: Poller, monkeypatch: pytest.MonkeyPatch) -> None:
    handed: list[tuple[Examined, Path, int, bool, bool]] = []

    def run(found: Examined, *, settings_path: Path, workers: int, verbose: bool, quiet: bool) -> int:
        handed.append((found, settings_path, workers, verbose, quiet))
        return 7

    monkeypatch.setattr("poller.workers.parent.run", run)
    Path("poller.toml").write_text(SOUND)
    assert poller("run", "--workers", "3", "--quiet", TOKEN="s3cret").exit_code == 7
    [(found, *others)] = handed
    assert found.text == SOUND
    assert others == [Path("poller.toml"), 3, False, True]


@pytest.mark.usefixtures("poller")
def test_a_worker_uses_the_settings_that_its_parent_has_handed_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[tuple[InUse, Path, Membership]] = []

    def run(in_use: InUse, *, settings_path: Path, membership: Membership, **_: bool) -> int:
        used.append((in_use, settings_path, membership))
        return 7

    monkeypatch.setattr("poller.app.run", run)
    file = Path("poller.toml")
    file.write_text(SOUND)
    in_use = InUse.of(examine(file, {"TOKEN": "s3cret"}))
    file.write_text("faulty")
    member = Membership(number=2, of=3, folder="private", channel=7)
    arguments = ["run", "--workers", "3", "--as-worker", str(member)]
    assert CliRunner().invoke(app, arguments, input=handed(in_use)).exit_code == 7
    assert used == [(in_use, file, member)]


def test_workers_need_a_state_that_they_can_share(poller: Poller) -> None:
    Path("poller.toml").write_text('[daemon]\nstate = "memory:"\n' + SOUND)
    result = poller("run", "--workers", "2", TOKEN="s3cret")
    assert result.exit_code == 2
    assert 'daemon.state = "memory:": several workers share the state' in result.stderr
    assert poller("run", "--workers", "0", TOKEN="s3cret").exit_code == 2


def test_the_tours_of_workers_and_of_resharding_exclude_each_other(poller: Poller) -> None:
    result = poller("demo", "--workers", "3", "--reshard")
    assert (result.exit_code, result.stderr) == (2, "poller: --reshard and --workers exclude each other\n")


def test_verbose_and_quiet_exclude_each_other(poller: Poller) -> None:
    result = poller("run", "-vq")
    assert (result.exit_code, result.stderr) == (2, "poller: --verbose and --quiet exclude each other\n")


def test_help_offers_shell_completion(poller: Poller) -> None:
    assert "--install-completion" in poller("--help", COLUMNS="200").stdout


def test_a_state_that_cannot_be_used_is_reported_like_any_fault(poller: Poller) -> None:
    Path("poller.toml").write_text(STREAM)
    Path("poller.db").write_text("no database" * 100)
    result = poller("run")
    assert result.exit_code == 2
    assert result.stderr.startswith("poller.toml has 1 fault:\ndaemon.state = ")


def test_a_state_in_use_ends_the_command_with_exit_code_1(poller: Poller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownership, "PATIENCE_IN_SECONDS", 0)
    Path("poller.toml").write_text(STREAM)
    with shared(Path("poller.db"), stays_alone=True):
        result = poller("run")
    assert result.exit_code == 1, "a service manager is to try again, which it does not after exit code 2"
    assert result.stderr.endswith(f"poller.db is in use by another poller (process {os.getpid()})\n")


def test_a_full_disk_at_the_start_is_reported_with_exit_code_1(poller: Poller) -> None:
    Path("poller.toml").write_text(STREAM)
    with no_file_grows_beyond(0):
        result = poller("run")
    assert result.exit_code == 1
    assert result.stderr.endswith("poller.db cannot be written: File too large; is its disk full?\n")


def test_the_option_of_the_demo_is_passed_on_and_its_exit_code_returned(
    poller: Poller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*, keep: bool, reshard: bool, workers: int) -> int:
        return 3 + keep + 2 * reshard + workers

    monkeypatch.setattr("poller.demo.run", run)
    assert poller("demo").exit_code == 4
    assert poller("demo", "--keep").exit_code == 5
    assert poller("demo", "--reshard").exit_code == 6
    assert poller("demo", "--workers", "9").exit_code == 12


@pytest.mark.slow
def test_python_m_poller_runs_the_program() -> None:
    environ = dict.fromkeys(
        ("DATABASE_PASSWORD", "NOTIFY_TOKEN", "POLLER_ADMIN_TOKEN", "POLLER_API_SECRET"), "a-secret-that-is-long-enough"
    )
    command = [sys.executable, "-m", "poller", "check", "-c", str(EXAMPLE)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr.startswith("warning: functions.insert_records.python = "), "the example's interpreter is nowhere"
    assert done.stdout.startswith(f"# {EXAMPLE} is valid: 5 mappings, 6 functions\n")


def test_an_error_in_our_code_ends_the_program_with_a_traceback_that_shows_no_secret(
    capsys: pytest.CaptureFixture[str],
) -> None:
    secret = "s3cret"
    with pytest.raises(SystemExit, match="1"), exit_on_crash():
        raise RuntimeError(secret)
    out, err = capsys.readouterr()
    assert out == ""
    assert "raise RuntimeError(secret)\nRuntimeError\n" in err
    assert "s3cret" not in err


def test_a_live_check_without_certificates_ends_with_the_reason(poller: Poller) -> None:
    Path("poller.toml").write_text("""
[daemon]
region = "eu-west-1"
event_queue = "sqlite://events.db"
[functions.insert]
url = "http://127.0.0.1:1"
event_invoke_config.event_queue_arn = "arn:aws:sqs:eu-west-1:123456789012:events"
""")
    done = poller("check", "--live", AWS_CA_BUNDLE="/missing", AWS_EC2_METADATA_DISABLED="true")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        "poller.toml has 1 fault:",
        "AWS ca_bundle: '/missing' cannot be read as certificates: No such file or directory",
    ]
