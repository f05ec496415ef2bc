"""Finding and classifying files: what is found, in which order, and in how much memory."""

import tracemalloc
from pathlib import Path

import pytest

from service.cli import files
from service.errors import ServiceError
from service.inference.classification import Classification
from service.inference.classifier import Classifier
from tests.service.conftest import colour


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with pictures at two depths and something else."""
    monkeypatch.chdir(tmp_path)
    for name in ("b.png", "a.PNG", "notes.txt", "deep/er/c.jpeg", "deep/x.png/d.gif"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(colour("red"))
    return tmp_path


@pytest.mark.parametrize(
    ("argument", "found"),
    [
        (".", ["a.PNG", "b.png", "deep/er/c.jpeg", "deep/x.png/d.gif"]),
        ("deep", ["deep/er/c.jpeg", "deep/x.png/d.gif"]),
        ("notes.txt", ["notes.txt"]),
        ("*.png", ["b.png"]),
        ("**/*.?p*g", ["deep/er/c.jpeg"]),
        ("deep/**", ["deep/er/c.jpeg", "deep/x.png/d.gif"]),
        ("nothing*", ["nothing*"]),
    ],
)
@pytest.mark.usefixtures("folder")
def test_files_folders_and_patterns_are_found(argument: str, found: list[str]) -> None:
    assert [str(path) for path in files.find([argument])] == found


@pytest.mark.usefixtures("folder")
def test_each_file_is_found_once_where_it_is_first_named() -> None:
    found = files.find(["b.png", ".", "a.PNG"])
    assert [path.name for path in found] == ["b.png", "a.PNG", "c.jpeg", "d.gif"]


def test_name_with_characters_of_a_pattern_is_a_file(folder: Path) -> None:
    odd = folder / "odd[1]*.png"
    odd.touch()
    assert files.find([str(odd)]) == [odd]


@pytest.fixture
def classifier(tiny_models: Path) -> Classifier:
    return Classifier.open(tiny_models, "tiny", provider="cpu")


def classify(
    classifier: Classifier, paths: list[Path], **options: int
) -> list[Classification | ServiceError]:
    limits = {"batch": 4, "threads": 2, "max_bytes": 1_000_000} | options
    answers = list(files.classify(classifier, paths, **limits))
    assert [path for path, _ in answers] == paths
    return [answer for _, answer in answers]


def test_thousands_of_files_are_answered_in_order(classifier: Classifier, tmp_path: Path) -> None:
    names = ("red", "green", "blue")
    for name in names:
        (tmp_path / name).write_bytes(colour(name.replace("green", "lime")))
    paths = []
    for i in range(3000):
        paths.append(tmp_path / f"{i}.png")
        paths[-1].symlink_to(tmp_path / names[i % 3])
    answers = classify(classifier, paths, batch=32, threads=3)
    labels = [a.top(1)[0].label for a in answers if isinstance(a, Classification)]
    assert labels == list(names) * 1000


def test_memory_does_not_grow_with_the_batch(classifier: Classifier, tmp_path: Path) -> None:
    size = 1_000_000
    for i in range(32):
        (tmp_path / f"{i}.png").write_bytes(colour("red").ljust(size, b"\0"))
    tracemalloc.start()
    try:
        answers = classify(classifier, files.find([str(tmp_path)]), batch=32, threads=1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert all(isinstance(answer, Classification) for answer in answers[1:])
    assert peak < 4 * size


def test_bad_files_fail_alone_and_say_why(classifier: Classifier, tmp_path: Path) -> None:
    good, empty, huge, none = (tmp_path / name for name in ("good", "empty", "huge", "none"))
    good.write_bytes(colour("blue"))
    empty.touch()
    huge.write_bytes(colour("blue").ljust(5001, b"\0"))
    closed = tmp_path / "folder"
    closed.mkdir()
    answers = classify(classifier, [huge, empty, none, good, closed], max_bytes=5000)
    assert isinstance(answers[3], Classification)
    for answer, text in zip(
        answers[:3] + answers[4:],
        ["limit of 5,000 bytes", "empty", "No such file", "no picture files"],
        strict=True,
    ):
        assert text in str(answer)


def test_litter_is_found_only_where_it_is_named(folder: Path) -> None:
    litter = [".thumbnails/a.png", "deep/@eaDir/b.png", "._c.png", "__MACOSX/d.png"]
    for name in litter:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(colour("red"))
    whole = ["a.PNG", "b.png", "deep/er/c.jpeg", "deep/x.png/d.gif"]
    assert [str(path) for path in files.find(["."])] == whole
    assert [str(path) for path in files.find(["**/*.png"])] == ["b.png", whole[3]]
    for name in litter:
        assert files.find([name]) == [Path(name)]
    assert files.find(["deep/@eaDir/*.png"]) == [Path("deep/@eaDir/b.png")]
    assert files.find(["deep/@eaDir"]) == [Path("deep/@eaDir/b.png")]


@pytest.mark.parametrize("suffix", [".heic", ".HIF", ".avif", ".tif", ".TIFF", ".mpo", ".jfif"])
def test_files_of_phones_and_scanners_are_found(suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"a{suffix}").touch()
    assert files.find([str(tmp_path)]) == [tmp_path / f"a{suffix}"]
