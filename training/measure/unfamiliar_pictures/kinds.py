"""The kinds of out-of-distribution pictures."""

import io

import numpy as np
from PIL import Image

from training.measure.unfamiliar_pictures import (
    charts,
    drawings,
    noise,
    photographs,
    plain,
    textures,
    writing,
)
from training.measure.unfamiliar_pictures.canvas import Maker, Rng

SIZES = (32, 48, 64, 96, 128)
SEED = 3

KINDS: dict[str, tuple[Maker, ...]] = {
    "noise": noise.MAKERS,
    "plain": plain.MAKERS,
    "textures": textures.MAKERS,
    "drawings": drawings.MAKERS,
    "writing": writing.MAKERS,
    "charts_and_maps": charts.MAKERS,
    "photographs": photographs.MAKERS,
}


def pictures(kind: str, count: int) -> list[Image.Image]:
    """The first pictures of one of `KINDS`, RGB, in sizes of 32 to 128 pixels."""
    makers = KINDS[kind]
    made = []
    for number in range(count):
        rng = np.random.default_rng((SEED, list(KINDS).index(kind), number))
        image = makers[number % len(makers)](rng, int(rng.choice(SIZES)))
        made.append(_through_jpeg(image, rng) if rng.random() < 0.5 else image)
    return made


def _through_jpeg(image: Image.Image, rng: Rng) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=int(rng.integers(50, 96)))
    return Image.open(buffer).convert("RGB")
