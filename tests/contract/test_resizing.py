"""Training and service share no code, and turn the same picture into the same bytes."""

import io
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from service.inference import decoding, resizing
from service.inference.pictures import scaling
from service.inference.resizing import ResizeRule as ServiceRule
from training.data import pictures
from training.presets import ResizeFilter, ResizeMode, ResizeRule

PHOTOGRAPH = Path(__file__).parents[1] / "data" / "cat.jpg"


def variants() -> dict[str, bytes]:
    """One photograph in the forms that need care; the bytes of each file."""
    photograph = Image.open(PHOTOGRAPH).convert("RGB")
    alpha = photograph.copy()
    alpha.putalpha(photograph.convert("L"))
    grey16 = Image.fromarray(np.asarray(photograph.convert("L")).astype(np.uint16) * 257)
    turned = Image.Exif()
    turned[0x0112] = 6
    cases = {
        "jpeg": (photograph, {"format": "JPEG"}),
        "png": (photograph, {"format": "PNG"}),
        "tall": (photograph.crop((0, 0, 101, 299)), {"format": "PNG"}),
        "tiny": (photograph.resize((7, 5)), {"format": "PNG"}),
        "as it should be": (photograph.resize((32, 32)), {"format": "PNG"}),
        "turned": (photograph, {"format": "JPEG", "exif": turned}),
        "palette": (photograph.quantize(64), {"format": "GIF"}),
        "alpha": (alpha, {"format": "PNG"}),
        "grey": (photograph.convert("L"), {"format": "PNG"}),
        "16-bit": (grey16, {"format": "PNG"}),
        "cmyk": (photograph.convert("CMYK"), {"format": "JPEG"}),
        "webp": (photograph, {"format": "WEBP", "lossless": True}),
    }
    files = {}
    for name, (picture, options) in cases.items():
        buffer = io.BytesIO()
        picture.save(buffer, **options)  # type: ignore[arg-type]
        files[name] = buffer.getvalue()
    return files


FILES = variants()


@pytest.mark.parametrize("filter_", get_args(ResizeFilter))
@pytest.mark.parametrize("mode", get_args(ResizeMode))
def test_both_packages_see_the_same_bytes(
    mode: ResizeMode, filter_: ResizeFilter, tmp_path: Path
) -> None:
    for name, data in FILES.items():
        path = tmp_path / name
        path.write_bytes(data)
        trained_on = pictures.read(path, 32, ResizeRule(mode, filter_))
        picture, _, box = decoding.decode(data, 10**6, scaling.OVERSAMPLING * 32)
        served = resizing.fit(picture, 32, 32, ServiceRule(mode=mode, filter=filter_), box)
        np.testing.assert_array_equal(trained_on, served, err_msg=name)


def test_rules_differ_so_that_the_comparison_means_something(tmp_path: Path) -> None:
    path = tmp_path / "jpeg"
    path.write_bytes(FILES["jpeg"])
    rules = [ResizeRule(mode, filter_) for mode in get_args(ResizeMode)
             for filter_ in get_args(ResizeFilter)]  # fmt: skip
    results = {pictures.read(path, 32, rule).tobytes() for rule in rules}
    assert len(results) == len(rules)
