"""THE TOUR: `poller demo` shows queues and streams at work, on emulators of its own, and checks what it shows.

Belongs here: to set a stage, run the daemon on it as a user would, count what happened from both sides, tell it.
Does not belong here: anything that the daemon needs; the demo starts it as a process and looks at it from outside.
Only the command line imports it, and of it only `run`. It needs the extra `poller[demo]`.

    tour.py         what happens, step by step?
    scenes.py       where does a tour take place, and with which parts?
    books.py        what must a part keep books on?
    signups/        PART  users of a CSV: through two queues into a table, and by its stream to a mail
    clicks/         PART  a Kinesis stream of clicks, in order, with one poison record
    resharding/     PART  the clicks again, while shards are split and merged
    watch.py        when is it over?
    screen.py       how does it look?
    daemon.py       how is the daemon started, and what does it say of itself?
    daemon.toml     the settings file's part on the daemon itself; each part has one of its own
    metrics.py      what does the daemon count?
    emulator.py     where does the demo get an AWS from?
    clients.py      how does the demo reach it?
    processes.py    how are the emulators and the daemon run, and ended?
"""

from poller.demo.tour import run

__all__ = ["run"]
