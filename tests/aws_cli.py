"""How do tests get AWS's command line? pip installs version 1, as `installing.py` says; version 2 is the system's.

Version 1 needs another botocore than aiobotocore does, so it is not among the packages of the tests.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.installing import installed_once, ran, unavailable

VERSION = "1.46.3"
_PACKAGES = "site-packages"


def aws_cli(folder: Path) -> Path:
    """Return a folder for PATH whose program `aws` is version 1 of AWS's command line. It is made in `folder`."""
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


def aws_cli_2(folder: Path) -> Path:
    """Return a folder for PATH whose program `aws` is version 2 of AWS's command line. It is made in `folder`."""
    program = shutil.which("aws", path=os.defpath) or unavailable("the system has no AWS CLI (apt-get install awscli)")
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True, timeout=120).stdout
    if not version.startswith("aws-cli/2."):
        unavailable(f"the system's AWS CLI is {version.strip()}, and not version 2")
    programs = folder / "programs"
    programs.mkdir()
    (programs / "aws").symlink_to(program)
    return programs


def _install(folder: Path) -> None:
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    ran([*pip, "--target", str(folder / _PACKAGES), f"awscli=={VERSION}"], folder)
