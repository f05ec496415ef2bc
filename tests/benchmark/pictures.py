"""The pictures that are sent: CIFAR-10's own, and larger ones made of them."""

import io
import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CIFAR10 = Path(__file__).parents[1] / "data" / "cifar10" / "test"

# Width, height, and how many.
LARGER = {"500x375": (500, 375, 40), "12 MP": (4000, 3000, 3)}
SMALL = "32x32"
NOISE = "noise, 500x375"


def make_pictures(larger: Sequence[str] = tuple(LARGER)) -> dict[str, list[bytes]]:
    """JPEGs by their name: 40 of 32x32 and of 500x375, 3 of 12 megapixels; always the same.

    Args:
        larger: the names of the larger ones to make, which takes seconds.
    """
    files = sorted(CIFAR10.glob("*/*.jpg"))
    pictures = {SMALL: [path.read_bytes() for path in files]}
    for name in larger:
        width, height, count = LARGER[name]
        some = (Image.open(path) for path in files[:: len(files) // count][:count])
        pictures[name] = list(enlarge(some, width, height))
    return pictures


def make_noise() -> list[bytes]:
    """40 JPEGs of 500x375 whose 32 x 32 patches have a random colour each; always the same.

    A model is unsure of them, because it sees the patches as pixels.
    """
    chance = np.random.default_rng(0)
    width, height, count = LARGER["500x375"]
    patches = (chance.integers(0, 256, (32, 32, 3), np.uint8) for _ in range(count))
    return list(enlarge(map(Image.fromarray, patches), width, height))


def make_mixed_pictures() -> list[bytes]:
    """160 pictures in all formats, half of them damaged or no pictures; always the same."""
    chance = random.Random(0)
    good = []
    for number, path in enumerate(sorted(CIFAR10.glob("*/*.jpg"))):
        out = io.BytesIO()
        format_ = ("PNG", "WEBP", "GIF", "BMP")[number % 4]
        Image.open(path).resize((100, 75)).save(out, format_)
        good += [path.read_bytes(), out.getvalue()]
    return [picture for one in good for picture in (one, _damage(one, chance))]


def _damage(picture: bytes, chance: random.Random) -> bytes:
    damaged = bytearray(picture)
    match chance.randrange(4):
        case 0:
            del damaged[chance.randrange(len(damaged)) :]
        case 1:
            damaged[:4] = b"none"
        case _:
            for _ in range(8):
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
    return bytes(damaged)


def enlarge(pictures: Iterable[Image.Image], width: int, height: int) -> Iterator[bytes]:
    """Makes JPEGs of a camera out of small pictures."""
    random = np.random.default_rng(0)
    for picture in pictures:
        image = picture.resize((width, height), Image.Resampling.BICUBIC)
        out = io.BytesIO()
        Image.fromarray(add_noise(np.asarray(image), random)).save(out, "JPEG", quality=90)
        yield out.getvalue()


def add_noise(image: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """Noise as a camera makes it: of the sensor, and of the light, which grows with its root."""
    light = image.astype(np.float32)
    noise = random.standard_normal(image.shape, np.float32) * np.sqrt(4 + 0.1 * light)
    noisy: NDArray[np.float32] = light + noise
    return noisy.clip(0, 255).astype(np.uint8)
