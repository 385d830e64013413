"""What can a person do with stuck events on the page? Retry or drop one event, or all events of a function.

The page shows why each event is stuck, but never its payload.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from poller.admin.page.document import document
from poller.admin.page.forms import CALL, CHANGE_PATH, IS_SURE, PROOF, QUERY, change, events_url, hidden
from poller.admin.page.markup import NOTHING, Html, element, joined, moment, table, text
from poller.admin.page.view import Viewer
from poller.admin.words import count, size

EVENTS_SHOWN = 100

HEADINGS = ("event", "accepted", "attempts", "size", "why", "action")


def stuck_events(report: Mapping[str, Any], viewer: Viewer, *, now: float) -> str:
    """Return the page with the stuck events of a function. `report` is the body of /api/events."""
    function, total = report["function"], report["total"]
    title = f"{count(total, 'event')} of {function} stuck" if total else f"No event of {function} is stuck"
    return document(
        f"{title} — poller",
        element(
            "main",
            element("h1", text(title)),
            element("p", text(_why(report))) if total else NOTHING,
            _buttons(report, viewer, about=f"all events of {function}") if total else NOTHING,
            table(
                "Stuck events",
                HEADINGS,
                list(_rows(report, viewer, now)),
            ),
            _rest(report),
            element("p", element("a", text("Back"), href="/")),
            class_="dialog",
        ),
    )


def _why(report: Mapping[str, Any]) -> str:
    if not report["is_known"]:
        return "The settings no longer have this function, so nothing invokes it with these events or delivers them."
    return (
        "The function has ended with these events, and a destination has refused their invocation records permanently. "
        "A retry delivers the records again, and does not invoke the function."
    )


def _buttons(report: Mapping[str, Any], viewer: Viewer, *, about: str, **one: str) -> Html:
    function = report["function"]
    back, which = events_url(function), "" if one else " all"
    retry = change(f"Retry{which}", viewer, back, "event", about=about, function=function, action="retry", **one)
    drop = change(
        f"Drop{which}…", viewer, back, "event", about=about, class_="danger", function=function, action="drop", **one
    )
    return element("div", retry if report["is_known"] else NOTHING, drop, class_="actions")


def _rows(report: Mapping[str, Any], viewer: Viewer, now: float) -> Iterator[list[Html]]:
    for event in report["events"][:EVENTS_SHOWN]:
        request_id = event["request_id"]
        yield [
            text(request_id),
            moment(datetime.fromisoformat(event["accepted_at"]).timestamp(), now),
            text(f"{event['attempts']:,}"),
            text(size(event["size_in_bytes"])),
            text(event["stuck"]),
            _buttons(report, viewer, about=request_id, request_id=request_id),
        ]


def _rest(report: Mapping[str, Any]) -> Html:
    more = report["total"] - len(report["events"][:EVENTS_SHOWN])
    return element("p", text(f"and {count(more, 'event')} more")) if more else NOTHING


def question(report: Mapping[str, Any], request_id: str | None, viewer: Viewer) -> str:
    """Return the page that asks whether to drop one stuck event, or all of them if `request_id` is None."""
    function = report["function"]
    what = count(report["total"], "stuck event") if request_id is None else "this event"
    facts = [("function", function), ("event", request_id or f"all {report['total']:,}")]
    own = {CALL: "event", PROOF: viewer.proof, QUERY: events_url(function), IS_SURE: "yes"}
    return document(
        f"Drop {what}? — poller",
        element(
            "main",
            element("h1", text(f"Drop {what}?")),
            element("p", text("A dropped event is lost for good: no function and no destination gets it.")),
            element("dl", *(joined([element("dt", text(name)), element("dd", text(value))]) for name, value in facts)),
            element(
                "form",
                hidden(**own, function=function, action="drop", request_id=request_id or ""),
                element("button", text(f"Drop {what}"), type="submit", class_="danger"),
                element("a", text("Keep"), href=events_url(function)),
                method="post",
                action=CHANGE_PATH,
                class_="actions",
            ),
            class_="dialog",
        ),
    )
