"""Whoever names the version that ships names the newest one."""

import pytest

from tests.shipped import MODELS, VERSION


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("pyproject.toml", f"default_models/cifar10/{VERSION}/model.int8.onnx"),
        ("docker/ray/serve.yml", f'CIFAR10_MODEL_VERSION: "{VERSION}"'),
        ("docker/kubernetes/ray/rayservice.yaml", f'CIFAR10_MODEL_VERSION: "{VERSION}"'),
        (
            "docker/kubernetes/kserve/base/inference-service.yaml",
            f"cifar10-models/cifar10/{VERSION}",
        ),
    ],
)
def test_package_and_manifests_name_the_newest_version(path: str, line: str) -> None:
    assert line in (MODELS.parent / path).read_text()
