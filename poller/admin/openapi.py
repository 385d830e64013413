"""How is /api/ described for programs? As an OpenAPI document, made from the same values as the server's routes.

    CALLS (calls.py) ──────┐
    READS (this module) ──┴──> paths; the classes of bodies and answers become its schemas

Source: OpenAPI Specification 3.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from poller import __version__
from poller.admin import answers
from poller.admin.calls import CALLS
from poller.admin.changing import Call

PATH = "/api/openapi.json"

_REFERENCE = "#/components/schemas/{model}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A page for programs. `answers` has the class of the answer for each status, beside those of `_REFUSED`."""

    path: str
    summary: str
    answers: Mapping[int, type[BaseModel]]
    query: str | None = None
    needs_right: bool = False
    """Whether the client must have the right to change something, because the daemon reads all stored data for the
    answer."""
    is_optional: bool = False
    """Whether the server leaves the page out if it has no answer to give."""


HEALTH = Read(path="/healthz", summary="Whether the event loop turns.", answers={200: answers.Health})
READY = Read(
    path="/readyz",
    summary="Whether every mapping has found its source.",
    answers={200: answers.Readiness, 503: answers.Readiness},
)
STATUS = Read(path="/api/status", summary="The state of each mapping.", answers={200: answers.Status})
SHARDS = Read(
    path="/api/shards",
    summary="All blocked shards of one mapping.",
    answers={200: answers.BlockedShards, 404: answers.Failure},
    query="mapping",
)
POSITIONS = Read(
    path="/api/positions",
    summary="The stored positions of one mapping of a stream.",
    answers={200: answers.Positions, 409: answers.Failure},
    query="mapping",
    needs_right=True,
)
EVENTS = Read(
    path="/api/events",
    summary="The stuck asynchronous events of one function.",
    answers={200: answers.StuckEvents, 409: answers.Failure},
    query="function",
    needs_right=True,
)
_BACKLOG: Mapping[int, type[BaseModel]] = {200: answers.BacklogNumbers, 404: answers.Failure, 503: answers.Failure}
SCALING = tuple(
    Read(path=path, summary=f"How much work waits for {whose}.", answers=_BACKLOG, is_optional=True)
    for path, whose in (
        ("/api/scaling", "all mappings"),
        ("/api/scaling/mappings/{name}", "one mapping"),
        ("/api/scaling/functions/{name}", "all mappings of one function, and its asynchronous events"),
    )
)
QUEUES = Read(
    path="/api/queues",
    summary="How many messages the queue of each mapping has.",
    answers={200: answers.Queues},
    is_optional=True,
)
READS = (HEALTH, READY, STATUS, SHARDS, POSITIONS, EVENTS, *SCALING, QUEUES)

_REFUSED = {
    403: "A page of another site sent the request, or a change needs a token that is not set.",
    421: "The host name is not in [daemon] http_hosts.",
}
_WRONG_TOKEN = {401: "The token is missing or wrong."}
_REFUSED_CHANGE = {
    400: "The body is not the object that is described here.",
    **_WRONG_TOKEN,
    409: "The daemon cannot do this now.",
    411: "The body has no Content-Length.",
    413: "The body is too large.",
    415: "The body has a Content-Encoding.",
    422: "The settings file has faults.",
    **_REFUSED,
}


_SECURITY = [dict[str, list[str]](), {"token": list[str]()}]


def document(reads: Sequence[Read] = READS, calls: Sequence[Call[Any]] = CALLS) -> dict[str, Any]:
    """Return the document of these pages and calls."""
    modes: list[tuple[type[BaseModel], JsonSchemaMode]] = [(answers.Failure, "validation")]
    modes += [(model, "validation") for read in reads for model in read.answers.values()]
    modes += [(model, "validation") for call in calls for model in (call.body, call.answer)]
    _, schemas = models_json_schema(list(dict.fromkeys(modes)), ref_template=_REFERENCE)
    return {
        "openapi": "3.1.0",
        "info": {"title": "poller", "version": __version__},
        "paths": {read.path: {"get": _reading(read)} for read in reads}
        | {call.path: {"post": _calling(call)} for call in calls},
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _reading(read: Read) -> dict[str, Any]:
    parameters = [_parameter("name", "path")] if "{name}" in read.path else []
    if read.query is not None:
        parameters.append(_parameter(read.query, "query"))
    found = {str(status): _answer(model, _line(model)) for status, model in read.answers.items()}
    reasons = _REFUSED | (_WRONG_TOKEN if read.needs_right else {})
    refused = {str(status): _answer(answers.Failure, why) for status, why in reasons.items()}
    security = {"security": _SECURITY} if read.needs_right else {}
    return {"summary": read.summary, **security, "parameters": parameters, "responses": refused | found}


def _calling(call: Call[Any]) -> dict[str, Any]:
    refused = {str(status): _answer(answers.Failure, why) for status, why in _REFUSED_CHANGE.items()}
    return {
        "summary": call.summary,
        "security": _SECURITY,
        "requestBody": {"required": _is_required(call.body), "content": _json(call.body)},
        "responses": refused | {"200": _answer(call.answer, "The change is made.")},
    }


def _is_required(body: type[BaseModel]) -> bool:
    """Return whether a call needs a body: an empty one counts as an object without members."""
    return any(field.is_required() for field in body.model_fields.values())


def _parameter(name: str, place: str) -> dict[str, Any]:
    return {"name": name, "in": place, "required": True, "schema": {"type": "string"}}


def _answer(model: type[BaseModel], description: str) -> dict[str, Any]:
    return {"description": description, "content": _json(model)}


def _json(model: type[BaseModel]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _REFERENCE.format(model=model.__name__)}}}


def _line(model: type[BaseModel]) -> str:
    """Return the first line of the class's docstring, or its name if it has none."""
    return (model.__doc__ or model.__name__).strip().partition("\n")[0]
