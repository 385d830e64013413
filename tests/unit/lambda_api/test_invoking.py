"""What happens in the calls that invoke a function? The requests do not go over HTTP."""

from __future__ import annotations

import base64
from typing import Any

import anyio
import orjson
import pytest

from poller import errors
from poller.lambda_api.errors import ApiError
from poller.lambda_api.exchange import Answer, Request
from poller.lambda_api.invoking import PASSED_ON
from poller.model.function import Function
from poller.model.ids import RequestId
from poller.model.invocation import Answered, FunctionError, LostAnswer, Response, Unreachable
from tests.fakes.api import FakeFunctions
from tests.fakes.functions import ARN, TRACE, TRACEPARENT

NAME = "insert_records"
INVOKE = ("2015-03-31", "functions", NAME, "invocations")
INVOKE_ASYNC = ("2014-11-13", "functions", NAME, "invoke-async")
STREAM = ("2021-11-15", "functions", NAME, "response-streaming-invocations")
EVENT = {"x-amz-invocation-type": "Event"}
TAIL = {"x-amz-log-type": "Tail"}


def answer(functions: FakeFunctions, *segments: str, **parts: Any) -> Answer:
    request = Request(method="POST", segments=segments, request_id=RequestId("r-1"), **parts)
    return anyio.run(functions.routes().answer, request)


def refused(functions: FakeFunctions, *segments: str, **parts: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        answer(functions, *segments, **parts)
    assert (functions.called, functions.accepted) == ([], [])
    return caught.value


def answering(response: Response) -> FakeFunctions:
    functions = FakeFunctions()
    functions.response = response
    return functions


@pytest.mark.parametrize(
    ("segments", "headers", "limit_in_bytes", "kind"),
    [
        (INVOKE, {}, 6_291_456, "RequestResponse"),
        (INVOKE, {"x-amz-invocation-type": "DryRun"}, 6_291_456, "DryRun"),
        (INVOKE, EVENT, 1_048_576, "Event"),
        (INVOKE_ASYNC, {}, 262_144, "Event"),
    ],
)
def test_each_call_has_a_limit_on_its_payload(
    segments: tuple[str, ...], headers: dict[str, str], limit_in_bytes: int, kind: str
) -> None:
    assert answer(FakeFunctions(), *segments, headers=headers, body=b"1" + b" " * (limit_in_bytes - 1)).status < 300
    error = refused(FakeFunctions(), *segments, headers=headers, body=b"1" + b" " * limit_in_bytes)
    assert (error.status, error.code) == (413, "RequestTooLargeException")
    assert f" for the {kind} invocation type (limit {limit_in_bytes} bytes)" in str(error)


def test_a_dry_run_checks_the_payload() -> None:
    error = refused(FakeFunctions(), *INVOKE, headers={"x-amz-invocation-type": "DryRun"}, body=b"{")
    assert (error.status, error.code) == (400, "InvalidRequestContentException")


def test_an_event_keeps_the_trace_headers_and_has_an_empty_object_without_a_payload() -> None:
    functions = FakeFunctions()
    headers = EVENT | {"x-amzn-trace-id": TRACE, "traceparent": TRACEPARENT}
    assert answer(functions, *INVOKE, headers=headers) == Answer(status=202)
    (event,) = functions.accepted
    assert (event.payload, event.trace, event.traceparent) == (b"{}", TRACE, TRACEPARENT)
    assert (event.request_id, event.invoked_arn) == ("r-1", str(ARN))


def test_the_error_says_that_an_event_may_not_be_stored() -> None:
    functions = FakeFunctions()
    functions.error = errors.Unreachable("reset", code="x", was_sent=True)
    error = refused(functions, *INVOKE, headers=EVENT)
    assert (error.status, error.body) == (503, {"Type": "Service", "Message": "the event may not be stored: reset"})


@pytest.mark.parametrize(
    "context",
    [
        "",
        "e3*0=",
        "A" * 3580,
        "A" * 3583,
        base64.b64encode(b'{"n": NaN}').decode(),
        base64.b64encode(b'{"n": ' + b"[" * 1015 + b"]" * 1015 + b"}").decode(),
    ],
)
def test_a_client_context_must_be_a_json_object_in_base64(context: str) -> None:
    error = refused(FakeFunctions(), *INVOKE, headers={"x-amz-client-context": context})
    assert str(error) == "Client context must be a valid Base64-encoded JSON object."


ERROR = FunctionError(error_type="E", message="no", payload=b'{"errorType":"E"}', executed_version="7", log_tail="END")


@pytest.mark.parametrize("response", [Answered(b"1", "7", "END"), ERROR])
def test_an_answer_has_the_log_tail_only_if_the_client_wants_it(response: Response) -> None:
    assert "X-Amz-Log-Result" not in answer(answering(response), *INVOKE).headers
    headers = answer(answering(response), *INVOKE, headers=TAIL).headers
    assert headers["X-Amz-Log-Result"] == base64.b64encode(b"END").decode()
    assert headers["X-Amz-Executed-Version"] == "7"


def test_a_lost_answer_has_no_log_tail() -> None:
    assert "X-Amz-Log-Result" not in answer(answering(LostAnswer(reason="reset")), *INVOKE, headers=TAIL).headers


@pytest.mark.parametrize("response", [Answered(b"1", "7", "END"), ERROR])
def test_a_stream_carries_the_error_and_the_log_tail_instead_of_headers(response: Response) -> None:
    streamed = answer(answering(response), *STREAM, headers=TAIL)
    assert (streamed.status, streamed.content_type) == (200, "application/vnd.amazon.eventstream")
    assert streamed.headers == {"X-Amz-Executed-Version": "7"}


def test_a_dry_run_of_the_streaming_call_has_no_stream() -> None:
    assert answer(FakeFunctions(), *STREAM, headers={"x-amz-invocation-type": "DryRun"}) == Answer(status=204)


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (Unreachable(reason="HTTP.500", detail="host: 500"), "The function cannot be reached: host: 500"),
        (Unreachable(reason="no process"), "The function cannot be reached: no process"),
    ],
)
def test_the_error_says_why_a_function_cannot_be_reached(response: Unreachable, message: str) -> None:
    with pytest.raises(ApiError) as caught:
        answer(answering(response), *INVOKE)
    assert (caught.value.status, caught.value.body) == (502, {"Type": "Service", "Message": message})


def test_the_error_for_a_function_that_is_missing_on_lambda_is_that_of_lambda() -> None:
    with pytest.raises(ApiError) as caught:
        answer(answering(Unreachable(reason="ResourceNotFoundException")), *INVOKE)
    assert (caught.value.status, caught.value.code) == (404, "ResourceNotFoundException")
    assert str(caught.value) == f"Function not found: {ARN}:$LATEST"


def test_the_error_for_a_missing_function_names_its_arn_with_latest() -> None:
    error = refused(FakeFunctions(), "2015-03-31", "functions", "gone", "invocations")
    arn = str(ARN).replace(NAME, "gone")
    assert orjson.loads(orjson.dumps(error.body)) == {"Type": "User", "Message": f"Function not found: {arn}:$LATEST"}


def test_the_error_of_a_call_that_would_change_the_settings_has_only_a_message() -> None:
    error = refused(FakeFunctions(), "2015-03-31", "functions")
    message = "This call would change what the settings file says: change /etc/poller.toml instead."
    assert (error.status, error.body) == (403, {"Message": message})


def test_a_path_that_is_not_of_the_api_is_an_unknown_operation() -> None:
    for segments in ((), ("invocations",), ("2015-03-31x", "functions", "f")):
        error = refused(FakeFunctions(), *segments)
        assert (error.status, error.code) == (404, "UnknownOperationException")
        assert str(error) == "poller serves no call POST of this path"


class OtherWorker:
    """Another worker, which gives each call the same answer."""

    def __init__(self, answer: Answer | LostAnswer | None) -> None:
        self.requests: list[Request] = []
        self._answer = answer

    async def make(self, _function: Function, request: Request, /) -> Answer | LostAnswer | None:
        self.requests.append(request)
        return self._answer


def busy(other: OtherWorker) -> FakeFunctions:
    functions = FakeFunctions()
    functions.is_busy, functions.pass_on = True, other.make
    return functions


def test_a_client_gets_the_answer_of_the_worker_that_has_made_the_call() -> None:
    theirs = Answer(body=b"2", headers={"X-Amzn-RequestId": "r-2"})
    other = OtherWorker(theirs)
    assert answer(busy(other), *INVOKE, body=b"1") is theirs
    assert [request.body for request in other.requests] == [b"1"]
    assert answer(busy(OtherWorker(None)), *INVOKE, body=b"1").body == b"1", "no other worker has made it"


def test_a_stream_has_the_answer_of_the_worker_that_has_made_the_call() -> None:
    theirs = Answer(body=b"2", headers={"X-Amzn-RequestId": "r-2", "X-Amz-Log-Result": "RU5E"})
    functions = FakeFunctions()
    functions.response = Answered(b"2", log_tail="END")
    same = answer(functions, *STREAM, headers=TAIL)
    streamed = answer(busy(OtherWorker(theirs)), *STREAM, headers=TAIL)
    assert (streamed.body, streamed.content_type) == (same.body, same.content_type)
    assert streamed.headers == {"X-Amzn-RequestId": "r-2"}


def test_a_call_is_passed_on_only_once() -> None:
    other = OtherWorker(Answer())
    error = refused(busy(other), *INVOKE, headers={PASSED_ON: "1"})
    assert (error.status, str(error), other.requests) == (503, "this worker may not begin the call now", [])


@pytest.mark.parametrize("kind", ["Event", "DryRun"])
def test_only_a_call_of_the_function_is_passed_on(kind: str) -> None:
    other = OtherWorker(Answer())
    assert answer(busy(other), *INVOKE, headers={"x-amz-invocation-type": kind}).status in (202, 204)
    assert other.requests == []
