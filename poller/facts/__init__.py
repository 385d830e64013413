"""THE FACTS: what can happen. One frozen class for each fact, which declares its log lines and its metrics.

A new fact takes two edits: its class, in the file of its area, and the call of `emit` where it happens.
`declaration.py` has the words of a declaration, and telemetry/ carries them out; the names of log events and metrics
stand nowhere else, so that they cannot drift apart.  `poller reference` lists them.

Counts are numbers of records unless a name says otherwise; times are in seconds.
Every field is safe to log: no fact has the body of a record, or a secret.

Belongs here: the facts, what is logged and counted of them, and the labels that their metrics may have.
Does not belong here: how a log line or a series is written (telemetry/), and any decision.
Who imports it: everyone from http/ downwards; it imports model/ only.
"""

from poller.facts.batches import *
from poller.facts.child_processes import *
from poller.facts.daemon import *
from poller.facts.declaration import Emit as Emit
from poller.facts.declaration import Fact as Fact
from poller.facts.discards import *
from poller.facts.endpoints import *
from poller.facts.mappings import *
from poller.facts.queues import *
from poller.facts.sources import *
from poller.facts.stores import *
from poller.facts.streams import *
