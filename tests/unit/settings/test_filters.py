"""Is a filter pattern one that AWS accepts?"""

from __future__ import annotations

from collections.abc import Callable

import pytest

MappingFaults = Callable[[str, str], list[str]]


@pytest.mark.parametrize(
    "pattern",
    [
        "'null'",
        """'"simple string"'""",
        """'{"eventSource": "aws:sqs"}'""",
        """'{"eventSource": []}'""",
        "'{'",
        "'[]'",
        "{ body = { kind = 'signup' } }",
        "{ body = { at = [2026-01-31] } }",
        "{ body = { at = [inf] } }",
        "{ body = { at = [nan] } }",
        "['a']",
        "3",
    ],
)
def test_an_invalid_pattern_is_refused_in_the_words_of_aws(mapping_faults: MappingFaults, pattern: str) -> None:
    (fault,) = mapping_faults("queue", f"filter_criteria.filters = [{{ pattern = {pattern} }}]")
    assert fault.startswith("filter_criteria.filters[0].pattern")
    assert ": Invalid filter pattern definition." in fault


def test_every_invalid_pattern_is_reported(mapping_faults: MappingFaults) -> None:
    filters = """[{ pattern = '{' }, { pattern = '{"body": {"a": ["b"]}}' }, { pattern = '{}}' }]"""
    faults = mapping_faults("queue", f"filter_criteria.filters = {filters}")
    assert [fault.partition(" = ")[0] for fault in faults] == [
        "filter_criteria.filters[0].pattern",
        "filter_criteria.filters[2].pattern",
    ]


def test_an_invalid_pattern_is_reported_even_if_the_source_is_unknown(faults: Callable[..., list[str]]) -> None:
    found = faults("[mappings.m]\nevent_source_arn = 'q'\nfunction_name = 'f'\nfilter_criteria.filters=[{pattern='{'}]")
    assert len(found) == 2


def test_a_pattern_has_at_most_4096_characters(mapping_faults: MappingFaults) -> None:
    pattern = '{"body": {"a": ["' + "b" * 4096 + '"]}}'
    (fault,) = mapping_faults("queue", f"filter_criteria.filters = [{{ pattern = '{pattern}' }}]")
    assert fault.endswith(f"a pattern has at most 4096 characters, not {len(pattern)}")


def test_a_mapping_has_at_most_ten_filters(mapping_faults: MappingFaults) -> None:
    one = """{ pattern = '{"body": {"a": ["b"]}}' }"""
    (fault,) = mapping_faults("queue", f"filter_criteria.filters = [{', '.join([one] * 11)}]")
    assert fault.endswith("a mapping has at most 10 filters")


def test_a_filter_has_a_pattern(mapping_faults: MappingFaults) -> None:
    assert mapping_faults("queue", "filter_criteria.filters = [{}]") == [
        "filter_criteria.filters[0].pattern: is required"
    ]
