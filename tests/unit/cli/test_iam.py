"""Does `poller iam` print policies that IAM and Terraform can use?"""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.unit.cli.conftest import Poller

READER = "arn:aws:iam::123456789012:role/team/reader"
SETTINGS = f"""
[functions.f]
url = "http://127.0.0.1:1"
[mappings.q]
event_source_arn = "arn:aws:sqs:eu-west-1:123456789012:orders"
function_name = "f"
role_arn = "{READER}"
"""
POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Sid": "ReadQueues",
            "Effect": "Allow",
            "Action": [
                "sqs:ChangeMessageVisibility",
                "sqs:DeleteMessage",
                "sqs:GetQueueAttributes",
                "sqs:ReceiveMessage",
            ],
            "Resource": ["arn:aws:sqs:eu-west-1:123456789012:orders"],
        }
    ],
}
TERRAFORM = f"""\
# The permissions of the daemon's own identity.
data "aws_iam_policy_document" "poller" {{
  statement {{
    sid       = "AssumeRoles"
    actions   = ["sts:AssumeRole"]
    resources = ["{READER}"]
  }}
}}

# The permissions of {READER}.
data "aws_iam_policy_document" "poller_123456789012_team_reader" {{
  statement {{
    sid       = "ReadQueues"
    actions   = ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"]
    resources = ["arn:aws:sqs:eu-west-1:123456789012:orders"]
  }}
}}
"""


def test_every_identity_has_a_policy(poller: Poller) -> None:
    Path("poller.toml").write_text(SETTINGS)
    printed = json.loads(poller("iam").stdout)
    assert list(printed) == ["the daemon's own identity", READER]
    assert printed[READER] == POLICY


def test_the_policy_of_one_role_is_printed_as_iam_takes_it(poller: Poller) -> None:
    Path("poller.toml").write_text(SETTINGS)
    assert json.loads(poller("iam", "--role", READER).stdout) == POLICY


def test_the_policies_are_printed_as_terraform_formats_them(poller: Poller) -> None:
    Path("poller.toml").write_text(SETTINGS)
    assert poller("iam", "--terraform").stdout == TERRAFORM


def test_each_policy_has_its_own_name_in_terraform(poller: Poller) -> None:
    roles = ["x-reader", "x/reader", "x_reader", "x_reader_2"]
    mappings = [
        f"""
[mappings.m{number}]
event_source_arn = "arn:aws:sqs:eu-west-1:123456789012:q{number}"
function_name = "f"
role_arn = "arn:aws:iam::123456789012:role/{role}"
"""
        for number, role in enumerate(roles)
    ]
    Path("poller.toml").write_text('[functions.f]\nurl = "http://127.0.0.1:8080"\n' + "".join(mappings))
    printed = poller("iam", "--terraform").stdout
    assert re.findall(r'"poller_123456789012_(.*)" \{', printed) == [
        "x_reader",
        "x_reader_2",
        "x_reader_3",
        "x_reader_2_2",
    ]


def test_a_role_that_the_settings_do_not_name_is_refused_with_the_roles_that_they_name(poller: Poller) -> None:
    Path("poller.toml").write_text(SETTINGS)
    result = poller("iam", "--role", "arn:aws:iam::123456789012:role/other")
    assert (result.exit_code, result.stdout) == (2, "")
    assert READER in result.stderr


def test_faulty_settings_end_with_their_faults(poller: Poller) -> None:
    Path("poller.toml").write_text(SETTINGS.replace("orders", "or ders"))
    result = poller("iam")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "mappings.q.event_source_arn" in result.stderr
