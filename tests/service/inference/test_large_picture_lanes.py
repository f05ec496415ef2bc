"""Which pictures are decoded at once, and which of them in a lane."""

import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from service.errors import UndecodableImageError
from service.inference.batching.slow_lane import SlowItemError
from service.inference.classifier import Upload
from service.inference.large_picture_lanes import HUGE, LARGE, Job, prepare
from service.inference.opening import open_picture
from service.inference.snapshot import LoadedModel
from service.inference.views import Decoded
from service.settings import Settings
from tests.benchmark.large_pictures import add_scans
from tests.service.conftest import FakeEngine, colour, encode, fake_model
from tests.service.inference.test_decoding import chunk


@pytest.fixture
def model() -> LoadedModel:
    return fake_model(FakeEngine(), Settings())


def blank(side: int, format_: str, **options: object) -> bytes:
    return encode(Image.new("RGB", (side, side), "red"), format_, **options)


def with_chunks(*chunks: bytes) -> bytes:
    """A small PNG with more chunks, of which the first lies before its pixels."""
    png = colour("red")
    return png[:33] + chunks[0] + png[33:-12] + b"".join(chunks[1:]) + png[-12:]


TEXT = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1_000_000)))
SMALL = {
    "PNG": colour("red"),
    "JPEG": blank(1400, "JPEG"),
    "progressive JPEG": blank(900, "JPEG", progressive=True),
    "WebP": blank(700, "WEBP"),
    "text": with_chunks(TEXT, TEXT),
    "pieces": with_chunks(chunk(b"prVt", b"") * 100),
    "pixels": np.zeros((8, 8, 3), np.uint8),
}
# Made for the tests that need them: to make all takes half a second.
SLOW: dict[str, tuple[Callable[[], bytes], str]] = {
    "PNG": (lambda: blank(720, "PNG"), LARGE),
    "GIF": (lambda: blank(720, "GIF"), LARGE),
    "JPEG": (lambda: blank(1500, "JPEG"), LARGE),
    "JPEG of many scans": (lambda: add_scans(blank(700, "JPEG", progressive=True), 50), LARGE),
    "many bytes": (lambda: blank(600, "BMP"), LARGE),
    "texts": (lambda: with_chunks(TEXT * 6), LARGE),
    "texts behind the pixels": (lambda: with_chunks(b"", TEXT * 6), LARGE),
    "pieces": (lambda: with_chunks(chunk(b"prVt", b"") * 3000), LARGE),
    "pieces behind the pixels": (lambda: with_chunks(b"", chunk(b"prVt", b"") * 3000), LARGE),
    "PNG of 16 million pixels": (lambda: blank(4001, "PNG"), HUGE),
    "PNG of 7 million pixels": (lambda: blank(2650, "PNG"), LARGE),
    "narrow PNG of 5 million pixels": (
        lambda: encode(Image.new("RGB", (30, 166_000), "red"), "PNG"),
        LARGE,
    ),
    "narrow PNG that takes 154 MB": (
        lambda: encode(Image.new("RGB", (30, 410_000), "red"), "PNG"),
        HUGE,
    ),
    "WebP of 3.6 million pixels": (lambda: blank(1900, "WEBP", lossless=True), LARGE),
    "WebP that takes 153 MB": (lambda: blank(3000, "WEBP", lossless=True), HUGE),
    "JPEG whose coefficients take 15 MB": (
        lambda: blank(1600, "JPEG", progressive=True, subsampling=0),
        LARGE,
    ),
    "JPEG whose coefficients take 73 MB": (
        lambda: blank(3500, "JPEG", progressive=True, subsampling=0),
        LARGE,
    ),
    "JPEG of 16 million pixels": (lambda: blank(4001, "JPEG"), HUGE),
    "JPEG of many scans and 12 million pixels": (
        lambda: add_scans(blank(3500, "JPEG", progressive=True), 50),
        HUGE,
    ),
}


@pytest.mark.parametrize("upload", SMALL.values(), ids=SMALL)
def test_small_picture_is_decoded_at_once(model: LoadedModel, upload: Upload) -> None:
    prepared, decoded = prepare(Job(model, upload))
    assert prepared is model
    assert decoded.pixels.shape == (8, 8, 3)


@pytest.mark.parametrize(("make", "lane"), SLOW.values(), ids=SLOW)
def test_large_picture_is_decoded_in_a_lane(
    model: LoadedModel, make: Callable[[], bytes], lane: str
) -> None:
    upload = make()
    with pytest.raises(SlowItemError) as slow:
        prepare(Job(model, upload))
    assert slow.value.lane == lane
    job = slow.value.prepare()
    assert isinstance(job, Job)
    assert isinstance(job.picture, Decoded)
    np.testing.assert_array_equal(job.picture.pixels, model.classifier.decode(upload).pixels)
    assert prepare(job) == (model, job.picture)


@pytest.mark.parametrize(("width", "is_huge"), [(120, True), (128, False)])
def test_jpeg_that_is_too_narrow_to_be_reduced_takes_more_memory(
    monkeypatch: pytest.MonkeyPatch, width: int, is_huge: bool
) -> None:
    # No narrow JPEG takes as much as is allowed by default.
    monkeypatch.setattr("service.inference.opening.LARGE_PICTURE_BYTES", 55_000_000)
    upload = encode(Image.new("RGB", (width, 40_000), "red"), "JPEG")
    assert open_picture(upload, max_pixels=50_000_000, smallest=64).is_huge is is_huge


def test_huge_file_goes_on_to_the_lane_of_huge_pictures(model: LoadedModel) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (4001, 4001), np.uint8)
    upload = encode(Image.fromarray(noise), "JPEG", quality=50)
    assert len(upload) > 1_000_000
    with pytest.raises(SlowItemError) as first:
        prepare(Job(model, upload))
    assert first.value.lane == LARGE
    with pytest.raises(SlowItemError) as second:
        first.value.prepare()
    assert second.value.lane == HUGE
    assert isinstance(second.value.prepare(), Job)


def test_broken_large_picture_fails_in_its_lane(model: LoadedModel) -> None:
    with pytest.raises(SlowItemError) as slow:
        prepare(Job(model, blank(720, "PNG")[:-500]))
    with pytest.raises(UndecodableImageError):
        slow.value.prepare()
