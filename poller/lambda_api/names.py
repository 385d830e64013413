"""Which function does a request name? The path has a name or an ARN; the path or `Qualifier` has a version or alias.

    resize                                                  the name
    resize:live                                             with a qualifier
    123456789012:function:resize                            a partial ARN
    arn:aws:lambda:eu-west-1:123456789012:function:resize   the ARN; both may end in a qualifier

Each function has one qualifier, and a request may leave it out. For a function on AWS Lambda, it is the qualifier of
the ARN in the settings. For all others, and for an ARN without one, it is $LATEST.
The settings may have several ARNs of one function. Then a request without a qualifier means the key in the settings,
if there is such a key, else the ARN with $LATEST, if there is one.
The texts of the errors are AWS's own.

Source: AWS Lambda API Reference, "Invoke", FunctionName and Qualifier; answers that AWS Lambda gave.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from poller.lambda_api.errors import ApiError, failed_validation, invalid_parameter, not_found
from poller.model.arn import Arn
from poller.model.function import Function, LambdaApi
from poller.model.ids import FunctionName

NAME_PATTERN = (
    r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?"
    r"([a-zA-Z0-9-_\.]+)(:(\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9-_]+))?"
)
QUALIFIER_PATTERN = r"\$(LATEST(\.PUBLISHED)?)|[a-zA-Z0-9-_$]+"
"""AWS's own patterns, as its errors show them."""

MAXIMUM_NAME_LENGTH = 170
MAXIMUM_QUALIFIER_LENGTH = 128

LATEST = "$LATEST"

NOT_FOUND = "Function not found: {arn}"
NO_EVENT_INVOKE_CONFIG = "The function {arn} doesn't have an EventInvokeConfig"
NO_SUCH_FUNCTION = "The function doesn't exist."
"""AWS's texts for a missing function. The first is the text of most calls, the second is that of
GetFunctionEventInvokeConfig, the third is that of ListFunctionEventInvokeConfigs."""

_NAME = re.compile(
    r"(?:arn:(?P<partition>aws[a-zA-Z-]*)?:lambda:)?"
    r"(?:(?P<region>(?:eusc-)?[a-z]{2}(?:-gov|-iso[a-z]?)?-[a-z]+-[0-9]):)??"  # as late as possible: us-east-1:live
    r"(?:(?P<account>[0-9]{12}):)?(?:function:)?(?P<name>[a-zA-Z0-9\-_.]+)"
    r"(?::(?P<qualifier>\$LATEST(?:\.PUBLISHED)?|[a-zA-Z0-9\-_]+))?"
)
_QUALIFIER = re.compile(r"\$LATEST(?:\.PUBLISHED)?|[a-zA-Z0-9\-_$]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """The partition, region and account that the API names in errors."""

    partition: str = "aws"
    region: str
    account: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """The parts of the function's name in a request. A part is None if the request left it out."""

    partition: str | None = None
    region: str | None = None
    account: str | None = None
    name: str
    qualifier: str | None = None

    @property
    def is_bare(self) -> bool:
        return self.partition is None and self.region is None and self.account is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The function that a request names. `invoked_arn` is the function's ARN with the qualifier of the request.

    `qualifier` is None if the request has none.
    """

    function: Function
    qualifier: str | None
    invoked_arn: str


def parse(written: str, qualifier: str | None) -> Name:
    """Return the parts of a function's name. `qualifier` is the parameter `Qualifier`. Raises ApiError."""
    match = _NAME.fullmatch(written) if len(written) <= MAXIMUM_NAME_LENGTH else None
    faults = [] if match is not None else [_fault(written, "functionName", _must_match(NAME_PATTERN))]
    if qualifier is not None:
        if len(qualifier) > MAXIMUM_QUALIFIER_LENGTH:
            limit = f"Member must have length less than or equal to {MAXIMUM_QUALIFIER_LENGTH}"
            faults.append(_fault(qualifier, "qualifier", limit))
        if _QUALIFIER.fullmatch(qualifier) is None:
            faults.append(_fault(qualifier, "qualifier", _must_match(QUALIFIER_PATTERN)))
    if match is None or faults:
        raise failed_validation(faults)
    named = Name(**match.groupdict())
    if qualifier is not None and named.qualifier not in (None, qualifier):
        raise invalid_parameter("The derived qualifier from the function name does not match the specified qualifier.")
    return replace(named, qualifier=named.qualifier or qualifier)


def find(
    name: Name,
    functions: Mapping[FunctionName, Function],
    home: Home,
    *,
    shows_latest: bool = False,
    missing: str = NOT_FOUND,
) -> Found:
    """Return the function of this name. Raises ApiError if no function has the name.

    `missing` is the text of the error, with `{arn}` for the ARN. With `shows_latest`, this ARN ends in $LATEST if the
    request has no qualifier, as in the error of Invoke.
    """
    function = _named(name, functions)
    if function is None:
        raise _no_function(name, home, shows_latest=shows_latest, missing=missing)
    if not _has_qualifier(function, name):
        raise not_found(missing.format(arn=f"{unqualified_arn(function)}:{name.qualifier}"))
    return Found(function=function, qualifier=name.qualifier, invoked_arn=_invoked_arn(function, name.qualifier))


def qualifier_of(function: Function) -> str:
    """Return the only qualifier of the function."""
    kind = function.kind
    return kind.qualifier or LATEST if isinstance(kind, LambdaApi) else LATEST


def name_of(function: Function) -> str:
    """Return the name in the function's ARN, which may differ from its key in the settings."""
    return function.arn.resource.split(":")[1]


def unqualified_arn(function: Function) -> str:
    return str(replace(function.arn, resource=f"function:{name_of(function)}"))


def _invoked_arn(function: Function, qualifier: str | None) -> str:
    return str(function.arn) if qualifier is None else f"{unqualified_arn(function)}:{qualifier}"


def _named(name: Name, functions: Mapping[FunctionName, Function]) -> Function | None:
    """Return the function with this name and qualifier. If there is none, return one with this name."""
    own = functions.get(FunctionName(name.name)) if name.is_bare else None
    if own is not None and _has_qualifier(own, name):
        return own
    meant = [one for one in functions.values() if _is_meant(one, name)]
    meant.sort(key=lambda one: qualifier_of(one) != LATEST)
    return next((one for one in meant if _has_qualifier(one, name)), own or next(iter(meant), None))


def _has_qualifier(function: Function, name: Name) -> bool:
    return name.qualifier in (None, qualifier_of(function))


def _is_meant(function: Function, name: Name) -> bool:
    arn = function.arn
    return (
        name_of(function) == name.name
        and name.partition in (None, arn.partition)
        and name.region in (None, arn.region)
        and name.account in (None, arn.account)
    )


def _no_function(name: Name, home: Home, *, shows_latest: bool, missing: str) -> ApiError:
    if name.region not in (None, home.region):
        return not_found(f"Functions from '{name.region}' are not reachable in this region ('{home.region}')")
    qualifier = name.qualifier or (LATEST if shows_latest else None)
    resource = f"function:{name.name}" + (f":{qualifier}" if qualifier else "")
    account = name.account or home.account
    arn = Arn(partition=home.partition, service="lambda", region=home.region, account=account, resource=resource)
    return not_found(missing.format(arn=arn))


def _fault(value: str, parameter: str, constraint: str) -> str:
    return f"Value '{value}' at '{parameter}' failed to satisfy constraint: {constraint}"


def _must_match(pattern: str) -> str:
    return f"Member must satisfy regular expression pattern: {pattern}"
