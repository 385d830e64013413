"""What happens to records with which the function always fails: what do a queue, a topic and a bucket receive?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anyio
import orjson
import pytest

from poller.model.invocation import Answered, Invocation, Response
from tests.e2e.harness import World
from tests.e2e.streams import Clicks, Source, Users, calls_of, instant, mapping
from tests.fakes.queue import FakeQueue
from tests.fakes.target import Call, ids_of

pytestmark = pytest.mark.anyio

BILL = "arn:aws:lambda:eu-west-1:123456789012:function:bill"
OTHER = f"{BILL}-other"


def bodies(queue: FakeQueue) -> list[Mapping[str, Any]]:
    return [orjson.loads(wire["Body"]) for wire in queue.receive(10, now=anyio.current_time(), is_long_poll=True)]


async def test_a_poison_record_is_isolated_and_reported_exactly(world: World) -> None:
    """The queue, the topic and the bucket get the invocation record, and the bucket also the event."""
    failures = world.queue("failures")
    topic = "arn:aws:sns:eu-west-1:123456789012:failures"
    messages = world.aws.reports.topics[topic] = []
    objects = world.aws.reports.buckets["failures"] = {}
    reports = {"to_queue": str(failures.arn), "to_topic": topic, "to_bucket": "arn:aws:s3:::failures"}
    sources: dict[str, Source] = {
        "to_queue": Clicks(world.aws, "queue"),
        "to_topic": Users(world.aws, "topic"),
        "to_bucket": Clicks(world.aws, "bucket"),
    }
    numbers = {name: source.put_all(*"abcd") for name, source in sources.items()}
    bill = world.aws.functions[BILL] = instant(poison={three for _, _, three, _ in numbers.values()})
    options = (
        "bisect_batch_on_function_error = true",
        "maximum_retry_attempts = 1",
        "maximum_batching_window_in_seconds = 0",
    )
    text = "".join(
        mapping(name, source, BILL, *options, f'destination_config.on_failure.destination_arn = "{reports[name]}"')
        for name, source in sources.items()
    )
    async with world.daemon(text) as daemon:
        for name in sources:
            await daemon.until_logged("mapping_ready", mapping=name)
        await world.watch.until(lambda: len(failures.message_ids) == len(messages) == len(objects) == 1)
        await world.watch.until(lambda: len(bill.calls) == 18)
        assert await daemon.stop() == 0
    [[key, put]] = objects.items()
    stored_object = orjson.loads(put.body)
    event = orjson.loads(stored_object.pop("payload"))
    documents = {"to_queue": bodies(failures)[0], "to_topic": orjson.loads(messages[0]), "to_bucket": stored_object}
    for name, document in documents.items():
        one, two, three, four = numbers[name]
        assert [call.message_ids for call in calls_of(bill, name)] == [
            [one, two, three, four], [one, two], [three, four], [three], [three], [four],
        ]  # fmt: skip
        check_record(document, sources[name], calls_of(bill, name)[4], three)
    assert event["Records"][0]["kinesis"]["sequenceNumber"] == numbers["to_bucket"][2]
    assert event["Records"][0]["invokeIdentityArn"] == "arn:aws:iam::123456789012:role/reader", "as STS says"
    assert put.headers["content-type"] == "application/octet-stream"
    moment = stored_object["timestamp"]
    date, time = moment[:10], moment[:19].replace(":", ".")
    folder, _, name = key.rpartition("/")
    assert folder.endswith(f"/shardId-000000000000/{date.replace('-', '/')}")
    assert name.startswith(f"{time}-")


class Reading:
    """A function that notes which identity its records name."""

    def __init__(self) -> None:
        self.readers: list[str] = []

    async def invoke(self, invocation: Invocation) -> Response:
        self.readers += [record["invokeIdentityArn"] for record in orjson.loads(invocation.payload)["Records"]]
        return Answered(b"")


@pytest.mark.parity("identity in events")
async def test_events_name_the_execution_role_if_lambda_shows_it_and_else_our_identity(
    world: World,
) -> None:
    clicks = Clicks(world.aws, "clicks", shard_count=4)
    for number in range(20):
        clicks.put(f"key-{number}")
    reported, unreported = Reading(), Reading()
    world.aws.functions |= {BILL: reported, OTHER: unreported}
    world.aws.roles[BILL] = "arn:aws:iam::123456789012:role/service/bill"
    text = mapping("told", clicks, f"{BILL}:live") + mapping("untold", clicks, OTHER)
    async with world.daemon(text) as daemon:
        await world.watch.until(lambda: len(reported.readers) == len(unreported.readers) == 20)
        assert await daemon.stop() == 0
    assert set(reported.readers) == {world.aws.roles[BILL]}
    assert set(unreported.readers) == {"arn:aws:iam::123456789012:role/reader"}
    assert sorted(set(world.aws.roles_asked_for)) == sorted(world.aws.roles_asked_for) == [BILL, OTHER], "once for each"


def check_record(document: Mapping[str, Any], source: Source, last: Call, number: str) -> None:
    is_kinesis = isinstance(source, Clicks)
    info = document["KinesisBatchInfo" if is_kinesis else "DDBStreamBatchInfo"]
    arrival = info["approximateArrivalOfFirstRecord"]
    assert len(arrival) == len("2026-01-31T12:00:00.000Z" if is_kinesis else "2026-01-31T12:00:00Z")
    assert list(document.items()) == [
        (
            "requestContext",
            {
                "requestId": last.request_id,
                "functionArn": BILL,
                "condition": "RetryAttemptsExhausted",
                "approximateInvokeCount": 2,
            },
        ),
        ("responseContext", {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"}),
        ("version", "1.0"),
        ("timestamp", document["timestamp"]),
        (
            "KinesisBatchInfo" if is_kinesis else "DDBStreamBatchInfo",
            {
                "shardId": source.shard_of(number),
                "startSequenceNumber": number,
                "endSequenceNumber": number,
                "approximateArrivalOfFirstRecord": arrival,
                "approximateArrivalOfLastRecord": arrival,
                "batchSize": 1,
                "streamArn": source.arn,
            },
        ),
    ]


async def test_a_destination_that_fails_blocks_the_shard_and_gets_the_invocation_record_later(world: World) -> None:
    """With if_unreachable = "drop", the records are dropped instead, and the shard continues."""
    waiting, dropping = Clicks(world.aws, "waiting"), Users(world.aws, "dropping")
    poison = {source.put("k") for source in (waiting, dropping)}
    later = {name: source.put("k") for name, source in (("waiting", waiting), ("dropping", dropping))}
    bill = world.aws.functions[BILL] = instant(poison=poison)
    arn = "arn:aws:sqs:eu-west-1:123456789012:failures"
    options = (
        "batch_size = 1",
        "maximum_retry_attempts = 0",
        f'destination_config.on_failure.destination_arn = "{arn}"',
    )
    text = mapping("waiting", waiting, BILL, *options) + mapping(
        "dropping", dropping, BILL, *options, 'destination_config.on_failure.if_unreachable = "drop"'
    )
    async with world.daemon(text) as daemon:
        refused = await daemon.until_logged("destination_failed", mapping="waiting", level="error", is_given_up=False)
        await daemon.until_logged("destination_failed", mapping="dropping", level="error", is_given_up=True)
        await daemon.until_logged("records_dropped", mapping="dropping", records=1)
        await world.watch.until(lambda: later["dropping"] in ids_of(bill.calls))
        entry = (await daemon.get("/readyz")).json()["mappings"]["waiting"]
        assert later["waiting"] not in ids_of(bill.calls)
        failures = world.queue("failures")
        await world.watch.until(lambda: later["waiting"] in ids_of(bill.calls))
        assert await daemon.stop() == 0
    assert refused["code"].endswith("QueueDoesNotExist") or "NonExistentQueue" in refused["code"]
    assert [each["reason"] for each in entry["blocked"]] == [f"destination: {refused['code']}"]
    [document] = bodies(failures)
    assert document["KinesisBatchInfo"]["streamArn"] == waiting.arn
    assert not daemon.logged("records_dropped", mapping="waiting")
    assert len(calls_of(bill, "waiting")) == 2, "the function is not asked again for the destination's sake"
