"""The manifests of docker/kubernetes, as kubectl renders them."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]

KUBERNETES = Path(__file__).parents[2] / "docker" / "kubernetes"
_KUBECTL = Path(sys.executable).with_name("kubectl")


def render(folder: Path) -> list[Manifest]:
    """Renders a folder that holds a kustomization.yaml."""
    command = [str(_KUBECTL), "kustomize", str(folder)]
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
