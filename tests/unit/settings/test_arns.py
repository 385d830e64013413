"""Does one row of `RECEIVERS` say all that the settings need of a destination?"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from poller.settings.arns import RECEIVERS, Receiver, Use, kinds
from poller.settings.daemon import SERVICES
from poller.settings.schema import json_schema
from poller.settings.values import Settings
from tests.unit.settings.conftest import KINESIS
from tests.unit.settings.receivers import example

Load = Callable[..., Settings]
Faults = Callable[..., list[str]]

FUNCTION = '[functions.f]\nurl = "http://127.0.0.1:8080"\n'
MAPPING = f'[mappings.m]\nevent_source_arn = "{KINESIS}"\nfunction_name = "f"\nstarting_position = "LATEST"\n'

OPTIONS: dict[Use, str] = {
    "discarded_batch": f"{FUNCTION}{MAPPING}destination_config.on_failure.destination_arn",
    "on_success": f"{FUNCTION}event_invoke_config.destination_config.on_success.destination",
    "on_failure": f"{FUNCTION}event_invoke_config.destination_config.on_failure.destination",
    "dead_letter": f"{FUNCTION}dead_letter_config.target_arn",
    "event_queue": f"{FUNCTION}event_invoke_config.event_queue_arn",
}
"""The option that names a receiver for each use, in a file that lacks only its value."""

EVERY_USE = pytest.mark.parametrize("use", OPTIONS)
FIREHOSE = Receiver(
    "a Firehose stream",
    "region:account:deliverystream/name",
    r"deliverystream/[A-Za-z0-9_.-]{1,64}",
    "firehose:PutRecord",
    "PutToFirehose",
    frozenset({"discarded_batch"}),
)


@EVERY_USE
@pytest.mark.parametrize("service", RECEIVERS)
def test_an_option_takes_the_arn_that_messages_describe_if_the_row_has_its_use(
    loaded: Load, faults: Faults, service: str, use: Use
) -> None:
    text = f'{OPTIONS[use]} = "{example(service)}"'
    if use in RECEIVERS[service].uses:
        assert repr(example(service)) in repr(loaded(text))
    else:
        (fault,) = faults(text)
        assert fault.endswith(f"is {kinds(use)}")


@EVERY_USE
def test_a_new_row_is_taken_by_the_options_that_it_names(
    monkeypatch: pytest.MonkeyPatch, loaded: Load, faults: Faults, use: Use
) -> None:
    monkeypatch.setitem(RECEIVERS, "firehose", FIREHOSE)
    text = f'{OPTIONS[use]} = "{example("firehose")}"'
    if use == "discarded_batch":
        assert repr(example("firehose")) in repr(loaded(text))
        (fault,) = faults(text.replace("deliverystream/", ""))
        assert "a destination's ARN of firehose ends in region:account:deliverystream/name" in fault
    else:
        assert len(faults(text)) == 1


def test_the_kinds_of_a_use_are_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kinds("event_queue") == "a standard SQS queue"
    assert kinds("dead_letter") == "a standard SQS queue or a standard SNS topic"
    monkeypatch.setitem(RECEIVERS, "firehose", FIREHOSE)
    assert kinds("discarded_batch").startswith("a standard SQS queue, a standard SNS topic, ")
    assert kinds("discarded_batch").endswith(" or a Firehose stream")


@pytest.mark.parametrize("service", ["kinesis", "dynamodbstreams", "dynamodb", "sts", *RECEIVERS])
def test_every_service_that_the_daemon_calls_may_have_an_endpoint_of_its_own(loaded: Load, service: str) -> None:
    settings = loaded(f'[daemon]\nendpoints = {{ {service} = "http://a" }}')
    assert settings.daemon.endpoints == {service: "http://a"}
    assert service in json_schema()["$defs"]["DaemonOptions"]["properties"]["endpoints"]["propertyNames"]["enum"]


def test_an_endpoint_of_another_service_is_refused_with_the_known_ones(faults: Faults) -> None:
    (fault,) = faults('[daemon]\nendpoints = { glacier = "http://a" }')
    assert fault.endswith(f"unknown key; the known keys are {', '.join(SERVICES)}")
