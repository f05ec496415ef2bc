"""What ships: requirement files, images, compose file, commands."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.e2e import web
from tests.e2e.conftest import Server

PROJECT = tomllib.loads(Path("pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
# What each requirement file is compiled from, besides the dependencies of the service.
SOURCES = {
    "cpu": [EXTRAS["cpu"], EXTRAS["otel"]],
    "gpu": [EXTRAS["gpu"], EXTRAS["otel"]],
    "train": [EXTRAS["cpu"], EXTRAS["train"]],
    "ray": [EXTRAS["cpu"], EXTRAS["otel"], EXTRAS["ray"]],
    "dev": [EXTRAS["train"], EXTRAS["otel"], PROJECT["dependency-groups"]["dev"]],
}
SERVICES = yaml.safe_load(Path("docker-compose.yml").read_text())["services"]


def tool(name: str) -> str:
    """A command of this environment."""
    return str(Path(sys.executable).with_name(name))


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | environment
    )


def pins(name: str) -> dict[str, Requirement]:
    """The pinned packages of a requirement file."""
    text = Path(f"docker/requirements-{name}.txt").read_text()
    pinned = (Requirement(line) for line in re.findall(r"^(\w.*?) *\\?$", text, re.MULTILINE))
    return {canonicalize_name(requirement.name): requirement for requirement in pinned}


@pytest.mark.parametrize("name", SOURCES)
def test_requirement_file_pins_what_the_project_asks_for(name: str) -> None:
    pinned = pins(name)
    for source in (PROJECT["project"]["dependencies"], *SOURCES[name]):
        for wanted in map(Requirement, source):
            (pin,) = pinned[canonicalize_name(wanted.name)].specifier
            assert pin.operator == "=="
            assert wanted.specifier.contains(pin.version), f"{wanted}: run `make lock`"


def test_requirement_files_agree_on_every_version() -> None:
    versions: dict[str, set[str]] = {}
    for name in SOURCES:
        for package, requirement in pins(name).items():
            versions.setdefault(package, set()).add(str(requirement.specifier))
    assert {package: found for package, found in versions.items() if len(found) > 1} == {}


@pytest.mark.parametrize("name", SOURCES)
def test_requirement_file_is_hashed_and_names_no_address(name: str) -> None:
    text = Path(f"docker/requirements-{name}.txt").read_text()
    assert all("--hash=sha256:" in block for block in re.split(r"^(?=\w)", text, flags=re.M)[1:])
    assert not re.search(r"://|^--", text, re.MULTILINE)


@pytest.mark.parametrize("name", ["cpu", "gpu", "ray"])
def test_serving_needs_nothing_of_training(name: str) -> None:
    assert {"keras", "onnx", "pandas", "tensorflow", "tf2onnx"}.isdisjoint(pins(name))


def test_dockerfile_passes_hadolint() -> None:
    result = run(tool("hadolint"), "docker/Dockerfile")
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("target", ["cpu", "gpu", "train", "ray"])
def test_image_runs_without_root(target: str) -> None:
    """Its stage, or the one that it builds on, names another user last."""
    stages = re.split(r"^FROM ", Path("docker/Dockerfile").read_text(), flags=re.MULTILINE)
    user, stage = None, target
    while not user and (found := [s for s in stages if re.match(rf"\S+ AS {stage}\n", s)]):
        users = re.findall(r"^USER (\S+)", found[0], re.MULTILINE)
        user, stage = (users or [None])[-1], found[0].split()[0]
    assert user == "10001"


def test_compose_file_follows_the_compose_specification() -> None:
    schema = ("--builtin-schema", "vendor.compose-spec")
    result = run(tool("check-jsonschema"), *schema, "docker-compose.yml")
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("profiles", "services"),
    [
        ([], {"gpu"}),
        (["cpu"], {"cpu"}),
        (["train"], {"train"}),
        (["balance"], {"instance", "balancer"}),
        (["cpu", "monitoring"], {"cpu", "prometheus", "grafana"}),
        (["gpu", "monitoring"], {"gpu", "prometheus", "grafana"}),
    ],
)
def test_profiles_start_their_own_services_alone(profiles: list[str], services: set[str]) -> None:
    if not shutil.which("docker") or run("docker", "compose", "version").returncode:
        pytest.skip("docker compose is not installed")
    arguments = [argument for profile in profiles for argument in ("--profile", profile)]
    result = run("docker", "compose", *arguments, "config", "--services")
    assert set(result.stdout.split()) == services, result.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_container_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["pids_limit"]
    assert service["mem_limit"]


@pytest.mark.parametrize("name", ["gpu", "cpu", "instance"])
def test_serving_container_only_reads_the_models(name: str) -> None:
    (models,) = SERVICES[name]["volumes"]
    assert models["source"] == "./models"
    assert models["read_only"]


def test_instances_are_reached_through_the_balancer_alone() -> None:
    instance, balancer = SERVICES["instance"], SERVICES["balancer"]
    assert instance["ports"] == []
    (published,) = balancer["ports"]
    conf = Path("docker/haproxy.cfg").read_text()
    assert re.findall(r"^    bind :(\d+)$", conf, re.MULTILINE) == [published.rpartition(":")[2]]
    port = instance["environment"]["CIFAR10_PORT"]
    (upstream,) = re.findall(r"^    server-template \w+ \d+ (\S+)", conf, re.MULTILINE)
    assert upstream == f"instance:{port}"
    assert balancer["volumes"][0]["source"] == "./docker/haproxy.cfg"


def test_bill_of_materials_lists_every_pinned_package(tmp_path: Path) -> None:
    output = tmp_path / "cpu.json"
    command = (tool("cyclonedx-py"), "requirements", "--output-file", str(output))
    result = run(*command, "docker/requirements-cpu.txt")
    assert result.returncode == 0, result.stderr
    listed = {
        part["name"]: part["version"] for part in json.loads(output.read_text())["components"]
    }
    assert {name: f"=={version}" for name, version in listed.items()} == {
        requirement.name: str(requirement.specifier) for requirement in pins("cpu").values()
    }


def test_make_help_lists_every_target() -> None:
    (targets,) = re.findall(r"^\.PHONY: (.*)$", Path("Makefile").read_text(), re.MULTILINE)
    listed = re.findall(r"^  make (\S+) +\w", run("make", "help").stdout, re.MULTILINE)
    assert sorted(listed) == sorted(targets.split())


def test_make_names_the_python_it_needs() -> None:
    result = run("make", "--dry-run", "--always-make", "serve", "PYTHON=false", "BACKEND=cpu")
    check = result.stdout[: result.stdout.index("\nfalse -m venv")]
    result = run("sh", "-c", check)
    assert result.returncode == 1
    assert "Python 3.11 to 3.13" in result.stderr


def test_cpu_requirements_alone_serve_a_prediction(tmp_path: Path, tiny_models: Path) -> None:
    environment = tmp_path / "venv"
    python = environment / "bin" / "python"
    run(tool("uv"), "venv", "--python", sys.executable, str(environment))
    pip = (tool("uv"), "pip", "install", "--require-hashes", "--only-binary", ":all:")
    result = run(*pip, "--python", str(python), "--requirements", "docker/requirements-cpu.txt")
    assert result.returncode == 0, result.stderr
    settings = {"MODELS": str(tiny_models), "MODEL": "tiny", "PORT": "0", "LOG_FORMAT": "json"}
    log = tmp_path / "log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [python, "-m", "service"],
            env=os.environ | {f"CIFAR10_{name}": value for name, value in settings.items()},
            stderr=stderr,
        )
    with Server(process, log) as server:
        server.wait_until_ready()
        picture = Path("tests/data/cat.jpg").read_bytes()
        answer = web.post(f"{server.url}/predict", content=picture).raise_for_status().json()
    assert answer["model"] == "tiny"
    assert len(answer["predictions"]) == 3
