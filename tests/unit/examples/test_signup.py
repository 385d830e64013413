"""Do the example handlers fail each record alone, keep the order of a message group, and write the healthy records?"""

from __future__ import annotations

import random
from collections import deque
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest

from poller.examples.signup.functions import check, failures, send_email

FIFO = "arn:aws:sqs:us-east-1:000000000000:buffer-queue.fifo"
STANDARD = "arn:aws:sqs:us-east-1:000000000000:buffer-queue"
MAX_RECEIVES = 3


def record(message_id: str, *, group: str | None = None, receives: int = 1, queue: str = FIFO) -> dict[str, Any]:
    attributes = {"ApproximateReceiveCount": str(receives)} | ({"MessageGroupId": group} if group else {})
    return {"messageId": message_id, "attributes": attributes, "eventSourceARN": queue, "body": "{}"}


class Table:
    """A table that accepts every record except poison records."""

    def __init__(self, *poisoned: str) -> None:
        self.poisoned = poisoned
        self.stored: list[str] = []

    def store(self, record: dict[str, Any]) -> None:
        if record["messageId"] in self.poisoned:
            raise ValueError("poisoned")
        self.stored.append(record["messageId"])


def named(records: list[dict[str, Any]], table: Table) -> list[str]:
    return [item["itemIdentifier"] for item in failures(records, table.store, max_receives=MAX_RECEIVES)]


def test_without_a_failure_no_item_is_reported() -> None:
    table = Table()
    assert named([record("1", group="a"), record("2", group="b")], table) == []
    assert table.stored == ["1", "2"]


def test_a_record_of_a_standard_queue_fails_alone() -> None:
    table = Table("2")
    assert named([record(name, queue=STANDARD) for name in "123"], table) == ["2"]
    assert table.stored == ["1", "3"]


def test_a_group_on_a_standard_queue_has_no_order() -> None:
    table = Table("1")
    assert named([record("1", group="a", queue=STANDARD), record("2", group="a", queue=STANDARD)], table) == ["1"]


def test_a_failed_record_of_a_fifo_queue_holds_back_the_rest_of_its_group_only() -> None:
    table = Table("2")
    records = [record("1", group="a"), record("2", group="a"), record("3", group="b"), record("4", group="a")]
    assert named(records, table) == ["2", "4"]
    assert table.stored == ["1", "3"]


def test_on_its_last_attempt_a_failed_record_no_longer_holds_back_its_group() -> None:
    table = Table("1")
    records = [record("1", group="a", receives=MAX_RECEIVES), record("2", group="a", receives=MAX_RECEIVES)]
    assert named(records, table) == ["1"]
    assert table.stored == ["2"]


def test_a_fault_of_the_table_fails_the_whole_batch() -> None:
    def store(_record: dict[str, Any]) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        failures([record("1", group="a")], store, max_receives=MAX_RECEIVES)


def test_an_address_needs_an_at_sign() -> None:
    with pytest.raises(ValueError, match="no email address"):
        check("ada.example", 3)


def test_a_server_with_greylisting_accepts_the_second_attempt() -> None:
    with pytest.raises(ValueError, match="another attempt"):
        check("ada@grey.acme.example", 1)
    check("ada@grey.acme.example", 2)
    check("ada@acme.example", 1)


@pytest.mark.parametrize("seed", range(50))
def test_no_healthy_record_follows_a_poison_record_into_the_dead_letter_queue(seed: int) -> None:
    """The group behaves as in SQS: a receive returns its first messages, and each message has a maximum of receives."""
    randomness = random.Random(seed)
    names = [str(number) for number in range(20)]
    poisoned = randomness.sample(names, randomness.randint(1, 6))
    table = Table(*poisoned)
    group, receives, dead_letters = deque(names), dict.fromkeys(names, 0), []
    while group:
        while group and receives[group[0]] == MAX_RECEIVES:
            dead_letters.append(group.popleft())
        batch = list(group)[: randomness.randint(1, 10)]
        for name in batch:
            receives[name] += 1
        failed = named([record(name, group="a", receives=receives[name]) for name in batch], table)
        group = deque(name for name in group if name in failed or name not in batch)
        dead_letters += [name for name in group if receives[name] == MAX_RECEIVES and name not in poisoned]
    assert dead_letters == [name for name in names if name in poisoned]
    assert table.stored == [name for name in names if name not in poisoned]


def test_every_new_user_gets_a_mail_and_a_repeat_replaces_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIL_FOLDER", str(tmp_path))
    ada, bea = new_user("Ada King", "ada@acme.example", "1"), new_user("Bea Ito", "bea@acme.example", "2")
    send_email({"Records": [ada, bea]}, None)
    send_email({"Records": [ada]}, None)
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["ada@acme.example.eml", "bea@acme.example.eml"]
    mail = message_from_bytes(files[0].read_bytes())
    assert (mail["To"], mail["Subject"]) == ("ada@acme.example", "Welcome, Ada King")
    assert "Dear Ada King," in str(mail.get_payload())


def test_an_address_cannot_name_a_file_outside_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "mails"
    folder.mkdir()
    monkeypatch.setenv("MAIL_FOLDER", str(folder))
    send_email({"Records": [new_user("Eve", "../eve@acme.example", "1")]}, None)
    assert [file.name for file in folder.iterdir()] == ["..%2Feve@acme.example.eml"]
    assert list(tmp_path.iterdir()) == [folder]


def new_user(name: str, email: str, event_id: str) -> dict[str, Any]:
    return {"eventID": event_id, "dynamodb": {"NewImage": {"name": {"S": name}, "email": {"S": email}}}}
