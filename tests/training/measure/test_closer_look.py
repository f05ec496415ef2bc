from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.data.pictures import Picture
from training.measure import closer_look, second_view
from training.measure.closer_look import CloserLook, Uploads
from training.measure.predict import Predictions
from training.measure.second_view import SecondView
from training.presets import ResizeRule

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 3), np.uint8)
SQUARES = np.random.default_rng(1).integers(0, 256, (2, 4, 4, 3), np.uint8)


def predict(_model: Path, images: np.ndarray) -> Predictions:
    """Answers that follow from the left half of a picture."""
    means = images[:, :, :2].astype(np.float32).mean((1, 2))
    return Predictions(means / means.sum(axis=1, keepdims=True), means.sum(axis=1))


@pytest.mark.parametrize(
    ("shorter", "boxes"), [(127, 1), (128, 2), (1000, 2)], ids=["small", "just", "large"]
)
def test_square_is_in_the_middle_of_pictures_with_many_pixels(shorter: int, boxes: int) -> None:
    picture = Picture(Image.new("RGB", (100, 64)), (0, 0, 99.5, 64), shorter)
    parts = CloserLook(times=4, share=0.5).parts(picture, 32)
    assert parts == [(0, 0, 99.5, 64), (33.75, 16, 65.75, 48)][:boxes]


def test_size_of_a_file_decides_and_not_that_of_its_reduced_pixels(tmp_path: Path) -> None:
    paths = []
    for side in (127, 128, 300):
        for ending in ("png", "jpg"):
            paths.append(tmp_path / f"{side}.{ending}")
            Image.new("RGB", (400, side), "red").save(paths[-1])
    uploads = closer_look.read(paths, 32, ResizeRule(), CloserLook())
    assert uploads.close.tolist() == [False, False, True, True, True, True]
    assert (uploads.images.shape, uploads.squares.shape) == ((6, 32, 32, 3), (4, 32, 32, 3))
    without = closer_look.read(paths, 32, ResizeRule(), None)
    assert not without.close.any()
    assert without.squares.shape == (0, 32, 32, 3)


def test_answers_are_means_of_four_views_and_the_others_have_second_views(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(closer_look, "predict", predict)
    monkeypatch.setattr(second_view, "predict", predict)
    uploads = Uploads(IMAGES, np.array([True, False, True]), SQUARES)
    always = SecondView(below=1, temperature=1)
    served = closer_look.as_served(always, Path("model.onnx"), uploads)
    for number, square in ((0, SQUARES[0]), (2, SQUARES[1])):
        whole = IMAGES[number]
        views = np.stack([whole, whole[:, ::-1], square, square[:, ::-1]])
        expected = predict(Path(), views)
        np.testing.assert_allclose(
            served.probabilities[number], expected.probabilities.mean(axis=0), rtol=1e-5
        )
        assert served.energy[number] == pytest.approx(expected.energy.mean(), rel=1e-5)
    twice = predict(Path(), np.stack([IMAGES[1], IMAGES[1][:, ::-1]]))
    np.testing.assert_allclose(served.probabilities[1], twice.probabilities.mean(axis=0), rtol=1e-5)
    assert served.energy[1] == twice.energy[0]
