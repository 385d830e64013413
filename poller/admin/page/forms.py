"""Which forms change something? One button each; its hidden fields are the body of the call (`../changing.py`).

Every form has the proof that the page made it (`../sessions.py`), and the query to which the answer leads back.
"""

from __future__ import annotations

from poller.admin.page.markup import NOTHING, Html, element, field, joined, text
from poller.admin.page.view import Query, Viewer
from poller.model.ids import MappingName
from poller.model.order import Action
from poller.model.status import BlockedShard, MappingStatus

CHANGE_PATH, LOGIN_PATH, LOGOUT_PATH = "/change", "/login", "/logout"

CALL, PROOF, QUERY, IS_SURE = "call", "proof", "back", "sure"
"""The fields of a form that are not in the body of the call."""

WORDS: dict[Action, str] = {"retry": "Retry now", "bisect": "Bisect now", "discard": "Discard…"}


def hidden(**fields: str) -> Html:
    """Return the fields that the reader does not see. A field with an empty value is left out."""
    return joined(field(type="hidden", name=name, value=value) for name, value in fields.items() if value)


def change(label: str, viewer: Viewer, query: Query, call: str, *, about: str, class_: str = "", **body: str) -> Html:
    """Return a form with one button. `about` completes the label for screen readers."""
    own = {CALL: call, PROOF: viewer.proof, QUERY: query.url}
    button = element("button", text(label), type="submit", class_=class_, aria_label=f"{label.rstrip('…')}: {about}")
    return element("form", hidden(**own, **body), button, method="post", action=CHANGE_PATH)


def pausing(status: MappingStatus, viewer: Viewer, query: Query) -> Html:
    """Return the button that pauses or resumes the mapping, if the reader may use it."""
    if not viewer.may_change or status.state in ("disabled", "stopping"):
        return NOTHING
    call = "resume" if status.state == "paused" else "pause"
    return change(call.capitalize(), viewer, query, call, about=status.mapping, mapping=status.mapping)


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
                query,
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
