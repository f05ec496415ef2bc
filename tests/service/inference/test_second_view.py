"""The second view: which pictures have one, and what it does to their answers."""

import asyncio
import io
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import TestClient

from service.http.app import create_app
from service.inference.classification import Classification
from service.inference.classifier import Classifier, Observer
from service.inference.engine_cuda import Buckets
from service.inference.model_server import ModelServer
from service.inference.second_view import Images, SecondViewRule, look_again
from service.inference.snapshot import Snapshot
from service.settings import Settings
from tests.service.conftest import (
    FakeEngine,
    colour,
    encode,
    fake_model,
    keep_busy,
    running,
    snapshot_of,
)
from tests.service.models import write_model

RULE = {"kind": "mirror", "below": 0.9, "temperature": 0.5}
ALWAYS = SecondViewRule(kind="mirror", below=1, temperature=1)
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 2, 4, 3), np.uint8)
FIRST = np.array([[0.5, 0.3, 0.2], [0.9, 0.05, 0.05], [0.2, 0.4, 0.4]], np.float32)
OTHER = np.array([[0.1, 0.7, 0.2], [0.6, 0.3, 0.1]], np.float32)


def halves(left: str, right: str) -> bytes:
    """A PNG of 8 x 8 pixels whose halves have a colour each."""
    image = Image.new("RGB", (8, 8), left)
    image.paste(Image.new("RGB", (4, 8), right), (4, 0))
    return encode(image)


def of(classifier: Classifier, *pictures: bytes) -> list[Classification]:
    answers = classifier.classify(pictures)
    assert all(isinstance(answer, Classification) for answer in answers)
    return [answer for answer in answers if isinstance(answer, Classification)]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A model that sees the left half of a picture, and mirrors those it is unsure of."""
    write_model(tmp_path, second_view=RULE)
    return tmp_path


def test_pictures_under_the_threshold_alone_are_computed_once_more() -> None:
    asked: list[Images] = []

    def compute(images: Images) -> NDArray[np.float32]:
        asked.append(images)
        return OTHER

    rule = SecondViewRule(kind="mirror", below=0.9, temperature=1)
    probabilities, second = look_again(rule, IMAGES, FIRST, compute)
    (mirrored,) = asked
    np.testing.assert_array_equal(mirrored, IMAGES[[0, 2]][:, :, ::-1])
    np.testing.assert_allclose(probabilities[[0, 2]], (FIRST[[0, 2]] + OTHER) / 2, rtol=1e-6)
    np.testing.assert_array_equal(probabilities[1], FIRST[1])
    assert second == ["computed", "none", "computed"]
    assert probabilities.dtype == np.float32


def test_mean_of_both_views_is_calibrated_by_a_temperature() -> None:
    rule = SecondViewRule(kind="mirror", below=0.9, temperature=0.5)
    probabilities, _ = look_again(rule, IMAGES, FIRST, lambda _: OTHER)
    squares = ((FIRST[[0, 2]] + OTHER) / 2) ** 2
    np.testing.assert_allclose(
        probabilities[[0, 2]], squares / squares.sum(axis=1, keepdims=True), rtol=1e-5
    )


def test_skipped_second_views_leave_the_first_ones_and_are_told() -> None:
    probabilities, second = look_again(ALWAYS, IMAGES, FIRST, None)
    np.testing.assert_array_equal(probabilities, FIRST)
    assert second == ["skipped"] * 3


def test_without_a_rule_nothing_is_computed_once_more() -> None:
    probabilities, second = look_again(None, IMAGES, FIRST, lambda _: OTHER)
    np.testing.assert_array_equal(probabilities, FIRST)
    assert second == ["none"] * 3


def test_class_of_an_unsure_picture_is_that_of_both_views(models: Path) -> None:
    grey_and_red, blue = halves("#404040", "red"), halves("blue", "red")
    once = Classifier.open(models, "tiny", provider="cpu", second_view=False)
    twice = Classifier.open(models, "tiny", provider="cpu")
    first, sure_once = of(once, grey_and_red, blue)
    answer, sure = of(twice, grey_and_red, blue)
    assert first.probabilities == pytest.approx([1 / 3] * 3)
    assert (answer.label, answer.second_view, sure.second_view) == ("red", "computed", "none")
    assert (first.second_view, sure_once.second_view) == ("none", "none")
    np.testing.assert_array_equal(sure.probabilities, sure_once.probabilities)
    assert float(answer.probabilities.sum()) == pytest.approx(1)


def test_unfamiliar_is_judged_by_the_first_view(tmp_path: Path) -> None:
    # The energy of black is log 3 = 1.1, that of white 4 + log 3.
    write_model(tmp_path, second_view=RULE, energy_threshold=2)
    classifier = Classifier.open(tmp_path, "tiny", provider="cpu")
    dark, bright = of(classifier, halves("black", "white"), halves("white", "black"))
    assert (dark.second_view, bright.second_view) == ("computed", "computed")
    assert (dark.unfamiliar, bright.unfamiliar) == (True, False)
    assert dark.energy == pytest.approx(np.log(3))


@pytest.mark.parametrize("unsure", [1, 3, 5])
def test_buckets_of_a_gpu_give_the_answers_of_the_cpu(models: Path, unsure: int) -> None:
    pictures = [halves("gray", "red")] * unsure + [colour("blue")] * (5 - unsure)
    classifier = Classifier.open(models, "tiny", provider="cpu")
    expected = of(classifier, *pictures)
    session = ort.InferenceSession(
        (models / "tiny/1/model.onnx").read_bytes(), providers=["CPUExecutionProvider"]
    )
    classifier.engine.run = Buckets(session, 8, 8, "cpu", 4).run  # type: ignore[method-assign]
    found = of(classifier, *pictures)
    for answer, other in zip(found, expected, strict=True):
        assert answer.second_view == other.second_view
        np.testing.assert_allclose(answer.probabilities, other.probabilities, atol=1e-6)
    assert [answer.second_view for answer in found].count("computed") == unsure


def app_of(engine: FakeEngine, **settings: object) -> ModelServer:
    def build(settings: Settings, _order: object, _before: object, observe: Observer) -> Snapshot:
        return snapshot_of(fake_model(engine, settings, observe, second_view=ALWAYS))

    return ModelServer(Settings.model_validate({"threads": 1, **settings}), build)


@pytest.mark.anyio
async def test_second_views_are_skipped_while_many_pictures_wait_and_counted(
    engine: FakeEngine, tmp_path: Path
) -> None:
    server = app_of(engine, max_queue=8, max_batch=2)
    async with running(create_app(server.settings, server, tmp_path)) as model_server:
        busy = await keep_busy(model_server, engine)
        # Of these 3 and 1 wait while two are computed, and a quarter of the places are 2.
        waiting = model_server.submit(model_server.find(), [colour("blue")] * 5)
        engine.go.set()
        answers = await asyncio.gather(busy, *waiting)
        found = [answer.second_view for answer in answers]
        metrics = model_server.metrics.render().decode()
    assert found == ["computed", "skipped", "skipped", "computed", "computed", "computed"]
    assert engine.batches == [1, 1, 2, 2, 2, 1, 1]
    for outcome, number in ("computed", 4), ("skipped", 2):
        sample = f'classifier_second_views_total{{model="tiny",outcome="{outcome}"}}'
        assert f"{sample} {number}.0" in metrics


def test_all_routes_agree_and_statistics_count_a_picture_once(models: Path) -> None:
    settings = Settings.model_validate({"models": models, "model": "tiny", "provider": "cpu"})
    picture = halves("#404040", "red")
    pixels = np.asarray(Image.open(io.BytesIO(picture)))
    with TestClient(create_app(settings, ModelServer(settings))) as client:
        while client.get("/health/ready").status_code != 200:
            pass
        one = client.post("/predict", content=picture).json()["predictions"]
        batch = client.post("/predict/batch", files=[("files", picture)]).json()["results"]
        tensor = {"name": "image", "datatype": "UINT8", "shape": [1, 8, 8, 3]}
        document = {"inputs": [tensor | {"data": pixels.ravel().tolist()}]}
        v2 = client.post("/v2/models/tiny/infer", json=document).json()["outputs"]
        v1 = client.post("/v1/models/tiny:predict", json={"instances": [pixels.tolist()]}).json()
        stats = client.get("/v2/models/tiny/stats").json()["model_stats"][0]
    (by_hand,) = of(Classifier.open(models, "tiny", provider="cpu"), picture)
    expected = by_hand.probabilities.tolist()
    assert expected != pytest.approx([1 / 3] * 3, abs=0.1)
    assert batch[0]["predictions"] == one
    assert [it["probability"] for it in sorted(one, key=lambda it: it["class_id"])] == (
        pytest.approx(expected, abs=1e-6)
    )
    assert v2[0]["data"] == pytest.approx(expected)
    assert v1["predictions"][0]["probabilities"] == pytest.approx(expected)
    assert (stats["inference_count"], stats["execution_count"]) == (4, 4)
