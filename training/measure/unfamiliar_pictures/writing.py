"""Letters, words and digits."""

import string
from functools import cache
from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import zoom
from sklearn.datasets import load_digits

from training.measure.unfamiliar_pictures.canvas import (
    Field,
    Maker,
    Rng,
    colour,
    ink_and_paper,
    sheet,
    to_image,
)


@cache
def _fonts() -> tuple[Path, ...]:
    """The fonts of Matplotlib that have the Latin letters."""
    folder = Path(mpl.get_data_path()) / "fonts" / "ttf"
    names = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSansMono",
             "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic",
             "STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic",
             "cmb10", "cmr10", "cmss10", "cmtt10")  # fmt: skip
    return tuple(folder / f"{name}.ttf" for name in names)


def _font(rng: Rng, height: float) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(_fonts()[rng.integers(len(_fonts()))], max(6, height))


def _word(rng: Rng, low: int, high: int) -> str:
    letters = str(rng.choice([string.ascii_lowercase, string.ascii_uppercase, string.digits]))
    return "".join(rng.choice(list(letters), int(rng.integers(low, high))))


def _letter(rng: Rng, size: int) -> Image.Image:
    image, pen, ink, _ = sheet(rng, size)
    middle = tuple(rng.uniform(0.4, 0.6, 2) * size)
    pen.text(middle, _word(rng, 1, 2), ink, _font(rng, size * rng.uniform(0.5, 1)), "mm")
    return image


def _page(rng: Rng, size: int) -> Image.Image:
    image, pen, ink, _ = sheet(rng, size)
    lines = [" ".join(_word(rng, 2, 9) for _ in range(6)) for _ in range(12)]
    font = _font(rng, size * rng.uniform(0.08, 0.25))
    pen.multiline_text(tuple(rng.uniform(-0.1, 0.2, 2) * size), "\n".join(lines), ink, font)
    return image


def _sign(rng: Rng, size: int) -> Image.Image:
    """A word on a coloured board, rotated a little."""
    image = Image.new("RGB", (size, size), colour(rng))
    pen = ImageDraw.Draw(image)
    pen.rectangle([0.05 * size, 0.25 * size, 0.95 * size, 0.75 * size], colour(rng))
    text = _word(rng, 2, 6)
    font = _font(rng, 1.3 * size / len(text))
    pen.text((size / 2, size / 2), text, colour(rng), font, "mm")
    return image.rotate(rng.uniform(-25, 25), Image.Resampling.BILINEAR)


@cache
def _digits() -> Field:
    return np.asarray(load_digits().images)


def _handwritten(rng: Rng, size: int) -> Image.Image:
    """A digit from the set that comes with scikit-learn."""
    digits = _digits()
    grey = np.clip(zoom(digits[rng.integers(len(digits))] / 16, size / 8, order=1), 0, 1)[..., None]
    ink, paper = (np.asarray(colour) / 255 for colour in ink_and_paper(rng))
    return to_image(grey * ink + (1 - grey) * paper)


MAKERS: tuple[Maker, ...] = (_letter, _page, _sign, _handwritten)
