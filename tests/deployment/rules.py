"""Writes the alert rules as a PrometheusRule: python -m tests.deployment.rules.

The rules are written once, in docker/monitoring/alerts.yml, where promtool tests them.
"""

import textwrap
from pathlib import Path

DOCKER = Path(__file__).parents[2] / "docker"
ALERTS = DOCKER / "monitoring" / "alerts.yml"
RULE = DOCKER / "kubernetes" / "components" / "monitoring" / "prometheus-rule.yaml"
_HEAD = """\
# Written by `python -m tests.deployment.rules`, from docker/monitoring/alerts.yml.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: cifar10-serve
spec:
"""


def rule() -> str:
    """The PrometheusRule with the present alert rules."""
    return _HEAD + textwrap.indent(ALERTS.read_text(), "  ")


if __name__ == "__main__":
    RULE.write_text(rule())
