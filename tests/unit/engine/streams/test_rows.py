"""May a mapping begin with the positions that the state has?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from poller.engine.streams.rows import Marks
from poller.errors import Rejected
from poller.model.arn import Arn
from poller.model.ids import FunctionName, MappingName
from poller.model.mapping import StreamMapping
from poller.model.stream import TrimHorizon

MAPPING = StreamMapping(
    name=MappingName("clicks"),
    event_source_arn=Arn.parse("arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"),
    function_name=FunctionName("f"),
    starting_position=TrimHorizon(),
    region="eu-west-1",
    uuid="u",
)
WITH_TABLE = replace(MAPPING, kcl_table="my-application")


@pytest.mark.parametrize(
    ("mapping", "noted"), [(MAPPING, None), (WITH_TABLE, None), (WITH_TABLE, "my-application"), (WITH_TABLE, "earlier")]
)
def test_a_mapping_begins_if_it_uses_the_table_of_kcl_or_has_never_used_one(
    mapping: StreamMapping, noted: str | None
) -> None:
    Marks(has_begun=True, by_hand=None, kcl_table=noted).refuse_old_positions(mapping)


def test_a_mapping_that_no_longer_uses_its_table_of_kcl_does_not_begin_at_older_positions() -> None:
    marks = Marks(has_begun=True, by_hand=None, kcl_table="my-application")
    with pytest.raises(Rejected, match="poller state copy kcl://my-application --mapping clicks"):
        marks.refuse_old_positions(MAPPING)
