"""Which permissions of AWS IAM do these settings need, and which identity needs each one?

    identity           needs permissions for
    a mapping's role   reading the source of the mapping, sending to its on-failure destination, and using its table
                       of KCL
    the state's role   using the table of the state, and creating it
    the daemon's own   the same for what has no role; assuming the roles; invoking functions; and the event queues,
                       destinations and dead letters of asynchronous events

Only the settings are read, so these needs of AWS are unknown here: `kms:Decrypt` and `kms:GenerateDataKey` for what is
encrypted with a customer managed key, and the role with which a function itself runs.

Source: Service Authorization Reference, "Actions, resources, and condition keys" of each service.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from poller.model.arn import Arn, stream_arn
from poller.model.function import Function, LambdaApi
from poller.model.lease import TableAddress
from poller.model.mapping import QueueMapping, StreamMapping
from poller.settings.arns import RECEIVERS
from poller.settings.regions import partition_of
from poller.settings.state import table_address
from poller.settings.values import Daemon, Settings

READ_QUEUE = ("sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage")
READ_STREAM = {
    "kinesis": ("kinesis:GetRecords", "kinesis:GetShardIterator", "kinesis:ListShards"),
    "dynamodb": ("dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"),
}
INVOKE = ("lambda:GetFunctionConfiguration", "lambda:InvokeFunction")
ASSUME = ("sts:AssumeRole",)
USE_TABLE = (
    "dynamodb:BatchGetItem",
    "dynamodb:DeleteItem",
    "dynamodb:DescribeTable",
    "dynamodb:PutItem",
    "dynamodb:Scan",
)
USE_KCL_TABLE = (*USE_TABLE, "dynamodb:UpdateItem")
CREATE_TABLE = ("dynamodb:CreateTable",)
"""Only needed as long as the table does not exist."""

RECORDS_IN_A_BUCKET = "/aws/lambda/*"
"""The keys of invocation records in S3 begin so (`core/invocation_record.py`)."""

Role = str | None
"""The ARN of a role; None is the daemon's own identity."""


class Statement(NamedTuple):
    """Some actions on some resources, both sorted. `purpose` is a name for the statement, in CamelCase."""

    purpose: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]


class _Need(NamedTuple):
    role: Role
    purpose: str
    actions: Sequence[str]
    resource: str


def permissions(settings: Settings) -> dict[Role, tuple[Statement, ...]]:
    """Return the statements that each identity needs, the daemon's own identity first. Each has one or more."""
    needs = [*_needs(settings)]
    roles = sorted({need.role for need in needs if need.role is not None})
    needs += [_Need(None, "AssumeRoles", ASSUME, role) for role in roles]
    resources: defaultdict[Role, defaultdict[tuple[str, tuple[str, ...]], set[str]]]
    resources = defaultdict(lambda: defaultdict(set))
    for need in needs:
        resources[need.role][need.purpose, tuple(need.actions)].add(need.resource)
    identities: list[Role] = [None, *roles]
    return {role: _statements(resources[role]) for role in identities if role in resources}


def _statements(resources: Mapping[tuple[str, tuple[str, ...]], set[str]]) -> tuple[Statement, ...]:
    return tuple(
        Statement(purpose, actions, tuple(sorted(some))) for (purpose, actions), some in sorted(resources.items())
    )


def _needs(settings: Settings) -> Iterator[_Need]:
    yield from _needs_of_state(settings.daemon)
    for mapping in settings.mappings:
        if mapping.is_enabled:
            yield from _needs_of_mapping(mapping)
    for function in settings.functions.values():
        yield from _needs_of_function(function)


def _needs_of_state(daemon: Daemon) -> Iterator[_Need]:
    if daemon.state.startswith("dynamodb://"):
        address = table_address(daemon.state)
        table = _table_arn(address, daemon)
        yield _Need(address.role_arn, "UseStateTable", USE_TABLE, table)
        yield _Need(address.role_arn, "CreateStateTable", CREATE_TABLE, table)


def _table_arn(address: TableAddress, daemon: Daemon) -> str:
    """Return the ARN of a table. A region or an account that the settings do not name is an asterisk."""
    region = address.region or daemon.region or "*"
    account = daemon.account_id or "*" if address.role_arn is None else Arn.parse(address.role_arn).account
    return f"arn:{partition_of(region) or 'aws'}:dynamodb:{region}:{account}:table/{address.table}"


def _needs_of_mapping(mapping: QueueMapping | StreamMapping) -> Iterator[_Need]:
    source = mapping.event_source_arn
    if isinstance(mapping, QueueMapping):
        yield _Need(mapping.role_arn, "ReadQueues", READ_QUEUE, str(source))
        return
    purpose = "ReadKinesisStreams" if mapping.is_kinesis else "ReadDynamoDbStreams"
    yield _Need(mapping.role_arn, purpose, READ_STREAM[source.service], stream_arn(source))
    if mapping.on_failure is not None:
        yield _sending(mapping.role_arn, mapping.on_failure.destination_arn)
    if mapping.kcl_table is not None:
        account = source.account if mapping.role_arn is None else Arn.parse(mapping.role_arn).account
        table = f"arn:{source.partition}:dynamodb:{mapping.region}:{account}:table/{mapping.kcl_table}"
        yield _Need(mapping.role_arn, "UseKclTables", USE_KCL_TABLE, table)


def _needs_of_function(function: Function) -> Iterator[_Need]:
    events = function.event_invoke_config
    if isinstance(function.kind, LambdaApi):
        yield _Need(None, "InvokeFunctions", INVOKE, str(function.arn))
    if events.event_queue_arn is not None:
        yield _Need(None, "ReadQueues", READ_QUEUE, str(events.event_queue_arn))
        yield _sending(None, events.event_queue_arn)
    for receiver in (events.on_success, events.on_failure, events.dead_letter_arn):
        if isinstance(receiver, Arn):
            yield _sending(None, receiver)


def _sending(role: Role, receiver: Arn) -> _Need:
    resource = f"{receiver}{RECORDS_IN_A_BUCKET}" if receiver.service == "s3" else str(receiver)
    kind = RECEIVERS[receiver.service]
    return _Need(role, kind.purpose, (kind.action,), resource)
