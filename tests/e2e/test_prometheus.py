"""Can a real Prometheus scrape the daemon, load the alerts and answer what the dashboard asks?

Prometheus scrapes a daemon with a queue, and one rule of the test fires as soon as a scrape has shown a polled record.
Prometheus sends this alert to a server of the test, so that the test needs no repeated question.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from tests.e2e.harness import ROOT, World, environment
from tests.fakes.http_server import Reply, Request, http_server
from tests.fakes.target import FakeTarget
from tests.unit.test_watch import alerts, expressions_of_the_dashboard

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="Prometheus is not installed"),
]

BILL = "arn:aws:lambda:eu-west-1:123456789012:function:bill"


async def test_prometheus_scrapes_the_daemon_loads_the_alerts_and_answers_the_dashboard(world: World) -> None:
    orders = world.queue("orders")
    world.send(orders, "{}")
    world.aws.functions[BILL] = FakeTarget()
    text = f"""
        [mappings.orders]
        event_source_arn = "{orders.arn}"
        function_name = "{BILL}"
    """
    notified: list[dict[str, Any]] = []

    async def take_alerts(request: Request) -> Reply:
        notified.extend(orjson.loads(request.body))
        world.watch.ring()
        return Reply()

    async with world.daemon(text) as daemon, http_server(take_alerts) as receiver:
        await world.until_deleted(orders, 1)
        address = (await daemon.until_logged("daemon_started"))["http"]
        async with prometheus(world.folder, address, receiver.url) as api:
            await world.watch.until(lambda: notified)
            groups = (await asked(api, "rules"))["groups"]
            (version,) = (await asked(api, "query", query="poller_build_info"))["result"]
            shown = {
                title: [(await asked(api, "query", query=expression))["result"] for expression in expressions]
                for title, expressions in expressions_of_the_dashboard().items()
            }
        assert await daemon.stop() == 0
    assert {alert["labels"]["alertname"] for alert in notified} == {"Scraped"}
    health = {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}
    assert set(health) == {*alerts(), "Scraped"}
    assert "err" not in health.values()
    assert version["metric"]["instance"] == address
    ((not_ready,),) = shown["Mappings that are not ready"]
    assert not_ready["value"][1] == "0"
    ((in_hand,),) = shown["Records in hand"]
    assert in_hand["metric"] == {"mapping": "orders"}


@asynccontextmanager
async def prometheus(folder: Path, target: str, receiver: str) -> AsyncIterator[str]:
    """Run a Prometheus that scrapes the target each second and sends its alerts to the receiver. Return its API's url.

    It has the alerts of deploy/, and the alert `Scraped`.
    """
    rules = [{"alert": "Scraped", "expr": 'poller_records_polled_total{mapping="orders"} == 1'}]
    files = {
        "scraped.yml": {"groups": [{"name": "test", "interval": "1s", "rules": rules}]},
        "prometheus.yml": {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(ROOT / "deploy" / "prometheus-alerts.yml"), "scraped.yml"],
            "scrape_configs": [{"job_name": "poller", "static_configs": [{"targets": [target]}]}],
            "alerting": {
                "alertmanagers": [{"static_configs": [{"targets": [receiver.removeprefix("http://")]}]}],
            },
        },
    }
    for name, content in files.items():
        (folder / name).write_bytes(orjson.dumps(content))  # JSON is YAML
    process = await asyncio.create_subprocess_exec(
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        "--web.listen-address=127.0.0.1:0",
        env=environment(None),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        while not (listens := re.search(rb'msg="Listening on" address=(\S+)', line := await process.stderr.readline())):
            assert line, "it has ended before it listened"
        reading = asyncio.create_task(process.stderr.read())  # a full pipe would make it wait
        yield f"http://{listens[1].decode()}/api/v1"
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
    await reading


async def asked(api: str, what: str, **parameters: str) -> Any:
    """Return the data of an answer of Prometheus' API."""
    async with aiohttp.ClientSession() as session, session.get(f"{api}/{what}", params=parameters) as answer:
        document = await answer.json()
    assert document["status"] == "success", document
    return document["data"]
