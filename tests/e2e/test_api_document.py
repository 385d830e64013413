"""Does a running daemon answer every request, also a wrong one, as the description of its API says?

schemathesis reads the description, makes requests from it, and compares each answer with it.
"""

from __future__ import annotations

import subprocess
import sys
from functools import partial

import pytest
from anyio import to_thread

from poller.admin.openapi import PATH
from tests.e2e.harness import World
from tests.e2e.streams import Clicks, instant, mapping

pytest.importorskip("schemathesis", reason="schemathesis is not installed")
pytestmark = pytest.mark.anyio

BILL = "arn:aws:lambda:eu-west-1:123456789012:function:bill"
EXAMPLES = "5"


async def test_the_daemon_answers_as_its_description_says(world: World) -> None:
    source = Clicks(world.aws, "clicks", shard_count=1)
    world.aws.functions[BILL] = instant(poison={source.put()})
    command = [sys.executable, "-m", "schemathesis.cli", "run", "--no-color", "--seed", "1", "--max-examples", EXAMPLES]
    async with world.daemon(mapping("clicks", source, BILL)) as daemon:
        await daemon.until_logged("shard_blocked")
        address = (await daemon.until_logged("daemon_started"))["http"]
        check = partial(subprocess.run, [*command, f"http://{address}{PATH}"], capture_output=True, text=True)
        checked = await to_thread.run_sync(partial(check, cwd=world.folder, timeout=120, check=False))
        assert await daemon.stop() == 0
    assert checked.returncode == 0, checked.stdout
    assert not daemon.logged("mapping_crashed")
