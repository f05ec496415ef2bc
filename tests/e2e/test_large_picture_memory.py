"""What pictures take in memory that have many pixels in few bytes, in a real server."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from service.settings import LARGE_PICTURE_BYTES
from tests.e2e.conftest import Server
from tests.e2e.hostile import peak_memory_mb, post
from tests.service.conftest import colour, encode

THREADS = 8


def flat(side: int) -> bytes:
    """A picture of some forty bytes, whose decoding takes 16 bytes a pixel."""
    picture = Image.new("RGBA", (side, side), (200, 30, 30, 128))
    return encode(picture, "WEBP", lossless=True, method=0)


@pytest.mark.parametrize(
    ("side", "most_mb"),
    # One after the other, up to 270 MB, or as many at a time as there are threads.
    [(3990, 350), (1900, THREADS * LARGE_PICTURE_BYTES / 1e6)],
    ids=["huge", "large"],
)
def test_pictures_of_few_bytes_take_bounded_memory(
    server: Callable[..., Server], tiny_models: Path, side: int, most_mb: float
) -> None:
    picture = flat(side)
    assert len(picture) < 100
    with server(models=tiny_models, model="tiny", workers=1, threads=THREADS) as running:
        assert post(running, colour("red")).status == 200
        before = peak_memory_mb(running)
        with ThreadPoolExecutor(THREADS) as pool:
            answers = list(pool.map(lambda _: post(running, picture), range(THREADS)))
        assert {answer.status for answer in answers} == {200}
        assert peak_memory_mb(running) - before < most_mb
