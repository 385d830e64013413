"""Does the daemon keep its secrets, and does it follow when they change?"""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from aiohttp import ClientSession

from poller.aws.signing import Credentials
from poller.event_queues.rows import put
from poller.event_queues.schema import shared
from poller.model.event import Ending, LastAttempt
from poller.model.ids import FunctionName
from poller.model.invocation import Answered, FunctionError, Invocation, Response
from tests.e2e.harness import KEYS, World, environment
from tests.fakes.events import event
from tests.fakes.http_server import Drop, Reply, Request, http_server
from tests.fakes.target import FakeTarget

pytestmark = pytest.mark.anyio

BILL = "arn:aws:lambda:eu-west-1:123456789012:function:bill"
CANARY = "canary-of-a-body"
PAGES = ("/", "/metrics", "/readyz", "/api/status", "/settings")
HEADER = "secret-of-a-header"
VARIABLE = "secret-of-a-variable"
IN_THE_FILE = "secret-in-plain-text"
RENEWED = Credentials("AKIDSECOND", "second-secret-access-key", "second-session-token")

HANDLERS = """
import os

def crash(event, context):
    os._exit(3)

def look_around(event, context):
    print("found", sorted(name for name in os.environ if name.startswith("OF_") or name == "AWS_ACCESS_KEY_ID"))

def echo(event, context):
    return {"batchItemFailures": [{"itemIdentifier": record["body"]} for record in event["Records"]]}
"""


class Parrot:
    """A function that answers with everything that it got, each time in another way."""

    def __init__(self) -> None:
        self.calls = 0

    async def invoke(self, invocation: Invocation) -> Response:
        self.calls += 1
        match self.calls % 3:
            case 0:
                return FunctionError(error_type="ValueError", message="no", payload=invocation.payload)
            case 1:
                return Answered(invocation.payload)
            case _:
                return Answered(b"not JSON: " + invocation.payload)


async def test_a_child_inherits_no_secret_of_the_daemon_or_of_another_function(world: World) -> None:
    (world.folder / "handlers.py").write_text(HANDLERS)
    queues = {name: world.queue(name) for name in ("trusting", "wary")}
    world.environment |= {"OF_SERVICE": "a", "OF_WARY": "b", "OF_NOBODY": "c"}
    text = """
        [functions.service]
        url = "http://127.0.0.1:1"
        headers = { Authorization = "${OF_SERVICE}" }
        [functions.trusting]
        handler = "handlers:look_around"
        [functions.wary]
        handler = "handlers:look_around"
        environment = { OF_WARY = "${OF_WARY}" }
        inherit_credentials = false
    """
    for name, queue in queues.items():
        text += f'''
        [mappings.{name}]
        event_source_arn = "{queue.arn}"
        function_name = "{name}"
        '''
        world.send(queue, "x")
    async with world.daemon(text) as daemon:
        trusting = await daemon.until_logged("child_process_output", function="trusting")
        wary = await daemon.until_logged("child_process_output", function="wary")
    assert trusting["line"] == "found ['AWS_ACCESS_KEY_ID', 'OF_NOBODY']"
    assert wary["line"] == "found ['OF_NOBODY', 'OF_WARY']"


async def test_neither_bodies_nor_secrets_are_ever_logged(world: World) -> None:
    """Each mapping's function fails in its own way, and the log is verbose."""
    (world.folder / "handlers.py").write_text(HANDLERS)
    parrot = world.aws.functions[BILL] = Parrot()
    answers: list[int] = []

    async def echo(request: Request) -> Reply:
        assert request.headers["authorization"] == HEADER
        answers.append([500, 429, 200, 404][len(answers) % 4])
        return Reply(status=answers[-1], body=request.body)

    functions = ("bill", "service", "crash", "echo")
    queues = {name: world.queue(f"queue-of-{name}", visibility_timeout_in_seconds=2) for name in functions}
    attribute = {"note": {"DataType": "String", "StringValue": CANARY}}
    for queue in queues.values():
        world.send(queue, *[CANARY] * 25, f'{{"{CANARY}": 1}}', attributes=attribute)
    filtered = world.queue("filtered")
    world.send(filtered, *[CANARY] * 15, f'{{"{CANARY}": 1}}')
    world.environment |= {"HEADER": HEADER, "VARIABLE": VARIABLE}
    async with http_server(echo) as service:
        text = f"""
            [functions.bill]
            arn = "{BILL}"
            timeout_in_seconds = 1

            [functions.service]
            url = "{service.url}"
            headers = {{ Authorization = "${{HEADER}}", X-Plain = "{IN_THE_FILE}" }}
            timeout_in_seconds = 1

            [functions.crash]
            handler = "handlers:crash"
            environment = {{ VARIABLE = "${{VARIABLE}}", PLAIN = "{IN_THE_FILE}", NONE = "${{NONE:-{IN_THE_FILE}}}" }}
            timeout_in_seconds = 1

            [functions.unused]
            command = ["{sys.executable}", "--token", "{IN_THE_FILE}", "--key={IN_THE_FILE}"]

            [functions.unused_too]
            url = "http://me:{IN_THE_FILE}@127.0.0.1:1/path?token={IN_THE_FILE}"

            [functions.echo]
            handler = "handlers:echo"
            timeout_in_seconds = 1

            [mappings.filtered]
            event_source_arn = "{filtered.arn}"
            function_name = "bill"
            filter_criteria.filters = [{{ pattern = {{ body = {{ other = [{{ exists = true }}] }} }} }}]

            [mappings.missing]
            event_source_arn = "arn:aws:sqs:eu-west-1:123456789012:missing"
            function_name = "bill"
        """ + "".join(
            f"""
            [mappings.{name}]
            event_source_arn = "{queue.arn}"
            function_name = "{name}"
            function_response_types = ["ReportBatchItemFailures"]
            """
            for name, queue in queues.items()
        )
        async with world.daemon(text, "--verbose") as daemon:
            for name in functions:
                await daemon.until_logged("batch_failed", mapping=name)
            await daemon.until_logged("source_failed", mapping="missing")
            await world.until_deleted(filtered, 16)
            await world.watch.until(lambda: parrot.calls >= 6 and len(answers) >= 8)
            pages = [await daemon.get(path) for path in PAGES]
            assert await daemon.stop() == 0
    shown = daemon.text + "".join(page.text for page in pages)
    for secret in (CANARY, HEADER, VARIABLE, IN_THE_FILE, KEYS.secret_access_key, KEYS.session_token):
        assert secret is not None
        assert secret not in shown
    assert "batch_failed" in shown


async def test_neither_data_nor_keys_of_a_stream_are_ever_logged(world: World) -> None:
    """Poison records are tried, bisected and reported, and the destination refuses one invocation record."""
    world.aws.functions[BILL] = Parrot()
    clicks, users = world.aws.create_stream("clicks"), world.aws.create_table("users")
    failures = world.queue("failures")
    for number in range(12):
        world.aws.kinesis.put(clicks, f"{CANARY}-{number}", orjson.dumps({CANARY: number}))
        users.put_item({"id": {"S": f"{CANARY}-{number}"}, "note": {"S": CANARY}})
    destinations = {"reported": str(failures.arn), "refused": f"{failures.arn}-missing"}
    text = "".join(
        f"""
        [mappings.{name}_{stream.arn.service}]
        event_source_arn = "{stream.arn}"
        function_name = "{BILL}:{name}"
        starting_position = "TRIM_HORIZON"
        batch_size = 5
        maximum_retry_attempts = 0
        bisect_batch_on_function_error = true
        function_response_types = ["ReportBatchItemFailures"]
        parallelization_factor = 2
        destination_config.on_failure.destination_arn = "{destination}"
        """
        for name, destination in destinations.items()
        for stream in (clicks, users.stream)
    )
    async with world.daemon(text, "--verbose") as daemon:
        for service in ("kinesis", "dynamodb"):
            await daemon.until_logged("batch_failed", mapping=f"reported_{service}")
            await daemon.until_logged("invocation_record_delivered", mapping=f"reported_{service}")
            await daemon.until_logged("destination_failed", mapping=f"refused_{service}")
        pages = [await daemon.get(path) for path in PAGES]
        assert await daemon.stop() == 0
    shown = daemon.text + "".join(page.text for page in pages)
    for secret in (CANARY, KEYS.secret_access_key, KEYS.session_token):
        assert secret is not None
        assert secret not in shown


async def test_neither_events_nor_the_admin_token_are_shown_to_a_person_who_acts(world: World) -> None:
    """The person has the token, and looks at all pages, moves a position, retries one stuck event and drops another."""
    world.aws.functions[BILL] = Parrot()
    clicks, failures, bill = world.aws.create_stream("clicks"), world.queue("failures"), FunctionName("bill")
    world.aws.kinesis.put(clicks, CANARY, orjson.dumps({CANARY: 1}))
    now = time.time()
    answer = LastAttempt(status_code=200, payload=f'"{CANARY}"'.encode())
    ending = Ending(condition="RetriesExhausted", at=now, last=answer, deliveries=("on_failure",), rejections=3)
    events = [
        event(now, function=bill, payload=f'"{CANARY}"'.encode(), stuck="AccessDenied: no", ending=ending)
        for _ in range(2)
    ]
    with shared(world.folder / "events.db") as file:
        put(file, events)
    world.environment["ADMIN"] = HEADER
    world.options = f'admin_token = "${{ADMIN}}"\nevent_queue = "sqlite://{world.folder}/events.db"'
    text = f"""
        [functions.bill]
        arn = "{BILL}"
        event_invoke_config.destination_config.on_failure.destination = "{failures.arn}-missing"

        [mappings.clicks]
        event_source_arn = "{clicks.arn}"
        function_name = "bill"
        starting_position = "TRIM_HORIZON"
    """
    of_acting = [f"{path}?mapping=clicks" for path in ("/position", "/api/positions")]
    of_acting += [f"{path}?function=bill" for path in ("/events", "/api/events")]
    shown = ""
    async with world.daemon(text, "--verbose") as daemon:
        await daemon.until_logged("batch_invoked", mapping="clicks")
        address = (await daemon.until_logged("daemon_started"))["http"]
        headers = {"Authorization": f"Bearer {HEADER}"}
        async with ClientSession(f"http://{address}", headers=headers) as client:
            calls: list[tuple[str, dict[str, object]]] = [
                ("/api/pause", {"mapping": "clicks"}),
                ("/api/position", {"mapping": "clicks", "position": "LATEST", "only_shows": True}),
                ("/api/event", {"function": "bill", "action": "drop", "request_id": events[0].request_id}),
                ("/api/event", {"function": "bill", "action": "retry", "request_id": None}),
            ]
            for path in (*PAGES, *of_acting):
                async with client.get(path) as page:
                    shown += await page.text()
                    assert page.status == 200, (path, shown)
            for path, body in calls:
                async with client.post(path, json=body) as made:
                    shown += await made.text()
                    assert made.status == 200, (path, shown)
        await daemon.until_logged("event_delivery_failed", function="bill")
        assert await daemon.stop() == 0
    assert "AccessDenied: no" in shown
    for secret in (CANARY, HEADER, KEYS.secret_access_key, KEYS.session_token):
        assert secret is not None
        assert secret not in daemon.text + shown


async def test_a_url_that_cannot_be_reached_is_logged_without_its_secrets(world: World) -> None:
    """One host does not listen, another does not answer; the user, the path and the query of the url are secret."""
    queues = {name: world.queue(f"queue-of-{name}") for name in ("refused", "silent", "pool")}
    for queue in queues.values():
        world.send(queue, "{}")
    world.environment["URL_SECRET"] = HEADER
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        refused, silent = 1, full.getsockname()[1]
        urls = {
            name: f"http://user:${{URL_SECRET}}@127.0.0.1:{port}/${{URL_SECRET}}?token=${{URL_SECRET}}"
            for name, port in (("refused", refused), ("silent", silent))
        }
        text = f"""
            [functions.refused]
            url = "{urls["refused"]}"
            timeout_in_seconds = 0.4

            [functions.silent]
            url = "{urls["silent"]}"
            timeout_in_seconds = 0.4

            [functions.pool]
            urls = ["{urls["refused"]}", "{urls["silent"]}"]
            timeout_in_seconds = 0.4
        """ + "".join(
            f"""
            [mappings.{name}]
            event_source_arn = "{queue.arn}"
            function_name = "{name}"
            """
            for name, queue in queues.items()
        )
        with socket.create_connection(("127.0.0.1", silent)):  # fills the backlog: the next one gets no answer
            async with world.daemon(text, "--verbose") as daemon:
                for name in queues:
                    await daemon.until_logged("invocation_postponed", mapping=name)
                await daemon.until_logged("url_suspended", function="pool")
                pages = [await daemon.get(path) for path in PAGES]
                assert await daemon.stop() == 0
    assert f"no connection to 127.0.0.1:{silent} in time" in daemon.text
    assert HEADER not in daemon.text + "".join(page.text for page in pages)


async def test_a_garbled_answer_shows_no_secret(world: World) -> None:
    """Each mapping gets a garbled answer: from a proxy that refuses, a proxy that forwards, STS, AWS or a function."""
    orders = world.queue("orders")
    world.send(orders, CANARY)
    world.environment["HEADER"] = HEADER

    async def garble(request: Request) -> Drop:
        if request.method == "CONNECT":
            return Drop(f"HTTP/1.1 407 {CANARY}\r\nContent-Length: 0\r\n\r\n".encode())
        seen = "".join([*request.headers.values(), request.body.decode(), CANARY])
        return Drop(f"HTTP/1.1 200 -\r\nTransfer-Encoding: chunked\r\n\r\n{seen}\r\n".encode())

    async def half_an_answer(_: Request) -> Reply:
        keys = f"<SecretAccessKey>{CANARY}</SecretAccessKey><SessionToken>{CANARY}</SessionToken>"
        return Reply(body=f"<AssumeRoleResponse><AssumeRoleResult><Credentials>{keys}".encode())

    async with http_server(garble) as garbling, http_server(half_an_answer) as sts:
        proxy = garbling.url.replace("//", f"//user:{HEADER}@")
        world.environment |= {"http_proxy": proxy, "https_proxy": proxy, "no_proxy": "127.0.0.1"}
        text = f"""
            [daemon.endpoints]
            sts = "{sts.url}"
            kinesis = "https://kinesis.invalid"
            dynamodbstreams = "http://dynamodb.invalid"

            [functions.service]
            url = "{garbling.url.replace("//", "//user:${HEADER}@")}/${{HEADER}}?token=${{HEADER}}"
            headers = {{ X-Token = "${{HEADER}}" }}

            [mappings.function]
            event_source_arn = "{orders.arn}"
            function_name = "service"

            [mappings.role]
            event_source_arn = "{orders.arn}"
            function_name = "{BILL}"
            role_arn = "arn:aws:iam::123456789012:role/reader"

            [mappings.tunnel]
            event_source_arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"
            function_name = "{BILL}"
            starting_position = "LATEST"

            [mappings.forwarded]
            event_source_arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/users/stream/2026-01-01T00:00:00.000"
            function_name = "{BILL}"
            starting_position = "LATEST"
        """
        async with world.daemon(text, "--verbose") as daemon:
            for name in ("role", "tunnel", "forwarded"):
                await daemon.until_logged("source_failed", mapping=name)
            await daemon.until_logged("batch_failed", mapping="function")
            pages = [await daemon.get(path) for path in PAGES]
            assert await daemon.stop() == 0
    shown = daemon.text + "".join(page.text for page in pages)
    for secret in (CANARY, HEADER, KEYS.secret_access_key, KEYS.session_token):
        assert secret is not None
        assert secret not in shown
    assert not daemon.logged("mapping_crashed")


def shared_file(folder: Path) -> Callable[[Credentials], None]:
    """Return a function that writes credentials into the shared file."""

    def write(keys: Credentials) -> None:
        (folder / "credentials").write_text(
            f"[default]\naws_access_key_id={keys.access_key_id}\naws_secret_access_key={keys.secret_access_key}\n"
            f"aws_session_token={keys.session_token}\n"
        )

    return write


def credential_process(folder: Path) -> Callable[[Credentials], None]:
    """Return a function that writes the credentials that a credential process prints."""
    answer = folder / "answer.json"
    command = f"{sys.executable} -c \"print(open('{answer}').read())\""
    (folder / "config").write_text(f"[default]\ncredential_process = {command}\n")

    def write(keys: Credentials) -> None:
        of_keys = {"AccessKeyId": keys[0], "SecretAccessKey": keys[1], "SessionToken": keys[2]}
        answer.write_bytes(orjson.dumps({"Version": 1, "Expiration": "2099-01-01T00:00:00Z", **of_keys}))

    return write


@pytest.mark.parametrize("source", [shared_file, credential_process])
async def test_new_credentials_are_used_while_the_daemon_runs(
    world: World, source: Callable[[Path], Callable[[Credentials], None]]
) -> None:
    """The service suddenly refuses the old credentials, long before they expire."""
    orders = world.queue("orders")
    bill = world.aws.functions[BILL] = FakeTarget()
    world.environment = environment(
        None,
        AWS_CONFIG_FILE=str(world.folder / "config"),
        AWS_SHARED_CREDENTIALS_FILE=str(world.folder / "credentials"),
    )
    write = source(world.folder)
    write(KEYS)
    text = f"""
        [mappings.orders]
        event_source_arn = "{orders.arn}"
        function_name = "{BILL}"
    """
    async with world.daemon(text) as daemon:
        world.send(orders, "{}")
        await world.until_deleted(orders, 1)
        write(RENEWED)
        world.aws.signatures.knows(RENEWED)
        assert KEYS.session_token is not None
        world.aws.signatures.expired.add(KEYS.session_token)
        world.send(orders, "{}")
        await world.until_deleted(orders, 2)
        assert (await daemon.get("/readyz")).status == 200
        assert await daemon.stop() == 0
    accepted = world.aws.signatures.accepted
    assert [KEYS.access_key_id in request.headers["authorization"] for request in (accepted[0], accepted[-1])] == [
        True,
        False,
    ]
    assert len(world.aws.server.requests) > len(accepted), "the old keys were refused"
    assert not daemon.logged("source_failed")
    assert not daemon.logged("invocation_postponed")
    assert len(bill.calls) == 2


async def test_credentials_that_appear_late_are_used_too(world: World) -> None:
    """Until then the mapping shows the reason."""
    orders = world.queue("orders")
    bill = world.aws.functions[BILL] = FakeTarget()
    world.environment = environment(None, AWS_SHARED_CREDENTIALS_FILE=str(world.folder / "credentials"))
    write = shared_file(world.folder)
    write(RENEWED)
    text = f"""
        [mappings.orders]
        event_source_arn = "{orders.arn}"
        function_name = "{BILL}"
    """
    world.send(orders, "{}")
    async with world.daemon(text) as daemon:
        refused = await daemon.until_logged("source_failed", level="error")
        assert refused["code"] == "UnrecognizedClientException"
        assert "UnrecognizedClientException" in (await daemon.get("/readyz")).json()["mappings"]["orders"]["reason"]
        write(KEYS)
        await world.until_deleted(orders, 1)
        assert (await daemon.get("/readyz")).status == 200
        assert await daemon.stop() == 0
    assert len(bill.calls) == 1
