"""Which tests show that poller does what AWS does, and where it differs? `python -m tests.parity` writes their names.

@pytest.mark.parity("CreateEventSourceMapping.BatchSize", "long functions")     on a test: the keys of its entries
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
WRITTEN = ROOT / "poller" / "cli" / "parity_tests.json"


def marked_tests() -> Mapping[str, list[str]]:
    """Return the tests that have a marker `parity`, by the keys that their markers have."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if "mark.parity(" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for key in _keys(node):
                    found.setdefault(key, []).append(f"{path.relative_to(ROOT).as_posix()}::{node.name}")
    return {key: sorted(found[key]) for key in sorted(found)}


def as_json(marked: Mapping[str, list[str]]) -> str:
    return json.dumps(marked, indent=1) + "\n"


def _keys(test: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    for decorator in test.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.parity":
            yield from (ast.literal_eval(argument) for argument in decorator.args)


if __name__ == "__main__":
    WRITTEN.write_text(as_json(marked_tests()), encoding="utf-8")
