"""What happens to handlers that fail, crash or time out, and what does the log say about them?"""

from __future__ import annotations

from html import escape

import pytest

from tests.e2e.harness import World

pytestmark = pytest.mark.anyio

HANDLERS = """
import os, time

def handle(event, context):
    [record] = event["Records"]
    print("handling", record["body"])
    if record["attributes"]["ApproximateReceiveCount"] == "1":
        MISDEEDS[record["body"]]()

def crash():
    os._exit(3)

def dawdle():
    time.sleep(60)

def refuse():
    raise ValueError("not this one")

MISDEEDS = {"crash": crash, "dawdle": dawdle, "refuse": refuse, "behave": int}
"""


async def test_a_crash_a_timeout_and_an_exception_fail_only_their_own_batch(world: World) -> None:
    """A failed message is received again after its visibility timeout, and then the handler succeeds."""
    (world.folder / "handlers.py").write_text(HANDLERS)
    orders = world.queue("orders", visibility_timeout_in_seconds=2)
    text = f"""
        [functions.store]
        handler = "handlers:handle"
        timeout_in_seconds = 5
        reserved_concurrency = 4

        [mappings.orders]
        event_source_arn = "{orders.arn}"
        function_name = "store"
        batch_size = 1
    """
    world.send(orders, "crash", "dawdle", "refuse", "behave")
    async with world.daemon(text) as daemon:
        await world.until_deleted(orders, 4)
        assert await daemon.stop() == 0
    failures = {line["reason"]: line["detail"].partition("Error: ")[2] for line in daemon.logged("batch_failed")}
    assert failures == {
        "Runtime.ExitError": "Runtime exited with error: exit status 3",
        "Sandbox.Timedout": "Task timed out after 5.00 seconds",
        "ValueError": "",
    }
    for body, times in {"crash": 2, "dawdle": 2, "refuse": 2, "behave": 1}.items():
        lines = daemon.logged("child_process_output", function="store", stream="stdout", line=f"handling {body}")
        assert len(lines) == times
    [trace] = [line["line"] for line in daemon.logged("child_process_output") if line["line"].startswith("[ERROR]")]
    assert trace.startswith("[ERROR] ValueError: not this one\nTraceback")
    assert daemon.logged("child_process_stopped", function="store", reason="exit", exit_status=3)
    assert daemon.logged("child_process_stopped", function="store", reason="timeout", exit_status=-9)


async def test_a_handler_that_cannot_be_imported_fails_repeatedly_and_the_log_says_why(world: World) -> None:
    (world.folder / "broken.py").write_text("import no_such_package")
    orders = world.queue("orders")
    text = f"""
        [functions.store]
        handler = "broken:handle"

        [mappings.orders]
        event_source_arn = "{orders.arn}"
        function_name = "store"
    """
    world.send(orders, "{}")
    async with world.daemon(text) as daemon:
        failed = await daemon.until_logged("batch_failed")
        waiting = await daemon.until_logged("mapping_waiting", level="warning")
        ready = await daemon.get("/readyz")
        metrics, page = (await daemon.get("/metrics")).text, (await daemon.get("/")).text
        assert await daemon.stop() == 0
    assert ready.status == 200, "its source is there"
    entry = ready.json()["mappings"]["orders"]
    assert (entry["state"], entry["reason"]) == ("waiting", waiting["reason"])
    assert entry["reason"] == f"function store cannot start: {failed['reason']}: {failed['detail']}"
    assert (entry["attempt"], entry["next_try"]) == (1, None), "the queue shows the message again"
    assert 'poller_mapping_ready{mapping="orders"} 1.0\n' in metrics
    assert 'poller_mapping_waiting{mapping="orders"} 1.0\n' in metrics
    assert escape(entry["reason"]) in page
    assert failed["reason"] == "Runtime.ImportModuleError"
    assert "No module named 'no_such_package'" in failed["detail"]
    assert daemon.logged("child_process_stopped", reason="init_error")
    assert len(orders.message_ids) == 1
