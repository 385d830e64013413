"""Does a region exist, and is it in the partition of the ARN?"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from poller.settings.regions import NO_PARTITION, NO_REGION
from poller.settings.values import Settings

Load = Callable[..., Settings]
Faults = Callable[..., list[str]]


def mapping(source: str, function: str = "f", *options: str) -> str:
    position = "" if ":sqs:" in source else 'starting_position = "LATEST"'
    return "\n".join(
        ["[mappings.m]", f'event_source_arn = "{source}"', f'function_name = "{function}"', position, *options]
    )


def queue(region: str, partition: str = "aws") -> str:
    return f"arn:{partition}:sqs:{region}:123456789012:q"


STREAM = "arn:aws-cn:kinesis:cn-north-1:123456789012:stream/s"


@pytest.mark.parametrize(
    ("partition", "region"),
    [
        ("aws", "eu-west-1"),
        ("aws", "ap-southeast-7"),
        ("aws", "mx-central-1"),
        ("aws", "xx-somewhere-12"),
        ("aws-cn", "cn-northwest-1"),
        ("aws-us-gov", "us-gov-east-1"),
        ("aws-eusc", "eusc-de-east-1"),
        ("aws-iso", "us-iso-west-1"),
        ("aws-iso-b", "us-isob-east-1"),
        ("aws-iso-e", "eu-isoe-west-1"),
        ("aws-iso-f", "us-isof-south-1"),
    ],
)
def test_every_region_is_accepted_only_in_its_own_partition(
    loaded: Load, faults: Faults, partition: str, region: str
) -> None:
    assert loaded(mapping(queue(region, partition))).queue_mappings
    other = "aws-cn" if partition == "aws" else "aws"
    (fault,) = faults(mapping(queue(region, other)))
    assert fault.endswith(f": its region is in the partition {partition}")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (mapping(queue("euwest1")), f'mappings.m.event_source_arn = "{queue("euwest1")}": {NO_REGION}'),
        (mapping(queue("eu-west")), f'mappings.m.event_source_arn = "{queue("eu-west")}": {NO_REGION}'),
        (
            mapping(queue("eu-west-1", "aws-china")),
            f'mappings.m.event_source_arn = "{queue("eu-west-1", "aws-china")}": {NO_PARTITION}',
        ),
        ('[daemon]\nregion = "euwest1"', f'daemon.region = "euwest1": {NO_REGION}'),
        (mapping(queue("eu-west-1"), "f", 'region = "euwest1"'), f'mappings.m.region = "euwest1": {NO_REGION}'),
        (
            '[functions.f]\narn = "arn:aws:lambda:cn-north-1:123456789012:function:f"',
            'functions.f.arn = "arn:aws:lambda:cn-north-1:123456789012:function:f": '
            "its region is in the partition aws-cn",
        ),
        (
            mapping(queue("eu-west-1"), "arn:aws:lambda:euwest1:123456789012:function:f"),
            f'mappings.m.function_name = "arn:aws:lambda:euwest1:123456789012:function:f": {NO_REGION}',
        ),
        (
            mapping(queue("eu-west-1"), "f", 'role_arn = "arn:aws-cn:iam::123456789012:role/r"'),
            'mappings.m.role_arn = "arn:aws-cn:iam::123456789012:role/r": must be in the partition of the source, aws',
        ),
        (
            mapping(STREAM, "f", 'destination_config.on_failure.destination_arn = "arn:aws:s3:::failures"'),
            'mappings.m.destination_config.on_failure.destination_arn = "arn:aws:s3:::failures": '
            "must be in the partition of the source, aws-cn",
        ),
        (
            mapping(
                STREAM,
                "f",
                'destination_config.on_failure.destination_arn = "arn:aws-cn:sqs:eu-west-1:123456789012:q"',
            ),
            "mappings.m.destination_config.on_failure.destination_arn = "
            '"arn:aws-cn:sqs:eu-west-1:123456789012:q": its region is in the partition aws',
        ),
    ],
)
def test_an_impossible_region_or_partition_is_refused(faults: Faults, text: str, fault: str) -> None:
    assert faults(text) == [fault]


def test_an_impossible_source_is_the_only_fault(faults: Faults) -> None:
    (fault,) = faults(mapping(queue("eu-west-1", "aws-china"), "f", 'role_arn = "arn:aws:iam::123456789012:role/r"'))
    assert fault.startswith("mappings.m.event_source_arn = ")


EMULATED = mapping(queue("elasticmq", "local"), "f", 'role_arn = "arn:aws:iam::123456789012:role/r"')


@pytest.mark.parametrize("option", ['endpoint_url = "http://a"', 'endpoints = { sqs = "http://a" }'])
def test_with_an_endpoint_every_region_is_accepted(loaded: Load, option: str) -> None:
    assert loaded(f"[daemon]\n{option}\n{EMULATED}").queue_mappings


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS"])
def test_an_endpoint_may_also_come_from_the_environment(loaded: Load, variable: str) -> None:
    assert loaded(EMULATED, **{variable: "http://a"}).queue_mappings


def test_an_endpoint_that_cannot_be_read_is_the_only_fault(faults: Faults) -> None:
    assert faults(f"[daemon]\nendpoint_url = 'a'\n{EMULATED}") == [
        'daemon.endpoint_url = "a": must be a url: http://host:port/path or https://host/path'
    ]
