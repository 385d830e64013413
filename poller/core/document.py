"""What is sent to a destination?

A text, mostly JSON, and other values with which a service delivers or stores the text.

A destination receives one of three kinds of document:

discarded batch     the invocation record of the batch; an object in a bucket also has the batch's event
ended event         the invocation record of the event, which contains the event
dead letter         the event itself, with message attributes that say why it failed
"""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

import orjson


class Attribute(NamedTuple):
    """An attribute of a message. `data_type` is "String" or "Number"; `value` is never empty."""

    name: str
    data_type: str
    value: str


class Document(NamedTuple):
    """A document that a destination receives. It is the same for every try of a delivery.

    `text` is the document. `event` is the event of a discarded batch, even if the function never got it; else None.
    A destination that stores objects makes their names from `folder`, `at` (epoch seconds) and `document_id`.
    `detail_type` and `function_arn` are for an event bus. They say how the event ended, and which function it was for.
    `attributes` are the attributes of a message.
    `trace` and `traceparent` are the trace headers that are sent with the document. Each may be empty.
    """

    text: bytes
    event: bytes | None
    folder: str
    at: float
    document_id: UUID
    detail_type: str = ""
    function_arn: str = ""
    attributes: tuple[Attribute, ...] = ()
    trace: str = ""
    traceparent: str = ""

    @property
    def text_with_event(self) -> bytes:
        """Return the text of an object in a bucket. It also contains the event of a discarded batch."""
        if self.event is None:
            return self.text
        return self.text[:-1] + b',"payload":' + orjson.dumps(self.event.decode()) + b"}"
