"""Do several workers lose or disorder a record of a stream? A short check; worker_kills.py is the long one."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.e2e.worker_killing import WorkerKilling

pytestmark = pytest.mark.anyio


async def test_workers_that_are_killed_paused_and_stopped_lose_and_disorder_no_record(
    tmp_path: Path, kinesis_local: str, ministack: str, account: str
) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}: tests/e2e/worker_kills.py --seed {seed}")
    killing = WorkerKilling(
        tmp_path,
        kinesis=kinesis_local,
        ministack=ministack,
        account=account,
        randomness=random.Random(seed),
        longest_quiet_in_seconds=0.5,
        longest_pause_in_seconds=13,
    )
    summary = await killing.run(["kill", "pause", "stop"])  # the kill first: its shards wait longest
    assert summary.records > 100
    assert summary.owners > 4, "shards have moved"
