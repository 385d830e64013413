"""How large may a message be? A document above the service's limit is rejected before it is sent.

The invocation record of a batch that a stream mapping discards has less than 4 KB, far below every limit.
"""

from __future__ import annotations

from poller.core.document import Document
from poller.errors import Rejected


def message_of(document: Document, *, limit_in_bytes: int) -> str:
    """Return the document as the text of a message. Raises Rejected if it has more bytes than the limit."""
    size = len(document.text)
    if size > limit_in_bytes:
        raise Rejected(
            f"the invocation record has {size} bytes; a message may have {limit_in_bytes}", code="DocumentTooLarge"
        )
    return document.text.decode()
