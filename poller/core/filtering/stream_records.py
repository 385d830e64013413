"""Can a pattern match any record of a DynamoDB stream?

In a record, each attribute has a type, and numbers are text:

    "dynamodb": {"NewImage": {"salary": {"N": "50000"}, "tags": {"SS": ["a"]}, "home": {"M": {"city": {"S": "Rome"}}}}}

So `{"salary": [50000]}`, `{"salary": {"N": [50000]}}` and `{"salary": {"N": [{"numeric": [">", 0]}]}}` match nothing.
`mismatch` finds a pattern that cannot match any record because of the shape of records. It accepts doubtful patterns:
an attribute's name may contain dots, and a leaf that accepts an absent field may name a field that no record has.

Sources: Amazon DynamoDB API Reference, "StreamRecord" and "AttributeValue"; AWS Lambda Developer Guide, "Using event
filtering with a DynamoDB event source".
"""

from __future__ import annotations

from poller.core.filtering.leaves import Leaf
from poller.core.filtering.notation import NUMBERS
from poller.core.filtering.parsing import Path, parse_pattern
from poller.core.filtering.predicates import never

_FIELDS: dict[str, tuple[type, ...]] = {
    "ApproximateCreationDateTime": NUMBERS,
    "SequenceNumber": (str,),
    "SizeBytes": NUMBERS,
    "StreamViewType": (str,),
}
"""The fields of `dynamodb` other than items, with the types of their values."""

_ITEMS = ("Keys", "NewImage", "OldImage")

_EVENT_NAMES = ("INSERT", "MODIFY", "REMOVE")

_SCALARS: dict[str, type] = {"S": str, "N": str, "B": str, "SS": str, "NS": str, "BS": str, "BOOL": bool, "NULL": bool}
"""The attribute types that contain no other attributes, with the type of their values. A set is an array of values."""

TYPES = (*_SCALARS, "M", "L")


def mismatch(pattern: str) -> str | None:
    """Return why no record can match a valid pattern, as a sentence about one leaf.

    Return None if a record may match.
    """
    first: str | None = None
    for rule in parse_pattern(pattern).rules:
        wrong = next((path for path, leaf in rule.items() if not _fits(path, leaf)), None)
        if wrong is None:
            return None
        first = first or f"{'.'.join(wrong)} {_explained(wrong)}"
    return first


def _fits(path: Path, leaf: Leaf) -> bool:
    if leaf.accepts_absence:
        return True
    match path:
        case ("eventName",):
            return any(leaf.tests[str](name) for name in _EVENT_NAMES)
        case ("dynamodb", item, *rest) if item in _ITEMS:
            return _fits_item(tuple(rest), leaf)
        case ("dynamodb", field):
            return any(_accepts(leaf, kind) for kind in _FIELDS.get(field, ()))
        case ("dynamodb", *_):
            return False
    return True


def _fits_item(path: Path, leaf: Leaf) -> bool:
    """Return whether the path can lead from an item to an accepted value: a name, then a type that the leaf accepts.

    The steps before the type are not tested, because all of them may be one name with dots.
    """
    return len(path) > 1 and path[-1] in _SCALARS and _accepts(leaf, _SCALARS[path[-1]])


def _accepts(leaf: Leaf, kind: type) -> bool:
    return leaf.tests[kind] is not never


def _explained(path: Path) -> str:
    if path == ("eventName",):
        return f"is {', '.join(_EVENT_NAMES)}, and nothing else"
    if path[1] not in (*_ITEMS, *_FIELDS):
        return f"is not a field of a record; it has {', '.join((*_ITEMS, *_FIELDS))}"
    if len(path) > 3 and path[-1] in ("N", "NS"):
        return 'is text, because DynamoDB writes numbers as text: a number or "numeric" never matches'
    if path[1] in _ITEMS and path[-1] not in _SCALARS:
        return f"names no type; write the type below the attribute ({', '.join(TYPES)}), as in salary.N"
    return "never has the type that the pattern requires"
