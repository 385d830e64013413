"""Which function does a mapping mean?"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from poller.model.function import LambdaApi
from poller.settings.functions import User
from poller.settings.references import lambda_function
from poller.settings.values import Settings

Load = Callable[..., Settings]
Faults = Callable[..., list[str]]
ARN = "arn:aws:lambda:eu-west-1:123456789012:function:resize"


def mapping(name: str, function: str, source: str = "eu-west-1:123456789012") -> str:
    return f'[mappings.{name}]\nevent_source_arn = "arn:aws:sqs:{source}:{name}"\nfunction_name = "{function}"\n'


@pytest.mark.parametrize(
    ("reference", "arn", "kind"),
    [
        ("resize", ARN, LambdaApi(name="resize", qualifier=None, region="eu-west-1")),
        ("resize:live", f"{ARN}:live", LambdaApi(name="resize", qualifier="live", region="eu-west-1")),
        (
            "999999999999:function:resize:$LATEST",
            "arn:aws:lambda:eu-west-1:999999999999:function:resize:$LATEST",
            LambdaApi(name="999999999999:function:resize", qualifier="$LATEST", region="eu-west-1"),
        ),
        (
            "arn:aws-us-gov:lambda:us-gov-west-1:999999999999:function:resize:7",
            "arn:aws-us-gov:lambda:us-gov-west-1:999999999999:function:resize:7",
            LambdaApi(
                name="arn:aws-us-gov:lambda:us-gov-west-1:999999999999:function:resize",
                qualifier="7",
                region="us-gov-west-1",
            ),
        ),
    ],
)
def test_a_lambda_function_can_be_named_in_every_way_that_aws_accepts(
    reference: str, arn: str, kind: LambdaApi
) -> None:
    function = lambda_function(reference, User(region="eu-west-1", account="123456789012"))
    assert function is not None
    assert (function.name, str(function.arn), function.kind) == (reference, arn, kind)


@pytest.mark.parametrize("reference", ["a b", "a" * 65, "a:b:c", "1:function:a", "arn:aws:sqs:r:1:q"])
def test_a_text_that_names_no_lambda_function_is_refused(faults: Faults, reference: str) -> None:
    (fault,) = faults(mapping("m", reference))
    assert "names no function: neither a key of [functions] nor a Lambda function's name or ARN" in fault


def test_the_fault_of_an_unknown_key_names_the_nearest_one(faults: Faults) -> None:
    (fault,) = faults(mapping("m", "insert records") + '[functions.insert_records]\nurl = "http://a"')
    assert fault.endswith("did you mean insert_records?")


def test_a_key_of_the_file_wins_over_a_lambda_function_of_that_name(loaded: Load) -> None:
    settings = loaded(mapping("m", "resize") + '[functions.resize]\nurl = "http://a"')
    assert [mapping.function_name for mapping in settings.queue_mappings] == ["resize"]
    assert not isinstance(settings.functions[settings.queue_mappings[0].function_name].kind, LambdaApi)


def test_mappings_that_name_the_same_lambda_function_share_it(loaded: Load) -> None:
    settings = loaded(mapping("a", "resize") + mapping("b", "resize") + mapping("c", ARN))
    assert list(settings.functions) == ["resize"]
    assert [mapping.function_name for mapping in settings.queue_mappings] == ["resize"] * 3


def test_a_configured_arn_means_that_function_with_its_limits(loaded: Load) -> None:
    settings = loaded(f'[functions.small]\narn = "{ARN}"\nreserved_concurrency = 2\n{mapping("m", ARN)}')
    assert list(settings.functions) == ["small"]
    assert [mapping.function_name for mapping in settings.queue_mappings] == ["small"]


@pytest.mark.parametrize("reference", ["resize", "123456789012:function:resize", ARN])
def test_a_name_means_the_configured_function_of_that_name_and_account(loaded: Load, reference: str) -> None:
    settings = loaded(f'[functions.small]\narn = "{ARN}"\n{mapping("m", reference)}')
    assert list(settings.functions) == ["small"]
    assert [mapping.function_name for mapping in settings.queue_mappings] == ["small"]


def test_a_name_that_may_mean_two_functions_means_the_first(loaded: Load) -> None:
    """The name belongs to `a`, and the ARN belongs to `small`."""
    text = f'[functions.small]\narn = "{ARN}"\n{mapping("a", "resize", "eu-west-1:999999999999")}'
    settings = loaded(text + mapping("b", "resize"))
    assert [mapping.function_name for mapping in settings.queue_mappings] == ["resize", "small"]


def test_versions_of_a_function_are_different_functions(loaded: Load) -> None:
    settings = loaded(mapping("a", "resize") + mapping("b", "resize:1") + mapping("c", "resize:live"))
    assert list(settings.functions) == ["resize", "resize:1", "resize:live"]


def test_a_name_means_the_function_of_the_mappings_region(loaded: Load) -> None:
    settings = loaded(mapping("a", "resize") + mapping("b", "resize", "us-east-1:123456789012"))
    assert [mapping.function_name for mapping in settings.queue_mappings] == [
        "resize",
        "arn:aws:lambda:us-east-1:123456789012:function:resize",
    ]
    assert [function.arn.region for function in settings.functions.values()] == ["eu-west-1", "us-east-1"]


def test_a_name_means_one_function_wherever_the_sources_accounts_are(loaded: Load) -> None:
    """The function is searched in the daemon's own account."""
    settings = loaded(
        mapping("a", "resize", "eu-west-1:111111111111") + mapping("b", "resize", "eu-west-1:222222222222")
    )
    assert list(settings.functions) == ["resize"]


def test_a_name_means_the_function_of_the_daemons_region_where_it_has_one(loaded: Load) -> None:
    settings = loaded('[daemon]\nregion = "eu-central-1"\n' + mapping("a", "resize"))
    assert [function.arn.region for function in settings.functions.values()] == ["eu-central-1"]


def test_a_name_means_the_function_of_the_daemons_own_account_if_there_is_one(loaded: Load) -> None:
    settings = loaded('[daemon]\naccount_id = "999999999999"\n' + mapping("a", "resize"))
    assert [function.arn.account for function in settings.functions.values()] == ["999999999999"]
