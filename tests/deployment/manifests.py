"""The manifests of docker/kubernetes, as kubectl renders them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

Manifest = dict[str, Any]

KUBERNETES = Path(__file__).parents[2] / "docker" / "kubernetes"
# That of this environment, whose version is known; where there is none for a system, any.
_KUBECTL = shutil.which("kubectl", path=Path(sys.executable).parent) or shutil.which("kubectl")


def render(folder: Path) -> list[Manifest]:
    """Renders a folder that holds a kustomization.yaml."""
    if _KUBECTL is None:
        pytest.skip("kubectl is not installed")
    command = [_KUBECTL, "kustomize", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def compose(folder: Path, overlay: str, components: Sequence[str] = ()) -> list[Manifest]:
    """Renders an overlay with components, by a kustomization.yaml in a folder elsewhere."""

    def path(name: str) -> str:  # kustomize takes relative ones alone
        return os.path.relpath(KUBERNETES / name, folder.resolve())

    text = yaml.safe_dump(
        {
            "resources": [path(f"overlays/{overlay}")],
            "components": [path(f"components/{name}") for name in components],
        }
    )
    (folder / "kustomization.yaml").write_text(text)
    return render(folder)


def of_kind(manifests: Sequence[Manifest], kind: str) -> list[Manifest]:
    """Those of one kind."""
    return [manifest for manifest in manifests if manifest["kind"] == kind]
