"""What happens if a process of the daemon gets SIGHUP before its handler is ready?"""

from __future__ import annotations

import json
from functools import partial

import pytest
from anyio import to_thread

from tests.e2e.harness import World, poller

pytestmark = pytest.mark.anyio

PROGRAM = """
import os, signal
from pathlib import Path
import {module} as module
from poller.__main__ import main

def hanging_up(*arguments, run=module.run, **options):
    if {process!r} != "worker":
        Path("new.toml").replace("poller.toml")
    os.kill(os.getpid(), signal.SIGHUP)
    return run(*arguments, **options)

module.run = hanging_up
main()
"""
"""Runs poller, but gets SIGHUP after it has read its settings, and after a daemon's file has changed."""

HANDLER = """
import signal

def look(event, context):
    is_blocked = signal.SIGHUP in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    return {"is_blocked": is_blocked, "is_ignored": signal.getsignal(signal.SIGHUP) is not signal.SIG_DFL}
"""

LOOK = '[functions.look]\nhandler = "looking:look"\n'
LATE = '[functions.late]\nurl = "http://127.0.0.1:1"\n'


@pytest.mark.parametrize(
    ("process", "module", "options", "seen"),
    [
        ("daemon", "poller.app", (), {"functions_added": ["late"]}),
        ("parent", "poller.workers.parent", ("--workers", "2"), {"worker": 1, "functions_added": ["late"]}),
        ("worker", "poller.app", ("--workers", "2"), {"worker": 2}),
    ],
)
async def test_a_sighup_during_the_start_reloads_the_file_after_the_start(
    world: World, process: str, module: str, options: tuple[str, ...], seen: dict[str, object]
) -> None:
    world.state = f"sqlite://{world.folder}/poller.db"
    (world.folder / "looking.py").write_text(HANDLER)
    world.write(LOOK + LATE).rename(world.folder / "new.toml")
    program = ("-c", PROGRAM.format(module=module, process=process))
    world.write(LOOK)
    async with world.running("-c", "poller.toml", *options, program=program) as daemon:
        await daemon.until_logged("reloaded", **seen)
        invoked = await to_thread.run_sync(partial(poller, world.folder, "invoke", "look", "-c", "poller.toml"))
        assert await daemon.stop() == 0
    assert not daemon.logged("reload_not_made")
    assert not [line for line in daemon.logged("worker_ended") if line["exit_status"] != 0]
    assert json.loads(invoked.stdout) == {"is_blocked": False, "is_ignored": False}, invoked.stderr
