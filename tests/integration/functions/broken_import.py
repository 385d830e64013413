"""A module whose import raises an error."""

raise RuntimeError("no database")
