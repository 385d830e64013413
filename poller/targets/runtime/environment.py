"""Which environment variables does a child process get?

Three layers: the daemon's variables that children inherit, Lambda's variables, and the function's `environment`.
A later layer overrides an earlier one.
With `inherit_credentials = false` the first layer lacks all variables that lead an AWS SDK to the daemon's credentials:
keys, profiles, files, roles and metadata services. A child of the same user can still read that user's files.
Lambda's variables are the variables that code for Lambda reads.
If a function has no limit of memory, AWS_LAMBDA_FUNCTION_MEMORY_SIZE has the value that AWS's own emulator shows.
Source: AWS Lambda Developer Guide, "Using Lambda environment variables".
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime

from poller.model.function import ChildProcess, Function

CREDENTIAL_FREE = re.compile(
    "AWS_(CA_BUNDLE|ENDPOINT_URL(_.*)?|MAX_ATTEMPTS|RETRY_MODE|USE_DUALSTACK_ENDPOINT|USE_FIPS_ENDPOINT)"
)
"""The AWS_ variables that a child inherits even if it does not inherit credentials."""

NO_CREDENTIALS = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "BOTO_CONFIG": os.devnull,
}
"""Variables that keep an SDK from searching for credentials in the home folder and at the metadata service."""

UNLIMITED_MEMORY_SIZE_IN_MB = 3008


def environment(
    function: Function,
    kind: ChildProcess,
    api_address: str,
    *,
    inherited: Mapping[str, str],
    region: str,
    endpoint_url: str | None,
) -> dict[str, str]:
    """Return the whole environment of a new child process. `api_address` is `host:port`."""
    lambdas_own = {
        "AWS_LAMBDA_RUNTIME_API": api_address,
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(memory_size_in_mb(kind)),
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": f"{datetime.now(UTC):%Y/%m/%d}/[$LATEST]{uuid.uuid4().hex}",
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "LAMBDA_TASK_ROOT": kind.directory,
        "TZ": ":UTC",
        "_HANDLER": kind.handler or _last_argument(kind.command),
    }
    if endpoint_url is not None:
        lambdas_own["AWS_ENDPOINT_URL"] = endpoint_url
    if not kind.inherits_credentials:
        inherited = _without_credentials(inherited)
    return {**inherited, **lambdas_own, **kind.environment}


def memory_size_in_mb(kind: ChildProcess) -> int:
    """Return the memory size that the function finds in its environment."""
    return kind.memory_size_in_mb or UNLIMITED_MEMORY_SIZE_IN_MB


def _without_credentials(inherited: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in inherited.items() if _leads_to_no_credentials(name)}
    return kept | NO_CREDENTIALS


def _leads_to_no_credentials(name: str) -> bool:
    return not name.startswith("AWS_") or CREDENTIAL_FREE.fullmatch(name) is not None


def _last_argument(command: tuple[str, ...]) -> str:
    """Return the last argument, or an empty text. In `node …/aws-lambda-ric index.handler` it is the handler."""
    return command[-1] if len(command) > 1 else ""
