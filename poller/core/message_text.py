"""Which characters does SQS not accept in a message, and what is sent instead?

    in JSON           U+FFFE and U+FFFF; each becomes its escape, which means the same. JSON never contains control
                      characters unescaped
    in other text     U+FFFE, U+FFFF, halves of surrogate pairs, and control characters except tab and line breaks;
                      each becomes U+FFFD, the replacement character

Colours in the text of an error are control characters.
If one of these characters is in a message, SQS refuses the whole message, and SNS cannot pass it on to SQS.

Source: Amazon SQS API Reference, "SendMessage", MessageBody; Amazon SQS Developer Guide, "Message attribute
components": the value of an attribute has the same restrictions as the body.
"""

from __future__ import annotations

import re

ESCAPES = {0xFFFE: "\\ufffe", 0xFFFF: "\\uffff"}
REFUSED = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def json_text(text: str) -> str:
    """Return JSON that has the same meaning and only characters that SQS accepts."""
    return text.translate(ESCAPES)


def plain_text(text: str) -> str:
    """Return the text with U+FFFD in place of each character that SQS does not accept."""
    return REFUSED.sub("\ufffd", text)
