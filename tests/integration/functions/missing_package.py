"""A module that needs a package that is not installed."""

import importlib

importlib.import_module("package_that_nobody_has")


def handler(event: object, context: object) -> None:
    """Never reached."""
