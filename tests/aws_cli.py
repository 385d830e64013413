"""How do tests get AWS's command line? pip installs it, as `installing.py` says.

It needs another botocore than aiobotocore does, so it is not among the packages of the tests.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.installing import installed_once, ran

VERSION = "1.46.3"
_PACKAGES = "site-packages"


def aws_cli(folder: Path) -> Path:
    """Return a folder for PATH whose program `aws` is AWS's command line. It is made in `folder`."""
    packages = installed_once(f"awscli@{VERSION}", _install) / _PACKAGES
    programs = folder / "programs"
    programs.mkdir()
    program = programs / "aws"
    program.write_text(
        f"#!{sys.executable} -I\n"
        f"import sys\nsys.path.insert(0, {str(packages)!r})\nfrom awscli.clidriver import main\nsys.exit(main())\n"
    )
    program.chmod(0o755)
    return programs


def _install(folder: Path) -> None:
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    ran([*pip, "--target", str(folder / _PACKAGES), f"awscli=={VERSION}"], folder)
