"""THE FILE: a TOML file becomes a frozen `Settings`, or a list of everything that is wrong with the file.

Belongs here: which options exist, what their defaults are, and how a fault is described.
Does not belong here: what the program does with an option; network calls, because `poller check` runs without network.
The engine and the adapters do not import this package: they get the values of `model/`.

`loading.py` takes the file through five forms:

    text      TOML                             syntax.py         what is wrong with a text that is not TOML?
      |
    table     what was written, by path        table.py          which value is at a path, and how was it written?
      |                                        environment.py    what replaces ${NAME}?
    entries   one for [daemon], for each       reading.py        how does a table become an entry?
      |       function and each mapping:       file.py           which tables may the file have?
      |       its options, its path,           daemon.py functions.py mappings.py    which options has a table?
      |       and what was written             event_options.py  which options has a function for its events?
      |                                        options.py        how is an option declared?
      |                                        fields.py arns.py state.py   which values may an option have?
    rules     each looks at an entry, and      daemon.py functions.py mapping_rules.py filters.py regions.py
      |       its faults have paths            event_rules.py    what holds between events and the rest of the file?
      |                                        references.py     which function does a mapping mean?
      |                                        faults.py         what is a fault, and how is it shown?
      |                                        masking.py        which part of a value may people see?
    Settings  the values of model/             values.py         which value does the program get from the file?

To add an option: declare it in the file of its table, add a field of the same name to the value in `model/` (for
[daemon]: in `values.py`), and use it. A rule between options is a function that gets the entry.
Give the declaration markers: OURS if AWS does not have this option of a mapping; QUEUES or STREAMS if only QueueMapping
or only StreamMapping has the field; Unstated(...) if the option has no default; Secret or MayHoldSecrets if people
write secrets into it. The tests name a missing marker, except for secrets.
The schema, the output of `poller check` and the messages come from the declaration;
`python -m tests.unit.settings.explained` writes the declaration's text into config/poller.toml.

A mapping in a JSON request goes through the same steps, beginning with the table:

    api_request.py    how does a mapping come from a request of AWS Lambda's API?

For a reload:

    changes.py        what changes in the daemon when it reads its file again?
    in_use.py         which settings does the daemon use, and what would a reload change?

For `poller check`:

    advice.py         what is allowed, but probably a mistake?
    presence.py       does this machine have the modules, programs and folders that the file names?
    showing.py        how does the file look with its defaults filled in?
    schema.py         what does an editor need to know to complete and check the file?

For `poller import` and `poller iam`:

    importing.py      how do event source mappings of AWS Lambda become a settings file?
    take_over.py      how does this daemon take a mapping over from AWS Lambda, and how does the mapping go back?
    permissions.py    which permissions of AWS IAM do the settings need?
"""
