"""Does a credential process end with the search that started it?"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from signal import SIGKILL, pidfd_send_signal

import anyio
import orjson
import pytest

from poller import errors
from poller.aws.identity import Identity, Session
from poller.aws.signing import Credentials
from tests.unit.aws.conftest import CredentialsFile

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

PROGRAM = """
import os, sys, time
with open({fifo!r}, "w") as fifo:
    fifo.write(str(os.getpid()))
time.sleep(600)
"""

OF_THE_PROFILE = "[default]\ncredential_process = {command}\n"
OF_A_ROLES_SOURCE = (
    "[default]\nrole_arn = arn:aws:iam::123456789012:role/reader\nsource_profile = source\n"
    "[profile source]\ncredential_process = {command}\n"
)


class Profile:
    """The settings of AWS, whose credential process is a program of Python. The file of credentials is removed."""

    def __init__(self, folder: Path, file: CredentialsFile, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._config = folder / "config"
        file.remove()
        monkeypatch.setenv("AWS_CONFIG_FILE", str(self._config))

    def write(self, program: str, config: str = OF_THE_PROFILE) -> None:
        path = self._folder / "program.py"
        path.write_text(program)
        self._config.write_text(config.format(command=f"{sys.executable} -S {path}"))


@pytest.fixture
def profile(tmp_path: Path, credentials_file: CredentialsFile, monkeypatch: pytest.MonkeyPatch) -> Profile:
    return Profile(tmp_path, credentials_file, monkeypatch)


@pytest.mark.parametrize("config", [OF_THE_PROFILE, OF_A_ROLES_SOURCE])
async def test_a_process_that_hangs_is_killed_when_its_search_is_cancelled(
    profile: Profile, tmp_path: Path, config: str
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    profile.write(PROGRAM.format(fifo=str(fifo)), config)
    async with anyio.create_task_group() as search:
        search.start_soon(Identity(Session).credentials)
        process = await process_named_in(fifo)
        search.cancel_scope.cancel()
    assert has_ended(process)


async def test_the_credentials_that_a_process_prints_are_used(profile: Profile) -> None:
    printed = {"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "b", "SessionToken": "c"}
    profile.write(f"print({orjson.dumps(printed).decode()!r})")
    assert await Identity(Session).credentials() == Credentials("a", "b", "c")


async def test_a_process_that_fails_is_access_denied(profile: Profile) -> None:
    profile.write("raise SystemExit('no session')")
    with pytest.raises(errors.AccessDenied, match="custom-process"):
        await Identity(Session).credentials()


async def process_named_in(fifo: Path) -> int:
    """Wait for the process that writes its id into the fifo, and return its file descriptor."""
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with anyio.fail_after(60):
            await anyio.wait_readable(reading)
        return os.pidfd_open(int(os.read(reading, 100)))
    finally:
        os.close(reading)


def has_ended(process: int) -> bool:
    """Return whether the process has ended. A process that has not ended is killed, so that none is left behind."""
    try:
        pidfd_send_signal(process, SIGKILL)
    except ProcessLookupError:
        return True
    finally:
        os.close(process)
    return False
