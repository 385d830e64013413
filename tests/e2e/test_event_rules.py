"""Do events end as they did on AWS, with a real daemon, child processes, an emulator of SQS, and shortened waits?"""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import pairwise
from typing import Any, NamedTuple

import anyio
import anyio.to_thread
import botocore.session
import pytest
from botocore.config import Config

from poller.aws.signing import Credentials
from tests.conftest import REGION
from tests.e2e.harness import World, environment

pytestmark = pytest.mark.anyio

HANDLERS = """
import json, time

def fail(event, context):
    with open("ledger", "a") as ledger:
        ledger.write(json.dumps([event["to"], context.aws_request_id, time.time()]) + chr(10))
    raise ValueError("by plan")

def return_nothing(event, context):
    pass
"""

OPTIONS = {
    "a1": "retry_waits_in_seconds = [0.2, 1.2]",
    "a2": "maximum_retry_attempts = 0",
    "a3": "maximum_event_age_in_seconds = 60",
    "a4": "maximum_event_age_in_seconds = 90\nretry_waits_in_seconds = [0.2, 90]",
    "a5": "maximum_retry_attempts = 0",
    "a6": "",
    "a7": "",
}
"""The options of one function for each case that was recorded on AWS. a3 and a4 would retry after a minute or more."""

FUNCTION = """
[functions.{name}]
handler = "handlers:{handler}"
reserved_concurrency = {concurrency}
[functions.{name}.event_invoke_config]
destination_config.on_success.destination = "{records}"
destination_config.on_failure.destination = "{records}"
{options}
"""

LONGEST_IN_SECONDS = 50.0
"""How long all events may take together. It is less than the shortest wait of a3, so that a3 ends at once."""


class Sqs:
    """The emulator's queues of one account. Every method waits for the network, so tests call it in a thread."""

    def __init__(self, endpoint_url: str, account: str) -> None:
        self._account = account
        self._client = _client("sqs", endpoint_url, access_key_id=account)

    def create(self, name: str) -> str:
        """Create a queue and return its ARN."""
        self._client.create_queue(QueueName=name)
        return f"arn:aws:sqs:{REGION}:{self._account}:{name}"

    def receive(self, name: str) -> list[dict[str, Any]]:
        url = self._client.get_queue_url(QueueName=name)["QueueUrl"]
        answer = self._client.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1, MessageAttributeNames=["All"]
        )
        return list(answer.get("Messages", []))


class Ended(NamedTuple):
    """What the destinations received of all events, and the attempts of each function: request id and time."""

    records: dict[str, dict[str, Any]]
    dead_letters: list[dict[str, Any]]
    attempts: dict[str, list[tuple[str, float]]]

    def outcome(self, name: str) -> tuple[str, int]:
        """Return the condition and the number of attempts in the record of a function's event."""
        context = self.records[name]["requestContext"]
        return context["condition"], context["approximateInvokeCount"]


def payload(name: str) -> str:
    """Return an event. A program that wrote its JSON anew would change its spaces."""
    return f'{{ "to":"{name}",  "text": "ü" }}'


def _client(service: str, endpoint_url: str, *, access_key_id: str) -> Any:
    return botocore.session.Session().create_client(
        service,
        region_name=REGION,
        endpoint_url=endpoint_url,
        aws_access_key_id=access_key_id,
        aws_secret_access_key="secret",
        config=Config(retries={"total_max_attempts": 1}, proxies={}),
    )


def settings_of(sqs: Sqs, *, waits_in_sqs: bool) -> str:
    """Return settings with one function for each case. The queues `records` and `dead` get what has ended."""
    text, records, dead = "", sqs.create("records"), sqs.create("dead")
    for name, options in OPTIONS.items():
        if waits_in_sqs:
            options += f'\nevent_queue_arn = "{sqs.create(name)}"'
        text += FUNCTION.format(
            name=name,
            handler="return_nothing" if name == "a6" else "fail",
            concurrency=0 if name == "a7" else 1,
            records=records,
            options=options,
        )
    return f'{text}[functions.a5.dead_letter_config]\ntarget_arn = "{dead}"\n'


async def until_ended(world: World, sqs: Sqs) -> Ended:
    """Wait until each function's event has its record, and the event of a5 its dead letter."""
    ended = Ended({}, [], defaultdict(list))
    with anyio.fail_after(LONGEST_IN_SECONDS):
        while len(ended.records) < len(OPTIONS) or not ended.dead_letters:
            for message in await anyio.to_thread.run_sync(sqs.receive, "records"):
                record = json.loads(message["Body"])
                ended.records[record["requestPayload"]["to"]] = record
            if not ended.dead_letters:
                ended.dead_letters.extend(await anyio.to_thread.run_sync(sqs.receive, "dead"))
    for line in (world.folder / "ledger").read_text().splitlines():
        name, request_id, at = json.loads(line)
        ended.attempts[name].append((request_id, at))
    return ended


@pytest.mark.parametrize("waits_in_sqs", [False, True], ids=["in the daemon's file", "in SQS"])
async def test_events_that_wait_end_as_in_the_cases_recorded_on_aws(
    world: World, ministack: str, account: str, waits_in_sqs: bool
) -> None:
    sqs = Sqs(ministack, account)
    world.environment = environment(Credentials(account, "secret", None))
    world.options = f'api_listen = "127.0.0.1:0"\nendpoints = {{ sqs = "{ministack}" }}\nevent_queue = "sqlite://e.db"'
    (world.folder / "handlers.py").write_text(HANDLERS)
    settings = await anyio.to_thread.run_sync(lambda: settings_of(sqs, waits_in_sqs=waits_in_sqs))
    request_ids: dict[str, str] = {}

    def send(address: str) -> None:
        client = _client("lambda", f"http://{address}", access_key_id=account)
        for name in OPTIONS:
            answer = client.invoke(FunctionName=name, InvocationType="Event", Payload=payload(name).encode())
            request_ids[name] = answer["ResponseMetadata"]["RequestId"]

    async with world.daemon(settings) as daemon:
        address = (await daemon.until_logged("daemon_started"))["api"]
        await anyio.to_thread.run_sync(send, address)
        ended = await until_ended(world, sqs)
        assert await daemon.stop() == 0

    assert ended.outcome("a1") == ("RetriesExhausted", 3)
    assert [request_id for request_id, _ in ended.attempts["a1"]] == [request_ids["a1"]] * 3
    gaps = [later - earlier for (_, earlier), (_, later) in pairwise(ended.attempts["a1"])]
    assert gaps[0] >= 0.2
    assert gaps[1] >= 1.2

    assert ended.outcome("a2") == ("RetriesExhausted", 1)
    assert len(ended.attempts["a2"]) == 1

    for name, attempts in (("a3", 1), ("a4", 2)):
        assert ended.outcome(name) == ("EventAgeExceeded", attempts)
        assert ended.records[name]["responsePayload"]["errorMessage"] == "by plan"

    assert ended.outcome("a5") == ("RetriesExhausted", 1)
    (dead_letter,) = ended.dead_letters
    assert dead_letter["Body"] == payload("a5"), "the event as it was sent"
    values = {name: value["StringValue"] for name, value in dead_letter["MessageAttributes"].items()}
    assert values == {"RequestID": request_ids["a5"], "ErrorCode": "200", "ErrorMessage": "by plan"}

    assert ended.outcome("a6") == ("Success", 1)
    assert ended.records["a6"]["responsePayload"] is None
    assert "functionError" not in ended.records["a6"]["responseContext"]

    assert ended.outcome("a7") == ("ZeroReservedConcurrency", 0)
    assert ended.records["a7"].keys() == {"version", "timestamp", "requestContext", "requestPayload"}
    assert "a7" not in ended.attempts
    assert {name: record["requestContext"]["requestId"] for name, record in ended.records.items()} == request_ids
