"""Which sample events has `poller invoke --sample`? Those in `poller/examples/events`, by the names of their files."""

from __future__ import annotations

from importlib.resources import files

FOLDER = files("poller.examples.events")


def sample_names() -> list[str]:
    return sorted(file.name.removesuffix(".json") for file in FOLDER.iterdir() if file.name.endswith(".json"))


def sample(name: str) -> bytes:
    """Return the event as JSON. Raise KeyError, which lists the names, if there is no such sample."""
    if name not in sample_names():
        raise KeyError(f"there is no sample {name}; the samples are {', '.join(sample_names())}")
    return FOLDER.joinpath(f"{name}.json").read_bytes()
