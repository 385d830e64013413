"""How does the daemon stop, and what happens to the batches that it has in hand?"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import orjson
import pytest

from poller.model.invocation import Invocation, Response
from tests.e2e.harness import Daemon, World, descendants, ended_with, until_gone
from tests.fakes.http_server import Reply, Request, http_server
from tests.fakes.queue import FakeQueue
from tests.fakes.target import Call, FakeTarget, FunctionPlan
from tests.fakes.watch import Watch
from tests.simulation.checker import (
    check_no_expired_receipt_is_invoked,
    check_nothing_is_lost,
    check_one_batch_at_a_time,
    check_order,
)

pytestmark = pytest.mark.anyio

BILL = "arn:aws:lambda:eu-west-1:123456789012:function:bill"
MESSAGES = 10_000

SHORTEST_OF_A_FIFO_QUEUE_IN_SECONDS = 8
"""For a function of one second. With a shorter timeout of the queue, messages would be hidden for 31 seconds after a
kill (core/queues/visibility.py)."""

LEDGER = """
import json, os, subprocess, time

subprocess.Popen(["sleep", "600"])
LEDGER = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def note(what, event, context):
    records = event["Records"]
    entry = {"what": what, "at": time.monotonic(), "request_id": context.aws_request_id, "attempt": 1,
             "message_ids": [record["messageId"] for record in records],
             "receipts": [record["receiptHandle"] for record in records]}
    os.write(LEDGER, json.dumps(entry).encode() + b"\\n")

def write(event, context):
    note("began", event, context)
    note("ended", event, context)
"""


class HeldTarget(FakeTarget):
    """A function that returns only when the test lets it."""

    def __init__(self, watch: Watch) -> None:
        super().__init__(FunctionPlan(duration_in_seconds=(0, 0)))
        self.waiting = 0
        self.let_go = anyio.Event()
        self._watch = watch

    async def invoke(self, invocation: Invocation) -> Response:
        self.waiting += 1
        self._watch.ring()
        try:
            await self.let_go.wait()
            return await super().invoke(invocation)
        finally:
            self.waiting -= 1
            self._watch.ring()


def mapping(queue: FakeQueue) -> str:
    """Return the settings of a mapping of the Lambda function `bill`."""
    return f"""
        [functions.bill]
        arn = "{BILL}"
        timeout_in_seconds = 1

        [mappings.orders]
        event_source_arn = "{queue.arn}"
        function_name = "bill"
    """


def ledger(path: Path) -> list[Call]:
    """Return the calls that handlers noted. A killed call has no end."""
    calls: dict[str, Call] = {}
    for entry in map(orjson.loads, path.read_bytes().splitlines()):
        what, at = entry.pop("what"), entry.pop("at")
        if what == "began":
            no_groups: list[str | None] = [None] * len(entry["message_ids"])
            calls[entry["request_id"]] = Call(mapping="", began_at=at, ended_at=at, groups=no_groups, **entry)
        else:
            call = calls[entry["request_id"]]
            call.ended_at, call.ending, call.done = at, "succeeded", frozenset(call.message_ids)
    return list(calls.values())


def everything(_message_id: str) -> bool:
    return True


async def test_sigterm_cancels_a_long_poll_and_loses_no_message_sent_at_that_moment(world: World) -> None:
    orders = world.queue("orders", visibility_timeout_in_seconds=2)
    bill = world.aws.functions[BILL] = FakeTarget()
    async with world.daemon(mapping(orders)) as daemon:
        await world.watch.until(lambda: world.aws.polls_waiting == 1)
        daemon.signal(signal.SIGTERM)
        world.send(orders, "{}")
        assert await daemon.ended(within=15) == 0, "a long poll waits for 20 seconds"
        assert daemon.logged("daemon_stopping", stage="stopped", batches_in_flight=0)
    async with world.daemon(mapping(orders)) as daemon:
        await daemon.until_logged("mapping_ready")
        await world.until_deleted(orders, 1)
        assert await daemon.stop() == 0
    check_nothing_is_lost(orders, bill.calls, everything)


async def test_an_invocation_that_ends_within_the_grace_is_finished_and_deleted(world: World) -> None:
    orders = world.queue("orders")
    bill = world.aws.functions[BILL] = HeldTarget(world.watch)
    world.send(orders, "{}")
    async with world.daemon(mapping(orders)) as daemon:
        await world.watch.until(lambda: bill.waiting == 1)
        daemon.signal(signal.SIGTERM)
        await daemon.until_logged("daemon_stopping", stage="draining", batches_in_flight=1)
        bill.let_go.set()
        assert await daemon.ended() == 0
        assert not daemon.logged("daemon_stopping", stage="releasing")
    assert orders.message_ids == []
    check_nothing_is_lost(orders, bill.calls, everything)


@asynccontextmanager
async def with_an_invocation_running(world: World, *, grace: float) -> AsyncIterator[tuple[Daemon, FakeQueue]]:
    """At the end of the block the daemon must end with status 0 and make the message visible again at once."""
    orders = world.queue("orders")
    bill = world.aws.functions[BILL] = HeldTarget(world.watch)
    world.send(orders, "{}")
    async with world.daemon(mapping(orders), grace=grace) as daemon:
        await world.watch.until(lambda: bill.waiting == 1)
        yield daemon, orders
        assert await daemon.ended() == 0
        assert daemon.logged("daemon_stopping", stage="releasing", batches_in_flight=1)
        assert daemon.records("messages_released") == 1
    assert [entry.kind for entry in orders.history] == ["sent", "received", "visibility_changed"]
    assert orders.history[-1].detail == "0"
    assert bill.waiting == 0, "nobody waits for the answer any more"


async def test_an_invocation_that_outlasts_the_grace_is_cancelled_and_its_message_is_visible_again(
    world: World,
) -> None:
    async with with_an_invocation_running(world, grace=0.2) as (daemon, _):
        daemon.signal(signal.SIGTERM)


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_the_grace_at_once(world: World, second: signal.Signals) -> None:
    async with with_an_invocation_running(world, grace=600) as (daemon, _):
        daemon.signal(signal.SIGINT)
        await daemon.until_logged("daemon_stopping", stage="draining")
        daemon.signal(second)


async def test_a_handler_that_outlasts_the_grace_ends_with_the_daemon(world: World) -> None:
    orders = world.queue("orders")
    (world.folder / "slow.py").write_text(
        "import time\ndef wait(event, context):\n    print('here')\n    time.sleep(60)"
    )
    text = f"""
        [functions.slow]
        handler = "slow:wait"
        timeout_in_seconds = 30

        [mappings.orders]
        event_source_arn = "{orders.arn}"
        function_name = "slow"
    """
    async with world.daemon(text, grace=0.1) as daemon:
        world.send(orders, "{}")
        await daemon.until_logged("child_process_output", line="here")
        children = ended_with(descendants(daemon.pid))
        assert await daemon.stop() == 0
        assert daemon.records("messages_released") == 1
    await until_gone(children)


async def test_a_service_that_never_answers_does_not_delay_the_stop(world: World) -> None:
    async def say_nothing(_request: Request) -> Reply:
        world.watch.ring()
        await anyio.sleep_forever()
        raise AssertionError

    async with http_server(say_nothing) as service:
        text = f"""
            [daemon.endpoints]
            sqs = "{service.url}"

            [mappings.orders]
            event_source_arn = "arn:aws:sqs:eu-west-1:123456789012:orders"
            function_name = "{BILL}"
        """
        async with world.daemon(text) as daemon:
            await world.watch.until(lambda: service.requests)
            daemon.signal(signal.SIGTERM)
            assert await daemon.ended(within=9) == 0, "an answer may take 10 seconds"


async def test_a_missing_source_does_not_delay_the_stop(world: World) -> None:
    text = f"""
        [mappings.orders]
        event_source_arn = "arn:aws:sqs:eu-west-1:123456789012:orders"
        function_name = "{BILL}"
    """
    async with world.daemon(text) as daemon:
        await daemon.until_logged("source_failed")
        assert await daemon.stop() == 0


async def test_the_daemon_goes_on_if_the_reader_of_its_log_has_gone(world: World) -> None:
    orders = world.queue("orders")
    world.aws.functions[BILL] = FakeTarget(FunctionPlan(duration_in_seconds=(0, 0)))
    async with world.daemon(mapping(orders), "--verbose") as daemon:
        await daemon.until_logged("mapping_ready")
        daemon.close_log()
        world.send(orders, *["{}"] * 100)
        await world.until_deleted(orders, 100)
        assert await daemon.stop() == 0


async def test_kills_amid_ten_thousand_ordered_messages_lose_none(world: World) -> None:
    """A FIFO queue and a Lambda function, which continues after the daemon was killed."""
    orders = world.queue("orders.fifo", visibility_timeout_in_seconds=SHORTEST_OF_A_FIFO_QUEUE_IN_SECONDS)
    bill = world.aws.functions[BILL] = FakeTarget(FunctionPlan(duration_in_seconds=(0, 0.01)))
    for number in range(MESSAGES):
        world.send(orders, "{}", group=f"group-{number % 250}", deduplication_id=str(number))
    async with world.daemon(mapping(orders)) as daemon:
        await world.until_deleted(orders, MESSAGES // 3)
        daemon.signal(signal.SIGKILL)
        assert await daemon.ended() == -signal.SIGKILL
    assert MESSAGES // 3 <= MESSAGES - len(orders.message_ids) < MESSAGES
    async with world.daemon(mapping(orders)) as daemon:
        await world.until_deleted(orders, MESSAGES)
        assert await daemon.stop() == 0
    check_nothing_is_lost(orders, bill.calls, everything)
    check_order(orders, bill.calls, everything)
    check_one_batch_at_a_time(bill.calls)


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="only Linux tells of the end of somebody else's child")
async def test_kills_amid_ten_thousand_messages_lose_none_and_leave_no_child_process_behind(world: World) -> None:
    orders = world.queue("orders", visibility_timeout_in_seconds=2)
    world.send(orders, *["{}"] * MESSAGES)
    (world.folder / "ledger.py").write_text(LEDGER)
    text = f"""
        [functions.write]
        handler = "ledger:write"
        timeout_in_seconds = 1
        environment = {{ LEDGER = "{world.folder}/ledger.jsonl" }}
        reserved_concurrency = 2

        [mappings.orders]
        event_source_arn = "{orders.arn}"
        function_name = "write"
    """
    async with world.daemon(text) as daemon:
        await world.until_deleted(orders, MESSAGES // 3)
        started = descendants(daemon.pid)
        children = ended_with(started)
        daemon.signal(signal.SIGKILL)
        assert await daemon.ended() == -signal.SIGKILL
    assert len(orders.message_ids) > 0
    assert len(started) >= 3, "a handler, what it started, and its watcher"
    await until_gone(children)
    async with world.daemon(text) as daemon:
        await world.until_deleted(orders, MESSAGES)
        children = ended_with(descendants(daemon.pid))
        assert await daemon.stop() == 0
    await until_gone(children)
    check_nothing_is_lost(orders, ledger(world.folder / "ledger.jsonl"), everything)


async def test_daemons_that_share_a_queue_may_start_and_end_in_any_way(world: World) -> None:
    """One daemon stays while others are stopped and killed, and the function fails at random."""
    orders = world.queue("orders.fifo", visibility_timeout_in_seconds=SHORTEST_OF_A_FIFO_QUEUE_IN_SECONDS)
    plan = FunctionPlan(
        duration_in_seconds=(0, 0.2),
        throttle_rate=0.05,
        failure_rate=0.01,
        lost_answer_rate=0.01,
        item_failure_rate=0.01,
        names_failures=True,
    )
    bill = world.aws.functions[BILL] = FakeTarget(plan)
    text = mapping(orders) + 'function_response_types = ["ReportBatchItemFailures"]'
    sent = 0
    async with world.daemon(text) as staying:
        for grace, number in ((0.0, signal.SIGTERM), (20.0, signal.SIGKILL)):
            async with world.daemon(text, grace=grace) as passing:
                await passing.until_logged("mapping_ready")
                for _ in range(600):
                    sent += 1
                    world.send(orders, "{}", group=f"group-{sent % 100}", deduplication_id=str(sent))
                await world.until_deleted(orders, sent - 400)
                passing.signal(number)
                assert await passing.ended() == (-number if number == signal.SIGKILL else 0)
        plan.ends_at = anyio.current_time()
        await world.until_deleted(orders, sent)
        assert await staying.stop() == 0
    check_nothing_is_lost(orders, bill.calls, everything)
    check_order(orders, bill.calls, everything)
    check_one_batch_at_a_time(bill.calls)
    check_no_expired_receipt_is_invoked(orders, bill.calls)


async def test_a_sighup_neither_stops_the_daemon_nor_hurries_a_stop(world: World) -> None:
    queue, function = world.queue("orders"), HeldTarget(world.watch)
    world.aws.functions[BILL] = function
    text = f"""
        [mappings.orders]
        event_source_arn = "{queue.arn}"
        function_name = "{BILL}"
    """
    async with world.daemon(text) as daemon:
        await daemon.until_logged("mapping_ready")
        daemon.signal(signal.SIGHUP)
        await daemon.until_logged("reloaded")
        assert not any("replaced" in line for line in daemon.logged("reloaded"))
        world.send(queue, "a")
        await world.watch.until(lambda: function.waiting == 1)
        daemon.signal(signal.SIGTERM)
        await daemon.until_logged("daemon_stopping", stage="draining")
        daemon.signal(signal.SIGHUP)
        await daemon.until_logged("reload_not_made", why="the daemon stops", level="warning")
        assert not daemon.logged("daemon_stopping", stage="releasing"), "a hangup hurries no stop"
        function.let_go.set()
        assert await daemon.ended() == 0
    assert [call.message_ids for call in function.calls] != []
