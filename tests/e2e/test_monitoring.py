"""Alert rules and dashboard, on what a real server exports."""

import json
import math
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e import web
from tests.e2e.conftest import Server
from tests.e2e.prometheus import Prometheus, installed, watching
from tests.service.conftest import colour
from tests.service.models import write_model

FOLDER = Path("docker/monitoring")
ALERTS = {
    rule["alert"]: rule["expr"]
    for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
}
DASHBOARD = json.loads((FOLDER / "grafana/dashboards/cifar10-serve.json").read_text())
QUERIES = [
    (panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel["targets"]
]
WAIT_S = 60

needs_prometheus = pytest.mark.skipif(not installed, reason="Prometheus is not installed")


@pytest.fixture(scope="module")
def served(
    server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    models = tmp_path_factory.mktemp("models")
    write_model(models, energy_threshold=1.5)  # a black picture is unfamiliar
    with server(models=models, model="tiny") as running:
        use(running)
        yield running


def use(server: Server) -> None:
    """Sends what each query asks about: answers, unfamiliar pictures, refusals."""
    for picture, status in ((colour("red"), 200), (colour("black"), 200), (b"words", 415)):
        assert web.post(f"{server.url}/predict", content=picture).status_code == status


def metrics_in(expression: str) -> set[str]:
    """Names of the metrics in an expression of PromQL."""
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(by|on) \([^)]*\)", "", expression)
    return set(re.findall(r"\b[a-z_]+\b(?! *\()", bare)) - {"and", "or", "offset"}


@pytest.mark.parametrize("expression", [*ALERTS.values(), *(query for _, query in QUERIES)])
def test_every_metric_that_is_asked_for_is_exported(served: Server, expression: str) -> None:
    lines = web.get(f"{served.url}/metrics").text.splitlines()
    exported = {re.split("[{ ]", line)[0] for line in lines if not line.startswith("#")}
    wanted = metrics_in(expression) - {"up"}  # which is of Prometheus itself
    assert wanted <= exported


def test_dashboard_asks_the_data_source_that_is_provisioned() -> None:
    provisioned = yaml.safe_load((FOLDER / "grafana/datasources/prometheus.yml").read_text())
    (source,) = provisioned["datasources"]
    assert {panel["datasource"]["uid"] for panel in DASHBOARD["panels"]} == {source["uid"]}
    services = yaml.safe_load(Path("docker-compose.yml").read_text())["services"]
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in services


def test_prometheus_asks_the_name_that_the_service_has() -> None:
    (job,) = yaml.safe_load((FOLDER / "prometheus.yml").read_text())["scrape_configs"]
    (asked,) = job["dns_sd_configs"]
    services = yaml.safe_load(Path("docker-compose.yml").read_text())["services"]
    for name in ("cpu", "gpu", "instance"):
        assert services[name]["networks"]["default"]["aliases"] == asked["names"]
        assert services[name]["environment"]["CIFAR10_PORT"] == asked["port"]


def test_every_alert_is_tested_both_ways() -> None:
    tests = yaml.safe_load((FOLDER / "alerts_test.yml").read_text())["tests"]
    checks = [check for test in tests for check in test["alert_rule_test"]]
    assert {check["alertname"] for check in checks if "exp_alerts" in check} == set(ALERTS)
    assert {check["alertname"] for check in checks if "exp_alerts" not in check} == set(ALERTS)


@pytest.mark.parametrize("arguments", ["check config prometheus.yml", "test rules alerts_test.yml"])
def test_promtool_finds_nothing_wrong(arguments: str) -> None:
    if not shutil.which("promtool"):
        pytest.skip("promtool is not installed")
    *command, file = arguments.split()
    result = subprocess.run(
        ["promtool", *command, str(FOLDER / file)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture(scope="module")
def prometheus(served: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("prometheus")
    with watching(served.url, folder, interval="500ms") as running:
        yield running


@needs_prometheus
@pytest.mark.parametrize(("title", "query"), QUERIES)
def test_every_line_of_the_dashboard_shows_something(
    served: Server, prometheus: Prometheus, title: str, query: str
) -> None:
    deadline = time.monotonic() + WAIT_S
    values: list[float] = []
    while not values or any(map(math.isnan, values)):
        assert time.monotonic() < deadline, (title, query, values)
        use(served)
        time.sleep(0.2)
        values = prometheus.values(query.replace("$__rate_interval", "5s"))


@needs_prometheus
def test_prometheus_runs_our_rules_and_none_fires_for_a_healthy_service(
    prometheus: Prometheus,
) -> None:
    deadline = time.monotonic() + WAIT_S
    rules: list[dict[str, Any]] = []
    while not rules or any(rule["health"] == "unknown" for rule in rules):
        assert time.monotonic() < deadline, rules
        time.sleep(0.1)
        rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
    assert {rule["name"] for rule in rules} == set(ALERTS)
    assert {rule["health"] for rule in rules} == {"ok"}
    assert not [rule["name"] for rule in rules if rule["state"] == "firing"]
