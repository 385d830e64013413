"""How does a person move the positions of a mapping on the page? By a form beside the stored positions.

The form shows the effect first, and a second form makes the move. A paused mapping has the form. A disabled mapping has
it, too, because the status of a disabled mapping does not say whether it is also paused. No other mapping has the form.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from poller.admin.page.document import document
from poller.admin.page.forms import CALL, CHANGE_PATH, IS_SURE, PROOF, QUERY, change, hidden, position_url
from poller.admin.page.markup import NOTHING, Html, element, field, joined, moment, table, text
from poller.admin.page.view import Query, Viewer
from poller.admin.words import count
from poller.model.status import MappingStatus

SUGGESTIONS = {
    "TRIM_HORIZON": "every record that the stream still has",
    "LATEST": "only the records that are written after the mapping resumes",
}

TIMES = "A time such as 2026-01-31T12:00:00Z, or 10m for ten minutes ago: the records that arrived then or later."


def positions(status: MappingStatus, report: Mapping[str, Any], viewer: Viewer, *, now: float) -> str:
    """Return the page with the positions of a mapping. `report` is the body of /api/positions."""
    title = f"Positions of {status.mapping}"
    by_hand = report["set_by_hand"]
    return document(
        f"{title} — poller",
        element(
            "main",
            element("h1", text(title)),
            element("p", text(report["stream_arn"])),
            element("p", text(f"Set by hand: a shard without a position begins {by_hand}.")) if by_hand else NOTHING,
            _pause_first(status, viewer) if status.state != "paused" else NOTHING,
            _form(status, report, viewer) if status.state in ("paused", "disabled") else NOTHING,
            table("Stored positions", ("shard", "position", "saved", "reader"), list(_rows(report, now))),
            _rest(report),
            element("p", element("a", text("Back"), href=Query(status.mapping).url)),
            class_="dialog",
        ),
    )


def _pause_first(status: MappingStatus, viewer: Viewer) -> Html:
    button = change(
        "Pause", viewer, position_url(status.mapping), "pause", about=status.mapping, mapping=status.mapping
    )
    return element("div", element("p", text("Only the positions of a paused mapping can be moved.")), button)


def _form(status: MappingStatus, report: Mapping[str, Any], viewer: Viewer) -> Html:
    own = {CALL: "position", PROOF: viewer.proof, QUERY: Query(status.mapping).url, "mapping": status.mapping}
    options = [element("option", text(meaning), value=word) for word, meaning in SUGGESTIONS.items()]
    to = field(type="text", name="position", required="required", list="suggestions", autocomplete="off", size="40")
    after = field(type="checkbox", name="after", value="yes")
    return element(
        "form",
        hidden(**own, version=report["version"]),
        _which(report),
        element("p", element("label", text("to "), to), element("datalist", *options, id="suggestions")),
        *(element("p", text(f"{word}: {meaning}.")) for word, meaning in SUGGESTIONS.items()),
        element("p", text(TIMES)),
        element("p", text("A sequence number, for one shard: that record and the later ones.")),
        element("p", element("label", after, text(" continue after the record with this sequence number"))),
        element("button", text("Show the effect"), type="submit"),
        method="post",
        action=CHANGE_PATH,
    )


def _which(report: Mapping[str, Any]) -> Html:
    """Return the field that chooses all shards or one.

    If the report has only some of the shards, a person types the id of the shard.
    """
    every = f"all {count(report['shards_stored'], 'shard')}"
    known = [element("option", text(shard["shard"]), value=shard["shard"]) for shard in report["shards"]]
    if len(known) == report["shards_stored"]:
        first = Html(f'<option value="">{text(every)}</option>')  # without the attribute, a browser would send the text
        return element("p", element("label", text("Move "), element("select", first, *known, name="shard")))
    typed = field(type="text", name="shard", list="shards", autocomplete="off", size="40", placeholder=every)
    label = element("label", text(f"Move the shard with this id, or {every} if no id is given: "), typed)
    return element("p", label, element("datalist", *known, id="shards"))


def _rows(report: Mapping[str, Any], now: float) -> Iterator[list[Html]]:
    for shard in report["shards"]:
        saved_at = shard["saved_at"]
        yield [
            text(shard["shard"]),
            text(shard["position"] or "reset by hand"),
            NOTHING if saved_at is None else moment(datetime.fromisoformat(saved_at).timestamp(), now),
            text(shard["reader"] or ""),
        ]


def _rest(report: Mapping[str, Any]) -> Html:
    more = report["shards_stored"] - len(report["shards"])
    return element("p", text(f"and {count(more, 'shard')} more")) if more else NOTHING


def question(shown: Mapping[str, Any], body: Mapping[str, Any], viewer: Viewer, *, back: str) -> str:
    """Return the page that asks whether to move positions. `shown` is the answer of a call that only shows the move."""
    what = [
        ("mapping", shown["mapping"]),
        ("shard", shown["shard"] or "all"),
        ("now", shown["before"]),
        ("then", shown["position"]),
    ]
    own = {CALL: "position", PROOF: viewer.proof, QUERY: back, IS_SURE: "yes"}
    kept = {name: str(body[name]) for name in ("mapping", "shard", "position") if body.get(name)}
    return document(
        f"Move {shown['mapping']}? — poller",
        element(
            "main",
            element("h1", text(f"Move {shown['mapping']}?")),
            element("p", text(shown["effect"])),
            element("dl", *(joined([element("dt", text(name)), element("dd", text(value))]) for name, value in what)),
            element(
                "form",
                hidden(**own, **kept, after="yes" if body.get("after") else "", version=shown["version"]),
                element("button", text("Move"), type="submit", class_="danger"),
                element("a", text("Keep the position"), href=position_url(shown["mapping"])),
                method="post",
                action=CHANGE_PATH,
                class_="actions",
            ),
            class_="dialog",
        ),
    )
