"""Which function does a request name?"""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from poller.lambda_api.errors import ApiError
from poller.lambda_api.names import NAME_PATTERN, QUALIFIER_PATTERN, Home, Name, find, parse
from poller.model.arn import Arn, unqualified
from poller.model.function import Function, LambdaApi
from poller.model.ids import FunctionName
from tests.fakes.functions import function, http_kind

HERE = function(http_kind("http://f.fake"))
ARN = "arn:aws:lambda:eu-west-1:123456789012:function:insert_records"
ON_LAMBDA = Function(
    name=FunctionName("bill"),
    arn=Arn.parse("arn:aws:lambda:eu-west-1:123456789012:function:billing:live"),
    kind=LambdaApi(name="billing", qualifier="live", region="eu-west-1"),
    timeout_in_seconds=1,
    reserved_concurrency=1,
)
FUNCTIONS = {HERE.name: HERE, ON_LAMBDA.name: ON_LAMBDA}
HOME = Home(region="eu-west-1", account="123456789012")
UNEQUAL = "The derived qualifier from the function name does not match the specified qualifier."


def found(written: str, qualifier: str | None = None) -> tuple[str, str]:
    answer = find(parse(written, qualifier), FUNCTIONS, HOME, shows_latest=True)
    return answer.function.name, answer.invoked_arn


def error(written: str, qualifier: str | None = None, *, shows_latest: bool = True) -> tuple[str, str]:
    with pytest.raises(ApiError) as caught:
        find(parse(written, qualifier), FUNCTIONS, HOME, shows_latest=shows_latest)
    return caught.value.code, str(caught.value)


@pytest.mark.parametrize(
    "written",
    [
        "insert_records",
        "function:insert_records",
        "123456789012:insert_records",
        "123456789012:function:insert_records",
        "eu-west-1:123456789012:function:insert_records",
        ARN,
    ],
)
@pytest.mark.parity("Invoke.FunctionName")
def test_a_name_or_an_arn_finds_a_function_and_the_invoked_arn_has_the_clients_qualifier(written: str) -> None:
    assert found(written) == ("insert_records", ARN)
    for by_name, by_parameter in (
        (f"{written}:$LATEST", None),
        (written, "$LATEST"),
        (f"{written}:$LATEST", "$LATEST"),
    ):
        assert found(by_name, by_parameter) == ("insert_records", f"{ARN}:$LATEST")


@pytest.mark.parametrize(
    "written", ["bill", "billing", "bill:live", str(ON_LAMBDA.arn), "123456789012:function:billing"]
)
@pytest.mark.parity("Invoke.Qualifier")
def test_a_function_on_lambda_has_only_the_qualifier_of_its_arn(written: str) -> None:
    assert found(written) == ("bill", str(ON_LAMBDA.arn))
    code, message = error("bill", "$LATEST")
    assert (code, message) == (
        "ResourceNotFoundException",
        "Function not found: arn:aws:lambda:eu-west-1:123456789012:function:billing:$LATEST",
    )


def test_a_function_on_lambda_whose_arn_has_no_qualifier_has_latest() -> None:
    plain = replace(
        ON_LAMBDA, kind=LambdaApi(name="billing", qualifier=None, region="eu-west-1"), arn=unqualified(ON_LAMBDA.arn)
    )
    answer = find(parse("bill", "$LATEST"), {plain.name: plain}, HOME)
    assert (answer.function, answer.invoked_arn) == (plain, f"{plain.arn}:$LATEST")


def of_billing(key: str, qualifier: str | None) -> Function:
    kind = LambdaApi(name="billing", qualifier=qualifier, region="eu-west-1")
    resource = f"function:billing:{qualifier}" if qualifier else "function:billing"
    return replace(ON_LAMBDA, name=FunctionName(key), kind=kind, arn=replace(ON_LAMBDA.arn, resource=resource))


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("billing:test", "test"),
        (f"{unqualified(ON_LAMBDA.arn)}:test", "test"),
        ("billing:live", "billing"),
        ("billing:$LATEST", "plain"),
        ("billing", "billing"),
        (str(unqualified(ON_LAMBDA.arn)), "plain"),
    ],
)
def test_the_qualifier_chooses_among_functions_with_one_name_on_lambda(written: str, key: str) -> None:
    """A name without a qualifier is first the key of a function in the file, and then an ARN with $LATEST."""
    functions = [of_billing("billing", "live"), of_billing("test", "test"), of_billing("plain", None)]
    assert find(parse(written, None), {one.name: one for one in functions}, HOME).function.name == key


@pytest.mark.parametrize(
    ("written", "qualifier", "missing"),
    [
        ("x", None, "x:$LATEST"),
        ("x:live", None, "x:live"),
        ("x", "live", "x:live"),
        ("insert_records", "$latest", "insert_records:$latest"),
        ("insert_records", "1", "insert_records:1"),
        ("x" * 65, None, "x" * 65 + ":$LATEST"),
        ("x" * 170, None, "x" * 170 + ":$LATEST"),
        ("insert_records", "q" * 128, "insert_records:" + "q" * 128),
        ("us-east-1:live", None, "us-east-1:live"),
        ("arn:aws:lambda:eu-west-1:123456789012:function", None, "function:$LATEST"),
    ],
)
def test_an_unknown_function_or_version_is_not_found(written: str, qualifier: str | None, missing: str) -> None:
    message = f"Function not found: arn:aws:lambda:eu-west-1:123456789012:function:{missing}"
    assert error(written, qualifier) == ("ResourceNotFoundException", message)


def test_only_the_error_of_invoke_shows_a_qualifier_that_the_client_left_out() -> None:
    assert error("x", shows_latest=False)[1].endswith("function:x")


def test_an_arn_of_another_region_or_account_finds_no_function() -> None:
    other = "arn:aws:lambda:us-east-1:123456789012:function:insert_records"
    assert error(other)[1] == "Functions from 'us-east-1' are not reachable in this region ('eu-west-1')"
    assert error(ARN.replace("arn:aws:", "arn:aws-cn:"))[1] == f"Function not found: {ARN}:$LATEST"
    assert error("210987654321:function:insert_records")[1].startswith(
        "Function not found: arn:aws:lambda:eu-west-1:2109"
    )


def test_two_different_qualifiers_are_refused() -> None:
    assert error("insert_records:live", "$LATEST") == ("InvalidParameterValueException", UNEQUAL)


def test_the_error_counts_every_fault_of_the_name_and_of_the_qualifier() -> None:
    code, message = error("a/b", "?" * 129)
    assert code == "ValidationException"
    assert message == (
        "3 validation errors detected: "
        f"Value 'a/b' at 'functionName' failed to satisfy constraint: {must(NAME_PATTERN)}; "
        f"Value '{'?' * 129}' at 'qualifier' failed to satisfy constraint: "
        "Member must have length less than or equal to 128; "
        f"Value '{'?' * 129}' at 'qualifier' failed to satisfy constraint: {must(QUALIFIER_PATTERN)}"
    )
    for written, qualifier in (("name:$LATES", None), ("x" * 171, None), ("", None), ("insert_records", "")):
        assert error(written, qualifier)[1].startswith("1 validation error detected: ")


def must(pattern: str) -> str:
    return f"Member must satisfy regular expression pattern: {pattern}"


PIECES = st.sampled_from(["arn:", "aws", ":lambda:", "eu-west-1", "us-gov-east-1", "123456789012", "function", ":"])
NAMES = st.lists(PIECES | st.text("ab-_.$/", max_size=3) | st.sampled_from(["$LATEST", "live"]), max_size=9).map(
    "".join
)


@given(written=NAMES)
@example(written="us-east-1:live")
def test_a_name_is_accepted_if_and_only_if_it_matches_the_pattern_of_aws(written: str) -> None:
    is_accepted = True
    try:
        parse(written, None)
    except ApiError:
        is_accepted = False
    assert is_accepted == (re.fullmatch(NAME_PATTERN, written, re.ASCII) is not None and len(written) <= 170)


@given(name=st.from_regex("[a-z0-9_]{1,9}", fullmatch=True), qualifier=st.none() | st.sampled_from(["$LATEST", "live"]))
def test_a_name_is_parsed_into_the_parts_that_it_was_made_of(name: str, qualifier: str | None) -> None:
    end = f":{qualifier}" if qualifier else ""
    for start, parts in (
        ("", {}),
        ("123456789012:function:", {"account": "123456789012"}),
        (
            "arn:aws:lambda:eu-west-1:123456789012:function:",
            {"partition": "aws", "region": "eu-west-1", "account": "123456789012"},
        ),
    ):
        assert parse(f"{start}{name}{end}", None) == Name(name=name, qualifier=qualifier, **parts)
