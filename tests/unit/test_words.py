"""Do the code, the tests and the documents use one plain word for each thing?"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

INSTEAD = {
    r"\bRecorder\b|\b_?record_fact\b": "Telemetry, emit",
    r"\bemit=(?:\w+\.)?record\b|\brecord(?: =|:) Recorded\b": "emit, because a record is an item of a source",
    r"\bcaller'?s?\b": "client, identity, or the thing itself",
    r"\b(?:Queue|Lane|Shard|Stream)Parts\b|class Parts\b": "what they are: Context, Dependencies, Piece",
    r"(?-i:\bNotice\b)|\bfailure record": "invocation record",
    r"\bstandstills?\b|\bstand(?:s|ing)? still\b|\bheld up\b": "blocked",
    r"(?-i:\bBeginning\b(?=[(\]:,|.]))": "StartingPosition",
    r"\bdoors?\b": "client",
    r"\bluck\b": "random",
    r"(?<![a-z])refusals?(?![a-z])": "error, or rejected entry",
    r"(?-i:\bBusy\b)": "Throttled, Unreachable",
    r"\bdef _place\b": "host_and_port, position, rank: each its own",
    r"class Iterator\b": "ShardIterator",
    r"\bsettings_doubted\b": "settings_warning",
    r"\bspoiled\b": "is_unclean",
    r"\bfailed_beside\b": "background_failure",
    r"\boutput_kept_or_told\b": "exit_on_broken_stdout",
    r"\bin_tens\b": "in_chunks_of_ten",
    r"\bwho cannot read\b|\bby the lane that\b|\bno time or less\b": "a sentence with a subject and a verb",
    r"\bchild_?(?:started|stopped|output)\b": "child_process_…, because a child is a shard",
    r"\b[Aa]n advice\b|\bone of both\b|\bfirst first\b": "advice, either, in the order in which",
    r'"""The same (?:for|while|after|as)\b': "a first sentence that stands alone",
    r"\bnone of their own\b|\bthere are \{": "what holds instead; the names are",
}
"""Words that a new reader stumbled over, and what is written instead. A pattern ignores case, except in `(?-i:…)`."""

WRITTEN_BY_OTHERS = ("poller/examples/events/api-gateway.json", "tests/unit/core/streams/stream_failures.txt")
"""Files with words of AWS."""


@pytest.fixture(scope="module")
def texts() -> dict[Path, str]:
    """Return the text of each file by its path."""
    return {
        path: (ROOT / path).read_text()
        for pattern in (
            ".ci/*",
            "README.md",
            "config/**/*",
            "deploy/**/*",
            "poller/**/*",
            "pyproject.toml",
            "tests/**/*",
        )
        for path in sorted(found.relative_to(ROOT) for found in ROOT.glob(pattern) if found.is_file())
        if not {"__pycache__", "node_modules"}.intersection(path.parts)
        if str(path) not in (*WRITTEN_BY_OTHERS, str(Path(__file__).relative_to(ROOT)))
    }


@pytest.mark.slow
@pytest.mark.parametrize("pattern", INSTEAD)
def test_no_word_that_needs_a_dictionary_is_used(pattern: str, texts: dict[Path, str]) -> None:
    assert len(texts) > 1000
    found = [
        f"{path}:{text.count(chr(10), 0, match.start()) + 1}: {match[0]}"
        for path, text in texts.items()
        for match in re.finditer(pattern, text, re.IGNORECASE)
    ]
    assert found == [], f"write {INSTEAD[pattern]} instead"
