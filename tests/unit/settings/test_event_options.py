"""Which options does a function have for its asynchronous events, and what are the defaults?"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from poller.model.arn import Arn
from poller.model.function import EventInvokeConfig
from poller.model.ids import FunctionName
from poller.settings.values import Settings

Load = Callable[..., Settings]
Faults = Callable[..., list[str]]

FUNCTION = '[functions.f]\nurl = "http://a"\n'
OTHER = '[functions.g]\nurl = "http://b"\n'
CONFIG = "functions.f.event_invoke_config"
SUCCESS = "event_invoke_config.destination_config.on_success.destination"
FAILURE = "event_invoke_config.destination_config.on_failure.destination"
QUEUE = "event_invoke_config.event_queue_arn"
DEAD = "dead_letter_config.target_arn"
AT = "eu-west-1:123456789012"


def config(loaded: Load, options: str) -> EventInvokeConfig:
    return loaded(f"{FUNCTION}{options}\n{OTHER}").functions[FunctionName("f")].event_invoke_config


def test_all_options_of_events_have_defaults(loaded: Load) -> None:
    expected = EventInvokeConfig(retry_waits_in_seconds=(60, 120))
    assert config(loaded, "") == expected
    assert config(loaded, "[functions.f.event_invoke_config]\n[functions.f.dead_letter_config]") == expected


def test_all_options_of_events_are_read(loaded: Load) -> None:
    text = f"""
        [functions.f.event_invoke_config]
        maximum_retry_attempts = 0
        maximum_event_age_in_seconds = 60
        destination_config.on_success.destination = "g"
        destination_config.on_failure.destination = "arn:aws:s3:::failed"
        event_queue_arn = "arn:aws:sqs:{AT}:events"
        retry_waits_in_seconds = [0, 0.5]
        [functions.f.dead_letter_config]
        target_arn = "arn:aws:sns:{AT}:dead"
    """
    assert config(loaded, text) == EventInvokeConfig(
        maximum_retry_attempts=0,
        maximum_event_age_in_seconds=60,
        on_success=FunctionName("g"),
        on_failure=Arn.parse("arn:aws:s3:::failed"),
        dead_letter_arn=Arn.parse(f"arn:aws:sns:{AT}:dead"),
        event_queue_arn=Arn.parse(f"arn:aws:sqs:{AT}:events"),
        retry_waits_in_seconds=(0, 0.5),
    )


@pytest.mark.parametrize(
    "arn",
    [
        f"arn:aws:sqs:{AT}:records",
        f"arn:aws:sns:{AT}:records",
        f"arn:aws:lambda:{AT}:function:records",
        f"arn:aws:lambda:{AT}:function:records:live",
        f"arn:aws:events:{AT}:event-bus/default",
        f"arn:aws:events:{AT}:event-bus/aws.partner/example.com/1",
    ],
)
def test_destinations_may_be_queues_topics_functions_and_event_buses(loaded: Load, arn: str) -> None:
    found = config(loaded, f'{SUCCESS} = "{arn}"\n{FAILURE} = "{arn}"')
    assert (found.on_success, found.on_failure) == (Arn.parse(arn), Arn.parse(arn))


@pytest.mark.parametrize(
    ("option", "written", "rule"),
    [
        (SUCCESS, '"arn:aws:s3:::records"', "a destination is a standard SQS queue, "),
        (SUCCESS, f'"arn:aws:sqs:{AT}:q.fifo"', "a FIFO queue cannot be a destination"),
        (FAILURE, f'"arn:aws:sns:{AT}:t.fifo"', "a FIFO topic cannot be a destination"),
        (FAILURE, f'"arn:aws:dynamodb:{AT}:table/t"', "a destination is a standard SQS queue, "),
        (FAILURE, f'"arn:aws:events:{AT}:rule/r"', "a destination's ARN of events ends in region:account:event-bus/"),
        (FAILURE, f'"arn:aws:lambda:{AT}:layer:l"', "a destination's ARN of lambda ends in region:account:function:"),
        (FAILURE, '"arn:aws:events:::event-bus/b"', "a destination's ARN of events ends in"),
        (FAILURE, f'"arn:aws:sqs:{AT}:{"q" * 330}"', "a destination's ARN has at most 350 characters"),
        (SUCCESS, '"a b"', "is neither an ARN nor a key of [functions]"),
        (SUCCESS, '"https://sqs.eu-west-1.amazonaws.com/123456789012/q"', f"its ARN is arn:aws:sqs:{AT}:q"),
        (SUCCESS, '"h"', "is not a key of [functions]"),
        (SUCCESS, '"F"', "is not a key of [functions]; did you mean f?"),
        (SUCCESS, '"f"', "You can't specify the function as a destination for itself."),
        (FAILURE, '"f"', "You can't specify the function as a destination for itself."),
        (DEAD, '"g"', "is not an ARN"),
        (DEAD, f'"arn:aws:sqs:{AT}:q.fifo"', "a FIFO queue cannot be a dead-letter target"),
        (DEAD, '"arn:aws:s3:::dead"', "a dead-letter target is a standard SQS queue or a standard SNS topic"),
        (QUEUE, f'"arn:aws:sqs:{AT}:q.fifo"', "a FIFO queue cannot be an event queue"),
        (QUEUE, f'"arn:aws:sns:{AT}:t"', "an event queue is a standard SQS queue"),
        ("event_invoke_config.maximum_retry_attempts", "3", "must be a whole number of attempts from 0 to 2"),
        ("event_invoke_config.maximum_retry_attempts", "-1", "must be a whole number of attempts from 0 to 2"),
        (
            "event_invoke_config.maximum_event_age_in_seconds",
            "59",
            "must be a whole number of seconds from 60 to",
        ),
        ("event_invoke_config.retry_waits_in_seconds", "[1]", "must be two numbers"),
        ("event_invoke_config.retry_waits_in_seconds", "[1, 2, 3]", "must be two numbers"),
        ("event_invoke_config.retry_waits_in_seconds", "[]", "must be two numbers"),
        ("event_invoke_config.retry_waits_in_seconds", "60", "must be a list"),
        ("event_invoke_config.retry_waits_in_seconds", "[-1, 2]", "must be a number of seconds from 0 to 21600"),
        ("event_invoke_config.retry_waits_in_seconds", "[1, inf]", "must be a number of seconds from 0 to 21600"),
        ("event_invoke_config.destination_config.on_success", "{}", "is required"),
        ("event_invoke_config.maximum_retries", "1", "unknown key; did you mean"),
    ],
)
def test_a_wrong_option_of_events_is_refused(faults: Faults, option: str, written: str, rule: str) -> None:
    (fault,) = faults(f"{FUNCTION}{option} = {written}\n{OTHER}")
    assert fault.startswith(f"functions.f.{option}")
    assert rule in fault


@pytest.mark.parametrize("qualifier", ["", ":live", ":$LATEST"])
def test_the_arn_of_a_configured_function_with_any_qualifier_means_this_function(
    faults: Faults, loaded: Load, qualifier: str
) -> None:
    text = f'[functions.f]\narn = "arn:aws:lambda:{AT}:function:bill:7"\n'
    destination = f'{FAILURE} = "arn:aws:lambda:{AT}:function:%s{qualifier}"'
    (fault,) = faults(text + destination % "bill")
    assert fault.endswith("You can't specify the function as a destination for itself.")
    assert loaded(text + destination % "bills").functions


@pytest.mark.parametrize("option", [SUCCESS, FAILURE, DEAD])
def test_a_functions_event_queue_cannot_be_its_destination(faults: Faults, option: str) -> None:
    queue = f'"arn:aws:sqs:{AT}:events"'
    (fault,) = faults(f"{FUNCTION}{QUEUE} = {queue}\n{option} = {queue}")
    assert fault.startswith(f"functions.f.{option}")
    assert "is the function's own event_queue_arn" in fault


def test_an_event_queue_serves_one_function(faults: Faults) -> None:
    queue = f'{QUEUE} = "arn:aws:sqs:{AT}:events"'
    (fault,) = faults(f"{FUNCTION}{queue}\n{OTHER}{queue}")
    assert fault.startswith("functions.g.event_invoke_config.event_queue_arn")
    assert "is already the event queue of functions.f" in fault


def test_an_event_queue_cannot_be_the_source_of_a_mapping(faults: Faults) -> None:
    mapping = f'[mappings.m]\nevent_source_arn = "arn:aws:sqs:{AT}:events"\nfunction_name = "g"'
    (fault,) = faults(f'{FUNCTION}{QUEUE} = "arn:aws:sqs:{AT}:events"\n{OTHER}{mapping}')
    assert fault.startswith("functions.f.event_invoke_config.event_queue_arn")
    assert "is already the source of mappings.m" in fault


def test_a_function_with_an_event_queue_needs_the_daemons_own_queue(faults: Faults, loaded: Load) -> None:
    function = f'{FUNCTION}{QUEUE} = "arn:aws:sqs:{AT}:events"'
    (fault,) = faults(f'[daemon]\nstate = "memory:"\n{function}')
    assert fault.endswith('set event_queue in [daemon], because state is "memory:"')
    assert loaded(f'[daemon]\nstate = "memory:"\nevent_queue = "sqlite://e.db"\n{function}').functions
    (fault,) = faults(f'[daemon]\nstate = "memory:"\nevent_queue = "e.db"\n{function}')
    assert fault.startswith("daemon.event_queue")


@pytest.mark.parametrize("option", [SUCCESS, FAILURE, DEAD, QUEUE])
def test_a_region_that_does_not_exist_is_refused(faults: Faults, option: str) -> None:
    (fault,) = faults(f'{FUNCTION}{option} = "arn:aws:sqs:eu-wset:123456789012:q"')
    assert fault.startswith(f"functions.f.{option}")
    assert "there is no such region" in fault
