"""What does the dead-letter queue of a function receive? The event as it was sent, and three attributes:

    RequestID      String   the event's request id
    ErrorCode      Number   the status of the last attempt, for example 200 if the function failed, 429 if it was
                            throttled, 404 if it does not exist; absent if no attempt was made
    ErrorMessage   String   the first 1024 bytes of the error's text

Source: AWS Lambda Developer Guide, "Dead-letter queues". We copied the texts from answers of AWS, with their mistakes.
We chose the text for an event that reached its maximum age before the first attempt.
"""

from __future__ import annotations

from poller.core.document import Attribute
from poller.model.event import Ending, Event

MAXIMUM_MESSAGE_BYTES = 1024

NO_CONCURRENCY = "Function not invoked. Function isconfigured with zero reserved concurrent executions"
NEVER_TRIED = "Event age exceeded."


def attributes_of(event: Event) -> tuple[Attribute, ...]:
    """Return the attributes of the event's dead-letter message. The event must have ended."""
    ending = event.ending
    assert ending is not None, "only an ended event is a dead letter"
    attributes = [Attribute("RequestID", "String", event.request_id)]
    if ending.last is not None:
        attributes.append(Attribute("ErrorCode", "Number", str(ending.last.status_code)))
    if message := _message(ending):
        attributes.append(Attribute("ErrorMessage", "String", message))
    return tuple(attributes)


def _message(ending: Ending) -> str:
    """Return the error's text, cut between two characters.

    The text may be empty. Then the message must not have the attribute, because SQS and SNS reject an empty one.
    """
    if ending.last is not None:
        text = ending.last.error_message
    else:
        text = NO_CONCURRENCY if ending.condition == "ZeroReservedConcurrency" else NEVER_TRIED
    return text.encode(errors="replace")[:MAXIMUM_MESSAGE_BYTES].decode(errors="ignore")
