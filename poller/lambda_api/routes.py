"""Which call of Lambda's API does a request make? The method and the path decide; the path names the function.

    POST  /2015-03-31/functions/NAME/invocations                     Invoke
    POST  /2014-11-13/functions/NAME/invoke-async                    InvokeAsync
    POST  /2021-11-15/functions/NAME/response-streaming-invocations  InvokeWithResponseStream
    GET   /2015-03-31/functions …                                    the calls that describe functions (describing.py)

All other calls of AWS, except GET, would change the settings. They are refused, and the error names the settings file.
A path may end in a slash.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from poller.lambda_api import describing
from poller.lambda_api.errors import access_denied, unknown_operation
from poller.lambda_api.exchange import Answer, Request
from poller.lambda_api.invoking import Invoking
from poller.lambda_api.names import NO_EVENT_INVOKE_CONFIG, NO_SUCH_FUNCTION, Found, Home, find, parse
from poller.model.function import Function
from poller.model.ids import FunctionName

_VERSION = re.compile("20[0-9]{2}-[0-9]{2}-[0-9]{2}")

Describe = Callable[[Found], Answer]

OF_A_FUNCTION: Mapping[tuple[str, tuple[str, ...]], Describe] = {
    ("2015-03-31", ()): describing.get_function,
    ("2015-03-31", ("configuration",)): describing.get_function_configuration,
    ("2015-03-31", ("versions",)): describing.list_versions,
    ("2015-03-31", ("aliases",)): describing.list_aliases,
    ("2019-09-30", ("concurrency",)): describing.get_function_concurrency,
    ("2020-06-30", ("code-signing-config",)): describing.get_code_signing_config,
}
"""The calls that describe one function. A key is the version of the API and the path after the function's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """The functions that the API serves now. `file` is the settings file."""

    functions: Mapping[FunctionName, Function]
    home: Home
    file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Routes:
    """Answers requests. `directory` is called for each request, because a reload may change the functions."""

    directory: Callable[[], Directory]
    invoking: Invoking

    async def answer(self, request: Request) -> Answer:
        """Return the answer to a request. Raises ApiError, and PollerError if a function cannot be opened."""
        directory = self.directory()
        match (request.method, *request.segments):
            case "POST", "2015-03-31", "functions", name, "invocations":
                return await self.invoking.invoke(_invoked(name, request, directory), request)
            case "POST", "2014-11-13", "functions", name, "invoke-async":
                return await self.invoking.invoke_async(_invoked(name, request, directory), request)
            case "POST", "2021-11-15", "functions", name, "response-streaming-invocations":
                found = _invoked(name, request, directory)
                return await self.invoking.invoke_with_response_stream(found, request)
            case "GET", *_:
                return _description(request, directory)
        if request.segments and _VERSION.fullmatch(request.segments[0]):
            raise access_denied(f"This call would change what the settings file says: change {directory.file} instead.")
        raise _unknown(request)


def _invoked(name: str, request: Request, directory: Directory) -> Found:
    named = parse(name, request.query.get("Qualifier"))
    return find(named, directory.functions, directory.home, shows_latest=True)


def _description(request: Request, directory: Directory) -> Answer:
    match request.segments:
        case "2015-03-31", "functions":
            return describing.list_functions(directory.functions, request)
        case "2016-08-19", "account-settings":
            return describing.get_account_settings(directory.functions)
        case "2017-03-31", "tags", name:
            find(parse(name, None), directory.functions, directory.home)
            return describing.list_tags()
        case "2019-09-25", "functions", name, "event-invoke-config":
            named = parse(name, request.query.get("Qualifier"))
            missing = NO_EVENT_INVOKE_CONFIG
            found = find(named, directory.functions, directory.home, shows_latest=True, missing=missing)
            return describing.get_event_invoke_config(found, directory.functions)
        case "2019-09-25", "functions", name, "event-invoke-config", "list":
            found = find(parse(name, None), directory.functions, directory.home, missing=NO_SUCH_FUNCTION)
            return describing.list_event_invoke_configs(found, directory.functions)
        case version, "functions", name, *rest if (version, tuple(rest)) in OF_A_FUNCTION:
            named = parse(name, request.query.get("Qualifier"))
            found = find(named, directory.functions, directory.home)
            return OF_A_FUNCTION[version, tuple(rest)](found)
    raise _unknown(request)


def _unknown(request: Request) -> Exception:
    return unknown_operation(f"poller serves no call {request.method} of this path")
