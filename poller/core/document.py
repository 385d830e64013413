"""What is sent to a destination? A JSON document, and what a service needs besides to store it."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

import orjson


class Document(NamedTuple):
    """What a destination receives. It is the same for every try of a delivery.

    `text` is the invocation record as JSON. `event` is the event of the batch, even if the function never got it.
    A destination that stores objects makes their names from `folder`, `at` (epoch seconds) and `document_id`.
    """

    text: bytes
    event: bytes
    folder: str
    at: float
    document_id: UUID

    @property
    def text_with_event(self) -> bytes:
        return self.text[:-1] + b',"payload":' + orjson.dumps(self.event.decode()) + b"}"
