"""Which ARN does a receiver of documents have? An example for each row of `RECEIVERS`, made of what messages say."""

from __future__ import annotations

import re

from poller.model.arn import Arn
from poller.settings.arns import RECEIVERS


def example(service: str) -> Arn:
    """Return an ARN with the ending that messages describe, without its optional part and without remarks."""
    ending = re.split(r"\[|, ", RECEIVERS[service].ending)[0]
    place = ending.replace("region:account", "eu-west-1:123456789012")
    return Arn.parse(f"arn:aws:{service}:{place}")
