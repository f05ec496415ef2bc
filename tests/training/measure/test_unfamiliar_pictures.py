from pathlib import Path

import numpy as np
import pytest

import training
from training.measure.unfamiliar_pictures import kinds

# Every maker draws at least three pictures.
COUNTS = {kind: 3 * len(makers) for kind, makers in kinds.KINDS.items()}


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_pictures_are_the_same_every_time_and_differ_from_each_other(kind: str) -> None:
    made = kinds.pictures(kind, COUNTS[kind])
    again = kinds.pictures(kind, COUNTS[kind])
    assert [image.tobytes() for image in made] == [image.tobytes() for image in again]
    assert len({image.tobytes() for image in made}) == len(made)
    assert {image.mode for image in made} == {"RGB"}
    assert all(image.width >= 24 and image.height >= 24 for image in made)


@pytest.mark.parametrize("kind", sorted(kinds.KINDS.keys() - {"plain"}))
def test_pictures_show_something(kind: str) -> None:
    made = kinds.pictures(kind, COUNTS[kind])
    assert all(np.asarray(image).std(axis=(0, 1)).max() > 1 for image in made)


def test_nothing_is_trained_on_them() -> None:
    package = Path(training.__file__).parent
    users = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if "unfamiliar_pictures import" in path.read_text()
        and path.parent.name != "unfamiliar_pictures"
    }
    assert users == {
        "measure/unfamiliar.py",
    }
