"""The model repository: `<name>/<version>/` folders, each written whole or not at all.

`<name>/published.json` has the SHA-256 of every file of every version that was ever published under
the name, so that no number is used twice, even when its folder is gone, and no byte is changed.
"""

import json
import os
import shutil
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from training.errors import TrainingError
from training.files import sync, write_whole
from training.publish.artifact import Artifact, sha256


def versions(models: Path, name: str) -> list[int]:
    """Versions of a model that are there, in ascending order."""
    return sorted(int(path.name) for path in (models / name).glob("[1-9]*") if path.name.isdigit())


def names(models: Path) -> list[str]:
    """Names of the models with a version that is there."""
    folders = sorted(path.name for path in models.iterdir() if path.is_dir())
    return [name for name in folders if versions(models, name)]


def digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of the card and the ONNX files of a version, by file name."""
    files = sorted([*folder.glob("card.json"), *folder.glob("*.onnx")])
    return {path.name: sha256(path) for path in files}


def published(models: Path, name: str) -> dict[int, dict[str, str]]:
    """The digests of all versions that were ever published, by version.

    Raises:
        TrainingError: the record cannot be read.
    """
    path = record(models, name)
    if not path.exists():
        return {}
    try:
        return TypeAdapter(dict[int, dict[str, str]]).validate_json(path.read_bytes())
    except ValidationError:
        raise TrainingError(f"{path}: not a record of published versions") from None


def check_bytes(models: Path, name: str, version: int) -> None:
    """Check that the files of a version are those that were published, or a copy of another one.

    Raises:
        TrainingError: a file was changed, added or removed, or there is no record of the version.
    """
    folder, known = models / name / str(version), published(models, name)
    present = digests(folder)
    # A version is taken back by copying one before it.
    recorded = present if present in known.values() else known.get(version)
    if recorded is None:
        raise TrainingError(
            f"{folder}: not in the record of published versions, {record(models, name)}"
        )
    for file in sorted(present.keys() | recorded.keys()):
        if file not in present:
            raise TrainingError(f"{folder / file}: was published and is not there")
        if present[file] != recorded.get(file):
            raise TrainingError(
                f"{folder / file}: other bytes were published as this version, or none; "
                "a changed file needs a new version"
            )


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
    known = published(models, name)
    new = [version for version in versions(models, name) if version not in known]
    known |= {version: digests(models / name / str(version)) for version in new}
    text = json.dumps(dict(sorted(known.items())), indent=1)
    write_whole(record(models, name), lambda path: path.write_text(f"{text}\n"))


def record(models: Path, name: str) -> Path:
    """The path of the record of a model."""
    return models / name / "published.json"
