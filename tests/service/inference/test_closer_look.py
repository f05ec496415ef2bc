"""The closer look: which pictures have one, and what it does to their answers."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from service.http.app import create_app
from service.inference import closer_look
from service.inference.classification import Classification
from service.inference.classifier import Classifier
from service.inference.closer_look import CloserLookRule
from service.inference.decoding import ImageFacts, Picture
from service.inference.model_server import ModelServer
from service.inference.second_view import Floats, Images, SecondViewRule
from service.inference.views import Decoded, compute_views
from service.settings import Settings
from tests.service.conftest import colour, encode
from tests.service.models import write_model

RULE = CloserLookRule(kind="square", times=4, share=0.5)
ALWAYS = SecondViewRule(kind="mirror", below=1, temperature=1)
FACTS = ImageFacts(8, 8, "PNG")
WHOLE, FURTHER, SMALL = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)


class Engine:
    """Probabilities and energies of the left half of a picture; keeps what it was given."""

    def __init__(self) -> None:
        self.given: list[Images] = []

    def run(self, images: Images) -> tuple[Floats, Floats]:
        self.given.append(images)
        means = images[:, :, :4].astype(np.float32).mean((1, 2))
        return means / means.sum(axis=1, keepdims=True), means.sum(axis=1)


def mirrored(image: Images) -> Images:
    return image[:, ::-1]


def framed(inner: str, outer: str, size: tuple[int, int]) -> bytes:
    """A PNG with a square in its middle, of three quarters of its shorter side."""
    image, side = Image.new("RGB", size, outer), min(size) * 3 // 4
    corner = (size[0] - side) // 2, (size[1] - side) // 2
    image.paste(Image.new("RGB", (side, side), inner), corner)
    return encode(image)


@pytest.mark.parametrize(
    ("size", "box"),
    [
        ((31, 500), None),
        ((500, 31), None),
        ((32, 32), (8, 8, 24, 24)),
        ((60, 40), (20, 10, 40, 30)),
    ],
)
def test_pictures_with_many_times_the_pixels_of_the_model_have_a_square_in_the_middle(
    size: tuple[int, int], box: tuple[float, ...] | None
) -> None:
    picture = Picture(Image.new("RGB", size), ImageFacts(*size, "PNG"), (0, 0, *size))
    assert closer_look.square(RULE, picture, 8, 8) == box
    assert closer_look.square(None, picture, 8, 8) is None


def test_size_is_that_of_the_upload_and_the_square_is_in_its_reduced_pixels() -> None:
    picture = Picture(Image.new("RGB", (17, 30)), ImageFacts(33, 60, "PNG"), (0, 0, 16.5, 30))
    assert closer_look.square(RULE, picture, 8, 8) == (4.125, 10.875, 12.375, 19.125)


def test_probabilities_and_energy_are_the_means_of_four_views() -> None:
    engine = Engine()
    pictures = [Decoded(SMALL, FACTS), Decoded(WHOLE, FACTS, FURTHER)]
    found = compute_views(None, pictures, engine.run, in_haste=False)
    views = np.stack([WHOLE, mirrored(WHOLE), FURTHER, mirrored(FURTHER)])
    given = np.concatenate(engine.given)
    np.testing.assert_array_equal(given, np.concatenate([SMALL[None], views]))
    assert max(map(len, engine.given)) <= len(pictures)
    probabilities, energies = Engine().run(views)
    np.testing.assert_allclose(found.probabilities[1], probabilities.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found.energies[1], energies.mean(), rtol=1e-5)
    alone = Engine().run(SMALL[None])
    np.testing.assert_array_equal(found.probabilities[0], alone[0][0])
    assert found.energies[0] == alone[1][0]
    assert found.further == ["none", "computed"]


def test_pictures_beside_them_keep_their_second_views() -> None:
    pictures = [Decoded(WHOLE, FACTS, FURTHER), Decoded(SMALL, FACTS)]
    found = compute_views(ALWAYS, pictures, Engine().run, in_haste=False)
    expected = Engine().run(np.stack([SMALL, mirrored(SMALL)]))
    np.testing.assert_allclose(found.probabilities[1], expected[0].mean(axis=0), rtol=1e-5)
    assert found.energies[1] == expected[1][0]
    assert found.further == ["computed", "computed"]


def test_in_haste_first_views_alone_are_computed() -> None:
    engine = Engine()
    pictures = [Decoded(WHOLE, FACTS, FURTHER), Decoded(SMALL, FACTS)]
    found = compute_views(None, pictures, engine.run, in_haste=True)
    assert len(engine.given) == 1
    np.testing.assert_array_equal(found.probabilities, Engine().run(engine.given[0])[0])
    assert found.further == ["skipped", "none"]


def test_answer_of_an_upload_follows_from_its_middle_too(tmp_path: Path) -> None:
    write_model(tmp_path, closer_look=RULE.model_dump())
    uploads = [framed("red", "blue", (64, 48)), framed("red", "blue", (24, 24)), colour("red")]
    close = Classifier.open(tmp_path, "tiny", provider="cpu").classify(uploads)
    off = Classifier.open(tmp_path, "tiny", provider="cpu", second_view=False).classify(uploads)
    both = [[it for it in found if isinstance(it, Classification)] for found in (close, off)]
    large, small, red = both[0]
    assert [it.second_view for it in both[0]] == ["computed", "none", "none"]
    assert [it.second_view for it in both[1]] == ["none"] * 3
    whole = both[1][0]
    np.testing.assert_array_equal(small.probabilities, both[1][1].probabilities)
    # Half of the views show nothing but the red middle.
    expected = (whole.probabilities + red.probabilities) / 2
    np.testing.assert_allclose(large.probabilities, expected, atol=0.02)
    assert large.energy == pytest.approx((whole.energy + red.energy) / 2, abs=0.05)
    np.testing.assert_array_equal(large.pixels, whole.pixels)


def test_routes_agree_and_the_metric_counts(tmp_path: Path) -> None:
    write_model(tmp_path, closer_look=RULE.model_dump())
    upload = framed("red", "blue", (64, 48))
    settings = Settings.model_validate({"models": tmp_path, "model": "tiny", "provider": "cpu"})
    with TestClient(create_app(settings, ModelServer(settings))) as client:
        while client.get("/health/ready").status_code != 200:
            pass
        one = client.post("/predict?top_k=3", content=upload).json()["predictions"]
        files = [("files", upload), ("files", colour("red"))]
        batch = client.post("/predict/batch?top_k=3", files=files).json()["results"]
        metrics = client.get("/metrics").text
    (by_hand,) = Classifier.open(tmp_path, "tiny", provider="cpu").classify([upload])
    assert isinstance(by_hand, Classification)
    assert batch[0]["predictions"] == one
    found = [it["probability"] for it in sorted(one, key=lambda it: it["class_id"])]
    assert found == pytest.approx(by_hand.probabilities.tolist(), abs=1e-6)
    assert 'classifier_second_views_total{model="tiny",outcome="computed"} 2.0' in metrics
