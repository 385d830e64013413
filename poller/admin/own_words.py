"""What does a reader see in place of a function's own words, if the reader may not see them?

A function writes its error messages and the names of its errors. A name such as `KeyError` may be any text. So such a
reader sees only names that poller, AWS Lambda or HTTP has given, and `FunctionError` in place of any other name.
"""

from __future__ import annotations

import re

HIDDEN_ERROR = "FunctionError"

_NAMES_OF_OTHERS = re.compile(
    r"HTTP\.\d{3}|LostAnswer|InvalidResponse|batchItemFailures|RecordTooLarge|RequestEntityTooLarge"
    r"|Sandbox\.Timedout|Function\.ResponseSizeTooLarge"
    r"|Runtime\.(ExitError|OutOfMemory|HandlerNotFound|ImportModuleError|InvalidEntrypoint|MalformedHandlerName"
    r"|UserCodeSyntaxError|MarshalError)"
)


def shown_error(name: str, *, sees_words: bool) -> str:
    """Return the name of an error that a function may have chosen, as this reader may see it."""
    return name if sees_words or _NAMES_OF_OTHERS.fullmatch(name) else HIDDEN_ERROR


def shown_reason(reason: str, *, is_function_error: bool, sees_words: bool) -> str:
    """Return why a shard or a lane is blocked, as this reader may see it."""
    return shown_error(reason, sees_words=sees_words) if is_function_error else reason
