"""Which members does each answer of /api/ have? One class describes each JSON object. openapi.py reads these classes.

readiness.py, status_report.py, scaling.py and the changes of the daemon make the answers. Tests compare them with these
classes.
A member with a default is absent for some mappings: a queue, for example, has no shards.
Times are in ISO 8601 and in UTC: 2026-01-31T12:00:00Z.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from poller.model.event import EventAction
from poller.model.order import Action
from poller.model.status import MappingState, WorkerState


class Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Failure(Answer):
    """Why a request was refused. Every error of /api/ has this form."""

    error: str
    faults: list[str] = Field([], description="Every fault of a settings file, for the status 422.")


class Blocked(Answer):
    """A blocked shard: the batch that blocks it, why, and what a person may order."""

    shard: str
    reason: str
    detail: str | None = Field(description="The message of the failure; null if the reader may not see it.")
    since: str
    attempt: int | None
    next_try: str | None
    records: int
    start_sequence_number: str | None
    end_sequence_number: str | None
    kept_until: str | None = Field(description="The time until which the stream keeps the first record at least.")
    actions: list[Action]


class BlockedWithKeys(Blocked):
    """A blocked shard, with the keys of the records that block it."""

    keys: list[str] | None = Field(description="The first different keys; null if the reader may not see them.")


class Entry(Answer):
    """The state of a mapping, or of the asynchronous events of a function."""

    state: MappingState
    reason: str | None
    since: str | None
    attempt: int | None = Field(description="The number of failed tries in a row.")
    next_try: str | None


class MappingEntry(Entry):
    shards_blocked: int = 0
    blocked: list[Blocked] = Field([], description="The shards that are blocked longest.")


class EventsEntry(Entry):
    waiting: int
    in_flight: int
    stuck: int
    oldest_age_in_seconds: float


class LastErrorEntry(Answer):
    at: str
    error: str
    detail: str | None = Field(description="The function's message; null if the reader may not see it.")


class Shards(Answer):
    reading: int
    waiting: int
    drained: int


class Lane(Answer):
    """A lane of a shard that has records in hand."""

    number: int
    records: int
    is_invoking: bool
    reason: str | None = Field(description="Why the lane is blocked; null if it is not.")
    attempt: int | None = Field(description="The number of failed tries in a row.")
    next_try: str | None


class ReadShard(Answer):
    """A shard that a worker reads."""

    shard: str
    worker: str
    read_since: str | None
    position: str = Field(description="Every record before this position is done.")
    behind_in_seconds: float
    records_in_hand: int
    blocked_since: str | None
    lanes: list[Lane]


class QueueEntry(Answer):
    """How many messages a queue has, as SQS counts them; null if they are unknown."""

    visible: int | None
    in_flight: int | None
    delayed: int | None
    unknown: str | None = Field(description="Why the numbers are unknown.")


class QueueNumbers(QueueEntry):
    oldest_in_hand_age_in_seconds: float | None = Field(
        description="The age of the oldest message that the daemon has received and not finished; null without one. "
        "SQS tells the age of the oldest message of the queue to CloudWatch only."
    )


class Queues(Answer):
    """How many messages the queue of each mapping has."""

    queues: dict[str, QueueEntry]


class LastMinutes(Answer):
    """The last 30 minutes of a function, in all its mappings and its asynchronous events."""

    throttles: int = Field(description="Attempts to invoke a function that was throttled or could not be reached.")
    invocations: int
    p50_in_seconds: float | None = Field(description="Half of the invocations took no longer; null without one.")
    p99_in_seconds: float | None = Field(description="99 of 100 invocations took no longer; null without one.")


class LastMinutesOfMapping(LastMinutes):
    """The last 30 minutes of a mapping. A list has a number for each interval, the oldest first."""

    interval_in_seconds: float
    records: list[int] = Field(description="Records in invocations that have ended.")
    failed: list[int]


class Child(Answer):
    pid: int
    is_busy: bool
    age_in_seconds: float


class Children(Answer):
    """The child processes of a function."""

    running: int
    busy: int
    failed: int = Field(description="How many child processes have crashed, timed out or could not start.")
    first: list[Child] = Field(description="The first of them, the busy ones first.")


class WrittenLine(Answer):
    at: str
    pid: int | None = Field(description="The child process; null for the log tail of a failed invocation.")
    text: str


class FunctionNumbers(Answer):
    """What a function does now."""

    running: int = Field(description="Invocations that run, of mappings, events and clients together.")
    waiting: int = Field(description="Invocations that wait for one of them to end.")
    limit: int = Field(description="How many invocations may run at once.")
    children: Children | None = Field(description="Null if the function has no child processes.")
    last_30_minutes: LastMinutes
    log: list[WrittenLine] | None = Field(description="The last lines; null if the reader may not see them.")


class MappingNumbers(MappingEntry):
    source: str
    destination: str | None
    function: str
    polls_in_flight: int
    batches_in_flight: int
    records_in_hand: int
    concurrency_limit: int
    last_error: LastErrorEntry | None
    iterator_age_in_seconds: float | None = Field(None, description="Null while no shard is read.")
    shards: Shards | None = None
    last_30_minutes: LastMinutesOfMapping | None = None
    shards_read: list[ReadShard] = Field(
        [], description="The first shards that are read: the blocked ones first, then those that are most behind."
    )
    queue: QueueNumbers | None = None


class WorkerEntry(Answer):
    state: WorkerState
    reason: str | None
    pid: int | None
    since: str
    restarts: int


class LiveWorker(Answer):
    worker: str
    leases: int
    bytes_per_second: float
    is_stopping: bool


class LeaseEntry(Answer):
    mapping: str
    shard: str
    worker: str | None
    seconds: float = Field(
        description="For how long `worker` has had the lease; if it is null, for how long no worker has had it."
    )


class Sharing(Answer):
    """How the daemon shares the leases of its state with other workers."""

    shards: int
    units: int
    state_silence_in_seconds: float
    heartbeat_age_in_seconds: float
    unread_in_seconds: float
    workers: list[LiveWorker]
    leases: list[LeaseEntry]


class Readiness(Answer):
    """Whether every mapping has found its source, and the state of each mapping."""

    ready: bool
    mappings: dict[str, MappingEntry]
    events: dict[str, EventsEntry]
    workers: dict[str, WorkerEntry] = {}


class Status(Answer):
    """The state of each mapping with its numbers."""

    ready: bool
    mappings: dict[str, MappingNumbers]
    events: dict[str, EventsEntry]
    functions: dict[str, FunctionNumbers]
    sharing: Sharing | None = None
    workers: dict[str, WorkerEntry] = {}


class BlockedShards(Answer):
    """All blocked shards of one mapping, at most a thousand."""

    mapping: str
    source: str = Field(description="The ARN of the queue or stream. A queue has no shards.")
    destination: str | None
    blocked: list[BlockedWithKeys]


class BacklogNumbers(Answer):
    """How much work waits."""

    seconds_to_catch_up: float
    shards: int
    messages_waiting: int
    events_waiting: int


class Health(Answer):
    healthy: bool


class Names(Answer):
    added: list[str]
    replaced: list[str]
    removed: list[str]


class Replaced(Answer):
    replaced: list[str]


class Reloaded(Answer):
    """The changes that a reload has made, or the function that was restarted."""

    mappings: Names | None = None
    failed: dict[str, str] = {}
    functions: Names | None = None
    events: Replaced | None = None
    options: list[str] = []
    needs_restart: list[str] = []
    warnings: list[str] = []
    restarted: str | None = None


class Pausing(Answer):
    mapping: str
    was_paused: bool
    survives_restart: bool = Field(description="Whether a pause survives a restart; not if the state is in memory.")


class Ordered(Answer):
    """The order that was given, and what blocked the shard before."""

    mapping: str
    shard: str
    action: Action
    records: int
    reason: str
    blocked_since: str


class ShardPositionEntry(Answer):
    """The stored position of a shard, in words."""

    shard: str
    position: str | None = Field(description="null if a person has reset the shard.")
    saved_at: str | None
    reader: str | None = Field(description="The worker that reads the shard.")


class Positions(Answer):
    """The stored positions of one mapping: those of its first thousand shards."""

    mapping: str
    stream_arn: str
    set_by_hand: str | None = Field(
        description="Where shards without a position begin, if a person has set this; else null."
    )
    shards: list[ShardPositionEntry]
    shards_stored: int
    version: str = Field(description="Changes with each write of the positions.")


class PositionMoved(Answer):
    """The move of positions, in words. `is_made` is false if the client only wanted to see it."""

    mapping: str
    shard: str | None = Field(description="The shard that moves; null if the whole mapping moves.")
    before: str = Field(description="The positions before the move.")
    position: str = Field(description="The new position.")
    effect: str = Field(description="Which records the function gets again, and which it never gets.")
    version: str = Field(description="The version of the positions before the move.")
    is_made: bool


class StuckEvent(Answer):
    """A stuck event, without its payload."""

    request_id: str
    accepted_at: str
    attempts: int
    size_in_bytes: int
    stuck: str = Field(description="Why it is stuck; empty if the settings no longer have its function.")


class StuckEvents(Answer):
    """The stuck events of one function: the oldest thousand, and the number of all."""

    function: str
    is_known: bool = Field(description="Whether the settings have the function. If not, its events cannot be retried.")
    total: int
    events: list[StuckEvent]


class EventsChanged(Answer):
    """How many events were retried or dropped."""

    function: str
    action: EventAction
    request_id: str | None
    events: int
