"""What does a person see at the end?

Three tables: about the uploads, about the queues, and about the records of the stream.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from poller.demo.books import Line, Table
from poller.demo.signups.accounting import Account
from poller.demo.signups.mails import MailBook
from poller.demo.signups.uploads import UploadBook


def uploads(book: UploadBook) -> Table:
    attempts = [record["requestContext"]["approximateInvokeCount"] for record in book.failed_records]
    return Table(
        "The uploads",
        ["events of process_csv", "number"],
        [
            Line("attempts", [book.counted.attempts], "/metrics"),
            Line("files processed", [len(book.done_records)], "queue uploads-done"),
            Line("files that failed: broken.csv", [len(book.failed_records)], "queue uploads-failed"),
            Line("  after attempts", [sum(attempts)], "its invocation record"),
            Line("calls that were answered", [int(book.answered is not None)], "Invoke API"),
            Line("rows sent to each queue", [book.rows_sent], "answers of the function"),
        ],
    )


def queues(accounts: Sequence[Account]) -> Table:
    return Table("The queues", ["rows", *(account.queue for account in accounts)], list(_queue_lines(accounts)))


def _queue_lines(accounts: Sequence[Account]) -> Iterator[Line]:
    yield Line("sent", [account.sent for account in accounts], "process_csv")
    yield Line("filtered out", [account.counted.filtered_out for account in accounts], "/metrics")
    yield Line("stored", [len(account.held.stored) for account in accounts], "table users")
    yield Line("failed for good", [account.held.dead_letter_count for account in accounts], "dead-letter queue")
    yield Line("left over", [account.held.left_over for account in accounts], "queue")
    yield Line("stored again", [account.held.duplicates for account in accounts], "table users")
    yield Line("order in each company", [_order(account) for account in accounts], "table users")
    yield Line("invoked, retries too", [account.counted.invoked for account in accounts], "/metrics")
    yield Line("  failed or held back", [account.counted.failed for account in accounts], "/metrics")
    yield Line("invocations", [sum(account.counted.invocations.values()) for account in accounts], "/metrics")
    for outcome in ("succeeded", "partly_failed", "failed"):
        cells = [account.counted.invocations.get(outcome, 0) for account in accounts]
        yield Line(f"  {outcome.replace('_', ' ')}", cells, "/metrics")


def mails(book: MailBook) -> Table:
    counted = book.counted
    lines = (
        ("rows stored, and stored again", book.changes, "table users"),
        ("polled", counted.polled, "/metrics"),
        ("filtered out: rows of the other queue, or not new", counted.filtered_out, "/metrics"),
        ("invoked, retries too", counted.invoked, "/metrics"),
        ("mails", len(book.mails), "folder mails"),
    )
    return Table(
        "The stream of the table", ["records", "welcome"], [Line(what, [n], where) for what, n, where in lines]
    )


def _order(account: Account) -> str:
    if not account.is_fifo:
        return "not promised"
    return "kept" if account.is_in_order else "broken"
