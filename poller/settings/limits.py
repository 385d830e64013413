"""How large or small may a number be? Ranges as data; the messages and the JSON Schema are made from them.

A range is written beside a field's type: `batch_size: Annotated[int | None, BATCH_SIZE]`.
A number may also come out of `${NAME}`, as text; text that stands in the file itself is not a number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import core_schema

from poller.settings.faults import rule_error
from poller.settings.table import Substituted

REFERENCE_SCHEMA: JsonSchemaValue = {"type": "string", "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}"}
"""What an editor accepts instead of a number: `${NAME}` or `${NAME:-10}`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """`name` is AWS's where AWS has one. `no_limit` is a number outside the range that stands for "no limit"."""

    name: str
    lowest: float
    highest: float
    unit: str
    source: str
    is_whole: bool = True
    no_limit: int | None = None

    def __str__(self) -> str:
        kind = "a whole number" if self.is_whole else "a number"
        otherwise = "" if self.no_limit is None else f", or {self.no_limit} for no limit"
        return f"{self.name} must be {kind} of {self.unit} from {self.lowest} to {self.highest}{otherwise}"

    def read(self, value: object) -> float:
        """The number that was written, or a PydanticCustomError that says what may be written."""
        number = _number(value) if isinstance(value, Substituted) else value
        if isinstance(number, bool) or not isinstance(number, int if self.is_whole else int | float):
            raise rule_error(str(self))
        if number != self.no_limit and not self.lowest <= number <= self.highest:
            raise rule_error(str(self))
        return number

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(self.read, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        kind = "integer" if self.is_whole else "number"
        choices: list[JsonSchemaValue] = [{"type": kind, "minimum": self.lowest, "maximum": self.highest}]
        if self.no_limit is not None:
            choices.append({"const": self.no_limit})
        return {"anyOf": [*choices, REFERENCE_SCHEMA]}


def _number(text: str) -> float | None:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None


_API = 'AWS Lambda API Reference, "CreateEventSourceMapping"'

BATCH_SIZE = Range(name="BatchSize", lowest=1, highest=10_000, unit="records", source=_API)
FIFO_BATCH_SIZE = Range(
    name="BatchSize of a FIFO queue",
    lowest=1,
    highest=10,
    unit="records",
    source='AWS Lambda Developer Guide, "Creating and configuring an Amazon SQS event source mapping"',
)
BATCHING_WINDOW = Range(name="MaximumBatchingWindowInSeconds", lowest=0, highest=300, unit="seconds", source=_API)
MAXIMUM_CONCURRENCY = Range(
    name="MaximumConcurrency",
    lowest=1,
    highest=1000,
    unit="invocations at once",
    source=f"{_API}, ScalingConfig: AWS begins at 2, we at 1",
)
PARALLELIZATION_FACTOR = Range(name="ParallelizationFactor", lowest=1, highest=10, unit="batches at once", source=_API)
RECORD_AGE = Range(
    name="MaximumRecordAgeInSeconds", lowest=60, highest=604_800, unit="seconds", source=_API, no_limit=-1
)
RETRY_ATTEMPTS = Range(name="MaximumRetryAttempts", lowest=0, highest=10_000, unit="attempts", source=_API, no_limit=-1)
TUMBLING_WINDOW = Range(name="TumblingWindowInSeconds", lowest=0, highest=900, unit="seconds", source=_API)
TIMEOUT = Range(
    name="timeout_in_seconds",
    lowest=0.1,
    highest=42_000,
    unit="seconds",
    source="ours: SQS hides a message for 43,200 seconds in all, and it is received before its function begins",
    is_whole=False,
)
LAMBDA_TIMEOUT = Range(
    name="timeout_in_seconds of an arn",
    lowest=0.1,
    highest=1800,
    unit="seconds",
    source='AWS Lambda Developer Guide, "Lambda quotas": 30 minutes for a synchronous invocation',
    is_whole=False,
)
RESERVED_CONCURRENCY = Range(
    name="reserved_concurrency", lowest=1, highest=10_000, unit="invocations at once", source="ours"
)
MEMORY_SIZE = Range(
    name="memory_size_in_mb",
    lowest=128,
    highest=1_048_576,
    unit="MB",
    source="AWS Lambda API Reference, CreateFunction, MemorySize, for the lowest; the highest is ours",
)
SHUTDOWN_GRACE = Range(
    name="shutdown_grace_in_seconds", lowest=0, highest=3600, unit="seconds", source="ours", is_whole=False
)

QUEUE_BATCH_SIZE = 10
"""Where an SQS mapping says nothing: AWS Lambda API Reference, "CreateEventSourceMapping"."""

STREAM_BATCH_SIZE = 100
"""Where a stream's mapping says nothing: the same page."""

UNGATHERED_BATCH_SIZE = 10
"""The most that an SQS mapping may ask for without a batching window: the same page."""

MAXIMUM_FILTERS = 10
"""Five, and ten on request: AWS Lambda Developer Guide, "Control which events Lambda sends to your function"."""

MAXIMUM_PATTERN_CHARACTERS = 4096
"""AWS Lambda API Reference, "Filter"."""

MAXIMUM_DESTINATION_ARN_CHARACTERS = 350
"""AWS Lambda API Reference, "OnFailure"."""

MAXIMUM_FUNCTION_NAME_CHARACTERS = 256
"""AWS Lambda API Reference, "CreateEventSourceMapping"; 64 where only a name is given."""

MAXIMUM_NAME_CHARACTERS = 64
"""As a Lambda function's own name: AWS Lambda API Reference, "CreateFunction"."""

LAMBDA_API_CONCURRENCY = 1000
"""Where an `arn` says nothing: an account's default quota. AWS Lambda Developer Guide, "Lambda quotas"."""

HTTP_CONCURRENCY = 10
"""For each url, where nothing is said: as many as AWS lets a queue's mapping begin with, and twice."""

DEFAULT_TIMEOUT_IN_SECONDS: float = 30
"""AWS's own three seconds are meant for web requests; thirty is how long a queue hides a message by default."""

DEFAULT_SHUTDOWN_GRACE_IN_SECONDS: float = 30
"""As long as an orchestrator commonly waits before it kills."""
