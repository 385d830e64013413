"""What happens to the messages of a queue? Successful receives and deletes are emitted thousands of times a second."""

from __future__ import annotations

from typing import Literal, NamedTuple

from poller.facts.batches import RECORDS_POLLED
from poller.facts.declaration import Counter, Label, Line, declare
from poller.model.ids import FunctionName, MappingName

OUTCOME = Label("outcome", ("retried", "given_up"))
"""Whether a failed request about messages is tried again or given up."""

MESSAGES_DELETED = Counter("poller_messages_deleted_total", "Messages that were deleted from the queue.", of="queue")


@declare(
    Line("debug"),
    RECORDS_POLLED.by("records"),
    Counter("poller_receives_total", "ReceiveMessage requests that were answered.", of="queue").by(1),
    Counter("poller_empty_receives_total", "ReceiveMessage requests that returned no message.", of="queue").by(
        1, when=lambda fact: not fact.records
    ),
)
class MessagesReceived(NamedTuple):
    """SQS answered a ReceiveMessage request of the mapping, with up to ten messages or with none."""

    mapping: MappingName
    records: int


@declare(Line("debug"), MESSAGES_DELETED.by("records"))
class MessagesDeleted(NamedTuple):
    """The mapping deleted messages from the queue, because they are done."""

    mapping: MappingName
    records: int


@declare(
    Line("warning", once_per=("mapping", "is_given_up")),
    Counter(
        "poller_delete_failures_total",
        "Messages that could not be deleted. Each failed try counts. Messages that are given up are received again.",
        of="queue",
        labels=(OUTCOME,),
    ).by("records"),
)
class DeleteFailed(NamedTuple):
    """The mapping could not delete messages that are done, and tries again. If `is_given_up` is true, it does not try
    again, and the queue delivers the messages a second time.
    """

    mapping: MappingName
    records: int
    code: str
    is_given_up: bool

    @property
    def outcome(self) -> Literal["retried", "given_up"]:
        return "given_up" if self.is_given_up else "retried"


@declare(
    Line("debug"),
    Counter(
        "poller_visibility_extensions_total",
        "Messages whose visibility timeout was extended, because they wait or their invocation runs.",
        of="queue",
    ).by("records"),
)
class VisibilityExtended(NamedTuple):
    """The mapping extended the visibility timeout of messages, because they wait or their invocation runs."""

    mapping: MappingName
    records: int


@declare(
    Line("warning", once_per=("mapping", "is_given_up")),
    Counter(
        "poller_visibility_change_failures_total",
        "Messages whose visibility timeout could not be changed. Each failed try counts.",
        of="queue",
        labels=(OUTCOME,),
    ).by("records"),
)
class VisibilityChangeFailed(NamedTuple):
    """The mapping could not change the visibility timeout of messages, and tries again. If `is_given_up` is true, it
    does not try again, and the queue may deliver the messages at a wrong time.
    """

    mapping: MappingName
    records: int
    code: str
    is_given_up: bool

    @property
    def outcome(self) -> Literal["retried", "given_up"]:
        return "given_up" if self.is_given_up else "retried"


@declare(
    Line("warning", once_per=("mapping",)),
    Counter(
        "poller_receipts_expired_total",
        "Messages that became visible again while they waited for an invocation. The queue delivers them again.",
        of="queue",
    ).by("records"),
)
class ReceiptsExpired(NamedTuple):
    """The mapping received messages, and they became visible in the queue again before the function was invoked with
    them. The oldest one waited for `waited_seconds`. The queue delivers these messages again.
    """

    mapping: MappingName
    function: FunctionName
    records: int
    waited_seconds: float


@declare(
    Line("info"),
    Counter(
        "poller_messages_released_total", "Messages that were made visible again when the mapping stopped.", of="queue"
    ).by("records"),
)
class MessagesReleased(NamedTuple):
    """The mapping stops. It has made messages visible in the queue again, because they were not done."""

    mapping: MappingName
    records: int
