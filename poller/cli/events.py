"""What can a person do with the asynchronous events that wait or are stuck? List, show, retry and drop them.

    list, show     the command reads the file of events, also while daemons use it
    retry, drop    the daemon that runs this settings file changes the file, and logs the change; if no such daemon
                   runs, the command does both (`changed_events.py`). Other daemons see the change within a second
    forget         the command changes the file, and logs the change

If a function has an `event_queue_arn`, its events wait in that SQS queue. The file then has only the events that SQS
cannot keep: ended events with deliveries to do, and events that have become too large.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from poller.admin.requester import this_process
from poller.cli.as_json import AlwaysJson, AsJson, parsed, print_json
from poller.cli.change_log import log_change
from poller.cli.changed_events import ChangeOfEvents, daemon_of_events
from poller.cli.ending import OF_CHANGES, OF_EVENTS, Config, counted, examined, exit_on_failure, refused
from poller.cli.moving import confirm
from poller.cli.printing import print_table
from poller.cli.times import ago, duration
from poller.core.names import other_names
from poller.event_queues import by_hand
from poller.event_queues.by_hand import Listed, Listing
from poller.facts import ChangeMade
from poller.model.event import Ending, Event, EventAction, EventQueueDepth, RememberedQueue
from poller.model.ids import FunctionName, RequestId
from poller.settings.values import Settings

events_commands = typer.Typer(
    help="List, retry and drop the asynchronous events that wait or are stuck.",
    epilog=OF_CHANGES,
    no_args_is_help=True,
)

Name = Annotated[str, typer.Argument(metavar="FUNCTION", help="A key of [functions].")]
Id = Annotated[str | None, typer.Argument(metavar="ID", help="The event's request id.")]
All = Annotated[bool, typer.Option("--all", help="All stuck events of the function.")]


@events_commands.command("list", epilog=OF_EVENTS)
def list_events(
    function: Annotated[
        str | None, typer.Argument(metavar="FUNCTION", help="List only the events of this function.")
    ] = None,
    config: Config = Path("poller.toml"),
    as_json: AsJson = False,
) -> None:
    """List the events of a function, the oldest first. Without a name, print the number of events of each function.

    Example: `poller events list process_csv`

    Example: `poller events list process_csv --json | jq '.events[] | select(.stuck != "")'`
    """
    settings = examined(config, prints_warnings=False).settings
    now = time.time()
    with exit_on_failure(config):
        path = _file_of(settings)
        depths = by_hand.depths(path, now=now)
        former = [queue for queue in by_hand.remembered(path) if not settings.is_event_queue(queue)]
        if function is None:
            _print_depths(path, depths, former, now, as_json=as_json)
            return
        name = _known(function, settings, depths)
        listing = by_hand.listed(path, name, now=now)
    if as_json:
        print_json({"function": name, "total": listing.total, "events": [one._asdict() for one in listing.events]})
        return
    for line in _notes(name, settings, listing):
        typer.echo(line)
    if listing.events:
        _print_events(listing, now)


@events_commands.command(epilog=OF_EVENTS)
def show(
    function: Name,
    request_id: Annotated[str, typer.Argument(metavar="ID", help="The event's request id.")],
    config: Config = Path("poller.toml"),
    as_json: AlwaysJson = False,
) -> None:
    """Print one event as JSON, with its payload and, if it has ended, the reason.

    Example: `poller events show process_csv 5d3a3a5e-… | jq .payload`
    """
    settings = examined(config, prints_warnings=False).settings
    with exit_on_failure(config):
        event = by_hand.shown(_file_of(settings), FunctionName(function), RequestId(request_id))
    if event is None:
        raise refused(f"the function {function} has no event {request_id} in the file", code=1)
    print_json(_document(event))


@events_commands.command(epilog=OF_CHANGES)
def retry(
    function: Name,
    request_id: Id = None,
    config: Config = Path("poller.toml"),
    every: All = False,
    as_json: AsJson = False,
) -> None:
    """Make a stuck event due, so that the running daemon delivers it again at once.

    Example: `poller events retry process_csv --all`, after its destination has the right permission

    The function is not invoked again with an event that has ended. Only its deliveries are tried again.
    """
    change = _asked(function, "retry", request_id, config, is_all=every)
    _print_count("retried", change.make(), change, as_json=as_json)


@events_commands.command(epilog=OF_CHANGES)
def drop(
    function: Name,
    request_id: Id = None,
    config: Config = Path("poller.toml"),
    every: All = False,
    waiting: Annotated[
        bool, typer.Option("--waiting", help="With --all: drop the events that wait, too, not only the stuck ones.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation. For scripts.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove an event for good. The function is not invoked with it any more, and it is not delivered.

    Example: `poller events drop process_csv 5d3a3a5e-…`

    Example: `poller events drop process_csv --all`, for all stuck events

    An event that a daemon has claimed is not removed.
    """
    change = _asked(function, "drop", request_id, config, is_all=every, drops_waiting=waiting or not every)
    if change.is_needed:
        if not yes:
            typer.echo(f"Would drop {change.events} of {change.function} from {change.file} for good.", err=as_json)
        confirm(is_sure=yes, is_for_program=as_json)
    _print_count("dropped", change.make(), change, as_json=as_json)


@events_commands.command(epilog=OF_CHANGES)
def forget(
    function: Name,
    queue: Annotated[str, typer.Argument(metavar="QUEUE", help="The ARN of the former SQS event queue.")],
    config: Config = Path("poller.toml"),
    as_json: AsJson = False,
) -> None:
    """Take no more events from an SQS queue that the settings no longer name for the function.

    Example: `poller events forget process_csv arn:aws:sqs:eu-west-1:123456789012:old-events`

    The running daemon takes the events of such a queue until the queue is empty. This command is for a queue that
    cannot be read any more, or that gets messages for something else. The messages in the queue stay there.
    """
    settings = examined(config, prints_warnings=False).settings
    with exit_on_failure(config):
        path = _file_of(settings)
        found = [each for each in by_hand.remembered(path) if (each.function, str(each.arn)) == (function, queue)]
        if found and settings.is_event_queue(found[0]):
            raise refused(f"nothing was changed: the settings name {queue} as the event queue of {function}", code=1)
        if not found or not by_hand.forget(path, found[0].function, found[0].arn):
            raise refused(f"nothing was changed: {function} has no former event queue {queue}", code=1)
    before = f"a former event queue of {function}"
    log_change(ChangeMade(f"forget of {queue}", this_process(), before, function=FunctionName(function)), settings)
    if as_json:
        print_json({"function": function, "forgotten": queue})
    else:
        typer.echo(f"{queue} is forgotten; its messages stay there.")


def _asked(
    function: str,
    action: EventAction,
    request_id: str | None,
    config: Path,
    *,
    is_all: bool,
    drops_waiting: bool = False,
) -> ChangeOfEvents:
    """Return the change that the person asks for. Ends the program if there is no such function."""
    if request_id == "" or (request_id is None) != is_all:
        raise refused("give the event's ID, or --all", code=2)
    settings = examined(config, prints_warnings=False).settings
    with exit_on_failure(config):
        path = _file_of(settings)
        depths = by_hand.depths(path, now=time.time())
    name = _known(function, settings, depths)
    depth = depths.get(name)
    if action == "drop" and name not in settings.functions:
        drops_waiting = True  # no daemon will ever take them
    daemon_of_events(config, settings)  # before the person sees numbers and is asked
    applies_to = 0 if depth is None else depth.stuck + (depth.waiting if drops_waiting else 0)
    return ChangeOfEvents(config, settings, path, name, action, request_id, drops_waiting, applies_to)


def _print_count(done: str, count: int, change: ChangeOfEvents, *, as_json: bool) -> None:
    if as_json:
        print_json({"function": change.function, done: count})
    else:
        typer.echo(f"{counted(count, 'event')} of {change.function} {done}.")


def _file_of(settings: Settings) -> Path:
    """Return the path of the file of events. Ends the program if the settings name no file."""
    address = settings.daemon.event_queue
    if address is None:
        raise refused('daemon.state is "memory:" and there is no daemon.event_queue: no event is stored', code=1)
    return Path(address.removeprefix("sqlite://"))


def _known(function: str, settings: Settings, depths: Mapping[FunctionName, EventQueueDepth]) -> FunctionName:
    """Return the function's name if the settings or the file of events know it. Otherwise end the program."""
    names = dict.fromkeys([*settings.functions, *depths])
    if function not in names:
        raise refused(f"there is no function {function}; {other_names(function, names)}", code=2)
    return FunctionName(function)


def _notes(name: FunctionName, settings: Settings, listing: Listing) -> list[str]:
    function = settings.functions.get(name)
    notes = []
    if function is None:
        notes.append(
            f"The settings no longer have {name}. Its events wait until you add it again, or until you drop them."
        )
    elif (arn := function.event_invoke_config.event_queue_arn) is not None:
        notes.append(
            f"The events of {name} wait in {arn}. This list has only the events that SQS cannot keep: they have ended "
            "and are not delivered yet, or they have become too large."
        )
    if not listing.events:
        notes.append(f"No event of {name} waits.")
    elif len(listing.events) < listing.total:
        notes.append(f"The oldest {len(listing.events)} of {listing.total} events:")
    return notes


def _print_depths(
    path: Path,
    depths: Mapping[FunctionName, EventQueueDepth],
    former: Sequence[RememberedQueue],
    now: float,
    *,
    as_json: bool,
) -> None:
    if as_json:
        counts = {name: _counts(depth) for name, depth in depths.items()}
        queues = [{"function": queue.function, "queue": str(queue.arn)} for queue in former]
        print_json({"event_queue": str(path), "functions": counts, "former_event_queues": queues})
        return
    typer.echo(f"{path}{'' if depths else ': no event waits'}")
    if depths:
        _print_table_of(depths, now)
    for queue in former:
        typer.echo(f"Events of {queue.function} may still wait in its former event queue {queue.arn}.")


def _print_table_of(depths: Mapping[FunctionName, EventQueueDepth], now: float) -> None:
    rows = [
        [name, str(depth.waiting), str(depth.in_flight), str(depth.stuck), _oldest(depth, now)]
        for name, depth in depths.items()
    ]
    print_table(["FUNCTION", "WAITING", "IN FLIGHT", "STUCK", "OLDEST"], rows)


def _counts(depth: EventQueueDepth) -> dict[str, Any]:
    return {
        "waiting": depth.waiting,
        "in_flight": depth.in_flight,
        "stuck": depth.stuck,
        "oldest_accepted_at": depth.oldest_accepted_at,
    }


def _oldest(depth: EventQueueDepth, now: float) -> str:
    return "" if depth.oldest_accepted_at is None else ago(now - depth.oldest_accepted_at)


def _print_events(listing: Listing, now: float) -> None:
    rows = [
        [one.request_id, ago(now - one.accepted_at), str(one.attempts), f"{one.size_in_bytes:,}", _state(one, now)]
        for one in listing.events
    ]
    print_table(["ID", "ACCEPTED", "ATTEMPTS", "BYTES", "STATE"], rows)


def _state(one: Listed, now: float) -> str:
    if one.stuck:
        return f"stuck: {one.stuck}"
    what = "is delivered" if one.has_ended else "is invoked"
    if one.is_claimed:
        return f"{what} now"
    return f"{what} in {duration(one.due_at - now)}" if one.due_at > now else f"{what} next"


def _document(event: Event) -> dict[str, Any]:
    return {
        "request_id": event.request_id,
        "function": event.function,
        "accepted_at": event.accepted_at,
        "due_at": event.due_at,
        "attempts": event.attempts,
        "stuck": event.stuck,
        "payload": parsed(event.payload),
        "ending": None if event.ending is None else _ending(event.ending),
    }


def _ending(ending: Ending) -> dict[str, Any]:
    last = ending.last
    return {
        "condition": ending.condition,
        "at": ending.at,
        "deliveries": ending.deliveries,
        "rejections": ending.rejections,
        "status_code": None if last is None else last.status_code,
        "error_message": None if last is None else last.error_message,
        "response_payload": None if last is None or last.payload is None else parsed(last.payload),
    }
