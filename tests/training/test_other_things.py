from pathlib import Path

import numpy as np
import pytest

from training import other_things

# Every maker draws at least three pictures.
COUNTS = {kind: 3 * len(makers) for kind, makers in other_things.KINDS.items()}


@pytest.mark.parametrize("kind", other_things.KINDS)
def test_pictures_are_the_same_every_time_and_differ_from_each_other(kind: str) -> None:
    made = other_things.pictures(kind, COUNTS[kind])
    again = other_things.pictures(kind, COUNTS[kind])
    assert [image.tobytes() for image in made] == [image.tobytes() for image in again]
    assert len({image.tobytes() for image in made}) == len(made)
    assert {image.mode for image in made} == {"RGB"}
    assert all(image.width >= 24 and image.height >= 24 for image in made)


@pytest.mark.parametrize("kind", sorted(other_things.KINDS.keys() - {"plain"}))
def test_pictures_show_something(kind: str) -> None:
    made = other_things.pictures(kind, COUNTS[kind])
    assert all(np.asarray(image).std(axis=(0, 1)).max() > 1 for image in made)


def test_nothing_is_trained_on_them() -> None:
    folder = Path(other_things.__file__).parent
    users = {path.name for path in folder.glob("*.py") if "other_things" in path.read_text()}
    assert users == {"report.py", "unfamiliar.py"}
