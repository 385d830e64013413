"""How are text, times and tables written as HTML? Every text that comes from outside is escaped here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import NewType

from poller.admin.words import duration, written

Html = NewType("Html", str)
"""HTML that is complete and safe: every text in it is escaped."""

NOTHING = Html("")


def text(plain: object) -> Html:
    return Html(escape(str(plain)))


def joined(parts: Iterable[Html]) -> Html:
    return Html("".join(parts))


def element(tag: str, *content: Html, **attributes: str) -> Html:
    """Return an element. An attribute without a value is left out.

    The name of an attribute may end in `_`, because of Python's keywords; any other `_` becomes `-`.
    """
    return Html(f"<{tag}{_shown(attributes)}>{joined(content)}</{tag}>")


def field(**attributes: str) -> Html:
    """Return an input element, which has no content."""
    return Html(f"<input{_shown(attributes)}>")


def _shown(attributes: Mapping[str, str]) -> str:
    return "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(value)}"' for name, value in attributes.items() if value
    )


def small(*content: Html, class_: str = "") -> Html:
    return element("small", *content, class_=class_)


def moment(at: float, now: float) -> Html:
    """Return a time as `3 min ago` or `in 20 s`; the exact time is in its title."""
    exact, seconds = written(at), now - at
    words = f"{duration(seconds)} ago" if seconds >= 0 else f"in {duration(-seconds)}"
    return element("time", text(words), datetime=exact, title=exact)


def lasting(at: float, now: float) -> Html:
    """Return the time between a moment and now as `3 min`; the moment itself is in its title."""
    exact = written(at)
    return element("time", text(duration(abs(now - at))), datetime=exact, title=exact)


def table(caption: str, headings: Sequence[str], rows: Sequence[Sequence[Html]], *, class_: str = "") -> Html:
    """Return a table. On a narrow screen each row becomes a card, where each cell shows its heading."""
    if not rows:
        return NOTHING
    head = joined(element("th", text(heading), scope="col") for heading in headings)
    return element(
        "table",
        element("caption", text(caption)),
        element("thead", element("tr", head)),
        element("tbody", joined(row(headings, cells) for cells in rows)),
        class_=class_,
    )


def row(headings: Sequence[str], cells: Sequence[Html]) -> Html:
    """Return a row of a table. Its first cell names the row."""
    first, *others = zip(headings, cells, strict=True)
    named = element("th", element("span", first[1]), scope="row", data_label=first[0])
    return element("tr", named, *(element("td", element("span", cell), data_label=name) for name, cell in others))
