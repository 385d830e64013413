"""Do AWS's own clients understand the server of Lambda's API, and which requests does the server refuse?"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from typing import Any

import anyio
import anyio.to_thread
import botocore.session
import orjson
import pytest
from aiohttp import ClientSession
from botocore.config import Config
from botocore.exceptions import ClientError

from poller import errors
from poller.admin.connections import Connections
from poller.admin.guard import ANOTHER_SITE, WRONG_HOST
from poller.facts import ApiRequestFailed, ApiRequestRejected
from poller.lambda_api.server import Access
from poller.model.arn import Arn
from poller.model.function import EventInvokeConfig, Function
from poller.model.ids import FunctionName
from poller.model.invocation import (
    Answered,
    FunctionError,
    LostAnswer,
    Response,
    Throttled,
    TooLarge,
    Unreachable,
)
from tests.fakes.api import FakeFunctions
from tests.fakes.functions import ALIAS, ARN, TRACE, TRACEPARENT, callable_kind, function

pytestmark = pytest.mark.anyio

KEYS = Access(keys={"AKID": "secret"}, region="eu-west-1")
ERROR = FunctionError(error_type="ValueError", message="no", payload=b'{"errorType":"ValueError","errorMessage":"no"}')
PATH = "/2015-03-31/functions/insert_records/invocations"
GONE = "arn:aws:lambda:eu-west-1:123456789012:function:gone"
UNREADABLE = "Could not parse request body into json: Could not parse payload into json: "


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


SESSION = botocore.session.Session()


def client_of(url: str, *, secret: str = "secret", token: str | None = None) -> Any:
    return SESSION.create_client(
        "lambda",
        region_name="eu-west-1",
        endpoint_url=url,
        aws_access_key_id="AKID",
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=Config(retries={"total_max_attempts": 1}, proxies={}),
    )


async def asked(functions: FakeFunctions, ask: Callable[[Any], Any], *, access: Access = KEYS) -> Any:
    """Return the answer that botocore's client gets from a server."""
    async with functions.served(access) as url:
        with anyio.fail_after(60):
            return await anyio.to_thread.run_sync(lambda: ask(client_of(url)))


async def refused(functions: FakeFunctions, ask: Callable[[Any], Any]) -> tuple[int, str, dict[str, Any]]:
    """Return the status, the code and the whole answer of an error, as botocore reads the error."""

    def ask_in_vain(client: Any) -> Any:
        with pytest.raises(ClientError) as caught:
            ask(client)
        return caught.value.response

    answer = await asked(functions, ask_in_vain)
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer


def invoked(**how: Any) -> Callable[[Any], Any]:
    def ask(client: Any) -> Any:
        answer = client.invoke(**{"FunctionName": "insert_records"} | how)
        return answer | {"Payload": answer["Payload"].read()}

    return ask


@pytest.mark.parity("Invoke.InvocationType")
async def test_a_client_gets_the_answer_of_the_function() -> None:
    functions = FakeFunctions()
    answer = await asked(functions, invoked(Payload=b'{"n": 1}'))
    assert (answer["StatusCode"], answer["Payload"], answer["ExecutedVersion"]) == (200, b'{"n": 1}', "$LATEST")
    assert not answer.keys() & {"FunctionError", "LogResult"}
    (call,) = functions.called
    assert call.mapping is None
    assert call.invoked_arn == str(ARN)
    assert answer["ResponseMetadata"]["RequestId"] == call.request_id


@pytest.mark.parity("Invoke.ClientContext", "Invoke.LogType")
async def test_the_function_receives_the_context_and_the_trace_headers_of_the_client() -> None:
    functions = FakeFunctions()
    functions.response = Answered(b"1", "7", "END")
    context = base64.b64encode('{"custom": {"user": "Zoë"},\n "n": 1}'.encode()).decode()

    def ask(client: Any) -> Any:
        def add(request: Any, **_: Any) -> None:
            request.headers["X-Amzn-Trace-Id"] = TRACE
            request.headers["traceparent"] = TRACEPARENT

        client.meta.events.register("before-sign", add)
        return invoked(LogType="Tail", ClientContext=context, Qualifier="$LATEST")(client)

    answer = await asked(functions, ask)
    (call,) = functions.called
    assert (call.trace, call.traceparent, call.wants_log_tail) == (TRACE, TRACEPARENT, True)
    assert (call.payload, call.invoked_arn) == (b"{}", ALIAS.replace("live", "$LATEST"))
    assert b"\n" not in call.client_context
    assert call.client_context.isascii()
    assert orjson.loads(call.client_context) == {"custom": {"user": "Zoë"}, "n": 1}
    assert (answer["ExecutedVersion"], base64.b64decode(answer["LogResult"])) == ("7", b"END")


async def test_the_function_receives_a_trace_header_for_a_w3c_trace() -> None:
    functions = FakeFunctions()
    async with functions.served() as url, ClientSession(url) as client:
        await client.post(PATH, headers={"traceparent": "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01"})
    (call,) = functions.called
    assert call.trace == "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"


@pytest.mark.parity("Invoke.TenantId", "Invoke.DurableExecutionName")
@pytest.mark.parametrize("name", ["TenantId", "DurableExecutionName"])
async def test_a_parameter_for_a_feature_that_poller_lacks_has_no_effect(name: str) -> None:
    functions = FakeFunctions()
    answer = await asked(functions, invoked(Payload=b"[1]", **{name: "one"}))
    (call,) = functions.called
    assert (answer["StatusCode"], call.payload, call.client_context) == (200, b"[1]", b"")


@pytest.mark.parity("Invoke.InvocationType")
async def test_an_event_is_accepted_before_the_client_gets_the_answer() -> None:
    functions = FakeFunctions()
    answer = await asked(functions, invoked(InvocationType="Event", Payload=b"[1]"))
    assert (answer["StatusCode"], answer["Payload"]) == (202, b"")
    assert "ExecutedVersion" not in answer
    (event,) = functions.accepted
    assert (event.payload, event.invoked_arn, event.function) == (b"[1]", str(ARN), "insert_records")
    assert event.request_id == answer["ResponseMetadata"]["RequestId"]
    assert functions.called == []


@pytest.mark.parity("Invoke.InvocationType")
async def test_a_dry_run_does_not_call_the_function() -> None:
    functions = FakeFunctions()
    answer = await asked(functions, invoked(InvocationType="DryRun"))
    assert (answer["StatusCode"], answer["Payload"]) == (204, b"")
    assert functions.called == []


async def test_invoke_async_stores_an_event() -> None:
    functions = FakeFunctions()
    answer = await asked(
        functions, lambda client: client.invoke_async(FunctionName="insert_records", InvokeArgs=b"[2]")
    )
    assert answer["Status"] == 202
    assert [event.payload for event in functions.accepted] == [b"[2]"]


@pytest.mark.parametrize("response", [Answered(b'{"n":1}', log_tail="END"), ERROR])
async def test_a_client_of_the_streaming_call_gets_the_answer_as_one_chunk(response: Response) -> None:
    functions = FakeFunctions()
    functions.response = response

    def ask(client: Any) -> Any:
        answer = client.invoke_with_response_stream(FunctionName="insert_records", LogType="Tail")
        return answer["StatusCode"], answer["ExecutedVersion"], list(answer["EventStream"])

    status, version, events = await asked(functions, ask)
    assert (status, version) == (200, "$LATEST")
    if isinstance(response, Answered):
        assert events[0] == {"PayloadChunk": {"Payload": b'{"n":1}'}}
        assert events[1] == {"InvokeComplete": {"LogResult": base64.b64encode(b"END").decode()}}
    else:
        (complete,) = (event["InvokeComplete"] for event in events)
        assert (complete["ErrorCode"], json.loads(complete["ErrorDetails"])["errorMessage"]) == ("Unhandled", "no")


@pytest.mark.parametrize(
    ("response", "document"),
    [
        (ERROR, {"errorType": "ValueError", "errorMessage": "no"}),
        (
            FunctionError(error_type="HTTP.500", message="500: oops", payload=b"<html>"),
            {"errorType": "HTTP.500", "errorMessage": "500: oops"},
        ),
        (
            LostAnswer(reason="reset"),
            {
                "errorType": "LostAnswer",
                "errorMessage": "The answer of the function was lost, so nobody knows whether it ran: reset",
            },
        ),
    ],
)
async def test_a_client_gets_the_error_of_the_function_as_an_answer_with_status_200(
    response: Response, document: dict[str, str]
) -> None:
    functions = FakeFunctions()
    functions.response = response
    answer = await asked(functions, invoked())
    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
    assert orjson.loads(answer["Payload"]) == document


async def test_a_client_gets_null_if_the_function_returns_nothing() -> None:
    functions = FakeFunctions()
    functions.response = Answered(b"")
    assert (await asked(functions, invoked()))["Payload"] == b"null"


RESERVED = "ReservedFunctionConcurrentInvocationLimitExceeded"


@pytest.mark.parametrize(
    ("response", "status", "code", "members"),
    [
        (Throttled(reason=RESERVED), 429, "TooManyRequestsException", {"Reason": RESERVED, "Type": "User"}),
        (
            Throttled(reason="HTTP.429", retry_after=0.2),
            429,
            "TooManyRequestsException",
            {"Reason": "ConcurrentInvocationLimitExceeded"},
        ),
        (TooLarge(error_type="HTTP.413", message="413"), 413, "RequestTooLargeException", {"Type": "User"}),
        (Unreachable(reason="no process"), 502, "ResourceNotReadyException", {"Type": "Service"}),
    ],
)
async def test_a_client_gets_an_error_if_the_function_did_not_run(
    response: Response, status: int, code: str, members: dict[str, str]
) -> None:
    functions = FakeFunctions()
    functions.response = response
    answered = await refused(functions, invoked())
    assert answered[:2] == (status, code)
    assert members.items() <= answered[2].items()
    wanted = "1" if response == Throttled(reason="HTTP.429", retry_after=0.2) else None
    assert answered[2]["ResponseMetadata"]["HTTPHeaders"].get("retry-after") == wanted


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.QueueFull("full", code="full", retry_after=900.0), 429, "TooManyRequestsException"),
        (errors.Rejected("no events here", code="NoEventQueue"), 400, "InvalidParameterValueException"),
        (errors.Rejected("a byte", code="InvalidMessageContents"), 400, "InvalidParameterValueException"),
        (errors.Rejected("too large for SQS", code="EventTooLarge"), 413, "RequestTooLargeException"),
        (errors.Rejected("a newer version wrote the file", code="EventQueueUnusable"), 503, "ServiceException"),
        (errors.EventQueueRefused("it has a redrive policy", code="RedrivePolicy"), 503, "ServiceException"),
        (errors.Unreachable("reset", code="x", was_sent=True), 503, "ServiceException"),
    ],
)
async def test_a_client_gets_an_error_if_its_event_was_not_stored(error: Exception, status: int, code: str) -> None:
    functions = FakeFunctions()
    functions.error = error
    answered = await refused(functions, invoked(InvocationType="Event"))
    assert answered[:2] == (status, code)
    if status == 429:
        assert answered[2]["Reason"] == "CallerRateLimitExceeded"
        assert answered[2]["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "60"


@pytest.mark.parametrize(
    ("how", "status", "code", "message"),
    [
        ({"Payload": b"{"}, 400, "InvalidRequestContentException", UNREADABLE),
        ({"Payload": b"\x87"}, 400, "InvalidRequestContentException", UNREADABLE),
        ({"FunctionName": "other"}, 404, "ResourceNotFoundException", "Function not found: arn:aws:lambda:eu-west-1:"),
        ({"InvocationType": "Now"}, 400, "ValidationException", "1 validation error detected: Value 'Now' at 'invoc"),
        ({"LogType": "All"}, 400, "ValidationException", "1 validation error detected: Value 'All' at 'logType'"),
        ({"ClientContext": "W10="}, 400, "InvalidRequestContentException", "Client context must be a valid Base64"),
        ({"ClientContext": "no"}, 400, "InvalidRequestContentException", "Client context must be a valid Base64"),
        ({"ClientContext": "A" * 3584}, 400, "InvalidRequestContentException", "Client context must have at most"),
        (
            {"Payload": b" " * 1_048_577, "InvocationType": "Event"},
            413,
            "RequestTooLargeException",
            "1048577 byte payload is too large for the Event invocation type (limit 1048576 bytes)",
        ),
        (
            {"Payload": b" " * 6_291_457},
            413,
            "RequestTooLargeException",
            "6291457 byte payload is too large for the RequestResponse invocation type (limit 6291456 bytes)",
        ),
    ],
)
@pytest.mark.parity("Invoke.Payload")
async def test_a_wrong_request_gets_the_error_of_aws(how: dict[str, Any], status: int, code: str, message: str) -> None:
    functions = FakeFunctions()
    answered = await refused(functions, invoked(**how))
    assert answered[:2] == (status, code)
    assert answered[2]["Error"]["Message"].startswith(message)
    assert (functions.called, functions.accepted) == ([], [])


@pytest.mark.parametrize("kind", ["RequestResponse", "Event"])
async def test_a_payload_with_half_of_a_surrogate_pair_is_json(kind: str) -> None:
    functions = FakeFunctions()
    payload = rb'{"cut": "\ud83d"}'
    await asked(functions, invoked(Payload=payload, InvocationType=kind))
    assert [call.payload for call in functions.called or functions.accepted] == [payload]


async def test_the_members_of_errors_have_the_letter_case_of_aws() -> None:
    functions = FakeFunctions()
    async with functions.served() as url, ClientSession(url) as client:
        async with client.post("/2015-03-31/functions/x/invocations") as answer:
            assert answer.headers["x-amzn-errortype"] == "ResourceNotFoundException"
            assert (await answer.json()).keys() == {"Type", "Message"}
        async with client.post(PATH, data=b"{") as answer:
            assert (await answer.json()).keys() == {"Type", "message"}
        async with client.post("/2015-03-31/functions/a:b:c/invocations/") as answer:
            assert (await answer.json()).keys() == {"message"}


async def test_the_describing_calls_return_the_settings_of_the_functions() -> None:
    functions = FakeFunctions()

    def ask(client: Any) -> list[Any]:
        name = {"FunctionName": "insert_records"}
        return [
            client.list_functions()["Functions"],
            client.get_function(**name)["Configuration"],
            client.get_function_configuration(**name, Qualifier="$LATEST"),
            client.list_versions_by_function(**name, MaxItems=10000)["Versions"],
            client.get_function_code_signing_config(**name),
            client.list_tags(Resource=str(ARN))["Tags"],
            client.get_account_settings()["AccountUsage"]["FunctionCount"],
            client.list_aliases(**name)["Aliases"],
        ]

    (listed,), got, qualified, (version,), signing, tags, count, aliases = await asked(functions, ask)
    assert listed == got
    assert (got["FunctionArn"], got["Handler"], got["Timeout"]) == (str(ARN), "f:handler", 60)
    assert qualified["FunctionArn"] == version["FunctionArn"] == f"{ARN}:$LATEST"
    assert signing["FunctionName"] == "insert_records"
    assert (tags, count, aliases) == ({}, 1, [])
    assert "Environment" not in got


@pytest.mark.parity("PutFunctionEventInvokeConfig.FunctionName", "PutFunctionEventInvokeConfig.Qualifier")
async def test_the_describing_calls_return_the_settings_of_asynchronous_events() -> None:
    sent_on = function(callable_kind("f:handler"))
    config = EventInvokeConfig(
        maximum_retry_attempts=0, on_success=sent_on.name, on_failure=Arn.parse("arn:aws:sqs:eu-west-1:123456789012:q")
    )
    functions = FakeFunctions(sent_on, replace(sent_on, name=FunctionName("set"), event_invoke_config=config))

    def ask(client: Any) -> list[Any]:
        listed = client.list_function_event_invoke_configs(FunctionName="set")["FunctionEventInvokeConfigs"]
        plain = client.list_function_event_invoke_configs(FunctionName="insert_records")["FunctionEventInvokeConfigs"]
        return [client.get_function_event_invoke_config(FunctionName="set"), listed, plain]

    got, (listed,), plain = await asked(functions, ask)
    assert got["DestinationConfig"] == {
        "OnSuccess": {"Destination": str(ARN)},
        "OnFailure": {"Destination": "arn:aws:sqs:eu-west-1:123456789012:q"},
    }
    assert (got["MaximumRetryAttempts"], got["FunctionArn"]) == (0, f"{ARN}:$LATEST")
    assert "MaximumEventAgeInSeconds" not in got
    assert (listed["FunctionArn"], plain) == (got["FunctionArn"], [])
    status, _, answer = await refused(
        functions, lambda client: client.get_function_event_invoke_config(FunctionName="insert_records")
    )
    assert status == 404
    assert answer["Error"]["Message"] == f"The function {ARN}:$LATEST doesn't have an EventInvokeConfig"


@pytest.mark.parametrize(
    ("call", "how", "message"),
    [
        ("get_function_event_invoke_config", {}, f"The function {GONE}:$LATEST doesn't have an EventInvokeConfig"),
        (
            "get_function_event_invoke_config",
            {"Qualifier": "live"},
            f"The function {GONE}:live doesn't have an EventInvokeConfig",
        ),
        (
            "get_function_event_invoke_config",
            {"FunctionName": "insert_records", "Qualifier": "live"},
            f"The function {ARN}:live doesn't have an EventInvokeConfig",
        ),
        ("list_function_event_invoke_configs", {}, "The function doesn't exist."),
        ("get_function", {}, f"Function not found: {GONE}"),
        ("get_function_concurrency", {}, f"Function not found: {GONE}"),
    ],
)
async def test_each_call_has_the_error_text_of_aws_for_a_missing_function(
    call: str, how: dict[str, str], message: str
) -> None:
    status, code, answer = await refused(
        FakeFunctions(), lambda client: getattr(client, call)(**{"FunctionName": "gone"} | how)
    )
    assert (status, code) == (404, "ResourceNotFoundException")
    assert answer["Error"]["Message"] == message


async def test_the_describing_calls_return_a_reserved_concurrency_only_if_it_is_set() -> None:
    unset = function(callable_kind("f:handler"))
    functions = FakeFunctions(
        unset,
        replace(unset, name=FunctionName("set"), reserved_concurrency=4, is_concurrency_reserved=True),
    )

    def ask(client: Any) -> list[Any]:
        return [
            client.get_function_concurrency(FunctionName="set").get("ReservedConcurrentExecutions"),
            client.get_function(FunctionName="set").get("Concurrency"),
            client.get_function_concurrency(FunctionName="insert_records").get("ReservedConcurrentExecutions"),
            client.get_function(FunctionName="insert_records").get("Concurrency"),
        ]

    assert await asked(functions, ask) == [4, {"ReservedConcurrentExecutions": 4}, None, None]


async def test_functions_are_listed_in_pages_of_at_most_fifty() -> None:
    plain = function(callable_kind("f:handler"))
    names = [f"f{number}" for number in range(51)]
    functions = FakeFunctions(*(renamed(plain, name) for name in names))

    def ask(client: Any) -> list[Any]:
        listings = [
            client.list_functions(),
            client.list_functions(Marker="50"),
            client.list_functions(MaxItems=3, Marker="46"),
            client.list_functions(MaxItems=10_000, Marker="1"),
            client.list_functions(Marker="51"),
        ]
        pages = client.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 20})
        every = [one["FunctionName"] for page in pages for one in page["Functions"]]
        return [*(([f["FunctionName"] for f in one["Functions"]], one.get("NextMarker")) for one in listings), every]

    first, last, short, whole, beyond, every = await asked(functions, ask)
    assert first == (names[:50], "50")
    assert last == (names[50:], None)
    assert short == (names[46:49], "49")
    assert whole == (names[1:], None)
    assert beyond == ([], None)
    assert every == names
    status, code, _ = await refused(functions, lambda client: client.list_functions(Marker="f7"))
    assert (status, code) == (400, "InvalidParameterValueException")


def renamed(one: Function, name: str) -> Function:
    return replace(one, name=FunctionName(name), arn=replace(one.arn, resource=f"function:{name}"))


@pytest.mark.parity("changes stand in the file")
async def test_the_error_of_a_call_that_would_change_the_settings_names_the_settings_file() -> None:
    functions = FakeFunctions()
    for ask in (
        lambda client: client.delete_function(FunctionName="insert_records"),
        lambda client: client.put_function_event_invoke_config(FunctionName="insert_records", MaximumRetryAttempts=0),
        lambda client: client.delete_function_concurrency(FunctionName="insert_records"),
    ):
        status, code, answer = await refused(functions, ask)
        assert (status, code) == (403, "AccessDeniedException")
        assert "/etc/poller.toml" in answer["Error"]["Message"]


# Which requests are refused?


@pytest.mark.parametrize("how", [{"secret": "wrong"}, {"token": "t"}])
async def test_a_wrong_signature_or_a_session_token_is_refused_and_reported(how: dict[str, str]) -> None:
    functions = FakeFunctions()
    async with functions.served(KEYS) as url:
        with pytest.raises(ClientError) as caught:
            await anyio.to_thread.run_sync(lambda: invoked()(client_of(url, **how)))
    answer: Any = caught.value.response
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert [fact.code for fact in functions.emit.of(ApiRequestRejected)] == [answer["Error"]["Code"]]
    assert functions.called == []


@pytest.mark.parity("signatures")
async def test_a_server_without_keys_ignores_signatures() -> None:
    functions = FakeFunctions()
    signed = {"Authorization": "whatever"}
    async with (
        functions.served() as url,
        ClientSession(url) as client,
        client.post(PATH + "/", data=b"[1]", headers=signed) as answer,
    ):
        assert (answer.status, await answer.read()) == (200, b"[1]")
    assert (await asked(functions, invoked(), access=Access()))["StatusCode"] == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Host": "evil.example"}, 421),
        ({"Host": "poller.internal"}, 200),
    ],
)
async def test_requests_from_other_sites_and_for_unknown_hosts_are_refused(
    headers: dict[str, str], status: int
) -> None:
    functions = FakeFunctions()
    access = Access(hosts=["poller.internal"])
    async with (
        functions.served(access) as url,
        ClientSession(url) as client,
        client.post(PATH, headers=headers) as answer,
    ):
        assert answer.status == status
        assert "X-Amzn-RequestId" in answer.headers
    reported = [(fact.code, fact.reason) for fact in functions.emit.of(ApiRequestRejected)]
    assert reported == ([] if status == 200 else [("AccessDeniedException", REASONS[status])])


REASONS = {403: ANOTHER_SITE.reason, 421: WRONG_HOST.reason}


async def test_only_a_request_that_is_not_let_in_is_reported_and_its_reason_is_cut() -> None:
    functions = FakeFunctions()
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    scope = f"AKID/{moment[:8]}/{'x' * 1000}/lambda/aws4_request"
    signature = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature={'0' * 64}"
    headers = {"X-Amz-Date": moment, "Authorization": signature}
    async with (
        functions.served(KEYS) as url,
        ClientSession(url) as client,
        client.post(PATH, headers=headers) as answer,
    ):
        assert answer.status == 403
    async with functions.served() as url, ClientSession(url) as client, client.post("/x") as answer:
        assert answer.status == 404
    (fact,) = functions.emit.of(ApiRequestRejected)
    assert fact.reason == f"Credential should be scoped to a valid region, not '{'x' * 1000}'."[:256]


async def answered(url: str, request: bytes) -> bytes:
    """Send a request as bytes, and return the first bytes of the answer."""
    host, _, port = url.removeprefix("http://").partition(":")
    with anyio.fail_after(60):
        async with await anyio.connect_tcp(host, int(port)) as connection:
            await connection.send(request)
            return await connection.receive()


async def test_a_client_that_leaves_before_the_end_of_its_body_is_no_bug_of_poller() -> None:
    functions = FakeFunctions()
    head = f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
    async with functions.served() as url:
        assert await answered(url, head.encode()) == b"HTTP/1.1 100 Continue\r\n\r\n"
        await answered(url, f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n".encode())
    assert len(functions.called) == 1
    assert functions.emit.of(ApiRequestFailed) == []


@pytest.mark.parametrize(
    ("path", "header"),
    [
        (PATH, b"X-Amz-Invocation-Type: \xff"),
        ("/2015-03-31/functions/%ff/invocations", b"A: b"),
        (f"{PATH}?Qualifier=%ff", b"A: b"),
    ],
)
async def test_bytes_that_are_not_utf_8_get_an_error_of_aws(path: str, header: bytes) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n"
    async with FakeFunctions().served() as url:
        answer = await answered(url, head.encode() + header + b"\r\n\r\n")
    assert answer.split(b" ")[1] == b"400"
    assert "Value '\ufffd' at".encode() in answer


async def test_a_body_that_claims_to_be_compressed_is_taken_as_it_was_sent_and_signed() -> None:
    sent: dict[str, Any] = {"data": b"[1]", "headers": {"Content-Encoding": "gzip"}}
    async with FakeFunctions().served() as url, ClientSession(url) as client, client.post(PATH, **sent) as answer:
        assert (answer.status, await answer.read()) == (200, b"[1]")


async def test_every_answer_forbids_a_browser_to_keep_it_or_to_guess_its_type() -> None:
    wanted = {"Server": "poller", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    async with FakeFunctions().served() as url, ClientSession(url) as client:
        for path in (PATH, "/x"):
            async with client.post(path) as answer:
                assert {name: answer.headers[name] for name in wanted} == wanted
                assert answer.content_type == "application/json"


async def test_a_call_may_take_longer_than_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    allowed: list[float] = []

    class Recording(Connections):
        @contextmanager
        def working(self, transport: asyncio.Transport | None, seconds: float) -> Iterator[None]:
            allowed.append(seconds)
            with super().working(transport, seconds):
                yield

    monkeypatch.setattr("poller.lambda_api.server.Connections", Recording)
    async with FakeFunctions().served() as url, ClientSession(url) as client, client.post(PATH) as answer:
        assert answer.status == 200
    assert allowed == [30, 100_000]


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"s3cret\r\n\r\n",
        b"\x16\x03\x01\x02\x00s3cret",
        b"POST /s3cret HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\ns3cret\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: s3cret\r\n\r\n",
        b"POST /" + b"s3cret" * 2000 + b" HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nAuthorization: " + b"s3cret" * 2000 + b"\r\n\r\n",
    ],
)
async def test_a_request_that_is_not_http_gets_an_error_of_aws_without_its_bytes(request_bytes: bytes) -> None:
    functions, answer = FakeFunctions(), b""
    async with functions.served() as url:
        host, _, port = url.removeprefix("http://").partition(":")
        with anyio.fail_after(60):
            async with await anyio.connect_tcp(host, int(port)) as connection:
                await connection.send(request_bytes)
                async for part in connection:
                    answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split(b" ")[1] == b"400"
    assert b"X-Amzn-ErrorType: InvalidRequestContentException" in head
    assert orjson.loads(body).keys() == {"Type", "message"}
    assert b"s3cret" not in answer
    assert functions.emit.of(ApiRequestFailed) == []


async def test_two_hundred_clients_keep_their_connections() -> None:
    request = f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 3\r\n\r\n[1]".encode()
    async with FakeFunctions().served() as url, AsyncExitStack() as clients:
        host, _, port = url.removeprefix("http://").partition(":")
        connections = [await clients.enter_async_context(await anyio.connect_tcp(host, int(port))) for _ in range(200)]
        with anyio.fail_after(60):
            for connection in connections * 2:
                await connection.send(request)
                assert (await connection.receive()).startswith(b"HTTP/1.1 200")


async def test_a_bug_of_poller_is_reported_and_the_client_sees_no_detail() -> None:
    functions = FakeFunctions()
    functions.error = ZeroDivisionError("s3cret")
    async with functions.served() as url, ClientSession(url) as client, client.post(PATH) as answer:
        assert answer.status == 500
        assert "s3cret" not in await answer.text()
    assert len(functions.emit.of(ApiRequestFailed)) == 1


async def test_a_client_gets_503_if_the_function_cannot_be_opened() -> None:
    functions = FakeFunctions()
    functions.error = errors.SettingsError(["no such program"])
    async with functions.served() as url, ClientSession(url) as client, client.post(PATH) as answer:
        assert answer.status == 503


async def test_no_client_can_connect_after_the_stop_has_begun() -> None:
    functions, stopping = FakeFunctions(), anyio.Event()
    async with functions.served(stopping=stopping) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        stopping.set()
        with anyio.fail_after(60):
            while True:
                try:
                    await (await anyio.connect_tcp(host, int(port))).aclose()
                except OSError:
                    break


async def test_the_server_does_not_wait_for_a_connection_without_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("poller.lambda_api.server._SHUTDOWN_SECONDS", 3600.0)
    with anyio.fail_after(10):  # aiohttp itself ends such a connection after 15 seconds
        async with ClientSession() as client, FakeFunctions().served() as url:
            answer = await client.post(url + PATH, data=b"1")
            assert await answer.read() == b"1"


async def test_one_connection_carries_several_calls_in_sequence() -> None:
    functions = FakeFunctions()
    async with functions.served() as url, ClientSession(url) as client:
        for number in range(3):
            async with client.post(PATH, data=str(number)) as answer:
                assert await answer.read() == str(number).encode()
        assert len(client.connector._conns) == 1  # type: ignore[union-attr]
