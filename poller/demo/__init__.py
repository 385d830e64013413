"""THE TOUR: `poller demo` shows a queue mapping at work, on an emulator of its own, and checks what it shows.

Belongs here: to set a stage, run the daemon on it as a user would, count what happened from both sides, tell it.
Does not belong here: anything that the daemon needs; the demo starts it as a process and looks at it from outside.
Only the command line imports it, and of it only `run`. It needs the extra `poller[demo]`.

    tour.py         what happens, step by step?
    processes.py    how are the emulator and the daemon run, and ended?
    emulator.py     where does the demo get an AWS from?
    daemon.py       how is the daemon started, and what does it say of itself?
    poller.toml     the settings file that is shown and run
    story.py        which rows go in, and what should become of each?
    stage.py        which queues and tables are there, and what is in them?
    watch.py        when is it over?
    accounting.py   do the numbers add up?
    screen.py       how does it look?
"""

from poller.demo.tour import run

__all__ = ["run"]
