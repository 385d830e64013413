"""Do the code, the tests and the documents use one plain word for each thing?"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

INSTEAD = {
    r"\bRecorder\b|\b_?record_fact\b": "Telemetry, emit",
    r"\bemit=(?:\w+\.)?record\b|\brecord(?: =|:) Recorded\b": "emit, because a record is an item of a source",
    r"\b[Cc]aller'?s?\b": "client, identity, or the thing itself",
    r"\b(?:Queue|Lane|Shard|Stream)Parts\b|class Parts\b": "what they are: Context, Dependencies, Piece",
    r"\bNotice\b|\bfailure record": "invocation record",
    r"\b[Ss]tandstills?\b|\b[Ss]tand(?:s|ing)? still\b|\bheld up\b": "blocked",
    r"\bBeginning\b(?=[(\]:,|.])": "StartingPosition",
    r"\b[Dd]oors?\b": "client",
    r"\b[Ll]uck\b": "random",
    r"\b_?[Rr]efusals?\b": "error, or rejected entry",
    r"\bBusy\b": "Throttled, Unreachable",
    r"\bdef _place\b": "host_and_port, position, rank: each its own",
    r"class Iterator\b": "ShardIterator",
    r"\bsettings_doubted\b": "settings_warning",
    r"\bspoiled\b": "is_unclean",
    r"\bfailed_beside\b": "background_failure",
    r"\boutput_kept_or_told\b": "exit_on_broken_stdout",
    r"\bin_tens\b": "in_chunks_of_ten",
    r"\bwho cannot read\b|\bby the lane that\b|\bno time or less\b": "a sentence with a subject and a verb",
    r"\b(?:child|Child)_?(?:[Ss]tarted|[Ss]topped|[Oo]utput)\b": "child_process_…, because a child is a shard",
    r"\b[Aa]n advice\b|\bone of both\b|\bfirst first\b": "advice, either, in the order in which",
    r'"""The same (?:for|while|after|as)\b': "a first sentence that stands alone",
    r"\bnone of their own\b|\bthere are \{": "what holds instead; the names are",
}
"""Words that a new reader stumbled over, and what is written instead."""


@pytest.fixture(scope="module")
def texts() -> dict[Path, str]:
    """Return the text of each file by its path."""
    return {
        path.relative_to(ROOT): path.read_text()
        for pattern in ("poller/**/*.py", "tests/**/*.py", "tests/**/*.md", "config/*", "deploy/**/*", "README.md")
        for path in sorted(ROOT.glob(pattern))
        if path.is_file() and path != Path(__file__) and path.suffix != ".pyc"
    }


@pytest.mark.slow
@pytest.mark.parametrize("pattern", INSTEAD)
def test_no_word_that_needs_a_dictionary_is_used(pattern: str, texts: dict[Path, str]) -> None:
    assert len(texts) > 400
    found = [
        f"{path}:{text.count(chr(10), 0, match.start()) + 1}: {match[0]}"
        for path, text in texts.items()
        for match in re.finditer(pattern, text)
    ]
    assert found == [], f"write {INSTEAD[pattern]} instead"
