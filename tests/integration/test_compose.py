"""Do the settings and the setup of deploy/compose fit together? A daemon runs with them beside an emulator."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from collections import Counter
from pathlib import Path
from threading import Timer

import botocore.session
import pytest

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "deploy" / "compose"

pytestmark = pytest.mark.slow

LONGEST_IN_SECONDS = 240.0


def test_the_daemon_stores_every_user_and_reports_the_click_that_never_succeeds(
    ministack: str, account: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = runpy.run_path(str(COMPOSE / "setup.py"))
    setup["main"](ministack)
    text = (COMPOSE / "poller.toml").read_text()
    for there, here in {
        "http://emulator:4566": ministack,
        "0.0.0.0:9464": "127.0.0.1:0",
        "000000000000": account,
        "/tmp/clicks": str(tmp_path / "clicks"),
    }.items():
        assert there in text
        text = text.replace(there, here)
    (tmp_path / "poller.toml").write_text(text)
    done = Counter[str]()
    with subprocess.Popen(
        [sys.executable, "-m", "poller", "run", "--verbose"],
        cwd=tmp_path,
        env=dict(os.environ) | {"PYTHONPATH": str(ROOT), "POLLER_ADMIN_TOKEN": "a-token-that-is-long-enough"},
        stderr=subprocess.PIPE,
        text=True,
    ) as daemon:
        assert daemon.stderr is not None
        timer = Timer(LONGEST_IN_SECONDS, daemon.kill)
        timer.start()
        for line in daemon.stderr:  # it ends when the daemon ends, or is killed
            fact = json.loads(line)
            done[f"{fact['event']} {fact.get('mapping')}"] += fact.get("records", 1)
            if done["messages_deleted signups"] == setup["USERS"] and done["invocation_record_delivered clicks"] == 1:
                daemon.terminate()
        timer.cancel()
    assert daemon.returncode == 0, done
    dynamodb = botocore.session.get_session().create_client("dynamodb", region_name="us-east-1", endpoint_url=ministack)
    assert dynamodb.scan(TableName="users", Select="COUNT")["Count"] == setup["USERS"]
