"""What does `poller iam` print? The least IAM policy that a settings file needs, for each identity.

It reads the file alone, and sends no request.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from poller.cli.as_json import AlwaysJson, print_json
from poller.cli.ending import Config, examined, refused
from poller.settings.permissions import Role, Statement, permissions

OWN = "the daemon's own identity"


def iam(
    config: Config = Path("poller.toml"),
    role: Annotated[
        str | None, typer.Option(metavar="ARN", help="Print only the policy of this role, without its name.")
    ] = None,
    terraform: Annotated[bool, typer.Option("--terraform", help="Print Terraform in place of JSON.")] = False,
    as_json: AlwaysJson = False,
) -> None:
    """Print the IAM policies that the settings need: one for the daemon's own identity, and one for each role.

    Example: `poller iam -c poller.toml`

    Example: `poller iam --role arn:aws:iam::123456789012:role/reader > policy.json`

    The settings do not tell whether a queue, stream, topic or bucket is encrypted with a key of your own: then add
    kms:Decrypt for what is read, and kms:GenerateDataKey for what is written.

    Without sqs:ChangeMessageVisibility and lambda:GetFunctionConfiguration poller works too; the README says what is
    then missing.
    """
    if as_json and terraform:
        raise refused("--json and --terraform exclude each other", code=2)
    needed = permissions(examined(config).settings)
    if role is not None:
        if role not in needed:
            names = ", ".join(one for one in needed if one is not None) or "none"
            raise refused(f"the settings name no role {role}; the roles are: {names}", code=2)
        needed = {role: needed[role]}
    if terraform:
        typer.echo("\n".join(_terraform(needed)), nl=False)
    elif role is not None:
        print_json(_policy(needed[role]))
    else:
        print_json({one or OWN: _policy(statements) for one, statements in needed.items()})


def _policy(statements: Iterable[Statement]) -> dict[str, Any]:
    """Return the policy document. Source: IAM User Guide, "IAM JSON policy element reference"."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Sid": one.purpose, "Effect": "Allow", "Action": [*one.actions], "Resource": [*one.resources]}
            for one in statements
        ],
    }


def _terraform(needed: Mapping[Role, Iterable[Statement]]) -> Iterable[str]:
    """Yield a data source `aws_iam_policy_document` for each identity, as `terraform fmt` writes it."""
    labels = _labels(needed)
    for role, statements in needed.items():
        yield f"# The permissions of {role or OWN}."
        yield f'data "aws_iam_policy_document" "{labels[role]}" {{'
        for index, one in enumerate(statements):
            if index:
                yield ""
            yield "  statement {"
            yield f"    sid       = {_quoted(one.purpose)}"
            yield f"    actions   = {_list(one.actions)}"
            yield f"    resources = {_list(one.resources)}"
            yield "  }"
        yield "}\n"


def _labels(roles: Iterable[Role]) -> dict[Role, str]:
    """Return a name of Terraform for each role. Names that would be equal get a number."""
    labels: dict[Role, str] = {}
    for role in roles:
        label, number = _label(role), 2
        while label in labels.values():
            label, number = f"{_label(role)}_{number}", number + 1
        labels[role] = label
    return labels


def _label(role: Role) -> str:
    """Return a name of letters, digits and underscores. Two roles of one name differ by their account."""
    if role is None:
        return "poller"
    _, _, _, _, account, name = role.split(":", 5)
    return re.sub(r"[^A-Za-z0-9_]", "_", f"poller_{account}_{name.removeprefix('role/')}")


def _list(values: Iterable[str]) -> str:
    return f"[{', '.join(map(_quoted, values))}]"


def _quoted(text: str) -> str:
    """Return the text as a string of Terraform, where `${` and `%{` would begin a template."""
    return json.dumps(text, ensure_ascii=False).replace("${", "$${").replace("%{", "%%{")
