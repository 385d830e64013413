"""What do the functions do? Their concurrency in use, child processes, throttles, durations and last lines.

A search narrows the functions, and those in trouble come first.
The durations and throttles are those of the batches and asynchronous events of the last 30 minutes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from poller.admin.page.mappings import matches
from poller.admin.page.markup import NOTHING, Html, element, joined, moment, small, table, text
from poller.admin.page.view import View
from poller.admin.words import count, duration, of_limit
from poller.model.function import ChildProcess, Function, HttpService, LambdaApi
from poller.model.function_status import ChildStatus, FunctionStatus
from poller.telemetry.history import LastMinutes, last_minutes

ROWS_SHOWN = 200

LOGS_SHOWN = 20
"""How many functions have their last lines on the page: those that have written last."""

CHILDREN_LISTED = 5

HEADINGS = ("function", "kind", "in use", "child processes", "throttles", "durations")


def functions(view: View) -> Html:
    mappings, histories = Counter(status.function for status in view.mappings), view.histories_by_function()
    found = _found(view)
    rows = [
        list(_cells(function, mappings[function.name], last_minutes(histories.get(function.name, ())), view))
        for function in found[:ROWS_SHOWN]
    ]
    caption = "Functions" if len(rows) == len(found) else f"Functions: the first {ROWS_SHOWN} of {len(found):,}"
    return joined([table(caption, HEADINGS, rows), *_logs(view)])


def _found(view: View) -> Sequence[Function]:
    """Return the functions that the search finds by their own names or through a mapping, those in trouble first."""
    matching = {status.function for status in view.mappings if matches(status, view.query)}
    words = view.query.text.lower()
    found = [each for each in view.functions if words in each.name.lower() or each.name in matching]
    troubled = {status.function for status in view.statuses if status.state in ("waiting", "troubled")}
    return sorted(found, key=lambda each: each.name not in troubled and not view.failed_children.get(each.name, 0))


def _cells(function: Function, mappings: int, minutes: LastMinutes, view: View) -> Iterator[Html]:
    status = view.function_statuses.get(function.name)
    yield joined([text(function.name), small(text(count(mappings, "mapping")))])
    yield text(_kind(function))
    yield joined(_concurrency(function, status))
    yield joined(_children(function, status, view)) if isinstance(function.kind, ChildProcess) else NOTHING
    yield joined([text(f"{minutes.throttles:,.0f}"), small(text("in 30 min"))])
    half, most = minutes.p50_in_seconds, minutes.p99_in_seconds
    if half is not None and most is not None:
        yield joined([text(f"half within {duration(half)}"), small(text(f"99 % within {duration(most)}"))])
    else:
        yield NOTHING


def _kind(function: Function) -> str:
    match function.kind:
        case LambdaApi():
            return "AWS Lambda"
        case HttpService(urls=urls):
            return f"HTTP, {count(len(urls), 'url')}"
        case ChildProcess(handler=handler):
            return "program" if handler is None else f"handler {handler}"


def _concurrency(function: Function, status: FunctionStatus | None) -> Iterator[Html]:
    if status is None:
        yield text(f"0 of {function.reserved_concurrency:,}")
        return
    yield text(of_limit(status.running, status.limit))
    if status.waiting:
        yield small(text(f"{count(status.waiting, 'invocation')} waiting"))


def _children(function: Function, status: FunctionStatus | None, view: View) -> Iterator[Html]:
    if status is None or not status.children:
        yield text("none")
    else:
        yield text(f"{status.children:,}, {status.busy:,} busy")
        listed = list(map(_child, status.first_children[:CHILDREN_LISTED]))
        listed += [f"and {more:,} more"] if (more := status.children - len(listed)) else []
        yield small(text(", ".join(listed)))
    if failed := view.failed_children.get(function.name, 0):
        yield small(text(f"{failed:,} failed and replaced"))


def _child(child: ChildStatus) -> str:
    return f"{child.pid} {'busy' if child.is_busy else 'idle'} ({duration(child.age_in_seconds)})"


def _logs(view: View) -> Iterator[Html]:
    """Yield the last lines of functions, folded. Only a reader who may see a function's own words gets them."""
    if not view.viewer.sees_words:
        return
    written = [status for status in view.function_statuses.values() if status.log]
    written.sort(key=lambda status: -status.log[-1].at)
    for status in written[:LOGS_SHOWN]:
        yield _log(status, view.now)


def _log(status: FunctionStatus, now: float) -> Html:
    lines = [text(line.text if line.pid is None else f"{line.pid}  {line.text}") for line in status.log]
    return element(
        "details",
        element(
            "summary",
            text(f"Last lines of {status.function}: {len(lines):,}, the newest "),
            moment(status.log[-1].at, now),
        ),
        element("pre", Html("\n".join(lines)), tabindex="0", role="region", aria_label=f"lines of {status.function}"),
        id=f"log-{status.function}",
    )
