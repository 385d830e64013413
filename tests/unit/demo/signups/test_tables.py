"""Do the tables of the sign-ups show the account?"""

from __future__ import annotations

from dataclasses import replace

from poller.demo.books import Line
from poller.demo.signups.tables import mails, queues, uploads
from tests.unit.demo.signups.accounts import GOOD, HELD, STORED
from tests.unit.demo.signups.test_mails import GOOD as MAILS
from tests.unit.demo.signups.test_uploads import GOOD as UPLOADS


def test_the_table_has_a_column_for_each_queue() -> None:
    table = queues([GOOD, replace(GOOD, queue="rows", is_fifo=False)])
    assert table.columns == ["rows", "rows.fifo", "rows"]
    assert Line("sent", [5, 5], "process_csv") in table.lines
    assert Line("failed for good", [1, 1], "dead-letter queue") in table.lines
    assert Line("order in each company", ["kept", "not promised"], "table users") in table.lines
    assert Line("  partly failed", [3, 3], "/metrics") in table.lines


def test_a_broken_order_is_shown() -> None:
    upside_down = (STORED[0]._replace(place=2), STORED[1]._replace(place=1))
    table = queues([replace(GOOD, held=replace(HELD, stored=upside_down))])
    assert Line("order in each company", ["broken"], "table users") in table.lines


def test_the_effects_of_the_stream_are_shown() -> None:
    assert [line.numbers for line in mails(MAILS).lines] == [[9], [9], [6], [5], [3]]


def test_the_uploads_are_shown_with_the_attempts_of_the_broken_file() -> None:
    assert [line.numbers for line in uploads(UPLOADS).lines] == [[4], [1], [1], [3], [1], [240]]
