"""Pictures that mean no good, and good ones that were damaged, against a real server."""

import functools
import io
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.contract import encodings
from tests.contract.encodings import P3
from tests.e2e.conftest import Server
from tests.e2e.hostile import (
    DEADLINE_MS,
    PATIENCE_S,
    TORTURE,
    memory_mb,
    peak_memory_mb,
)

CAT = Path("tests/data/cat.jpg").read_bytes()
# One worker, and the largest picture that is allowed.
MEMORY_MB = 900


@pytest.fixture(scope="module")
def running(server: Callable[..., Server], tiny_models: Path) -> Iterator[Server]:
    settings = {"workers": 1, "deadline_ms": DEADLINE_MS}
    with server(models=tiny_models, model="tiny", **settings) as running:
        yield running
        assert peak_memory_mb(running) < MEMORY_MB
        assert "unhandled error" not in running.log.read_text()


@pytest.fixture(scope="module")
def client(running: Server) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=running.url, timeout=PATIENCE_S) as client:
        yield client


def encode(image: Image.Image, format_: str, **options: Any) -> bytes:  # noqa: ANN401
    data = io.BytesIO()
    image.save(data, format_, **options)
    return data.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    width: int = 1,
    height: int = 1,
    pixels: bytes = bytes(4),
    before: bytes = b"",
    after: bytes = b"",
) -> bytes:
    """A PNG of its parts: RGB, 8 bits."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(pixels))
    return b"\x89PNG\r\n\x1a\n" + header + before + data + after + chunk(b"IEND", b"")


def gif(width: int = 1, height: int = 1, frames: int = 1, before: bytes = b"") -> bytes:
    """A GIF of its parts: black frames of one pixel."""
    screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    frame = b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\2\2\x44\1\0"
    return screen + before + frame * frames + b";"


def bmp(width: int, height: int, compression: int = 0, pixels: bytes = bytes(4)) -> bytes:
    """A BMP of its parts: 24 bits, or 8 where it is compressed."""
    bits, palette = (8, bytes(1024)) if compression else (24, b"")
    start = 54 + len(palette)
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, start) + header + palette + pixels


def webp(width: int, height: int) -> bytes:
    """The head of a lossless WebP, with hardly anything behind it."""
    frame = b"\x2f" + struct.pack("<I", width - 1 | height - 1 << 14) + bytes(25)
    data = b"WEBPVP8L" + struct.pack("<I", len(frame)) + frame
    return b"RIFF" + struct.pack("<I", len(data)) + data


def bomb(kind: bytes, prefix: bytes) -> bytes:
    """A chunk that unpacks to 100 MB."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(1_000_000)) for _ in range(100))
    return chunk(kind, prefix + packed + packer.flush())


def blank_jpeg(width: int, height: int) -> bytes:
    return encode(Image.new("L", (width, height)), "JPEG")


def jpeg_of_many_scans() -> bytes:
    data = encode(Image.new("L", (7000, 7000)), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * 50_000 + data[-2:]


def tiff(width: int, height: int, strips: int = 1, compression: int = 1) -> bytes:
    """A TIFF of its parts: grey, 8 bits, with hardly any pixels."""
    at = 8 + 2 + 12 * 8 + 4
    tags = [
        *((256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, compression)),
        *((262, 3, 1, 1), (273, 4, strips, at if strips > 1 else 8), (278, 4, 1, 1)),
        (279, 4, strips, at if strips > 1 else 1),
    ]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<I", 8) + directory + bytes(4) + bytes(4 * strips)


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content) + 8) + kind + content


def large(data: bytes, width: int, height: int) -> bytes:
    """An AVIF or HEIC that claims another size."""
    at = data.index(b"ispe") + 8
    return data[:at] + struct.pack(">II", width, height) + data[at + 8 :]


def photograph(format_: str, **options: Any) -> bytes:  # noqa: ANN401
    return encode(Image.open(io.BytesIO(CAT)), format_, **options)


# Each with what it is answered with.
PICTURES: dict[str, tuple[Callable[[], bytes], int]] = {
    "nothing": (lambda: b"", 400),
    "one byte": (lambda: b"\xff", 415),
    "zeroes": (lambda: bytes(1_000_000), 415),
    "words": (lambda: b"just words", 415),
    "svg": (lambda: b'<svg xmlns="http://www.w3.org/2000/svg"/>', 415),
    "pdf": (lambda: b"%PDF-1.7\n%\xe2\xe3", 415),
    "postscript": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", 415),
    "zip": (lambda: b"PK\3\4" + bytes(100), 415),
    "jpeg 2000": (lambda: photograph("JPEG2000"), 415),
    "icon": (lambda: photograph("ICO"), 415),
    "half a jpeg": (lambda: CAT[: len(CAT) // 2], 422),
    "half a png": (lambda: photograph("PNG")[:10_000], 422),
    "half a webp": (lambda: photograph("WEBP")[:1000], 422),
    "half a gif": (lambda: photograph("GIF")[:5000], 422),
    "half a tiff": (lambda: photograph("TIFF")[:5000], 422),
    "half an avif": (lambda: photograph("AVIF")[:3000], 422),
    "half a heic": (lambda: photograph("HEIF")[:3000], 422),
    "head of a heic": (lambda: photograph("HEIF")[:40], 422),
    "brands alone": (lambda: box(b"ftyp", b"heic\0\0\0\0mif1heic"), 422),
    "mp4": (lambda: box(b"ftyp", b"isom\0\0\0\0mp41isom") + bytes(100), 415),
    "half a bmp": (lambda: photograph("BMP")[:5000], 422),
    "head of a jpeg": (lambda: CAT[:100], 422),
    "png of no size": (lambda: png(0, 0), 422),
    "bmp of no size": (lambda: bmp(0, 0), 422),
    "png of 60,000 x 60,000": (lambda: png(60_000, 60_000), 413),
    "gif of 65,535 x 65,535": (lambda: gif(65_535, 65_535), 413),
    "bmp of 2 thousand million": (lambda: bmp(2**31 - 1, 2**31 - 1), 413),
    "webp of 16,384 x 16,384": (lambda: webp(16_384, 16_384), 413),
    "tiff of 60,000 x 60,000": (lambda: tiff(60_000, 60_000), 413),
    "avif of 60,000 x 60,000": (lambda: large(photograph("AVIF"), 60_000, 60_000), 422),
    "avif of 9000 x 9000": (lambda: large(photograph("AVIF"), 9000, 9000), 413),
    "heic of 9000 x 9000": (lambda: large(photograph("HEIF"), 9000, 9000), 422),
    "tiff of a million pieces": (lambda: tiff(8, 1_000_000, 1_000_000), 422),
    "tiff of nothing, packed": (lambda: tiff(7000, 7000, compression=5), 422),
    "as large as allowed": (lambda: png(7000, 7000, bytes(7000 * 21_001)), 200),
    "nearly as large, but empty": (lambda: png(7000, 7000), 422),
    "photograph of 200 megapixels": (lambda: blank_jpeg(16_384, 12_200), 200),
    "photograph of 201 megapixels": (lambda: blank_jpeg(16_384, 12_300), 413),
    "gif of 10,000 frames": (lambda: gif(frames=10_000), 200),
    "webp of 100 frames": (
        lambda: photograph(
            "WEBP", save_all=True, append_images=[Image.new("RGB", (451, 300))] * 99
        ),
        200,
    ),
    "zTXt bomb": (lambda: png(before=bomb(b"zTXt", b"a\0\0")), 200),
    "iTXt bomb": (lambda: png(before=bomb(b"iTXt", b"a\0\1\0\0\0")), 200),
    "iTXt bomb at the end": (lambda: png(after=bomb(b"iTXt", b"a\0\1\0\0\0")), 200),
    "colour profile bomb": (lambda: png(before=bomb(b"iCCP", b"a\0\0")), 200),
    "png of a million chunks": (lambda: png(before=chunk(b"prVt", b"") * 1_000_000), 422),
    "gif of a million comments": (lambda: gif(before=b"!\xfe\1x\0" * 1_000_000), 422),
    "jpeg of a million segments": (lambda: CAT[:2] + b"\xff\xe9\0\2" * 1_000_000 + CAT[2:], 422),
    "jpeg of 50,000 scans": (jpeg_of_many_scans, 422),
    "bmp of a million runs": (lambda: bmp(7000, 7000, 1, b"\1\1" * 1_000_000), 422),
    "jpeg and zip": (lambda: CAT + b"PK\3\4" + bytes(100), 200),
    "gif and script": (lambda: b"GIF89a=1/*" + bytes(50) + b"*/;alert(1)", 422),
    "jpeg and html": (
        lambda: CAT[:2] + b"\xff\xfe\0\x1b<script>alert(1)</script>"[:29] + CAT[2:],
        200,
    ),
}


@functools.cache
def picture(name: str) -> bytes:
    return PICTURES[name][0]()


@pytest.mark.parametrize("name", PICTURES)
def test_odd_picture_is_answered(client: httpx2.Client, name: str) -> None:
    response = client.post("/predict", content=picture(name), headers={"content-type": "image/png"})
    status = PICTURES[name][1]
    assert response.status_code == status, response.text
    if status != 200:
        assert response.json()["status"] == status
        assert response.json()["detail"]


def test_odd_pictures_do_not_spoil_a_batch(client: httpx2.Client) -> None:
    names = [name for name in PICTURES if "million" not in name and "large" not in name]
    files = [("files", (f"{name}.jpg", picture(name))) for name in names]
    results = client.post("/predict/batch", files=files).raise_for_status().json()["results"]
    for name, result in zip(names, results, strict=True):
        assert result.get("error", {"status": 200})["status"] == PICTURES[name][1], name


WORDS = [b"\0\0", b"\xff\xff", b"\x7f\xff", b"\x80\0", b"\xff\xd8", b"\xff\xd9", b"\xff\xda"]


@functools.cache
def good() -> list[bytes]:
    """Pictures of all formats, in which nothing is broken."""
    small = Image.open(io.BytesIO(CAT)).resize((60, 40))
    pictures = {
        "jpeg": photograph("JPEG", quality=50),
        "progressive": photograph("JPEG", quality=50, progressive=True),
        "png": encode(small, "PNG"),
        "palette": encode(small.quantize(16), "PNG"),
        "gif": encode(
            small, "GIF", save_all=True,
            append_images=[Image.new("RGB", (60, 40), "blue")],
        ),
        "webp": photograph("WEBP", quality=30),
        "lossless": encode(small, "WEBP", lossless=True),
        "bmp": encode(small, "BMP"),
        "tiff": encode(small, "TIFF"),
        "packed tiff": encode(small, "TIFF", compression="tiff_lzw"),
        "avif": photograph("AVIF", quality=50),
        "heic": photograph("HEIF", quality=50),
        "profile": photograph("JPEG", quality=50, icc_profile=P3),
        "key": encodings.png(
            np.full((9, 9, 3), 300, np.uint16), 2, 16, before=encodings.transparent(300, 300, 300)
        ),
        "apng": encodings.animation(encode(Image.new("RGB", (9, 9)), "PNG"), (20, 20), (3, 4)),
    }  # fmt: skip
    return sorted(pictures.values())


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A good picture, or the join of two, in which a few things were broken."""
    data = bytearray(draw(st.sampled_from(good())))

    def place() -> int:
        # Headers, where the damage is done, are at the front.
        return draw(st.integers(0, min(200, len(data))) | st.integers(0, len(data)))

    for _ in range(draw(st.integers(1, 6))):
        at, length = place(), draw(st.integers(1, 64))
        match draw(st.integers(0, 6)):
            case 0:
                data[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case 1:
                data[at : at + 2] = draw(st.sampled_from(WORDS))
            case 2:
                del data[at : at + length]
            case 3:
                data[at:at] = draw(st.binary(max_size=64))
            case 4:
                data[at:at] = data[at : at + length] * draw(st.integers(1, 50))
            case 5:
                data = data[:at] + draw(st.sampled_from(good()))[place() :]
            case _:
                del data[at:]
    return bytes(data)


def test_damaged_pictures_get_an_answer_or_a_problem(
    client: httpx2.Client, running: Server
) -> None:
    """500 of them, or 20,000; each is answered, none with 500, and no memory is lost."""

    @settings(
        max_examples=20_000 if TORTURE else 500,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(damaged())
    def check(data: bytes) -> None:
        response = client.post("/predict", content=data)
        assert response.status_code in (200, 400, 413, 415, 422), response.text
        assert "predictions" in response.json() or response.json()["detail"]

    before = memory_mb(running)
    check()
    assert memory_mb(running) - before < 100
