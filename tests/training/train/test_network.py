from dataclasses import replace

import keras
import numpy as np
import pytest

from training.presets import (
    BASELINE,
    DEFAULT,
    ArticleNetwork,
    Preset,
    WhitenedNetwork,
)
from training.study.ablate import VARIANTS
from training.train import network

MEAN, VARIANCE = np.full(3, 120.0), np.full(3, 60.0**2)
WHITENED = replace(DEFAULT, network=WhitenedNetwork(widths=(8, 8), extra=1), image_size=16)
IMAGES = np.random.default_rng(0).integers(0, 256, (50, 16, 16, 3), np.uint8)


def test_baseline_is_sequential_with_stages_that_end_in_dense() -> None:
    model = network.build(BASELINE, 10, mean=MEAN, variance=VARIANCE)
    kinds = [type(layer).__name__ for layer in model.layers]
    assert type(model).__name__ == "Sequential"
    assert kinds.count("Conv2D") == 6
    assert kinds.count("MaxPooling2D") == 3
    assert kinds[-4:] == ["Flatten", "Dense", "Dropout", "Dense"]
    assert model(np.zeros((2, 32, 32, 3), np.uint8)).shape == (2, 10)
    assert model.count_params() == 551_914


def test_normalisation_is_inside() -> None:
    model = network.build(BASELINE, 10, mean=MEAN, variance=VARIANCE)
    normalised = model.layers[0](np.array([[[[120, 180, 60]]]], np.uint8))
    np.testing.assert_allclose(np.asarray(normalised), [[[[0, 1, -1]]]], atol=1e-6)


@pytest.mark.parametrize("preset", VARIANTS["baseline"].values(), ids=VARIANTS["baseline"].keys())
def test_variant_gives_logits(preset: Preset) -> None:
    assert isinstance(preset.network, ArticleNetwork)
    small = replace(preset, network=replace(preset.network, widths=(4, 4), dense=4), image_size=8)
    model = network.build(small, 3, mean=MEAN, variance=VARIANCE)
    assert model(np.zeros((2, 8, 8, 3), np.uint8)).shape == (2, 3)


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_differ_from_each_other(name: str) -> None:
    presets = list(VARIANTS[name].values())
    assert len(set(presets)) == len(presets)


@pytest.fixture
def whitened() -> keras.Model:
    """A small whitened network at the start of its training."""
    keras.utils.set_random_seed(0)
    model = network.build(WHITENED, 3, mean=MEAN, variance=VARIANCE)
    network.initialise(model, IMAGES)
    return model


def test_whitening_makes_patches_uncorrelated(whitened: keras.Model) -> None:
    layer = whitened.get_layer("whitening")
    inner = keras.Model(whitened.input, layer.output)
    half = network.WHITENING_WIDTH // 2
    values = np.asarray(inner(IMAGES)).reshape(-1, 2 * half)
    second_moments = values[:, :half].T @ values[:, :half] / len(values)
    np.testing.assert_allclose(second_moments, np.eye(half), atol=0.05)
    np.testing.assert_allclose(values[:, half:], -values[:, :half], atol=1e-4)


def test_convolutions_start_by_passing_their_input_on(whitened: keras.Model) -> None:
    first = next(x for x in whitened.layers if getattr(x, "kernel_size", 0) == (3, 3))
    inputs = np.random.default_rng(0).random((1, 6, 6, network.WHITENING_WIDTH), np.float32)
    kept = first.filters
    np.testing.assert_array_equal(np.asarray(first(inputs)), inputs[..., :kept])


def test_extra_convolutions_are_in_the_last_stage() -> None:
    preset = replace(DEFAULT, network=WhitenedNetwork(widths=(4, 8), extra=2))
    model = network.build(preset, 3, mean=MEAN, variance=VARIANCE)
    kernels = [x.kernel.shape for x in model.layers if getattr(x, "kernel_size", 0) == (3, 3)]
    assert [shape[2:] for shape in kernels[1:]] == [(4, 4), (4, 8), *[(8, 8)] * 3]


RESIDUAL = WhitenedNetwork(widths=(8, 8), group=3, residual=True, fused=True)


@pytest.mark.parametrize(
    "preset", [WHITENED, replace(WHITENED, network=RESIDUAL)], ids=["chain", "residual"]
)
def test_order_for_inference_gives_the_same_answers(preset: Preset) -> None:
    rng = np.random.default_rng(0)
    models = [
        network.build(preset, 3, mean=MEAN, variance=VARIANCE, for_inference=for_inference)
        for for_inference in (False, True)
    ]
    weights = [rng.uniform(0.1, 1.0, w.shape).astype(np.float32) for w in models[0].get_weights()]
    for model in models:
        model.set_weights(weights)
    trained, other = (np.asarray(model(IMAGES)) for model in models)
    np.testing.assert_allclose(other, trained, rtol=1e-4)


def test_last_convolution_of_a_group_adds_to_what_the_first_gives() -> None:
    preset = replace(WHITENED, network=RESIDUAL)
    model = network.build(preset, 3, mean=MEAN, variance=VARIANCE)
    convolutions = [x for x in model.layers if getattr(x, "kernel_size", 0) == (3, 3)]
    assert len(convolutions) == 6
    sums = [layer for layer in model.layers if isinstance(layer, keras.layers.Add)]
    assert len(sums) == 2
    before = np.asarray(model(IMAGES))
    for layer in (convolutions[2], convolutions[5]):  # the sums pass the first on alone
        layer.kernel.assign(np.zeros(layer.kernel.shape))
    first, total, second = (
        keras.Model(model.input, tensor)
        for tensor in (sums[0].input[1], sums[0].output, sums[1].output)
    )
    np.testing.assert_allclose(np.asarray(total(IMAGES)), np.asarray(first(IMAGES)), rtol=1e-5)
    assert np.abs(np.asarray(second(IMAGES))).max() > 0
    assert (np.asarray(model(IMAGES)) != before).any()


def test_no_activation_can_be_moved_through_a_pooling() -> None:
    # OpenVINO does so, and SiLU is not monotone; `make test-clients` compares its answers.
    model = network.build(WHITENED, 3, mean=MEAN, variance=VARIANCE, for_inference=True)
    kinds = [type(layer).__name__ for layer in model.layers]
    # The batch normalisation becomes part of the convolution.
    chain = [kind for kind in kinds if kind != "BatchNormalization"]
    triples = list(zip(chain, chain[1:], chain[2:], strict=False))
    assert ("Conv2D", "MaxPooling2D", "MaxPooling2D") in triples
    assert ("Conv2D", "MaxPooling2D", "Activation") not in triples


@pytest.mark.parametrize("size", [16, 32, 48])
def test_whitened_network_takes_other_sizes(size: int) -> None:
    model = network.build(replace(WHITENED, image_size=size), 3, mean=MEAN, variance=VARIANCE)
    assert model(np.zeros((2, size, size, 3), np.uint8)).shape == (2, 3)
