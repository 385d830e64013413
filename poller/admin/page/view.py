"""What does the page show? One value for each request has everything, also what the reader may see and do."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args
from urllib.parse import urlencode

from poller.core.backlog import KnownDepth
from poller.facts import ChangeMade
from poller.model.function import Function
from poller.model.function_status import FunctionStatus
from poller.model.ids import FunctionName, MappingName
from poller.model.sharing import SharingStatus
from poller.model.status import MappingState, MappingStatus, WorkerStatus
from poller.telemetry.history import MappingHistory

Filter = Literal["blocked", MappingState]
FILTERS: tuple[Filter, ...] = ("blocked", "troubled", "waiting", "starting", "stopping", "paused", "ready", "disabled")
"""The filters, in the order of the page: what needs a person comes first."""

Grouping = Literal["state", "function", "source"]
GROUPINGS: tuple[Grouping, ...] = get_args(Grouping)

LONGEST_SEARCH_IN_CHARACTERS = 200


class Query(NamedTuple):
    """The mappings that a reader wants to see: those that have this state, and this text in name, source or function.

    `page` is the number of the part of the list, from 1. With `is_still`, a browser without scripts does not load the
    page again by itself, which would fold all lists. With `has_exact_times`, the page shows exact times beside others.
    """

    text: str = ""
    state: Filter | None = None
    grouping: Grouping = "state"
    page: int = 1
    is_still: bool = False
    has_exact_times: bool = False

    @classmethod
    def of(cls, parameters: Mapping[str, str]) -> Query:
        """Return the query of a URL. A parameter that makes no sense is ignored."""
        state, grouping, page = parameters.get("state"), parameters.get("group"), parameters.get("page", "")
        return cls(
            parameters.get("q", "").strip()[:LONGEST_SEARCH_IN_CHARACTERS],
            next((each for each in FILTERS if each == state), None),
            next((each for each in GROUPINGS if each == grouping), "state"),
            int(page) if re.fullmatch("[1-9][0-9]{0,5}", page) else 1,
            parameters.get("still") == "yes",
            parameters.get("times") == "exact",
        )

    @property
    def url(self) -> str:
        """Return the address of the page with this query. Defaults are left out."""
        given = {"q": self.text, "state": self.state or "", "group": self.grouping, "page": str(self.page)}
        given["still"] = "yes" if self.is_still else ""
        given["times"] = "exact" if self.has_exact_times else ""
        defaults = {"q": "", "state": "", "group": "state", "page": "1", "still": "", "times": ""}
        changed = {key: value for key, value in given.items() if value != defaults[key]}
        return f"/?{urlencode(changed)}" if changed else "/"


class Viewer(NamedTuple):
    """A reader of the page.

    `sees_words` is true if the reader may see a function's own words and the keys of records. `may_change` is true if
    the reader may change something. `can_log_in` is true if the settings have an admin token, and `is_logged_in` if the
    browser has logged in with it. `proof` is a text that every form must send back (`sessions.py`).
    """

    sees_words: bool = False
    may_change: bool = False
    can_log_in: bool = False
    is_logged_in: bool = False
    proof: str = ""


class RecentChange(NamedTuple):
    """A change that was made, and when (epoch seconds)."""

    at: float
    change: ChangeMade


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Everything that the page shows. Times are in epoch seconds.

    `function_statuses` has each function that is in use, and `failed_children` says how many child processes of a
    function have failed: they crashed, timed out or could not start. `changes` are the last ones, the oldest first.
    `depths` are what the queues of the mappings said last about their messages.
    `workers` are the worker processes, or none if the daemon is one process.
    `sharing` is how the workers share the leases of the state, or None before the state is open.
    """

    now: float
    started_at: float
    statuses: Sequence[MappingStatus]
    histories: Mapping[MappingName, MappingHistory]
    functions: Sequence[Function]
    function_statuses: Mapping[FunctionName, FunctionStatus]
    failed_children: Mapping[str, int]
    depths: Mapping[MappingName, KnownDepth]
    changes: Sequence[RecentChange]
    workers: Sequence[WorkerStatus]
    sharing: SharingStatus | None
    viewer: Viewer
    query: Query

    def histories_by_function(self) -> Mapping[FunctionName, Sequence[MappingHistory]]:
        """Return the histories of the mappings of each function, and of its asynchronous events."""
        found: defaultdict[FunctionName, list[MappingHistory]] = defaultdict(list)
        for status in self.statuses:
            if status.mapping in self.histories:
                found[status.function].append(self.histories[status.mapping])
        return found

    @property
    def mappings(self) -> Sequence[MappingStatus]:
        return [status for status in self.statuses if status.events is None]
