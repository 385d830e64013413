"""What does a filter cost? Microseconds for each record, run by hand: `python tests/bench/filters.py`.

Each line is the median of several rounds over the same record; "decode" is what orjson alone takes for its body.
"""

from __future__ import annotations

import statistics
import sys
import timeit
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import orjson

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from poller.core.filtering import DataKey, compile_filters

CALLS = 20_000
ROUNDS = 7

BODY = {
    "kind": "signup",
    "user": {"id": 4711, "name": "Ann Example", "email": "ann@example.com", "tags": ["new", "trial"]},
    "amount": 120.5,
    "currency": "EUR",
    "at": "2026-01-01T00:00:00Z",
}
BODY_TEXT = orjson.dumps(BODY).decode()
MESSAGE = {
    "messageId": "059f36b4-87a3-44ab-83d2-661975830a7d",
    "receiptHandle": "AQEB",
    "body": BODY_TEXT,
    "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1545082649183"},
    "messageAttributes": {},
    "eventSource": "aws:sqs",
    "awsRegion": "eu-west-1",
}
CHANGE = {
    "eventID": "f07f8ca4b0b26cb9c4e5e77e69f274ee",
    "eventName": "INSERT",
    "dynamodb": {
        "ApproximateCreationDateTime": 1480642020.0,
        "Keys": {"id": {"S": "a"}},
        "NewImage": {"id": {"S": "a"}, "n": {"N": "42"}, "state": {"S": "open"}},
        "SequenceNumber": "1405400000000002063282832",
        "SizeBytes": 54,
    },
}
THREE_KEYS = '{"body": {"kind": ["signup", "x"], "currency": ["EUR"], "amount": [120.5]}}'
OTHERS = [f'{{"body": {{"kind": ["kind-{number}"], "currency": ["EUR"]}}}}' for number in range(4)]

CASES: list[tuple[str, DataKey, list[str], dict[str, Any]]] = [
    ("one exact body key", "body", ['{"body": {"kind": ["signup"]}}'], MESSAGE),
    ("one exact body key, no match", "body", ['{"body": {"kind": ["other"]}}'], MESSAGE),
    ("three exact body keys", "body", [THREE_KEYS], MESSAGE),
    ("numeric range", "body", ['{"body": {"amount": [{"numeric": [">", 100, "<=", 200]}]}}'], MESSAGE),
    ("nested key", "body", ['{"body": {"user": {"id": [4711]}}}'], MESSAGE),
    ("array of strings", "body", ['{"body": {"user": {"tags": ["trial"]}}}'], MESSAGE),
    ("five patterns, the last matches", "body", [*OTHERS, '{"body": {"kind": ["signup"]}}'], MESSAGE),
    ("metadata only", "body", ['{"attributes": {"ApproximateReceiveCount": ["1"]}}'], MESSAGE),
    ("plain string body", "body", ['{"body": {"kind": ["signup"]}}'], {**MESSAGE, "body": "hello"}),
    ("DynamoDB NewImage", "dynamodb", ['{"dynamodb": {"NewImage": {"state": {"S": ["open"]}}}}'], CHANGE),
    ("DynamoDB eventName", "dynamodb", ['{"eventName": ["INSERT"]}'], CHANGE),
]


def microseconds(call: Callable[[], object]) -> float:
    return statistics.median(timeit.repeat(call, number=CALLS, repeat=ROUNDS)) / CALLS * 1e6


def main() -> None:
    decode = microseconds(partial(orjson.loads, BODY_TEXT))
    print(f"{'case':36}{'µs/record':>10}{'less decode':>13}")
    print(f"{'decode of the body alone':36}{decode:10.2f}")
    for name, data_key, patterns, record in CASES:
        compiled = compile_filters(patterns, data_key=data_key)
        cost = microseconds(partial(compiled.matches, record))
        is_decoded = any('"body"' in pattern for pattern in patterns) and record is MESSAGE
        rest = f"{cost - decode:13.2f}" if is_decoded else ""
        print(f"{name:36}{cost:10.2f}{rest}")


if __name__ == "__main__":
    main()
