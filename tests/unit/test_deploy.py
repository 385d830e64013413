"""Do the files in deploy/ agree with the program, and with the tools that read them?"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from poller.admin.control import control_paths
from poller.descriptors import MOST
from poller.settings.daemon import DaemonOptions
from poller.settings.loading import load
from poller.settings.values import Settings
from poller.workers.team import MARGIN_IN_SECONDS

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"

UNITS = ("poller.service", "poller@.service", "poller-worker@.service")


def longest_stop(settings: Settings | None = None) -> float:
    """How long a daemon with these settings, or with the defaults, may take to stop: with workers, it takes longest."""
    options = DaemonOptions() if settings is None else settings.daemon
    return options.shutdown_grace_in_seconds + MARGIN_IN_SECONDS


def dockerfile() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile, each with its arguments, in order."""
    text = re.sub(r"^\s*#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines if line.strip())]


def last(instruction: str) -> str:
    return [rest for word, rest in dockerfile() if word == instruction][-1]


def unit(name: str = "poller.service") -> dict[str, list[str]]:
    """The settings of the unit file, over all sections."""
    settings: dict[str, list[str]] = {}
    for line in (DEPLOY / name).read_text().splitlines():
        if line and line[0] not in "#[":
            name, _, value = line.partition("=")
            settings.setdefault(name, []).append(value)
    return settings


def poller(*arguments: str, directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from poller.cli import main; main()", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=directory,
        env={"PYTHONPATH": str(ROOT)},
    )


def test_the_unit_lets_the_daemon_raise_its_limit_of_open_files_as_far_as_it_wants() -> None:
    soft, hard = unit()["LimitNOFILE"][0].split(":")
    assert (int(soft), int(hard)) == (1024, MOST)


def commands() -> list[list[str]]:
    in_container = [*orjson.loads(last("ENTRYPOINT")), *orjson.loads(last("CMD"))]
    under_systemd = shlex.split(unit()["ExecStart"][0])
    return [in_container, under_systemd]


def test_a_reload_under_systemd_asks_the_daemon_that_the_unit_starts() -> None:
    start, reload = (shlex.split(unit()[name][0]) for name in ("ExecStart", "ExecReload"))
    assert start[1] == "run"
    assert reload == [start[0], "reload", *start[2:]]


def test_the_unit_and_the_image_start_the_command_that_the_project_installs() -> None:
    scripts = (ROOT / "pyproject.toml").read_text().partition("[project.scripts]")[2]
    assert scripts.lstrip().startswith('poller = "poller.__main__:main"')
    assert [Path(command[0]).name for command in commands()] == ["poller", "poller"]
    assert last("ENV").startswith(f"PATH={Path(commands()[1][0]).parent}:")


@pytest.mark.slow
@pytest.mark.parametrize("place", [0, 1], ids=["container", "systemd"])
def test_the_command_line_understands_the_command_and_looks_for_the_file_it_names(place: int, tmp_path: Path) -> None:
    _, *arguments = commands()[place]
    assert arguments[-1] == "/etc/poller/poller.toml"
    missing = tmp_path / "poller.toml"
    answer = poller(*arguments[:-1], str(missing), directory=tmp_path)
    assert answer.returncode == 2
    assert missing.name in answer.stderr + answer.stdout
    assert "no such option" not in (answer.stderr + answer.stdout).lower()


def test_the_image_is_built_from_files_that_exist() -> None:
    for instruction, arguments in dockerfile():
        if instruction == "COPY" and not arguments.startswith("--from"):
            *sources, _target = arguments.split()
            assert [name for name in sources if not (ROOT / name).exists()] == []


def test_the_container_does_not_run_as_root_and_is_stopped_by_a_signal_that_drains() -> None:
    user, group = last("USER").split(":")
    assert f"--uid {user} --gid {group} " in last("RUN")
    assert int(user) > 0
    assert last("STOPSIGNAL") == "SIGTERM"
    assert "/var/lib/poller" in (last("VOLUME"), last("ENV").rpartition("=")[2])


def test_the_container_has_more_time_to_stop_than_a_daemon_needs() -> None:
    [seconds] = re.findall(r"--stop-timeout (\d+)", (DEPLOY / "Dockerfile").read_text())
    assert int(seconds) > longest_stop()


def test_the_health_check_requests_healthz() -> None:
    check = orjson.loads(last("HEALTHCHECK").partition("CMD")[2])
    assert check[:2] == ["python", "-c"]
    compile(check[2], "HEALTHCHECK", "exec")
    assert f"http://127.0.0.1:{last('EXPOSE')}/healthz" in check[2]


@pytest.mark.parametrize("name", UNITS)
def test_systemd_waits_longer_than_a_stop_takes_and_lets_the_daemon_stop_its_children(name: str) -> None:
    settings = unit(name)
    assert int(settings["TimeoutStopSec"][0]) > longest_stop()
    assert settings["KillMode"] == ["mixed"]
    assert settings["KillSignal"] == ["SIGTERM"]
    assert settings["Type"] == ["exec"]
    assert settings["Restart"] == ["on-failure"]
    assert settings["RestartPreventExitStatus"] == ["2"]


def test_the_template_unit_differs_from_the_unit_only_in_the_names_of_its_files() -> None:
    named = {
        name: [value.replace("/etc/poller/poller.toml", "/etc/poller/%i.toml") for value in values]
        for name, values in unit().items()
    }
    named |= {
        "Description": ["Event source mappings of %i: queues and streams to functions"],
        "StateDirectory": ["poller-%i"],
        "EnvironmentFile": ["-/etc/poller/%i.environment"],
    }
    assert unit("poller@.service") == named


LINK = "%t/poller-worker-%i/poller.toml"


def test_the_workers_unit_shares_user_state_and_file_and_differs_from_the_unit_only_in_its_link_and_its_number() -> (
    None
):
    own = {
        name: [value.replace("/etc/poller/poller.toml", LINK) for value in values] for name, values in unit().items()
    }
    own |= {
        "Description": ["Event source mappings, worker %i: queues and streams to functions"],
        "RuntimeDirectory": ["poller-worker-%i"],
        "ExecStartPre": [f"/usr/bin/ln -sf /etc/poller/poller.toml {LINK}"],
        "Environment": ["POLLER_NUMBER=%i POLLER_WORKER=%l-%i"],
        "User": ["poller"],
    }
    assert own["StateDirectory"] == ["poller"]
    assert unit("poller-worker@.service") == own


def test_the_settings_of_the_workers_unit_name_each_daemon_and_its_port_and_are_valid_for_commands(
    tmp_path: Path,
) -> None:
    text = (DEPLOY / "poller-worker@.service").read_text()
    file = tmp_path / "poller.toml"
    file.write_text("\n".join(re.findall(r"^#   (\[daemon\]|\w+ = .+)$", text, flags=re.MULTILINE)))

    def told_apart(environ: dict[str, str]) -> tuple[str | None, tuple[str, int] | None]:
        daemon = load(file, environ).daemon
        assert daemon.state == f"sqlite:///var/lib/{unit()['StateDirectory'][0]}/poller.db"
        return daemon.worker, daemon.http_listen

    [variables] = unit("poller-worker@.service")["Environment"]
    of_the_second = dict(each.split("=") for each in variables.replace("%i", "2").replace("%l", "blue").split())
    assert told_apart(of_the_second) == ("blue-2", ("127.0.0.1", 9472))
    assert told_apart({}) == ("worker", ("127.0.0.1", 9471))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize(
    ("source", "name"),
    [("poller", "poller"), ("poller@", "poller@orders"), ("poller-worker@", "poller-worker@1")],
)
def test_systemd_finds_no_fault_in_the_unit_and_little_exposure(source: str, name: str, tmp_path: Path) -> None:
    text = (DEPLOY / f"{source}.service").read_text()
    installed = tmp_path / f"{name}.service"
    installed.write_text(re.sub("^(Exec[A-Z][a-z]+)=[^ ]+", rf"\1={sys.executable}", text, flags=re.MULTILINE))
    verified = analyzed("verify", "--man=no", "--recursive-errors=no", str(installed))
    assert (verified.returncode, [line for line in verified.stderr.splitlines() if name in line]) == (0, [])
    secure = analyzed("security", "--offline=true", "--threshold=20", str(installed))
    assert secure.returncode == 0, secure.stdout


def analyzed(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=120, check=False)


def test_the_build_gets_every_file_that_the_image_is_built_from() -> None:
    kept = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), flags=re.MULTILINE)
    copied = [rest.split()[:-1] for word, rest in dockerfile() if word == "COPY" and not rest.startswith("--from")]
    assert sorted(kept) == sorted(chain(*copied))


def manifests() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))


def deployment() -> dict[str, Any]:
    [found] = [one for one in manifests() if one["kind"] == "Deployment"]
    return found


def settings_of_the_pods(folder: Path) -> Settings:
    [data] = [one["data"] for one in manifests() if one["kind"] == "ConfigMap"]
    file = folder / "poller.toml"
    file.write_text(data["poller.toml"])
    return load(file, {"POLLER_ADMIN_TOKEN": "a-token-that-is-long-enough"})


def test_a_pod_runs_the_image_without_rights_and_may_drain(tmp_path: Path) -> None:
    pod = deployment()["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert container["args"] == orjson.loads(last("CMD"))
    user, group = map(int, last("USER").split(":"))
    secure = pod["securityContext"]
    assert (secure["runAsNonRoot"], secure["runAsUser"], secure["runAsGroup"]) == (True, user, group)
    assert container["securityContext"] == {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    settings = settings_of_the_pods(tmp_path)
    assert settings.daemon.http_listen == ("0.0.0.0", container["ports"][0]["containerPort"])
    assert pod["terminationGracePeriodSeconds"] > longest_stop(settings)
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert not settings.warnings


def test_a_rollout_replaces_one_pod_after_another_and_never_has_fewer_pods() -> None:
    strategy = deployment()["spec"]["strategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


def test_a_pod_can_write_where_the_daemon_does_and_many_pods_share_the_streams(tmp_path: Path) -> None:
    pod = deployment()["spec"]["template"]["spec"]
    written = {volume["name"] for volume in pod["volumes"] if "emptyDir" in volume}
    mounts = {mount["mountPath"]: mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
    assert mounts.pop("/etc/poller/poller.toml") not in written
    assert written == set(mounts.values())
    state = settings_of_the_pods(tmp_path).daemon.state
    assert state.startswith("dynamodb://")
    (control,) = control_paths(state, Path(orjson.loads(last("CMD"))[-1]))
    assert {str(control.parent), last("VOLUME"), "/tmp"} == set(mounts)


def test_keda_scales_the_deployment_by_mappings_that_its_pods_have(tmp_path: Path) -> None:
    service, scaled = yaml.safe_load_all((DEPLOY / "keda.yaml").read_text())
    scaled_one = deployment()
    assert scaled["spec"]["scaleTargetRef"]["name"] == scaled_one["metadata"]["name"]
    labels = scaled_one["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"] == labels == scaled_one["spec"]["selector"]["matchLabels"]
    assert "replicas" not in scaled_one["spec"], "an apply would undo what KEDA has chosen"
    asked = {trigger["metadata"]["url"].rpartition("/")[2] for trigger in scaled["spec"]["triggers"]}
    assert asked == {mapping.name for mapping in settings_of_the_pods(tmp_path).mappings}


def test_the_pods_get_the_role_of_terraform_by_a_pod_identity_association() -> None:
    """An annotation with a role would need a role that trusts the cluster's identity provider."""
    [account] = [one for one in manifests() if one["kind"] == "ServiceAccount"]
    assert "annotations" not in account["metadata"]
    assert deployment()["spec"]["template"]["spec"]["serviceAccountName"] == account["metadata"]["name"]
    text = (DEPLOY / "kubernetes.yaml").read_text()
    assert "create-pod-identity-association --cluster-name … --namespace default --service-account poller" in text
    trusted = re.findall(r"trusted_services=\[\"(.*)\"\]", text)
    main = (DEPLOY / "terraform" / "main.tf").read_text()
    assert trusted == ["pods.eks.amazonaws.com"]
    assert f'contains(var.trusted_services, "{trusted[0]}") ? ["sts:AssumeRole", "sts:TagSession"]' in main


@pytest.mark.slow
def test_kubernetes_accepts_the_manifests() -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed").validate
    for manifest in manifests():
        validate(manifest, "1.30", strict=True)


def test_the_list_of_the_files_is_complete() -> None:
    linked = set(re.findall(r"\]\(([^)]+)\)", (DEPLOY / "README.md").read_text()))
    assert {name for name in linked if not (DEPLOY / name).exists()} == set()
    tops = {name.partition("/")[0] for name in linked} | {"README.md"}
    assert {path.name for path in DEPLOY.iterdir() if not path.name.startswith("_")} == tops


COMPOSE = DEPLOY / "compose"


def services(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((COMPOSE / name).read_text())["services"]
    return found


@pytest.mark.parametrize(
    ("name", "settings_file", "daemons"),
    [
        ("compose.yaml", "poller.toml", ["poller"]),
        ("workers.yaml", "workers.toml", ["poller-1", "poller-2", "poller-3"]),
    ],
)
def test_compose_runs_each_daemon_confined_and_lets_it_drain(
    name: str, settings_file: str, daemons: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "poller.toml"
    file.write_text((COMPOSE / settings_file).read_text())
    settings = load(file, {"POLLER_ADMIN_TOKEN": "a-token-that-is-long-enough"})
    assert settings.daemon.http_listen == ("0.0.0.0", 9464)
    assert not settings.warnings
    found = {each: service for each, service in services(name).items() if each.startswith("poller")}
    assert list(found) == daemons
    for daemon in found.values():
        assert (daemon["read_only"], daemon["cap_drop"], daemon["init"]) == (True, ["ALL"], True)
        assert int(daemon["stop_grace_period"].removesuffix("s")) > longest_stop(settings)
        assert f"./{settings_file}:{orjson.loads(last('CMD'))[-1]}:ro" in daemon["volumes"]


def test_the_workers_in_compose_share_a_state_have_names_of_their_own_and_are_healthy_once_they_are_ready() -> None:
    daemons = services("workers.yaml")
    assert [daemon["hostname"] for daemon in daemons.values()] == list(daemons), "the default of `worker`"
    state = load(COMPOSE / "workers.toml", {}).daemon.state
    assert state.startswith("dynamodb://")
    (control,) = control_paths(state, Path(orjson.loads(last("CMD"))[-1]))
    for daemon in daemons.values():
        assert str(control.parent) in daemon["tmpfs"]
        *python, code = daemon["healthcheck"]["test"]
        assert python == ["CMD", "python", "-c"]
        compile(code, "healthcheck", "exec")
        assert f"http://127.0.0.1:{last('EXPOSE')}/readyz" in code


@pytest.mark.parametrize(("name", "count"), [("compose.yaml", 4), ("workers.yaml", 3)])
def test_compose_mounts_only_files_that_exist_and_publishes_ports_on_loopback_alone(name: str, count: int) -> None:
    mounted = [volume.partition(":")[0] for one in services(name).values() for volume in one.get("volumes", ())]
    assert [file for file in mounted if file.startswith(".") and not (COMPOSE / file).is_file()] == []
    ports = [port for one in services(name).values() for port in one.get("ports", ())]
    assert len({port.rpartition(":")[0] for port in ports}) == len(ports) == count
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_prometheus_in_compose_scrapes_the_daemon_under_the_name_that_the_alerts_expect() -> None:
    [job] = yaml.safe_load((COMPOSE / "prometheus.yml").read_text())["scrape_configs"]
    assert job["job_name"] == "poller"
    assert 'up{job="poller"}' in (DEPLOY / "prometheus-alerts.yml").read_text()
    [target] = job["static_configs"][0]["targets"]
    assert target == "poller:9464"
