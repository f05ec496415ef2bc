"""The model repository: `<name>/<version>/` folders, each written whole or not at all."""

import os
import shutil
from pathlib import Path

from training.errors import TrainingError
from training.publish.artifact import Artifact


def versions(models: Path, name: str) -> list[int]:
    """Published versions of a model in ascending order."""
    return sorted(int(path.name) for path in (models / name).glob("[1-9]*") if path.name.isdigit())


def publish(artifact: Artifact, models: Path) -> Path:
    """Copy a verified and evaluated artifact into the model repository, whole or not at all.

    Returns:
        The folder of the version, `models/<name>/<version>`.

    Raises:
        TrainingError: the artifact is not verified or evaluated, or the version exists.
    """
    card = artifact.read_card()
    target = models / card.name / str(card.version)
    # The leading dot hides the unfinished folder from servers.
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    unfinished.mkdir(parents=True)
    try:
        for name in (*card.files, artifact.card.name):
            shutil.copy(artifact.folder / name, unfinished)
        unfinished.rename(target)
    except OSError as error:
        if not target.exists():
            raise
        raise TrainingError(
            f"{target}: this version exists already; `export` again to take the next"
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return target
