"""Which values may an option have? The types of the fields of `Options`.

A `Range` (`options.py`) checks numbers, and `arns.py` has the types of ARNs.

Each function checks one value. It returns the value, sometimes in another form such as seconds since 1970. If the value
breaks a rule, the function raises an error that states the rule (`rule_error`).
"""

from __future__ import annotations

import datetime
import re
from ipaddress import IPv6Address
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema
from yarl import URL

from poller.settings.options import REFERENCE_SCHEMA, rule_error
from poller.settings.table import Substituted

MAXIMUM_FUNCTION_NAME_CHARACTERS = 256
"""The limit of `function_name` as an ARN; a plain name has at most 64 characters.

Source: AWS Lambda API Reference, "CreateEventSourceMapping".
"""

MAXIMUM_NAME_CHARACTERS = 64
"""The limit of a Lambda function's name. Source: AWS Lambda API Reference, "CreateFunction"."""


def _filled(text: str) -> str:
    if not text:
        raise rule_error("must not be empty")
    return text


def _switch(value: object) -> object:
    if isinstance(value, Substituted):
        value = {"true": True, "false": False}.get(value)
    if not isinstance(value, bool):
        raise rule_error("must be true or false")
    return value


def _name(text: str) -> str:
    if not re.fullmatch(_NAME, text):
        raise rule_error(f"a name has 1 to {MAXIMUM_NAME_CHARACTERS} letters, digits, hyphens and underscores")
    return text


def checked_url(text: str) -> str:
    """Check that yarl and urllib accept the url, and that its host can be encoded for DNS."""
    try:
        url = URL(text)
        has_host = bool((url.raw_host or "").encode("idna"))
        is_url = has_host and url.scheme in ("http", "https") and urlsplit(text).port != 0
    except ValueError:
        is_url = False
    if not is_url or re.search(r"[\s\x00-\x1f\x7f]", text):
        raise rule_error("must be a url: http://host:port/path or https://host/path")
    return text


_ADDRESS = re.compile(r"(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<host>[^:\[\]\s]+)):(?P<port>[0-9]{1,5})")
AN_ADDRESS = 'must be an address and a port, as in "127.0.0.1:9464", "0.0.0.0:9464" or "[::1]:9464"'


def _address(text: object) -> tuple[str, int]:
    match = _ADDRESS.fullmatch(text) if isinstance(text, str) else None
    if match is None or int(match["port"]) > 65_535:
        raise rule_error(AN_ADDRESS)
    if match["six"] is not None:
        try:
            mapped = IPv6Address(match["six"]).ipv4_mapped
        except ValueError:
            raise rule_error(AN_ADDRESS) from None
        if mapped is not None:  # the daemon's sockets for IPv6 cannot listen there
            raise rule_error(f'must be written as an address of IPv4: "{mapped}:{match["port"]}"')
    return match["six"] or match["host"], int(match["port"])


def _host_name(text: str) -> str:
    if not re.fullmatch(_HOST_NAME, text):
        raise rule_error('must be a host name, without a port, as in "poller.internal"')
    return text.lower()


def _worker_label(text: str) -> str:
    if not re.fullmatch(_WORKER_LABEL, text):
        raise rule_error("must have 1 to 100 printable ASCII characters, without spaces and without /")
    return text


def _token(text: str) -> str:
    """Check that the token has only the characters of a bearer token. Source: RFC 6750, section 2.1."""
    if not re.fullmatch(r"[A-Za-z0-9._~+/-]+=*", text):
        raise rule_error("must be a token of letters, digits and the characters - . _ ~ + / with = at its end only")
    return text


def _function_name(text: str) -> str:
    if len(text) > MAXIMUM_FUNCTION_NAME_CHARACTERS:
        raise rule_error(f"FunctionName has at most {MAXIMUM_FUNCTION_NAME_CHARACTERS} characters")
    return _filled(text)


def _event_queue(text: str) -> str:
    if not text.startswith("sqlite://") or text.strip("/") == "sqlite:":
        raise rule_error('must be "sqlite:///absolute/path.db" or "sqlite://path-beside-this-file.db"')
    return without_nul(text)


def _account_id(text: str) -> str:
    if not re.fullmatch(r"\d{12}", text, re.ASCII):
        raise rule_error('must be an account of twelve digits, in quotes, as in "123456789012"')
    return text


def _api_keys(keys: dict[str, str]) -> dict[str, str]:
    """Check the secret keys by access key id.

    A fault shows neither the secret key nor its id, because a person may have exchanged them.
    """
    if not all(re.fullmatch(r"\w{1,128}", key_id, re.ASCII) for key_id in keys):
        raise rule_error("an access key id has 1 to 128 letters, digits and underscores")
    if not all(re.fullmatch(r"[!-~]{1,1024}", secret) for secret in keys.values()):
        raise rule_error("a secret key has 1 to 1024 characters of ASCII, without spaces")
    return keys


def _handler(text: str) -> str:
    module, _, callable_name = text.partition(":")
    if not all(part.isidentifier() for part in [*module.split("."), *callable_name.split(".")]):
        raise rule_error('must be "module:callable", as in "signup.functions:insert_records"')
    return text


_LAST_MOMENT = datetime.datetime.max.replace(tzinfo=datetime.UTC).timestamp()


def _moment(value: object) -> float:
    """Return epoch seconds. The value is a TOML date-time with an offset, or a number."""
    if isinstance(value, Substituted):
        try:
            value = float(value)
        except ValueError:
            value = None
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        value = value.timestamp()
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _LAST_MOMENT:
        return float(value)
    rule = "must be a date-time with its offset, as in 2026-01-31T12:00:00Z, or seconds since 1970"
    if isinstance(value, int | float) and _LAST_MOMENT < value <= _LAST_MOMENT * 1000:
        rule += "; these look like milliseconds, so divide them by 1000"
    raise rule_error(rule)


def _header(name: str) -> str:
    if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
        raise rule_error("is not the name of an HTTP header")
    if name.lower() in ("content-length", "transfer-encoding", "host", "connection"):
        raise rule_error("cannot be set here, because every request has this header already")
    return name


def _header_value(text: str) -> str:
    if re.search(r"[\r\n]", text):
        raise rule_error("an HTTP header's value is one line")
    if re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", text):
        raise rule_error("must not hold control characters")
    return text


def without_nul(text: str) -> str:
    if "\0" in text:
        raise rule_error("must not hold the character NUL")
    return text


def _variable(name: str) -> str:
    """Check that the name obeys AWS Lambda's rule. A shell silently drops variables with other names.

    Source: AWS Lambda Developer Guide, "Working with Lambda environment variables".
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise rule_error("an environment variable's name has letters, digits and underscores, and begins with a letter")
    if name == "AWS_LAMBDA_RUNTIME_API":
        raise rule_error("is set by the daemon itself, for each child process")
    return name


def _uuid(text: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", text):
        raise rule_error("must be a UUID: 8-4-4-4-12 hexadecimal digits")
    return text.lower()


_NAME = rf"[A-Za-z0-9_-]{{1,{MAXIMUM_NAME_CHARACTERS}}}"
_HOST_NAME = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252}[A-Za-z0-9_])?"
_WORKER_LABEL = r"[!-.0-~]{1,100}"
_TEXT_SCHEMA = {"type": "string"}
_MOMENT_SCHEMA: dict[str, Any] = {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string"}]}

Text = Annotated[str, AfterValidator(_filled)]
Argument = Annotated[str, AfterValidator(_filled), AfterValidator(without_nul)]
Switch = Annotated[bool, BeforeValidator(_switch), WithJsonSchema({"anyOf": [{"type": "boolean"}, REFERENCE_SCHEMA]})]
Name = Annotated[str, AfterValidator(_name), WithJsonSchema({"type": "string", "pattern": f"^{_NAME}$"})]
Url = Annotated[str, AfterValidator(checked_url)]
Address = Annotated[tuple[str, int], BeforeValidator(_address), WithJsonSchema(_TEXT_SCHEMA)]
HostName = Annotated[str, AfterValidator(_host_name), WithJsonSchema({"type": "string", "pattern": f"^{_HOST_NAME}$"})]
WorkerLabel = Annotated[
    str, AfterValidator(_worker_label), WithJsonSchema({"type": "string", "pattern": f"^{_WORKER_LABEL}$"})
]
Token = Annotated[str, AfterValidator(_token)]
FunctionReference = Annotated[str, AfterValidator(_function_name)]
EventQueue = Annotated[str, AfterValidator(_event_queue)]
AccountId = Annotated[str, AfterValidator(_account_id)]
ApiKeys = Annotated[dict[str, str], AfterValidator(_api_keys)]
Handler = Annotated[str, AfterValidator(_handler)]
Moment = Annotated[float, BeforeValidator(_moment), WithJsonSchema(_MOMENT_SCHEMA)]
Header = Annotated[str, AfterValidator(_header)]
HeaderValue = Annotated[str, AfterValidator(_header_value)]
Variable = Annotated[str, AfterValidator(_variable)]
VariableValue = Annotated[str, AfterValidator(without_nul)]
Uuid = Annotated[str, AfterValidator(_uuid)]
