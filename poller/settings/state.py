"""Where may the state be stored? In a file, in memory, or in a table of DynamoDB.

    sqlite:///absolute/path.db, sqlite://path-beside-this-file.db
    memory:
    dynamodb://TABLE?region=eu-west-1&endpoint_url=http://127.0.0.1:8000&role_arn=arn:aws:iam::123456789012:role/leases

Each parameter of a table may be missing. Then the daemon's own region, endpoint or identity is used.
"""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator

from poller.model.lease import TableAddress
from poller.settings.arns import checked_role_arn
from poller.settings.faults import unknown_key
from poller.settings.fields import checked_url, without_nul
from poller.settings.options import rule_error

PARAMETERS = TableAddress._fields[1:]


def table_address(text: str) -> TableAddress:
    """Parse the address of a table. Raises the error of a broken rule."""
    table, _, query = text.removeprefix("dynamodb://").partition("?")
    checked_table_name(table)
    parameters = _parameters(query) if query else {}
    if (region := parameters.get("region")) is not None and not re.fullmatch(r"[a-z0-9-]+", region):
        raise rule_error('region must be a region, as in "eu-west-1"')
    if (endpoint_url := parameters.get("endpoint_url")) is not None:
        checked_url(endpoint_url)
        if "@" in urlsplit(endpoint_url).netloc:
            raise rule_error("endpoint_url must have no user and no password, because the state is shown to people")
    if (role_arn := parameters.get("role_arn")) is not None:
        checked_role_arn(role_arn)
    return TableAddress(table, region, endpoint_url, role_arn)


def checked_table_name(text: str) -> str:
    """Return the name of a table. Raises the error of a broken rule."""
    if not re.fullmatch(r"[A-Za-z0-9_.-]{3,255}", text):
        raise rule_error("the name of a table has 3 to 255 letters, digits and the characters _ - .")
    return text


def _parameters(query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True)
    except ValueError:
        raise rule_error(f"after the ? come parameters such as region=eu-west-1; the known ones are {_KNOWN}") from None
    for name, _ in pairs:
        if name not in PARAMETERS:
            raise rule_error(f"{name}: {unknown_key(name, PARAMETERS)}")
    if len(dict(pairs)) < len(pairs):
        raise rule_error("each parameter after the ? may occur only once")
    return dict(pairs)


_KNOWN = ", ".join(PARAMETERS)


def _state(text: str) -> str:
    if text.startswith("dynamodb://"):
        table_address(text)
    elif text != "memory:" and not (text.startswith("sqlite://") and text.strip("/") != "sqlite:"):
        raise rule_error(
            'must be "sqlite:///absolute/path.db", "sqlite://path-beside-this-file.db", "dynamodb://TABLE" or "memory:"'
        )
    return without_nul(text)


State = Annotated[str, AfterValidator(_state)]
TableName = Annotated[str, AfterValidator(checked_table_name)]
