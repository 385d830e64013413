"""Do the files in deploy/ agree with the program, and with the tools that read them?"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from poller.descriptors import MOST
from poller.settings.daemon import DaemonOptions

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


def dockerfile() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile, each with its arguments, in order."""
    text = re.sub(r"^\s*#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines if line.strip())]


def last(instruction: str) -> str:
    return [rest for word, rest in dockerfile() if word == instruction][-1]


def unit() -> dict[str, list[str]]:
    """The settings of the unit file, over all sections."""
    settings: dict[str, list[str]] = {}
    for line in (DEPLOY / "poller.service").read_text().splitlines():
        if line and line[0] not in "#[":
            name, _, value = line.partition("=")
            settings.setdefault(name, []).append(value)
    return settings


def poller(*arguments: str, directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from poller.cli import main; main()", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=directory,
        env={"PYTHONPATH": str(ROOT)},
    )


def test_the_unit_lets_the_daemon_raise_its_limit_of_open_files_as_far_as_it_wants() -> None:
    soft, hard = unit()["LimitNOFILE"][0].split(":")
    assert (int(soft), int(hard)) == (1024, MOST)


def commands() -> list[list[str]]:
    in_container = [*orjson.loads(last("ENTRYPOINT")), *orjson.loads(last("CMD"))]
    under_systemd = shlex.split(unit()["ExecStart"][0])
    return [in_container, under_systemd]


def test_a_reload_under_systemd_asks_the_daemon_that_the_unit_starts() -> None:
    start, reload = (shlex.split(unit()[name][0]) for name in ("ExecStart", "ExecReload"))
    assert start[1] == "run"
    assert reload == [start[0], "reload", *start[2:]]


def test_the_unit_and_the_image_start_the_command_that_the_project_installs() -> None:
    scripts = (ROOT / "pyproject.toml").read_text().partition("[project.scripts]")[2]
    assert scripts.lstrip().startswith('poller = "poller.__main__:main"')
    assert [Path(command[0]).name for command in commands()] == ["poller", "poller"]
    assert last("ENV").startswith(f"PATH={Path(commands()[1][0]).parent}:")


@pytest.mark.slow
@pytest.mark.parametrize("place", [0, 1], ids=["container", "systemd"])
def test_the_command_line_understands_the_command_and_looks_for_the_file_it_names(place: int, tmp_path: Path) -> None:
    _, *arguments = commands()[place]
    assert arguments[-1] == "/etc/poller/poller.toml"
    missing = tmp_path / "poller.toml"
    answer = poller(*arguments[:-1], str(missing), directory=tmp_path)
    assert answer.returncode == 2
    assert missing.name in answer.stderr + answer.stdout
    assert "no such option" not in (answer.stderr + answer.stdout).lower()


def test_the_image_is_built_from_files_that_exist() -> None:
    for instruction, arguments in dockerfile():
        if instruction == "COPY" and not arguments.startswith("--from"):
            *sources, _target = arguments.split()
            assert [name for name in sources if not (ROOT / name).exists()] == []


def test_the_container_does_not_run_as_root_and_is_stopped_by_a_signal_that_drains() -> None:
    assert last("USER") == "poller"
    assert last("STOPSIGNAL") == "SIGTERM"
    assert "/var/lib/poller" in (last("VOLUME"), last("ENV").rpartition("=")[2])


def test_the_health_check_requests_healthz() -> None:
    check = orjson.loads(last("HEALTHCHECK").partition("CMD")[2])
    assert check[:2] == ["python", "-c"]
    compile(check[2], "HEALTHCHECK", "exec")
    assert f"http://127.0.0.1:{last('EXPOSE')}/healthz" in check[2]


def test_systemd_waits_longer_than_the_grace_and_lets_the_daemon_stop_its_children() -> None:
    settings = unit()
    assert int(settings["TimeoutStopSec"][0]) > DaemonOptions().shutdown_grace_in_seconds
    assert settings["KillMode"] == ["mixed"]
    assert settings["KillSignal"] == ["SIGTERM"]
    assert settings["Type"] == ["exec"]
    assert settings["StateDirectory"] == ["poller"]
    assert settings["Restart"] == ["on-failure"]
    assert settings["RestartPreventExitStatus"] == ["2"]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_finds_no_fault_in_the_unit(tmp_path: Path) -> None:
    text = (DEPLOY / "poller.service").read_text()
    installed = tmp_path / "poller.service"
    installed.write_text(re.sub("^(Exec[A-Z][a-z]+)=[^ ]+", rf"\1={sys.executable}", text, flags=re.MULTILINE))
    answer = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(installed)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (answer.returncode, [line for line in answer.stderr.splitlines() if "poller.service" in line]) == (0, [])
