"""Do the demo's processes end with it, and do they get no AWS settings of this machine?"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from poller.demo.processes import DemoError, environment_of_the_demo, must_run, running

pytestmark = pytest.mark.anyio

STUBBORN = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
time.sleep(600)
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.slow
async def test_a_process_that_ignores_sigterm_is_killed_when_its_grace_is_over(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with anyio.fail_after(30):
        async with running([sys.executable, "-c", STUBBORN], log=log, grace_in_seconds=0.01) as process:
            while not log.read_text(encoding="utf-8"):
                must_run(process, "it", log)
                await anyio.lowlevel.checkpoint()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.slow
async def test_a_process_ends_if_its_block_fails(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    with pytest.raises(DemoError, match="something else"):
        async with running(command, log=tmp_path / "log", grace_in_seconds=5) as process:
            raise DemoError("something else")
    assert process.returncode is not None


@pytest.mark.slow
async def test_the_error_of_a_process_that_ended_by_itself_says_why(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with running([sys.executable, "-c", "exit('no such port')"], log=log, grace_in_seconds=5) as process:
        await process.wait()
        with pytest.raises(DemoError, match=r"(?s)the daemon ended with status 1.*no such port"):
            must_run(process, "the daemon", log)


def test_no_aws_setting_of_this_machine_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "secret")
    before = dict(os.environ)
    with environment_of_the_demo():
        assert "AWS_PROFILE" not in os.environ
        assert "AWS_SESSION_TOKEN" not in os.environ
        assert os.environ["AWS_ACCESS_KEY_ID"] == "test"
    assert dict(os.environ) == before
