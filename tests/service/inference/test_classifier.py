"""The classifier on a real ONNX file."""

import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from service.errors import ModelRefusedError, ServiceError, UnsupportedFormatError
from service.inference import opening
from service.inference.classification import Classification
from service.inference.classifier import Classifier
from service.inference.engine import CPU, CUDA, OnnxEngine
from service.inference.engine_provider import open_engine
from tests.service.conftest import FakeEngine, colour
from tests.service.models import LABELS, add_variant, write_model


@pytest.fixture
def classifier(tiny_models: Path) -> Classifier:
    return Classifier.open(tiny_models, "tiny", provider="cpu")


def classified(answer: Classification | ServiceError) -> Classification:
    assert isinstance(answer, Classification)
    return answer


@pytest.mark.parametrize("label", LABELS)
def test_strongest_colour_comes_first(classifier: Classifier, label: str) -> None:
    answer = classified(classifier.classify([colour(label)])[0])
    assert answer.top(1)[0].label == label
    assert [p.probability for p in answer.top(3)] == sorted(answer.probabilities, reverse=True)
    assert float(answer.probabilities.sum()) == pytest.approx(1)


def test_top_names_the_class_by_its_index(classifier: Classifier) -> None:
    best, second = classified(classifier.classify([colour("blue")])[0]).top(2)
    assert (best.label, best.class_id) == ("blue", 2)
    assert best.probability == pytest.approx(np.exp(4) / (np.exp(4) + 2), abs=1e-6)
    assert second.class_id in (0, 1)


def test_order_is_kept_around_a_broken_upload(classifier: Classifier) -> None:
    first, broken, last = classifier.classify([colour("red"), b"no picture", colour("blue")])
    assert classified(first).top(1)[0].label == "red"
    assert isinstance(broken, UnsupportedFormatError)
    assert classified(last).top(1)[0].label == "blue"


def test_decoded_picture_goes_with_the_encoded_ones(classifier: Classifier) -> None:
    pixels = np.full((8, 8, 3), (0, 255, 0), np.uint8)
    encoded, decoded, broken = classifier.classify([colour("red"), pixels, b""])
    assert classified(encoded).top(1)[0].label == "red"
    assert classified(decoded).top(1)[0].label == "green"
    assert classified(decoded).pixels is pixels
    facts = classified(decoded).image
    assert (facts.width, facts.height, facts.format) == (8, 8, "pixels")
    assert isinstance(broken, ServiceError)


def test_broken_uploads_alone_need_no_inference(classifier: Classifier) -> None:
    engine = FakeEngine()
    lazy = Classifier(classifier.model, engine)
    assert len(lazy.classify([b"", b"x"])) == 2
    assert engine.batches == []


def test_answer_does_not_depend_on_the_batch(classifier: Classifier) -> None:
    uploads = [colour(name) for name in ("red", "white", "navy", "olive")]
    together = [classified(answer) for answer in classifier.classify(uploads)]
    for upload, answer in zip(uploads, together, strict=True):
        alone = classified(classifier.classify([upload])[0])
        np.testing.assert_allclose(alone.probabilities, answer.probabilities, atol=1e-6)


@pytest.mark.parametrize(("name", "unfamiliar"), [("black", True), ("white", False)])
def test_picture_under_the_energy_threshold_is_unfamiliar(
    tmp_path: Path, name: str, unfamiliar: bool
) -> None:
    # The energy of black is log 3 = 1.1, that of white 4 + log 3.
    write_model(tmp_path, energy_threshold=2)
    classifier = Classifier.open(tmp_path, "tiny", provider="cpu")
    assert classified(classifier.classify([colour(name)])[0]).unfamiliar is unfamiliar


def test_pixels_are_what_the_model_saw(classifier: Classifier) -> None:
    answer = classified(classifier.classify([colour("red")])[0])
    assert answer.pixels.shape == (8, 8, 3)
    assert answer.pixels[0, 0].tolist() == [255, 0, 0]
    assert (answer.image.width, answer.image.height, answer.image.format) == (16, 12, "PNG")


def test_labels_that_do_not_match_the_output_are_refused(tmp_path: Path) -> None:
    write_model(tmp_path, labels=["red", "green"])
    with pytest.raises(ModelRefusedError, match="computes 3 classes and names 2"):
        Classifier.open(tmp_path, "tiny", provider="cpu")


def test_stages_are_observed(tiny_models: Path) -> None:
    seen: list[tuple[str, str]] = []
    observed = Classifier.open(
        tiny_models,
        "tiny",
        provider="cpu",
        observe=lambda model, stage, _seconds: seen.append((model, stage)),
    )
    observed.classify([colour("red"), colour("blue"), b""])
    assert seen == [("tiny", "decode"), ("tiny", "decode"), ("tiny", "infer")]


def test_card_that_disagrees_is_refused(tiny_models: Path) -> None:
    card = tiny_models / "tiny/1/card.json"
    card.write_text(card.read_text().replace('"red"', '"rot"'))
    with pytest.raises(ModelRefusedError, match="disagree on 'labels'"):
        Classifier.open(tiny_models, "tiny", provider="cpu")


@pytest.mark.parametrize(("huge_pixels", "expected"), [(100, 1), (1000, 4)])
def test_only_huge_pictures_are_decoded_one_at_a_time(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch, huge_pixels: int, expected: int
) -> None:
    at_once, most = 0, 0
    all_there = threading.Barrier(expected)

    def slow_on_white(image: Image.Image) -> Image.Image:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        all_there.wait(10)
        at_once -= 1
        return image

    monkeypatch.setattr("service.inference.pictures.appearance.on_white", slow_on_white)
    monkeypatch.setattr(opening, "HUGE_PIXELS", huge_pixels)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(classifier.classify, [[colour("red")]] * 4))
    assert most == expected


@pytest.fixture
def with_variants(tiny_models: Path) -> Path:
    """The tiny model with its faster files."""
    add_variant(tiny_models / "tiny/1", "int8", energy_threshold=4.5)
    add_variant(tiny_models / "tiny/1", "float16", energy_threshold=0.6)
    return tiny_models


@pytest.fixture
def _int8_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")


@pytest.mark.usefixtures("_int8_is_exact")
def test_cpu_computes_the_int8_file_with_its_own_threshold(with_variants: Path) -> None:
    classifier = Classifier.open(with_variants, "tiny", provider="cpu")
    digest = hashlib.sha256((with_variants / "tiny/1/model.int8.onnx").read_bytes()).hexdigest()
    assert (classifier.model.variant, classifier.model.sha256) == ("model.int8.onnx", digest)
    # The energy of a pure colour is log(exp(4) + 2) = 4.04.
    assert classified(classifier.classify([colour("red")])[0]).unfamiliar


def test_cuda_computes_the_fp16_file(with_variants: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def on_cuda(read: Callable[[str], bytes], **_options: object) -> OnnxEngine:
        opened = open_engine(lambda _: read(CUDA), provider="cpu")
        opened.provider = CUDA
        return opened

    monkeypatch.setattr("service.inference.classifier.open_engine", on_cuda)
    assert Classifier.open(with_variants, "tiny").model.variant == "model.fp16.onnx"


@pytest.mark.usefixtures("_int8_is_exact")
def test_cuda_that_falls_back_computes_the_file_of_the_cpu(
    with_variants: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: [CPU])
    classifier = Classifier.open(with_variants, "tiny", provider="cuda")
    assert classifier.engine.requested_provider == CUDA
    assert classifier.model.variant == "model.int8.onnx"


@pytest.mark.usefixtures("_int8_is_exact")
@pytest.mark.parametrize("variant", ["model.onnx", "model.fp16.onnx"])
def test_file_that_is_named_is_the_file_that_is_computed(with_variants: Path, variant: str) -> None:
    assert Classifier.open(with_variants, "tiny", variant=variant).model.variant == variant
