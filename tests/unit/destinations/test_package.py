"""Is every destination of the folder described, and can every destination of the settings be opened?"""

from __future__ import annotations

import pkgutil
import re

import pytest

import poller.destinations
from poller.aws.clients import Aws, AwsSettings
from poller.composition.events import open_destination
from poller.settings.arns import RECEIVERS
from tests.unit.settings.receivers import example


def test_the_docstring_of_the_package_names_exactly_its_modules() -> None:
    drawn = re.findall(r"^    ((?:\w+, )*\w+) {2,}", poller.destinations.__doc__ or "", flags=re.MULTILINE)
    names = [name for words in drawn for name in words.split(", ")]
    modules = [module.name for module in pkgutil.iter_modules(poller.destinations.__path__)]
    assert sorted(names) == modules, "the table in poller/destinations/__init__.py has a line for each module"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
@pytest.mark.parametrize("service", RECEIVERS)
async def test_every_destination_that_the_settings_take_can_be_opened(service: str) -> None:
    async with (
        Aws(AwsSettings()) as aws,
        open_destination(example(service), aws, region="eu-west-1", role_arn=None) as destination,
    ):
        assert type(destination).__module__.startswith("poller.destinations.")
