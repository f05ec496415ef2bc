"""What service and training have twice, because neither imports the other, is the same."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from service.cli import files
from service.errors import TooManyPixelsError, UndecodableImageError
from service.inference import decoding
from tests.contract.encodings import animation, encode, packed_in, repacked, with_wrong_checksum
from training.data import pictures
from training.data.folders import ClassFolders
from training.files import LITTER as LITTER_OF_SYSTEMS
from training.presets import ResizeRule

SERVICE, TRAINING = Path("service/inference/pictures"), Path("training/data/picture_files")
CASES = Path("tests/data/pictures")
LITTER = [
    *(".ipynb_checkpoints/a-checkpoint.jpg", ".thumbnails/a.jpg", "cat/.thumbnails/a.jpg"),
    *("cat/._a.jpg", "cat/Thumbs.db", "cat/@eaDir/a.jpg", "@eaDir/a.jpg", "__MACOSX/a.jpg"),
    *("cat/desktop.ini", "#recycle/a.jpg", "@Recycle/a.jpg", "#snapshot/cat/a.jpg"),
    *("$RECYCLE.BIN/a.jpg", "System Volume Information/a.jpg", "lost+found/a.jpg"),
]


def test_files_about_pictures_are_the_same() -> None:
    shared = {path.name for path in TRAINING.glob("*.py")} - {"__init__.py"}
    names = "appearance avif bmp colour hdr jpeg orientation png png_file scaling spaces tiff"
    assert shared == {f"{name}.py" for name in names.split()}
    for name in shared:
        assert (TRAINING / name).read_text() == (SERVICE / name).read_text(), name


@pytest.mark.parametrize("path", sorted(CASES.glob("*.*")), ids=lambda path: path.name)
def test_both_packages_see_the_same_picture(path: Path) -> None:
    data = path.read_bytes()
    served = decoding.decode(data, 10**6).image
    np.testing.assert_array_equal(np.asarray(pictures.decode(data).image), np.asarray(served))


def test_both_packages_ignore_the_same_litter(tmp_path: Path) -> None:
    picture = encode(Image.new("RGB", (8, 8)), "PNG")
    names = ["cat/a.jpg", "dog/b.png"]
    for name in (*names, *LITTER):
        path = tmp_path / "train" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture if name in names else b"litter")
    wanted = [tmp_path / "train" / name for name in names]
    assert files.find([str(tmp_path / "train")]) == wanted
    assert files.find([f"{tmp_path}/train/**/*.*"]) == wanted
    reader = ClassFolders(tmp_path, 32, ResizeRule("stretch", "bilinear"))
    assert reader.files("train") == wanted
    assert reader.read("train").classes == ("cat", "dog")
    assert files._LITTER == LITTER_OF_SYSTEMS


def test_both_packages_refuse_a_png_that_lacks_rows_and_pass_over_its_checksum() -> None:
    data = encode(Image.effect_noise((8, 6), 90), "PNG")
    damaged = with_wrong_checksum(data)
    short = repacked(data, zlib.compress(zlib.decompress(packed_in(data))[:-9]))
    for served, trained_on in (
        (decoding.decode(damaged, 10**6).image, pictures.decode(damaged).image),
        (decoding.decode(data, 10**6).image, pictures.decode(data).image),
    ):
        np.testing.assert_array_equal(np.asarray(trained_on), np.asarray(served))
    with pytest.raises(UndecodableImageError):
        decoding.decode(short, 10**6)
    with pytest.raises(OSError, match="rows are missing"):
        pictures.decode(short)


def test_both_packages_refuse_a_size_that_no_memory_holds() -> None:
    part = animation(encode(Image.new("L", (8, 8)), "PNG"), (1, 1), (0, 0))
    small = encode(Image.new("1", (8, 8)), "BMP")
    for data in (
        small[:18] + struct.pack("<ii", 20_000, 20_000) + small[26:],
        part[:16] + struct.pack(">II", 20_000, 20_000) + part[24:],
    ):
        with pytest.raises(TooManyPixelsError):
            decoding.decode(data, 10**7)
        with pytest.raises(ValueError, match="20000 x 20000 pixels"):
            pictures.decode(data)


def test_training_reads_the_formats_of_the_service() -> None:
    image = Image.open("tests/data/cat.jpg")
    for format_ in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF"):
        read = pictures.decode(encode(image, format_)).image
        assert np.abs(np.asarray(read).astype(int) - np.asarray(image)).mean() < 10, format_
