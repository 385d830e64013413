"""Does the example read an uploaded CSV, and does it refuse a broken one before it sends a row?"""

from __future__ import annotations

import json

import pytest

from poller.examples.signup.uploads import entry, rows_of

ROW = {"row": "7", "kind": "signup", "name": "Ada", "email": "ada@acme.example", "company": "acme"}
TEXT = "row,kind,name,email,company\n7,signup,Ada,ada@acme.example,acme\n"


def test_each_line_becomes_a_row() -> None:
    assert rows_of(TEXT, name="users.csv") == [ROW]


@pytest.mark.parametrize(
    ("column", "text"), [("email", "row,kind,name,company\n"), ("company, email, kind, name, row", "")]
)
def test_a_file_without_a_column_is_refused_by_its_name(column: str, text: str) -> None:
    with pytest.raises(ValueError, match=rf"^users\.csv has no column {column}$"):
        rows_of(text, name="users.csv")


def test_a_row_is_a_message_with_its_number() -> None:
    message = entry("http://host/000000000000/buffer-queue", ROW)
    assert json.loads(message.pop("MessageBody")) == ROW | {"row": 7}
    assert message == {"Id": "7"}


def test_on_a_fifo_queue_the_company_is_the_message_group() -> None:
    message = entry("http://host/000000000000/buffer-queue.fifo", ROW)
    assert (message["MessageGroupId"], message["MessageDeduplicationId"]) == ("acme", "7")
