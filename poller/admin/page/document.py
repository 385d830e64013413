"""How is the whole page made? A frame with the state of the daemon, then what needs attention, then everything else.

page.js replaces the element `live` with the one of a newer page. Without scripts, the browser loads the page again.
"""

from __future__ import annotations

from importlib import resources

from poller import __version__
from poller.admin.page.attention import attention
from poller.admin.page.forms import LOGIN_PATH, LOGOUT_PATH, PROOF, hidden
from poller.admin.page.functions import functions
from poller.admin.page.mappings import mappings, state_of
from poller.admin.page.markup import NOTHING, Html, element, joined, lasting, moment, text
from poller.admin.page.others import others
from poller.admin.page.shards import shards
from poller.admin.page.view import Query, View, Viewer
from poller.admin.words import count
from poller.model.status import EventsStatus

REFRESH_SECONDS = 10
"""How often a browser without scripts loads the page again. page.js does it every five seconds."""

STYLE, SCRIPT = (resources.files(__package__).joinpath(name).read_bytes() for name in ("page.css", "page.js"))


def render(view: View) -> str:
    """Return the whole page as HTML."""
    live = element("main", attention(view), mappings(view), shards(view), functions(view), others(view), id="live")
    refresh = Html(f'<noscript><meta http-equiv="refresh" content="{REFRESH_SECONDS}"></noscript>')
    if view.query.is_still:
        refresh = NOTHING
    return document(
        f"{summary(view)} — poller",
        joined([_header(view), live, _footer()]),
        head=joined([refresh, Html('<script src="/page.js" defer></script>')]),
        has_exact_times=view.query.has_exact_times,
    )


def document(title: str, body: Html, *, head: Html = NOTHING, has_exact_times: bool = True) -> str:
    """Return a complete HTML document with our style.

    With `has_exact_times`, the style shows the exact time after each time such as `3 min ago`.
    """
    class_ = ' class="exact"' if has_exact_times else ""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{text(title)}</title>
<link rel="stylesheet" href="/page.css">
<link rel="icon" href="data:,">
{head}
</head>
<body{class_}>
{body}
</body>
</html>
"""


def summary(view: View) -> str:
    """Return the state of all mappings in a few words. A mapping with a blocked shard does not count as ready."""
    enabled = [status for status in view.mappings if status.state != "disabled"]
    ready = sum(state_of(status) == "ready" for status in enabled)
    paused = sum(status.state == "paused" for status in enabled)
    shards = [status.stream.shards_blocked for status in enabled if state_of(status) == "blocked" and status.stream]
    stuck = sum((status.events or EventsStatus()).stuck for status in view.statuses)
    words = f"{ready:,} of {len(enabled) - paused:,} mappings ready"
    if paused:
        words += f", {paused:,} paused"
    if shards:
        words += f", {len(shards):,} blocked at {count(sum(shards), 'shard')}"
    return f"{words}, {count(stuck, 'event')} stuck" if stuck else words


def _header(view: View) -> Html:
    query = view.query
    times = "hide exact times" if query.has_exact_times else "show exact times"
    return element(
        "header",
        element("a", text("Skip to what needs attention"), href="#attention", class_="skip"),
        element("h1", text("poller "), element("small", text(summary(view)))),
        element(
            "p",
            text(f"version {__version__}, up for "),
            lasting(view.started_at, view.now),
            text("; seen "),
            element("span", moment(view.now, view.now), id="seen"),
            element("span", id="announced", class_="unseen", role="status"),
            text("; "),
            element("a", text(times), href=query._replace(has_exact_times=not query.has_exact_times).url),
        ),
        _stillness(view.query),
        _session(view.viewer),
    )


def _stillness(query: Query) -> Html:
    """Return the link for browsers without scripts that ends the reloads, or lets them begin again."""
    what = f"this page every {REFRESH_SECONDS} seconds"
    words = f"Reload {what}" if query.is_still else f"Stop reloading {what}"
    link = element("a", text(words), href=query._replace(is_still=not query.is_still).url)
    return element("noscript", element("p", link))


def _session(viewer: Viewer) -> Html:
    """Return the link to the login, the button for the logout, or the reason why the reader can change nothing."""
    if viewer.is_logged_in:
        return element(
            "form",
            hidden(**{PROOF: viewer.proof}),
            element("button", text("Log out")),
            method="post",
            action=LOGOUT_PATH,
        )
    if viewer.may_change:
        return NOTHING
    if viewer.can_log_in:
        return element("p", element("a", text("Log in"), href=LOGIN_PATH), text(" to change something"))
    return element("p", text("To change something here, set [daemon] admin_token."))


def _footer() -> Html:
    links = (
        ("/settings", "settings"),
        ("/metrics", "metrics"),
        ("/readyz", "readiness"),
        ("/api/status", "status as JSON"),
    )
    return element(
        "footer",
        element("nav", *(element("a", text(name), href=path) for path, name in links), aria_label="other pages"),
    )
