"""Pictures look as Chromium shows them on white."""

import base64
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from service.inference.decoding import decode
from tests.contract import encodings
from tests.contract.encodings import P3, chunk, encode, png
from tests.e2e import chromium

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium.EXECUTABLE is None, reason="there is no Chromium here"),
]

CASES = Path("tests/data/pictures")
PHOTOGRAPH = Image.open("tests/data/cat.jpg").convert("RGB").resize((90, 60))
DRAW = """async (url) => {
  const image = new Image();
  image.src = url;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  const context = canvas.getContext("2d", {colorSpace: "srgb"});
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
  // As text: an array of numbers takes far longer to get here.
  const reader = new FileReader();
  const read = new Promise((done) => { reader.onload = done; });
  reader.readAsDataURL(new Blob([pixels]));
  await read;
  return reader.result.split(",")[1];
}"""


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    options = ("--force-color-profile=srgb",)
    with sync_playwright() as playwright, chromium.launch(playwright, *options) as browser:
        yield browser.new_page()


def as_shown(page: Page, data: bytes, size: tuple[int, int]) -> NDArray[np.uint8]:
    url = f"data:image/png;base64,{base64.b64encode(data).decode()}"  # it looks at the bytes
    pixels = np.frombuffer(base64.b64decode(page.evaluate(DRAW, url)), np.uint8)
    return pixels.reshape(size[1], size[0], 4)[..., :3]


def with_chunks(*chunks: bytes) -> bytes:
    data = encode(PHOTOGRAPH, "PNG")
    return data[:33] + b"".join(chunks) + data[33:]


def gamma(value: int) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", value))


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def transparent_16_bits() -> bytes:
    samples = np.random.default_rng(0).integers(0, 65536, (20, 30, 3)).astype(np.uint16)
    samples[5:] = samples[0, 0]
    samples[10:] ^= 1
    return png(samples, 2, 16, before=encodings.transparent(*samples[0, 0].tolist()))


FRAME, CANVAS, AT = PHOTOGRAPH.resize((30, 20)), (61, 43), (8, 6)
PRIMARIES = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
PICTURES = {
    **{path.name: path.read_bytes() for path in sorted(CASES.glob("*.*"))},
    **{f"gamma {value}": with_chunks(gamma(value)) for value in (10**5, 55556, 45455, 43000)},
    "gamma and primaries": with_chunks(
        gamma(45455), chunk(b"cHRM", struct.pack(">8I", *PRIMARIES))
    ),
    "primaries alone": with_chunks(chunk(b"cHRM", struct.pack(">8I", *PRIMARIES))),
    **{
        f"codes {primaries}, {curve}": with_chunks(chunk(b"cICP", bytes([primaries, curve, 0, 1])))
        for primaries in (1, 5, 6, 9, 11, 12)
        for curve in (1, 4, 8, 13)
    },
    "unspecified codes": with_chunks(chunk(b"cICP", bytes([2, 2, 0, 1])), gamma(10**5)),
    "codes of limited range": with_chunks(chunk(b"cICP", bytes([12, 13, 0, 0])), gamma(10**5)),
    "broken profile": with_chunks(chunk(b"iCCP", b"a\0\0not packed"), gamma(10**5)),
    "part of a profile": with_chunks(
        chunk(b"iCCP", b"a\0\0" + zlib.compress(P3[:300])), gamma(10**5)
    ),
    "broken intent": with_chunks(chunk(b"sRGB", b"\4"), gamma(10**5)),
    "broken primaries": with_chunks(gamma(10**5), chunk(b"cHRM", bytes(7))),
    "wrong checksum": encodings.with_wrong_checksum(encode(PHOTOGRAPH, "PNG")),
    "beyond a palette": png(
        np.full((2, 3, 1), 7, np.uint16), 3, 8, before=chunk(b"PLTE", bytes(range(6)))
    ),
    "transparent 16 bits": transparent_16_bits(),
    "part of an APNG": encodings.animation(encode(FRAME, "PNG"), CANVAS, AT),
    "part of a WebP": encodings.webp_animation(encode(FRAME, "WEBP", lossless=True), CANVAS, AT),
    "part of a GIF": encodings.gif_part(encode(FRAME.quantize(16), "GIF"), CANVAS, AT),
    "beyond a GIF": encodings.gif_part(encode(FRAME.quantize(16), "GIF"), (10, 10), AT),
    "JPEG in P3": encode(PHOTOGRAPH, "JPEG", icc_profile=P3, quality=95),
    "WebP in P3": encode(PHOTOGRAPH, "WEBP", icc_profile=P3, lossless=True),
    "AVIF in P3": encode(PHOTOGRAPH, "AVIF", icc_profile=P3, quality=95),
    "grey in P3": encode(PHOTOGRAPH.convert("L"), "JPEG", icc_profile=P3, quality=95),
    "ink": encode(PHOTOGRAPH.convert("CMYK"), "JPEG", quality=95),
    **{f"JPEG turned {i}": encode(PHOTOGRAPH, "JPEG", exif=turned(i)) for i in range(1, 9)},
    **{f"AVIF turned {i}": encode(PHOTOGRAPH, "AVIF", exif=turned(i)) for i in (3, 6, 8)},
}


@pytest.mark.parametrize("name", PICTURES)
def test_picture_looks_as_in_chromium(page: Page, name: str) -> None:
    image = decode(PICTURES[name], 1_000_000).image
    shown = as_shown(page, PICTURES[name], image.size).astype(np.int16)
    assert np.abs(shown - np.asarray(image)).max() <= 2
