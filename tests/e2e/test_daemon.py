"""Does the daemon do its work, and are its log, its metrics and its pages true?"""

from __future__ import annotations

import resource
from datetime import datetime

import pytest

from tests.e2e.harness import World
from tests.fakes.http_function import http_function
from tests.fakes.http_server import http_server
from tests.fakes.target import FakeTarget, FunctionPlan
from tests.simulation.checker import (
    check_every_receive_is_invoked,
    check_no_expired_receipt_is_invoked,
    check_nothing_filtered_is_invoked,
    check_nothing_is_lost,
)

pytestmark = pytest.mark.anyio

BILL = "arn:aws:lambda:eu-west-1:123456789012:function:bill"
SOURCE = "arn:aws:sqs:eu-west-1:123456789012:"


async def test_only_the_daemon_gets_a_higher_limit_of_open_files_and_it_warns_if_that_is_too_low(
    world: World,
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    queue, other = world.queue("orders"), world.queue("others")
    world.send(other, "a")
    text = f"""
        [functions.many]
        url = "http://127.0.0.1:1"
        reserved_concurrency = 10_000
        [mappings.orders]
        event_source_arn = "{queue.arn}"
        function_name = "many"
        [functions.child]
        command = ["/bin/sh", "-c", "ulimit -Sn"]
        reserved_concurrency = 1
        [mappings.others]
        event_source_arn = "{other.arn}"
        function_name = "child"
    """
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        async with world.daemon(text) as daemon:
            await daemon.until_logged("child_process_output", line="256")
            own, _ = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
            assert await daemon.stop() == 0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert own == min(65_536, hard)
    assert [line["needed"] for line in daemon.logged("too_few_file_descriptors")] == ([20_106] if own < 20_106 else [])


async def test_batches_reach_a_lambda_function_and_the_pages_show_them(world: World) -> None:
    """Of 60 messages 50 match the filter.

    Of these, 3 always fail, and move to the dead-letter queue after one receive.
    """
    given_up = world.queue("given-up")
    orders = world.queue("orders", visibility_timeout_in_seconds=2, maximum_receive_count=1, dead_letter_queue=given_up)
    signups = world.send(orders, *['{"kind": "signup"}'] * 50)
    world.send(orders, *['{"kind": "other"}'] * 10)
    poison = set(signups[:3])
    bill = FakeTarget(FunctionPlan(duration_in_seconds=(0, 0.02), names_failures=True, poison=poison))
    world.aws.functions[BILL] = bill
    text = f"""
        [functions.bill]
        arn = "{BILL}"
        timeout_in_seconds = 1

        [mappings.orders]
        event_source_arn = "{orders.arn}"
        function_name = "bill"
        function_response_types = ["ReportBatchItemFailures"]
        filter_criteria.filters = [{{ pattern = {{ body = {{ kind = ["signup"] }} }} }}]
    """
    async with world.daemon(text, "--verbose") as daemon:
        await world.watch.until(lambda: len(given_up.message_ids) == 3 and daemon.records("messages_deleted") == 57)
        counters = await daemon.counters("orders")
        ready, health, page = await daemon.get("/readyz"), await daemon.get("/healthz"), await daemon.get("/")
        scaling = await daemon.get("/api/scaling/mappings/orders")
        assert await daemon.stop() == 0
    assert counters == {"polled": 60, "filtered_out": 10, "invoked": 50, "failed": 3, "deleted": 57, "released": 0}
    assert ready.status == 200
    since = ready.json()["mappings"]["orders"].pop("since")
    assert since == datetime.fromisoformat(since).strftime("%Y-%m-%dT%H:%M:%SZ")
    nothing_failed = {"state": "ready", "reason": None, "attempt": None, "next_try": None}
    assert ready.json()["mappings"]["orders"] == nothing_failed | {"since": since}
    assert health == (200, '{"healthy":true}\n')
    assert page.status == 200
    assert "1 of 1 mappings ready" in page.text
    assert scaling.json() == {"seconds_to_catch_up": 0.0, "shards": 0, "messages_waiting": 0, "events_waiting": 0}
    assert world.aws.signatures.accepted == world.aws.server.requests, "every request was signed well"
    assert set(given_up.message_ids) == poison
    matches = frozenset(signups).__contains__
    check_nothing_is_lost(orders, bill.calls, matches)
    check_nothing_filtered_is_invoked(bill.calls, matches)
    check_every_receive_is_invoked(orders, bill.calls, matches)
    check_no_expired_receipt_is_invoked(orders, bill.calls)


async def test_a_broken_mapping_does_not_harm_another_and_recovers(world: World) -> None:
    bill = world.aws.functions[BILL] = FakeTarget()
    good = world.queue("good")
    world.queue("forbidden")
    world.aws.forbidden.add("forbidden")
    text = "".join(
        f"""
        [mappings.{name}]
        event_source_arn = "{SOURCE}{name}"
        function_name = "{BILL}"
        """
        for name in ("good", "missing", "forbidden")
    )
    async with world.daemon(text) as daemon:
        await daemon.until_logged("source_failed", mapping="missing", level="error")
        await daemon.until_logged("source_failed", mapping="forbidden", level="error")
        await daemon.until_logged("mapping_ready", mapping="good")
        world.send(good, "{}")
        await world.until_deleted(good, 1)
        ready = await daemon.get("/readyz")
        assert ready.status == 503
        report = ready.json()
        assert report["mappings"].pop("good")["state"] == "ready"
        for entry in report["mappings"].values():
            since, next_try = (datetime.fromisoformat(entry.pop(key)) for key in ("since", "next_try"))
            assert since <= next_try
            assert entry.pop("attempt") >= 1
        assert report == {
            "ready": False,
            "mappings": {
                "missing": {
                    "state": "starting",
                    "reason": "GetQueueAttributes: QueueDoesNotExist (400): The specified queue does not exist. "
                    f"({SOURCE}missing)",
                },
                "forbidden": {
                    "state": "starting",
                    "reason": "GetQueueAttributes: AccessDeniedException (403): Access to the resource is denied. "
                    f"({SOURCE}forbidden)",
                },
            },
            "events": {},
        }
        missing = world.queue("missing")
        world.send(missing, "{}")
        world.aws.forbidden.clear()
        await daemon.until_logged("mapping_ready", mapping="missing")
        await daemon.until_logged("mapping_ready", mapping="forbidden")
        assert (await daemon.get("/readyz")).status == 200
        await world.until_deleted(missing, 1)
        assert await daemon.stop() == 0
    assert {call.mapping for call in bill.calls} == {"good", "missing"}


async def test_two_mappings_of_one_function_keep_to_its_reserved_concurrency(world: World) -> None:
    queues = [world.queue("left"), world.queue("right")]
    function = FakeTarget(FunctionPlan(duration_in_seconds=(0.005, 0.02)))
    for queue in queues:
        world.send(queue, *["{}"] * 150)
    async with http_server(http_function(function)) as service:
        text = f"""
            [functions.store]
            url = "{service.url}/store"
            reserved_concurrency = 1

            [mappings.left]
            event_source_arn = "{queues[0].arn}"
            function_name = "store"

            [mappings.right]
            event_source_arn = "{queues[1].arn}"
            function_name = "store"
        """
        async with world.daemon(text) as daemon:
            for queue in queues:
                await world.until_deleted(queue, 150)
            assert await daemon.stop() == 0
    assert function.most_running == 1
    assert set(function.most_running_of) == {"left", "right"}
    for queue in queues:
        check_nothing_is_lost(queue, function.calls, lambda _: True)
        check_every_receive_is_invoked(queue, function.calls, lambda _: True)
