"""THE FACTS: what the daemon logs and counts. Each fact is a frozen class that declares its log lines and its metrics.

A new fact needs two edits: its class, in the file of its area, and the call of `emit` where the fact happens.
`declaration.py` defines what a declaration can say, and telemetry/ obeys it. The names of log events and metrics are
nowhere else, so they cannot differ from each other. `poller reference` lists them.
The tests then ask for two more: an entry in EXPECTATIONS (tests/unit/telemetry/test_telemetry.py), and the lists in
deploy/, which `poller reference log --markdown` and `poller reference metrics --markdown` print.

A number counts records, unless its name says something else. Times are in seconds.
Every field is safe to log: no fact has the body of a record, or a secret.

Belongs here: the facts, what is logged and counted of them, and which labels their metrics may have.
Does not belong here: how a log line or a series is written (telemetry/), and any decision.
Of poller, this package imports only model/.
"""

from poller.facts.api import *
from poller.facts.batches import *
from poller.facts.calls import *
from poller.facts.child_processes import *
from poller.facts.daemon import *
from poller.facts.declaration import Emit as Emit
from poller.facts.declaration import Fact as Fact
from poller.facts.discards import *
from poller.facts.event_queues import *
from poller.facts.events import *
from poller.facts.leases import *
from poller.facts.mappings import *
from poller.facts.queues import *
from poller.facts.sources import *
from poller.facts.stores import *
from poller.facts.streams import *
from poller.facts.urls import *
from poller.facts.workers import *
