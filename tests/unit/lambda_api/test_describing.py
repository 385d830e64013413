"""What do clients learn from the calls that describe functions? The requests do not go over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import anyio
import orjson
import pytest

from poller.lambda_api.errors import ApiError
from poller.lambda_api.exchange import Request
from poller.model.arn import Arn
from poller.model.function import ChildProcess, EventInvokeConfig, Function, LambdaApi
from poller.model.ids import FunctionName, RequestId
from tests.fakes.api import FakeFunctions
from tests.fakes.functions import callable_kind, function

HANDLER = callable_kind("f:handler")
BILL = Function(
    name=FunctionName("bill"),
    arn=Arn.parse("arn:aws:lambda:eu-west-1:123456789012:function:billing:live"),
    kind=LambdaApi(name="billing", qualifier="live", region="eu-west-1"),
    timeout_in_seconds=1.5,
    reserved_concurrency=1,
)
BILLING = "arn:aws:lambda:eu-west-1:123456789012:function:billing"
QUEUE = Arn.parse("arn:aws:sqs:eu-west-1:123456789012:q")


def got(one: Function, path: str, query: Mapping[str, str] | None = None) -> Any:
    request = Request(method="GET", segments=path.split("/"), query=query or {}, request_id=RequestId("r-1"))
    return orjson.loads(anyio.run(FakeFunctions(one).routes().answer, request).body)


def refused(path: str, query: Mapping[str, str]) -> tuple[int, str]:
    with pytest.raises(ApiError) as caught:
        got(BILL, path, query)
    return caught.value.status, str(caught.value)


def test_a_function_on_lambda_is_described_by_its_own_name_and_qualifier() -> None:
    wanted = {"FunctionName": "billing", "FunctionArn": BILLING, "Version": "live", "Timeout": 2}
    assert wanted.items() <= got(BILL, "2015-03-31/functions/bill/configuration").items()
    (version,) = got(BILL, "2015-03-31/functions/bill/versions")["Versions"]
    qualified = got(BILL, "2015-03-31/functions/bill", {"Qualifier": "live"})["Configuration"]
    assert version["FunctionArn"] == qualified["FunctionArn"] == f"{BILLING}:live"
    assert got(BILL, "2020-06-30/functions/bill/code-signing-config") == {"FunctionName": "billing"}


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        (HANDLER, {"Handler": "f:handler"}),
        (replace(HANDLER, memory_size_in_mb=512), {"Handler": "f:handler", "MemorySize": 512}),
        (replace(HANDLER, handler=None, command=("node", "f.mjs")), {}),
    ],
)
def test_a_child_process_has_a_handler_and_a_memory_size_only_if_the_settings_say_so(
    kind: ChildProcess, shown: dict[str, object]
) -> None:
    document = got(function(kind), "2015-03-31/functions/insert_records/configuration")
    assert {name: document[name] for name in ("Handler", "MemorySize") if name in document} == shown


@pytest.mark.parametrize(
    ("config", "document"),
    [
        (EventInvokeConfig(maximum_event_age_in_seconds=60), {"MaximumEventAgeInSeconds": 60}),
        (EventInvokeConfig(maximum_retry_attempts=0), {"MaximumRetryAttempts": 0}),
        (
            EventInvokeConfig(on_success=QUEUE),
            {"DestinationConfig": {"OnSuccess": {"Destination": str(QUEUE)}, "OnFailure": {}}},
        ),
    ],
)
def test_one_option_is_enough_for_an_event_invoke_config(config: EventInvokeConfig, document: dict[str, Any]) -> None:
    path = "2019-09-25/functions/bill/event-invoke-config"
    empty = {"FunctionArn": f"{BILLING}:live", "DestinationConfig": {"OnSuccess": {}, "OnFailure": {}}}
    assert got(replace(BILL, event_invoke_config=config), path) == empty | document


@pytest.mark.parametrize("number", ["²", "100000", "-1", "", "1.5"])
def test_the_number_of_items_must_be_a_number_of_at_most_five_digits(number: str) -> None:
    error = refused("2015-03-31/functions", {"MaxItems": number})
    assert error == (400, "MaxItems must be a number of at most five digits")


def test_a_page_has_at_least_one_function() -> None:
    for number in ("0", "99999"):
        assert len(got(BILL, "2015-03-31/functions", {"MaxItems": number})["Functions"]) == 1


def test_a_missing_function_has_no_tags() -> None:
    assert refused("2017-03-31/tags/gone", {})[0] == 404
