"""Which text is the log tail of an invocation?"""

from __future__ import annotations

from poller.model.ids import RequestId
from poller.targets.runtime.log_tail import LIMIT_IN_BYTES, LogTail, Report

ID = RequestId("6f1d")
REPORT = Report(duration_in_seconds=0.00123, init_in_seconds=None, memory_size_in_mb=128, peak_memory_in_bytes=None)


def tail_of(*lines: str, report: Report = REPORT) -> str:
    tail = LogTail(began_at=0.0)
    for line in lines:
        tail.add(line)
    return tail.text(ID, report)


def test_the_lines_stand_between_lambdas_own() -> None:
    assert tail_of("one", "two\nthree") == (
        "START RequestId: 6f1d Version: $LATEST\none\ntwo\nthree\nEND RequestId: 6f1d\n"
        "REPORT RequestId: 6f1d\tDuration: 1.23 ms\tBilled Duration: 2 ms\tMemory Size: 128 MB\t\n"
    )


def test_the_report_has_the_memory_and_the_init_if_they_are_known() -> None:
    known = REPORT._replace(init_in_seconds=0.25, peak_memory_in_bytes=40 * 2**20 - 5)
    assert tail_of(report=known).endswith("Memory Size: 128 MB\tMax Memory Used: 40 MB\tInit Duration: 250.00 ms\t\n")


def test_only_the_last_bytes_are_kept() -> None:
    for lines in (["x" * 100] * 1000, ["é" * 100_000], ["z", "é" * 4095]):
        tail = tail_of(*lines)
        assert LIMIT_IN_BYTES - 1 <= len(tail.encode()) <= LIMIT_IN_BYTES
        assert "START" not in tail
        assert tail.endswith("\t\n")


def test_the_memory_for_lines_is_bounded() -> None:
    tail = LogTail(began_at=0.0)
    for number in range(10_000):
        tail.add(f"line {number}")
    assert tail._bytes == sum(map(len, tail._lines)) < 2 * LIMIT_IN_BYTES


def test_lines_from_before_the_invocation_are_left_out_except_those_of_the_init() -> None:
    for keeps_lines in (False, True):
        tail = LogTail(began_at=0.0)
        tail.add("before")
        tail.begin(5.0, keeps_lines=keeps_lines)
        tail.add("within")
        assert ("before\n" in tail.text(ID, REPORT)) is keeps_lines
        assert "within\n" in tail.text(ID, REPORT)
        assert tail.began_at == 5.0
