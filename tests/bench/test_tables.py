"""Does the table for the README say how much the figures vary, and on which machine they were measured?"""

from __future__ import annotations

from dataclasses import replace

from tests.bench.machine import described
from tests.bench.runs import Cannot, Figures, Measured, Outcome, Void
from tests.bench.tables import Shown, line, markdown

TURN = Figures(
    cpu_per_record=20e-6,
    records_per_second=23_256.4,
    paced_cpu_per_record=None,
    p50=None,
    p99=None,
    peak_memory=1e6,
)


def measured(*microseconds: float) -> Measured:
    turns = [replace(TURN, cpu_per_record=each * 1e-6) for each in microseconds]
    return Measured(turns[len(turns) // 2], turns)


def test_the_markdown_has_medians_spreads_ratios_and_the_machine() -> None:
    shown = Shown("messages", {"a": "A case"}, ["ours", "theirs", "void", "unable"], "On a machine.")
    outcomes: dict[str, Outcome] = {
        "ours": measured(8.04, 20, 21.6),
        "theirs": measured(99, 160, 161),
        "void": Void("x"),
        "unable": Cannot(),
    }
    assert markdown(shown, {"a": outcomes}).splitlines() == [
        "| | ours | theirs | void | unable |",
        "|---|---|---|---|---|",
        "| A case | 20 µs (8.0–22), 23,256/s | 160 µs (8.0 times; 99–161), 23,256/s | void | cannot |",
        "",
        "On a machine.",
    ]


def test_the_line_of_a_case_compares_each_program_with_the_first_one() -> None:
    outcomes: dict[str, Outcome] = {"ours": measured(20), "theirs": measured(160), "third": Void("x")}
    assert line("A case", outcomes) == (
        "A case: ours 20 µs (20–20), 23,256/s; theirs 160 µs (8.0 times; 160–160), 23,256/s; third void"
    )


def test_the_machine_is_described_with_the_relevant_versions() -> None:
    text = described("rival 1.0")
    assert text.startswith("Measured on ")
    for name in ("CPython 3.", "uvloop ", "aiobotocore ", ", rival 1.0."):
        assert name in text
