"""THE TOUR: `poller demo` shows queues and streams at work on emulators, and checks that the numbers add up.

Belongs here: setting up sources on emulators, running the daemon as a user does, and counting what happened to each
record, both by the daemon's metrics and by the content of the emulators.
Does not belong here: anything that the daemon needs. The demo starts the daemon as a process, and sees it from outside.
The demo needs the extra `poller[demo]`.

    tour.py         what does the tour do, step by step?
    scenes.py       which emulators and which parts has a tour?
    books.py        what does each part of the tour do, and how does it report what happened to its records?
    signups/        PART  uploaded CSV files become events of a function, which sends their rows through two queues into
                    a table; the table's stream causes mails
    clicks/         PART  a Kinesis stream of clicks, in order, with one record that always fails
    resharding/     PART  the clicks again, while shards are split and merged
    watch.py        when is the tour over?
    screen.py       what does a person see?
    daemon.py       how does the tour start the daemon and read its metrics?
    daemon.toml     the table [daemon] of the settings file; each part has a settings.toml
    metrics.py      what does the daemon count for a mapping?
    emulator.py     which emulator stands for AWS?
    clients.py      how does the tour itself call the emulators?
    processes.py    how are the emulators and the daemon started and ended?
"""

from poller.demo.tour import run

__all__ = ["run"]
