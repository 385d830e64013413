"""THE FILE: one TOML file becomes one frozen `Settings`, or a list of everything that is wrong with it.

Belongs here: what may be written, what it means when it is not written, and how a fault is described.
Does not belong here: what is done with a setting; and no network, ever, so that `poller check` runs anywhere.
Only the command line and the composition root import it; other parts get the `model/` values that they need.
pydantic stays inside.

    loading.py        the way through: file -> tree -> tables -> rules -> Settings
    syntax.py         what is wrong with a file that is not TOML?
    environment.py    what replaces ${NAME}?
    file.py           which tables are there?
    daemon.py         what may [daemon] say?
    functions.py      what may [functions.*] say?
    mappings.py       what may [mappings.*] say?
    references.py     which function does a mapping mean?
    mapping_rules.py  which options go together?
    filters.py        does AWS take this filter pattern?
    advice.py         what is allowed, but probably not meant?
    regions.py        does the region exist, and is it in that partition?
    fields.py         what may a single value be?
    limits.py         how large or small may a number be?
    faults.py         how is a fault described?
    values.py         what does the rest of the program get?
    presence.py       does this machine have the modules, programs and folders that the file names?
    showing.py        how does the file look with its defaults filled in?
    schema.py         what does an editor need to know of it?
"""
