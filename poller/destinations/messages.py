"""How does a document become a message? Its text is the body, and it may have attributes.

A document above the service's limit is rejected before it is sent. Attributes count towards the limit.
The invocation record of a batch that a stream mapping discards has less than 4 KB, far below every limit.
Sources: Amazon SQS Developer Guide, "Amazon SQS message metadata"; Amazon SNS Developer Guide, "Amazon SNS message
attributes".
"""

from __future__ import annotations

from poller.core.document import Attribute, Document
from poller.core.message_text import json_text, plain_text
from poller.errors import DocumentTooLarge


def message_of(document: Document, *, limit_in_bytes: int) -> str:
    """Return the document as the text of a message. Raises DocumentTooLarge if it has more bytes than the limit."""
    size = len(document.text) + sum(len(part.encode()) for attribute in document.attributes for part in attribute)
    check_size(size, limit_in_bytes=limit_in_bytes)
    return json_text(document.text.decode(errors="replace"))  # a dead letter has the bytes that were sent, JSON or not


def with_attribute(document: Document, name: str, value: str) -> Document:
    """Return the document with one more attribute. If the value is empty, return the document unchanged."""
    if not value:
        return document
    return document._replace(attributes=(*document.attributes, Attribute(name, "String", value)))


def attributes_of(document: Document) -> dict[str, dict[str, str]]:
    """Return the message's attributes in the form that "SendMessage" and "Publish" take."""
    return {
        attribute.name: {"DataType": attribute.data_type, "StringValue": plain_text(attribute.value)}
        for attribute in document.attributes
    }


def check_size(size: int, *, limit_in_bytes: int) -> None:
    if size > limit_in_bytes:
        raise DocumentTooLarge(
            f"the document has {size} bytes; the destination accepts {limit_in_bytes}", code="DocumentTooLarge"
        )
