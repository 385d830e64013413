"""Which permissions of AWS IAM does a settings file need, and which identity needs each one?"""

from __future__ import annotations

from pathlib import Path

import pytest

from poller.settings.arns import RECEIVERS
from poller.settings.loading import load
from poller.settings.permissions import (
    CREATE_TABLE,
    INVOKE,
    READ_QUEUE,
    READ_STREAM,
    USE_KCL_TABLE,
    USE_TABLE,
    Role,
    Statement,
    permissions,
)
from tests.unit.settings.receivers import example

ACCOUNT = "eu-west-1:123456789012"
READER = "arn:aws:iam::123456789012:role/reader"
QUEUE = f"""
[mappings.q]
event_source_arn = "arn:aws:sqs:{ACCOUNT}:orders"
function_name = "f"
"""
STREAM = f"""
[mappings.s]
event_source_arn = "arn:aws:kinesis:{ACCOUNT}:stream/clicks/consumer/mine:1"
function_name = "f"
starting_position = "LATEST"
maximum_retry_attempts = 1
destination_config.on_failure.destination_arn = "arn:aws:s3:::failures"
"""
TABLE = f"""
[mappings.t]
event_source_arn = "arn:aws:dynamodb:{ACCOUNT}:table/users/stream/2026-01-31T12:00:00.000"
function_name = "f"
starting_position = "LATEST"
"""
FUNCTION = '[functions.f]\nurl = "http://127.0.0.1:1"\n'
ASSUME_READER = Statement("AssumeRoles", ("sts:AssumeRole",), (READER,))
CLICKS = Statement("ReadKinesisStreams", READ_STREAM["kinesis"], (f"arn:aws:kinesis:{ACCOUNT}:stream/clicks",))
FAILURES = Statement("PutRecords", ("s3:PutObject",), ("arn:aws:s3:::failures/aws/lambda/*",))


def needed(folder: Path, *texts: str) -> dict[Role, tuple[Statement, ...]]:
    file = folder / "poller.toml"
    file.write_text("".join(texts))
    return permissions(load(file, {}))


def test_without_a_role_the_daemons_own_identity_needs_everything(tmp_path: Path) -> None:
    users = f"arn:aws:dynamodb:{ACCOUNT}:table/users/stream/2026-01-31T12:00:00.000"
    assert needed(tmp_path, FUNCTION, QUEUE, STREAM, TABLE) == {
        None: (
            FAILURES,
            Statement("ReadDynamoDbStreams", READ_STREAM["dynamodb"], (users,)),
            CLICKS,
            Statement("ReadQueues", READ_QUEUE, (f"arn:aws:sqs:{ACCOUNT}:orders",)),
        )
    }


def test_the_role_of_a_mapping_reads_its_source_and_reports_and_the_daemon_assumes_the_role(tmp_path: Path) -> None:
    assert needed(tmp_path, FUNCTION, STREAM, f'role_arn = "{READER}"\n') == {
        None: (ASSUME_READER,),
        READER: (FAILURES, CLICKS),
    }


def test_the_daemons_own_identity_invokes_functions_also_for_a_mapping_with_a_role(tmp_path: Path) -> None:
    bill = f"arn:aws:lambda:{ACCOUNT}:function:bill:live"
    found = needed(tmp_path, f'[functions.f]\narn = "{bill}"\n', QUEUE, f'role_arn = "{READER}"\n')
    assert found[None] == (ASSUME_READER, Statement("InvokeFunctions", INVOKE, (bill,)))


def test_a_disabled_mapping_needs_no_permission(tmp_path: Path) -> None:
    assert needed(tmp_path, FUNCTION, QUEUE, "enabled = false\n") == {}


def test_asynchronous_events_need_their_queue_destinations_and_dead_letter_target(tmp_path: Path) -> None:
    events, dead = f"arn:aws:sqs:{ACCOUNT}:events", f"arn:aws:sns:{ACCOUNT}:dead"
    bus, audit = f"arn:aws:events:{ACCOUNT}:event-bus/main", f"arn:aws:lambda:{ACCOUNT}:function:audit"
    options = f"""
        [functions.f.event_invoke_config]
        event_queue_arn = "{events}"
        destination_config.on_success.destination = "{bus}"
        destination_config.on_failure.destination = "{audit}"
        [functions.f.dead_letter_config]
        target_arn = "{dead}"
    """
    assert needed(tmp_path, FUNCTION, options) == {
        None: (
            Statement("InvokeDestinations", ("lambda:InvokeFunction",), (audit,)),
            Statement("PublishToTopics", ("sns:Publish",), (dead,)),
            Statement("PutEvents", ("events:PutEvents",), (bus,)),
            Statement("ReadQueues", READ_QUEUE, (events,)),
            Statement("SendToQueues", ("sqs:SendMessage",), (events,)),
        )
    }


def test_a_destination_that_is_a_function_of_the_file_needs_no_permission(tmp_path: Path) -> None:
    options = '[functions.f.event_invoke_config]\ndestination_config.on_success.destination = "g"\n'
    assert needed(tmp_path, FUNCTION, options, '[functions.g]\nurl = "http://127.0.0.1:2"\n') == {}


def test_a_mapping_with_a_table_of_kcl_uses_it_with_its_own_role(tmp_path: Path) -> None:
    table = f"arn:aws:dynamodb:{ACCOUNT}:table/my-application"
    option = 'kcl_table = "my-application"\n'
    use = Statement("UseKclTables", USE_KCL_TABLE, (table,))
    assert use in needed(tmp_path, FUNCTION, STREAM, option)[None]
    assert use in needed(tmp_path, FUNCTION, STREAM, option, f'role_arn = "{READER}"\n')[READER]
    other = READER.replace("123456789012", "210987654321")
    found = needed(tmp_path, FUNCTION, STREAM, option, f'role_arn = "{other}"\nregion = "eu-west-2"\n')[other]
    [of_kcl] = [one for one in found if one.purpose == "UseKclTables"]
    assert of_kcl.resources == ("arn:aws:dynamodb:eu-west-2:210987654321:table/my-application",)


def of_table(table: str) -> tuple[Statement, Statement]:
    return Statement("CreateStateTable", CREATE_TABLE, (table,)), Statement("UseStateTable", USE_TABLE, (table,))


@pytest.mark.parametrize(
    ("daemon", "table"),
    [
        ("", "arn:aws:dynamodb:*:*:table/leases"),
        ('region = "eu-west-1"\naccount_id = "123456789012"', f"arn:aws:dynamodb:{ACCOUNT}:table/leases"),
        ('region = "cn-north-1"', "arn:aws-cn:dynamodb:cn-north-1:*:table/leases"),
    ],
)
def test_a_state_in_a_table_needs_the_table_and_the_right_to_create_it(tmp_path: Path, daemon: str, table: str) -> None:
    assert needed(tmp_path, f'[daemon]\nstate = "dynamodb://leases"\n{daemon}\n', FUNCTION) == {None: of_table(table)}


def test_the_role_of_the_state_uses_the_table_in_its_own_account(tmp_path: Path) -> None:
    address = f"dynamodb://leases?region=eu-west-1&role_arn={READER}"
    daemon = f'[daemon]\nstate = "{address}"\nregion = "eu-west-2"\naccount_id = "210987654321"\n'
    table = f"arn:aws:dynamodb:{ACCOUNT}:table/leases"
    assert needed(tmp_path, daemon, FUNCTION) == {
        None: (ASSUME_READER,),
        READER: (
            Statement("CreateStateTable", CREATE_TABLE, (table,)),
            Statement("UseStateTable", USE_TABLE, (table,)),
        ),
    }


@pytest.mark.parametrize("service", RECEIVERS)
def test_every_kind_of_destination_has_a_permission(service: str, tmp_path: Path) -> None:
    options = f'[functions.f.event_invoke_config]\ndestination_config.on_failure.destination = "{example(service)}"\n'
    [statement] = needed(tmp_path, FUNCTION, options)[None]
    assert (statement.purpose, statement.actions) == (RECEIVERS[service].purpose, (RECEIVERS[service].action,))
