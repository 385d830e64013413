"""Which forms change something? One button each; its hidden fields are the body of the call (`../calls.py`).

Every form has the proof that the page made it (`../sessions.py`), and the address to which the answer leads back.
"""

from __future__ import annotations

from urllib.parse import urlencode

from poller.admin.page.markup import NOTHING, Html, element, field, joined, text
from poller.admin.page.view import Query, Viewer
from poller.model.ids import MappingName
from poller.model.order import Action
from poller.model.status import BlockedShard, MappingStatus

CHANGE_PATH, LOGIN_PATH, LOGOUT_PATH = "/change", "/login", "/logout"

POSITION_PATH, EVENTS_PATH = "/position", "/events"

CALL, PROOF, QUERY, IS_SURE = "call", "proof", "back", "sure"
"""The fields of a form that are not in the body of the call."""

WORDS: dict[Action, str] = {"retry": "Retry now", "bisect": "Bisect now", "discard": "Discard…"}


def hidden(**fields: str) -> Html:
    """Return the fields that the reader does not see. A field with an empty value is left out."""
    return joined(field(type="hidden", name=name, value=value) for name, value in fields.items() if value)


def position_url(mapping: str) -> str:
    """Return the address of the page with the positions of a mapping."""
    return f"{POSITION_PATH}?{urlencode({'mapping': mapping})}"


def events_url(function: str) -> str:
    """Return the address of the page with the stuck events of a function."""
    return f"{EVENTS_PATH}?{urlencode({'function': function})}"


def change(label: str, viewer: Viewer, back: str, call: str, *, about: str, class_: str = "", **body: str) -> Html:
    """Return a form with one button. `about` completes the label for screen readers."""
    own = {CALL: call, PROOF: viewer.proof, QUERY: back}
    button = element("button", text(label), type="submit", class_=class_, aria_label=f"{label.rstrip('…')}: {about}")
    return element("form", hidden(**own, **body), button, method="post", action=CHANGE_PATH)


def pausing(status: MappingStatus, viewer: Viewer, query: Query) -> Html:
    """Return the button that pauses or resumes the mapping, if the reader may use it.

    The positions of a paused mapping can be moved, so a link leads to them.
    """
    if not viewer.may_change or status.state in ("disabled", "stopping"):
        return NOTHING
    call = "resume" if status.state == "paused" else "pause"
    button = change(call.capitalize(), viewer, query.url, call, about=status.mapping, mapping=status.mapping)
    if call == "pause" or status.stream is None:
        return button
    name = f"Move positions: {status.mapping}"
    link = element("a", text("Move positions…"), href=position_url(status.mapping), aria_label=name)
    return element("div", button, link, class_="actions")


def orders(mapping: MappingName, shard: BlockedShard, viewer: Viewer, query: Query) -> Html:
    """Return a button for each order about the blocked shard that is possible, if the reader may use it."""
    if not viewer.may_change:
        return NOTHING
    return element(
        "div",
        *(
            change(
                WORDS[action],
                viewer,
                query.url,
                "shard",
                about=f"{mapping}, {shard.shard_id}",
                class_="danger" if action == "discard" else "",
                **body_of(mapping, shard, action),
            )
            for action in shard.actions
        ),
        class_="actions",
    )


def body_of(mapping: str, shard: BlockedShard, action: Action) -> dict[str, str]:
    start, end = shard.ends
    ends = {} if start is None or end is None else {"start_sequence_number": start, "end_sequence_number": end}
    return {"mapping": mapping, "shard": shard.shard_id, "action": action, **ends}
