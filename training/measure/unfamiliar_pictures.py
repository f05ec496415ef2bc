"""Pictures of other things than any data set of objects: made ones, and tiles of photographs.

They are the exam in telling the unfamiliar, so nothing is trained on them. Each picture is drawn
from (kind, number) alone, in a random size, and every second one has been through JPEG, as
uploads are.
"""

import io
import math
import string
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import skimage.data
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import zoom
from scipy.spatial import KDTree
from sklearn.datasets import load_digits, load_sample_image

SIZES = (32, 48, 64, 96, 128)
SEED = 3

Rng = np.random.Generator
Field = npt.NDArray[np.float64]
Maker = Callable[[Rng, int], Image.Image]


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


# Colours, and fields of numbers in 0..1 that `_paint` gives colours to.


def _colour(rng: Rng, low: int = 0, high: int = 256) -> tuple[int, int, int]:
    red, green, blue = rng.integers(low, high, 3).tolist()
    return red, green, blue


def _ink_and_paper(rng: Rng) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """A dark and a light colour, or the other way round."""
    dark, light = _colour(rng, 0, 90), _colour(rng, 150, 256)
    return (dark, light) if rng.random() < 0.7 else (light, dark)


def _sheet(
    rng: Rng, size: int
) -> tuple[Image.Image, ImageDraw.ImageDraw, tuple[int, int, int], int]:
    """An empty picture, its pen, the colour of the ink and a line width."""
    ink, paper = _ink_and_paper(rng)
    image = Image.new("RGB", (size, size), paper)
    return image, ImageDraw.Draw(image), ink, max(1, round(size * rng.uniform(0.01, 0.05)))


def _array(values: Field) -> Image.Image:
    return Image.fromarray(np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8))


def _paint(field: Field, rng: Rng) -> Image.Image:
    """Colours along a random palette of 2 to 5, from the least value to the greatest."""
    field = (field - field.min()) / max(float(np.ptp(field)), 1e-9)
    palette = rng.random((int(rng.integers(2, 6)), 3))
    stops = np.linspace(0, 1, len(palette))
    return _array(np.stack([np.interp(field, stops, channel) for channel in palette.T], axis=-1))


def _grid(size: int) -> tuple[Field, Field]:
    """The x and y of each pixel, 0 to 1."""
    y, x = np.mgrid[:size, :size] / size
    return x, y


def _turned(rng: Rng, size: int) -> Field:
    """The distance of each pixel along a random direction, in picture widths."""
    x, y = _grid(size)
    angle = rng.uniform(0, math.tau)
    return np.asarray(x * math.cos(angle) + y * math.sin(angle))


def _fractal(rng: Rng, size: int, exponent: float) -> Field:
    """Noise with power 1 / frequency ** exponent, mean 0 and deviation 1; it tiles."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size))
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((size, size))) * frequency ** (-exponent / 2)
    field = np.fft.irfft2(spectrum, (size, size))
    return np.asarray(field / field.std())


# Noise


def _pixels(rng: Rng, size: int) -> Image.Image:
    return _array(rng.random((size, size, 3)))


def _grain(rng: Rng, size: int) -> Image.Image:
    noise = rng.standard_normal((size, size, int(rng.choice([1, 3]))))
    return _array(rng.random(3) + rng.uniform(0.05, 0.4) * noise)


def _salt_and_pepper(rng: Rng, size: int) -> Image.Image:
    image = np.full((size, size, 3), _colour(rng), np.uint8)
    chance = rng.random((size, size))
    share = rng.uniform(0.02, 0.3)
    image[chance < share] = 0
    image[chance > 1 - share] = 255
    return Image.fromarray(image)


def _blocks(rng: Rng, size: int) -> Image.Image:
    cells = rng.random((*rng.integers(3, 17, 2), 3))
    return _array(cells).resize((size, size), Image.Resampling.NEAREST)


def _blobs(rng: Rng, size: int) -> Image.Image:
    cells = rng.random((*rng.integers(3, 13, 2), 3))
    return _array(cells).resize((size, size), Image.Resampling.BICUBIC)


def _coloured_noise(rng: Rng, size: int) -> Image.Image:
    exponent = rng.uniform(0.5, 2)
    channels = [_fractal(rng, size, exponent) for _ in range(3)]
    return _array(0.5 + 0.2 * np.stack(channels, axis=-1))


def _scan_lines(rng: Rng, size: int) -> Image.Image:
    lines = np.repeat(rng.random((size, 1, 3)), size, axis=1)
    return _array(lines if rng.random() < 0.5 else lines.swapaxes(0, 1))


# Flat pictures and gradients


def _flat(rng: Rng, size: int) -> Image.Image:
    return Image.new("RGB", (size, size), _colour(rng))


def _slope(rng: Rng, size: int) -> Image.Image:
    return _paint(_turned(rng, size), rng)


def _glow(rng: Rng, size: int) -> Image.Image:
    x, y = _grid(size)
    centre = rng.uniform(-0.2, 1.2, 2)
    return _paint(np.hypot(x - centre[0], y - centre[1]) ** rng.uniform(0.5, 2), rng)


def _corners(rng: Rng, size: int) -> Image.Image:
    return _array(np.clip(zoom(rng.random((2, 2, 3)), (size / 2, size / 2, 1), order=1), 0, 1))


def _bands(rng: Rng, size: int) -> Image.Image:
    bands = rng.random((int(rng.integers(2, 6)), 1, 3))
    flag = _array(bands).resize((size, size), Image.Resampling.NEAREST)
    return flag.rotate(90 * int(rng.integers(2)))


# Textures


def _waves(rng: Rng, size: int) -> Image.Image:
    waves = [np.sin(_turned(rng, size) * math.tau * rng.uniform(2, 14)) for _ in range(3)]
    return _paint(np.sum(waves[: rng.integers(1, 4)], axis=0), rng)


def _plaid(rng: Rng, size: int) -> Image.Image:
    period = int(rng.integers(4, size // 2))
    across, along = (np.resize(rng.random((period, 3)).repeat(2, 0), (size, 3)) for _ in range(2))
    return _array((across[:, None] + along[None]) / 2)


def _weave(rng: Rng, size: int) -> Image.Image:
    x, y = (np.asarray(axis * rng.uniform(4, 14)) for axis in _grid(size))
    over = (np.floor(x) + np.floor(y)) % 2 == 0
    shade = np.where(over, np.sin(np.pi * (x % 1)), np.sin(np.pi * (y % 1)))
    colour = np.where(over[..., None], rng.random(3), rng.random(3))
    return _array(colour * (0.35 + 0.65 * shade[..., None]))


def _cells(rng: Rng, size: int) -> Image.Image:
    """Voronoi cells: each in one colour, or by the distance to the nearest or its border."""
    points = rng.random((int(rng.integers(6, 60)), 2))
    found = KDTree(points).query(np.stack(_grid(size), axis=-1), k=2)
    distance, owner = np.asarray(found[0]), np.asarray(found[1])
    style = rng.integers(3)
    if style == 0:
        return _array(rng.random((len(points), 3))[owner[..., 0]])
    return _paint(distance[..., 0] if style == 1 else distance[..., 1] - distance[..., 0], rng)


def _marble(rng: Rng, size: int) -> Image.Image:
    warp = _fractal(rng, size, 3) * rng.uniform(0.3, 1.5)
    return _paint(np.sin(_turned(rng, size) * math.tau * rng.uniform(1, 5) + warp * 2), rng)


def _wood(rng: Rng, size: int) -> Image.Image:
    x, y = _grid(size)
    rings = np.hypot(x - rng.uniform(-1, 2), (y - rng.uniform(-1, 2)) * rng.uniform(0.2, 1))
    rings = rings * rng.uniform(5, 20) + 0.3 * _fractal(rng, size, 3)
    return _paint(rings % 1, rng)


def _clouds(rng: Rng, size: int) -> Image.Image:
    return _paint(_fractal(rng, size, rng.uniform(2, 4)), rng)


def _dots(rng: Rng, size: int) -> Image.Image:
    x, y = (np.asarray(axis * rng.uniform(3, 12)) for axis in _grid(size))
    radius = rng.uniform(0.15, 0.48)
    return _paint(np.clip((np.hypot(x % 1 - 0.5, y % 1 - 0.5) - radius) * 8, 0, 1), rng)


def _julia(rng: Rng, size: int) -> Image.Image:
    x, y = _grid(size)
    z = (x - 0.5 + 1j * (y - 0.5)) * rng.uniform(1, 3)
    constant = 0.7885 * np.exp(1j * rng.uniform(0, math.tau))
    steps = np.zeros((size, size))
    for _ in range(30):
        inside = np.abs(z) < 2
        z = np.where(inside, z * z + constant, z)
        steps += inside
    return _paint(np.sqrt(steps), rng)


def _surface(rng: Rng, size: int) -> Image.Image:
    """A tile of photographed bricks, grass or gravel, in a tint."""
    name = str(rng.choice(["brick", "grass", "gravel"]))
    grey = np.asarray(_tile(rng, _shipped(name), size).convert("L")) / 255
    return _array(grey[..., None] * rng.uniform(0.6, 1.4, 3))


# Line drawings


def _scribble(rng: Rng, size: int) -> Image.Image:
    image, pen, ink, width = _sheet(rng, size)
    for _ in range(rng.integers(1, 4)):
        walk = rng.normal(0, 0.3, (int(rng.integers(4, 12)), 2)).cumsum(axis=0)
        smooth = zoom(walk, (12, 1), order=3)
        smooth = (smooth - smooth.min(axis=0)) / np.maximum(np.ptp(smooth, axis=0), 1e-9)
        pen.line([tuple(p) for p in (smooth * 0.9 + 0.05) * size], ink, width, "curve")
    return image


def _outlines(rng: Rng, size: int) -> Image.Image:
    image, pen, ink, width = _sheet(rng, size)
    for _ in range(rng.integers(1, 6)):
        centre, radius = rng.uniform(0.2, 0.8, 2) * size, rng.uniform(0.1, 0.45) * size
        sides = int(rng.integers(3, 9))
        if sides == 8:
            pen.circle(tuple(centre), radius, outline=ink, width=width)
        else:
            turn = float(rng.uniform(0, 360))
            pen.regular_polygon((*centre, radius), sides, turn, outline=ink, width=width)
    return image


def _circuit(rng: Rng, size: int) -> Image.Image:
    image, pen, ink, width = _sheet(rng, size)
    step = size / rng.integers(6, 13)
    for _ in range(rng.integers(6, 20)):
        x, y = (rng.integers(0, 13, 2) * step).tolist()
        path = [(x, y)]
        for turn in range(rng.integers(2, 5)):
            length = float(rng.integers(-4, 5)) * step
            x, y = (x + length, y) if turn % 2 else (x, y + length)
            path.append((x, y))
        pen.line(path, ink, width)
        for end in (path[0], path[-1]):
            pen.circle(end, 1.8 * width, fill=ink)
    return image


def _maze(rng: Rng, size: int) -> Image.Image:
    image, pen, ink, width = _sheet(rng, size)
    count = int(rng.integers(5, 14))
    step = size / count
    for row in range(count):
        for column in range(count):
            x, y = column * step, row * step
            down = rng.random() < 0.5
            ends = [(x, y), (x + step, y + step)] if down else [(x, y + step), (x + step, y)]
            pen.line(ends, ink, width)
    return image


def _rosette(rng: Rng, size: int) -> Image.Image:
    image, pen, ink, width = _sheet(rng, size)
    t = np.linspace(0, math.tau, 400)
    a, b = rng.integers(1, 8, 2)
    share = rng.uniform(0, 0.6)
    x = np.cos(a * t) * (1 - share) + np.cos(b * t) * share
    y = np.sin(a * t) * (1 - share) - np.sin(b * t) * share
    points = (np.stack([x, y], axis=-1) * 0.45 + 0.5) * size
    pen.line([tuple(point) for point in points], ink, max(1, width // 2))
    return image


def _twigs(rng: Rng, size: int) -> Image.Image:
    image, pen, ink, width = _sheet(rng, size)
    spread, shrink = rng.uniform(0.2, 0.7), rng.uniform(0.6, 0.8)
    tips = [(size / 2, size * 0.97, -math.pi / 2, size * 0.28)]
    for _ in range(6):
        grown = []
        for x, y, angle, length in tips:
            end = x + math.cos(angle) * length, y + math.sin(angle) * length
            pen.line([(x, y), end], ink, width)
            for side in (-1, 1):
                turn = side * spread + rng.normal(0, 0.1)
                grown.append((*end, angle + turn, length * shrink))
        tips = grown
    return image


# Writing


@cache
def _fonts() -> tuple[Path, ...]:
    """The fonts of Matplotlib that hold the Latin letters."""
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
    image, pen, ink, _ = _sheet(rng, size)
    middle = tuple(rng.uniform(0.4, 0.6, 2) * size)
    pen.text(middle, _word(rng, 1, 2), ink, _font(rng, size * rng.uniform(0.5, 1)), "mm")
    return image


def _page(rng: Rng, size: int) -> Image.Image:
    image, pen, ink, _ = _sheet(rng, size)
    lines = [" ".join(_word(rng, 2, 9) for _ in range(6)) for _ in range(12)]
    font = _font(rng, size * rng.uniform(0.08, 0.25))
    pen.multiline_text(tuple(rng.uniform(-0.1, 0.2, 2) * size), "\n".join(lines), ink, font)
    return image


def _sign(rng: Rng, size: int) -> Image.Image:
    """A word across a coloured board, turned a little."""
    image = Image.new("RGB", (size, size), _colour(rng))
    pen = ImageDraw.Draw(image)
    pen.rectangle([0.05 * size, 0.25 * size, 0.95 * size, 0.75 * size], _colour(rng))
    text = _word(rng, 2, 6)
    font = _font(rng, 1.3 * size / len(text))
    pen.text((size / 2, size / 2), text, _colour(rng), font, "mm")
    return image.rotate(rng.uniform(-25, 25), Image.Resampling.BILINEAR)


@cache
def _digits() -> Field:
    return np.asarray(load_digits().images)


def _handwritten(rng: Rng, size: int) -> Image.Image:
    """A digit from the set that comes with scikit-learn."""
    digits = _digits()
    grey = np.clip(zoom(digits[rng.integers(len(digits))] / 16, size / 8, order=1), 0, 1)[..., None]
    ink, paper = (np.asarray(colour) / 255 for colour in _ink_and_paper(rng))
    return _array(grey * ink + (1 - grey) * paper)


# Charts, maps and screens


def _bar_chart(rng: Rng, size: int) -> Image.Image:
    image, pen, ink, width = _sheet(rng, size)
    heights = rng.uniform(0.1, 0.85, int(rng.integers(3, 10)))
    step = 0.85 / len(heights)
    fill = _colour(rng)
    for bar, height in enumerate(heights):
        left = 0.12 + bar * step
        box = np.array([left, 0.92 - height, left + 0.7 * step, 0.92]) * size
        pen.rectangle(box.tolist(), fill)
    axes = np.array([[0.08, 0.04], [0.08, 0.92], [0.98, 0.92]]) * size
    pen.line([tuple(point) for point in axes], ink, width)
    return image


def _line_chart(rng: Rng, size: int) -> Image.Image:
    image, pen, ink, width = _sheet(rng, size)
    for share in np.linspace(0.1, 0.9, 5) * size:
        pen.line([(0, share), (size, share)], tuple((np.add(ink, 128) // 2).tolist()))
    for _ in range(rng.integers(1, 4)):
        y = rng.normal(0, 1, 30).cumsum()
        y = (y - y.min()) / max(float(np.ptp(y)), 1e-9) * 0.8 + 0.1
        points = np.stack([np.linspace(0.05, 0.95, 30), y], axis=-1) * size
        pen.line([tuple(point) for point in points], _colour(rng), width)
    return image


def _pie_chart(rng: Rng, size: int) -> Image.Image:
    image, pen, _, _ = _sheet(rng, size)
    ends = np.append(np.sort(rng.uniform(0, 360, int(rng.integers(2, 7)))), 360)
    box = (np.array([0.1, 0.1, 0.9, 0.9]) * size).tolist()
    start = 0.0
    for end in ends:
        pen.pieslice(box, start, float(end), _colour(rng))
        start = float(end)
    return image


def _map(rng: Rng, size: int) -> Image.Image:
    """Land and sea with height lines and a road."""
    height = _fractal(rng, size, 5)
    levels = np.floor(height * 3)
    borders = (np.diff(levels, axis=0, prepend=levels[:1]) != 0) | (
        np.diff(levels, axis=1, prepend=levels[:, :1]) != 0
    )
    colours = np.where((height > 0)[..., None], _colour(rng, 120), _colour(rng, 60))
    colours[borders] = _colour(rng, 0, 140)
    image = Image.fromarray(colours.astype(np.uint8))
    road = [tuple(point) for point in rng.uniform(0, size, (4, 2))]
    ImageDraw.Draw(image).line(road, _colour(rng), max(1, size // 32))
    return image


def _screen(rng: Rng, size: int) -> Image.Image:
    """Boxes of a window: bars, fields and lines that stand for text."""
    image = Image.new("RGB", (size, size), _colour(rng, 170))
    pen = ImageDraw.Draw(image)
    pen.rectangle([0, 0, size, 0.12 * size], _colour(rng))
    pen.rectangle([0, 0.12 * size, rng.uniform(0, 0.35) * size, size], _colour(rng))
    for _ in range(rng.integers(2, 7)):
        left, top = rng.uniform([0.05, 0.15], [0.7, 0.8]) * size
        box = (left, top, left + rng.uniform(0.1, 0.6) * size, top + rng.uniform(0.03, 0.3) * size)
        pen.rectangle(box, _colour(rng), _colour(rng, 0, 120))
    return image


def _code(rng: Rng, size: int) -> Image.Image:
    """Black and white modules, or bars."""
    count = int(rng.integers(11, 30))
    modules = rng.random((count, count)) < 0.5
    if rng.random() < 0.4:
        modules[:] = modules[0]
    code = Image.fromarray(modules).convert("RGB")
    return code.resize((size, size), Image.Resampling.NEAREST)


# Photographs


@cache
def _shipped(name: str) -> Image.Image:
    """A picture that comes with scikit-learn, Matplotlib or scikit-image."""
    if name in ("china.jpg", "flower.jpg"):
        return Image.fromarray(load_sample_image(name))
    if name == "grace_hopper.jpg":
        return Image.open(Path(mpl.get_data_path()) / "sample_data" / name).convert("RGB")
    loaded = getattr(skimage.data, name)()
    return Image.fromarray(loaded[0] if isinstance(loaded, tuple) else loaded).convert("RGB")


def _tile(rng: Rng, photograph: Image.Image, size: int) -> Image.Image:
    """A random part, at least 3/4 of `size` wide and high, of any shape up to 4:3, not empty."""
    while True:
        sides = rng.uniform(size, min(photograph.size)) * rng.uniform(0.75, 1, 2)
        left, top = rng.uniform(0, 1, 2) * (photograph.size - sides)
        box = tuple(map(round, (left, top, left + sides[0], top + sides[1])))
        tile = photograph.crop(box)
        if np.asarray(tile).std(axis=(0, 1)).max() > 5:
            return tile


def _photograph(name: str, rng: Rng, size: int) -> Image.Image:
    return _tile(rng, _shipped(name), size)


# Not those of a cat and of a horse, which CIFAR-10 knows.
PHOTOGRAPHS = (
    "astronaut", "camera", "china.jpg", "coffee", "coins", "flower.jpg", "grace_hopper.jpg",
    "hubble_deep_field", "immunohistochemistry", "moon", "retina", "rocket", "stereo_motorcycle",
)  # fmt: skip

KINDS: dict[str, tuple[Maker, ...]] = {
    "noise": (_pixels, _grain, _salt_and_pepper, _blocks, _blobs, _coloured_noise, _scan_lines),
    "plain": (_flat, _slope, _glow, _corners, _bands),
    "textures": (_waves, _plaid, _weave, _cells, _marble, _wood, _clouds, _dots, _julia, _surface),
    "drawings": (_scribble, _outlines, _circuit, _maze, _rosette, _twigs),
    "writing": (_letter, _page, _sign, _handwritten),
    "charts_and_maps": (_bar_chart, _line_chart, _pie_chart, _map, _screen, _code),
    "photographs": tuple(partial(_photograph, name) for name in PHOTOGRAPHS),
}
