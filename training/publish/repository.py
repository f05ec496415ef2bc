"""The model repository: `<name>/<version>/` folders, each written whole or not at all.

`<name>/published.json` has the SHA-256 of `model.onnx` of every version that was ever published
under the name, so that no number is used twice, even when its folder is gone.
"""

import json
import os
import shutil
from pathlib import Path

from training.errors import TrainingError
from training.files import sync, write_whole
from training.publish.artifact import Artifact, sha256


def versions(models: Path, name: str) -> list[int]:
    """Versions of a model that are there, in ascending order."""
    return sorted(int(path.name) for path in (models / name).glob("[1-9]*") if path.name.isdigit())


def published(models: Path, name: str) -> dict[int, str]:
    """The SHA-256 of `model.onnx` of all versions that were ever published, by version.

    Raises:
        TrainingError: the record cannot be read.
    """
    record = _record(models, name)
    if not record.exists():
        return {}
    try:
        entries = dict(json.loads(record.read_text()))
        return {int(version): str(digest) for version, digest in entries.items()}
    except (ValueError, TypeError):
        raise TrainingError(f"{record}: not a record of published versions") from None


def next_version(models: Path, name: str) -> int:
    """The lowest version that was not used yet and is above all that were."""
    return max([0, *versions(models, name), *published(models, name)]) + 1


def publish(artifact: Artifact, models: Path) -> Path:
    """Copy a verified and evaluated artifact into the model repository, whole or not at all.

    Returns:
        The folder of the version, `models/<name>/<version>`.

    Raises:
        TrainingError: the artifact is not verified or evaluated, or the version exists or existed.
    """
    card = artifact.read_card()
    target = models / card.name / str(card.version)
    if card.version in published(models, card.name):
        raise TrainingError(
            f"{target}: this version was published already; `export` again to take the next"
        )
    # The leading dot hides the unfinished folder from servers.
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    unfinished.mkdir(parents=True)
    try:
        for name in (*card.files, artifact.card.name):
            shutil.copy(artifact.folder / name, unfinished)
            sync(unfinished / name)
        sync(unfinished)
        unfinished.rename(target)
    except OSError as error:
        if not target.exists():
            raise
        raise TrainingError(
            f"{target}: this version exists already; `export` again to take the next"
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    _note(models, card.name)
    return target


def _note(models: Path, name: str) -> None:
    """Add the versions that are there to the record."""
    there = {
        version: sha256(Artifact(models / name / str(version)).model)
        for version in versions(models, name)
    }
    known = sorted((there | published(models, name)).items())
    text = json.dumps({str(version): digest for version, digest in known}, indent=1)
    write_whole(_record(models, name), lambda path: path.write_text(f"{text}\n"))


def _record(models: Path, name: str) -> Path:
    return models / name / "published.json"
