from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the flag is Linux's")

IS_DUMPABLE = "import ctypes; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), flush=True)"
DAEMON = f"""
import subprocess, sys
from pathlib import Path
from poller import app
from poller.settings.loading import examine

async def instead_of_the_daemon(*_arguments):
    {IS_DUMPABLE}
    subprocess.run([sys.executable, "-c", {IS_DUMPABLE!r}], check=True)

app._run = instead_of_the_daemon
file = Path("poller.toml")
file.write_text("")
{IS_DUMPABLE}
app.run(examine(file, {{}}), settings_path=file)
"""


@pytest.mark.slow
def test_no_other_process_may_read_the_daemons_memory_and_its_children_are_not_protected(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", DAEMON], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.stderr, done.stdout.split()) == ("", ["1", "0", "1"])
