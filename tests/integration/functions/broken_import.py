"""A module whose import fails by a fault of its own."""

raise RuntimeError("no database")
