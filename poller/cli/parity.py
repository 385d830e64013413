"""Where does poller do what AWS Lambda does, where does it not, and which test shows it?

    parameters     every parameter of an API call of Lambda, and the option that does the same in the file
    differences    every rule by which poller differs from AWS on purpose

An option's declaration (settings/options.py) says what the parameter of its name does.
`ABSENT`, `INVOKE` and `DIFFERENCES` say the rest.
`parity_tests.json` names the tests of each entry. `python -m tests.parity` writes it, from the markers on the tests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.resources import files
from typing import NamedTuple

from poller.settings.event_options import EventInvokeConfigOptions
from poller.settings.mappings import MappingOptions
from poller.settings.options import Options, api_name, declaration, leaves

CREATE_MAPPING = "CreateEventSourceMapping"
PUT_EVENT_CONFIG = "PutFunctionEventInvokeConfig"
INVOKE = "Invoke"


class Parameter(NamedTuple):
    """A parameter of an API call: `call` is the call's name, `name` has the names of the parameter with dots.

    `option` is the option of the file, or empty. `here` says what poller does with the parameter.
    """

    call: str
    name: str
    option: str
    here: str

    @property
    def key(self) -> str:
        return f"{self.call}.{self.name}"

    @property
    def marker(self) -> str:
        """Return the text of the markers on the parameter's tests.

        All parameters that a mapping refuses share one test.
        """
        return f"{self.call}: refused" if self.call == CREATE_MAPPING and not self.option else self.key


class Difference(NamedTuple):
    """A rule by which poller differs from AWS on purpose. `key` is the text of the markers on its tests."""

    key: str
    aws: str
    here: str


_NO_KAFKA = "refused: Kafka is not a source of poller"

ABSENT = {
    "KMSKeyArn": "refused: the file holds the filters in plain text",
    "MetricsConfig": "refused: every metric is always exported",
    "LoggingConfig": "refused: `poller run --verbose` and `--quiet` choose what is logged, for all mappings",
    "DestinationConfig.OnSuccess": "refused, as on AWS for these sources",
    "Tags": "refused: the name in the file tells mappings apart",
    "Topics": _NO_KAFKA,
    "Queues": "refused: Amazon MQ is not a source of poller",
    "SourceAccessConfigurations": "refused: Kafka, Amazon MQ and DocumentDB are not sources of poller",
    "SelfManagedEventSource": _NO_KAFKA,
    "AmazonManagedKafkaEventSourceConfig": _NO_KAFKA,
    "SelfManagedKafkaEventSourceConfig": _NO_KAFKA,
    "DocumentDBEventSourceConfig": "refused: DocumentDB is not a source of poller",
    "ProvisionedPollerConfig": "refused: the mapping itself scales its polls",
}
"""The parameters of CreateEventSourceMapping that no option declares."""

OTHERS = (
    Parameter(PUT_EVENT_CONFIG, "FunctionName", "functions.NAME", "The options are in the table of the function."),
    Parameter(PUT_EVENT_CONFIG, "Qualifier", "", "not an option: a function of the file has one set of event options"),
    Parameter(INVOKE, "FunctionName", "functions.NAME", "A name, or a partial or full ARN, of a function of the file."),
    Parameter(INVOKE, "InvocationType", "", "RequestResponse, Event and DryRun, as on AWS"),
    Parameter(
        INVOKE,
        "LogType",
        "",
        "With Tail, the answer has the last 4 KB of the log of a child process, Lambda or an emulator",
    ),
    Parameter(INVOKE, "ClientContext", "", "reaches the function; a plain url gets it as a header"),
    Parameter(INVOKE, "Payload", "", "at most 6,291,456 bytes, and 1,048,576 bytes for an Event"),
    Parameter(INVOKE, "Qualifier", "", "`$LATEST`, or that of the function's `arn`; any other is not found"),
    Parameter(INVOKE, "TenantId", "", "has no effect"),
    Parameter(INVOKE, "DurableExecutionName", "", "has no effect"),
)
"""The parameters of the other calls that no option declares."""

DIFFERENCES = (
    Difference("concurrency of one", "`MaximumConcurrency` begins at 2", "`maximum_concurrency` may be 1"),
    Difference(
        "throttled batch",
        "a throttled batch of a queue is dropped, and its messages are received again with a higher receive count",
        "the batch is tried again, and its messages stay hidden until then",
    ),
    Difference(
        "timeout above visibility",
        "a function's timeout may not exceed the queue's visibility timeout",
        "it may, because the timeouts of messages in hand are extended",
    ),
    Difference(
        "long functions",
        "a function runs for 15 minutes at most",
        "a function other than an `arn` may run for up to 42,000 seconds, within the twelve hours for which SQS can "
        "hide a message; after twelve hours the message becomes visible, and the log says so",
    ),
    Difference(
        "time of redelivery",
        "with a batching window, a failed message is received again after the window, the function's timeout and "
        "30 seconds",
        "it is received again when the queue's own visibility timeout, counted from its receive, is over, or at once "
        "if it fails later than that",
    ),
    Difference(
        "filters on metadata",
        "a filter reads only `body`, `data` or `dynamodb`",
        "a filter may also read metadata",
    ),
    Difference(
        "unreachable destination",
        "if the on-failure destination cannot be reached, the discarded records are lost",
        "the shard is blocked until the destination accepts their invocation record; with "
        '`if_unreachable = "drop"` the records are lost, as on AWS',
    ),
    Difference(
        "blocked beyond retention",
        "a record that blocks its shard is lost when the stream deletes it",
        "a mapping without limits keeps the record in hand, even after the stream has deleted it because of its age",
    ),
    Difference(
        "AT_TIMESTAMP of a table",
        "`AT_TIMESTAMP` is for Kinesis",
        "a DynamoDB stream may begin at a time, too; if the service does not support that, the older records are read "
        "and left out",
    ),
    Difference(
        "consumers by polling",
        "a mapping of a consumer reads by enhanced fan-out",
        "such a mapping polls the stream",
    ),
    Difference(
        "identity in events",
        "`invokeIdentityArn` is the function's execution role",
        "it is the mapping's `role_arn`; without one, the execution role of its Lambda function, if "
        "`lambda:GetFunctionConfiguration` is allowed; otherwise the identity that reads the stream",
    ),
    Difference(
        "memory limit",
        "every function has a memory limit",
        "a child process has one only if `memory_size_in_mb` sets it, and its memory is measured every second",
    ),
    Difference(
        "event too large",
        "AWS cuts batches by its own limit",
        "a batch of several records that a function refuses as too large (413) is split in two halves, and this counts "
        "as no attempt; a single record that is too large is a failed attempt",
    ),
    Difference(
        "stuck events",
        "if a destination refuses the record of an event, the record is dropped and counted",
        "the event is stuck: it is kept, `poller events` shows it, and a person can let the daemon deliver its record "
        "again",
    ),
    Difference(
        "unreachable event destination",
        "for how long AWS tries to deliver the record of an event is not documented",
        "the event is kept, and its record is delivered when the destination answers again",
    ),
    Difference(
        "full event queue",
        "events that a function cannot keep up with may be dropped",
        "no accepted event is dropped; when the event queue is full, new events get 429 with `Retry-After`",
    ),
    Difference(
        "event queue of one's own",
        "nobody can see the queue in which asynchronous events wait",
        "events wait in a file, or in an SQS queue (`event_queue_arn`) to which S3, SNS and EventBridge may send, too",
    ),
    Difference(
        "retry waits",
        "the waits before an event is tried again are fixed",
        "`retry_waits_in_seconds` changes them, for demos and tests",
    ),
    Difference(
        "recursion is seen",
        "an event that a loop has brought back about 16 times is dropped",
        "it ends with the condition `RecursiveInvocation`, which its failure destination, the log and the metrics show",
    ),
    Difference(
        "signatures",
        "every call is signed",
        "without `api_keys`, signatures are ignored, and the API listens on loopback only",
    ),
    Difference(
        "calls wait in line",
        "a call beyond the account's concurrency gets 429",
        "a call beyond the function's concurrency waits, at most for the function's timeout; if "
        "`reserved_concurrency` is set, it gets 429 at once",
    ),
    Difference(
        "changes stand in the file",
        "the API changes functions and their settings",
        "a call that would change what the file defines gets 403, with the name of the file",
    ),
)


def parameters() -> Sequence[Parameter]:
    """Return every parameter of AWS's calls for which poller has an option, or which poller refuses."""
    absent = [Parameter(CREATE_MAPPING, name, "", here) for name, here in ABSENT.items()]
    mappings = _declared(CREATE_MAPPING, MappingOptions)
    events = _declared(PUT_EVENT_CONFIG, EventInvokeConfigOptions, within="event_invoke_config.")
    return [*mappings, *absent, *events, *OTHERS]


def as_markdown() -> str:
    """Return both lists as tables in Markdown. The README has this text."""
    shown_by = tests()
    differences = [(one.aws, one.here, _links(shown_by[one.key])) for one in DIFFERENCES]
    rows = [(f"`{one.key}`", _in_words(one), _links(shown_by[one.marker])) for one in parameters()]
    return "\n".join(
        [*_table(("on AWS", "here", "test"), differences), "", *_table(("parameter", "here", "test"), rows)]
    )


def tests() -> Mapping[str, Sequence[str]]:
    """Return the tests of each entry, by its marker, as pytest names them."""
    text = files("poller.cli").joinpath("parity_tests.json").read_text(encoding="utf-8")
    found: dict[str, list[str]] = json.loads(text)
    return found


def _declared(call: str, model: type[Options], *, within: str = "") -> Iterator[Parameter]:
    """Yield the parameters that the options of the model declare. `within` is the path of the model's own table."""
    for leaf in leaves(model):
        fields = [declaration(model, leaf[: depth + 1]) for depth in range(len(leaf))]
        names = [api_name(option, field) for option, field in zip(leaf, fields, strict=True)]
        if None not in names:
            field = fields[-1]
            assert field is not None
            assert field.description is not None, f"{leaf} is not explained"
            yield Parameter(
                call, ".".join(map(str, names)), within + ".".join(leaf), _first_sentence(field.description)
            )


def _first_sentence(explanation: str) -> str:
    """Return the first sentence of an option's explanation on one line."""
    return re.split(r"(?<=\.)\s", explanation.replace("\n", " "), maxsplit=1)[0]


def _in_words(parameter: Parameter) -> str:
    return f"`{parameter.option}`: {parameter.here}" if parameter.option else parameter.here


def _links(found: Sequence[str]) -> str:
    """Return links to the files of these tests; a person finds the test there by its name."""
    return ", ".join(f"[{name}]({path})" for path, _, name in (test.partition("::") for test in found))


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    for row in (headings, ["---"] * len(headings), *rows):
        yield f"| {' | '.join(row)} |"
