"""What pictures take in memory that have many pixels in few bytes, in a real server."""

import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from tests.e2e.conftest import Server
from tests.e2e.hostile import DEADLINE_MS, peak_memory_mb, post
from tests.e2e.test_hostile_pictures import chunk, png
from tests.service.conftest import colour, encode

THREADS = 8


def flat(side: int) -> bytes:
    """A picture of some forty bytes, whose decoding takes 16 bytes a pixel."""
    picture = Image.new("RGBA", (side, side), (200, 30, 30, 128))
    return encode(picture, "WEBP", lossless=True, method=0)


def one_pixel() -> bytes:
    """A picture of 64 texts, each of a million characters of four bytes."""
    text = zlib.compress(("\U0001f600" + "x" * 999_990).encode())
    texts = (chunk(b"iTXt", b"k%d\0\1\0\0\0" % number + text) for number in range(64))
    return png(after=b"".join(texts))


@pytest.mark.parametrize(
    ("make", "most_mb"),
    # 270 MB, one after the other; 61 and 32 MB, as many at a time as there are threads.
    [
        (lambda: flat(3990), 350),
        (lambda: flat(1900), 512),
        (one_pixel, 512),
    ],
    ids=["huge", "large", "texts"],
)
def test_pictures_of_few_bytes_take_bounded_memory(
    server: Callable[..., Server], tiny_models: Path, make: Callable[[], bytes], most_mb: float
) -> None:
    picture = make()
    assert len(picture) < 100_000
    settings = {"workers": 1, "threads": THREADS, "deadline_ms": DEADLINE_MS}
    with server(models=tiny_models, model="tiny", **settings) as running:
        assert post(running, colour("red")).status == 200
        before = peak_memory_mb(running)
        with ThreadPoolExecutor(THREADS) as pool:
            answers = list(pool.map(lambda _: post(running, picture), range(THREADS)))
        assert {answer.status for answer in answers} == {200}
        assert peak_memory_mb(running) - before < most_mb
