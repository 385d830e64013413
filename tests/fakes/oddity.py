"""What does a wrong answer of a service look like?

A correct answer in which one part is replaced, left out or repeated.
"""

from __future__ import annotations

from copy import deepcopy
from random import Random
from typing import Any

ODD_VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 11, 2**63, 10**400, -0.5, 1e308, float(2**70)),
    *(
        "",
        " ",
        "a b",
        "0",
        "-1",
        "1e999",
        "9" * 200,
        "9" * 5000,
        "\ud800",
        "\x00",
        "\N{ARABIC-INDIC DIGIT ONE}",
        "x" * 3000,
    ),
    *([], [[]], [None], ["a"], {}, {"a": {}}, {"": None}),
]
"""Values of every JSON type, with numbers and texts on which calculations and decoding fail."""

DEEP = 900
"""A number of nested levels that parsers accept and encoders refuse."""


def odd(answer: Any, randomness: Random) -> Any:
    """Return a copy of the answer with one wrong part."""
    document = {"answer": deepcopy(answer)}
    where, key = randomness.choice(list(_places(document)))
    match randomness.randrange(8):
        case 0 if (where, key) != (document, "answer"):
            del where[key]
        case 1 if isinstance(where, list):
            where.insert(key, deepcopy(where[key]))
        case 2 if isinstance(where, list):
            where.reverse()
        case 3 if randomness.random() < 0.2:
            where[key] = _nested(DEEP)
        case 4 if isinstance(where[key], str):
            where[key] = randomness.choice(
                [where[key] + "\ud800", where[key][1:], where[key] * 3, where[key].encode().hex()]
            )
        case 5 if isinstance(where[key], int | float):
            where[key] = randomness.choice([str(where[key]), -where[key], where[key] * 1000, where[key] + 0.5])
        case _:
            where[key] = deepcopy(randomness.choice(ODD_VALUES))
    return document["answer"]


def _places(node: Any) -> Any:
    """Yield every place in the document, as its container and its key or index."""
    keys = node.keys() if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    for key in keys:
        yield node, key
        yield from _places(node[key])


def _nested(levels: int) -> Any:
    value: Any = None
    for _ in range(levels):
        value = [value]
    return value
