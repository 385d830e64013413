"""Which small pages are there? A question before a discard, the login, an error, and the settings."""

from __future__ import annotations

from poller.admin.page.document import document
from poller.admin.page.forms import CALL, CHANGE_PATH, IS_SURE, LOGIN_PATH, PROOF, QUERY, body_of, hidden
from poller.admin.page.markup import NOTHING, Html, element, field, joined, text
from poller.admin.page.view import Viewer
from poller.admin.words import count
from poller.model.status import BlockedShard, MappingStatus, ShownSettings


def question(status: MappingStatus, shard: BlockedShard, viewer: Viewer, *, back: str) -> str:
    """Return a page that asks whether to discard the batch that blocks a shard."""
    start, end = shard.ends
    ends = [("record", start)] if start == end else [("from", start), ("to", end)]
    what = [
        ("mapping", status.mapping),
        ("shard", shard.shard_id),
        ("records", f"{shard.records:,}"),
        *((name, number or "the batch has no records") for name, number in ends),
        ("keys", ", ".join(shard.keys)),
        ("destination", status.destination or "none"),
    ]
    them = "it" if shard.records == 1 else "them"
    if status.destination is None:
        effect = (
            f"The mapping has no destination, so nothing will report {count(shard.records, 'record')}, and the mapping "
            f"never tries {them} again."
        )
    else:
        effect = (
            f"The mapping will report {count(shard.records, 'record')} to its destination, and never try {them} again."
        )
    own = {CALL: "shard", PROOF: viewer.proof, QUERY: back, IS_SURE: "yes"}
    return _dialog(
        f"Discard {count(shard.records, 'record')}?",
        element("p", text(effect)),
        element(
            "dl", *(joined([element("dt", text(name)), element("dd", text(value))]) for name, value in what if value)
        ),
        element(
            "form",
            hidden(**own, **body_of(status.mapping, shard, "discard")),
            element("button", text(f"Discard {count(shard.records, 'record')}"), type="submit", class_="danger"),
            element("a", text(f"Keep {them}"), href=back),
            method="post",
            action=CHANGE_PATH,
            class_="actions",
        ),
    )


def login(*, was_wrong: bool = False) -> str:
    """Return the form that asks for the admin token."""
    mistake = (
        element("p", text("This is not the admin token."), class_="troubled", role="alert") if was_wrong else NOTHING
    )
    token = field(
        type="password",
        name="token",
        id="token",
        autocomplete="current-password",
        required="required",
        autofocus="autofocus",
    )
    return _dialog(
        "Log in",
        mistake,
        element(
            "form",
            element("label", text("[daemon] admin_token "), token),
            element("button", text("Log in"), type="submit"),
            method="post",
            action=LOGIN_PATH,
        ),
    )


def failure(why: str, *, back: str = "/", title: str = "Nothing was changed") -> str:
    """Return a page that says why a change was not made. `title` names another failure, if something else failed."""
    return _dialog(
        title,
        element("p", text(why), role="alert"),
        element("p", element("a", text("Back"), href=back)),
    )


def settings(shown: ShownSettings) -> str:
    """Return the page with the settings that the daemon uses."""
    return _dialog(
        "Settings",
        element("p", text("The daemon uses these settings. Secrets are masked, and each default is marked.")),
        *(element("p", text(note), class_="troubled") for note in shown.notes),
        element("pre", text(shown.toml), tabindex="0", role="region", aria_label="settings"),
        element("p", element("a", text("Back"), href="/")),
    )


def _dialog(title: str, *content: Html) -> str:
    return document(f"{title} — poller", element("main", element("h1", text(title)), *content, class_="dialog"))
