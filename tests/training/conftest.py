"""A small piece of CIFAR-10 in every layout, and one small network trained on it."""

import json
import os
import pickle
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from filelock import FileLock
from PIL import Image

# TensorFlow imports JAX where it is installed, for a converter that nothing here uses: a third of
# the time that its own import takes, in each process of the tests.
if os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow" and "jax" not in sys.modules:
    sys.modules["jax"] = None  # type: ignore[assignment]  # its import fails
    try:
        import tensorflow as tf  # noqa: F401
    finally:
        del sys.modules["jax"]

from training.data import dataset
from training.data.dataset import DataSet
from training.export import variants
from training.pipeline import evaluate, steps
from training.presets import BASELINE, ArticleNetwork, Preset
from training.publish import artifact
from training.publish.artifact import Artifact
from training.publish.card import ExportedCard
from training.train import fit
from training.train.checkpoint import Run

FOLDERS = Path(__file__).parents[1] / "data" / "cifar10"
SMALL = replace(BASELINE, network=ArticleNetwork(widths=(8, 16), dense=16), epochs=3, batch_size=32)


@pytest.fixture(autouse=True, scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keep the tests out of the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    patch = pytest.MonkeyPatch()
    patch.setattr("training.data.cache.platformdirs.user_cache_dir", lambda _: str(folder))
    return folder


def pictures(split: str) -> tuple[npt.NDArray[np.uint8], list[int]]:
    """The sample, sorted as `ClassFolders` reads it: uint8 (N, 32, 32, 3) and labels."""
    files = sorted((FOLDERS / split).glob("*/*.jpg"))
    names = sorted({path.parent.name for path in files})
    images = np.stack([np.asarray(Image.open(path)) for path in files])
    return images, [names.index(path.parent.name) for path in files]


def write_csv(path: Path, images: npt.NDArray[np.uint8], labels: list[object] | None) -> None:
    """Write pictures in the columns of the Kaggle set."""
    header = [f"pixel{i}" for i in range(3072)] + ([] if labels is None else ["label"])
    lines = [",".join(header)]
    for number, pixels in enumerate(images.transpose(0, 3, 1, 2).reshape(len(images), -1)):
        cells = [str(value) for value in pixels]
        lines.append(",".join(cells if labels is None else [*cells, str(labels[number])]))
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def kaggle(tmp_path: Path) -> Path:
    """`train.csv` and `test.csv` of the sample."""
    for split in ("train", "test"):
        images, labels = pictures(split)
        write_csv(tmp_path / f"{split}.csv", images, list(labels))
    return tmp_path


@pytest.fixture
def batches(tmp_path: Path) -> Path:
    """The folder that holds the sample as `cifar-10-batches-py`."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for split, name in (("train", "data_batch_1"), ("test", "test_batch")):
        images, labels = pictures(split)
        rows = np.ascontiguousarray(images.transpose(0, 3, 1, 2).reshape(len(images), -1))
        (folder / name).write_bytes(pickle.dumps({b"data": rows, b"labels": labels}, 2))
    names = sorted(path.name.encode() for path in (FOLDERS / "train").iterdir())
    (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": names}, 2))
    return tmp_path


@pytest.fixture(scope="session")
def sample() -> DataSet:
    """The sample through the loader."""
    return dataset.load(FOLDERS, SMALL.image_size, SMALL.resize)


@pytest.fixture(scope="session")
def preset() -> Preset:
    """A network that trains in seconds."""
    return SMALL


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, sample: DataSet) -> Run:
    """A finished run, exported as version 1 of `small`, verified and evaluated.

    All processes of pytest-xdist share it, so no test may change it.
    """
    own = tmp_path_factory.getbasetemp()
    common = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    folder = common / "trained" / "small"
    with FileLock(common / "trained.lock"):
        if not folder.exists():
            made = _train(tmp_path_factory.mktemp("runs") / "small", sample)
            folder.parent.mkdir()
            made.folder.rename(folder)
    return Run(folder)


def _train(folder: Path, sample: DataSet) -> Run:
    run = Run(folder)
    fit.fit(SMALL, sample, folder)
    with pytest.MonkeyPatch.context() as patch:
        # One of its few validation pictures is more than what a variant may lose.
        patch.setattr(variants, "ACCURACY_LOSS_LIMIT", 1.0)
        steps.export_run(run, sample, folder / "models", "small")
    steps.verify_run(run, sample)
    evaluate.evaluate_run(run, sample, FOLDERS, folder / "models")
    return run


@pytest.fixture
def finished(trained: Run, tmp_path: Path) -> Artifact:
    """A copy of the artifact of the trained run, which a test may change."""
    folder = artifact.of_run(trained.folder).folder
    return Artifact(Path(shutil.copytree(folder, tmp_path / "artifact")))


def change_card(found: Artifact, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the JSON of a card in place."""
    card = json.loads(found.card.read_text())
    change(card)
    found.card.write_text(json.dumps(card))


def forget_all_after_export(card: dict[str, Any]) -> None:
    """Make the JSON of a card what `export` wrote."""
    for key in set(card) - ExportedCard.model_fields.keys() | {"parity", "agreement"}:
        del card[key]
