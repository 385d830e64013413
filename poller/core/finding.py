"""What does a check of a resource find?"""

from __future__ import annotations

from typing import Literal, NamedTuple

Result = Literal["ok", "advice", "fault"]


class Finding(NamedTuple):
    """The result of a check. `text` continues a sentence that begins with the name of the resource.

    Advice is not a fault: poller works, but a person should know it.
    """

    text: str
    is_fault: bool = False
    is_advice: bool = False

    @property
    def result(self) -> Result:
        if self.is_fault:
            return "fault"
        return "advice" if self.is_advice else "ok"
