"""THE FILE: one TOML file becomes one frozen `Settings`, or a list of everything that is wrong with it.

Belongs here: what may be written, what it means when it is not written, and how a fault is described.
Does not belong here: what is done with a setting; and no network, ever, so that `poller check` runs anywhere.
Only the command line and the composition root import it; other parts get the `model/` values that they need.
pydantic stays inside.

There is one way, and `loading.py` goes it:

    text      TOML                             syntax.py         what is wrong with a text that is not TOML?
      |
    table     what was written, by path        table.py          what is at a path, and how is it written?
      |                                        environment.py    what replaces ${NAME}?
    entries   one for [daemon], for each       reading.py        how does a table become an entry?
      |       function and each mapping:       file.py           which tables are there?
      |       its options, its path,           daemon.py functions.py mappings.py    which options has a table?
      |       and what was written             options.py        how is an option declared?
      |                                        fields.py         what may the value of an option be?
    rules     each looks at an entry, and      daemon.py functions.py mapping_rules.py filters.py regions.py
      |       its faults have paths            references.py     which function does a mapping mean?
      |                                        faults.py         what is a fault, and how is it written?
    Settings  the values of model/             values.py         what does the rest of the program get?

To add an option, declare it in `daemon.py`, `functions.py` or `mappings.py`, add a field of the same name to the value
in `model/` (that of [daemon] is in `values.py`), and use it. A rule that joins it with other options is a function on
the entry. All else follows from the declaration; `python -m tests.unit.settings.explained` writes its text into
config/poller.toml.

A mapping that arrives as JSON takes the same way from the table on:

    api_request.py    how does a mapping come from a request of AWS Lambda's API?

Beside the way, for a reload:

    changes.py        what changes in the daemon when its file is read again?

And for `poller check`:

    advice.py         what is allowed, but probably not meant?
    presence.py       does this machine have the modules, programs and folders that the file names?
    showing.py        how does the file look with its defaults filled in?
    schema.py         what does an editor need to know of it?
"""
