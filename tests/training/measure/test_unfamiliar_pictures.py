from pathlib import Path

import numpy as np
import pytest

from training.measure import unfamiliar_pictures

# Every maker draws at least three pictures.
COUNTS = {kind: 3 * len(makers) for kind, makers in unfamiliar_pictures.KINDS.items()}


@pytest.mark.parametrize("kind", unfamiliar_pictures.KINDS)
def test_pictures_are_the_same_every_time_and_differ_from_each_other(kind: str) -> None:
    made = unfamiliar_pictures.pictures(kind, COUNTS[kind])
    again = unfamiliar_pictures.pictures(kind, COUNTS[kind])
    assert [image.tobytes() for image in made] == [image.tobytes() for image in again]
    assert len({image.tobytes() for image in made}) == len(made)
    assert {image.mode for image in made} == {"RGB"}
    assert all(image.width >= 24 and image.height >= 24 for image in made)


@pytest.mark.parametrize("kind", sorted(unfamiliar_pictures.KINDS.keys() - {"plain"}))
def test_pictures_show_something(kind: str) -> None:
    made = unfamiliar_pictures.pictures(kind, COUNTS[kind])
    assert all(np.asarray(image).std(axis=(0, 1)).max() > 1 for image in made)


def test_nothing_is_trained_on_them() -> None:
    folder = Path(unfamiliar_pictures.__file__).parents[1]
    users = {
        path.name for path in folder.rglob("*.py") if "unfamiliar_pictures" in path.read_text()
    }
    assert users == {"report.py", "unfamiliar.py"}
